// MonotonicClock.swift — the only place where the stack reads the time.

package import Wire
import Glibc

package enum MonotonicClock {
  /// Nanoseconds of CLOCK_MONOTONIC. The event loop reads it once a turn and passes it down.
  package static func now() -> Instant {
    var time = timespec()
    let result = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    precondition(result == 0, "CLOCK_MONOTONIC exists on every Linux")
    return Instant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
  }
}

package enum WallClock {
  /// For what is dated by the calendar, as certificates are; nothing that waits goes by it.
  package static func secondsSince1970() -> Int64 { Int64(time(nil)) }
}
