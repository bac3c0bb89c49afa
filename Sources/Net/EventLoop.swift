// EventLoop.swift — one thread that does all the I/O of the peers on it, and is the executor of their actors.
//
// Two doors lead to a peer. I/O enters synchronously: the loop calls the participant on its thread, where the actor
// assumes its isolation. Everybody else enters with `await`, as a job. Both run on the one thread, so nothing behind them
// is locked.
//
// A turn: 1 wait for I/O, a job or the nearest deadline; 2 read the clock, once; 3 hand over what was received; 4 timeouts;
// 5 jobs; 6 drain every touched participant and send. Each step is bounded, so that none starves the others.
//
// This file is what other threads may touch; what belongs to the loop's thread alone is in `LoopCore`.

import CPosix
import Glibc
import Synchronization
package import Wire

/// A thread that runs peer connections. Actors may share it as their executor.
public final class EventLoop: SerialExecutor, Sendable {
  private struct JobQueue: Sendable {
    /// Not bounded: a job is a suspended task, and an executor may not refuse one. Back-pressure is the business of the
    /// calls that create them.
    var pending: [UnownedJob] = []
    /// Participants to be touched. Each is in it at most once.
    var touches: [EventLoopRegistration] = []
    var isStopping = false
    var isStopped = false
  }

  /// The thread's name, as tools show it.
  public let name: String
  private let jobs = Mutex(JobQueue())
  /// True from before the loop decides to sleep until someone wakes it: only then is a wake-up worth a system call.
  private let isWaiting = Atomic<Bool>(false)
  private let threadID = Atomic<UInt>(0)
  private let handle = Mutex<pthread_t?>(nil)
  private let wakeDescriptor: Int32
  /// Touched by the loop's thread only: by `run`, and through `isolatedCore`, which checks.
  private nonisolated(unsafe) let core: LoopCore

  /// Starts a loop. It runs until `shutdown()`.
  ///
  /// - Parameter name: at most 15 bytes of it are shown.
  public convenience init(name: String = "webrtc-loop") throws(NetError) {
    try self.init(name: name, configuration: EventLoopConfiguration())
  }

  package init(name: String, configuration: EventLoopConfiguration) throws(NetError) {
    self.name = name
    let core = try LoopCore(configuration: configuration)
    wakeDescriptor = core.wakeDescriptor
    unsafe self.core = core
    var handle = pthread_t()
    let unmanaged = unsafe Unmanaged.passRetained(self)
    let result = unsafe pthread_create(
      &handle, nil,
      { context in
        guard let context = unsafe context else { return nil }
        unsafe Unmanaged<EventLoop>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, unmanaged.toOpaque())
    guard result == 0 else {
      unsafe unmanaged.release()
      throw NetError("pthread_create", code: result)
    }
    let started = handle
    self.handle.withLock { $0 = started }
  }

  /// Ends the loop and waits until its thread has ended. Jobs already enqueued still run; enqueuing one later traps, so
  /// let every actor on the loop come to rest first. May not be called on the loop itself. A second call does nothing.
  public func shutdown() {
    precondition(!isCurrent, "a loop cannot wait for its own thread to end")
    let handle = self.handle.withLock { handle in
      defer { handle = nil }
      return handle
    }
    guard let handle else { return }
    jobs.withLock { $0.isStopping = true }
    wakeUp()
    _ = pthread_join(handle, nil)
  }

  // MARK: SerialExecutor

  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.withLock { queue in
      precondition(!queue.isStopped, "an actor outlived its event loop")
      queue.pending.append(job)
    }
    wakeUp()
  }

  public func checkIsolated() {
    precondition(isCurrent, "not on the event loop \(name)")
  }

  public func isIsolatingCurrentContext() -> Bool? { isCurrent }

  /// Whether the caller runs on the loop's thread.
  public var isCurrent: Bool { threadID.load(ordering: .relaxed) == swarm_thread_id() }

  // MARK: For participants

