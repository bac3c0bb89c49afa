// JSONLines.swift — one JSON object a line on standard input and output: how scripts talk to the command.

import Dispatch
import Foundation
import Signaling
import Synchronization

/// Standard input, line by line. A line is read only when it is asked for, so a slow consumer holds the writer back.
struct StandardInputLines: AsyncSequence, Sendable {
  struct Iterator: AsyncIteratorProtocol {
    private let queue = DispatchQueue(label: "standard-input")

    /// The next line; nil at the end of the input, or when the task is cancelled: a line read later is then lost.
    mutating func next() async -> String? {
      let queue = self.queue
      let pending = PendingLine()
      return await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          pending.wait(with: continuation)
          // A blocking read must not hold a thread of the concurrency pool.
          queue.async { pending.resolve(readLine(strippingNewline: true)) }
        }
      } onCancel: {
        pending.resolve(nil)
      }
    }
  }

  func makeAsyncIterator() -> Iterator { Iterator() }
}

/// A line that either the reader or a cancellation resolves, whichever is first.
private final class PendingLine: Sendable {
  private enum State {
    case idle, waiting(CheckedContinuation<String?, Never>), resolved(String?)
  }
  private let state = Mutex(State.idle)

  func wait(with continuation: CheckedContinuation<String?, Never>) {
    let early = state.withLock { state -> String?? in
      if case .resolved(let line) = state { return .some(line) }
      state = .waiting(continuation)
      return nil
    }
    if let early { continuation.resume(returning: early) }
  }

  func resolve(_ line: String?) {
    let waiting = state.withLock { state -> CheckedContinuation<String?, Never>? in
      switch state {
      case .idle:
        state = .resolved(line)
        return nil
      case .waiting(let continuation):
        state = .resolved(line)
        return continuation
      case .resolved: return nil
      }
    }
    waiting?.resume(returning: line)
  }
}

/// Writes values as JSON lines to standard output, one at a time.
enum JSONLines {
  private static let lock = NSLock()

  static func write(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    do {
      writeLine(try encoder.encode(value))
    } catch {
      // Only a number that JSON cannot say ends here, and the commands write none.
      StandardError.write("cannot encode output: \(error)")
    }
  }

  static func write(_ value: JSONValue) { writeLine(Data(value.utf8Bytes)) }

  /// Writes a line that is not JSON.
  static func write(line: String) { writeLine(Data(line.utf8)) }

  private static func writeLine(_ content: Data) {
    let line = content + [UInt8(ascii: "\n")]
    lock.withLock {
      do {
        try FileHandle.standardOutput.write(contentsOf: line)
      } catch {
        // Nobody reads any more, and reading is all that the commands' output is for.
        StandardError.write("swarm: standard output is closed")
        exit(EXIT_FAILURE)
      }
    }
  }
}

/// Lines for people, beside the JSON of standard output.
enum StandardError {
  static func write(_ line: String) {
    // There is nowhere left to say that standard error is closed.
    do { try FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8)) } catch {}
  }
}
