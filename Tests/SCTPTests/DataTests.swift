// DataTests.swift — acknowledging, retransmitting, windows, and giving up.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct DataTests {
  @Test("one SACK answers a batch; a lone packet waits 20 ms")
  func oneSackForABatch() throws {
    var world = World.connected()
    world.inject(data(world.tsn(1), [1], ssn: 0))
    _ = try world.answers()  // the very first data is answered at once
    world.inject(data(world.tsn(1), [2], ssn: 1))
    let none = try world.answers()
    #expect(none.isEmpty)
    let deadline = world.b.association.deadline
    #expect(deadline == world.now + .milliseconds(20))
    for ssn in 2..<42 as Range<UInt16> { world.inject(data(world.tsn(1), [3], ssn: ssn)) }
    let one = world.b.packets(now: world.now)
    #expect(one.count == 1)
    #expect(try sacks(of: one[0]).map(\.tsn) == [world.b.association.receivedTSN])
    world.inject(data(world.tsn(1), [4], ssn: 42))
    world.now = world.now + .milliseconds(20)
    world.b.association.handleTimeout(now: world.now)
    let delayed = try world.answers()
    #expect(delayed.map { $0.map(\.type) } == [[ChunkType.sack]])
  }

  @Test("a gap, a duplicate and the I bit are answered at once")
  func immediateSacks() throws {
    var world = World.connected()
    world.inject(data(world.tsn(1), [1]))
    _ = try world.answers()
    let base = world.b.association.receivedTSN
    world.inject(data(world.tsn(2), [3], ssn: 2))
    var packet = try world.b.requirePacket(now: world.now)
    #expect(try sacks(of: packet)[0].gaps == [GapBlock(start: 2, end: 2)])
    world.inject(data(base, [1]))
    packet = try world.b.requirePacket(now: world.now)
    #expect(try sacks(of: packet)[0].duplicates == [base])
    world.inject(data(world.tsn(1), [2], ssn: 1))
    _ = world.b.packets(now: world.now)
    world.inject(data(world.tsn(1), [4], ssn: 3, flags: [.whole, .immediate]))
    let answer = try world.answers()
    #expect(answer.map { $0.map(\.type) } == [[ChunkType.sack]])
    let received = world.b.messages.map(\.payload)
    #expect(received == [[1], [2], [3], [4]])
  }

  @Test("small messages share packets; a large one is cut and never interleaved")
  func bundling() throws {
    var world = World.connected()
    for _ in 0..<28 { try world.a.association.send(OutgoingMessage(1, pattern(64)), now: world.now) }
    let packets = world.a.packets(now: world.now)
    #expect(try packets.map { try dataHeaders(of: $0).count } == [14, 14])
    world = World.connected()
    try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
    try world.a.association.send(OutgoingMessage(2, pattern(10)), now: world.now)
    let headers = try world.a.packets(now: world.now).flatMap { try dataHeaders(of: $0) }
    #expect(headers.map(\.stream) == [1, 1, 1, 1, 1, 2])
    #expect(headers.map(\.flags) == [.begin, [], [], [], .end, .whole])
    for packet in world.log { #expect(packet.packet.count <= 1_188) }
  }

  @Test("three packets beyond a hole bring it back at once, and only it")
  func fastRetransmit() throws {
    var newReno = SCTPConfiguration()
    newReno.congestionControl = .newReno
    var world = World.connected(a: newReno)
    for i in 0..<5 { try world.a.association.send(OutgoingMessage(1, pattern(1_100, i)), now: world.now) }
    let packets = world.a.packets(now: world.now)
    #expect(packets.count == 5)
    let lost = try dataHeaders(of: packets[0])[0].tsn
    world.now = world.now + .milliseconds(10)
    for (index, packet) in packets.enumerated().dropFirst() {
      world.b.handle(packet, now: world.now)
      let answer = try world.b.requirePacket(now: world.now)
      world.a.handle(answer, now: world.now)
      let sent = try world.a.packets(now: world.now).flatMap { try dataHeaders(of: $0) }.map(\.tsn)
      #expect(sent == (index == 3 ? [lost] : []))
    }
    let statistics = world.a.association.statistics
    #expect(statistics.fastRetransmits == 1 && statistics.chunksRetransmitted == 1 && statistics.timeouts == 0)
    #expect(statistics.congestionWindow == 5 * 1_160)
    world.settle()
    let count = world.b.messages.count
    #expect(count == 0 || count == 5)
  }

  @Test("T3 doubles up to the ceiling, then the association is given up")
  func timerBacksOff() throws {
    var world = World.connected()
    world.filter = { from, _ in from != .a }
    try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    var times: [Int64] = []
    let start = world.now
    world.run(for: .seconds(100)) { a, _ in a.state == .closed }
    _ = start
    times = [Int64(world.a.association.statistics.timeouts)]
    let events = world.a.events
    #expect(events == [.closed(.retransmissionLimit)])
    #expect(times == [11])
    // 0.25, 0.5, 1, 2, then 3 s each: less than half a minute and more than twenty seconds.
    let lasted = world.now - start
    #expect(lasted > .seconds(20) && lasted < .seconds(30))
  }

  @Test("the error counter starts again when something is acknowledged")
  func errorCounterResets() throws {
    var world = World.connected()
    for _ in 0..<3 {
      world.filter = { from, _ in from != .a }
      try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
      world.run(for: .seconds(15))
      world.filter = nil
      world.run(for: .seconds(4))
      let quiet = world.a.association.isQuiet
      #expect(quiet)
    }
    let state = world.a.association.state
    #expect(state == .established)
  }

  @Test("a TSN that wraps, and an SSN that wraps, change nothing")
  func wraps() throws {
    var tracker = DataTracker(cumulativeTSN: TSN(rawValue: 0xffff_fff0))
    for step in 1...64 as ClosedRange<UInt32> where step % 3 != 0 {
      let tsn = TSN(rawValue: 0xffff_fff0 &+ step)
      switch tracker.classify(tsn) {
      case .inOrder: tracker.acceptInOrder(tsn)
      case .beyondGap: tracker.acceptBeyondGap(tsn)
      case .duplicate, .tooFarAhead: Issue.record("new and near")
      }
    }
    #expect(tracker.cumulativeTSN.rawValue == 0xffff_fff2)
    #expect(tracker.gapBlocks(limit: 100).count == 21)
    for step in stride(from: 3, through: 63, by: 3) as StrideThrough<UInt32> {
      let tsn = TSN(rawValue: 0xffff_fff0 &+ step)
      #expect(tracker.classify(tsn) == .inOrder)
      tracker.acceptInOrder(tsn)
      while tracker.advance() {}
    }
    #expect(tracker.cumulativeTSN.rawValue == 0x30 && !tracker.hasGap)

    var world = World.connected()
    for i in 0..<66_000 {
      while (try? world.a.association.send(OutgoingMessage(1, [UInt8(i & 255)]), now: world.now)) == nil {
        world.run(for: .milliseconds(20))
      }
    }
    world.run(for: .seconds(10))
    let count = world.b.messages.count
    #expect(count == 66_000)
    let inOrder = world.b.messages.enumerated().allSatisfy { $0.element.payload == [UInt8($0.offset & 255)] }
    #expect(inOrder)
  }

  @Test("the peer's window is obeyed, probed when shut, and used again when it opens")
  func receiverWindow() throws {
    var small = SCTPConfiguration()
    small.receiveWindow = 20_000
    var world = World.connected(b: small)
    world.b.releases = false
    for i in 0..<100 { try world.a.association.send(OutgoingMessage(1, pattern(1_000, i)), now: world.now) }
    world.run(for: .seconds(600))
    // C20: ten minutes of a shut window neither lose nor end anything.
    let state = world.a.association.state
    #expect(state == .established)
    let held = world.b.messages.count
    #expect(held >= 19 && held < 100)
    let queued = world.a.association.bufferedTotal
    #expect(queued > 0)
    world.b.releases = true
    world.b.association.releaseReceived(held * 1_000, now: world.now)
    world.run(for: .seconds(30))
    let all = world.b.messages.map(\.payload)
    #expect(all == (0..<100).map { pattern(1_000, $0) })
  }

  @Test("send refuses with the reason, and counts exactly")
  func sendLimits() throws {
    var configuration = SCTPConfiguration()
    configuration.sendBufferLimit = 10_000
    var a = Endpoint(configuration, seed: 1)
    let now = Instant(nanoseconds: 0)
    func attempt(_ message: OutgoingMessage) -> SCTPSendError? {
      do throws(SCTPSendError) { try a.association.send(message, now: now) } catch { return error }
      return nil
    }
    let answers = [
      attempt(OutgoingMessage(1, [])), attempt(OutgoingMessage(65_535, [1])),
      attempt(OutgoingMessage(1, pattern(262_145))), attempt(OutgoingMessage(1, pattern(20_000))),
      attempt(OutgoingMessage(1, [1])),
    ]
    #expect(answers == [.messageEmpty, .noSuchStream, .messageTooLarge, nil, .bufferFull])
    let amounts = [
      a.association.bufferedAmount(stream: 1), a.association.bufferedAmount(stream: 2), a.association.bufferedTotal,
      a.association.sendRoom,
    ]
    #expect(amounts == [20_000, 0, 20_000, 0])
    a.association.resetStreams([7], now: now)
    let resetting = attempt(OutgoingMessage(7, [1]))
    #expect(resetting == .streamResetting)
    a.association.abort(now: now)
    let closing = attempt(OutgoingMessage(1, [1]))
    let left = a.association.bufferedTotal
    #expect(closing == .closing && left == 0)
  }

  @Test("limited retransmits: given up after exactly so many", arguments: [0, 1, 3])
  func limitedRetransmits(limit: UInt16) throws {
    var world = World.connected()
    world.filter = { from, packet in from != .a || packet[12] != ChunkType.data }
    try world.a.association.send(OutgoingMessage(1, [1], .maximumRetransmits(limit)), now: world.now)
    world.run(for: .seconds(20))
    let sent = try world.log.filter { $0.from == .a }.flatMap { try dataHeaders(of: $0.packet) }.count
    #expect(sent == Int(limit) + 1)
    let quiet = world.a.association.isQuiet
    let abandoned = world.a.association.statistics.messagesAbandoned
    #expect(quiet && abandoned == 1)
    world.filter = nil
    try world.a.association.send(OutgoingMessage(1, [2]), now: world.now)
    world.settle()
    let received = world.b.messages.map(\.payload)
    #expect(received == [[2]])
  }

  @Test("a lifetime that runs out in the queue: never sent, no hole; in the middle of a message: the rest is skipped")
  func limitedLifetime() throws {
    var world = World.connected()
    world.filter = { from, _ in from != .b }  // no SACK comes through: the window stays full
    for i in 0..<12 { try world.a.association.send(OutgoingMessage(1, pattern(1_100, i)), now: world.now) }
    try world.a.association.send(OutgoingMessage(1, [77], .maximumLifetime(milliseconds: 100)), now: world.now)
    try world.a.association.send(OutgoingMessage(1, [78]), now: world.now)
    world.run(for: .milliseconds(200))
    world.filter = nil
    world.run(for: .seconds(10))
    let received = world.b.messages.map(\.payload)
    #expect(received == (0..<12).map { pattern(1_100, $0) } + [[78]])
    let skipped = world.log.contains { $0.packet[12] == ChunkType.forwardTSN }
    #expect(!skipped)

    // All that was sent of it has arrived, and still the peer must be told that the rest never comes.
    world = World.connected()
    var blocked = false
    world.filter = { from, packet in !(blocked && from == .b) }
    try world.a.association.send(
      OutgoingMessage(1, pattern(100_000), .maximumLifetime(milliseconds: 15)), now: world.now)
    world.run(for: .milliseconds(25))
    blocked = false
    try world.a.association.send(OutgoingMessage(1, [5]), now: world.now)
    world.run(for: .seconds(5))
    let after = world.b.messages.map(\.payload)
    #expect(after == [[5]])
    let quiet = world.a.association.isQuiet
    let held = world.b.association.heldBytes
    #expect(quiet && held == 0)
  }

  @Test("without FORWARD-TSN on the other side nothing is given up")
  func noForwardTSN() throws {
    var world = World.connected()
    var a = Endpoint(seed: 11)
    let now = world.now
    a.association.connect(now: now)
    _ = a.packets(now: now)
    let list = parameter(ParameterType.stateCookie, [1, 2, 3, 4])
    a.handle(craft(tag: a.association.localTag, initChunk(parameters: list, type: ChunkType.initiationAck)), now: now)
    _ = a.packets(now: now)
    a.handle(craft(tag: a.association.localTag, rawChunk(ChunkType.cookieAck)), now: now)
    try a.association.send(OutgoingMessage(1, [1], .maximumRetransmits(0)), now: now)
    _ = a.packets(now: now)
    let later = now + .seconds(1)
    a.association.handleTimeout(now: later)
    let types = try a.packets(now: later).map { try chunks(of: $0).map(\.type) }
    #expect(types == [[ChunkType.data]])
    world.settle()
  }

  @Test("heartbeats: asked when idle, answered with the same bytes, and silence ends it")
  func heartbeats() throws {
    var world = World.connected()
    world.run(for: .seconds(65))
    #expect(world.log.filter { $0.from == .a && $0.packet[12] == ChunkType.heartbeat }.count == 2)
    #expect(world.log.filter { $0.from == .b && $0.packet[12] == ChunkType.heartbeatAck }.count >= 2)
    let state = world.a.association.state
    #expect(state == .established)
    world.filter = { _, _ in false }
    world.run(for: .seconds(200))
    let events = world.a.events
    #expect(events == [.closed(.retransmissionLimit)])
  }
}
