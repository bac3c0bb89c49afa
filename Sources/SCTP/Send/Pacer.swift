// Pacer.swift — spreads packets over the round trip, so that a window does not arrive at the bottleneck at once.
//
// What may leave at once is a burst of about a millisecond at the current rate: few enough packets for a queue, enough for
// one system call to carry many. After a burst the pacer waits until the path has had time for all of it.

import Wire

struct Pacer {
  /// Up to when the path is busy with what has been sent.
  private var busyUntil = Instant(nanoseconds: 0)
  /// When a burst may go again; nil: one may go now, or nothing was asked for.
  private(set) var deadline: Instant?

  /// A burst lasts no longer on the path.
  private static let burstTime = Interval.milliseconds(1)
  /// And holds no more bytes than two full system calls.
  private static let maximumBurst = 128 << 10
  /// On a path with shorter round trips the turns of the event loops are the pace; timers would only cost.
  static let shortestRoundTrip = Interval.milliseconds(2)

  /// Whether a packet may leave. If not, `deadline` says when.
  mutating func admits(now: Instant, rate: Int?, packetSize: Int) -> Bool {
    guard let rate, rate > 0 else {
      deadline = nil
      return true
    }
    let burst = max(min(Rate.bytes(rate, over: Self.burstTime), Self.maximumBurst), 2 * packetSize)
    // A path that has turned out to be faster is not busy for as long as was thought.
    busyUntil = min(busyUntil, now + Rate.time(for: burst + 2 * packetSize, at: rate))
    if let due = deadline.map({ min($0, busyUntil) }) {
      deadline = due
      guard due <= now else { return false }
      deadline = nil
    }
    guard busyUntil - now >= Rate.time(for: burst, at: rate) else { return true }
    deadline = busyUntil
    return false
  }

  mutating func noteSent(_ byteCount: Int, now: Instant, rate: Int?) {
    guard let rate, rate > 0 else { return }
    // A loop that woke up late may catch up, by one burst.
    busyUntil =
      max(busyUntil, Instant(nanoseconds: now.nanoseconds - Self.burstTime.nanoseconds))
      + Rate.time(for: byteCount, at: rate)
  }

  mutating func handleTimeout(now: Instant) {
    if let due = deadline, due <= now { deadline = nil }
  }

  /// There is nothing to send that the pace holds back.
  mutating func standDown() { deadline = nil }
}
