// ResetAndShutdownTests.swift — stream resets with reuse (RFC 6525), and the ordered end (RFC 9260 §9).

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct StreamResetTests {
  @Test("a reset waits for the stream's data, then both sides know, and the stream begins again", arguments: [0, 150])
  func resetAndReuse(loss: Int) throws {
    var network = Network()
    network.lossPerMille = UInt64(loss)
    var world = World.connected(seed: 5, network: network)
    for round in 0..<5 {
      let payload = pattern(60_000, round)
      try world.a.association.send(OutgoingMessage(3, payload), now: world.now)
      try world.a.association.send(OutgoingMessage(4, payload), now: world.now)
      world.a.association.resetStreams([3, 3], now: world.now)
      #expect(throws: SCTPSendError.streamResetting) {
        try world.a.association.send(OutgoingMessage(3, [1]), now: world.now)
      }
      world.run(for: .seconds(60))
      #expect(world.a.events == [.outgoingStreamsReset([3])])
      #expect(world.b.events == [.incomingStreamsReset([3])])
      #expect(world.b.messages.filter { $0.stream == 3 }.map(\.payload) == [payload])
      world.a.events.removeAll()
      world.b.events.removeAll()
      world.b.messages.removeAll { $0.stream == 3 }
    }
    #expect(world.b.messages.map(\.payload) == (0..<5).map { pattern(60_000, $0) })
    let ssn = try world.log.flatMap { try dataHeaders(of: $0.packet) }.filter { $0.stream == 3 }.map(\.ssn.rawValue)
    #expect(Set(ssn) == [0])
  }

  @Test("only one request is outstanding; streams that come later share the next")
  func queuedResets() throws {
    var world = World.connected()
    world.a.association.resetStreams([1], now: world.now)
    _ = world.a.association.bufferedTotal
    world.flush()
    world.a.association.resetStreams([2, 3], now: world.now)
    world.a.association.resetStreams((10..<300).map { UInt16($0) }, now: world.now)
    world.run(for: .seconds(10))
    let requests = world.log.filter { $0.from == .a && $0.packet[12] == ChunkType.reconfig }.count
    #expect(requests == 4)  // 1; then 128, 128 and 36 of the rest
    let reset = world.a.events.flatMap { event -> [UInt16] in
      if case .outgoingStreamsReset(let streams) = event { streams } else { [] }
    }
    #expect(reset == [1, 2, 3] + (10..<300).map { UInt16($0) })
  }

  @Test(
    "a lost request, or a lost response, is made good by the timer, and the reset happens once",
    arguments: [true, false])
  func lostReconfig(request: Bool) throws {
    var world = World.connected()
    var left = 2
    let victim: World.Side = request ? .a : .b
    world.filter = { from, packet in
      guard from == victim, packet[12] == ChunkType.reconfig, left > 0 else { return true }
      left -= 1
      return false
    }
    world.a.association.resetStreams([1], now: world.now)
    world.run(for: .seconds(10))
    #expect(world.a.events == [.outgoingStreamsReset([1])])
    #expect(world.b.events == [.incomingStreamsReset([1])])
    let quiet = world.a.association.isQuiet
    #expect(quiet && left == 0)
  }

  @Test("a request that overtakes data on another stream is put off, and answered unasked when it can be")
  func deferredReset() throws {
    var world = World.connected()
    let number = world.b.association.receivedTSN.advanced(by: 1).rawValue
    world.inject(resetRequest(number, lastTSN: world.tsn(2), [1]))
    var results = try world.answers().flatMap { $0 }.map(\.value.last)
    #expect(results == [6])
    // An old peer asks again under a new number, a new one under the same: neither resets twice.
    world.inject(data(world.tsn(1), [1]), data(world.tsn(2), [2], ssn: 1))
    #expect(world.b.messages.map(\.payload) == [[1], [2]])
    #expect(world.b.events == [.incomingStreamsReset([1])])
    results = try world.answers().flatMap { $0 }.filter { $0.type == ChunkType.reconfig }.map(\.value.last)
    #expect(results == [1])
    world.inject(resetRequest(number, lastTSN: world.tsn(0), [1]))
    world.inject(resetRequest(number &+ 1, lastTSN: world.tsn(0), [1]))
    results = try world.answers().flatMap { $0 }.filter { $0.type == ChunkType.reconfig }.map(\.value.last)
    #expect(results == [1, 1])
    #expect(world.b.events.count == 1)
  }

  @Test("a stream whose last message expires unsent is reset all the same, and a shutdown goes on")
  func expiredBeforeReset() throws {
    for endsAll in [false, true] {
      var inOrder = SCTPConfiguration()
      inOrder.scheduling = .firstComeFirstServed
      var world = World.connected(a: inOrder)
      world.filter = { from, _ in from != .b }  // no SACK: the window stays full
      for i in 0..<12 { try world.a.association.send(OutgoingMessage(1, pattern(1_100, i)), now: world.now) }
      try world.a.association.send(OutgoingMessage(2, [7], .maximumLifetime(milliseconds: 50)), now: world.now)
      if endsAll {
        world.a.association.shutdown(now: world.now)
      } else {
        world.a.association.resetStreams([2], now: world.now)
      }
      world.run(for: .milliseconds(100))
      world.filter = nil
      world.run(for: .seconds(10))
      #expect(world.a.events == [endsAll ? .closed(.shutdown) : .outgoingStreamsReset([2])])
      #expect(world.b.messages.count == 12)
    }
  }

  @Test("refused, or in progress: the sender is told, or asks again under a new number")
  func responses() throws {
    for (result, expected) in [
      (ReconfigResult.denied, SCTPAssociation.Event.outgoingResetFailed([1])),
      (.badSequenceNumber, .outgoingResetFailed([1])), (.performed, .outgoingStreamsReset([1])),
      (.nothingToDo, .outgoingStreamsReset([1])),
    ] {
      var world = World.connected()
      let number = world.b.association.nextTSN.rawValue
      world.b.association.resetStreams([1], now: world.now)
      _ = world.b.packets(now: world.now)
      func respond(_ number: UInt32, _ result: ReconfigResult) {
        world.inject(
          collectBytes(capacity: 16) { out in
            ReconfigResponse(number: RequestNumber(rawValue: number), result: result).write(into: &out)
          })
      }
      respond(number &+ 7, .denied)  // answers no question
      #expect(world.b.events.isEmpty)
      respond(number, .inProgress)
      #expect(world.b.events.isEmpty)
      let again = world.now + .seconds(1)
      world.b.association.handleTimeout(now: again)
      let packet = try world.b.requirePacket(now: again)
      #expect(packet[12] == ChunkType.reconfig && packet[23] == UInt8(truncatingIfNeeded: number &+ 1))
      respond(number &+ 1, result)
      #expect(world.b.events == [expected])
    }
  }
}

