// Resolver.swift — names to addresses, on threads of their own because the system's resolver blocks for as long as it
// likes. Who asks waits no longer than it wants to; a thread that is stuck is left to itself, and there are few of them.

import CPosix
import Glibc
import Synchronization
package import Wire

extension EventLoop {
  /// The addresses of `host`, in the order in which they are to be tried (RFC 6724). A literal is its own address.
  ///
  /// Called, and returns, on the loop's thread. Cancelling the task ends it at once.
  ///
  /// - Throws: `NetError` named `resolve`: ETIMEDOUT, ECANCELED, EBUSY when too many names wait, ENOENT when there is no
  ///   such name, or what else the system says.
  package nonisolated(nonsending) func resolve(
    _ host: String, timeout: Interval = .seconds(5)
  ) async throws(NetError) -> [IPAddress] {
    try await resolve(host, timeout: timeout, through: .shared)
  }

  nonisolated(nonsending) func resolve(
    _ host: String, timeout: Interval, through pool: ResolverPool
  ) async throws(NetError) -> [IPAddress] {
    let core = isolatedCore
    if let literal = IPAddress(host) { return [literal] }
    guard !host.isEmpty, host.utf8.count <= ResolverPool.maximumNameLength, !host.utf8.contains(0) else {
      throw NetError("resolve", code: ENOENT, detail: host.debugDescription)
    }
    let lookup = Lookup(host)
    try pool.submit(lookup)
    let patience = core.addSource(lookup)
    core.setDeadline(core.now + timeout, of: patience)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in lookup.await(continuation) }
    } onCancel: {
      lookup.finish(.failure(NetError("resolve", code: ECANCELED, detail: host)))
    }
    isolatedCore.removeSource(patience)
    return try result.get()
  }
}

/// One name, asked for by one caller. It has one result: the first of those that the resolver, the caller's patience and
/// its cancellation bring.
final class Lookup: LoopSource, Sendable {
  typealias Outcome = Result<[IPAddress], NetError>
  private struct State: Sendable {
    var outcome: Outcome?
    var continuation: CheckedContinuation<Outcome, Never>?
  }

  let host: String
  private let state = Mutex(State())

  init(_ host: String) { self.host = host }

  var isFinished: Bool { state.withLock { $0.outcome != nil } }

  func finish(_ outcome: Outcome) {
    let continuation = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
      guard state.outcome == nil else { return nil }
      state.outcome = outcome
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: outcome)
  }

  func await(_ continuation: CheckedContinuation<Outcome, Never>) {
    let outcome = state.withLock { state -> Outcome? in
      if state.outcome == nil { state.continuation = continuation }
      return state.outcome
    }
    if let outcome { continuation.resume(returning: outcome) }
  }

  func handleReady(_ event: Poller.Event, in core: LoopCore) {}

  func handleTimeout(in core: LoopCore) {
    finish(.failure(NetError("resolve", code: ETIMEDOUT, detail: host)))
  }
}

/// The threads. Each is started for a name that finds none free, and ends when nothing waits.
final class ResolverPool: Sendable {
  private struct State: Sendable {
    var waiting: [Lookup] = []
    var threads = 0
  }

  static let shared = ResolverPool { systemAddresses(of: $0) }

  private let state = Mutex(State())
  private let look: @Sendable (String) -> Lookup.Outcome

  /// - Parameter look: blocks until it knows; called on the pool's threads.
  init(_ look: @escaping @Sendable (String) -> Lookup.Outcome) { self.look = look }

  func submit(_ lookup: Lookup) throws(NetError) {
    let needsThread = try state.withLock { state throws(NetError) -> Bool in
      // Nobody waits any more for those that are finished.
      if state.waiting.count >= Self.maximumWaiting { state.waiting.removeAll(where: \.isFinished) }
      guard state.waiting.count < Self.maximumWaiting else {
        throw NetError("resolve", code: EBUSY, detail: lookup.host)
      }
      state.waiting.append(lookup)
      guard state.threads < Self.maximumThreads else { return false }
      state.threads += 1
      return true
    }
    guard needsThread else { return }
    let code = startThread()
    guard code != 0 else { return }
    state.withLock { state in
      state.threads -= 1
      state.waiting.removeAll { $0 === lookup }
    }
    throw NetError("pthread_create", code: code)
  }

  private func startThread() -> Int32 {
    var handle = pthread_t()
    let unmanaged = unsafe Unmanaged.passRetained(self)
    let code = unsafe pthread_create(
      &handle, nil,
      { context in
        guard let context = unsafe context else { return nil }
        unsafe Unmanaged<ResolverPool>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, unmanaged.toOpaque())
    if code == 0 { _ = pthread_detach(handle) } else { unsafe unmanaged.release() }
    return code
  }

  private func run() {
    unsafe "webrtc-names".withCString { unsafe swarm_thread_prepare($0, 50_000) }
    while let lookup = next() {
      if !lookup.isFinished { lookup.finish(look(lookup.host)) }
    }
  }

  private func next() -> Lookup? {
    state.withLock { state in
      if state.waiting.isEmpty {
        state.threads -= 1
        return nil
      }
      return state.waiting.removeFirst()
    }
  }

  private static func systemAddresses(of host: String) -> Lookup.Outcome {
    var hints = unsafe addrinfo()
    unsafe hints.ai_family = AF_UNSPEC
    unsafe hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    var first: UnsafeMutablePointer<addrinfo>? = nil
    let code = unsafe getaddrinfo(host, nil, &hints, &first)
    guard code == 0 else {
      let system = code == EAI_SYSTEM ? errno : code == EAI_AGAIN ? EAGAIN : code == EAI_MEMORY ? ENOMEM : ENOENT
      return .failure(NetError("resolve", code: system, detail: host))
    }
    defer { unsafe freeaddrinfo(first) }
    var found: [IPAddress] = []
    var next = unsafe first
    while let entry = unsafe next, found.count < maximumAddresses {
      unsafe next = entry.pointee.ai_next
      guard let name = unsafe entry.pointee.ai_addr,
        unsafe Int(entry.pointee.ai_addrlen) <= MemoryLayout<sockaddr_in6>.size
      else { continue }
      var slot = sockaddr_in6()
      unsafe withUnsafeMutableBytes(of: &slot) { bytes in
        unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: name, count: Int(entry.pointee.ai_addrlen)))
      }
      if let address = unsafe SocketAddress(reading: &slot)?.ip, !found.contains(address) { found.append(address) }
    }
    return .success(found)
  }

  static let maximumNameLength = 255  // RFC 1035 §2.3.4
  /// One answer in ten seconds is the worst that a resolver does by default; who waits behind 64 others has given up.
  static let maximumWaiting = 64
  /// Names are asked for rarely, and a stuck server holds a thread for ten seconds.
  static let maximumThreads = 4
  /// More than anybody tries.
  private static let maximumAddresses = 16
}
