// EventLoopGroup.swift — the process's event loops, started when first asked for.

import Glibc
import Synchronization

/// A few event loops that take peers in turn. A peer never leaves its loop.
public final class EventLoopGroup: Sendable {
  private struct Loops: Sendable {
    var started: [EventLoop] = []
    var next = 0
  }

  /// The process's own loops: one for every two processors, because a peer's application needs the other half.
  public static let shared = EventLoopGroup(count: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)) / 2))

  private let count: Int
  private let loops = Mutex(Loops())

  /// - Parameter count: how many loops there will be; from 1 to 64.
  public init(count: Int) { self.count = min(max(count, 1), Self.maximumCount) }

  /// The next loop, in turn. Starts it if it is not running yet.
  public func next() throws(NetError) -> EventLoop {
    try loops.withLock { loops throws(NetError) in
      let index = loops.next
      loops.next = (index + 1) % count
      if index == loops.started.count {
        loops.started.append(try EventLoop(name: "webrtc-loop-\(index)"))
      }
      return loops.started[index % loops.started.count]
    }
  }

  /// Ends all loops that were started. See `EventLoop.shutdown()`.
  public func shutdown() {
    let started = loops.withLock { loops in
      defer { loops = Loops() }
      return loops.started
    }
    for loop in started { loop.shutdown() }
  }

  private static let maximumCount = 64
}
