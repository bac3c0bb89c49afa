// SoakPlan.swift — what one seed of a soak runs with: two configurations and a network, drawn from the seed.

import SCTP
import Wire

struct SoakPlan {
  var left = SCTPConfiguration()
  var right = SCTPConfiguration()
  var conditions = PathConditions()
  /// Nothing is lost, late or refused: even what may be given up arrives.
  var isLossless = false
  var restarts = false
  var connectsFromBothSides = true
  var largestMessage = 65_536
  var steps = 0

  init(_ dice: inout RandomSource) {
    isLossless = dice.chance(1, in: 10)
    restarts = !isLossless && dice.chance(1, in: 6)
    connectsFromBothSides = dice.chance(2, in: 3)
    steps = 20 + dice.below(dice.chance(1, in: 10) ? 600 : 100)
    left = Self.configuration(&dice)
    right = Self.configuration(&dice)
    largestMessage = dice.pick([16_384, 65_536])
    // Parts of as many messages as there are lanes may have to be held, when they are interleaved.
    let isInterleaved = left.offersInterleaving && right.offersInterleaving
    for isLeft in [true, false] {
      var configuration = isLeft ? left : right
      if isInterleaved {
        configuration.maximumReceiveWindow = max(configuration.maximumReceiveWindow, Lane.all.count * largestMessage)
      }
      configuration.maximumIncomingMessageSize = largestMessage
      configuration.maximumOutgoingMessageSize = largestMessage
      // When each gives up is another question.
      configuration.maximumInitRetransmits = 1_000
      configuration.maximumRetransmits = 1_000
      if isLeft { left = configuration } else { right = configuration }
    }
    if isLossless {
      // A window that the parts of large messages can fill makes the sender wait and probe.
      left.receiveWindow = 1 << 20
      left.maximumReceiveWindow = 16 << 20
      right.receiveWindow = 1 << 20
      right.maximumReceiveWindow = 16 << 20
      conditions.delay = .milliseconds(Int64(dice.below(40)))
      return
    }
    for isLeft in [true, false] {
      let delay = Interval.milliseconds(Int64(dice.pick([0, 20, 20, 100, 200])))
      if isLeft { left.acknowledgementDelay = delay } else { right.acknowledgementDelay = delay }
    }
    conditions = Self.conditions(&dice, mayCorrupt: !left.offersZeroChecksum)
  }

  private static func configuration(_ dice: inout RandomSource) -> SCTPConfiguration {
    var configuration = SCTPConfiguration()
    configuration.maximumPacketSize = dice.pick([512, 1_188, 1_188, 1_188, 1_432])
    configuration.receiveWindow = dice.pick([8_192, 40_000, 131_072, 1 << 20, 4 << 20])
    configuration.maximumReceiveWindow = max(configuration.receiveWindow, dice.pick([0, 262_144, 16 << 20]))
    configuration.sendBufferLimit = dice.pick([4_096, 65_536, 1 << 20])
    configuration.congestionControl = dice.pick(CongestionControl.allCases)
    configuration.scheduling = dice.pick([.firstComeFirstServed, .roundRobin, .weightedFair])
    configuration.offersInterleaving = dice.chance(2, in: 3)
    configuration.offersZeroChecksum = dice.chance(1, in: 2)
    return configuration
  }

  /// - Parameter mayCorrupt: one side insists on checksums, so that both use them.
  static func conditions(_ dice: inout RandomSource, mayCorrupt: Bool) -> PathConditions {
    var conditions = PathConditions()
    conditions.delay = .milliseconds(Int64(dice.pick([0, 1, 10, 30, 80, 200])))
    conditions.jitter = .milliseconds(Int64(dice.pick([0, 0, 1, 10, 40])))
    conditions.lossPerMille = dice.pick([0, 1, 10, 50, 100, 200, 300])
    conditions.duplicationPerMille = dice.pick([0, 0, 10, 50])
    conditions.reorderingPerMille = dice.pick([0, 0, 20, 200])
    conditions.corruptionPerMille = mayCorrupt ? dice.pick([0, 0, 10, 50]) : 0
    conditions.bytesPerSecond = dice.pick([0, 0, 100_000, 1_000_000])
    conditions.queueBytes = dice.pick([4_000, 30_000, 200_000])
    return conditions
  }
}

extension RandomSource {
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func chance(_ count: Int, in all: Int) -> Bool { below(all) < count }
  mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }
}
