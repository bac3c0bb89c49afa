// CoturnTests.swift — our TURN client and Debian's coturn over loopback: what a simulation of ours could get wrong in the
// same way as the client.

import Foundation
import STUN
import TURN
import Testing
import Wire

@Suite(.serialized) struct CoturnTests {
  private static let george = STUNCredential(username: "george", password: "wisemans-secret")
  private static let longTerm = [
    "lt-cred-mech", "user=george:wisemans-secret", "denied-peer-ip=127.0.0.2", "user-quota=4",
  ]

  private func with(_ lines: [String], _ body: (SocketAddress) throws -> Void) throws {
    if let why = Coturn.whyNot {
      print("coturn: skipped: \(why)")
      #expect(!Coturn.isGate, "the gate needs coturn: \(why)")
      return
    }
    let server = try Coturn(lines)
    defer { server.stop() }
    try body(SocketAddress(ip: .loopbackV4, port: server.port))
  }

  private func endpoint(
    _ server: SocketAddress, _ transport: TURNConfiguration.Transport = .datagram, family: STUNAddressFamily? = nil,
    credential: STUNCredential = george, socket: PlainSocket? = nil
  ) throws -> Endpoint {
    try Endpoint(
      server: server, socket: socket,
      configuration: TURNConfiguration(transport: transport, credential: credential, family: family))
  }

  /// Payloads both ways between a plain socket and a peer behind the relay, until they go over a channel.
  private func echo(_ endpoint: Endpoint, isV6: Bool = false) throws {
    let relayed = try endpoint.allocate()
    let peer = try PlainSocket(.datagram, isV6: isV6)
    defer { peer.close() }
    endpoint.client.prepare(peer: peer.localAddress, now: endpoint.now)
    for number in 0..<40 as Range<UInt8> {
      let payload = [UInt8](repeating: number, count: Int(number) * 31 % 1_200 + 1)
      #expect(try endpoint.send(payload, to: peer.localAddress))
      let (bytes, source) = try #require(peer.receive(milliseconds: 5_000), "payload \(number)")
      #expect(bytes == payload)
      #expect(source == relayed)
      try peer.send(payload.reversed() + [7], to: relayed)
      try endpoint.waitFor("the echo of \(number)") { endpoint.received.count == Int(number) + 1 }
      #expect(endpoint.received.last?.peer == peer.localAddress)
      #expect(endpoint.received.last?.bytes == payload.reversed() + [7])
    }
    #expect(endpoint.channelPayloads > 20)
    #expect(endpoint.events.count == 1)
  }

