// ShutdownTests.swift — dcSCTP's scenarios of shutting down. Lost SHUTDOWNs and SHUTDOWN-ACKs, and the end of patience with
// them, are with ETSI's group AT.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP shutdown") struct ShutdownTests {
  @Test("with data waiting on both sides: all of it arrives, then both are closed")
  func withData() throws {
    var world = World.connected()
    try world.a.association.send(OutgoingMessage(1, pattern(100_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(1, pattern(90_000)), now: world.now)
    world.a.association.shutdown(now: world.now)
    world.run(for: .seconds(20))
    #expect(world.a.events == [.closed(.shutdown)] && world.b.events == [.closed(.shutdown)])
    #expect(world.b.messages.map(\.payload) == [pattern(100_000)])
    #expect(world.a.messages.map(\.payload) == [pattern(90_000)])
    let pending = [world.a.association.deadline, world.b.association.deadline]
    #expect(pending == [nil, nil])
  }

  @Test("SHUTDOWN-ACK is repeated when T2 expires, and when the SHUTDOWN is repeated")
  func repeatedShutdown() throws {
    var tester = try Tester.established()
    let last = tester.unit.association.nextTSN.reversed(by: 1)
    for _ in 0..<3 {
      tester.hand(shutdown(last))
      let types = try tester.types()
      #expect(types == [[ChunkType.shutdownAck]])
    }
    tester.wait(.seconds(1))
    let (again, state) = (try tester.types(), tester.state)
    #expect(again.have(ChunkType.shutdownAck) && state == .shutdownAckSent && tester.unit.events.isEmpty)
  }

  @Test("a SHUTDOWN that is repeated in SHUTDOWN-RECEIVED only acknowledges")
  func repeatedInShutdownReceived() throws {
    var tester = try Tester.established()
    for i in 0..<3 { try tester.send(pattern(1_000, i)) }
    tester.wait(.milliseconds(20))
    let tsns = try tester.dataSent().map(\.tsn)
    tester.hand(shutdown(tsns[0].reversed(by: 1)))
    tester.hand(shutdown(tsns[1]))
    let (state, flight) = (tester.state, tester.unit.association.statistics.bytesInFlight)
    #expect(state == .shutdownReceived && flight == 1_000)
  }

  // RFC 9260 §9.2 has no word on it; answering as in ESTABLISHED ends the association soonest.
  @Test("a SHUTDOWN in SHUTDOWN-PENDING: our data first, then SHUTDOWN-ACK")
  func shutdownInShutdownPending() throws {
    var tester = try Tester.established()
    try tester.send([1])
    tester.wait(.milliseconds(20))
    let last = tester.unit.association.nextTSN.reversed(by: 1)
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    tester.hand(shutdown(last.reversed(by: 1)))
    let early = try tester.types()
    #expect(!early.have(ChunkType.shutdownAck))
    tester.hand(sack(last))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownAck]])
  }

  @Test("a SHUTDOWN that acknowledges what was never sent is dropped")
  func optimisticShutdown() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN))
    let (state, types) = (tester.state, try tester.types())
    #expect(state == .established && types.isEmpty)
  }

  @Test("shut down before anything was sent, while INIT is out: closed without a word")
  func whileInitIsOut() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.unit.association.shutdown(now: tester.now)
    #expect(throws: SCTPSendError.closing) { try tester.send([1]) }
    let (state, types) = (tester.state, try tester.types())
    #expect(state == .closed && types.isEmpty)
  }

  @Test("shut down while COOKIE-ECHO is out: up first, then what waits, then the end")
  func whileCookieIsOut() throws {
    var world = World()
    world.a.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, pattern(3_000)), now: world.now)
    world.run(until: { a, _ in a.state == .cookieEchoed })
    world.a.association.shutdown(now: world.now)
    #expect(throws: SCTPSendError.closing) {
      try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    }
    world.run(for: .seconds(10))
    #expect(world.b.messages.map(\.payload) == [pattern(3_000)])
    #expect(world.a.events.last == .closed(.shutdown) && world.b.events.last == .closed(.shutdown))
  }

  @Test("both shut down at once, with any one packet of the end lost", arguments: 0..<6)
  func crossed(lost: Int) throws {
    var world = World.connected()
    var count = 0
    world.filter = { _, _ in
      count += 1
      return count != lost
    }
    world.a.association.shutdown(now: world.now)
    world.b.association.shutdown(now: world.now)
    world.run(for: .seconds(60))
    let states = world.states
    #expect(states == [.closed, .closed])
    #expect(world.a.events.count == 1 && world.b.events.count == 1)
    #expect(world.a.events == [.closed(.shutdown)] || world.b.events == [.closed(.shutdown)])
  }
}
