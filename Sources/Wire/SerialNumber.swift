// SerialNumber.swift — numbers that wrap, ordered on a circle (RFC 1982).

/// A 32-bit number whose order is that of RFC 1982 §3.2: `a` is after `b` when it is less than 2^31 steps ahead.
public protocol SerialNumber: Hashable, Comparable, Sendable {
  var rawValue: UInt32 { get }
  init(rawValue: UInt32)
}

extension SerialNumber {
  @inlinable public static func < (a: Self, b: Self) -> Bool { b.isAfter(a) }

  @inlinable public func isAfter(_ other: Self) -> Bool {
    let distance = rawValue &- other.rawValue
    return distance != 0 && distance < 0x8000_0000
  }

  /// The number `n` steps ahead on the circle.
  @inlinable public func advanced(by n: UInt32) -> Self { Self(rawValue: rawValue &+ n) }
  /// The number `n` steps back on the circle.
  @inlinable public func reversed(by n: UInt32) -> Self { Self(rawValue: rawValue &- n) }
  /// Steps forward from `other` to this number, 0 ..< 2^32.
  @inlinable public func distance(from other: Self) -> UInt32 { rawValue &- other.rawValue }
}
