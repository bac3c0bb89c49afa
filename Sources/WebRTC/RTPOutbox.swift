// RTPOutbox.swift — what other threads leave for the event loop about media: packets to send, requests for keyframes,
// changes of direction. Beside `Exchange`, so that data alone pays nothing for it.
//
// A sender takes one lock and, when the loop may be asleep, wakes it; it never waits for the loop's thread.

import DequeModule
import Synchronization

final class RTPOutbox: Sendable {
  struct Entry: Sendable {
    /// The transceiver's number.
    var transceiver: Int
    var packet: RTPPacket
  }

  /// All that is not a packet.
  struct Requests: Sendable {
    var keyframes: [Keyframe] = []
    /// Transceivers whose handler was set: what waits in their inbox is for it.
    var deliveries: Set<Int> = []
    /// Some transceiver wants another direction.
    var hasDirections = false

    struct Keyframe: Sendable, Hashable {
      var transceiver: Int
      var ssrc: UInt32?
    }
  }

  private struct State: ~Copyable {
    var entries = Deque<Entry>()
    var requests = Requests()
    var isFlushScheduled = false
    var isClosed = false
    var wake: @Sendable () -> Void = {}
  }

  private let state = Mutex(State())

  /// Packets that may wait for the loop's next turn: a keyframe of 4K video is some 300.
  static let maximumWaiting = 1_024
  /// Requests for keyframes; one a stream is all that makes sense.
  private static let maximumKeyframes = 64

  /// - Parameter wake: makes the loop come by and drain; called from any thread.
  func onWork(_ wake: @escaping @Sendable () -> Void) { state.withLock { $0.wake = wake } }

  // MARK: Any thread

  func append(_ packet: RTPPacket, from transceiver: Int) throws(RTPSendError) {
    let wake = try state.withLock { (state) throws(RTPSendError) -> (@Sendable () -> Void)? in
      guard !state.isClosed else { throw .closed }
      guard state.entries.count < Self.maximumWaiting else { throw .queueFull }
      state.entries.append(Entry(transceiver: transceiver, packet: packet))
      return Self.scheduleFlush(&state)
    }
    wake?()
  }

  func requestKeyframe(of ssrc: UInt32?, from transceiver: Int) {
    request { requests in
      let keyframe = Requests.Keyframe(transceiver: transceiver, ssrc: ssrc)
      guard requests.keyframes.count < Self.maximumKeyframes, !requests.keyframes.contains(keyframe) else { return }
      requests.keyframes.append(keyframe)
    }
  }

  func requestDelivery(for transceiver: Int) { request { $0.deliveries.insert(transceiver) } }
  func requestDirections() { request { $0.hasDirections = true } }

  private func request(_ change: (inout Requests) -> Void) {
    let wake = state.withLock { state -> (@Sendable () -> Void)? in
      guard !state.isClosed else { return nil }
      change(&state.requests)
      return Self.scheduleFlush(&state)
    }
    wake?()
  }

  /// What wakes the loop; nil when it is coming anyway.
  private static func scheduleFlush(_ state: inout State) -> (@Sendable () -> Void)? {
    guard !state.isFlushScheduled else { return nil }
    state.isFlushScheduled = true
    return state.wake
  }

  // MARK: The loop's thread

  /// Moves everything into `entries`; what is not a packet is the result.
  func take(into entries: inout Deque<Entry>) -> Requests {
    state.withLock { state in
      state.isFlushScheduled = false
      if entries.isEmpty {
        swap(&entries, &state.entries)
      } else if entries.count < Self.maximumWaiting {
        entries.append(contentsOf: state.entries)
        state.entries.removeAll(keepingCapacity: true)
      }
      defer { state.requests = Requests() }
      return state.requests
    }
  }

  /// Refuses everything from now on and drops what waits.
  func close() {
    state.withLock { state in
      state.isClosed = true
      state.entries.removeAll()
      state.requests = Requests()
    }
  }
}
