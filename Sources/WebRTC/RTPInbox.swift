// RTPInbox.swift — received packets of one transceiver, waiting for the application.
//
// Media waits for nobody: when the application is slow, or does not read at all, the oldest packets go, and are counted.

import DequeModule
import Synchronization

final class RTPInbox: Sendable {
  private struct State: ~Copyable {
    var packets = Deque<RTPPacket>()
    var handler: (@Sendable (RTPPacket) -> Void)?
    var isFinished = false
    var dropped: UInt64 = 0
    var waiters = Deque<CheckedContinuation<Void, Never>>()
  }

  private let state = Mutex(State())

  /// Packets that may wait: two seconds of video at 2 Mbit/s, and at most 1.5 MB of memory.
  static let maximumWaiting = 512

  /// How many packets went because nobody took them in time.
  var droppedCount: UInt64 { state.withLock { $0.dropped } }

  // MARK: The loop's thread

  /// Hands the packet to the handler, or keeps it for `next()`.
  func deliver(_ packet: RTPPacket) {
    let (handler, waiter) = state.withLock { state in
      if let handler = state.handler, state.packets.isEmpty {
        return (Optional(handler), CheckedContinuation<Void, Never>?.none)
      }
      guard !state.isFinished else { return (nil, nil) }
      if state.packets.count >= Self.maximumWaiting {
        state.packets.removeFirst()
        state.dropped &+= 1
      }
      state.packets.append(packet)
      return (nil, state.waiters.popFirst())
    }
    if let handler {
      handler(packet)
    } else {
      waiter?.resume()
      pump()
    }
  }

  /// Gives what waits to the handler, if there is one, in order.
  func pump() {
    while true {
      let due = state.withLock { state -> ((@Sendable (RTPPacket) -> Void), RTPPacket)? in
        guard let handler = state.handler, let packet = state.packets.popFirst() else { return nil }
        return (handler, packet)
      }
      guard let (handler, packet) = due else { return }
      handler(packet)
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

  func setHandler(_ handler: (@Sendable (RTPPacket) -> Void)?) { state.withLock { $0.handler = handler } }

  /// The next packet; nil when the transceiver is stopped or closed and all has been read, or the task is cancelled.
  func next() async -> RTPPacket? {
    while true {
      let (packet, isFinished) = state.withLock { ($0.packets.popFirst(), $0.isFinished) }
      if let packet { return packet }
      if isFinished || Task.isCancelled { return nil }
      await waitForPacket()
    }
  }

  private func waitForPacket() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let mayGoOn = state.withLock { state in
          if !state.packets.isEmpty || state.isFinished || Task.isCancelled { return true }
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
