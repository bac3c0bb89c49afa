// Questions.swift — what the script is asked (tasks, votes) until it answers, and who is there to be asked for.

import Signaling
import Synchronization

/// Questions to the script, each under a number of its own.
final class Questions: Sendable {
  private struct State {
    var asked = 0
    var waiting: [String: CheckedContinuation<JSONValue, any Error>] = [:]
  }
  private let state = Mutex(State())

  /// Asks, and waits for the answer.
  ///
  /// - Parameters:
  ///   - limit: after this time nobody waits any more; nil: as long as the task that asks lives.
  ///   - announce: tells the script the question's number.
  ///   - abandoned: tells it that the answer has come to be of no use.
  /// - Throws: what the answer failed with, or `CancellationError`.
  func ask(
    within limit: Duration? = nil, _ announce: @Sendable (String) -> Void,
    abandoned: @escaping @Sendable (String) -> Void
  ) async throws -> JSONValue {
    let number = state.withLock { state in
      state.asked += 1
      return "\(state.asked)"
    }
    let giveUp: @Sendable () -> Void = { [self] in
      if answer(number, .failure(CancellationError())) { abandoned(number) }
    }
    let timer = limit.map { limit in
      Task {
        do { try await Task.sleep(for: limit) } catch { return }
        giveUp()
      }
    }
    defer { timer?.cancel() }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        state.withLock { $0.waiting[number] = continuation }
        if Task.isCancelled { giveUp() } else { announce(number) }
      }
    } onCancel: {
      giveUp()
    }
  }

  /// - Returns: false when nobody waits for this answer.
  func answer(_ number: String, _ result: Result<JSONValue, any Error>) -> Bool {
    guard let waiting = state.withLock({ $0.waiting.removeValue(forKey: number) }) else { return false }
    waiting.resume(with: result)
    return true
  }
}

/// How many peers are connected, for whoever waits for enough of them.
final class Crowd: Sendable {
  private let wanted: Int
  private let count = Mutex(0)
  private let counts: AsyncStream<Int>
  private let sink: AsyncStream<Int>.Continuation

  init(wanted: Int) {
    self.wanted = wanted
    (counts, sink) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  func connected() { change(by: 1) }
  func disconnected() { change(by: -1) }

  /// Returns when enough peers have been connected at the same time, or the task is cancelled.
  func isComplete() async {
    guard wanted > 0 else { return }
    for await count in counts where count >= wanted { return }
  }

  private func change(by difference: Int) {
    count.withLock { count in
      count += difference
      sink.yield(count)
    }
  }
}
