// PartialReliabilityTests.swift — dcSCTP's scenarios of messages that may be given up. What is lost of which messages, and how
// often each chunk goes out, is in SenderTable.swift.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP partial reliability") struct PartialReliabilityTests {
  @Test("limited retransmissions: of fifty long messages under heavy loss some arrive, each whole, in order, and once")
  func manyFragmented() throws {
    var network = Network()
    network.lossPerMille = 200
    var world = World.connected(seed: 3, network: network)
    let payloads = (0..<50).map { pattern(8_000, $0) }
    for payload in payloads {
      try world.a.association.send(OutgoingMessage(1, payload, .maximumRetransmits(0)), now: world.now)
    }
    world.run(for: .seconds(5))
    world.network.lossPerMille = 0
    world.run(for: .seconds(60))
    let indices = world.b.messages.compactMap { message in payloads.firstIndex { $0 == message.payload } }
    #expect(indices.count == world.b.messages.count && indices == indices.sorted())
    #expect(Set(indices).count == indices.count && !indices.isEmpty && indices.count < 50)
    let (quiet, held) = (world.a.association.isQuiet, world.b.association.heldBytes)
    #expect(quiet && held == 0)
    let abandoned = world.a.association.statistics.messagesAbandoned
    #expect(Int(abandoned) >= 50 - indices.count)
  }

  @Test("a short lifetime: sent when it can go at once, given up unsent when it must wait")
  func shortLifetime() throws {
    var tester = try Tester.established()
    try tester.send([1], .maximumLifetime(milliseconds: 1))
    tester.wait(.milliseconds(1))
    let sent = try tester.dataSent()
    #expect(sent.count == 1)
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    // Fill the peer's window, so that the next must wait.
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1), window: 0))
    try tester.send(pattern(500))
    try tester.send([2], .maximumLifetime(milliseconds: 50))
    tester.wait(.milliseconds(100))
    _ = try tester.sent()
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    tester.wait(.seconds(1))
    let (types, abandoned) = (try tester.types(), tester.unit.association.statistics.messagesAbandoned)
    #expect(abandoned == 1 && !types.have(ChunkType.data) && !types.have(ChunkType.forwardTSN))
  }

  @Test("a lifetime of zero is still one attempt when nothing stands in the way")
  func zeroLifetime() throws {
    var world = World.connected()
    try world.a.association.send(OutgoingMessage(1, [1], .maximumLifetime(milliseconds: 1)), now: world.now)
    world.settle()
    #expect(world.b.messages.map(\.payload) == [[1]])
  }

  @Test("the first ordered message of all may be lost, and those after it arrive", arguments: [true, false])
  func firstIsLost(ordered: Bool) throws {
    var world = World.connected()
    var isFirst = true
    world.filter = { from, packet in
      guard from == .a, isFirst, carriesData(packet) else { return true }
      isFirst = false
      return false
    }
    try world.a.association.send(
      OutgoingMessage(1, pattern(1_000, 0), ordered: ordered, .maximumRetransmits(0)), now: world.now)
    world.run(for: .milliseconds(2))
    for i in 1..<4 {
      try world.a.association.send(OutgoingMessage(1, pattern(1_000, i), ordered: ordered), now: world.now)
    }
    world.run(for: .seconds(5))
    #expect(world.b.messages.map(\.payload) == (1..<4).map { pattern(1_000, $0) })
  }

  @Test("messages given up on many streams at once: each stream goes on at the right number")
  func manyStreams() throws {
    var world = World.connected()
    world.filter = { from, packet in from != .a || !carriesData(packet) }
    for stream in 0..<400 as Range<UInt16> {
      try world.a.association.send(OutgoingMessage(stream, [1], .maximumRetransmits(0)), now: world.now)
    }
    world.run(for: .seconds(20))
    world.filter = nil
    world.run(for: .seconds(20))
    for stream in 0..<400 as Range<UInt16> {
      try world.a.association.send(OutgoingMessage(stream, [2]), now: world.now)
    }
    world.run(for: .seconds(20))
    #expect(world.b.messages.filter { $0.payload == [2] }.count == 400)
    let quiet = world.a.association.isQuiet
    #expect(quiet)
  }

  @Test("FORWARD-TSN and the reset of a stream, in either order, with the stream used again")
  func resetAfterForwardTSN() throws {
    var world = World.connected()
    world.filter = { from, packet in from != .a || !carriesData(packet) }
    try world.a.association.send(OutgoingMessage(1, [1], .maximumRetransmits(0)), now: world.now)
    world.a.association.resetStreams([1], now: world.now)
    // FORWARD-TSN is overtaken by the RE-CONFIG.
    world.network.jitter = .milliseconds(200)
    world.run(for: .seconds(20))
    world.filter = nil
    #expect(world.a.events == [.outgoingStreamsReset([1])] && world.b.events == [.incomingStreamsReset([1])])
    try world.a.association.send(OutgoingMessage(1, [2]), now: world.now)
    world.settle()
    #expect(world.b.messages.map(\.payload) == [[2]])
  }

  @Test(
    "messages that are reliable arrive between those that are not, under loss", arguments: 1...10 as ClosedRange<UInt64>
  )
  func mixed(seed: UInt64) throws {
    var network = Network()
    network.lossPerMille = 150
    network.jitter = .milliseconds(15)
    var world = World.connected(seed: seed, network: network)
    var reliable: [[UInt8]] = []
    for i in 0..<60 {
      let payload = pattern(1 + i * 97 % 4_000, i)
      let limit: Reliability =
        i % 3 == 0 ? .reliable : i % 3 == 1 ? .maximumRetransmits(1) : .maximumLifetime(milliseconds: 80)
      if limit == .reliable { reliable.append(payload) }
      try world.a.association.send(OutgoingMessage(UInt16(i % 4), payload, ordered: i % 5 != 0, limit), now: world.now)
      world.run(for: .milliseconds(3))
    }
    world.run(for: .seconds(60))
    let received = world.b.messages.map(\.payload)
    #expect(Set(received).count == received.count && Set(received).isSuperset(of: reliable))
    let quiet = world.a.association.isQuiet
    #expect(quiet)
  }
}
