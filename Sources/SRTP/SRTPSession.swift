// SRTPSession.swift — protects what a connection sends and checks what it gets (RFC 3711, RFC 7714), over libsrtp: the key
// schedule, the ciphers, replay windows and rollover counters are libsrtp's.
//
// A packet is copied behind what the caller's span already holds and worked on there, in place. What is not let in leaves
// the span as it was.

internal import Wire

/// Both directions of one connection's media.
///
/// An incoming SSRC takes one of its bounded places only by an authenticated packet. An outgoing one takes its place with
/// its first packet; its rollover counter starts at 0, so its first sequence number had better be below 2^15 (RFC 3711
/// §3.3.1): a peer that misses the packets before a wrap could not guess.
package struct SRTPSession: ~Copyable, @unchecked Sendable {  // one owner at a time has it, and libsrtp's state with it
  /// The most bytes that protection adds to a packet. Nothing is written behind them.
  package static let maximumTrailer = 20
  /// How many packets back from the newest a late one is let in, and a repeated one let out. Video at 20 Mbit/s sends
  /// 2,048 packets in a second; what is later than that nobody waits for.
  package static let replayWindow = 2_048

  package let profile: SRTPProfile
  package private(set) var counters = SRTPCounters()

  private var outgoing: SRTPContext
  private var incoming: SRTPContext
  private var sent: SRTPStreams<OutgoingStream>
  private var received: SRTPStreams<Void>
  private let isLentByAddress = LentByAddress()

  /// - Parameters:
  ///   - outgoing: with what this end protects: the client's key when it was the DTLS client.
  ///   - incoming: with what the peer does.
  package init(
    profile: SRTPProfile, outgoing: SRTPMasterKey, incoming: SRTPMasterKey, limits: SRTPLimits = .init()
  ) throws(SRTPError) {
    self.profile = profile
    let outgoingContext = try SRTPContext(.outgoing, profile: profile, key: outgoing, window: Self.replayWindow)
    self.incoming = try SRTPContext(.incoming, profile: profile, key: incoming, window: Self.replayWindow)
    self.outgoing = outgoingContext
    sent = SRTPStreams(maximumCount: limits.outgoingSSRCs, maximumRetired: limits.retiredSSRCs)
    received = SRTPStreams(maximumCount: limits.incomingSSRCs, maximumRetired: limits.retiredSSRCs)
  }

  /// The session of a connection whose DTLS handshake has ended.
  package init(
    _ material: SRTPKeyingMaterial, isClient: Bool, limits: SRTPLimits = .init()
  ) throws(SRTPError) {
    try self.init(
      profile: material.profile, outgoing: isClient ? material.client : material.server,
      incoming: isClient ? material.server : material.client, limits: limits)
  }

  /// SSRCs that have a place.
  package var incomingSSRCCount: Int { received.count }
  package var outgoingSSRCCount: Int { sent.count }

  // MARK: Out

  /// Appends the protected packet to `out`, which must have room for it and `maximumTrailer`. The identical packet may go
  /// out again while it is among the last `replayWindow`; a changed one under the same sequence number is refused.
  package mutating func protectRTP(_ packet: RawSpan, into out: inout OutputRawSpan) throws(SRTPError) {
    let (ssrc, sequenceNumber) = try PacketShape.rtp(packet, trailer: 0)
    let place = try outgoingPlace(of: ssrc)
    switch sent[place].verdict(on: sequenceNumber) {
    case .tooOld: throw .tooOld
    case .exhausted: throw .keyExhausted
    case .new(let index):
      let tag = try protect(packet, into: &out, .protectRTP) { _ in true }
      sent.update(place) { $0.note(tag, at: index) }
    case .repeated(let index):
      let stream = sent[place]
      _ = try protect(packet, into: &out, .protectRTP) { stream.matches($0, at: index) }
    }
    counters.protected += 1
  }

  /// Appends the protected compound packet to `out`, which must have room for it and `maximumTrailer`.
  package mutating func protectRTCP(_ packet: RawSpan, into out: inout OutputRawSpan) throws(SRTPError) {
    _ = try outgoingPlace(of: try PacketShape.rtcp(packet))
    _ = try protect(packet, into: &out, .protectRTCP) { _ in true }
    counters.protected += 1
  }

  /// Forgets an SSRC that will send no more; under this session it can never send again.
  package mutating func removeOutgoing(_ ssrc: UInt32) {
    if sent.retire(ssrc) { outgoing.remove(ssrc) }
  }

  // MARK: In

  /// Appends what the packet was before it was protected to `out`.
  package mutating func unprotectRTP(_ packet: RawSpan, into out: inout OutputRawSpan) throws(SRTPError) {
    do throws(SRTPError) {
      let ssrc = try PacketShape.rtp(packet, trailer: profile.rtpTrailerLength).ssrc
      try unprotect(packet, of: ssrc, into: &out, .unprotectRTP)
    } catch {
      counters.count(error)
      throw error
    }
  }

  /// Appends what the compound packet was before it was protected to `out`.
  package mutating func unprotectRTCP(_ packet: RawSpan, into out: inout OutputRawSpan) throws(SRTPError) {
    do throws(SRTPError) {
      let ssrc = try PacketShape.srtcp(packet, profile: profile)
      try unprotect(packet, of: ssrc, into: &out, .unprotectRTCP)
    } catch {
      counters.count(error)
      throw error
    }
  }

  /// Gives up the place of an SSRC; what still comes of it is refused from now on.
  package mutating func removeIncoming(_ ssrc: UInt32) {
    if received.retire(ssrc) { incoming.remove(ssrc) }
  }

  // MARK: Rollover counters

  /// The upper 32 bits of an SSRC's packet index; nil when it has no place.
  package func outgoingRolloverCounter(of ssrc: UInt32) -> UInt32? { outgoing.rolloverCounter(of: ssrc) }
  package func incomingRolloverCounter(of ssrc: UInt32) -> UInt32? { incoming.rolloverCounter(of: ssrc) }

  /// Lets the next RTP packet of an SSRC that has a place continue from a rollover counter that is higher than before;
  /// false when it has none. Both ends must do so.
  package mutating func setOutgoingRolloverCounter(_ counter: UInt32, of ssrc: UInt32) -> Bool {
    guard let place = sent.place(of: ssrc), outgoing.setRolloverCounter(counter, of: ssrc) else { return false }
    sent.update(place) { $0.jump(to: counter) }
    return true
  }
  package mutating func setIncomingRolloverCounter(_ counter: UInt32, of ssrc: UInt32) -> Bool {
    incoming.setRolloverCounter(counter, of: ssrc)
  }

  // MARK: libsrtp

  private mutating func outgoingPlace(of ssrc: UInt32) throws(SRTPError) -> Int {
    if let place = sent.place(of: ssrc) { return place }
    try sent.checkRoom(for: ssrc)
    // Before libsrtp is asked: it makes the stream first and fails afterwards.
    return sent.add(ssrc, OutgoingStream(window: Self.replayWindow))
  }

  /// Appends the protected packet if `isAllowed` says so to the first bytes of its tag, which are returned.
  @_lifetime(out: copy out)
  private mutating func protect(
    _ packet: RawSpan, into out: inout OutputRawSpan, _ operation: SRTPContext.Operation,
    _ isAllowed: (UInt32) -> Bool
  ) throws(SRTPError) -> UInt32 {
    guard packet.byteCount + Self.maximumTrailer <= out.freeCapacity else { throw .packetTooLarge }
    let tagLength = profile.tagLength
    var tag: UInt32 = 0
    let start = out.byteCount
    out.writeBytes(packet)
    let error: SRTPError? = unsafe out.withUnsafeMutableBytes { buffer, initialized in
      let place = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
      initialized = start
      var count = packet.byteCount
      if let error = unsafe outgoing.run(operation, on: place, count: &count) { return error }
      tag = unsafe place.loadUnaligned(fromByteOffset: count - tagLength, as: UInt32.self)
      guard isAllowed(tag) else { return .alteredRepeat }
      initialized += count
      return nil
    }
    if let error { throw error }
    return tag
  }

  @_lifetime(out: copy out)
  private mutating func unprotect(
    _ packet: RawSpan, of ssrc: UInt32, into out: inout OutputRawSpan, _ operation: SRTPContext.Operation
  ) throws(SRTPError) {
    let isKnown = received.place(of: ssrc) != nil
    if !isKnown { try received.checkRoom(for: ssrc) }
    guard packet.byteCount <= out.freeCapacity else { throw .packetTooLarge }
    let start = out.byteCount
    out.writeBytes(packet)
    let error: SRTPError? = unsafe out.withUnsafeMutableBytes { buffer, initialized in
      let place = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
      initialized = start
      var count = packet.byteCount
      if let error = unsafe incoming.run(operation, on: place, count: &count) { return error }
      initialized += count
      return nil
    }
    if let error { throw error }
    if !isKnown { _ = received.add(ssrc, ()) }
    counters.unprotected += 1
  }
}
