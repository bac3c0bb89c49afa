// RTPHeader.swift — the fields of an RTP packet that a reader and a writer share, and which of RTP and RTCP a datagram is
// (RFC 3550 §5.1, RFC 5761 §4).
//
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
// |                           timestamp                           |
// |           synchronization source (SSRC) identifier            |
// |           contributing source (CSRC) identifiers …            |

internal import Wire

package struct RTPHeader: Hashable, Sendable {
  package var marker: Bool
  /// 0 … 127.
  package var payloadType: UInt8
  package var sequenceNumber: UInt16
  package var timestamp: UInt32
  package var ssrc: UInt32

  /// Without contributing sources and extensions.
  package static let byteCount = 12
  /// CC has four bits.
  package static let maximumContributingSources = 15
  package static let version: UInt8 = 2

  package init(
    marker: Bool = false, payloadType: UInt8, sequenceNumber: UInt16, timestamp: UInt32, ssrc: UInt32
  ) {
    self.marker = marker
    self.payloadType = payloadType
    self.sequenceNumber = sequenceNumber
    self.timestamp = timestamp
    self.ssrc = ssrc
  }
}

/// Whether a datagram whose first byte is one of RTP's, 128 … 191, holds RTCP: its packet types are 192 … 223, which RTP
/// reaches only with payload types 64 … 95 that nobody may assign (RFC 5761 §4).
package func isRTCP(_ datagram: RawSpan) -> Bool {
  datagram.byteCount >= 2 && (192...223).contains(datagram.byte(at: 1))
}

/// Why a packet was not written; what had been written of it by then is to be thrown away.
package enum RTPEncodingError: Error, Equatable, Sendable {
  /// The caller's buffer is too small.
  case noRoom
  /// A list or text is longer than its length field can say.
  case tooLong
  /// A number is outside what its field holds, such as payload type 128 or extension id 0.
  case badValue
  /// A part comes where it may not, such as a header extension after the payload.
  case badOrder
}
