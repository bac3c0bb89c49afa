// DataChannel.swift — one channel of a connection as the application sees it (W3C `RTCDataChannel`, RFC 8831).

import DataChannel
import Synchronization

/// A channel for messages between two peers.
///
/// All members may be used from any thread. A channel stays usable until either side closes it or its connection ends;
/// messages that arrived before that can still be read.
public final class DataChannel: Sendable {
  /// A channel's life (W3C `RTCDataChannelState`).
  public enum State: Sendable {
    case connecting, open, closing, closed
  }

  /// The channel's name; need not be unique.
  public let label: String
  public let configuration: DataChannelConfiguration

  let handle: ChannelID
  let inbox: Inbox
  private let exchange: Exchange
  private let life = Mutex(Life())
  private let buffered = Atomic<Int>(0)
  /// The part of `buffered` that SCTP holds. Only the loop's thread changes it.
  private let handedOver = Atomic<Int>(0)

  private struct Life: ~Copyable {
    var state = State.connecting
    var stream: UInt16?
    var waiters: [(until: State, continuation: CheckedContinuation<Void, Never>)] = []
  }

  init(
    handle: ChannelID, label: String, configuration: DataChannelConfiguration, exchange: Exchange
  ) {
    self.handle = handle
    self.label = label
    self.configuration = configuration
    self.exchange = exchange
    inbox = Inbox(exchange: exchange)
  }

  // MARK: State

  public var state: State { life.withLock { $0.state } }

  /// The SCTP stream, once it is assigned.
  public var id: UInt16? { life.withLock { $0.stream } }

  /// Payload bytes handed over and not yet given to the network; an empty message counts as the one byte that it
  /// travels as.
  public var bufferedAmount: Int { buffered.load(ordering: .relaxed) }

  /// Returns once messages can be sent.
  /// - Throws: `SendError.closed` when the channel closes first, or the task is cancelled.
  public func waitUntilOpen() async throws(SendError) {
    await wait(until: .open)
    guard state == .open else { throw .closed }
  }

  /// Returns once the channel is closed on both sides or its connection has ended, or the task is cancelled.
  public func waitUntilClosed() async { await wait(until: .closed) }

  // MARK: Sending

  /// Queues a message, waiting for room first when the queue is full.
  ///
  /// - Throws: `SendError.notOpen`, `.closed` or `.messageTooLarge`; `.bufferFull` only when the task was cancelled
  ///   while it waited.
  public func send(_ message: Message) async throws(SendError) {
    while true {
      do {
        return try trySend(message)
      } catch SendError.bufferFull where !Task.isCancelled {
        await exchange.waitForRoom()
      }
    }
  }

  public func send(_ text: String) async throws(SendError) { try await send(.text(text)) }
  public func send(_ bytes: [UInt8]) async throws(SendError) { try await send(.binary(bytes)) }

  /// Queues a message at once or not at all.
  ///
  /// - Throws: `SendError.notOpen`, `.closed`, `.messageTooLarge` or `.bufferFull`.
  public func trySend(_ message: Message) throws(SendError) {
    switch state {
    case .connecting: throw .notOpen
    case .open: break
    case .closing, .closed: throw .closed
    }
    let isText: Bool
    let payload: [UInt8]
    switch message {
    case .text(let text): (isText, payload) = (true, Array(text.utf8))
    case .binary(let bytes): (isText, payload) = (false, bytes)
    }
    // Counted first, so that the loop can never subtract what has not been added.
    let counted = max(payload.count, 1)
    buffered.add(counted, ordering: .relaxed)
    do {
      try exchange.append(handle, isText: isText, payload: payload)
    } catch {
      buffered.subtract(counted, ordering: .relaxed)
      throw error
    }
  }

  /// Closes the channel once everything queued is sent. Further sends are refused at once.
  public func close() {
    let isOver = life.withLock { life in
      guard life.state == .connecting || life.state == .open else { return true }
      life.state = .closing
      return false
    }
    if !isOver { exchange.appendClose(handle) }
  }

  // MARK: Receiving

  /// The messages as they arrive, to be read by one task. What is not read keeps the peer from sending more.
  public var messages: Messages { Messages(inbox: inbox) }

  /// Calls `handler` with each message on the connection's event loop: the way with the least delay. The handler must
  /// not block. It takes the place of `messages`; nil goes back to them.
  public func onMessage(_ handler: (@Sendable (Message) -> Void)?) {
    inbox.setHandler(handler)
    exchange.requestDelivery(self.handle)
  }

  public struct Messages: AsyncSequence, Sendable {
    let inbox: Inbox

    public func makeAsyncIterator() -> Iterator { Iterator(inbox: inbox) }

    public struct Iterator: AsyncIteratorProtocol {
      let inbox: Inbox
      public mutating func next() async -> Message? { await inbox.next() }
    }
  }

  // MARK: The loop's thread

  func didOpen(stream: UInt16) {
    change { life in
      life.stream = stream
      if life.state == .connecting { life.state = .open }
    }
  }

  func didStartClosing() {
    change { life in
      if life.state != .closed { life.state = .closing }
    }
  }

  func didClose() {
    change { $0.state = .closed }
    inbox.finish()
  }

  /// SCTP has taken a message of this size.
  ///
  /// - Returns: whether it holds bytes of this channel for the first time since it had none.
  func didHandOver(_ byteCount: Int) -> Bool {
    let counted = max(byteCount, 1)
    return handedOver.add(counted, ordering: .relaxed).newValue == counted
  }

  /// SCTP still holds `remaining` bytes; the rest has gone to the network.
  ///
  /// - Returns: whether there are any left.
  func didSend(allBut remaining: Int) -> Bool {
    let before = handedOver.exchange(remaining, ordering: .relaxed)
    buffered.subtract(before - remaining, ordering: .relaxed)
    return remaining > 0
  }

  private func change(_ body: (inout Life) -> Void) {
    let due = life.withLock { life in
      body(&life)
      let state = life.state
      let due = life.waiters.filter { Self.hasReached($0.until, in: state) }
      life.waiters.removeAll { Self.hasReached($0.until, in: state) }
      return due
    }
    for waiter in due { waiter.continuation.resume() }
  }

  private func wait(until target: State) async {
    // A cancelled task wakes every waiter; those not meant find their state not reached and wait again.
    while !Self.hasReached(target, in: state), !Task.isCancelled {
      await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let mayGoOn = life.withLock { life in
            if Self.hasReached(target, in: life.state) || Task.isCancelled { return true }
            life.waiters.append((target, continuation))
            return false
          }
          if mayGoOn { continuation.resume() }
        }
      } onCancel: {
        let waiters = life.withLock { life in
          defer { life.waiters.removeAll() }
          return life.waiters
        }
        for waiter in waiters { waiter.continuation.resume() }
      }
    }
  }

  private static func hasReached(_ target: State, in state: State) -> Bool {
    switch target {
    case .closed: state == .closed
    default: state != .connecting
    }
  }
}
