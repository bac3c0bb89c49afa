// AdmissionTests.swift — who is let in, from addresses that a test on one host cannot have; and what logs must not hold.

import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Signaling
import Testing

@testable import SignalingTransport

@Suite struct AdmissionTests {
  private func admission(
    _ target: String = "/signaling", from address: String, origin: String? = nil, host: String = "server:8000",
    access: SignalingAccess
  ) throws -> Admission {
    var request = HTTPRequestHead(version: .http1_1, method: .GET, uri: target)
    request.headers = [
      "Host": host, "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ]
    if let origin { request.headers.add(name: "Origin", value: origin) }
    let address = try NIOCore.SocketAddress(ipAddress: address, port: 5_000)
    return Admission(request, from: address, path: "/signaling", access: access)
  }

  @Test("local-only: loopback in all its forms, and nobody else")
  func localOnly() throws {
    for address in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
      #expect(try admission(from: address, access: .localOnly) == .webSocket, "\(address)")
    }
    for address in ["192.0.2.1", "128.0.0.1", "::2", "fe80::1", "::ffff:192.0.2.1", "10.127.0.0"] {
      let answer = try admission(from: address, access: .localOnly)
      #expect(answer == .refused(.forbidden, "Loopback connections only"), "\(address)")
    }
    // The path is looked at before the address, the address before the origin.
    #expect(try admission("/x", from: "192.0.2.1", access: .localOnly) == .refused(.notFound, "Not found"))
    let both = try admission(from: "192.0.2.1", origin: "http://evil.com", access: .localOnly)
    #expect(both == .refused(.forbidden, "Loopback connections only"))
  }

  @Test("remote: origin, then token; without a configured token nobody (WIRE §4.1)")
  func remote() throws {
    let access = SignalingAccess.remote(accessToken: "secret", allowedOrigins: ["https://good.example"])
    let from = "192.0.2.1"
    #expect(try admission("/signaling?access_token=secret", from: from, access: access) == .webSocket)
    for origin in ["https://good.example", "HTTPS://GOOD.example"] {
      let answer = try admission("/signaling?access_token=secret", from: from, origin: origin, access: access)
      #expect(answer == .webSocket)
    }
    for origin in [
      "http://good.example", "https://good.example:8443", "https://good.example.evil.com", "https://evilgood.example",
      "https://good.example.", "null", "http://localhost",
    ] {
      let answer = try admission("/signaling?access_token=secret", from: from, origin: origin, access: access)
      #expect(answer == .refused(.forbidden, "Origin not allowed"), "\(origin)")
    }
    for query in [
      "", "?access_token=", "?access_token=Secret", "?access_token=secret1", "?access_token=%zz", "?x=secret",
    ] {
      let answer = try admission("/signaling" + query, from: from, access: access)
      #expect(answer == .refused(.forbidden, "Signaling access denied"), "\(query)")
    }
    let open = try admission("/signaling?access_token=", from: from, access: .remote(accessToken: ""))
    #expect(open == .refused(.serviceUnavailable, "Remote signaling requires an access token"))
    #expect(try admission(from: from, origin: "http://any", access: .anyone) == .webSocket)
  }

  @Test("statistics: this host under its own name, or the token (B-12)")
  func statistics() throws {
    let path = "/api/signaling/stats"
    let remote = SignalingAccess.remote(accessToken: "secret")
    let denied = Admission.refused(.forbidden, "Signaling access denied")
    #expect(try admission(path, from: "127.0.0.1", host: "localhost:8000", access: .localOnly) == .statistics)
    #expect(try admission(path, from: "127.0.0.1", host: "evil.com", access: .localOnly) == denied)
    let page = try admission(path, from: "127.0.0.1", origin: "http://evil.com", host: "localhost", access: .anyone)
    #expect(page == denied)
    #expect(try admission(path, from: "192.0.2.1", access: .anyone) == denied)
    #expect(try admission(path, from: "192.0.2.1", access: remote) == denied)
    #expect(try admission(path + "?access_token=secret", from: "192.0.2.1", access: remote) == .statistics)
  }

  @Test("connections are bounded in all and per address; this host is exempt from the second bound")
  func connectionBounds() async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    try await loop.submit {
      var configuration = RoomServer.Configuration()
      configuration.limits.connections = 6
      let hub = RoomHub(
        configuration: configuration, connectionsPerAddress: 2, logger: Logger(label: "test"), loop: loop)
      let one = try NIOCore.SocketAddress(ipAddress: "192.0.2.1", port: 1)
      let sameHost = try NIOCore.SocketAddress(ipAddress: "192.0.2.1", port: 2)
      let other = try NIOCore.SocketAddress(ipAddress: "192.0.2.2", port: 1)
      let own = try NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 1)
      #expect(hub.count(one) && hub.count(sameHost) && !hub.count(one))
      #expect(hub.count(other))
      hub.uncount(sameHost)
      #expect(hub.count(one))
      #expect(hub.count(own) && hub.count(own) && hub.count(own))
      #expect(!hub.count(own) && !hub.count(other), "six are all")
    }.get()
  }

  @Test("no token and no ice-pwd reaches a log (X6)")
  func logs() async throws {
    let log = LogKeeper()
    let logger = Logger(label: "test") { _ in log }
    try await withServer({
      $0.logger = logger
      $0.logger.logLevel = .trace
      $0.access = .remote(accessToken: "tell-nobody-1")
    }) { _, address in
      var configuration = SignalingClient.Configuration()
      configuration.logger = logger
      let client = SignalingClient(configuration: configuration)
      await #expect(throws: SignalingError.rejected(status: 403)) {
        try await client.connect(url: address.url + "?access_token=tell-nobody-2")
      }
      try await client.connect(url: address.url + "?access_token=tell-nobody-1")
      try await client.send(
        .join(.init(peerID: "peer_a", roomID: "room", token: "tell-nobody-3-tell-nobody-3-tell-nobody-3")))
      let offer: JSONValue = ["type": "offer", "sdp": "a=ice-pwd:tell-nobody-4\r\n"]
      try await client.send(.offer(.init(peerID: "peer_a", targetPeer: "peer_x", payload: offer)))
      _ = try await client.next { if case .error = $0 { true } else { nil } }
      await client.close()
    }
    #expect(log.text.contains("request refused") && log.text.contains("connection closed"))
    #expect(!log.text.contains("tell-nobody"))
  }
}

/// Keeps everything that is logged.
private final class LogKeeper: LogHandler, @unchecked Sendable {  // all state behind the lock
  private let lock = NSLock()
  private var lines = ""
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    lock.withLock { lines += "\(event.level) \(event.message) \(event.metadata ?? [:])\n" }
  }

  var text: String { lock.withLock { lines } }
}
