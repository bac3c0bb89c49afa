// AssociationSoak+Checks.swift — letting time pass, and judging what comes of it.

import SCTP
import Wire

extension AssociationSoak {
  /// More in one run is a spinning timer: the longest honest one takes a tenth of it.
  private static let maximumSteps = 2_000_000
  /// How long a network without loss may take to deliver everything.
  private static let patience = Interval.seconds(600)
  /// Heartbeats, probes and what answers them.
  private static let mostPacketsInSilence = 16

  mutating func advance(by interval: Interval) throws(SoakFailure) {
    let end = world.now + interval
    world.drain()
    try takeOutput()
    while world.step(limit: end) { try takeStep() }
    world.idle(until: end)
  }

  private mutating func takeStep() throws(SoakFailure) {
    steps += 1
    guard steps < Self.maximumSteps else { throw SoakFailure("timers spin") }
    guard world.longestDrain < TwoAssociations.longestDrainAllowed else { throw SoakFailure("sending does not end") }
    try takeOutput()
  }

  // MARK: What has come out

  private mutating func takeOutput() throws(SoakFailure) {
    for side in TwoAssociations.Side.allCases {
      var output: [AssociationEnd.Output] = []
      if side == .left { swap(&output, &world.left.output) } else { swap(&output, &world.right.output) }
      for item in output {
        switch item {
        case .message(let message): try take(message, at: side)
        case .event(let event): try take(event, at: side)
        }
      }
    }
  }

  private mutating func take(_ message: IncomingMessage, at side: TwoAssociations.Side) throws(SoakFailure) {
    guard let header = SoakHeader(message.payload) else { throw SoakFailure("a message without a header") }
    if side == .left {
      try right.receive(message, header)
    } else {
      try left.receive(message, header)
    }
  }

  private mutating func take(_ event: SCTPAssociation.Event, at side: TwoAssociations.Side) throws(SoakFailure) {
    switch event {
    case .established:
      if side == .left { left.isEstablished = true } else { right.isEstablished = true }
      if restarting == side { noteRestartProgress() }
    case .restarted:
      guard restarting == side.other else { throw SoakFailure("\(side) saw a restart that was none") }
      if side == .left { right.before = nil } else { left.before = nil }
      noteRestartProgress()
    case .incomingStreamsReset(let streams):
      if restarting == side.other { return }
      let peer = side == .left ? right : left
      for stream in streams {
        guard let then = peer.resetting[stream] else { throw SoakFailure("stream \(stream) was reset by itself") }
        guard peer.traffic.isComplete(stream: stream, sentThen: then) else {
          throw SoakFailure("stream \(stream) was reset before all of it had come, or after more had")
        }
      }
    case .outgoingStreamsReset(let streams):
      counts.resets += streams.count
      for stream in streams {
        if side == .left { left.resetting[stream] = nil } else { right.resetting[stream] = nil }
      }
    case .outgoingResetFailed(let streams):
      guard restarting != nil else { throw SoakFailure("the reset of \(streams) was refused") }
    case .closed(let reason):
      guard mayClose else { throw SoakFailure("\(side) has closed: \(reason)") }
      if side == .left { left.closed = reason } else { right.closed = reason }
    }
  }

  /// Over when the new side is up and the old one knows.
  private mutating func noteRestartProgress() {
    let user = restarting == .left ? left : right
    if user.isEstablished, user.before == nil { restarting = nil }
  }

  // MARK: What must hold

  func checkSums() throws(SoakFailure) {
    guard world.left.association.isConsistent else { throw SoakFailure("left's sums do not add up") }
    guard world.right.association.isConsistent else { throw SoakFailure("right's sums do not add up") }
    // Memory has a bound, whatever the network does.
    guard world.left.association.heldBytes <= plan.left.maximumReceiveWindow + plan.largestMessage,
      world.right.association.heldBytes <= plan.right.maximumReceiveWindow + plan.largestMessage
    else { throw SoakFailure("more is held than the window and one message") }
  }

  /// From here on nothing is lost and everybody reads: all that was promised arrives.
  mutating func heal() throws(SoakFailure) {
    var conditions = PathConditions()
    conditions.delay = world.network.conditions.delay
    world.network.conditions = conditions
    world.left.dawdles = false
    world.right.dawdles = false
    let end = world.now + Self.patience
    world.drain()
    try takeOutput()
    while !isSettled {
      guard world.step(limit: end) else { throw SoakFailure("stuck: \(whatIsLeft)") }
      try takeStep()
    }
    try checkSums()
    let held = world.left.association.heldBytes + world.right.association.heldBytes
    guard held == 0 else { throw SoakFailure("\(held) bytes are held for ever") }
    let buffered = world.left.association.bufferedTotal + world.right.association.bufferedTotal
    guard buffered == 0 else { throw SoakFailure("\(buffered) bytes are buffered though all is quiet") }
    let left = world.left.association.statistics
    let right = world.right.association.statistics
    guard left.bytesInFlight + right.bytesInFlight == 0 else {
      throw SoakFailure("bytes in flight though all is quiet")
    }
    // Where a message's lifetime has passed half-way, its last TSN is missing like a lost one.
    if plan.isLossless, left.messagesAbandoned + right.messagesAbandoned == 0, left.timeouts + right.timeouts > 0 {
      throw SoakFailure("\(left.timeouts) and \(right.timeouts) timeouts, though nothing was lost")
    }
    counts.abandoned += Int(left.messagesAbandoned + right.messagesAbandoned)
  }

