// DataChunk.swift — DATA (RFC 9260 §3.3.1, I bit: RFC 7053).
//
//   |   type = 0    |  res  |I|U|B|E|            length             |
//   |                              TSN                              |
//   |      stream identifier        |    stream sequence number     |
//   |                  payload protocol identifier                  |
//   |                          user data …                          |

package import Wire

package struct DataFlags: OptionSet, Sendable, Hashable {
  package var rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// E: the last fragment of a message.
  package static let end = DataFlags(rawValue: 1)
  /// B: the first fragment of a message.
  package static let begin = DataFlags(rawValue: 2)
  /// U: the message is not ordered in its stream; its stream sequence number means nothing.
  package static let unordered = DataFlags(rawValue: 4)
  /// I: the sender wants to be answered at once.
  package static let immediate = DataFlags(rawValue: 8)
  package static let whole: DataFlags = [.begin, .end]
}

/// The fixed fields of a DATA chunk.
package struct DataHeader: Equatable, Sendable {
  /// Chunk header and fixed fields.
  package static let byteCount = 16

  package var flags: DataFlags
  package var tsn: TSN
  package var stream: UInt16
  package var ssn: SSN
  package var payloadProtocol: UInt32

  package init(flags: DataFlags, tsn: TSN, stream: UInt16, ssn: SSN, payloadProtocol: UInt32) {
    self.flags = flags
    self.tsn = tsn
    self.stream = stream
    self.ssn = ssn
    self.payloadProtocol = payloadProtocol
  }

  /// Reads a DATA chunk's fixed fields; what follows them, maybe nothing, is the user data.
  package init(_ chunk: borrowing Chunk) throws(Malformed) {
    let value = chunk.value
    guard value.byteCount >= Self.byteCount - ChunkHeader.byteCount else { throw .truncated }
    flags = DataFlags(rawValue: chunk.flags)
    tsn = TSN(rawValue: value.uint32(at: 0))
    stream = value.uint16(at: 4)
    ssn = SSN(rawValue: value.uint16(at: 6))
    payloadProtocol = value.uint32(at: 8)
  }

  /// The user data of a chunk whose header has been read.
  @_lifetime(copy chunk)
  package static func userData(of chunk: borrowing Chunk) -> RawSpan {
    chunk.value.extracting((byteCount - ChunkHeader.byteCount)..<chunk.value.byteCount)
  }

  /// Writes everything but the user data.
  package func write(userDataCount: Int, into out: inout OutputRawSpan) {
    out.writeUInt64(
      UInt64(flags.rawValue) << 48 | UInt64(Self.byteCount + userDataCount) << 32 | UInt64(tsn.rawValue))
    out.writeUInt64(UInt64(stream) << 48 | UInt64(ssn.rawValue) << 32 | UInt64(payloadProtocol))
  }
}
