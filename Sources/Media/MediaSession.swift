// MediaSession.swift — the RTP session of one bundle (RFC 3550, 8843): between plaintext RTP and RTCP, which SRTP protects
// below, and the application above. Packets in, packets out: no codec, no jitter buffer, no bandwidth estimation.

internal import DequeModule
package import Wire

package struct MediaSession: ~Copyable {
  let limits: MediaLimits
  let cname: String
  let wallClock: WallClock
  var random: RandomSource
  var events = Deque<MediaEvent>()
  package internal(set) var statistics = MediaSessionStatistics()

  /// - Parameters:
  ///   - cname: names this endpoint in SDES (RFC 7022), the same as in `a=ssrc:… cname:`.
  ///   - wallClock: what sender reports tell.
  package init(
    limits: MediaLimits = MediaLimits(), cname: String, random: RandomSource, wallClock: WallClock = WallClock()
  ) {
    self.limits = limits
    self.cname = cname
    self.random = random
    self.wallClock = wallClock
  }

  // MARK: In

  /// After every negotiation, with all sections of the bundle. What was known of sections that stay, is kept.
  package mutating func configure(_ sections: [MediaSection], now: Instant) {}

  /// The keys of SRTP exist: packets may go.
  package mutating func start(now: Instant) {}

  package mutating func handleRTP(_ packet: RawSpan, now: Instant) {}

  package mutating func handleRTCP(_ packet: RawSpan, now: Instant) {}

  package mutating func handleTimeout(now: Instant) {}

  /// Queues a packet for `pollTransmit`.
  package mutating func send(_ packet: OutgoingRTP, on section: Int, now: Instant) throws(MediaSendError) {
    throw .notSending
  }

  /// Asks for a picture that depends on no other, by PLI or FIR, whichever was negotiated.
  /// - Parameter ssrc: one of the section's streams; nil for all of them.
  /// - Returns: whether there is a stream to ask for and a way to ask.
  @discardableResult
  package mutating func requestKeyframe(_ section: Int, ssrc: UInt32? = nil, now: Instant) -> Bool { false }

  /// Says BYE for all our sources. Nothing else is sent or received from then on.
  package mutating func close(now: Instant) {}

  // MARK: Out

  /// Appends one packet, for which `out` must have `transmitCapacity` free.
  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> MediaPacketKind? { nil }

  /// The room that a packet may need.
  package var transmitCapacity: Int { max(limits.maximumPacketSize + 2, limits.maximumRTCPSize) }

  package mutating func pollEvent() -> MediaEvent? { events.popFirst() }

  package var deadline: Instant? { nil }

  package func statistics(of section: Int) -> MediaStatistics { MediaStatistics() }
}
