// LoopCore.swift — everything of an event loop that only its own thread touches: participants, deadlines, jobs taken
// over, and the drain. Sockets are in `+Sockets`.
//
// Invariants: a slot in `touched` has `isTouched`, and is in it once; a participant's entry in `deadlines` is what it
// said at its last drain; `blockedSockets` counts the participant's own sockets with `isBlocked`.

import Glibc
import Wire

final class LoopCore {
  struct Member {
    var participant: (any EventLoopParticipant)?
    /// Tells a slot's tenants apart.
    var generation: UInt32 = 0
    var sockets: [SocketID] = []
    var blockedSockets = 0
    /// How many of the sockets are shared with others.
    var sharedSockets = 0
    var isTouched = false
    /// Leaves once it has nothing more to send.
    var isLeaving = false
    /// The turn in which its timeout was last handled.
    var timedOutAt: Instant?
  }

  private(set) var now: Instant
  var statistics = EventLoopStatistics()
  var poller: Poller
  var receiveBatch: ReceiveBatch
  var transmitBatch: TransmitBatch
  var sendArena = SendArena()
  let configuration: EventLoopConfiguration

  var members: [Member] = []
  private var freeSlots: [Int] = []
  private var deadlines = DeadlineHeap()
  private var touched: [Int] = []
  private var draining: [Int] = []
  var sockets: [SocketSlot] = []
  var freeSocketSlots: [Int] = []
  var sources = SourceTable()
  var interfaceMonitor: InterfaceMonitor?

  /// Taken over from the queue that other threads append to; run from `nextJobIndex` on.
  private var jobs: [UnownedJob] = []
  private var nextJobIndex = 0
  /// Taken over in the same way.
  private var touches: [EventLoopRegistration] = []

  init(configuration: EventLoopConfiguration) throws(NetError) {
    self.configuration = configuration
    now = MonotonicClock.now()
    poller = try Poller(allowsPreciseWait: configuration.allowsPreciseWait)
    receiveBatch = ReceiveBatch(slotCapacity: configuration.receiveSlots)
    transmitBatch = TransmitBatch(capacity: configuration.transmitCapacity)
  }

  var wakeDescriptor: Int32 { poller.wakeDescriptor }
  var nearestDeadline: Instant? { earliest(deadlines.earliest, sources.deadlines.earliest) }
  /// Whether the next turn has to come at once.
  var hasWorkLeft: Bool { !touched.isEmpty || hasJobs }

  func beginTurn(now: Instant) {
    self.now = now
    statistics.turns += 1
  }

  // MARK: Participants

  func add(_ participant: any EventLoopParticipant) -> (slot: Int, generation: UInt32) {
    let slot: Int
    if let free = freeSlots.popLast() {
      slot = free
    } else {
      slot = members.count
      members.append(Member())
    }
    members[slot].participant = participant
    touch(slot)
    return (slot, members[slot].generation)
  }

  func touch(_ registration: EventLoopRegistration) {
    guard isCurrent(registration) else { return }
    touch(registration.slot)
  }

  /// Touches those that other threads asked for; `exchange` swaps the empty array for a full one.
  func takeTouches(_ exchange: (inout [EventLoopRegistration]) -> Void) {
    exchange(&touches)
    for registration in touches {
      registration.touchArrived()
      touch(registration)
    }
    touches.removeAll(keepingCapacity: true)
  }

  func isBlocked(_ registration: EventLoopRegistration) -> Bool {
    guard isCurrent(registration) else { return false }
    return members[registration.slot].sockets.contains { socket($0)?.isBlocked == true }
  }

  func leave(_ registration: EventLoopRegistration, afterDrain: Bool) {
    guard isCurrent(registration) else { return }
    if afterDrain {
      members[registration.slot].isLeaving = true
      touch(registration.slot)
    } else {
      remove(registration.slot)
    }
  }

  /// Whether the participant has not left; a late call of one that has is no error.
  func isCurrent(_ registration: EventLoopRegistration) -> Bool {
    members[registration.slot].generation == registration.generation
      && members[registration.slot].participant != nil
  }

