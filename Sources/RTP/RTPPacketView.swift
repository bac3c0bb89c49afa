// RTPPacketView.swift — an RTP packet, read by borrowing from the datagram it came in (RFC 3550 §5.1, §5.3.1).
//
//   | fixed header, 12 bytes | CSRCs, 4 bytes each | profile, 2 | length in words, 2 | extension … | payload … | padding |
//
// Invariants: a view that exists is well-formed through and through: every length that the packet states lies within it,
// the last byte of padding counts at least itself and at most what follows the header, and the extension's elements
// fill it exactly or end where RFC 8285 says that a reader stops. So nothing that is asked of a view can fail or trap.

package import Wire

package struct RTPPacketView: ~Escapable {
  package let header: RTPHeader
  /// The whole packet.
  package let packet: RawSpan
  /// Without padding; may be empty.
  package let payload: RawSpan
  /// How many bytes of padding follow the payload, their count included.
  package let paddingCount: Int
  /// 0 … 15.
  package let contributingSourceCount: Int
  /// The 16 bits that say how to read the header extension; nil when there is none.
  package let extensionProfile: UInt16?
  private let extensionBody: RawSpan

  @_lifetime(copy packet)
  package init(_ packet: RawSpan) throws(Malformed) {
    let count = packet.byteCount
    guard count >= RTPHeader.byteCount else { throw .truncated }
    let flags = packet.byte(at: 0)
    guard flags >> 6 == RTPHeader.version else { throw .badValue }
    let second = packet.byte(at: 1)
    self.packet = packet
    header = RTPHeader(
      marker: second & 0x80 != 0, payloadType: second & 0x7f, sequenceNumber: packet.uint16(at: 2),
      timestamp: packet.uint32(at: 4), ssrc: packet.uint32(at: 8))

    contributingSourceCount = Int(flags & 0x0f)
    var offset = RTPHeader.byteCount + 4 * contributingSourceCount
    guard offset <= count else { throw .truncated }
    if flags & 0x10 != 0 {
      guard offset + 4 <= count else { throw .truncated }
      let profile = packet.uint16(at: offset)
      let end = offset + 4 + 4 * Int(packet.uint16(at: offset + 2))
      guard end <= count else { throw .badLength }
      extensionProfile = profile
      extensionBody = packet.extracting((offset + 4)..<end)
      try RTPExtensionElements.check(extensionBody, profile: profile)
      offset = end
    } else {
      extensionProfile = nil
      extensionBody = packet.extracting(offset..<offset)
    }
    if flags & 0x20 != 0 {
      guard count > offset else { throw .badLength }
      paddingCount = Int(packet.byte(at: count - 1))
      guard paddingCount > 0, paddingCount <= count - offset else { throw .badLength }
    } else {
      paddingCount = 0
    }
    payload = packet.extracting(offset..<(count - paddingCount))
  }

  /// The contributing source at `index`, which must be less than `contributingSourceCount`.
  package func contributingSource(_ index: Int) -> UInt32 {
    precondition(index >= 0 && index < contributingSourceCount, "the caller asks for a source that there is")
    return packet.uint32(at: RTPHeader.byteCount + 4 * index)
  }

  /// A copy of the list, which allocates when it is not empty.
  package var contributingSources: [UInt32] {
    (0..<contributingSourceCount).map { index in packet.uint32(at: RTPHeader.byteCount + 4 * index) }
  }

  /// What lies between the fixed header and the payload: contributing sources and extension, as they are.
  var middle: RawSpan {
    @_lifetime(copy self)
    get { packet.extracting(RTPHeader.byteCount..<(packet.byteCount - paddingCount - payload.byteCount)) }
  }

  /// The extension's bytes, for a profile that is not RFC 8285's; empty when there is none.
  package var extensionBytes: RawSpan {
    @_lifetime(copy self)
    get { extensionBody }
  }

  /// The elements of RFC 8285, from the first; none when the profile is another.
  package var extensions: RTPExtensionElements {
    @_lifetime(copy self)
    get { RTPExtensionElements(extensionBody, profile: extensionProfile) }
  }

  /// The value of the first element with this id.
  @_lifetime(copy self)
  package func extensionValue(_ id: UInt8) -> RawSpan? {
    var elements = extensions
    while let element = elements.next() {
      if element.id == id { return element.value }
    }
    return nil
  }
}
