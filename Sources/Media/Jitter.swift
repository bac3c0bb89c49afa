// Jitter.swift — the interarrival jitter of one stream, in integers (RFC 3550 §6.4.1, A.8).

import Wire

struct Jitter {
  private var clockRate: UInt32 = 0
  private var transit: UInt32?
  /// Sixteen times the jitter, in ticks, as A.8 keeps it.
  private var scaled: Int64 = 0

  /// In ticks of the stream's clock.
  var ticks: UInt32 { UInt32(clamping: scaled >> 4) }

  var interval: Interval {
    guard clockRate > 0 else { return .zero }
    return Interval(nanoseconds: Int64(ticks) * 1_000_000_000 / Int64(clockRate))
  }

  mutating func receive(timestamp: UInt32, clockRate: UInt32, now: Instant) {
    guard clockRate > 0 else { return }
    if clockRate != self.clockRate {  // RFC 7160 §4.1: transit times of two clocks cannot be compared
      self.clockRate = clockRate
      transit = nil
      scaled = 0
    }
    let current = RTPClock.ticks(at: now, clockRate: clockRate) &- timestamp
    if let transit {
      let difference = Int64(Int32(truncatingIfNeeded: current &- transit).magnitude)
      scaled += difference - ((scaled + 8) >> 4)
    }
    transit = current
  }
}

/// Time as an RTP timestamp counts it.
enum RTPClock {
  /// Ticks since the origin of the instants, modulo 2^32.
  static func ticks(at instant: Instant, clockRate: UInt32) -> UInt32 {
    ticks(in: Interval(nanoseconds: instant.nanoseconds), clockRate: clockRate)
  }

  /// Modulo 2^32, so that a span may be of any length; rounded down.
  static func ticks(in interval: Interval, clockRate: UInt32) -> UInt32 {
    let (seconds, rest) = interval.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    let rate = Int64(clockRate)
    var part = (rest * rate).quotientAndRemainder(dividingBy: 1_000_000_000)
    if part.remainder < 0 { part.quotient -= 1 }
    return UInt32(truncatingIfNeeded: seconds &* rate &+ part.quotient)
  }
}
