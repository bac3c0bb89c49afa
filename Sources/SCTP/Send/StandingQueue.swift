// StandingQueue.swift — whether packets stand in a queue: what tells the losses of an overflow from those of a path that
// loses at random.

import Wire

struct StandingQueue: Sendable {
  /// The smallest round trip of the round before and of this one.
  private var smallest: (previous: Interval?, current: Interval?) = (nil, nil)
  /// The smallest of all, while it is young enough: the path may have changed.
  private var base: (value: Interval, at: Instant)?

  private static let baseLifetime = Interval.seconds(120)

  mutating func note(_ roundTrip: Interval?, isRoundStart: Bool, now: Instant) {
    if isRoundStart { smallest = (previous: smallest.current, current: nil) }
    guard let roundTrip, roundTrip > .zero else { return }
    smallest.current = min(smallest.current ?? roundTrip, roundTrip)
    if let known = base, known.value < roundTrip, now - known.at <= Self.baseLifetime { return }
    base = (value: roundTrip, at: now)
  }

  /// Each round trip of two rounds was longer than the shortest of all by half.
  var exists: Bool {
    guard let base, let current = smallest.current ?? smallest.previous else { return false }
    return min(current, smallest.previous ?? current) >= base.value + base.value / 2
  }
}
