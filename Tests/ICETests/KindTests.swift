// KindTests.swift — reflexive, relayed and TCP candidates, the order of families, and candidates that go again.

import TestSupport
import Testing
import Wire

@testable import ICE

@Suite struct CandidateKindTests {
  private func agent(_ configuration: ICEConfiguration = .init()) -> ICEAgent {
    ICEAgent(role: .controlling, configuration: configuration, random: .seeded(state: 1))
  }

  @Test("a reflexive candidate is signalled with its base, and says nothing twice")
  func reflexive() throws {
    var agent = agent()
    let base = try address("10.0.0.1:1000")
    let socket = SocketID(rawValue: 1)
    let mapped = try address("203.0.113.1:4000")
    #expect(agent.addReflexiveCandidate(mapped, base: base, socket: socket) == nil)  // no such base
    let host = agent.addLocalCandidate(base, socket: socket)
    let server = try address("198.51.100.1:3478")
    let found = agent.addReflexiveCandidate(mapped, base: base, socket: socket, server: server)
    let candidate = try #require(found)
    #expect(candidate.kind == .serverReflexive)
    #expect(candidate.priority == 1_694_498_815)
    #expect(candidate.relatedAddress == base)
    #expect(candidate.foundation != host.foundation)
    #expect(candidate.sdpText.contains("203.0.113.1 4000 typ srflx raddr 10.0.0.1 rport 1000"))
    let again = agent.addReflexiveCandidate(mapped, base: base, socket: socket, server: server)
    #expect(again == nil)
    // Without a NAT the server sees the host candidate itself.
    let same = agent.addReflexiveCandidate(base, base: base, socket: socket, server: server)
    #expect(same == nil)
    #expect(agent.localCandidates.map(\.kind) == [.host, .serverReflexive])
  }

  @Test("relays are the last resort, and among them UDP comes before TLS")
  func relayed() throws {
    var agent = agent()
    let relays = try transports.map { transport in
      agent.addRelayedCandidate(
        try address("198.51.100.1:\(5_000 + Int(transport.rawValue))"), mapped: try address("203.0.113.1:4000"),
        socket: SocketID(rawValue: 1 << 31 | UInt32(transport.rawValue)), transport: transport)
    }
    #expect(relays.map(\.priority) == relays.map(\.priority).sorted(by: >))
    #expect(relays.allSatisfy { $0.priority >> 24 == 0 && $0.kind == .relayed && $0.relatedAddress != nil })
    #expect(relays[0].priority == 16_777_215)
    #expect(relays[0].sdpText.contains(" typ relay raddr 203.0.113.1 rport 4000 "))
  }
  private let transports: [ICERelayTransport] = [.udp, .dtls, .tcp, .tls]

  @Test(
    "the lines and priorities of RFC 6544",
    arguments: [
      (ICECandidate.Kind.host, ICECandidate.TCPType.active, UInt32(2_128_609_279)),
      (.host, .passive, 2_124_414_975), (.host, .so, 2_120_220_671), (.serverReflexive, .active, 1_688_207_359),
      (.serverReflexive, .passive, 1_684_013_055), (.serverReflexive, .so, 1_692_401_663),
    ])
  func streamPriorities(kind: ICECandidate.Kind, type: ICECandidate.TCPType, expected: UInt32) {
    let preference = ICECandidate.streamPreference(kind, type, other: 8_191)
    #expect(ICECandidate.priority(kind, localPreference: preference) == expected)
    // Beside UDP they stand back: behind what UDP finds directly, before a relay.
    let lowered = ICECandidate.priority(kind, localPreference: preference, isStream: true)
    #expect(lowered < ICECandidate.priority(.serverReflexive) && lowered > ICECandidate.priority(.relayed))
  }

  @Test("who pairs with whom: active with passive, both-ways with both-ways, never UDP with TCP")
  func streamPairs() throws {
    let types: [ICECandidate.TCPType?] = [nil, .active, .passive, .so]
    for ours in types {
      for theirs in types {
        var agent = agent()
        let local = try address("10.0.0.1:1000")
        if let ours {
          _ = agent.addTCPCandidate(local, type: ours, socket: SocketID(rawValue: 1))
        } else {
          _ = agent.addLocalCandidate(local, socket: SocketID(rawValue: 1))
        }
        agent.setRemoteCredentials(ICECredentials(usernameFragment: "peer", password: "peers-password-of-24-char"))
        agent.addRemoteCandidate(
          ICECandidate(
            foundation: "1", transport: theirs == nil ? .udp : .tcp, priority: 1,
            address: .ip(try address("10.0.0.2:9")),
            kind: .host, tcpType: theirs), now: Instant(nanoseconds: 0))
        let isPaired = !agent.checkList.pairs.isEmpty
        let expected =
          switch (ours, theirs) {
          case (nil, nil), (.active, .passive), (.so, .so): true
          default: false
          }
        #expect(isPaired == expected, "\(String(describing: ours)) with \(String(describing: theirs))")
      }
    }
  }