  private var isSettled: Bool {
    left.isEstablished && right.isEstablished && restarting == nil && left.resetting.isEmpty && right.resetting.isEmpty
      && world.left.association.isQuiet && world.right.association.isQuiet && missing == nil
  }

  private var missing: String? {
    left.traffic.missing(isLossless: plan.isLossless) ?? right.traffic.missing(isLossless: plan.isLossless)
  }

  private var whatIsLeft: String {
    let left = world.left.association.statistics
    let right = world.right.association.statistics
    return """
      left \(world.left.association.state), quiet \(world.left.association.isQuiet), \
      resetting \(self.left.resetting.keys.sorted()), in flight \(left.bytesInFlight), \
      peer's window \(left.peerReceiverWindow), timeouts \(left.timeouts), fast retransmits \(left.fastRetransmits); \
      right \(world.right.association.state), quiet \(world.right.association.isQuiet), \
      resetting \(self.right.resetting.keys.sorted()), in flight \(right.bytesInFlight), \
      peer's window \(right.peerReceiverWindow), timeouts \(right.timeouts), fast retransmits \(right.fastRetransmits); \
      restarting \(restarting.map { "\($0)" } ?? "none"), missing \(missing ?? "nothing")
      """
  }

  mutating func checkSilence() throws(SoakFailure) {
    // What a slow link still holds is answered first.
    let end = world.now + .seconds(60)
    while world.network.nextArrival != nil, world.step(limit: end) { try takeStep() }
    try advance(by: .seconds(1))
    let before = world.packetsSent
    try advance(by: .seconds(5))
    let packets = world.packetsSent - before
    guard packets <= Self.mostPacketsInSilence else { throw SoakFailure("\(packets) packets though all is quiet") }
  }

  // MARK: Endings

  mutating func end() throws(SoakFailure) {
    // Not much: shutting down has a time limit.
    for _ in 0...dice.below(3) { send(lane: dice.below(Lane.all.count), from: dice.chance(1, in: 2) ? .left : .right) }
    mayClose = true
    let now = world.now
    switch dice.below(6) {
    case 0:
      if !plan.isLossless { world.network.conditions.lossPerMille = dice.pick([0, 10, 30]) }
      world.left.association.shutdown(now: now)
      try finish(left: .shutdown, right: .shutdown)
      counts.shutdowns += 1
    case 1:
      if !plan.isLossless { world.network.conditions.lossPerMille = dice.pick([0, 10, 30]) }
      world.left.association.shutdown(now: now)
      world.right.association.shutdown(now: now)
      try finish(left: .shutdown, right: .shutdown)
      counts.shutdowns += 1
    case 2:
      world.right.association.abort(reason: "soaked", now: now)
      let userInitiatedAbort: UInt16 = 12  // RFC 9260 §3.3.10.12
      try finish(left: .abortedByPeer(cause: userInitiatedAbort), right: .aborted)
      counts.aborts += 1
    default:
      mayClose = false
      try heal()
    }
  }

  private mutating func finish(left: SCTPCloseReason, right: SCTPCloseReason) throws(SoakFailure) {
    let end = world.now + Self.patience
    world.drain()
    try takeOutput()
    while self.left.closed == nil || self.right.closed == nil || world.network.nextArrival != nil {
      guard world.step(limit: end) else { throw SoakFailure("the end does not come: \(whatIsLeft)") }
      try takeStep()
    }
    guard self.left.closed == left, self.right.closed == right else {
      throw SoakFailure("closed as \(self.left.closed!) and \(self.right.closed!), not as \(left) and \(right)")
    }
    if left == .shutdown, let missing { throw SoakFailure("shut down without all of it: \(missing)") }
    guard world.left.association.deadline == nil, world.right.association.deadline == nil else {
      throw SoakFailure("a timer runs after the end")
    }
    try checkSums()
  }
}

extension AssociationSoak.User {
  /// The other side has got a message of this user's.
  mutating func receive(_ message: IncomingMessage, _ header: SoakHeader) throws(SoakFailure) {
    if header.life == traffic.life { return try traffic.receive(message, header) }
    guard before?.life == header.life else { throw SoakFailure("a message from before the restart") }
    try before?.receive(message, header)
  }
}
