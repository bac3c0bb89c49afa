// RoundTripEstimator.swift — the retransmission timeout from measured round trips (RFC 9260 §6.3.1, RFC 6298).

package import Wire

package struct RoundTripEstimator: Sendable {
  package private(set) var smoothed: Interval?
  private var variation = Interval.zero
  /// The smallest round trips of this stretch of time and of the one before.
  private var smallestNow: Interval?
  private var smallestBefore: Interval?
  private var stretchStart = Instant(nanoseconds: 0)
  /// The timeout before backoff.
  private var base: Interval
  private var expiries = 0
  private let minimum: Interval
  private let maximum: Interval
  private let maximumBackoff: Interval

  package init(_ configuration: SCTPConfiguration) {
    minimum = configuration.minimumRTO
    maximum = configuration.maximumRTO
    maximumBackoff = configuration.maximumBackoff
    base = min(max(configuration.initialRTO, configuration.minimumRTO), configuration.maximumRTO)
  }

  /// The smallest round trip of late: what the path takes when no queue is in the way.
  package var smallest: Interval? {
    guard let smallestNow else { return smallestBefore }
    return smallestBefore.map { min($0, smallestNow) } ?? smallestNow
  }

  /// Any round trip that was measured without doubt.
  package mutating func note(_ roundTrip: Interval, now: Instant) {
    guard roundTrip > .zero else { return }
    if now - stretchStart > Self.stretch {
      smallestBefore = smallestNow
      smallestNow = nil
      stretchStart = now
    }
    smallestNow = smallestNow.map { min($0, roundTrip) } ?? roundTrip
  }

  /// Long enough to have seen the path without a queue, short enough to forget a path that is no more.
  private static let stretch = Interval.seconds(30)

  /// The timeout now: doubled for each expiry since the last sign of life, but not past the ceiling of backoff.
  package var timeout: Interval {
    guard expiries > 0 else { return base }
    let ceiling = max(base, maximumBackoff)
    // 2^16 times the smallest timeout is past every ceiling; the cap keeps the product from overflowing.
    return min(base * (1 << Int64(min(expiries, 16))), ceiling)
  }

  /// A round trip that was measured on a chunk sent once (Karn's rule is the caller's).
  package mutating func sample(_ roundTrip: Interval) {
    // A clock that stood still or went back, or a peer that sat on its answer, teaches nothing.
    guard roundTrip > .zero, roundTrip <= Self.longestPlausible else { return }
    if let smoothed {
      let difference = smoothed > roundTrip ? smoothed - roundTrip : roundTrip - smoothed
      variation = (variation * 3 + difference) / 4
      self.smoothed = (smoothed * 7 + roundTrip) / 8
    } else {
      smoothed = roundTrip
      variation = roundTrip / 2
    }
    guard let smoothed else { return }
    base = min(max(smoothed + variation * 4, minimum), maximum)
    expiries = 0
  }

  /// The timer has expired since anything came back.
  var hasBackedOff: Bool { expiries > 0 }
  package mutating func backOff() { expiries = min(expiries + 1, 16) }
  /// The peer has acknowledged something new: the path works again.
  package mutating func noteProgress() { expiries = 0 }

  private static let longestPlausible = Interval.seconds(60)
}
