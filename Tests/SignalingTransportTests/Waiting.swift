// Waiting.swift — waiting for something to come, no longer than a bound; and a server for the length of a test.

import Logging
import Signaling
import SignalingTransport
import Testing

struct NothingCame: Error {}

/// The first element that `pick` takes; elements before it are thrown away. One reader at a time.
func first<Element: Sendable, Picked: Sendable>(
  of stream: AsyncStream<Element>, within limit: Duration = .seconds(10),
  _ pick: @escaping @Sendable (Element) -> Picked?
) async throws -> Picked {
  try await withThrowingTaskGroup(of: Picked?.self) { group in
    group.addTask {
      for await element in stream {
        if let picked = pick(element) { return picked }
      }
      return nil
    }
    group.addTask {
      try await Task.sleep(for: limit)
      return nil
    }
    defer { group.cancelAll() }
    guard let picked = try await group.next() ?? nil else { throw NothingCame() }
    return picked
  }
}

extension SignalingClient {
  func next<Picked: Sendable>(_ pick: @escaping @Sendable (SignalingMessage) -> Picked?) async throws -> Picked {
    try await first(of: messages, pick)
  }

  func nextState<Picked: Sendable>(_ pick: @escaping @Sendable (State) -> Picked?) async throws -> Picked {
    try await first(of: states, pick)
  }
}

/// Runs `body` against a server on a free port.
func withServer(
  _ configure: (inout SignalingServer.Configuration) -> Void = { _ in },
  _ body: (SignalingServer, SignalingServer.Address) async throws -> Void
) async throws {
  var configuration = SignalingServer.Configuration(port: 0)
  configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  configure(&configuration)
  let server = SignalingServer(configuration: configuration)
  let address = try await server.start()
  do {
    try await body(server, address)
  } catch {
    await server.shutdown()
    throw error
  }
  await server.shutdown()
}

/// Waits until the server's statistics satisfy `isSo`; they change by nothing that a test could await.
func statistics(
  of server: SignalingServer, within limit: Duration = .seconds(10), until isSo: (JSONValue) -> Bool
) async throws {
  let clock = ContinuousClock()
  let end = clock.now + limit
  while clock.now < end {
    if let statistics = await server.statistics(), isSo(statistics) { return }
    await Task.yield()
  }
  throw NothingCame()
}
