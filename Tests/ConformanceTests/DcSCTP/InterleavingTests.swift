// InterleavingTests.swift — dcSCTP's scenarios of interleaving and of priorities (RFC 8260): messages whose fragments alternate.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP interleaving") struct InterleavingTests {
  private static let interleaving = SCTPConfiguration.plain { $0.offersInterleaving = true }

  /// The headers of all I-DATA chunks that `a` has sent.
  private func headers(_ world: borrowing World) throws -> [InterleavedDataHeader] {
    var result: [InterleavedDataHeader] = []
    for entry in world.log where entry.from == .a {
      var reader = ChunkReader(entry.packet.rawSpan)
      while let chunk = try reader.next() {
        if chunk.type == ChunkType.interleavedData { result.append(try InterleavedDataHeader(chunk)) }
      }
    }
    return result
  }

  @Test(
    "agreed on when both offer it, and then all data is I-DATA; else all is DATA",
    arguments: [(true, true), (true, false), (false, true), (false, false)])
  func agreed(a: Bool, b: Bool) throws {
    var world = World.connected(a: a ? Self.interleaving : .plain, b: b ? Self.interleaving : .plain)
    try world.a.association.send(OutgoingMessage(1, pattern(3_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(1, pattern(3_000)), now: world.now)
    world.settle()
    for side in [World.Side.a, .b] {
      let (data, interleaved) = (
        try world.chunks(ChunkType.data, from: side).count,
        try world.chunks(ChunkType.interleavedData, from: side).count
      )
      #expect(a && b ? data == 0 && interleaved == 3 : data == 3 && interleaved == 0)
    }
    #expect(world.a.messages.count == 1 && world.b.messages.count == 1)
  }

  @Test("a long message is interrupted by a short one on another stream, which arrives first")
  func interrupted() throws {
    for isOn in [true, false] {
      let configuration = isOn ? Self.interleaving : .plain
      var world = World.connected(a: configuration, b: configuration)
      try world.a.association.send(OutgoingMessage(1, pattern(200_000)), now: world.now)
      world.run(for: .milliseconds(25))
      try world.a.association.send(OutgoingMessage(2, [1]), now: world.now)
      world.run(for: .seconds(5))
      #expect(world.b.messages.map(\.stream) == (isOn ? [2, 1] : [1, 2]))
      #expect(world.b.messages.first { $0.stream == 1 }?.payload == pattern(200_000))
    }
  }

  @Test("long messages on several streams take turns; each one's fragments are numbered from 0 without a gap")
  func takeTurns() throws {
    var world = World.connected(a: Self.interleaving, b: Self.interleaving)
    for stream in 1...3 as ClosedRange<UInt16> {
      try world.a.association.send(OutgoingMessage(stream, pattern(30_000, Int(stream))), now: world.now)
    }
    world.run(for: .seconds(5))
    let sent = try headers(world)
    let changes = zip(sent, sent.dropFirst()).filter { $0.stream != $1.stream }.count
    #expect(changes > 20)
    for stream in 1...3 as ClosedRange<UInt16> {
      let own = sent.filter { $0.stream == stream }
      #expect(own.map(\.fragment) == (0..<UInt32(own.count)).map { $0 } && Set(own.map(\.mid)).count == 1)
      #expect(own.first?.flags.contains(.begin) == true && own.last?.flags.contains(.end) == true)
    }
    #expect(Set(world.b.messages.map(\.payload)) == Set((1...3).map { pattern(30_000, $0) }))
  }

  @Test("ordered and unordered messages of a stream are numbered apart, each from 0")
  func numberedApart() throws {
    var world = World.connected(a: Self.interleaving, b: Self.interleaving)
    for i in 0..<6 {
      try world.a.association.send(OutgoingMessage(1, [UInt8(i)], ordered: i % 2 == 0), now: world.now)
    }
    world.settle()
    let sent = try headers(world)
    for unordered in [false, true] {
      #expect(sent.filter { $0.flags.contains(.unordered) == unordered }.map(\.mid.rawValue) == [0, 1, 2])
    }
    #expect(world.b.messages.count == 6)
  }

  @Test("fragments of two messages that alternate, in every order of arrival", arguments: [true, false])
  func alternating(ordered: Bool) throws {
    let extra: DataFlags = ordered ? [] : .unordered
    // TSN 0, 2, 4 are message 0 of stream 1; TSN 1, 3, 5 message 0 of stream 2.
    for seed in 1...200 as ClosedRange<UInt64> {
      var dice = RandomSource.seeded(state: seed)
      var order = Array(0..<6 as Range<UInt32>)
      for i in order.indices.dropFirst() { order.swapAt(i, Int(dice.next() % UInt64(i + 1))) }
      var tester = try Tester.established(.interleaved)
      for n in order {
        let flags: DataFlags = n < 2 ? .begin : n > 3 ? .end : []
        tester.hand(
          interleavedData(
            tester.tsn(n), [UInt8(n)], stream: 1 + UInt16(n % 2), fragment: n / 2, flags: flags.union(extra)))
      }
      #expect(Set(tester.received) == [[0, 2, 4], [1, 3, 5]] && tester.received.count == 2, "\(order)")
      let (held, consistent) = (tester.unit.association.heldBytes, tester.unit.association.isConsistent)
      #expect(held == 0 && consistent)
    }
  }

  @Test("the MID wraps: 2^32 - 1 is followed by 0")
  func midWraps() throws {
    var tester = try Tester.established(.interleaved)
    for (n, mid) in [0x7fff_fffe, 0xffff_fffc, 0xffff_fffe].enumerated() as EnumeratedSequence<[UInt32]> {
      tester.hand(
        interleavedForwardTSN(
          tester.tsn(UInt32(n)), [SkippedMessage(stream: 1, isUnordered: false, mid: MID(rawValue: mid))]))
    }
    tester.hand(interleavedData(tester.tsn(4), [2], mid: 0))
    #expect(tester.received.isEmpty)
    tester.hand(interleavedData(tester.tsn(3), [1], mid: 0xffff_ffff))
    #expect(tester.received == [[1], [2]])
  }

  @Test("a message that is given up between others is skipped by its number, ordered or not", arguments: [true, false])
  func skipped(ordered: Bool) throws {
    var world = World.connected(a: Self.interleaving, b: Self.interleaving)
    world.filter = { from, packet in
      guard from == .a, carriesData(packet) else { return true }
      // The second message is filled with twos.
      return !packet.suffix(64).allSatisfy { $0 == 2 }
    }
    for i in 1...3 as ClosedRange<UInt8> {
      try world.a.association.send(
        OutgoingMessage(1, [UInt8](repeating: i, count: 3_000), ordered: ordered, .maximumRetransmits(0)),
        now: world.now)
      world.run(for: .milliseconds(30))
    }
    world.run(for: .seconds(10))
    #expect(world.b.messages.map { $0.payload[0] } == [1, 3])
    let skip = try #require(try world.chunks(ChunkType.interleavedForwardTSN, from: .a).first)
    #expect(Array(skip.value.dropFirst(4)) == [0, 1, 0, ordered ? 0 : 1, 0, 0, 0, 1])
    let (quiet, held) = (world.a.association.isQuiet, world.b.association.heldBytes)
    #expect(quiet && held == 0)
  }

  @Test("what contradicts the agreement is told to the peer with ABORT", arguments: [true, false])
  func contradiction(agreed: Bool) throws {
    var tester = try Tester.established(agreed ? .interleaved : .data)
    tester.hand(agreed ? data(tester.tsn(0), [1]) : interleavedData(tester.tsn(0), [1]))
    let (types, state) = (try tester.types(), tester.state)
    #expect(types == [[ChunkType.abort]] && state == .closed)
  }
}
