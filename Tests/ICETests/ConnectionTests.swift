// ConnectionTests.swift — stories of two agents that find each other (RFC 8445, RFC 8838).

import Testing
import Wire

import ICE

@Suite struct ConnectionTests {
  @Test("two agents with one address each connect and select the same pair")
  func connects() throws {
    var world = World(seed: 1)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let left = selectedAddresses(world.left)
    let right = selectedAddresses(world.right)
    #expect(left == [SocketAddress("10.0.0.1:1000"), SocketAddress("10.0.0.2:2000")])
    #expect(right == left.reversed())
    let roundTrip = world.left.selectedPair?.roundTrip
    #expect(roundTrip == .milliseconds(40))
    let states = world.leftEvents.compactMap { if case .stateChanged(let state) = $0 { state } else { nil } }
    #expect(states.first == .checking)
    #expect(states.last == .completed)
  }

  @Test("a route is usable after one round trip and nominated right after it")
  func connectsWithoutDelay() throws {
    var world = World(seed: 2)
    world.delay = .zero
    let start = world.now
    try world.connectSimply()
    let usable = world.run(for: .zero) { $0.left.sendRoute != nil && $0.right.sendRoute != nil }
    #expect(usable)
    let done = world.run(for: .zero, until: bothCompleted)
    #expect(done)
    let passed = world.now - start
    #expect(passed == .zero)
    // Left: a check, perhaps a triggered one, the nomination and as many answers as right asks.
    #expect(world.sent.count <= 12)
  }

  @Test("20 % loss each way does not keep two agents apart", arguments: 1...200 as ClosedRange<UInt64>)
  func survivesLoss(seed: UInt64) throws {
    var world = World(seed: seed)
    world.lossPerMille = 200
    world.duplicatePerMille = 50
    world.jitter = .milliseconds(30)
    try world.connectSimply()
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done, "seed \(seed)")
    let left = selectedAddresses(world.left)
    let right = selectedAddresses(world.right)
    #expect(left == right.reversed(), "seed \(seed)")
  }

  @Test("many addresses, some without a way between them, under loss", arguments: 1...50 as ClosedRange<UInt64>)
  func manyAddresses(seed: UInt64) throws {
    var world = World(seed: seed)
    world.lossPerMille = 100
    world.jitter = .milliseconds(10)
    let l = try ["10.0.0.1:1", "192.168.1.1:2", "[2001:db8::1]:3", "[fe80::1%2]:4"].map {
      try world.addLocal(.left, $0)
    }
    let r = try ["172.16.0.2:5", "10.0.0.2:6", "[2001:db8::2]:7", "[fe80::2%3]:8"].map {
      try world.addLocal(.right, $0)
    }
    world.isBlocked = { datagram in
      datagram.source.port != 1 && datagram.destination.port != 1
        || datagram.source.port != 6 && datagram.destination.port != 6
    }
    world.exchangeCredentials()
    for candidate in r { world.left.addRemoteCandidate(candidate, now: world.now) }
    for candidate in l { world.right.addRemoteCandidate(candidate, now: world.now) }
    world.start()
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done, "seed \(seed)")
    let left = selectedAddresses(world.left)
    #expect(left == [SocketAddress("10.0.0.1:1"), SocketAddress("10.0.0.2:6")], "seed \(seed)")
  }
}
