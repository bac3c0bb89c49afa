// PurePartTests.swift — the parts of the transport that need no socket: addresses, waiting times, frames.

@testable import SignalingTransport
import Testing
import Wire

@Suite struct PurePartTests {
  @Test(
    "addresses are read as browsers read them",
    arguments: [
      ("ws://localhost:8000/signaling", "localhost", 8000, "/signaling", "localhost:8000", false),
      ("WSS://Example.org", "Example.org", 443, "/", "Example.org", true),
      ("ws://h", "h", 80, "/", "h", false), ("ws://h?x=1#f", "h", 80, "/?x=1", "h", false),
      ("ws://[::1]:9/a/b?c=d", "::1", 9, "/a/b?c=d", "[::1]:9", false), ("wss://h:80/", "h", 80, "/", "h:80", true),
    ])
  func urls(text: String, host: String, port: Int, target: String, header: String, isSecure: Bool) throws {
    let url = try SignalingURL(text)
    #expect(url.host == host && url.port == port && url.target == target)
    #expect(url.hostHeader == header && url.isSecure == isSecure)
  }

  @Test(
    "what is no address is refused",
    arguments: [
      "", "ws:", "ws:/h", "http://h", "ws://", "ws:///p", "ws://:80", "ws://h:", "ws://h:0", "ws://h:65536", "ws://h:x",
      "ws://u@h", "ws://[::1", "ws://[]", "ws://[::1]x", "ws://h/\r\nX: y", "ws://h/ä",
      "ws://h/" + String(repeating: "a", count: 5000),
    ])
  func badURLs(text: String) {
    #expect(throws: SignalingError.invalidURL(text)) { try SignalingURL(text) }
  }

  @Test("waits grow to the ceiling, jitter over their whole length, and start anew after a stable connection")
  func reconnectPolicy() {
    var policy = ReconnectPolicy()
    var random = RandomSource.seeded(state: 1)
    var bounds: [Int64] = []
    for _ in 0..<12 {
      bounds.append(policy.bound.nanoseconds / 1_000_000)
      let bound = policy.bound
      let delay = policy.nextDelay(using: &random)
      #expect(delay >= .zero && delay <= bound)
    }
    #expect(bounds == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000, 30_000])
    policy.connectionEnded(after: .seconds(9))
    #expect(policy.attempts == 12)
    policy.connectionEnded(after: .seconds(10))
    #expect(policy.attempts == 0 && policy.bound == .milliseconds(500))

    var below = 0
    for seed in 0..<1_000 as Range<UInt64> {
      var policy = ReconnectPolicy()
      var random = RandomSource.seeded(state: seed)
      if policy.nextDelay(using: &random) < .milliseconds(250) { below += 1 }
    }
    #expect((400...600).contains(below), "half of the first waits are in the first half")
  }
}
