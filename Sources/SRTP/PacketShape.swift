// PacketShape.swift — what must hold of a packet before libsrtp is asked: it is what it claims to be, and its header lies
// within it. Each check is also a promise to libsrtp, which reads what the header announces.

internal import Wire

enum PacketShape {
  /// The shortest RTP header, and what of RTCP stays in the clear.
  static let rtpHeaderLength = 12
  static let rtcpHeaderLength = 8

  /// The longest RTP header with its extension that libsrtp's AEAD takes: it copies what is authenticated into a buffer of
  /// this size.
  static let maximumHeaderLength = 2_048

  /// The SSRC and sequence number of an RTP packet behind whose header `trailer` bytes are left (RFC 3550 §5.1, §5.3.1).
  static func rtp(_ packet: RawSpan, trailer: Int) throws(SRTPError) -> (ssrc: UInt32, sequenceNumber: UInt16) {
    guard packet.byteCount >= rtpHeaderLength + trailer else { throw .malformed }
    let first = packet.byte(at: 0)
    guard first >> 6 == 2 else { throw .malformed }
    var length = rtpHeaderLength + 4 * Int(first & 0x0f)
    if first & 0x10 != 0 {
      guard packet.byteCount >= length + 4 else { throw .malformed }
      length += 4 + 4 * Int(packet.uint16(at: length + 2))
    }
    guard packet.byteCount >= length + trailer else { throw .malformed }
    guard length <= maximumHeaderLength else { throw .packetTooLarge }
    return (packet.uint32(at: 8), packet.uint16(at: 2))
  }

  /// The SSRC of the first report of an RTCP packet in the clear (RFC 3550 §6.4.1).
  static func rtcp(_ packet: RawSpan) throws(SRTPError) -> UInt32 {
    guard packet.byteCount >= rtcpHeaderLength, packet.byte(at: 0) >> 6 == 2 else { throw .malformed }
    return packet.uint32(at: 4)
  }

  /// The same of an SRTCP packet. One that is not encrypted is refused: no profile of ours sends any, and libsrtp over
  /// NSS can be brought, by an unencrypted packet of 2,048 bytes with any tag, to refuse all that follow.
  static func srtcp(_ packet: RawSpan, profile: SRTPProfile) throws(SRTPError) -> UInt32 {
    guard packet.byteCount >= rtcpHeaderLength + profile.rtcpTrailerLength else { throw .malformed }
    // The index is last with AEAD (RFC 7714 §9.2), before the tag otherwise (RFC 3711 §3.4).
    let index = packet.byteCount - (profile == .aes128CMSHA1 ? profile.rtcpTrailerLength : 4)
    guard packet.byte(at: index) & 0x80 != 0 else { throw .malformed }
    return try rtcp(packet)
  }
}
