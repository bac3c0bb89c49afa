// StreamSupport.swift — worlds of stream sockets, and what tests gather from them.

import Dispatch
import Synchronization
import Wire

@testable import Net

/// Gathers from the loop, awaited by a test.
final class Gathered<Element: Sendable>: Sendable {
  private let state = Mutex<[Element]>([])
  private let signal = DispatchSemaphore(value: 0)

  var all: [Element] { state.withLock { $0 } }

  func add(_ element: Element) {
    state.withLock { $0.append(element) }
    signal.signal()
  }

  /// Whether there are `count` in time.
  func wait(for count: Int, seconds: Int = 20) async -> Bool {
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async { [self] in
        var isInTime = true
        while isInTime, all.count < count { isInTime = signal.wait(timeout: .now() + .seconds(seconds)) == .success }
        continuation.resume(returning: isInTime)
      }
    }
  }
}

typealias Collector = Gathered<[UInt8]>

struct Closure: Sendable {
  var route: Route
  var error: NetError?
}
typealias Closures = Gathered<Closure>
extension Gathered where Element == Closure {
  func add(_ route: Route, _ error: NetError?) { add(Closure(route: route, error: error)) }
}

/// A loop with a peer that connects.
struct ActiveWorld: Sendable {
  let loop: EventLoop
  let active = Peer()

  init(
    _ configuration: EventLoopConfiguration = .init(), framing: StreamFraming = .rfc4571,
    security: (any StreamSecurity)? = nil
  ) async throws {
    loop = try EventLoop(name: "active", configuration: configuration)
    let (loop, active) = (loop, active)
    try await onLoop(loop) {
      try active.join(loop)
      active.socket = try active.registration?.openStreamSocket(
        local: .anyPortV4, framing: framing, role: .active, security: security)
    }
  }

  func statistics() async throws -> StreamSocketStatistics {
    let active = active
    return try await onLoop(loop) {
      active.socket.flatMap { active.registration?.streamStatistics(of: $0.id) } ?? StreamSocketStatistics()
    }
  }

  func end() { loop.shutdown() }
}

/// A loop with a peer that listens and one that connects.
struct StreamWorld: Sendable {
  let loop: EventLoop
  let passive = Peer()
  let active = Peer()
  /// Where `passive` listens.
  let address: SocketAddress

  init(
    listeningAt local: SocketAddress = .anyPortV4, framing: StreamFraming = .rfc4571,
    _ configuration: EventLoopConfiguration = .init()
  ) async throws {
    loop = try EventLoop(name: "streams", configuration: configuration)
    let (loop, passive, active) = (loop, passive, active)
    address = try await onLoop(loop) {
      try passive.join(loop)
      try active.join(loop)
      passive.socket = try passive.registration?.openStreamSocket(local: local, framing: framing, role: .passive)
      active.socket = try active.registration?.openStreamSocket(
        local: SocketAddress(ip: local.ip, port: 0), framing: framing, role: .active)
      return passive.socket?.localAddress ?? local
    }
  }

  /// Of the active and the passive socket.
  func statistics() async throws -> (active: StreamSocketStatistics, passive: StreamSocketStatistics) {
    let peers = [active, passive]
    let both = try await onLoop(loop) {
      peers.map { peer in
        peer.socket.flatMap { peer.registration?.streamStatistics(of: $0.id) } ?? StreamSocketStatistics()
      }
    }
    return (both[0], both[1])
  }

  func end() { loop.shutdown() }
}
