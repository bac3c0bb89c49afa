// HandshakeTests.swift — setting an association up: collisions, losses, forged and stale cookies, verification tags, restarts.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct HandshakeTests {
  /// Which of the first packets of each kind get lost.
  struct Drops: Sendable, CustomTestStringConvertible {
    var both: Bool
    var mask: Int
    var testDescription: String { "\(both ? "both connect" : "one connects"), losses \(mask)" }
    static let all = [false, true].flatMap { both in (0..<16).map { Drops(both: both, mask: $0) } }
  }

  @Test(
    "C21: any of the first INIT, INIT-ACK, COOKIE-ECHO, COOKIE-ACK may be lost, from either side", arguments: Drops.all)
  func c21LossMatrix(drops: Drops) throws {
    for victim in [World.Side.a, .b] {
      var world = World()
      var left: Set<UInt8> = []
      for (bit, type) in [ChunkType.initiation, ChunkType.initiationAck, ChunkType.cookieEcho, ChunkType.cookieAck]
        .enumerated() where drops.mask >> bit & 1 == 1
      { left.insert(type) }
      world.filter = { from, packet in from != victim || left.remove(packet[12]) == nil }
      world.a.association.connect(now: world.now)
      if drops.both { world.b.association.connect(now: world.now) }
      try world.a.association.send(OutgoingMessage(1, [1, 2, 3]), now: world.now)
      world.run(for: .seconds(20))
      let states = [world.a.association.state, world.b.association.state]
      #expect(states == [.established, .established])
      let events = [world.a.events, world.b.events]
      #expect(events == [[.established], [.established]])
      let received = world.b.messages.map(\.payload)
      #expect(received == [[1, 2, 3]])
    }
  }

  @Test("a lossless handshake takes two round trips when one side connects, one and a half when both do")
  func roundTrips() {
    for both in [false, true] {
      var world = World()
      world.a.association.connect(now: world.now)
      if both { world.b.association.connect(now: world.now) }
      let start = world.now
      world.run(until: { a, b in a.state == .established && b.state == .established })
      #expect((world.now - start) == .milliseconds(both ? 30 : 40))
    }
  }

  @Test(
    "data goes behind COOKIE-ECHO: it arrives after one and a half round trips, also when the packet is lost at first")
  func dataBehindTheCookie() throws {
    for loses in [false, true] {
      var world = World()
      var isLost = !loses
      world.filter = { _, packet in
        guard packet[12] == ChunkType.cookieEcho, !isLost else { return true }
        isLost = true
        return false
      }
      world.a.association.connect(now: world.now)
      try world.a.association.send(OutgoingMessage(1, pattern(500)), now: world.now)
      let start = world.now
      world.run(until: { _, b in b.state == .established })
      #expect(world.b.messages.map(\.payload) == [pattern(500)])
      if !loses { #expect(world.now - start == .milliseconds(30)) }
      world.run(for: .seconds(20))
      #expect(world.b.messages.count == 1)
      let timeouts = world.a.association.statistics.timeouts
      #expect(timeouts == (loses ? 1 : 0))
    }
  }

  @Test("a cookie that has gone stale takes its data with it, which goes again behind the next one")
  func staleCookieWithData() throws {
    var short = SCTPConfiguration()
    short.cookieLifetime = .milliseconds(40)
    var world = World(b: short)
    world.a.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, [7]), now: world.now)
    try world.a.association.send(OutgoingMessage(1, [8]), now: world.now)
    func has(_ type: UInt8) -> Bool { world.log.contains { $0.packet[12] == type } }
    while !has(ChunkType.initiationAck), world.step(limit: world.now + .seconds(1)) {}
    world.network.delay = .milliseconds(50)  // the COOKIE-ECHO is late
    while !has(ChunkType.error), world.step(limit: world.now + .seconds(1)) {}
    #expect(has(ChunkType.error))
    world.network.delay = .milliseconds(10)
    world.run(for: .seconds(20))
    #expect(world.b.messages.map(\.payload) == [[7], [8]])
    let inFlight = world.a.association.statistics.bytesInFlight
    #expect(inFlight == 0)
  }

  @Test("a reset that was asked for before happens after a stale cookie, too, once its stream has drained")
  func staleCookieWithReset() throws {
    var short = SCTPConfiguration()
    short.cookieLifetime = .milliseconds(40)
    var world = World(b: short)
    world.a.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, [7]), now: world.now)
    world.a.association.resetStreams([1], now: world.now)
    func has(_ type: UInt8) -> Bool { world.log.contains { $0.packet[12] == type } }
    while !has(ChunkType.initiationAck), world.step(limit: world.now + .seconds(1)) {}
    world.network.delay = .milliseconds(50)
    while !has(ChunkType.error), world.step(limit: world.now + .seconds(1)) {}
    #expect(has(ChunkType.error))
    world.network.delay = .milliseconds(10)
    world.run(for: .seconds(20))
    #expect(world.b.messages.map(\.payload) == [[7]])
    #expect(world.a.events.contains(.outgoingStreamsReset([1])))
  }

  @Test("INIT, then COOKIE-ECHO, is given up after the limit", arguments: [ChunkType.initiation, ChunkType.cookieEcho])
  func givesUp(lost: UInt8) {
    var world = World()
    world.filter = { _, packet in packet[12] != lost }
    world.a.association.connect(now: world.now)
    world.run(for: .seconds(200))
    let events = world.a.events
    #expect(events == [.closed(.connectTimedOut)])
    #expect(world.log.filter { $0.packet[12] == lost }.count == 9)
    let deadline = world.a.association.deadline
    #expect(deadline == nil)
  }

  @Test("a resent INIT has the same tag and TSN, as long as it offers the same")
  func resentInitIsTheSame() {
    var world = World(a: .basic)
    world.filter = { _, _ in false }
    world.a.association.connect(now: world.now)
    world.run(for: .seconds(3))
    #expect(world.log.count >= 3)
    #expect(Set(world.log.map(\.packet)).count == 1)
  }

  @Test("an INIT costs no memory, and each answer has another tag")
  func statelessUntilCookie() throws {
    var b = Endpoint(seed: 9)
    let now = Instant(nanoseconds: 0)
    var tags: Set<UInt32> = []
    for _ in 0..<5 {
      b.handle(craft(tag: 0, initChunk()), now: now)
      let packet = try b.requirePacket(now: now)
      #expect(try tag(of: packet) == 0x1234)
      var reader = ChunkReader(packet.rawSpan)
      if let chunk = try reader.next() { tags.insert(try InitChunk(chunk).initiateTag) }
    }
    #expect(tags.count == 5)
    let state = b.association.state
    let deadline = b.association.deadline
    #expect(state == .closed && deadline == nil)
  }

  @Test("fewer streams than we want: the smaller number counts, and queued messages beyond it go")
  func streamCounts() throws {
    var few = SCTPConfiguration()
    few.inboundStreams = 4
    var world = World(b: few)
    world.a.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(9, [1]), now: world.now)
    try world.a.association.send(OutgoingMessage(3, [2]), now: world.now)
    world.settle()
    #expect(throws: SCTPSendError.noSuchStream) {
      try world.a.association.send(OutgoingMessage(4, [1]), now: world.now)
    }
    let received = world.b.messages.map(\.payload)
    #expect(received == [[2]])
    let buffered = world.a.association.bufferedTotal
    #expect(buffered == 0)
  }

  @Test("INIT with mandatory parameters that are not allowed", arguments: [0, 1, 2, 3])
  func badInit(kind: Int) throws {
    var b = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    let chunk =
      switch kind {
      case 0: initChunk(outbound: 0)
      case 1: initChunk(inbound: 0)
      case 2: initChunk(window: 1_499)
      default: initChunk(tag: 0)
      }
    b.handle(craft(tag: 0, chunk), now: now)
    let answers = b.packets(now: now)
    if kind == 3 {
      #expect(answers.isEmpty)  // it could not be addressed
    } else {
      #expect(try answers.map { try chunks(of: $0)[0].type } == [ChunkType.abort])
      #expect(try tag(of: answers[0]) == 0x1234)
      #expect(answers[0][17] == UInt8(CauseCode.invalidMandatoryParameter))
    }
  }

  @Test("INIT-ACK that cannot be used ends the attempt", arguments: [0, 1, 2])
  func badInitAck(kind: Int) throws {
    var a = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    a.association.connect(now: now)
    _ = a.packets(now: now)
    let cookie = parameter(ParameterType.stateCookie, [1, 2, 3, 4])
    let chunk =
      switch kind {
      case 0: initChunk(outbound: 0, parameters: cookie, type: ChunkType.initiationAck)
      case 1: initChunk(tag: 0, parameters: cookie, type: ChunkType.initiationAck)
      default: initChunk(type: ChunkType.initiationAck)  // no cookie
      }
    a.handle(craft(tag: a.association.localTag, chunk), now: now)
    a.collect(now: now)
    let types = try a.packets(now: now).map { try chunks(of: $0)[0].type }
    #expect(types == [ChunkType.abort])
    guard case .closed(.protocolViolation) = a.events.first else { return #expect(Bool(false), "not closed") }
  }

  @Test(
    "unknown parameters: skip or stop, report or not", arguments: [(0xc0cc, 3), (0x00cc, 1), (0x40cc, 2), (0x80cc, 2)])
  func unknownParameters(type: Int, reports: Int) throws {
    var b = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    let list = parameter(0xc0cc, [1]) + parameter(UInt16(type), [2]) + parameter(0xc0cc, [3])
    b.handle(craft(tag: 0, initChunk(parameters: list)), now: now)
    let packet = try b.requirePacket(now: now)
    var reader = ChunkReader(packet.rawSpan)
    guard let chunk = try reader.next() else { return #expect(Bool(false), "no INIT-ACK") }
    var parameters = ParameterReader(chunk.value.extracting(16..<chunk.value.byteCount))
    var seen = 0
    while let parameter = try parameters.next() {
      if parameter.type == ParameterType.unrecognizedParameter { seen += 1 }
    }
    #expect(seen == reports)
  }

  @Test("an INIT-ACK's unknown parameters are reported with the COOKIE-ECHO")
  func unknownParametersInInitAck() throws {
    var a = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    a.association.connect(now: now)
    _ = a.packets(now: now)
    let list = parameter(ParameterType.stateCookie, [1, 2, 3, 4]) + parameter(0xc0cc, [1])
    a.handle(craft(tag: a.association.localTag, initChunk(parameters: list, type: ChunkType.initiationAck)), now: now)
    let types = try a.packets(now: now).map { try chunks(of: $0).map(\.type) }
    #expect(types == [[ChunkType.cookieEcho, ChunkType.error]])
  }

  @Test("C12: a cookie with any bit flipped is refused, and the genuine one works afterwards")
  func c12ForgedCookie() throws {
    var a = Endpoint(seed: 1)
    var b = Endpoint(seed: 2)
    let now = Instant(nanoseconds: 5)
    a.association.connect(now: now)
    b.handle(try a.requirePacket(now: now), now: now)
    a.handle(try b.requirePacket(now: now), now: now)
    let genuine = try a.requirePacket(now: now)
    let cookie = try chunks(of: genuine)[0].value
    let tag = try tag(of: genuine)
    for bit in 0..<(cookie.count * 8) {
      var forged = cookie
      forged[bit / 8] ^= 1 << UInt8(bit % 8)
      b.handle(craft(tag: tag, rawChunk(ChunkType.cookieEcho, forged)), now: now)
      let state = b.association.state
      let answer = b.packet(now: now)
      #expect(state == .closed && answer == nil)
    }
    b.handle(craft(tag: tag, rawChunk(ChunkType.cookieEcho, [UInt8](repeating: 7, count: 16))), now: now)
    b.handle(craft(tag: tag &+ 1, rawChunk(ChunkType.cookieEcho, cookie)), now: now)
    let before = b.association.state
    #expect(before == .closed)
    b.handle(genuine, now: now)
    let after = b.association.state
    #expect(after == .established)
  }

  @Test("a cookie lives for 60 seconds; a stale one makes the peer begin again")
  func staleCookie() throws {
    var a = Endpoint(seed: 1)
    var b = Endpoint(seed: 2)
    let now = Instant(nanoseconds: 5)
    a.association.connect(now: now)
    b.handle(try a.requirePacket(now: now), now: now)
    a.handle(try b.requirePacket(now: now), now: now)
    let echo = try a.requirePacket(now: now)
    let late = now + .seconds(61)
    b.handle(echo, now: late)
    let answer = try b.requirePacket(now: late)
    #expect(try chunks(of: answer)[0].value == [0, 3, 0, 8, 0, 0x0f, 0x42, 0x40])  // one second too late
    let stateB = b.association.state
    #expect(stateB == .closed)
    a.handle(answer, now: late)
    let again = try a.requirePacket(now: late)
    #expect(try chunks(of: again)[0].type == ChunkType.initiation)
  }

  @Test("a duplicate COOKIE-ECHO is answered again, and nothing else happens")
  func duplicateCookie() throws {
    var world = World()
    world.a.association.connect(now: world.now)
    world.settle()
    let echo = try #require(world.log.first { $0.packet[12] == ChunkType.cookieEcho }).packet
    world.b.handle(echo, now: world.now + .seconds(100))
    let answers = try world.answers()
    #expect(answers.map { $0.map(\.type) } == [[ChunkType.cookieAck]])
    let events = world.b.events
    #expect(events == [.established])
  }

  @Test("INIT while up: answered with tie tags, the association lives on; a restart through it is told")
  func restart() throws {
    var world = World.connected()
    try world.b.association.send(OutgoingMessage(1, [9]), now: world.now)
    world.settle()
    try world.b.association.send(OutgoingMessage(1, [10]), now: world.now)
    // The peer is another process now: it knows nothing.
    world.inFlight.removeAll()
    world.a = Endpoint(seed: 4_711)
    world.a.association.connect(now: world.now)
    world.run(for: .seconds(5))
    let states = [world.a.association.state, world.b.association.state]
    #expect(states == [.established, .established])
    let events = world.b.events
    #expect(events == [.restarted])
    // What was queued reaches the new peer, on a stream that begins at 0.
    let received = world.a.messages.map(\.payload)
    #expect(received == [[10]])
    try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
    world.settle()
    let atB = world.b.messages.map(\.payload)
    #expect(atB == [pattern(5_000)])
  }

  @Test("INIT, INIT-ACK bundled with anything are dropped; COOKIE-ECHO and COOKIE-ACK may carry data")
  func bundling() throws {
    var b = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    b.handle(craft(tag: 0, initChunk(), data(TSN(rawValue: 77), [1])), now: now)
    let nothing = b.packet(now: now)
    #expect(nothing == nil)

    var world = World(b: .notInterleaving)
    world.a.association.connect(now: world.now)
    world.b.handle(try world.a.requirePacket(now: world.now), now: world.now)
    world.a.handle(try world.b.requirePacket(now: world.now), now: world.now)
    let echo = try world.a.requirePacket(now: world.now)
    let initialTSN = world.a.association.nextTSN
    let bundled = craft(
      tag: try tag(of: echo), rawChunk(ChunkType.cookieEcho, try chunks(of: echo)[0].value), data(initialTSN, [5]))
    world.b.handle(bundled, now: world.now)
    world.b.collect(now: world.now)
    let received = world.b.messages.map(\.payload)
    #expect(received == [[5]])
    let answer = try world.answers()
    #expect(answer.map { $0.map(\.type) } == [[ChunkType.cookieAck, ChunkType.sack]])
  }

  @Test("before and after an association, packets out of the blue get the answer of RFC 9260 §8.4")
  func outOfTheBlue() throws {
    var closed = Endpoint(seed: 5)
    let now = Instant(nanoseconds: 0)
    closed.association.abort(now: now)
    for (chunk, expected) in [
      (data(TSN(rawValue: 1), [1]), ChunkType.abort as UInt8?), (rawChunk(ChunkType.abort), nil),
      (rawChunk(ChunkType.shutdownAck), ChunkType.shutdownComplete), (rawChunk(ChunkType.shutdownComplete), nil),
      (rawChunk(ChunkType.cookieAck), nil), (rawChunk(ChunkType.error), nil),
    ] {
      closed.handle(craft(tag: 0x77, chunk), now: now)
      let packets = closed.packets(now: now)
      #expect(try packets.map { try chunks(of: $0)[0].type } == (expected.map { [$0] } ?? []))
      for packet in packets {
        #expect(try tag(of: packet) == 0x77)
        #expect(packet[13] == 1, "the tag is reflected, so the T bit is set")
      }
    }
  }
}
