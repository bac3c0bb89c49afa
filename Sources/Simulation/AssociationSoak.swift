// AssociationSoak.swift — random operations on two associations over a hostile network, and what must hold: whatever is
// delivered is a prefix of what was sent on ordered reliable streams and nothing is delivered twice; when the network
// heals, everything reliable arrives, whatever may be given up blocks nothing, counters are the sums that they stand
// for, and both sides fall silent.

import SCTP
import Wire

/// Runs one seed.
///
/// - Throws: what did not hold.
package func soakAssociations(seed: UInt64) throws(SoakFailure) -> AssociationSoak.Counts {
  var soak = AssociationSoak(seed: seed)
  return try soak.run()
}

package struct AssociationSoak: ~Copyable {
  /// What a run has exercised.
  package struct Counts: Sendable {
    package var messages = 0
    package var packets = 0
    package var abandoned = 0
    package var resets = 0
    package var restarts = 0
    package var shutdowns = 0
    package var aborts = 0

    package init() {}
  }

  /// One application.
  struct User {
    /// What it sends, and what of it the other side has got.
    var traffic: SoakTraffic
    /// What it sent before it restarted: some of that may still arrive until the other side has noticed.
    var before: SoakTraffic?
    /// What was sent on each stream when its reset was asked for.
    var resetting: [UInt16: [UInt32]] = [:]
    var isEstablished = false
    var closed: SCTPCloseReason?

    init(traffic: SoakTraffic) { self.traffic = traffic }

    init(restarted before: SoakTraffic) {
      traffic = SoakTraffic(life: before.life &+ 1, largest: before.largest)
      self.before = before
    }
  }

  let plan: SoakPlan
  var dice: RandomSource
  var world: TwoAssociations
  var left: User
  var right: User
  /// The side that has begun anew, until both are up; resets that the other had asked for mean nothing now.
  var restarting: TwoAssociations.Side?
  var mayClose = false
  var counts = Counts()
  var steps = 0

  init(seed: UInt64) {
    dice = .seeded(state: seed &* 0x2545_F491_4F6C_DD1D)
    plan = SoakPlan(&dice)
    world = TwoAssociations(left: plan.left, right: plan.right, conditions: plan.conditions, seed: dice.next())
    left = User(traffic: SoakTraffic(life: 0, largest: plan.largestMessage))
    right = left
    if dice.chance(1, in: 2) {
      world.left.chargePerMessage = 64
      world.right.chargePerMessage = 64
    }
  }

  mutating func run() throws(SoakFailure) -> Counts {
    world.left.association.connect(now: world.now)
    if plan.connectsFromBothSides { world.right.association.connect(now: world.now) }
    for _ in 0..<plan.steps {
      try operate()
      try advance(by: .milliseconds(Int64(dice.chance(1, in: 12) ? dice.below(3_000) : dice.below(40))))
      try checkSums()
    }
    try heal()
    try checkSilence()
    try end()
    counts.messages = left.traffic.delivered + right.traffic.delivered
    counts.packets = world.packetsSent
    return counts
  }

  // MARK: Operations

  private mutating func operate() throws(SoakFailure) {
    let side: TwoAssociations.Side = dice.chance(1, in: 2) ? .left : .right
    switch dice.below(100) {
    case 0..<70:
      for _ in 0...dice.below(8) { send(lane: dice.below(Lane.all.count), from: side) }
    case 70..<80:
      reset(UInt16(dice.below(9)), of: side)
    case 80..<86 where !plan.isLossless:
      let dawdles = dice.chance(1, in: 2)
      if side == .left { world.left.dawdles = dawdles } else { world.right.dawdles = dawdles }
    case 86..<90 where !plan.isLossless:
      world.network.conditions = SoakPlan.conditions(&dice, mayCorrupt: !plan.left.offersZeroChecksum)
    case 90..<93 where !plan.isLossless:
      try blackOut()
    case 93..<96 where plan.restarts:
      restart(side)
    default: break
    }
  }

  mutating func send(lane: Int, from side: TwoAssociations.Side) {
    let traffic = side == .left ? left.traffic : right.traffic
    let kind = Lane.all[lane]
    let reliability: Reliability =
      switch kind.promise {
      case .reliable: .reliable
      case .retransmits: .maximumRetransmits(UInt16(dice.below(4)))
      case .lifetime: .maximumLifetime(milliseconds: UInt16(dice.below(500)))
      }
    let message = OutgoingMessage(
      stream: kind.stream, payloadProtocol: .binary,
      payload: traffic.header(lane: lane).payload(largest: traffic.largest),
      isOrdered: kind.isOrdered, reliability: reliability)
    do throws(SCTPSendError) {
      if side == .left {
        try world.left.association.send(message, now: world.now)
        left.traffic.noteSent(lane: lane)
      } else {
        try world.right.association.send(message, now: world.now)
        right.traffic.noteSent(lane: lane)
      }
    } catch {
      return  // the buffer is full, or the stream is being reset: the number is used by the next
    }
  }

  private mutating func reset(_ stream: UInt16, of side: TwoAssociations.Side) {
    guard restarting == nil else { return }
    if side == .left {
      guard left.resetting[stream] == nil else { return }
      left.resetting[stream] = left.traffic.sent
      world.left.association.resetStreams([stream], now: world.now)
    } else {
      guard right.resetting[stream] == nil else { return }
      right.resetting[stream] = right.traffic.sent
      world.right.association.resetStreams([stream], now: world.now)
    }
  }

  private mutating func blackOut() throws(SoakFailure) {
    let before = world.network.conditions
    world.network.conditions.lossPerMille = 1_000
    try advance(by: .milliseconds(Int64(dice.below(6_000))))
    world.network.conditions = before
  }

  /// One side loses everything it knows and connects again (RFC 9260 §5.2.4.1).
  private mutating func restart(_ side: TwoAssociations.Side) {
    guard restarting == nil, left.isEstablished, right.isEstablished else { return }
    restarting = side
    counts.restarts += 1
    let seed = dice.next()
    if side == .left {
      world.left = AssociationEnd(plan.left, seed: seed)
      left = User(restarted: left.traffic)
      right.traffic.receiverRestarted()
      right.resetting = [:]
      world.left.association.connect(now: world.now)
    } else {
      world.right = AssociationEnd(plan.right, seed: seed)
      right = User(restarted: right.traffic)
      left.traffic.receiverRestarted()
      left.resetting = [:]
      world.right.association.connect(now: world.now)
    }
  }
}
