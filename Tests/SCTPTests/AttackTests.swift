// AttackTests.swift — what a hostile peer may try: the attacks C1 to C27 of the catalogue, each by its name.
//
// C9 and C10 are with I-DATA (InterleavingAttackTests), which repeats for it what concerns receiving; C12 and C21 are with
// the handshake, C20 with the windows.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct AttackTests {
  @Test(
    "C1: a parameter that ends outside its chunk, or has a length of 0 to 3", arguments: [0, 1, 2, 3, 5, 200, 65_535])
  func c1ParameterLengths(length: Int) {
    for type in [ChunkType.initiation, ChunkType.initiationAck, ChunkType.reconfig] {
      var world = World.connectedOrNot(type != ChunkType.initiation)
      let bad = parameter(0x8008, [], length: length)
      let chunk = type == ChunkType.reconfig ? rawChunk(type, bad) : initChunk(parameters: bad, type: type)
      let dropped = world.b.association.statistics.packetsDropped
      world.b.handle(craft(tag: type == ChunkType.initiation ? 0 : world.b.association.localTag, chunk), now: world.now)
      let after = world.b.association.statistics.packetsDropped
      // An INIT-ACK is not even read while up.
      #expect(after == dropped + (type == ChunkType.initiationAck ? 0 : 1))
    }
  }

  @Test("C2: AUTH and ASCONF are chunks of unknown type: ASCONF (0xC1) is skipped and reported, AUTH (0x0F) stops")
  func c2AuthAndAsconf() throws {
    var world = World.connected()
    world.inject(rawChunk(0xc1, pattern(40)), data(world.tsn(1), [1]))
    world.inject(rawChunk(0x0f, pattern(40)), data(world.tsn(1), [2], ssn: 1))
    let received = world.b.messages.map(\.payload)
    #expect(received == [[1]])
    let types = try world.answers().flatMap { $0.map(\.type) }
    #expect(types.sorted() == [ChunkType.sack, ChunkType.error].sorted())
  }

  @Test("C3: ended or restarted in every state, and polled and driven afterwards")
  func c3EndInEveryState() throws {
    for steps in 0..<12 {
      var world = World()
      world.a.association.connect(now: world.now)
      try world.a.association.send(OutgoingMessage(1, pattern(3_000)), now: world.now)
      var left = steps
      while left > 0, world.step(limit: world.now + .seconds(1)) { left -= 1 }
      world.a.association.abort(reason: "enough", now: world.now)
      world.a.association.abort(now: world.now)
      world.a.association.shutdown(now: world.now)
      world.a.association.connect(now: world.now)
      world.run(for: .seconds(60))
      let events = world.a.events.filter { $0 == .closed(.aborted) }
      #expect(events.count == 1)
      let state = world.b.association.state
      #expect(state == .closed)
      let pending = world.a.association.deadline
      #expect(pending == nil)
    }
  }

  @Test("C4: a chunk of length 0 to 3 ends the packet, without a loop", arguments: 0...3)
  func c4ZeroLengthChunk(length: Int) {
    var world = World.connected()
    let dropped = world.b.association.statistics.packetsDropped
    world.inject(rawChunk(ChunkType.data, flags: 3, [], length: length))
    let after = world.b.association.statistics.packetsDropped
    #expect(after == dropped + 1)
  }

  /// Twelve packets of data on their way, none acknowledged.
  private func outstanding() throws -> World {
    var world = World.connected()
    for i in 0..<10 { try world.b.association.send(OutgoingMessage(1, pattern(1_100, i)), now: world.now) }
    _ = world.b.packets(now: world.now)
    return world
  }

  private func unchanged(_ world: inout World, _ chunk: [UInt8]) {
    let before = world.b.association.statistics
    world.inject(chunk)
    let after = world.b.association.statistics
    #expect(after.bytesInFlight == before.bytesInFlight && after.congestionWindow == before.congestionWindow)
    #expect(after.peerReceiverWindow == before.peerReceiverWindow && after.fastRetransmits == before.fastRetransmits)
    #expect(after.packetsDropped == before.packetsDropped + 1)
    let consistent = world.b.association.isConsistent
    #expect(consistent)
    let answers = world.b.packets(now: world.now)
    #expect(answers.isEmpty)
  }

  @Test("C5, C6: gap blocks that end at 65535, are reversed, overlap, or are out of order change nothing at all")
  func c5c6BadGapBlocks() throws {
    var world = try outstanding()
    let base = world.b.association.nextTSN.reversed(by: 11)
    for gaps in [[(1, 65_535)], [(5, 2)], [(2, 3), (5, 4)], [(2, 5), (4, 7)], [(6, 7), (2, 3)], [(0, 3)]]
      as [[(UInt16, UInt16)]]
    {
      unchanged(&world, sack(base, window: 1, gaps: gaps))
    }
  }

  @Test("C7: an acknowledgement of what was never sent, cumulative or in a gap")
  func c7OptimisticAcknowledgement() throws {
    var world = try outstanding()
    let next = world.b.association.nextTSN
    unchanged(&world, sack(next))
    unchanged(&world, sack(next.advanced(by: 1_000)))
    unchanged(&world, sack(next.reversed(by: 2), gaps: [(2, 2)]))
  }

  @Test("C8: FORWARD-TSN by one, far ahead, behind, with streams that do not exist and numbers that lie ahead")
  func c8ForwardTSN() throws {
    var world = World.connected()
    world.inject(forwardTSN(world.tsn(0x7fff_ffff)))
    world.inject(forwardTSN(world.tsn(40_000)))
    world.inject(forwardTSN(world.tsn(0).reversed(by: 5)))
    let start = world.b.association.receivedTSN
    let moved = world.b.association.receivedTSN
    #expect(moved == start)
    world.inject(forwardTSN(world.tsn(1), [(1, 0), (65_535, 9), (1, 4), (1, 2)]))
    #expect(world.b.association.receivedTSN == start.advanced(by: 1))
    world.inject(data(world.tsn(1), [1], ssn: 4), data(world.tsn(2), [2], ssn: 5))
    let received = world.b.messages.map(\.payload)
    #expect(received == [[2]])
    world.inject(forwardTSN(world.tsn(32_768)))
    #expect(world.b.association.receivedTSN == start.advanced(by: 3 + 32_768))
    let held = world.b.association.heldBytes
    #expect(held == 0)
  }

  @Test("C8: FORWARD-TSN without having agreed on it is an unknown chunk")
  func c8ForwardTSNNotNegotiated() throws {
    var a = Endpoint(seed: 11)
    let now = Instant(nanoseconds: 0)
    a.association.connect(now: now)
    _ = a.packets(now: now)
    let list = parameter(ParameterType.stateCookie, [1, 2, 3, 4])
    a.handle(craft(tag: a.association.localTag, initChunk(parameters: list, type: ChunkType.initiationAck)), now: now)
    a.handle(craft(tag: a.association.localTag, rawChunk(ChunkType.cookieAck)), now: now)
    let before = a.association.receivedTSN
    a.handle(craft(tag: a.association.localTag, forwardTSN(before.advanced(by: 3))), now: now)
    let after = a.association.receivedTSN
    #expect(after == before)
    let types = try a.packets(now: now).map { try chunks(of: $0).map(\.type) }
    #expect(types == [[ChunkType.error]])
  }

  @Test("C11: a wrong verification tag, for every type of chunk")
  func c11VerificationTag() throws {
    var world = World.connected()
    let peers = world.a.association.localTag
    let own = world.b.association.localTag
    for type in (0...255 as ClosedRange<UInt8>) {
      for wrong in [own &+ 1, peers, 0] {
        let before = world.b.association.statistics.packetsReceived
        // INIT with tag 0 is what INIT must have.
        if type == ChunkType.initiation, wrong == 0 { continue }
        world.b.handle(craft(tag: wrong, rawChunk(type, pattern(20))), now: world.now)
        #expect(world.b.association.statistics.packetsReceived == before + 1)
        let state = world.b.association.state
        let answers = world.b.packets(now: world.now)
        #expect(state == .established && answers.isEmpty, "type \(type)")
      }
    }
    // T bit: the peer's own tag, reflected; the wrong one of the two is refused.
    world.b.handle(craft(tag: own, rawChunk(ChunkType.abort, flags: 1)), now: world.now)
    world.b.handle(craft(tag: peers, rawChunk(ChunkType.abort)), now: world.now)
    var state = world.b.association.state
    #expect(state == .established)
    world.b.handle(craft(tag: peers, rawChunk(ChunkType.abort, flags: 1)), now: world.now)
    state = world.b.association.state
    #expect(state == .closed)
  }

  @Test("C13: first fragments of a thousand messages, never finished; one byte each, on every stream")
  func c13ReassemblyExhaustion() {
    var world = World.connected()
    // Each begins while the one before is not finished: that cannot be, and is the end.
    world.inject(data(world.tsn(1), [1], stream: 0, flags: .begin), data(world.tsn(2), [1], stream: 1, flags: .begin))
    var state = world.b.association.state
    #expect(state == .closed)

    // With gaps between them it could be; what is held is bounded.
    world = World.connected()
    for i in 0..<32_000 as Range<UInt32> {
      world.b.handle(
        craft(
          tag: world.b.association.localTag, data(world.tsn(2 + 2 * i), [1], stream: UInt16(i % 65_535), flags: .begin)),
        now: world.now)
    }
    state = world.b.association.state
    let held = world.b.association.heldBytes
    // One byte each, and what holding each costs, as many as the window has room for.
    #expect(state == .established && held == (1 << 20) / (1 + Reassembly.holdingCost))
    let consistent = world.b.association.isConsistent
    #expect(consistent)
    world.b.association.abort(now: world.now)
    let after = world.b.association.heldBytes
    #expect(after == 0)
  }

  @Test("C14: ten times the window is sent: the excess is dropped")
  func c14WindowIgnored() throws {
    var small = SCTPConfiguration()
    small.receiveWindow = 50_000
    var world = World.connected(b: small)
    world.b.releases = false
    let chunk = pattern(1_000)
    for i in 0..<500 as Range<UInt16> { world.inject(data(world.tsn(1), chunk, ssn: i)) }
    let received = world.b.messages.reduce(0) { $0 + $1.payload.count }
    #expect(received == 50_000)
    let refused = world.b.association.statistics.chunksRefused
    #expect(refused > 100)
    // Beyond a gap nothing more than the window is held.
    world = World.connected(b: small)
    for i in 1...500 as ClosedRange<UInt32> { world.inject(data(world.tsn(1 + i), chunk, ssn: 1, flags: [])) }
    let held = world.b.association.heldBytes
    #expect(held == 49_000)  // and what it costs to hold them
  }

  @Test("C14: gaps that fill the window do not keep the oldest message from being completed")
  func c14WindowFullOfGaps() {
    var small = SCTPConfiguration()
    small.receiveWindow = 20_000
    var world = World.connected(b: small)
    for i in 2...21 as ClosedRange<UInt32> { world.inject(data(world.tsn(1 + i), pattern(1_000), ssn: 1, flags: [])) }
    world.inject(data(world.tsn(1), pattern(1_000), flags: .begin), data(world.tsn(2), pattern(1_000), flags: .end))
    #expect(world.b.messages.map(\.payload.count) == [2_000])
  }

  @Test("C15: a TSN far ahead is not tracked")
  func c15FarTSN() throws {
    var world = World.connected()
    for ahead in [32_769, 100_000, 0x7fff_ffff] as [UInt32] { world.inject(data(world.tsn(ahead), [1])) }
    let packet = try world.b.requirePacket(now: world.now)
    #expect(try sacks(of: packet)[0].gaps.isEmpty)
    let refused = world.b.association.statistics.chunksRefused
    let count = world.b.messages.count
    #expect(refused == 3 && count == 0)
  }

  @Test("C16: bytes held are what is held, after any sequence", arguments: 1...60 as ClosedRange<UInt64>)
  func c16Accounting(seed: UInt64) {
    var dice = RandomSource.seeded(state: seed)
    var world = World.connected(seed: seed)
    for _ in 0..<200 where world.b.association.state == .established {
      let tsn = world.tsn(UInt32(1 + dice.next() % 12))
      switch dice.next() % 10 {
      case 0:
        world.inject(
          forwardTSN(world.tsn(UInt32(dice.next() % 4)), [(UInt16(dice.next() % 3), UInt16(dice.next() % 5))]))
      case 1: world.inject(resetRequest(UInt32(truncatingIfNeeded: dice.next()), lastTSN: tsn, [0, 1]))
      default:
        // One fragment pattern for each TSN, so that the sender contradicts itself seldom.
        let place = tsn.rawValue % 4
        let flags: DataFlags = place == 0 ? .begin : place == 3 ? .end : place == 1 ? [] : []
        let message = UInt16(truncatingIfNeeded: tsn.rawValue / 4)
        world.inject(data(tsn, pattern(Int(1 + dice.next() % 50)), stream: message % 3, ssn: message / 3, flags: flags))
      }
      let consistent = world.b.association.isConsistent
      #expect(consistent, "seed \(seed)")
    }
    world.b.association.abort(now: world.now)
    let held = world.b.association.heldBytes
    #expect(held == 0)
  }

  @Test("C17: floods of RE-CONFIG: bounded answers, repeated requests change nothing, all streams at once")
  func c17ReconfigFlood() throws {
    var world = World.connected()
    let number = world.b.association.receivedTSN.advanced(by: 1).rawValue
    let all = (0..<500).map { UInt16($0) }
    for _ in 0..<1_000 { world.inject(resetRequest(number, lastTSN: world.tsn(0), all)) }
    let events = world.b.events
    #expect(events == [.incomingStreamsReset(all)])
    let answers = try world.answers().flatMap { $0 }
    #expect(answers.count <= 32)
    #expect(Set(answers.map(\.value)).count == 1)
    for i in 0..<1_000 as Range<UInt32> { world.inject(resetRequest(number &+ 100 &+ i, lastTSN: world.tsn(0), [1])) }
    #expect(world.b.events.count == 1)
    for i in 1..<200 as Range<UInt32> { world.inject(resetRequest(number &+ i, lastTSN: world.tsn(0), [])) }
    let state = world.b.association.state
    #expect(state == .established)
    world.inject(rawChunk(ChunkType.reconfig, parameter(0x7777, [1, 2, 3, 4]) + parameter(14, pattern(12))))
    _ = world.b.packets(now: world.now)
  }

  @Test("C18: a heartbeat of 60 KB is not echoed, and a forged answer proves nothing")
  func c18Heartbeat() throws {
    var world = World.connected()
    world.inject(rawChunk(ChunkType.heartbeat, parameter(1, pattern(60_000))))
    let none = world.b.packets(now: world.now)
    #expect(none.isEmpty)
    world.inject(rawChunk(ChunkType.heartbeat, parameter(1, pattern(8))))
    let answers = try world.answers()
    #expect(answers == [[SeenChunk(type: ChunkType.heartbeatAck, flags: 0, value: parameter(1, pattern(8)))]])
    world.filter = { from, _ in from != .a }
    for _ in 0..<300 where world.b.association.state == .established {
      world.run(for: .seconds(1))
      world.inject(rawChunk(ChunkType.heartbeatAck, parameter(1, pattern(16))))
    }
    let state = world.b.association.state
    #expect(state == .closed)
  }

  @Test("C19: the echo of an unknown chunk of 60 KB fits a packet")
  func c19LongEcho() throws {
    var world = World.connected()
    world.inject(rawChunk(0xff, pattern(60_000)))
    let packets = world.b.packets(now: world.now)
    #expect(packets.count == 1 && packets[0].count <= 1_188)
    #expect(try chunks(of: packets[0]).map(\.type) == [ChunkType.error])
  }

  @Test("C22: shutdowns and aborts that cross")
  func c22Crossing() throws {
    for (shutA, shutB) in [(true, true), (true, false), (false, true), (false, false)] {
      var world = World.connected()
      try world.a.association.send(OutgoingMessage(1, pattern(50_000)), now: world.now)
      try world.b.association.send(OutgoingMessage(1, pattern(50_000)), now: world.now)
      if shutA { world.a.association.shutdown(now: world.now) } else { world.a.association.abort(now: world.now) }
      if shutB { world.b.association.shutdown(now: world.now) } else { world.b.association.abort(now: world.now) }
      world.run(for: .seconds(100))
      let states = [world.a.association.state, world.b.association.state]
      #expect(states == [.closed, .closed])
      #expect(world.a.events.count == 1 && world.b.events.count == 1)
      if shutA, shutB {
        let received = [world.a.messages.count, world.b.messages.count]
        #expect(received == [1, 1])
      }
    }
  }

  @Test("C23: ten thousand expiries neither overflow nor drift")
  func c23TimerOverflow() throws {
    var patient = SCTPConfiguration()
    patient.maximumRetransmits = 1_000_000
    var world = World.connected(a: patient)
    world.filter = { _, _ in false }
    try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    let start = world.now
    while world.a.association.statistics.timeouts < 10_000 {
      _ = world.a.packets(now: world.now)
      guard let due = world.a.association.deadline else { break }
      world.now = due
      world.a.association.handleTimeout(now: due)
    }
    let timeouts = world.a.association.statistics.timeouts
    #expect(timeouts == 10_000)
    let lasted = world.now - start
    #expect(lasted > .seconds(29_000) && lasted < .seconds(30_000))
  }

  @Test("C25: sixteen thousand minimal unknown chunks in one packet yield a handful of reports")
  func c25BundlingBomb() throws {
    var world = World.connected()
    world.b.handle(
      craft(tag: world.b.association.localTag, [[UInt8]](repeating: rawChunk(0xff), count: 16_000)), now: world.now)
    let answers = try world.answers().flatMap { $0 }
    #expect(answers.count == 4)
  }

  @Test("C26: a reset waits for the FORWARD-TSN that overtakes nothing, and the other way round")
  func c26ForwardTSNAndReset() throws {
    for resetFirst in [true, false] {
      var world = World.connected()
      let number = world.b.association.receivedTSN.advanced(by: 1).rawValue
      world.inject(data(world.tsn(1), [1], ssn: 0))
      let last = world.tsn(2)
      let request = resetRequest(number, lastTSN: last, [1])
      let forward = forwardTSN(last, [(1, 1)])
      if resetFirst {
        world.inject(request)
        #expect(world.b.events.isEmpty)
        world.inject(forward)
      } else {
        world.inject(forward)
        world.inject(request)
      }
      #expect(world.b.events == [.incomingStreamsReset([1])])
      world.inject(data(world.tsn(1), [2], ssn: 0))
      let received = world.b.messages.map(\.payload)
      #expect(received == [[1], [2]])
    }
  }

  @Test("C27: fragments that contradict each other end the association, and deliver nothing", arguments: 0..<6)
  func c27Chimera(kind: Int) {
    for shuffled in [false, true] {
      var world = World.connected()
      let t = (1...3).map { world.tsn(UInt32($0)) }
      let list: [[UInt8]] =
        switch kind {
        case 0: [data(t[0], [1], flags: .begin), data(t[1], [2], flags: .begin), data(t[2], [3], flags: .end)]
        case 1: [data(t[0], [1], flags: .end), data(t[1], [2], flags: .begin), data(t[2], [3], flags: .end)]
        case 2: [data(t[0], [1], flags: .begin), data(t[1], [2], ssn: 1, flags: []), data(t[2], [3], flags: .end)]
        case 3: [data(t[0], [1], flags: .begin), data(t[1], [2], stream: 2, flags: []), data(t[2], [3], flags: .end)]
        case 4: [data(t[0], [1], flags: .begin), data(t[1], [2], flags: .whole), data(t[2], [3], flags: .end)]
        default: [data(t[0], [1], flags: .begin), data(t[1], [2], flags: .unordered), data(t[2], [3], flags: .end)]
        }
      for index in shuffled ? [2, 1, 0] : [0, 1, 2] {
        let (tag, now) = (world.b.association.localTag, world.now)
        world.b.handle(craft(tag: tag, list[index]), now: now)
      }
      world.b.collect(now: world.now)
      // The second and third of the first two kinds are a message of their own.
      let delivered = world.b.messages.map(\.payload)
      #expect(delivered.isEmpty || shuffled && kind < 2 && delivered == [[2, 3]])
      let state = world.b.association.state
      #expect(state == .closed, "kind \(kind), shuffled \(shuffled)")
    }
  }

  @Test(
    "C24: a checksum of zero is right only where we have announced it; any other wrong one never",
    arguments: [false, true])
  func c24Checksum(announced: Bool) {
    var configuration = SCTPConfiguration()
    configuration.offersZeroChecksum = announced
    var world = World.connected(b: configuration)
    let good = craft(tag: world.b.association.localTag, data(world.tsn(1), [1]))
    for bit in 0..<32 {
      var bad = good
      bad[8 + bit / 8] ^= 1 << UInt8(bit % 8)
      world.b.handle(bad, now: world.now)
    }
    world.b.collect(now: world.now)
    #expect(world.b.messages.isEmpty)
    world.b.handle(craft(tag: world.b.association.localTag, [data(world.tsn(1), [1])], checksum: false), now: world.now)
    world.b.collect(now: world.now)
    #expect(world.b.messages.isEmpty == !announced)
    world.b.handle(good, now: world.now)
    world.b.collect(now: world.now)
    #expect(world.b.messages.count == 1)
  }

  @Test("DATA without user data is the end, with the cause that says so")
  func noUserData() throws {
    var world = World.connected()
    world.inject(data(world.tsn(1), []))
    let answers = try world.answers()
    #expect(answers.count == 1 && answers[0][0].type == ChunkType.abort && answers[0][0].value.prefix(2) == [0, 9])
  }

  @Test("a message longer than announced is refused before it is buffered")
  func messageTooLong() {
    var small = SCTPConfiguration()
    small.maximumIncomingMessageSize = 5_000
    for ordered in [true, false] {
      var world = World.connected(b: small)
      for i in 0..<6 as Range<UInt32> {
        let flags: DataFlags = i == 0 ? .begin : i == 5 ? .end : []
        world.inject(data(world.tsn(1), pattern(1_000), flags: ordered ? flags : flags.union(.unordered)))
      }
      let state = world.b.association.state
      #expect(state == .closed && world.b.messages.isEmpty)
    }
  }

  @Test("data on a stream that does not exist is acknowledged and reported")
  func invalidStream() throws {
    var world = World.connected()
    world.inject(data(world.tsn(1), [1], stream: 65_535), data(world.tsn(2), [2], stream: 1))
    let answers = try world.answers().flatMap { $0 }
    #expect(answers.map(\.type).sorted() == [ChunkType.sack, ChunkType.error])
    let received = world.b.messages.map(\.payload)
    #expect(received == [[2]])
  }
}
