// AllocationTests.swift — getting an allocation, keeping it, losing it, giving it back.

import STUN
import TURNTestSupport
import TestSupport
import Testing
import Wire

@testable import TURN

@Suite struct AllocationTests {
  @Test(
    "with every kind of server",
    arguments: [
      ([], []), ([], [2, 1]), ([.usernameAnonymity], []), ([.passwordAlgorithms], [2]), ([.passwordAlgorithms], [1]),
      ([.passwordAlgorithms, .usernameAnonymity], [99, 2, 1]),
    ] as [(STUNSecurityFeatures, [UInt16])])
  func servers(features: STUNSecurityFeatures, algorithms: [UInt16]) throws {
    let world = World()
    world.server.features = features
    world.server.algorithms = algorithms
    try world.allocate()
    #expect(world.events == [.allocated(relayed: world.server.relayed, mapped: World.clientAddress)])
    #expect(world.server.requests == [.allocate: 2])
    // Two round trips.
    #expect(world.now - Instant(nanoseconds: 1_000_000_000) == .milliseconds(80))
  }

  @Test("a server that wants no credentials")
  func open() throws {
    let world = World(configuration: TURNConfiguration())
    world.server.credential = nil
    try world.allocate()
    #expect(world.server.requests == [.allocate: 1])
  }

  @Test("IPv6 is asked for, given, and else 440")
  func families() throws {
    var configuration = TURNConfiguration(credential: SimulatedServer().credential, family: .v6)
    var world = World(configuration: configuration)
    world.server.relayed = try address("[2001:db8::15]:50000")
    try world.allocate()
    #expect(try world.prepare(try address("[2001:db8::99]:7")))
    #expect(try !world.prepare(try address("192.0.2.9:7")))
    #expect(try !world.send([1], to: try address("192.0.2.9:7")))

    world = World(configuration: configuration)
    try world.start()
    try world.run(for: .seconds(10))
    #expect(world.events == [.failed(.refused(code: 440))])

    // A server that does as it likes: the allocation is given back.
    configuration.family = .v6
    world = World(configuration: configuration)
    world.server.relayed = try address("[2001:db8::15]:50000")
    world.meddle = { answer in
      // IPv6 in the request, IPv4 in what is granted.
      let header = try STUNHeader.read(from: answer.rawSpan).header
      guard header.messageClass == .successResponse, header.method == .allocate else { return [answer] }
      let key = try #require(SimulatedServer().credential?.key(.md5, realm: Array("example.com".utf8)))
      return [try Self.forge(header, key: key)]
    }
    try world.start()
    try world.run(for: .seconds(10))
    #expect(world.events == [.failed(.malformedResponse)])
    #expect(world.server.allocatedUntil == nil)
    #expect(world.isFinished)
  }

  @Test(
    "refusals end it, and nothing more is asked",
    arguments: [
      (400, .refused(code: 400)), (403, .refused(code: 403)), (420, .refused(code: 420)), (437, .mismatch),
      (441, .refused(code: 441)), (442, .refused(code: 442)), (486, .refused(code: 486)), (500, .refused(code: 500)),
      (508, .refused(code: 508)), (300, .refused(code: 300)),
    ] as [(UInt16, TURNError)])
  func t13Refusals(code: UInt16, error: TURNError) throws {
    for isAuthentic in [true, false] {
      let world = World()
      world.server.refusal = { $0 == .allocate ? code : nil }
      world.server.leavesOutIntegrity = { _ in !isAuthentic }
      try world.start()
      try world.run(for: .seconds(3_600))
      #expect(world.events == [.failed(error)])
      #expect(world.isFinished)
      #expect(try world.requests(.allocate) == 2)
    }
  }

  @Test("300: where to go instead, with the domain for the certificate")
  func redirected() throws {
    for domain in [nil, "b.example.com"] {
      let world = World()
      let other = try address("192.0.2.77:3478")
      world.server.refusal = { $0 == .allocate ? 300 : nil }
      world.server.alternate = (other, domain)
      try world.start()
      try world.run(for: .seconds(10))
      #expect(world.events == [.redirected(to: other, domain: domain)])
      #expect(world.isFinished)
      #expect(world.deadline == nil)
    }
  }

