// RandomSource.swift — randomness is handed in, so that a seed repeats a whole run.

/// Where a protocol machine takes its random numbers from.
@frozen
public enum RandomSource: RandomNumberGenerator, Sendable {
  /// The operating system's generator; the only one for real connections.
  case system
  /// A reproducible sequence for simulations and tests (SplitMix64).
  case seeded(state: UInt64)

  public mutating func next() -> UInt64 {
    switch self {
    case .system:
      var generator = SystemRandomNumberGenerator()
      return generator.next()
    case .seeded(var state):
      state &+= 0x9E37_79B9_7F4A_7C15
      self = .seeded(state: state)
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  /// An independent source for a part: the system's again, or a sequence of its own drawn from this one.
  public mutating func split() -> RandomSource {
    switch self {
    case .system: .system
    case .seeded: .seeded(state: next())
    }
  }

  public mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }
}
