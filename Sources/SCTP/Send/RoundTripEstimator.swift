// RoundTripEstimator.swift — the retransmission timeout from measured round trips (RFC 9260 §6.3.1, RFC 6298).

package import Wire

package struct RoundTripEstimator: Sendable {
  package private(set) var smoothed: Interval?
  private var variation = Interval.zero
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

  package mutating func backOff() { expiries = min(expiries + 1, 16) }
  /// The peer has acknowledged something new: the path works again.
  package mutating func noteProgress() { expiries = 0 }

  private static let longestPlausible = Interval.seconds(60)
}