  @Test(
    "two agents that have nothing but TCP connect, whoever controls",
    arguments: [ICEAgent.Role.controlling, .controlled])
  func overTCP(role: ICEAgent.Role) throws {
    var world = World(seed: 3, left: role, right: role == .controlling ? .controlled : .controlling)
    let l = try world.addTCP(.left, "10.0.0.1:40001", .active)
    let r = try world.addTCP(.right, "10.0.0.2:443", .passive)
    #expect(l.socketAddress == SocketAddress("10.0.0.1:9"))
    #expect(r.sdpText.contains("tcp") && r.sdpText.contains("10.0.0.2 443 typ host tcptype passive"))
    world.exchangeCredentials()
    world.left.addRemoteCandidate(r, now: world.now)
    world.right.addRemoteCandidate(l, now: world.now)
    world.start()
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    let remote = world.right.selectedPair?.remote
    #expect(remote?.kind == .peerReflexive && remote?.tcpType == .active && remote?.transport == .tcp)
  }

  @Test("over TCP nothing is repeated, and a check is given up after 39.5 s")
  func noRetransmissionOverTCP() throws {
    var world = World(seed: 4)
    world.isBlocked = { _ in true }
    try world.addTCP(.left, "10.0.0.1:40001", .active)
    let r = try world.addTCP(.right, "10.0.0.2:443", .passive)
    world.exchangeCredentials()
    world.left.addRemoteCandidate(r, now: world.now)
    world.start()
    let start = world.now
    let failed = world.run(for: .seconds(100)) { $0.left.state == .failed }
    #expect(failed)
    let passed = world.now - start
    #expect(passed == .milliseconds(39_500))
    #expect(world.sent(by: .left).count == 1)
  }

  @Test("a connection that ends is opened again by its active side, and both sides are back")
  func connectionEnds() throws {
    var world = World(seed: 5)
    try world.addTCP(.left, "10.0.0.1:40001", .active)
    let r = try world.addTCP(.right, "10.0.0.2:443", .passive)
    world.exchangeCredentials()
    world.left.addRemoteCandidate(r, now: world.now)
    world.start()
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    let left = try #require(world.left.selectedPair?.route)
    let right = try #require(world.right.selectedPair?.route)
    world.left.routeClosed(left, now: world.now)
    world.right.routeClosed(right, now: world.now)
    #expect(world.left.state == .disconnected)
    #expect(world.right.state == .disconnected)
    #expect(world.left.sendRoute == nil)
    let again = world.run(for: .seconds(5), until: bothCompleted)
    #expect(again)
    // One that can not be opened again is the end, and no busy loop.
    world.isBlocked = { _ in true }
    world.left.routeClosed(left, now: world.now)
    world.drain()
    world.left.routeClosed(left, now: world.now)
    let count = world.sent.count
    let failed = world.run(for: .seconds(60)) { $0.left.state == .failed }
    #expect(failed)
    #expect(world.sent(by: .left).count <= count + 2)
  }

  @Test("RFC 8421: IPv6 first, IPv4 mixed in evenly, each family in its own order")
  func familyOrder() throws {
    let six = try (1...4).map { try #require(IPAddress("2001:db8::\($0)")) }
    let four = try (1...2).map { try #require(IPAddress("10.0.0.\($0)")) }
    let order = ICEAddressOrder.preferred(four + six)
    #expect(order == [six[0], six[1], four[0], six[2], six[3], four[1]])
    #expect(ICEAddressOrder.preferred(four) == four)
    #expect(ICEAddressOrder.preferred(six) == six)
    #expect(ICEAddressOrder.preferred([four[0], six[0]]) == [six[0], four[0]])
    let inner: [IPAddress] = [.v6(0, 1, zone: 0), .v4(0x7f00_0001)]
    #expect(ICEAddressOrder.preferred(inner + [four[0]]) == [four[0]] + inner)
    let many = ICEAddressOrder.preferred(four + [six[0]])
    #expect(many.count == 3 && many[0] == six[0])
  }

  @Test("when the socket in use goes, the search begins again among those that are left")
  func socketGoes() throws {
    var world = World(seed: 6)
    let r = [try world.addLocal(.right, "10.0.0.2:2"), try world.addLocal(.right, "[2001:db8::2]:2")]
    let l = [try world.addLocal(.left, "10.0.0.1:1"), try world.addLocal(.left, "[2001:db8::1]:1")]
    world.exchangeCredentials(renomination: true)
    for candidate in r { world.left.addRemoteCandidate(candidate, now: world.now) }
    for candidate in l { world.right.addRemoteCandidate(candidate, now: world.now) }
    world.start()
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.route.remote == SocketAddress("10.0.0.2:2"))
    world.run(for: .seconds(3))
    world.left.removeLocalCandidates(socket: world.socket(.left), now: world.now)
    #expect(world.left.locals.count == 1)
    let allLeft = world.left.checkList.pairs.allSatisfy { $0.route.socket == world.socket(.left, 1) }
    #expect(allLeft)
    let start = world.now
    let back = world.run(for: .seconds(5)) {
      $0.left.state == .completed && $0.right.selectedPair?.route.remote == SocketAddress("[2001:db8::1]:1")
    }
    #expect(back)
    let passed = world.now - start
    #expect(passed < .seconds(1))
  }

  @Test("what is left when the last socket goes is an agent that waits, and then fails")
  func lastSocketGoes() throws {
    var world = World(seed: 7)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    world.left.removeLocalCandidates(socket: world.socket(.left), now: world.now)
    #expect(world.left.state == .disconnected)
    #expect(world.left.sendRoute == nil)
    #expect(world.left.transmissions(now: world.now).isEmpty)
    let failed = world.run(for: .seconds(60)) { $0.left.state == .failed && $0.right.state == .failed }
    #expect(failed)
  }
}
