// TerminationSignals.swift — the wish of a user or a supervisor that a command ends, as a value instead of a sudden death.

import Dispatch
import Foundation

/// SIGINT and SIGTERM, as they come. The first one takes the handling away again, so a second one ends the process.
enum TerminationSignals {
  static func stream() -> AsyncStream<CInt> {
    let (stream, continuation) = AsyncStream<CInt>.makeStream()
    let sources = [SIGINT, SIGTERM].map { number in
      signal(number, SIG_IGN)  // or it would end the process before the source sees it
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        signal(number, SIG_DFL)
        continuation.yield(number)
      }
      source.resume()
      return source
    }
    let kept = Kept(sources: sources)
    continuation.onTermination = { _ in kept.cancel() }
    return stream
  }

  /// A source works as long as somebody holds it. Cancelling is the one thing done with them, and safe on any thread.
  private final class Kept: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]
    init(sources: [any DispatchSourceSignal]) { self.sources = sources }
    func cancel() { for source in sources { source.cancel() } }
  }

  static func name(of number: CInt) -> String { number == SIGINT ? "SIGINT" : "SIGTERM" }
}
