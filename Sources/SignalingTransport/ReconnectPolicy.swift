// ReconnectPolicy.swift — how long to wait before the next attempt: exponential with full jitter.
//
// Full jitter (a uniform choice between nothing and the bound) spreads the peers that a restarted server lost at the
// same moment; a fixed schedule would bring them back in waves (B-16).

public import Wire

public struct ReconnectPolicy: Hashable, Sendable {
  /// The bound of the first wait.
  public var base = Interval.milliseconds(500)
  /// The bound of every wait.
  public var ceiling = Interval.seconds(30)
  /// A connection that lasted so long ends the series; one that the server drops at once does not.
  public var stableAfter = Interval.seconds(10)
  /// Attempts since the last stable connection.
  public private(set) var attempts = 0

  public init() {}

  /// The longest that the next wait can be.
  public var bound: Interval {
    var bound = base
    for _ in 0..<min(attempts, Self.maximumDoublings) where bound < ceiling { bound = bound * 2 }
    return min(bound, ceiling)
  }

  /// The next wait; counts the attempt.
  public mutating func nextDelay(using random: inout RandomSource) -> Interval {
    let bound = max(bound.nanoseconds, 0)
    attempts += 1
    return Interval(nanoseconds: Int64.random(in: 0...bound, using: &random))
  }

  /// A connection ended after `lifetime`.
  public mutating func connectionEnded(after lifetime: Interval) {
    if lifetime >= stableAfter { attempts = 0 }
  }

  private static let maximumDoublings = 30
}
