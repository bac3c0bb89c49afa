// TURNClient+Payload.swift — what precedes a payload on its way to the relay: a Send indication, or once a channel is
// bound ChannelData (RFC 8656 §11.1, §12.4, §12.5).
//
// Written in two steps around the payload, because how long that is may be known only when it is there:
//
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |         channel number        |  length of the payload        |
// |                       payload, padded on a stream …           |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

import STUN
package import Wire

extension TURNClient {
  /// What `writeHeader` writes at most: a Send indication to an IPv6 peer.
  package static let maximumHeader = STUNHeader.byteCount + 24 + 4
  /// Header and padding.
  package static let maximumOverhead = maximumHeader + 3

  /// Writes what precedes a payload for `peer`: ChannelData's 4 bytes, or a Send indication's 36 or 48. The payload is
  /// to follow, then `finishPayload`.
  ///
  /// Asks for the permission when there is none: drain `pollTransmit` before the payload goes out, and the server has
  /// the permission before it has the payload.
  ///
  /// - Returns: false when nothing can be sent to this peer; see `prepare`. Then nothing was written.
  @_lifetime(out: copy out)
  package mutating func writeHeader(to peer: SocketAddress, into out: inout OutputRawSpan, now: Instant) -> Bool {
    precondition(out.freeCapacity >= Self.maximumOverhead, "the caller makes room before it writes")
    switch peers.use(peer, now: now) {
    case .channel(let number):
      out.writeUInt16(number)
      out.writeUInt16(0)
      return true
    case .unknown:
      guard prepare(peer: peer, now: now), peers.add(peer, now: now) else { return false }
    case .unpermitted:
      guard prepare(peer: peer, now: now) else { return false }
      peers.permit(peer)
    case .indication(let wantsChannel):
      if wantsChannel { workSince = workSince ?? now }
    }
    let id = TransactionID.random(using: &random)
    do throws(STUNEncodingError) {
      let writer = try STUNWriter(STUNHeader(.indication, .send, id: id), into: &out)
      try writer.xorAddress(.xorPeerAddress, peer, into: &out)
      try writer.attribute(.data, RawSpan(), into: &out)
    } catch {
      preconditionFailure("a Send indication without its payload fits: \(error)")
    }
    return true
  }

  /// Once the payload is there: sets the lengths in the header that starts at `start`, and pads.
  @_lifetime(out: copy out)
  package func finishPayload(headerAt start: Int, into out: inout OutputRawSpan) {
    precondition(start >= 0 && out.byteCount >= start + 4, "writeHeader has written a header there")
    let isChannelData = out.bytes.byte(at: start) >= 64
    let header =
      isChannelData ? 4 : STUNHeader.byteCount + 4 + Int(out.bytes.uint16(at: start + STUNHeader.byteCount + 2)) + 4
    let count = out.byteCount - start - header
    precondition((0...STUNLimits.data).contains(count), "no datagram carries a payload so long")
    out.patchUInt16(UInt16(count), at: start + header - 2)
    guard !isChannelData || configuration.transport == .stream else { return }
    precondition(out.freeCapacity >= -count & 3, "the caller has left room for the padding")
    out.writePadding(after: count)
    if !isChannelData {
      out.patchUInt16(UInt16(out.byteCount - start - STUNHeader.byteCount), at: start + 2)
    }
  }
}