  @Test("UDP and TCP, IPv4 and IPv6 relays: payloads both ways, renewal, giving back")
  func relays() throws {
    try with(Self.longTerm) { server in
      for transport in [TURNConfiguration.Transport.datagram, .stream] {
        for family in [STUNAddressFamily.v4, .v6] {
          let endpoint = try endpoint(server, transport, family: family)
          defer { endpoint.socket.close() }
          try echo(endpoint, isV6: family == .v6)
          if case .allocated(_, let mapped) = try #require(endpoint.events.first) {
            #expect(mapped == endpoint.socket.localAddress)
          }
          // Nine minutes on, by our clock: the permission, the channel and the allocation are to be renewed.
          for seconds in [245, 300, 5] as [Int64] {
            endpoint.ahead = endpoint.ahead + .seconds(seconds)
            for _ in 0..<10 { try endpoint.step(milliseconds: 10) }
          }
          #expect(endpoint.client.statistics.requestsSent >= 7)
          #expect(endpoint.client.statistics.ignored == 0)
          #expect(endpoint.events.count == 1)
          try endpoint.close()
        }
      }
      print("coturn: UDP and TCP, IPv4 and IPv6 relays")
    }
  }

  @Test("time-limited credentials; expired ones are refused")
  func timeLimited() throws {
    try with(["use-auth-secret", "static-auth-secret=s3cret-shared"]) { server in
      let soon = UInt64(Date().timeIntervalSince1970) + 600
      let good = STUNCredential.timeLimited(secret: "s3cret-shared", subject: "peer_demo", expiry: soon)
      let endpoint = try endpoint(server, credential: good)
      defer { endpoint.socket.close() }
      try echo(endpoint)
      try endpoint.close()

      let old = STUNCredential.timeLimited(secret: "s3cret-shared", subject: "peer_demo", expiry: 1_767_225_600)
      let late = try self.endpoint(server, credential: old)
      defer { late.socket.close() }
      late.client.start(now: late.now)
      try late.waitFor("a refusal") { !late.events.isEmpty }
      #expect(late.events == [.failed(.unauthorized)])
    }
  }

  @Test("refusals: wrong password, a second allocation from one port, a forbidden peer, a quota")
  func refusals() throws {
    try with(Self.longTerm) { server in
      let wrong = try endpoint(server, credential: STUNCredential(username: "george", password: "x"))
      wrong.client.start(now: wrong.now)
      try wrong.waitFor("a refusal") { !wrong.events.isEmpty }
      #expect(wrong.events == [.failed(.unauthorized)])

      let first = try endpoint(server)
      _ = try first.allocate()
      let second = try endpoint(server, socket: first.socket)
      second.client.start(now: second.now)
      try second.waitFor("a mismatch") { !second.events.isEmpty }
      #expect(second.events == [.failed(.mismatch)])

      let forbidden = IPAddress.v4(0x7f00_0002)
      first.client.prepare(peer: SocketAddress(ip: forbidden, port: 9), now: first.now)
      first.client.prepare(peer: SocketAddress(ip: .v4(0x7f00_0003), port: 9), now: first.now)
      try first.waitFor("a forbidden peer") { first.events.count > 1 }
      #expect(first.events.dropFirst() == [.permissionRefused(forbidden, code: 403)])
      #expect(try first.send([1], to: SocketAddress(ip: .v4(0x7f00_0003), port: 9)))

      var others: [Endpoint] = []
      for _ in 0..<6 {
        let other = try endpoint(server)
        other.client.start(now: other.now)
        try other.waitFor("an answer") { !other.events.isEmpty }
        others.append(other)
      }
      #expect(others.last?.events == [.failed(.refused(code: 486))])
      for endpoint in others where endpoint.relayed != nil { try endpoint.close() }
      try first.close()
      for endpoint in [wrong, first] + others { endpoint.socket.close() }
    }
  }

  @Test("two clients reach each other, relayed address to relayed address")
  func relayToRelay() throws {
    try with(Self.longTerm) { server in
      let left = try endpoint(server)
      let right = try endpoint(server, .stream)
      let (leftAddress, rightAddress) = (try left.allocate(), try right.allocate())
      left.client.prepare(peer: rightAddress, now: left.now)
      right.client.prepare(peer: leftAddress, now: right.now)
      for _ in 0..<10 {
        try left.step(milliseconds: 5)
        try right.step(milliseconds: 5)
      }
      for number in 0..<30 as Range<UInt8> {
        #expect(try left.send([number], to: rightAddress))
        try right.waitFor("number \(number)") { right.received.count == Int(number) + 1 }
        #expect(try right.send([number, number], to: leftAddress))
        try left.waitFor("number \(number) back") { left.received.count == Int(number) + 1 }
      }
      #expect(right.received.map(\.bytes) == (0..<30).map { [$0] })
      #expect(right.received.allSatisfy { $0.peer == leftAddress })
      try left.close()
      try right.close()
      left.socket.close()
      right.socket.close()
    }
  }

  @Test("300, and where to")
  func alternateServer() throws {
    try with(Self.longTerm + ["alternate-server=192.0.2.77:3479"]) { server in
      let endpoint = try endpoint(server)
      defer { endpoint.socket.close() }
      endpoint.client.start(now: endpoint.now)
      try endpoint.waitFor("another server") { !endpoint.events.isEmpty }
      let other = try #require(SocketAddress("192.0.2.77:3479"))
      #expect(endpoint.events == [.redirected(to: other, domain: nil)])
    }
  }

  @Test("a Binding request finds our address")
  func binding() throws {
    try with(Self.longTerm) { server in
      let socket = try PlainSocket(.datagram, isV6: false)
      defer { socket.close() }
      var random = RandomSource.system
      func now() -> Instant { Instant(nanoseconds: Int64(DispatchTime.now().uptimeNanoseconds)) }
      // The server takes a moment to be there: the repetitions reach it.
      var client = BindingClient(random: &random, initialTimeout: .milliseconds(50), now: now())
      var event: BindingClient.Event?
      while event == nil {
        let bytes = collectBytes(capacity: BindingClient.maximumMessageSize) { _ = client.pollTransmit(into: &$0) }
        if !bytes.isEmpty { try socket.send(bytes, to: server) }
        if let (bytes, _) = socket.receive(milliseconds: 10) { _ = client.handle(bytes.rawSpan, now: now()) }
        client.handleTimeout(now: now())
        event = client.pollEvent()
      }
      guard case .succeeded(let mapped, _) = try #require(event) else {
        Issue.record("\(String(describing: event))")
        return
      }
      #expect(mapped == socket.localAddress)
    }
  }
}
