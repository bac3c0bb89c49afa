// PathMTUTests.swift — packets grow to what the path carries, and shrink when it carries less (RFC 8899).

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct PathMTUTests {
  /// What a link can do, in bytes of an SCTP packet; may change while the test runs.
  final class Link {
    var limit: Int
    init(_ limit: Int) { self.limit = limit }
  }

  static func probing(base: Int = 1_160, ceiling: Int = 1_432) -> SCTPConfiguration {
    var configuration = SCTPConfiguration()
    configuration.maximumPacketSize = base
    configuration.maximumProbedPacketSize = ceiling
    return configuration
  }

  static func world(seed: UInt64 = 1, over link: Link, network: Network = .init()) -> World {
    var world = World(seed: seed, network: network, a: probing(), b: probing())
    world.filter = { _, packet in packet.count <= link.limit }
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    return world
  }

  static func carriesData(_ packet: [UInt8]) -> Bool {
    packet[12] == ChunkType.data || packet[12] == ChunkType.interleavedData
  }

  @Test(
    "the longest packet that the path carries is in use three round trips after INIT",
    arguments: [
      (1_432, 1_432), (1_500, 1_432), (1_415, 1_412), (1_395, 1_392), (1_355, 1_352), (1_315, 1_312), (1_300, 1_160),
      (1_191, 1_160),
    ])
  func grows(limit: Int, expected: Int) {
    var world = Self.world(over: Link(limit))
    world.run(for: .milliseconds(60))
    let sizes = [world.a.association.statistics.packetSize, world.b.association.statistics.packetSize]
    #expect(sizes == [expected, expected])
    world.run(for: .seconds(30))
    let later = [world.a.association.statistics.packetSize, world.b.association.statistics.packetSize]
    #expect(later == [expected, expected])
    // Three rounds of at most five, from either side, and one HEARTBEAT.
    #expect(world.log.filter { $0.packet[12] == ChunkType.heartbeat }.count <= 32)
    let states = [world.a.association.state, world.b.association.state]
    #expect(states == [.established, .established])
  }

  @Test("a probe is a HEARTBEAT and a PAD of just the size in question, skipped in silence by any peer")
  func probeFormat() throws {
    var world = World(a: Self.probing(), b: .init())
    world.a.association.connect(now: world.now)
    world.settle()
    let probes = world.log.filter { $0.from == .a && $0.packet[12] == ChunkType.heartbeat }.map(\.packet)
    #expect(probes.map(\.count) == [1_312, 1_352, 1_392, 1_412, 1_432])
    for probe in probes {
      let types = try chunks(of: probe).map(\.type)
      #expect(types == [ChunkType.heartbeat, ChunkType.padding])
    }
    let answers = try world.log.filter { $0.from == .b }.flatMap { try chunks(of: $0.packet) }
    #expect(answers.filter { $0.type == ChunkType.heartbeatAck }.count == 5)
    #expect(!answers.contains { $0.type == ChunkType.error })
    let size = world.a.association.statistics.packetSize
    #expect(size == 1_432)
    let other = world.b.association.statistics.packetSize
    #expect(other == SCTPConfiguration().maximumPacketSize)
  }

  @Test("an answer with another nonce is no answer")
  func forgedAnswer() {
    var world = Self.world(over: Link(1_200))
    world.run(for: .milliseconds(60))
    for nonce: UInt8 in [0, 1, 7] {
      let info = parameter(1, [UInt8](repeating: nonce, count: 16))
      world.a.handle(craft(tag: world.a.association.localTag, rawChunk(ChunkType.heartbeatAck, info)), now: world.now)
    }
    let size = world.a.association.statistics.packetSize
    #expect(size == 1_160)
  }

  @Test("long packets are filled by two fragments, and no chunk is longer than the base size allows")
  func fragments() throws {
    var world = Self.world(over: Link(1_432))
    world.run(for: .seconds(2))
    world.log.removeAll()
    try world.a.association.send(OutgoingMessage(1, pattern(200_000)), now: world.now)
    world.run(for: .seconds(5))
    let received = world.b.messages.map(\.payload)
    #expect(received == [pattern(200_000)])
    let packets = world.log.filter { $0.from == .a && Self.carriesData($0.packet) }.map(\.packet)
    // All that the end of the window, or of the message, has not cut short.
    #expect(packets.filter { $0.count == 1_432 }.count * 10 > packets.count * 9)
    for packet in packets {
      let sizes = try chunks(of: packet).map { $0.value.count + 4 }
      #expect(sizes.count <= 2 && sizes.allSatisfy { $0 <= 1_160 - 12 })
    }
  }

  @Test(
    "a link that begins to swallow long packets is survived within five seconds, and nothing is lost",
    arguments: 1...24 as ClosedRange<UInt64>)
  func blackHole(seed: UInt64) throws {
    let link = Link(1_432)
    var network = Network()
    network.delay = .milliseconds(Int64(5 + seed % 4 * 40))
    network.lossPerMille = seed % 3 * 10
    var world = Self.world(seed: seed, over: link, network: network)
    world.run(for: .seconds(3))
    let before = world.a.association.statistics.packetSize
    #expect(before > 1_400)
    var sent = 0
    func feed(_ world: inout World) throws {
      while world.a.association.bufferedTotal < 60_000 {
        try world.a.association.send(OutgoingMessage(1, pattern(20_000, sent)), now: world.now)
        sent += 1
      }
    }
    for _ in 0..<10 {
      try feed(&world)
      world.run(for: .milliseconds(50))
    }
    link.limit = 1_200
    let swallowed = world.now
    while world.a.association.statistics.packetSize > 1_160 {
      try feed(&world)
      if !world.step(limit: swallowed + .seconds(5)) { break }
    }
    let size = world.a.association.statistics.packetSize
    #expect(size == 1_160, "seed \(seed)")
    // From then on messages arrive again.
    let arrived = world.b.messages.count
    while world.b.messages.count < arrived + 3, world.now - swallowed < .seconds(5) {
      try feed(&world)
      if !world.step(limit: swallowed + .seconds(5)) { break }
    }
    #expect(world.b.messages.count >= arrived + 3, "seed \(seed)")
    world.run(for: .seconds(60))
    let received = world.b.messages.map(\.payload)
    #expect(received == (0..<sent).map { pattern(20_000, $0) }, "seed \(seed)")
    let consistent = world.a.association.isConsistent
    #expect(consistent)
  }

  @Test("after ten minutes it is asked whether more passes now")
  func raises() {
    let link = Link(1_200)
    var world = Self.world(over: link)
    world.run(for: .seconds(10))
    link.limit = 1_432
    world.run(for: .seconds(580))
    let before = world.a.association.statistics.packetSize
    #expect(before == 1_160)
    world.run(for: .seconds(20))
    let after = world.a.association.statistics.packetSize
    #expect(after == 1_432)
  }

  @Test(
    "loss that has nothing to do with the size does not keep packets short", arguments: 1...20 as ClosedRange<UInt64>)
  func randomLoss(seed: UInt64) throws {
    var network = Network()
    network.lossPerMille = 50
    var world = Self.world(seed: seed, over: Link(1_432), network: network)
    world.run(for: .seconds(2))
    world.log.removeAll()
    for index in 0..<20 { try world.a.association.send(OutgoingMessage(1, pattern(20_000, index)), now: world.now) }
    world.run(for: .seconds(60))
    let received = world.b.messages.map(\.payload)
    #expect(received == (0..<20).map { pattern(20_000, $0) }, "seed \(seed)")
    let lengths = world.log.filter { $0.from == .a && Self.carriesData($0.packet) }.map(\.packet.count)
    let long = lengths.filter { $0 > 1_400 }.count
    #expect(long * 2 > lengths.count, "seed \(seed): \(long) of \(lengths.count)")
  }
}
