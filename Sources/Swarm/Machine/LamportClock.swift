// LamportClock.swift — the logical clock of the envelope (WIRE §5), which no peer can push out of reach (§6.5).

/// Counts sends, receipts and local writes. Invariant: 0 ≤ value ≤ 2^53 − 1, so every browser can follow it.
package struct LamportClock: Sendable {
  package private(set) var value: Int64 = 0

  package init() {}

  /// The timestamp of the next message or local write.
  package mutating func tick() -> Int64 {
    value = min(value + 1, SwarmLimits.maximumSafeInteger)
    return value
  }

  /// Follows a clock that came with a message. One that is too far ahead is not followed: the message still counts.
  package mutating func observe(_ timestamp: Int64?, wallMilliseconds: Int64) {
    guard let timestamp, timestamp >= 0, timestamp <= ceiling(wallMilliseconds: wallMilliseconds) else {
      _ = tick()
      return
    }
    value = min(max(value, timestamp) + 1, SwarmLimits.maximumSafeInteger)
  }

  /// The highest clock that is believed. Some virtual peers count milliseconds since 1970, so it lies ahead of that; it
  /// moves with the time and not with what others send, so no series of messages can push it.
  package func ceiling(wallMilliseconds: Int64) -> Int64 {
    min(max(value, wallMilliseconds + SwarmLimits.maximumClockLead), SwarmLimits.maximumSafeInteger)
  }
}
