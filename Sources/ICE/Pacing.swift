// Pacing.swift — how fast checks may follow each other (RFC 8445 §14.2).
//
// Ordinary checks keep the distance Ta. Triggered checks have an allowance of their own: a burst at once, then one per
// Ta. So an agent never sends more than two new checks per Ta for long, whatever the peer sends it.

import Wire

struct Pacing: Sendable {
  private let interval: Interval
  private let burst: Int64
  private var nextOrdinary: Instant?
  /// When the burst would be whole again: each triggered check moves it one interval on.
  private var triggeredDebt: Instant?

  init(interval: Interval, burst: Int64) {
    self.interval = interval
    self.burst = max(burst, 1)
  }

  mutating func takeOrdinary(now: Instant) -> Bool {
    if let nextOrdinary, nextOrdinary > now { return false }
    nextOrdinary = now + interval
    return true
  }

  mutating func takeTriggered(now: Instant) -> Bool {
    if let due = triggeredDue, due > now { return false }
    let debt = triggeredDebt ?? now
    triggeredDebt = (debt > now ? debt : now) + interval
    return true
  }

  /// When the next ordinary check may go; nil: at once.
  var ordinaryDue: Instant? { nextOrdinary }
  /// When the next triggered check may go; nil: at once.
  var triggeredDue: Instant? { triggeredDebt.map { $0 + interval * (1 - burst) } }
}
