// RTX.swift — retransmission in a stream of its own (RFC 4588 §4).
//
//   | RTP header of the retransmission stream | original sequence number, 2 bytes | original payload … |
//
// Marker, timestamp, contributing sources and header extension are the original's; payload type, SSRC and sequence number
// are the retransmission stream's. Padding is not sent again.

package import Wire

package enum RTX {
  /// The sequence number of the packet that `packet` repeats. Refused when there is no payload, as in packets that a
  /// sender makes of padding alone to probe the path.
  package static func originalSequenceNumber(of packet: borrowing RTPPacketView) throws(Malformed) -> UInt16 {
    guard packet.payload.byteCount >= 2 else { throw .truncated }
    return packet.payload.uint16(at: 0)
  }

  /// Two bytes more than the original without its padding.
  package static func byteCount(wrapping original: borrowing RTPPacketView) -> Int {
    original.packet.byteCount - original.paddingCount + 2
  }

  /// Writes `original` as a packet of the retransmission stream.
  @_lifetime(out: copy out)
  package static func wrap(
    _ original: borrowing RTPPacketView, payloadType: UInt8, ssrc: UInt32, sequenceNumber: UInt16,
    into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard out.freeCapacity >= byteCount(wrapping: original) else { throw .noRoom }
    var header = original.header
    header.payloadType = payloadType
    header.ssrc = ssrc
    header.sequenceNumber = sequenceNumber
    try copy(original, header: header, into: &out)
    out.writeUInt16(original.header.sequenceNumber)
    out.writeBytes(original.payload)
  }

  /// Writes the packet that `packet` repeats. The payload type and the SSRC of its stream come from the negotiation: the
  /// `apt` of the payload type, and the group FID or the repaired-rid.
  @_lifetime(out: copy out)
  package static func unwrap(
    _ packet: borrowing RTPPacketView, payloadType: UInt8, ssrc: UInt32, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    let payload = packet.payload
    guard payload.byteCount >= 2 else { throw .badValue }
    guard out.freeCapacity >= packet.packet.byteCount - packet.paddingCount - 2 else { throw .noRoom }
    var header = packet.header
    header.payloadType = payloadType
    header.ssrc = ssrc
    header.sequenceNumber = payload.uint16(at: 0)
    try copy(packet, header: header, into: &out)
    out.writeBytes(payload.extracting(2..<payload.byteCount))
  }

  /// Writes a new fixed header and, as they are, contributing sources and extension.
  @_lifetime(out: copy out)
  private static func copy(
    _ packet: borrowing RTPPacketView, header: RTPHeader, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    let start = out.byteCount
    _ = try RTPWriter(header, into: &out)
    // X and CC; the P bit stays behind with the padding.
    out.setBits(packet.packet.byte(at: 0) & 0x1f, at: start)
    out.writeBytes(packet.middle)
  }
}
