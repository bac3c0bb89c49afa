// VirtualNetworkTests.swift — Pion's scenarios over a virtual network: 200 ms of delay, and a filter that loses the next few
// packets of a kind.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("Pion virtual network") struct VirtualNetworkTests {
  private static let slow: Network = {
    var network = Network()
    network.delay = .milliseconds(200)
    return network
  }()

  private static func connected(a: SCTPConfiguration = .init(), b: SCTPConfiguration = .init()) -> World {
    World.connected(network: slow, a: a, b: b)
  }

  @Test(
    "a receive window filled by two messages while the first data is lost: all arrives once the reader begins",
    arguments: [true, false])
  func windowFull(ordered: Bool) throws {
    var small = SCTPConfiguration()
    small.receiveWindow = 100_000
    small.maximumReceiveWindow = 100_000
    var world = Self.connected(b: small)
    world.b.releases = false
    var left = 1
    world.filter = { from, packet in
      guard from == .a, left > 0, carriesData(packet) else { return true }
      left -= 1
      return false
    }
    let sizes = [80_000, 80_000]
    for (index, size) in sizes.enumerated() {
      try world.a.association.send(OutgoingMessage(1, pattern(size, index), ordered: ordered), now: world.now)
    }
    world.run(for: .seconds(10))
    let state = world.a.association.state
    #expect(left == 0 && state == .established)
    let waiting = world.b.messages.count
    #expect(waiting < 2)
    // The reader begins.
    world.b.releases = true
    world.b.association.releaseReceived(world.b.messages.reduce(0) { $0 + $1.payload.count }, now: world.now)
    world.run(for: .seconds(60))
    let received = world.b.messages.map(\.payload)
    #expect(
      ordered
        ? received == [pattern(80_000, 0), pattern(80_000, 1)]
        : Set(received) == [pattern(80_000, 0), pattern(80_000, 1)])
    let quiet = world.a.association.isQuiet
    #expect(quiet)
  }

  @Test("a stream is closed right behind its data, with the first RE-CONFIGs lost", arguments: [0, 1, 3])
  func streamClose(lost: Int) throws {
    var world = Self.connected()
    world.dropFirst(lost, ChunkType.reconfig, from: .a)
    for i in 0..<10 { try world.a.association.send(OutgoingMessage(5, pattern(3_000, i)), now: world.now) }
    world.a.association.resetStreams([5], now: world.now)
    world.run(for: .seconds(30))
    #expect(world.b.messages.map(\.payload) == (0..<10).map { pattern(3_000, $0) })
    #expect(world.a.events == [.outgoingStreamsReset([5])] && world.b.events == [.incomingStreamsReset([5])])
    let quiet = world.a.association.isQuiet
    #expect(quiet)
  }

  @Test("the response to a reset is lost: the request is repeated, and the reset happens once")
  func responseLost() throws {
    var world = Self.connected()
    world.dropFirst(2, ChunkType.reconfig, from: .b)
    world.a.association.resetStreams([5], now: world.now)
    world.run(for: .seconds(30))
    #expect(world.a.events == [.outgoingStreamsReset([5])] && world.b.events == [.incomingStreamsReset([5])])
  }

  @Test("both sides close the same stream at once, and both directions can be used again")
  func bothClose() throws {
    var world = Self.connected()
    try world.a.association.send(OutgoingMessage(5, pattern(5_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(5, pattern(5_000)), now: world.now)
    world.a.association.resetStreams([5], now: world.now)
    world.b.association.resetStreams([5], now: world.now)
    world.run(for: .seconds(10))
    let expected: Set<SCTPAssociation.Event> = [.outgoingStreamsReset([5]), .incomingStreamsReset([5])]
    #expect(Set(world.a.events) == expected && Set(world.b.events) == expected)
    try world.a.association.send(OutgoingMessage(5, [1]), now: world.now)
    try world.b.association.send(OutgoingMessage(5, [2]), now: world.now)
    world.run(for: .seconds(2))
    #expect(world.b.messages.last?.payload == [1] && world.a.messages.last?.payload == [2])
  }

  // pion/webrtc#1270.
  @Test("both connect, and the first COOKIE-ECHOs and COOKIE-ACKs of either side are lost", arguments: [1, 2])
  func cookiesLost(count: Int) throws {
    var world = World(network: Self.slow)
    var left: [UInt8: [World.Side: Int]] = [
      ChunkType.cookieEcho: [.a: count, .b: count], ChunkType.cookieAck: [.a: count, .b: count],
    ]
    world.filter = { from, packet in
      for type in types(of: packet) {
        guard let rest = left[type]?[from], rest > 0 else { continue }
        left[type]?[from] = rest - 1
        return false
      }
      return true
    }
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    try world.b.association.send(OutgoingMessage(1, [2]), now: world.now)
    world.run(for: .seconds(30))
    let states = world.states
    #expect(states == [.established, .established])
    #expect(world.a.events == [.established] && world.b.events == [.established])
    #expect(world.b.messages.map(\.payload) == [[1]] && world.a.messages.map(\.payload) == [[2]])
  }

  @Test(
    "reordering without loss, on a path whose delay jumps: hardly anything is sent again",
    arguments: CongestionControl.allCases)
  func reordering(control: CongestionControl) throws {
    var configuration = SCTPConfiguration()
    configuration.congestionControl = control
    var world = Self.connected(a: configuration, b: configuration)
    for round in 0..<60 {
      world.network.delay = .milliseconds(round % 20 < 10 ? 200 : 180)
      world.network.jitter = .milliseconds(20)
      try world.a.association.send(OutgoingMessage(1, pattern(50_000, round)), now: world.now)
      world.run(for: .milliseconds(500))
    }
    world.run(for: .seconds(20))
    #expect(world.b.messages.map(\.payload) == (0..<60).map { pattern(50_000, $0) })
    let statistics = world.a.association.statistics
    // A path that suddenly is faster overtakes what is on its way: some of it is taken for lost before that is known.
    #expect(statistics.chunksRetransmitted * 10 < statistics.chunksSent)
    #expect(statistics.timeouts == 0)
  }

  @Test(
    "loss of every kind of chunk by turns, on the way there and back: everything arrives",
    arguments: 1...12 as ClosedRange<UInt64>)
  func everyKindLost(seed: UInt64) throws {
    var dice = RandomSource.seeded(state: seed)
    var network = Self.slow
    network.lossPerMille = 100
    var patient = SCTPConfiguration()
    patient.maximumRetransmits = 100
    patient.maximumInitRetransmits = 100
    var world = World(seed: seed, network: network, a: patient, b: patient)
    world.a.association.connect(now: world.now)
    if dice.next() % 2 == 0 { world.b.association.connect(now: world.now) }
    for i in 0..<10 {
      try world.a.association.send(OutgoingMessage(UInt16(i % 3), pattern(4_000, i)), now: world.now)
      world.run(for: .milliseconds(100))
    }
    world.a.association.resetStreams([0, 1, 2], now: world.now)
    world.run(for: .seconds(60))
    #expect(world.b.messages.count == 10)
    let reset = world.b.events.flatMap { event -> [UInt16] in
      if case .incomingStreamsReset(let streams) = event { streams } else { [] }
    }
    #expect(reset.sorted() == [0, 1, 2])
    world.a.association.shutdown(now: world.now)
    world.run(for: .seconds(120))
    let states = world.states
    #expect(states == [.closed, .closed])
  }
}