  @Test("wrong credentials, none at all, and a server that was talked down")
  func credentials() throws {
    var world = World(configuration: TURNConfiguration(credential: STUNCredential(username: "George", password: "x")))
    try world.start()
    try world.run(for: .seconds(60))
    #expect(world.events == [.failed(.unauthorized)])
    #expect(world.server.requests == [.allocate: 2])

    world = World(configuration: TURNConfiguration())
    try world.start()
    try world.run(for: .seconds(60))
    #expect(world.events == [.failed(.unauthorized)])

    world = World()
    world.server.features = .passwordAlgorithms  // and no list
    try world.start()
    try world.run(for: .seconds(60))
    #expect(world.events == [.failed(.authenticationUnsupported)])
  }

  @Test("a nonce that is stale each time is not asked for without end")
  func nonceLoop() throws {
    let world = World()
    var count = 0
    world.meddle = { answer in
      count += 1
      return [answer]
    }
    world.server.refusal = { _ in nil }
    // The nonce changes between any two requests.
    try world.start()
    for _ in 0..<20 {
      world.server.nonceNumber += 1
      try world.run(for: .milliseconds(40))
    }
    #expect(world.events == [.failed(.unauthorized)])
    #expect(try world.requests(.allocate) == TURNLimits.attempts)
    #expect(count == TURNLimits.attempts)
  }

  @Test("a server that is not there: the schedule of RFC 8489, then the end; over a stream one request")
  func silence() throws {
    var world = World()
    world.lossPerMille = 1_000
    let began = world.now
    try world.start()
    try world.run(for: .seconds(100))
    #expect(
      world.sent.map { ($0.at - began).nanoseconds / 1_000_000 } == [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500])
    #expect(Set(world.sent.map(\.bytes)).count == 1)
    #expect(world.events == [.failed(.timedOut(integrityFailed: false))])

