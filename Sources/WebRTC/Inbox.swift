// Inbox.swift — received messages of one channel, waiting for the application.
//
// Its bound is the association's receive window: what waits here keeps the window closed until it is consumed, or until
// nobody is left who could.

import DequeModule
import Peer
import Synchronization

final class Inbox: Sendable {
  private struct Entry {
    var message: Message
    /// What it takes of the window: told by its wire form, because text that had to be repaired is longer.
    var cost: Int
  }

  private struct State: ~Copyable {
    var messages = Deque<Entry>()
    var handler: (@Sendable (Message) -> Void)?
    var isFinished = false
    var waiters = Deque<CheckedContinuation<Void, Never>>()
  }

  private let state = Mutex(State())
  private let exchange: Exchange

  init(exchange: Exchange) { self.exchange = exchange }

  deinit {
    let unread = state.withLock { state in state.messages.reduce(0) { $0 + $1.cost } }
    if unread > 0 { exchange.release(unread) }
  }

  // MARK: The loop's thread

  /// Hands the message to the handler, or keeps it for `next()`.
  func deliver(isText: Bool, payload: [UInt8]) {
    let entry = Entry(
      message: Message(isText: isText, payload: payload),
      cost: Connection.receiveCost(payloadBytes: payload.count))
    let (handler, waiter) = state.withLock { state in
      if let handler = state.handler, state.messages.isEmpty {
        return (Optional(handler), CheckedContinuation<Void, Never>?.none)
      }
      state.messages.append(entry)
      return (nil, state.waiters.popFirst())
    }
    if let handler {
      handler(entry.message)
      exchange.release(entry.cost)
    } else {
      waiter?.resume()
      pump()
    }
  }

  /// Gives what waits to the handler, if there is one, in order.
  func pump() {
    while true {
      let due = state.withLock { state -> ((@Sendable (Message) -> Void), Entry)? in
        guard let handler = state.handler, let entry = state.messages.popFirst() else { return nil }
        return (handler, entry)
      }
      guard let (handler, entry) = due else { return }
      handler(entry.message)
      exchange.release(entry.cost)
    }
  }

  func finish() {
    let waiters = state.withLock { state in
      state.isFinished = true
      defer { state.waiters.removeAll() }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  // MARK: Any thread

  func setHandler(_ handler: (@Sendable (Message) -> Void)?) { state.withLock { $0.handler = handler } }

  /// The next message; nil when the channel is closed and all has been read, or the task is cancelled.
  func next() async -> Message? {
    while true {
      let (entry, isFinished) = state.withLock { ($0.messages.popFirst(), $0.isFinished) }
      if let entry {
        exchange.release(entry.cost)
        return entry.message
      }
      if isFinished || Task.isCancelled { return nil }
      await waitForMessage()
    }
  }

  private func waitForMessage() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let mayGoOn = state.withLock { state in
          if !state.messages.isEmpty || state.isFinished || Task.isCancelled { return true }
          state.waiters.append(continuation)
          return false
        }
        if mayGoOn { continuation.resume() }
      }
    } onCancel: {
      // Readers are few: all of them look again, and the cancelled one leaves.
      let waiters = state.withLock { state in
        defer { state.waiters.removeAll() }
        return state.waiters
      }
      for waiter in waiters { waiter.resume() }
    }
  }
}
