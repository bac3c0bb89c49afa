// Exchange.swift — what other threads leave for the event loop: messages to send, channels to close, received bytes
// that the application has consumed.
//
// A sender takes one lock and, when the loop may be asleep, wakes it; it never waits for the loop's thread. Invariant:
// `byteCount` is the sum of the payloads in `entries`.

import DataChannel
import DequeModule
import Synchronization

final class Exchange: Sendable {
  enum Entry: Sendable {
    case message(ChannelID, isText: Bool, payload: [UInt8])
    case close(ChannelID)
  }

  private struct State: ~Copyable {
    var entries = Deque<Entry>()
    /// Channels whose handler was set: what waits in their inbox is for it. Not among the entries, which wait for room.
    var deliveries: [ChannelID] = []
    var byteCount = 0
    var isFlushScheduled = false
    var isClosed = false
    /// What the peer accepts; known once the descriptions are exchanged.
    var maximumMessageSize: Int
    /// Makes the loop come by and drain; callable from any thread.
    var wake: @Sendable () -> Void = {}
    var waiters = Deque<Waiter>()
    var nextWaiter: UInt64 = 0
  }

  private struct Waiter {
    var id: UInt64
    var continuation: CheckedContinuation<Void, Never>
  }

  private let state: Mutex<State>
  private let released = Atomic<Int>(0)
  private let limit: Int
  private let releaseThreshold: Int

  /// - Parameters:
  ///   - limit: payload bytes that may wait here; past it `append` refuses.
  ///   - releaseThreshold: consumed bytes that make it worth waking the loop to open the window.
  init(limit: Int, releaseThreshold: Int, maximumMessageSize: Int) {
    self.limit = limit
    self.releaseThreshold = releaseThreshold
    state = Mutex(State(maximumMessageSize: maximumMessageSize))
  }

  /// - Parameter wake: makes the loop come by and drain; called from any thread.
  func onWork(_ wake: @escaping @Sendable () -> Void) { state.withLock { $0.wake = wake } }

  // MARK: Any thread

  /// Queues a message; a single message may pass the limit when nothing else waits.
  func append(_ channel: ChannelID, isText: Bool, payload: [UInt8]) throws(SendError) {
    let count = payload.count
    let wake = try state.withLock { (state) throws(SendError) -> (@Sendable () -> Void)? in
      guard !state.isClosed else { throw .closed }
      guard count <= state.maximumMessageSize else { throw .messageTooLarge(limit: state.maximumMessageSize) }
      guard state.byteCount == 0 || state.byteCount + count <= limit else { throw .bufferFull }
      state.byteCount += count
      state.entries.append(.message(channel, isText: isText, payload: payload))
      return Self.scheduleFlush(&state)
    }
    wake?()
  }

  /// Queues the end of a channel behind its messages.
  func appendClose(_ channel: ChannelID) {
    let wake = state.withLock { state -> (@Sendable () -> Void)? in
      guard !state.isClosed else { return nil }
      state.entries.append(.close(channel))
      return Self.scheduleFlush(&state)
    }
    wake?()
  }

  /// Asks the loop to hand what waits in the channel's inbox to its handler.
  func requestDelivery(_ channel: ChannelID) {
    let wake = state.withLock { state -> (@Sendable () -> Void)? in
      guard !state.isClosed else { return nil }
      state.deliveries.append(channel)
      return Self.scheduleFlush(&state)
    }
    wake?()
  }

  /// Returns when there may be room again, when the exchange is closed, or when the task is cancelled.
  func waitForRoom() async {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let mayGoOn = state.withLock { state in
          if state.isClosed || state.byteCount <= limit / 2 || Task.isCancelled { return true }
          state.waiters.append(Waiter(id: id, continuation: continuation))
          return false
        }
        if mayGoOn { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
      }
      waiter?.continuation.resume()
    }
  }

  /// The application is done with messages that cost this much of the window.
  func release(_ cost: Int) {
    let total = released.add(cost, ordering: .relaxed).newValue
    guard total >= releaseThreshold else { return }
    state.withLock { Self.scheduleFlush(&$0) }?()
  }

  /// What wakes the loop; nil when it is coming anyway.
  private static func scheduleFlush(_ state: inout State) -> (@Sendable () -> Void)? {
    guard !state.isFlushScheduled else { return nil }
    state.isFlushScheduled = true
    return state.wake
  }

  // MARK: The loop's thread

  /// Moves entries worth up to `room` bytes into `scratch`.
  ///
  /// - Parameter isIdle: nothing waits below, so that one message is taken whatever its size.
  /// - Returns: consumed bytes to give back to the window, and the channels to deliver for.
  func take(
    room: Int, isIdle: Bool, into scratch: inout Deque<Entry>
  ) -> (consumed: Int, deliveries: [ChannelID]) {
    var deliveries: [ChannelID] = []
    let resumed = state.withLock { state in
      state.isFlushScheduled = false
      swap(&deliveries, &state.deliveries)
      var room = room
      var isIdle = isIdle
      while let entry = state.entries.first {
        if case .message(_, _, let payload) = entry {
          // An empty message travels as one byte.
          let count = max(payload.count, 1)
          guard count <= room || isIdle else { break }
          room -= count
          isIdle = false
          state.byteCount -= payload.count
        }
        scratch.append(state.entries.removeFirst())
      }
      return Self.waitersToResume(&state, limit: limit)
    }
    for waiter in resumed { waiter.continuation.resume() }
    return (released.exchange(0, ordering: .relaxed), deliveries)
  }

  func setMaximumMessageSize(_ size: Int) { state.withLock { $0.maximumMessageSize = size } }

  /// Refuses everything from now on and drops what waits.
  func close() {
    let waiters = state.withLock { state in
      state.isClosed = true
      state.entries.removeAll()
      state.byteCount = 0
      defer { state.waiters.removeAll() }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume() }
  }

  private static func waitersToResume(_ state: inout State, limit: Int) -> Deque<Waiter> {
    guard !state.waiters.isEmpty, state.byteCount <= limit / 2 else { return Deque() }
    defer { state.waiters.removeAll() }
    return state.waiters
  }
}