    world = World(configuration: TURNConfiguration(transport: .stream))
    world.lossPerMille = 1_000
    try world.start()
    try world.run(for: .seconds(100))
    #expect(world.sent.count == 1)
    #expect(world.events == [.failed(.timedOut(integrityFailed: false))])
  }

  @Test("a third of all datagrams lost, 300 seeds: an allocation and a permission all the same")
  func loss() throws {
    for seed in 1...300 as ClosedRange<UInt64> {
      let world = World(seed: seed)
      world.lossPerMille = 300
      try world.start()
      try world.run(for: .seconds(80)) { $0.relayedAddress != nil }
      // One request in 3,000 or so is lost seven times.
      if world.relayedAddress == nil {
        #expect(world.events == [.failed(.timedOut(integrityFailed: false))], "seed \(seed)")
        continue
      }
      let peer = try address("192.0.2.150:32102")
      #expect(try world.prepare(peer), "seed \(seed)")
      try world.run(for: .seconds(45)) { $0.server.permissions[peer.ip] != nil }
      #expect(world.server.permissions[peer.ip] != nil, "seed \(seed)")
      #expect(world.server.complaints.isEmpty, "seed \(seed)")
    }
  }

  // MARK: Forgeries

  @Test("an answer without our code is no answer; a good one behind it counts")
  func forgedSuccess() throws {
    let world = World()
    world.meddle = { answer in
      let header = try STUNHeader.read(from: answer.rawSpan).header
      guard header.messageClass == .successResponse else { return [answer] }
      return [try Self.forge(header, key: nil), try Self.forge(header, key: Array("guessed".utf8)), answer]
    }
    try world.allocate()
    #expect(world.relayedAddress == world.server.relayed)
    #expect(world.statistics.unauthenticated == 2)
  }

  @Test("nothing but forgeries is an end of its own, over a stream at once")
  func onlyForgeries() throws {
    for transport in [TURNConfiguration.Transport.datagram, .stream] {
      let world = World(
        configuration: TURNConfiguration(transport: transport, credential: SimulatedServer().credential))
      world.meddle = { answer in
        let header = try STUNHeader.read(from: answer.rawSpan).header
        return header.messageClass == .successResponse ? [try Self.forge(header, key: nil)] : [answer]
      }
      let began = world.now
      try world.start()
      try world.run(for: .seconds(100)) { !$0.events.isEmpty }
      #expect(world.events == [.failed(.timedOut(integrityFailed: true))])
      #expect((world.now - began < .seconds(1)) == (transport == .stream))
    }
  }

  @Test("a refusal that anybody could have sent does not beat the answer behind it")
  func forgedRefusal() throws {
    for code in [300, 400, 403, 437, 486, 508] as [UInt16] {
      let world = World()
      world.meddle = { answer in
        let header = try STUNHeader.read(from: answer.rawSpan).header
        guard header.messageClass == .successResponse else { return [answer] }
        return [try Self.forge(header, error: code, key: nil), answer]
      }
      try world.allocate()
      #expect(world.events.count == 1)
    }
  }

  private static func forge(_ header: STUNHeader, error: UInt16? = nil, key: [UInt8]?) throws -> [UInt8] {
    try collectBytes(capacity: 500) { (out) throws(STUNEncodingError) in
      let messageClass: STUNClass = error == nil ? .successResponse : .errorResponse
      let writer = try STUNWriter(STUNHeader(messageClass, header.method, id: header.id), into: &out)
      let address = SocketAddress(ip: .v4(0x0606_0606), port: 666)
      if let error { try writer.errorCode(error, into: &out) }
      try writer.xorAddress(.xorRelayedAddress, address, into: &out)
      try writer.xorMappedAddress(address, into: &out)
      if let key { try writer.messageIntegrity(key: key, into: &out) }
    }
  }

  // MARK: Time

  @Test("kept alive for two hours, the nonce changing underneath, over a lossy link")
  func refreshed() throws {
    let world = World(seed: 3)
    try world.allocate()
    world.lossPerMille = 100
    let peer = try address("192.0.2.150:32102")
    for minute in 0..<120 {
      if minute % 17 == 0 { world.server.nonceNumber += 1 }
      try world.send([UInt8(minute)], to: peer)
      try world.run(for: .seconds(60))
      #expect(world.server.allocatedUntil != nil, "minute \(minute)")
      #expect(world.server.permissions[peer.ip] != nil, "minute \(minute)")
    }
    #expect(world.events.count == 1)
    #expect(world.server.complaints.isEmpty)
    // Lost with the request for the permission, at the beginning.
    #expect(world.server.dropped <= 2)
    // A tenth is lost on its way to the server.
    #expect(world.server.relayedPayloads.count > 90)
    // Refreshed each nine minutes, and no more than the nonces make necessary.
    #expect((12...24).contains(world.server.requests[.refresh] ?? 0))
  }

  @Test(
    "T11: every lifetime a server may name",
    arguments: [0, 1, 9, 10, 59, 119, 600, 3_600, 1 << 31, .max] as [UInt32])
  func t11Lifetimes(lifetime: UInt32) throws {
    let world = World()
    world.server.lifetime = lifetime
    try world.start()
    try world.run(for: .seconds(10_000))
    if lifetime < 10 {
      #expect(world.events == [.failed(.malformedResponse)])
      #expect(world.server.allocatedUntil == nil)
    } else {
      #expect(world.events.count == 1)
      #expect(world.server.allocatedUntil != nil)
      let wait = max(Int64(lifetime) - 60, Int64(lifetime) / 2)
      let expected = 10_000 / Int(min(wait, 3_540))
      #expect(abs((world.server.requests[.refresh] ?? 0) - expected) <= expected / 10 + 1)
    }
  }

  @Test(
    "lost: the server forgot it, takes our credentials no more, is gone",
    arguments: [437, 403, 441] as [UInt16])
  func lost(code: UInt16) throws {
    let world = World()
    try world.allocate()
    world.server.refusal = { $0 == .refresh ? code : nil }
    try world.run(for: .seconds(700))
    #expect(world.events.dropFirst() == [.lost(code == 437 ? .mismatch : .refused(code: code))])
    #expect(world.isFinished)
    #expect(world.deadline == nil)
    #expect(try !world.send([1], to: try address("192.0.2.1:1")))
  }

  @Test func lostByRevocation() throws {
    let world = World()
    try world.allocate()
    world.server.credential?.password = "changed"
    try world.run(for: .seconds(700))
    #expect(world.events.dropFirst() == [.lost(.unauthorized)])
  }

  @Test func lostByRestartOfTheServer() throws {
    let world = World()
    try world.allocate()
    world.server.allocatedUntil = nil
    world.server.nonceNumber += 1
    // A permission is enough to find out.
    _ = try world.prepare(try address("192.0.2.1:1"))
    try world.run(for: .seconds(5))
    #expect(world.events.dropFirst() == [.lost(.mismatch)])
  }

  @Test func lostBySilence() throws {
    let world = World()
    try world.allocate()
    world.lossPerMille = 1_000
    let began = world.now
    try world.run(for: .seconds(700))
    #expect(world.events.dropFirst() == [.lost(.timedOut(integrityFailed: false))])
    // The last minute is for the retransmissions, which end before the allocation does.
    let last = try #require(world.sent.last)
    #expect(last.at - began < .seconds(600))
  }

  @Test("500 while refreshing may pass; if it does not, the allocation runs out")
  func serverError() throws {
    let world = World()
    try world.allocate()
    world.server.refusal = { $0 == .refresh ? 500 : nil }
    try world.run(for: .seconds(550))
    #expect(world.events.count == 1)
    world.server.refusal = { _ in nil }
    try world.run(for: .seconds(550))
    #expect(world.events.count == 1)
    world.server.refusal = { $0 == .refresh ? 508 : nil }
    try world.run(for: .seconds(1_200))
    #expect(world.events.dropFirst() == [.lost(.expired)])
  }

  @Test func transportClosed() throws {
    var world = World()
    try world.allocate()
    world.client.transportClosed()
    try world.drain()
    #expect(world.events.dropFirst() == [.lost(.disconnected)])

    world = World()
    try world.start()
    world.client.transportClosed()
    try world.drain()
    #expect(world.events == [.failed(.disconnected)])
  }

  // MARK: Giving back

  @Test("T6: given back before another is asked for, the server never holds two")
  func t6CloseAndAgain() throws {
    let world = World()
    for _ in 0..<20 {
      world.events = []
      try world.allocate()
      world.client.close(now: world.now)
      try world.drain()
      #expect(try !world.send([1], to: try address("192.0.2.1:1")))
      try world.run(for: .seconds(10)) { $0.isFinished }
      #expect(world.isFinished)
      #expect(world.server.allocatedUntil == nil)
      #expect(world.events.count == 1)
      world.client = TURNClient(
        configuration: TURNConfiguration(credential: world.server.credential), random: .system)
    }
  }

  @Test("closed at every step of the beginning, nothing is left on the server")
  func closedEarly() throws {
    for milliseconds in stride(from: 0 as Int64, through: 100, by: 5) {
      let world = World()
      try world.start()
      try world.run(for: .milliseconds(milliseconds))
      world.client.close(now: world.now)
      try world.drain()
      try world.run(for: .seconds(60))
      #expect(world.isFinished, "after \(milliseconds) ms")
      #expect(world.server.allocatedUntil == nil, "after \(milliseconds) ms")
      #expect(world.deadline == nil)
    }
  }

  @Test func closedWithoutAnAnswer() throws {
    let world = World()
    try world.allocate()
    world.lossPerMille = 1_000
    world.client.close(now: world.now)
    try world.drain()
    try world.run(for: .seconds(60))
    #expect(world.isFinished)
    #expect(world.events.count == 1)
  }

  // MARK: Credentials

  @Test("TURN-REST: a name that says how long, a password that proves it")
  func timeLimited() {
    let credential = STUNCredential.timeLimited(
      secret: "s3cret-shared", subject: "peer_demo", expiry: 1_767_225_600)
    #expect(credential.username == "1767225600:peer_demo")
    #expect(credential.password == "+ZXA8GcUHw6mVUK4rvOsWLMHpZ0=")
    #expect(STUNCredential.timeLimited(secret: "s", subject: "", expiry: 7).username == "7")
  }

  @Test("names longer than a message may hold are an error, not a trap")
  func longNames() throws {
    let credential = STUNCredential(username: String(repeating: "a", count: 509), password: "x")
    var world = World(configuration: TURNConfiguration(credential: credential))
    world.server.credential = credential
    try world.start()
    try world.run(for: .seconds(10))
    #expect(world.events == [.failed(.authenticationUnsupported)])
    var configuration = TURNConfiguration(credential: SimulatedServer().credential)
    configuration.software = String(repeating: "x", count: 800)
    world = World(configuration: configuration)
    try world.start()
    #expect(world.events == [.failed(.authenticationUnsupported)])
  }
}