  /// Lets the loop drive `participant`. On the loop's thread only.
  package func register(_ participant: any EventLoopParticipant) -> EventLoopRegistration {
    let (slot, generation) = isolatedCore.add(participant)
    return EventLoopRegistration(loop: self, slot: slot, generation: generation)
  }

  /// Touches a participant in the turn to come. From any thread.
  func touchSoon(_ registration: EventLoopRegistration) {
    jobs.withLock { $0.touches.append(registration) }
    wakeUp()
  }

  /// The time of this turn. On the loop's thread only.
  package var now: Instant { isolatedCore.now }

  /// On the loop's thread only.
  package var statistics: EventLoopStatistics { isolatedCore.statistics }

  var isolatedCore: LoopCore {
    checkIsolated()
    return unsafe core
  }

  // MARK: The thread

  private func run() {
    unsafe name.withCString { unsafe swarm_thread_prepare($0, Self.timerSlack) }
    threadID.store(swarm_thread_id(), ordering: .relaxed)
    let core = isolatedCore
    while !isFinished(core) {
      let ready = wait(core)
      core.beginTurn(now: MonotonicClock.now())
      core.handleReady(ready)
      core.fireTimeouts()
      runJobs(core)
      core.drainTouched()
    }
    core.removeAll()
    threadID.store(0, ordering: .relaxed)
  }

  private func wait(_ core: LoopCore) -> Int {
    guard !core.hasWorkLeft else { return core.poller.poll() }
    // No polling before the sleep: measured with 10 and 50 µs of it, round trips between two loops became slower.
    // Announce first, look afterwards: a job enqueued before the look is seen here, and one enqueued after it sees the
    // announcement. Both go through the lock, so there is no third order.
    isWaiting.store(true, ordering: .sequentiallyConsistent)
    let mayWait = jobs.withLock { $0.pending.isEmpty && $0.touches.isEmpty && !$0.isStopping }
    let ready = mayWait ? core.poller.wait(until: core.nearestDeadline) : core.poller.poll()
    isWaiting.store(false, ordering: .relaxed)
    return ready
  }

  private func wakeUp() {
    guard isWaiting.exchange(false, ordering: .sequentiallyConsistent) else { return }
    var one: UInt64 = 1
    let written = unsafe write(wakeDescriptor, &one, MemoryLayout<UInt64>.size)
    // A counter that is full (EAGAIN) has woken the loop already.
    precondition(written > 0 || errno == EAGAIN || errno == EINTR, "our own eventfd takes a wake-up")
  }

  private func runJobs(_ core: LoopCore) {
    core.takeTouches { fresh in jobs.withLock { queue in swap(&queue.touches, &fresh) } }
    let executor = unsafe asUnownedSerialExecutor()
    for _ in 0..<Self.maximumJobsPerTurn {
      if !core.hasJobs {
        core.refillJobs { fresh in jobs.withLock { queue in swap(&queue.pending, &fresh) } }
      }
      guard let job = core.nextJob() else { return }
      unsafe job.runSynchronously(on: executor)
    }
  }

  private func isFinished(_ core: LoopCore) -> Bool {
    guard !core.hasJobs else { return false }
    return jobs.withLock { queue in
      queue.isStopped = queue.isStopping && queue.pending.isEmpty
      return queue.isStopped
    }
  }

  private static let maximumJobsPerTurn = 512  // about 100 µs of small ones: the socket's buffer bridges that easily
  private static let timerSlack: UInt = 1_000  // 1 µs instead of the 50 µs that Linux adds to every sleep
}

/// How a loop works; the defaults are what measured best.
package struct EventLoopConfiguration: Sendable {
  /// Bytes that a participant may write in one drain. Two full segmented sends.
  package var transmitCapacity = 128 << 10
  /// Messages of one receive call, each up to 64 KiB.
  package var receiveSlots = ReceiveBatch.standardSlotCapacity
  /// Drains that each touched participant gets in one turn, in rounds over all of them.
  package var roundsPerTurn = 4
  /// How long connections may take, and how many there may be.
  package var streams = StreamLimits()
  /// False waits with a timerfd, as on kernels without epoll_pwait2.
  package var allowsPreciseWait = true

  package init() {}
}