  func touch(_ slot: Int) {
    guard !members[slot].isTouched else { return }
    members[slot].isTouched = true
    touched.append(slot)
  }

  private func remove(_ slot: Int) {
    let participant = forget(slot)
    participant?.didLeave()
  }

  private func forget(_ slot: Int) -> (any EventLoopParticipant)? {
    let participant = members[slot].participant
    for id in members[slot].sockets { release(id, of: slot) }
    deadlines.update(slot, to: nil)
    stopWatchingInterfaces(slot)
    // A slot that is still in `touched` keeps the mark, so that its next tenant is not entered twice.
    members[slot] = Member(generation: members[slot].generation &+ 1, isTouched: members[slot].isTouched)
    freeSlots.append(slot)
    return participant
  }

  /// The loop ends: nobody is told, because nothing runs here any more.
  func removeAll() {
    for slot in members.indices where members[slot].participant != nil { _ = forget(slot) }
    for slot in sockets { if let bound = slot.bound { release(bound.socket.id) } }
    removeAllSources()
  }

  // MARK: Timeouts

  /// Calls every participant that is due, each at most once.
  func fireTimeouts() {
    fireSourceTimeouts()
    for _ in 0..<deadlines.count {
      guard let slot = deadlines.popDue(now: now) else { return }
      // The drain that follows enters the new deadline.
      touch(slot)
      members[slot].timedOutAt = now
      let participant = members[slot].participant
      participant?.timeout(now: now)
    }
  }

  private func updateDeadline(_ slot: Int, _ participant: any EventLoopParticipant) {
    var deadline = participant.deadline
    if let due = deadline, due <= now, members[slot].timedOutAt == now {
      statistics.stalledDeadlines += 1
      deadline = now + Self.stalledDelay
    }
    deadlines.update(slot, to: deadline)
  }

  // MARK: Jobs

  var hasJobs: Bool { nextJobIndex < jobs.count }

  /// Lets `exchange` swap the emptied array for a full one.
  func refillJobs(_ exchange: (inout [UnownedJob]) -> Void) {
    if jobs.capacity > Self.maximumKeptJobs {
      jobs = []
    } else {
      jobs.removeAll(keepingCapacity: true)
    }
    nextJobIndex = 0
    exchange(&jobs)
    statistics.jobs += UInt64(jobs.count)
  }

  func nextJob() -> UnownedJob? {
    guard hasJobs else { return nil }
    defer { nextJobIndex += 1 }
    return jobs[nextJobIndex]
  }

  // MARK: Drain

  /// Drains every touched participant once a round. One that has more waits for the others' turn; after the last round
  /// it stays touched, and the next turn, which begins with receiving, goes on.
  func drainTouched() {
    for _ in 0..<configuration.roundsPerTurn where !touched.isEmpty {
      swap(&touched, &draining)
      for index in draining.indices { drain(draining[index]) }
      draining.removeAll(keepingCapacity: true)
    }
  }

  private func drain(_ slot: Int) {
    // Cleared before the call: what the participant's own events cause must lead to another drain.
    members[slot].isTouched = false
    guard let participant = members[slot].participant else { return }
    let generation = members[slot].generation
    var hasMore = false
    if members[slot].blockedSockets == 0, !waitsForShared(slot) {
      hasMore = participant.drain(into: &transmitBatch, now: now)
      // More without having written anything would be more for ever.
      hasMore = hasMore && !transmitBatch.isEmpty
      transmit(from: slot)
    }
    guard members[slot].generation == generation else { return }  // it left while being drained
    updateDeadline(slot, participant)
    // Whatever is blocked now is drained again when its socket takes bytes again.
    if hasMore, members[slot].blockedSockets == 0 { touch(slot) }
    if members[slot].isLeaving, !members[slot].isTouched { remove(slot) }
  }

  private static let stalledDelay = Interval.microseconds(100)  // a participant's mistake must not take a whole core
  private static let maximumKeptJobs = 16_384  // a burst's array is given back instead of being kept for ever
}
