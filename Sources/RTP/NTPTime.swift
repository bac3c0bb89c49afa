// NTPTime.swift — wall-clock times and short spans as RTCP carries them, in integers (RFC 3550 §4, RFC 5905 §6).
//
// No clock is read: the caller gives the wall clock's nanoseconds since 1970.

package import Wire

/// Seconds since 1900 in 32.32 fixed point. The seconds wrap in 2036; numbers below 2^31 are taken to be after that.
package struct NTPTime: Hashable, Sendable {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }

  /// - Parameter unixNanoseconds: nanoseconds since 1970-01-01T00:00:00Z.
  package init(unixNanoseconds: Int64) {
    var seconds = unixNanoseconds / Self.nanosecondsPerSecond
    var rest = unixNanoseconds % Self.nanosecondsPerSecond
    if rest < 0 {
      seconds -= 1
      rest += Self.nanosecondsPerSecond
    }
    // Rounded up, so that the way back, which rounds down, meets the same nanosecond.
    let fraction = ((UInt64(rest) << 32) + UInt64(Self.nanosecondsPerSecond - 1)) / UInt64(Self.nanosecondsPerSecond)
    rawValue = UInt64(UInt32(truncatingIfNeeded: seconds + Self.secondsFrom1900To1970)) << 32 | fraction
  }

  /// Nanoseconds since 1970, between 1968 and 2104.
  package var unixNanoseconds: Int64 {
    let seconds = Int64(rawValue >> 32) + (rawValue >> 63 == 0 ? 1 << 32 : 0) - Self.secondsFrom1900To1970
    let rest = ((rawValue & 0xffff_ffff) * UInt64(Self.nanosecondsPerSecond)) >> 32
    return seconds * Self.nanosecondsPerSecond + Int64(rest)
  }

  /// The middle 32 bits, which a report block returns as LSR (RFC 3550 §6.4.1).
  package var middle: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 16) }

  private static let nanosecondsPerSecond: Int64 = 1_000_000_000
  private static let secondsFrom1900To1970: Int64 = 2_208_988_800
}

/// A span in 1/65536 s, as DLSR and the difference of two LSRs (RFC 3550 §6.4.1).
package struct NTPInterval: Hashable, Sendable {
  package var rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The nearest below; clamped to 0 … 65535.99998 s.
  package init(_ interval: Interval) {
    let nanoseconds = UInt64(max(0, interval.nanoseconds))
    let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    rawValue = seconds > 0xffff ? .max : UInt32(seconds << 16 | (rest << 16) / 1_000_000_000)
  }

  package var interval: Interval {
    Interval(nanoseconds: (Int64(rawValue) * 1_000_000_000) >> 16)
  }

  /// The round trip that a report block measures (RFC 3550 §6.4.1): arrival - LSR - DLSR, each of 32 bits.
  /// Nil when no sender report had been seen by the peer; zero when the peer claims to have waited longer than it did.
  package static func roundTrip(arrival: NTPTime, lastSenderReport: UInt32, delay: UInt32) -> Interval? {
    guard lastSenderReport != 0 else { return nil }
    let difference = arrival.middle &- lastSenderReport &- delay
    return difference >= 1 << 31 ? .zero : NTPInterval(rawValue: difference).interval
  }
}
