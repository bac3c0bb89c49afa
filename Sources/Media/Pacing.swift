// Pacing.swift — what keeps feedback, keyframes and retransmissions from being too many.

import Wire

/// Something that may be asked for at any time and happens at most once in an interval; what is asked for too soon
/// happens when the interval is over, once.
struct Coalescer {
  private(set) var isPending = false
  private var happened: Instant?
  private let interval: Interval

  init(interval: Interval) { self.interval = interval }

  mutating func request() { isPending = true }

  func isDue(now: Instant) -> Bool {
    guard isPending else { return false }
    guard let happened else { return true }
    return now - happened >= interval
  }

  /// True when it is to happen now.
  mutating func take(now: Instant) -> Bool {
    guard isDue(now: now) else { return false }
    isPending = false
    happened = now
    return true
  }

  /// Nil when nothing is pending; past when it may happen at once.
  var deadline: Instant? {
    guard isPending else { return nil }
    return happened.map { $0 + interval } ?? Instant(nanoseconds: .min)
  }
}

/// How many bytes may be sent again: a share of what was sent for the first time.
///
/// A peer that asks for everything, always, gets no more than that beside what it gets anyway: NACKs amplify nothing.
struct RetransmissionBudget {
  /// Repeats may take half as much again. At 30 % loss in both directions they need 43 %.
  static let share = 2
  /// What may be sent at once: a lost burst of a picture.
  static let maximumBurst = 1 << 17

  private(set) var bytes = maximumBurst / 2

  mutating func sent(_ byteCount: Int) { bytes = min(Self.maximumBurst, bytes + byteCount / Self.share) }

  mutating func take(_ byteCount: Int) -> Bool {
    guard bytes >= byteCount else { return false }
    bytes -= byteCount
    return true
  }
}

/// The smoothed round trip of the path (RFC 9260 §6.3.1 smooths alike).
struct RoundTrip {
  /// Before anything was measured: most paths are shorter.
  static let initial = Interval.milliseconds(100)
  /// A report that claims more is wrong, or has lain somewhere.
  static let maximum = Interval.seconds(10)

  private(set) var value: Interval?
  private var isReported = false

  var estimate: Interval { value ?? Self.initial }

  /// From a report on what we send.
  mutating func reported(_ sample: Interval) {
    guard sample <= Self.maximum else { return }
    value = isReported ? smooth(sample) : sample
    isReported = true
  }

  /// From how soon a packet came that was asked for once. Counts only while no report does.
  mutating func recovered(_ sample: Interval) {
    guard !isReported, sample <= Self.maximum else { return }
    value = smooth(sample)
  }

  private func smooth(_ sample: Interval) -> Interval {
    guard let value else { return sample }
    return value + (sample - value) / 8
  }
}
