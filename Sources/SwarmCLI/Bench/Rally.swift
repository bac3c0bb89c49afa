// Rally.swift — one small message to and fro at a time, and how long each took.

import Synchronization
import WebRTC

/// A ball that goes to and fro on the event loop, without a task between.
final class Rally: Sendable {
  private struct State {
    var times: [Double] = []
    var served = ContinuousClock.now
    var skipped = 0
    var continuation: CheckedContinuation<[Double], any Error>?
  }

  /// What counts of the rally, and when it ends.
  enum Extent: Sendable {
    /// So many round trips, after a hundred that warm up both sides.
    case count(Int)
    /// Those that begin in this time.
    case time(Range<ContinuousClock.Instant>)
  }

  private let channel: DataChannel
  private let message: Message
  private let extent: Extent
  private let state = Mutex(State())

  private static let warmUp = 100

  init(channel: DataChannel, message: Message, extent: Extent) {
    self.channel = channel
    self.message = message
    self.extent = extent
  }

  /// - Returns: the round trips that count, in seconds.
  func play() async throws -> [Double] {
    try await withCheckedThrowingContinuation { continuation in
      state.withLock { state in
        if case .count(let count) = extent { state.times.reserveCapacity(count) }
        state.continuation = continuation
      }
      channel.onMessage { [self] _ in
        if returned(at: .now) { finish() } else { serve() }
      }
      serve()
    }
  }

  /// - Returns: whether it was the last.
  private func returned(at now: ContinuousClock.Instant) -> Bool {
    state.withLock { state in
      let counts =
        switch extent {
        case .count: state.skipped == Self.warmUp
        case .time(let time): time.contains(state.served)
        }
      if counts { state.times.append((now - state.served).inSeconds) } else { state.skipped += 1 }
      return switch extent {
      case .count(let count): state.times.count == count
      case .time(let time): now >= time.upperBound
      }
    }
  }

  private func serve() {
    state.withLock { $0.served = ContinuousClock.now }
    do { try channel.trySend(message) } catch .bufferFull {
      // Others fill the buffer: waiting for room is part of the round trip.
      Task {
        do { try await channel.send(message) } catch { fail(error) }
      }
    } catch {
      fail(error)
    }
  }

  private func fail(_ error: any Error) {
    state.withLock { state in
      state.continuation?.resume(throwing: error)
      state.continuation = nil
    }
  }

  private func finish() {
    channel.onMessage(nil)
    state.withLock { state in
      state.continuation?.resume(returning: state.times)
      state.continuation = nil
    }
  }
}
