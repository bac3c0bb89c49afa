// ArrivalQueue.swift — what has arrived and waits for the application: for a task that reads, or for a handler on the loop.

import DequeModule
import Synchronization

final class ArrivalQueue<Element: Sendable>: Sendable {
  private struct State: ~Copyable {
    var elements = Deque<Element>()
    var handler: (@Sendable (Element) -> Void)?
    var isFinished = false
    var dropped: UInt64 = 0
    var waiters = Deque<CheckedContinuation<Void, Never>>()
  }

  private let state = Mutex(State())
  private let limit: Int

  /// - Parameter limit: how many may wait; past it the oldest go, and are counted.
  init(limit: Int) { self.limit = limit }

  /// How many went because nobody took them in time.
  var droppedCount: UInt64 { state.withLock { $0.dropped } }

  // MARK: The loop's thread

  /// Hands the element to the handler, or keeps it for `next()`.
  func deliver(_ element: Element) {
    let (handler, waiter) = state.withLock { state in
      if let handler = state.handler, state.elements.isEmpty {
        return (Optional(handler), CheckedContinuation<Void, Never>?.none)
      }
      if state.elements.count >= limit {
        state.elements.removeFirst()
        state.dropped &+= 1
      }
      state.elements.append(element)
      return (nil, state.waiters.popFirst())
    }
    if let handler {
      handler(element)
    } else {
      waiter?.resume()
      pump()
    }
  }

  /// Gives what waits to the handler, if there is one, in order.
  func pump() {
    while true {
      let due = state.withLock { state -> ((@Sendable (Element) -> Void), Element)? in
        guard let handler = state.handler, let element = state.elements.popFirst() else { return nil }
        return (handler, element)
      }
      guard let (handler, element) = due else { return }
      handler(element)
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

  func setHandler(_ handler: (@Sendable (Element) -> Void)?) { state.withLock { $0.handler = handler } }

  /// The next element; nil when the queue is finished and all has been read, or the task is cancelled.
  func next() async -> Element? {
    while true {
      let (element, isFinished) = state.withLock { ($0.elements.popFirst(), $0.isFinished) }
      if let element { return element }
      if isFinished || Task.isCancelled { return nil }
      await waitForElement()
    }
  }

  /// Takes out all that nobody has read.
  func removeAll() -> Deque<Element> {
    state.withLock { state in
      defer { state.elements.removeAll() }
      return state.elements
    }
  }

  private func waitForElement() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let mayGoOn = state.withLock { state in
          if !state.elements.isEmpty || state.isFinished || Task.isCancelled { return true }
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
