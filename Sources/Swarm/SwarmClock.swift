// SwarmClock.swift — the time of day, for the timestamps that go over the wire.

import Glibc
import Net
import Wire

enum SwarmClock {
  static func now() -> Instant { MonotonicClock.now() }

  /// Milliseconds since 1970 at the moment 0 of `now()`.
  static func wallClockOrigin() -> Int64 {
    var time = timespec()
    let result = unsafe clock_gettime(CLOCK_REALTIME, &time)
    precondition(result == 0, "CLOCK_REALTIME exists on every Linux")
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000 - now().nanoseconds / 1_000_000
  }
}

extension Interval {
  init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    // Ten years are for ever, and far from overflowing.
    let bounded = min(max(seconds, -315_360_000), 315_360_000)
    self.init(nanoseconds: bounded * 1_000_000_000 + attoseconds / 1_000_000_000)
  }

  var duration: Duration { .nanoseconds(nanoseconds) }
}
