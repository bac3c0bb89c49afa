// SentPackets.swift — which packets are on their way, and what their arrival says about the path.
//
// Packets are numbered as they are sent, retransmissions like all others, so that numbers are in the order of time: this is
// what time-based loss detection (RFC 8985) and delivery-rate samples (draft-ietf-ccwg-bbr §4.1) need, and TSNs are not. A
// packet names its newest chunk, and each chunk the one before it in the same packet; no lists are kept.
//
// Invariant: the first packet of the ring has a chunk in flight; no packet is younger than the one after it.

package import Wire

struct SentPacket {
  var sentAt: Instant
  /// Its chunks that are still in flight, and the newest chunk in it.
  var remaining: Int32 = 0
  var newestChunk = -1
  // What had been delivered, lost and sent when it left.
  var delivered = 0
  var deliveredAt: Instant
  var firstSentAt: Instant
  var lost = 0
  var flightBytes = 0
  /// The sender had nothing more to send: the sample says little about the path.
  var isApplicationLimited = false

  static let vacant = SentPacket(
    sentAt: Instant(nanoseconds: 0), deliveredAt: Instant(nanoseconds: 0), firstSentAt: Instant(nanoseconds: 0))
}

/// What one SACK says about the path. Bytes are of user data.
package struct DeliverySample: Sendable {
  /// Bytes a second; nil when the SACK measures none.
  package var rate: Int?
  /// Bytes newly acknowledged, and newly deemed lost, by this SACK.
  package var acknowledged = 0
  package var lost = 0
  /// Of the newest acknowledged packet: what had been delivered when it left, what was delivered since, what was lost since,
  /// and what was in flight with it. Nil when no packet was measured.
  package var priorDelivered: Int?
  package var delivered = 0
  package var lostSince = 0
  package var flightWhenSent = 0
  package var isApplicationLimited = false
  /// Of the newest acknowledged packet, when its time is beyond doubt.
  package var roundTrip: Interval?
}

struct SentPackets {
  private(set) var ring = Ring(vacant: SentPacket.vacant)
  /// The packet that is being written.
  private var open = SentPacket.vacant

  // Sums since the association began.
  private(set) var delivered = 0
  private(set) var lost = 0
  private var deliveredAt = Instant(nanoseconds: 0)
  private var firstSentAt = Instant(nanoseconds: 0)
  /// Samples are limited by the application until this much is delivered; nil: they are not.
  private var applicationLimitedUntil: Int?

  /// The newest packet that has arrived.
  private(set) var newestArrived = -1

  // The newest arrival of the SACK that is being handled.
  private var sampled: SentPacket?
  private var sampledNumber = -1

  // MARK: Sending

  /// The number of the packet that is being written.
  var next: Int { ring.end }

  mutating func begin(flightBytes: Int, now: Instant) {
    if flightBytes == 0 {
      deliveredAt = now
      firstSentAt = now
    }
    open = SentPacket(
      sentAt: now, delivered: delivered, deliveredAt: deliveredAt, firstSentAt: firstSentAt, lost: lost,
      isApplicationLimited: applicationLimitedUntil != nil)
  }

  /// - Returns: the chunk that was put in before, or -1.
  mutating func add(chunk: Int) -> Int {
    defer { open.newestChunk = chunk }
    open.remaining += 1
    return open.newestChunk
  }

  mutating func finish(flightBytes: Int) {
    guard open.remaining > 0 else { return }
    open.flightBytes = flightBytes
    ring.append(open)
    open = .vacant
  }

  /// The sender has run out of data while the window was open.
  mutating func noteApplicationLimited(flightBytes: Int) { applicationLimitedUntil = delivered + flightBytes }

  // MARK: What becomes of chunks

  /// A chunk in flight has arrived.
  ///
  /// - Parameter isCertain: false when it was sent more than once and may have arrived with an earlier packet.
  mutating func noteArrived(packet: Int, byteCount: Int, isCertain: Bool) {
    delivered += byteCount
    if isCertain {
      newestArrived = max(newestArrived, packet)
      if packet > sampledNumber {
        sampledNumber = packet
        sampled = ring[packet]
      }
    }
    noteGone(packet: packet)
  }

  mutating func noteLost(packet: Int, byteCount: Int) {
    lost += byteCount
    noteGone(packet: packet)
  }

  /// A chunk of this packet is not in flight any more.
  mutating func noteGone(packet: Int) {
    ring[packet].remaining -= 1
    while !ring.isEmpty, ring[ring.first].remaining == 0 { ring.removeFirst() }
  }

  /// Bytes delivered without an arrival that can be measured.
  mutating func noteLateArrival(byteCount: Int) { delivered += byteCount }

  // MARK: Sampling

  mutating func beginSample() {
    sampled = nil
    sampledNumber = -1
  }

  /// - Parameter minimumRoundTrip: a rate over a shorter time than this comes from acknowledgements that were bunched.
  mutating func finishSample(now: Instant, minimumRoundTrip: Interval?, _ sample: inout DeliverySample) {
    if let limit = applicationLimitedUntil, delivered > limit { applicationLimitedUntil = nil }
    guard sample.acknowledged > 0 else { return }
    deliveredAt = now
    guard let packet = sampled else { return }
    firstSentAt = packet.sentAt
    sample.priorDelivered = packet.delivered
    sample.delivered = delivered - packet.delivered
    sample.lostSince = lost - packet.lost
    sample.flightWhenSent = packet.flightBytes
    sample.isApplicationLimited = packet.isApplicationLimited
    let sending = packet.sentAt - packet.firstSentAt
    let arriving = now - packet.deliveredAt
    let interval = max(sending, arriving)
    sample.roundTrip = now - packet.sentAt
    guard interval > .zero, interval >= (minimumRoundTrip ?? .zero) else { return }
    sample.rate = Rate.of(sample.delivered, over: interval)
  }
}

/// Bytes a second, without overflow for any byte count below 2^33 and any time.
package enum Rate {
  package static func of(_ byteCount: Int, over interval: Interval) -> Int {
    guard interval > .zero else { return 0 }
    let (quotient, _) = UInt64(interval.nanoseconds).dividingFullWidth(
      UInt64(clamping: byteCount).multipliedFullWidth(by: 1_000_000_000))
    return Int(clamping: quotient)
  }

  /// The bytes that pass at this rate in a time.
  package static func bytes(_ rate: Int, over interval: Interval) -> Int {
    guard interval > .zero, rate > 0 else { return 0 }
    let product = UInt64(rate).multipliedFullWidth(by: UInt64(interval.nanoseconds))
    guard product.high < 1_000_000_000 else { return .max }
    return Int(clamping: UInt64(1_000_000_000).dividingFullWidth(product).quotient)
  }

  /// The time that the bytes take at this rate.
  package static func time(for byteCount: Int, at rate: Int) -> Interval {
    guard rate > 0, byteCount > 0 else { return .zero }
    let product = UInt64(byteCount).multipliedFullWidth(by: 1_000_000_000)
    guard product.high < UInt64(rate) else { return .seconds(3_600) }
    return Interval(nanoseconds: Int64(clamping: UInt64(rate).dividingFullWidth(product).quotient))
  }
}
