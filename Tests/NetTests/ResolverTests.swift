// ResolverTests.swift — names: literals, what the system knows, patience, cancellation, and the bounds.

import Dispatch
import Glibc
import Synchronization
import Testing
import Wire

@testable import Net

@Suite("Resolver", .timeLimit(.minutes(1)))
struct ResolverTests {
  /// Runs as a peer connection does, on its loop.
  actor Asker {
    let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    init(_ loop: EventLoop) { self.loop = loop }

    func ask(
      _ host: String, timeout: Interval = .seconds(20), through pool: ResolverPool = .shared
    ) async -> Result<[IPAddress], NetError> {
      do throws(NetError) {
        let found = try await loop.resolve(host, timeout: timeout, through: pool)
        loop.preconditionIsolated()
        return .success(found)
      } catch {
        return .failure(error)
      }
    }
  }

  @Test("a literal is its own address, without asking anybody")
  func literals() async throws {
    let asker = Asker(try EventLoop(name: "names"))
    let nobody = ResolverPool { host in preconditionFailure("asked for \(host)") }
    #expect(await asker.ask("192.0.2.1", through: nobody) == .success([.v4(0xc000_0201)]))
    #expect(await asker.ask("::1", through: nobody) == .success([.loopbackV6]))
    for bad in ["", "a\0b", String(repeating: "a", count: 256)] {
      #expect(failure(await asker.ask(bad, through: nobody)) == ENOENT)
    }
    asker.loop.shutdown()
  }

  @Test("the system's names are found, and its refusals told")
  func system() async throws {
    let asker = Asker(try EventLoop(name: "names"))
    let found = try await asker.ask("localhost").get()
    #expect(!found.isEmpty)
    #expect(found.allSatisfy { $0.isLoopback })
    // Not a name at all, so that no server is asked.
    guard case .failure(let error) = await asker.ask("-.invalid..") else {
      Issue.record("found what cannot be")
      return
    }
    #expect(error.operation == "resolve")
    asker.loop.shutdown()
  }

  @Test("a resolver that hangs is waited for no longer than was asked, and a cancelled task not at all")
  func patience() async throws {
    let asker = Asker(try EventLoop(name: "names"))
    let gate = DispatchSemaphore(value: 0)
    let asked = Signal()
    let pool = ResolverPool { _ in
      asked.fire()
      gate.wait()
      return .success([])
    }
    #expect(failure(await asker.ask("slow", timeout: .milliseconds(20), through: pool)) == ETIMEDOUT)
    #expect(await asked.wait())
    let task = Task { await asker.ask("slow", through: pool) }
    #expect(await asked.wait())
    task.cancel()
    #expect(failure(await task.value) == ECANCELED)
    for _ in 0..<2 { gate.signal() }
    asker.loop.shutdown()
  }

  @Test("few threads, a bounded queue, and places for others once those who waited have given up")
  func bounds() async throws {
    let gate = DispatchSemaphore(value: 0)
    let asked = Gathered<String>()
    let pool = ResolverPool { host in
      asked.add(host)
      gate.wait()
      return .success([.loopbackV4])
    }
    let running = (0..<ResolverPool.maximumThreads).map { Lookup("running\($0)") }
    for lookup in running { try pool.submit(lookup) }
    #expect(await asked.wait(for: running.count))
    let waiting = (0..<ResolverPool.maximumWaiting).map { Lookup("waiting\($0)") }
    for lookup in waiting { try pool.submit(lookup) }
    let error = #expect(throws: NetError.self) { try pool.submit(Lookup("one more")) }
    #expect(error?.code == EBUSY)
    #expect(asked.all.count == running.count, "no more threads than there may be")
    for lookup in waiting.dropLast() { lookup.finish(.failure(NetError("resolve", code: ETIMEDOUT))) }
    try pool.submit(Lookup("last"))
    for _ in 0..<(running.count + 2) { gate.signal() }
    #expect(await asked.wait(for: running.count + 2))
    #expect(Set(asked.all.suffix(2)) == ["waiting\(ResolverPool.maximumWaiting - 1)", "last"])
  }

  private func failure(_ result: Result<[IPAddress], NetError>) -> Int32? {
    if case .failure(let error) = result { error.code } else { nil }
  }
}