@Suite struct ShutdownTests {
  @Test("everything queued arrives before the end, whoever ends it, and whatever is lost once", arguments: 0..<8)
  func orderly(mask: Int) throws {
    var world = World.connected()
    var left: Set<UInt8> = []
    for (bit, type) in [ChunkType.shutdown, ChunkType.shutdownAck, ChunkType.shutdownComplete].enumerated()
    where mask >> bit & 1 == 1 { left.insert(type) }
    world.filter = { _, packet in left.remove(packet[12]) == nil }
    try world.a.association.send(OutgoingMessage(1, pattern(40_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(2, pattern(30_000)), now: world.now)
    world.a.association.shutdown(now: world.now)
    #expect(throws: SCTPSendError.closing) {
      try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    }
    world.run(for: .seconds(60))
    #expect(world.a.events == [.closed(.shutdown)])
    #expect(world.b.events == [.closed(.shutdown)])
    #expect(world.b.messages.map(\.payload) == [pattern(40_000)])
    #expect(world.a.messages.map(\.payload) == [pattern(30_000)])
    let pending = [world.a.association.deadline, world.b.association.deadline]
    #expect(pending == [nil, nil])
  }

  @Test("an unanswered SHUTDOWN, or SHUTDOWN-ACK, is repeated, and given up in the end", arguments: [true, false])
  func unanswered(first: Bool) throws {
    var world = World.connected()
    let silent: World.Side = first ? .b : .a
    world.filter = { from, packet in
      from != silent || (!first && packet[12] == ChunkType.shutdown)
    }
    world.a.association.shutdown(now: world.now)
    world.run(for: .seconds(200))
    let type = first ? ChunkType.shutdown : ChunkType.shutdownAck
    #expect(world.log.filter { $0.packet[12] == type }.count > 5)
    #expect((first ? world.a.events : world.b.events) == [.closed(.retransmissionLimit)])
  }

  @Test("data while SHUTDOWN is out is taken and answered by another SHUTDOWN; in SHUTDOWN-RECEIVED it is not")
  func dataDuringShutdown() throws {
    var world = World.connected()
    world.b.association.shutdown(now: world.now)
    _ = world.b.packets(now: world.now)
    let sent = world.b.association.state
    #expect(sent == .shutdownSent)
    world.inject(data(world.tsn(1), [1]))
    #expect(world.b.messages.map(\.payload) == [[1]])
    let answers = try world.answers().flatMap { $0 }.map(\.type)
    #expect(answers == [ChunkType.sack, ChunkType.shutdown])

    world = World.connected()
    try world.b.association.send(OutgoingMessage(1, [1]), now: world.now)
    _ = world.b.packets(now: world.now)
    let acknowledged = world.b.association.nextTSN.reversed(by: 2).rawValue
    world.inject(
      rawChunk(ChunkType.shutdown, (0..<4).map { UInt8(truncatingIfNeeded: acknowledged >> UInt32(24 - 8 * $0)) }))
    let received = world.b.association.state
    #expect(received == .shutdownReceived)
    world.inject(data(world.tsn(1), [1]))
    #expect(world.b.messages.isEmpty)
    #expect(throws: SCTPSendError.closing) { try world.b.association.send(OutgoingMessage(1, [2]), now: world.now) }
    // A SHUTDOWN whose cumulative TSN covers everything counts as the acknowledgement.
    let all = acknowledged &+ 1
    world.inject(rawChunk(ChunkType.shutdown, (0..<4).map { UInt8(truncatingIfNeeded: all >> UInt32(24 - 8 * $0)) }))
    let answer = try world.answers().flatMap { $0 }.map(\.type)
    #expect(answer == [ChunkType.shutdownAck])
  }

  @Test("SHUTDOWN-COMPLETE and SHUTDOWN-ACK mean nothing while up or connecting")
  func outOfPlace() throws {
    var world = World.connected()
    let tag = world.b.association.localTag
    for chunk in [rawChunk(ChunkType.shutdownComplete), rawChunk(ChunkType.shutdownAck), rawChunk(ChunkType.cookieAck)]
    {
      world.b.handle(craft(tag: tag, chunk), now: world.now)
    }
    let state = world.b.association.state
    #expect(state == .established)
    var connecting = Endpoint(seed: 4)
    connecting.association.connect(now: world.now)
    _ = connecting.packets(now: world.now)
    connecting.handle(craft(tag: 0x55, rawChunk(ChunkType.shutdownAck)), now: world.now)
    let packet = try connecting.requirePacket(now: world.now)
    #expect(packet[12] == ChunkType.shutdownComplete && packet[13] == 1)
    #expect(try SCTPTestSupport.tag(of: packet) == 0x55)
    let waits = connecting.association.state
    #expect(waits == .cookieWait)
  }
}
