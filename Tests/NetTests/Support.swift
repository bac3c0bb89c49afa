// Support.swift — what the tests of the loop share: participants, bounded waits, readable datagrams.

import Dispatch
import Synchronization
import Testing
import Wire

@testable import Net

extension SocketAddress {
  static let anyPortV4 = SocketAddress(ip: .loopbackV4, port: 0)
  static let anyPortV6 = SocketAddress(ip: .loopbackV6, port: 0)
}

/// Runs `body` as a job on `loop`, and returns when it has run.
func onLoop<Result: Sendable>(_ loop: EventLoop, _ body: @escaping @Sendable () throws -> Result) async throws -> Result
{
  try await Runner(loop: loop).run(body)
}

/// Whether `condition` becomes true within some thousands of turns of the loop. A job may run before the drain that an
/// earlier job asked for, so that drain has to be waited for.
func eventually(_ loop: EventLoop, _ condition: @escaping @Sendable () throws -> Bool) async throws -> Bool {
  for _ in 0..<10_000 where try await onLoop(loop, condition) { return true }
  return false
}

private actor Runner {
  let loop: EventLoop
  init(loop: EventLoop) { self.loop = loop }
  nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
  func run<Result: Sendable>(_ body: @Sendable () throws -> Result) rethrows -> Result { try body() }
}

/// Signalled by the loop, awaited by a test, for at most some seconds.
final class Signal: Sendable {
  private let semaphore = DispatchSemaphore(value: 0)
  func fire() { semaphore.signal() }

  /// Whether the signal came in time.
  func wait(seconds: Int = 20) async -> Bool {
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async { [semaphore] in
        continuation.resume(returning: semaphore.wait(timeout: .now() + .seconds(seconds)) == .success)
      }
    }
  }
}

/// A participant made of closures. All state is the loop's.
final class Peer: EventLoopParticipant, @unchecked Sendable {
  var deadline: Instant?
  var onDatagram: (Peer, RawSpan, Route) -> Void = { _, _, _ in }
  var onTimeout: (Peer, Instant) -> Void = { _, _ in }
  var onDrain: (Peer) -> Void = { _ in }
  var onRouteClosed: (Peer, Route, NetError?) -> Void = { _, _, _ in }
  var onInterfaces: (Peer, [InterfaceAddress]) -> Void = { _, _ in }
  /// Datagrams waiting to be drained.
  var outbox: [(bytes: [UInt8], route: Route)] = []
  var nextOut = 0
  var drains = 0
  var registration: EventLoopRegistration?
  var socket: EventLoopSocket?

  func join(_ loop: EventLoop, _ address: SocketAddress? = nil, options: UDPSocketOptions = .init()) throws {
    let registration = loop.register(self)
    self.registration = registration
    if let address { socket = try registration.openSocket(address, options: options) }
  }

  func send(_ bytes: [UInt8], to remote: SocketAddress) {
    guard let socket, let registration else { return }
    outbox.append((bytes, Route(socket: socket.id, remote: remote)))
    registration.touch()
  }

  func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {
    batch.forEach { bytes, route in onDatagram(self, bytes, route) }
  }

  func timeout(now: Instant) {
    deadline = nil
    onTimeout(self, now)
  }

  func routeClosed(_ route: Route, error: NetError?, now: Instant) { onRouteClosed(self, route, error) }
  func interfacesChanged(_ addresses: [InterfaceAddress], now: Instant) { onInterfaces(self, addresses) }

  func drain(into batch: inout TransmitBatch, now: Instant) -> Bool {
    drains += 1
    onDrain(self)
    while nextOut < outbox.count {
      let (bytes, route) = outbox[nextOut]
      guard batch.hasRoom(for: bytes.count) else { return true }
      _ = batch.append(maximum: bytes.count) { out in
        out.writeBytes(bytes)
        return route
      }
      nextOut += 1
    }
    outbox.removeAll()
    nextOut = 0
    return false
  }
}

/// A datagram of `count` bytes that says which one it is.
func numbered(_ number: Int, count: Int) -> [UInt8] {
  precondition(count >= 4)
  var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 31), count: count)
  for shift in 0..<4 { bytes[shift] = UInt8(truncatingIfNeeded: number >> (24 - 8 * shift)) }
  return bytes
}

/// The number of a datagram from `numbered`; nil when it is not intact.
func number(of bytes: RawSpan) -> Int? {
  guard bytes.byteCount >= 4 else { return nil }
  let number = Int(bytes.uint32(at: 0))
  for offset in 4..<max(4, bytes.byteCount) where bytes.byte(at: offset) != UInt8(truncatingIfNeeded: number &* 31) {
    return nil
  }
  return number
}
