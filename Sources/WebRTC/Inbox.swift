// Inbox.swift — received messages of one channel, waiting for the application.
//
// Its bound is the association's receive window: bytes that wait here keep the window closed until they are consumed.

import DequeModule
import Synchronization

final class Inbox: Sendable {
  private struct State: ~Copyable {
    var messages = Deque<Message>()
    var handler: (@Sendable (Message) -> Void)?
    var isFinished = false
    var waiters = Deque<CheckedContinuation<Void, Never>>()
  }

  private let state = Mutex(State())
  /// Told how many bytes the application has consumed; callable from any thread.
  private let release: @Sendable (Int) -> Void

  init(release: @escaping @Sendable (Int) -> Void) { self.release = release }

  // MARK: The loop's thread

  /// Hands the message to the handler, or keeps it for `next()`.
  func deliver(_ message: consuming Message) {
    let count = message.byteCount
    enum Next { case handled((@Sendable (Message) -> Void), Message), kept(CheckedContinuation<Void, Never>?) }
    let held = copy message
    let next = state.withLock { state -> Next in
      if let handler = state.handler, state.messages.isEmpty { return .handled(handler, held) }
      state.messages.append(held)
      return .kept(state.waiters.popFirst())
    }
    switch next {
    case .handled(let handler, let message):
      handler(message)
      release(count)
    case .kept(let waiter):
      waiter?.resume()
      pump()
    }
  }

  /// Gives what waits to the handler, if there is one, in order.
  func pump() {
    while true {
      let due = state.withLock { state -> ((@Sendable (Message) -> Void), Message)? in
        guard let handler = state.handler, let message = state.messages.popFirst() else { return nil }
        return (handler, message)
      }
      guard let (handler, message) = due else { return }
      handler(message)
      release(message.byteCount)
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
      let (message, isFinished) = state.withLock { ($0.messages.popFirst(), $0.isFinished) }
      if let message {
        release(message.byteCount)
        return message
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
