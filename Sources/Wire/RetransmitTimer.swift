// RetransmitTimer.swift — a timer with exponential backoff, as a value owned by the state that needs it.

/// Doubles its interval after each expiry up to a ceiling.
///
/// Invariant: `deadline` is non-nil exactly while the timer runs.
@frozen
public struct RetransmitTimer: Sendable {
  public private(set) var deadline: Instant?
  /// How often the timer has expired since it was started.
  public private(set) var expirations = 0
  private var initial: Interval
  private let ceiling: Interval

  /// - Parameters:
  ///   - initial: the first interval; must be positive.
  ///   - ceiling: the longest interval that backoff reaches.
  public init(initial: Interval, ceiling: Interval) {
    self.initial = initial
    self.ceiling = ceiling
  }

  public var isRunning: Bool { deadline != nil }

  public mutating func start(now: Instant) {
    expirations = 0
    deadline = now + min(initial, ceiling)
  }

  /// Starts with another first interval, for timers whose interval follows a measured round trip.
  public mutating func start(now: Instant, initial: Interval) {
    self.initial = initial
    start(now: now)
  }

  public mutating func stop() { deadline = nil }

  /// True once per expiry; re-arms from the deadline, so that a late wake-up does not stretch the schedule. A
  /// wake-up later than the whole next interval re-arms from `now`, so that expiries do not bunch.
  public mutating func expire(now: Instant) -> Bool {
    guard let due = deadline, due <= now else { return false }
    expirations += 1
    let interval = backedOff
    let next = due + interval
    deadline = next > now ? next : now + interval
    return true
  }

  private var backedOff: Interval {
    // 2^20 times the smallest sensible interval is past every ceiling; the cap keeps the shift from overflowing.
    let factor = Int64(1) << Int64(min(expirations, 20))
    let (product, overflow) = initial.nanoseconds.multipliedReportingOverflow(by: factor)
    return overflow ? ceiling : min(Interval(nanoseconds: product), ceiling)
  }
}
