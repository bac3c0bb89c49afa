// AssociationTests.swift — Pion's scenarios of one association: what a hostile or broken peer may send, and that nobody waits for
// ever when it ends.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("Pion association") struct PionAssociationTests {
  @Test(
    "FORWARD-TSN as far ahead as the numbers go is refused, or done with in bounded work",
    arguments: [2, 1_000, 32_768, 32_769, 65_536, 1 << 30, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as [UInt32])
  func farForwardTSN(distance: UInt32) throws {
    var tester = try Tester.established()
    for _ in 0..<50 {
      let reached = tester.unit.association.receivedTSN
      tester.hand(forwardTSN(reached.advanced(by: distance), (0..<250).map { ($0, 9) }))
    }
    let (state, held) = (tester.state, tester.unit.association.heldBytes)
    #expect(state == .established && held == 0)
    let next = tester.unit.association.receivedTSN.advanced(by: 1)
    tester.hand(data(next, [1], stream: 300))
    #expect(tester.received == [[1]])
  }

  @Test("a SACK that is bad leaves the queue as it was, however good its beginning")
  func badSackTouchesNothing() throws {
    var tester = try Tester.established()
    for i in 0..<8 { try tester.send(pattern(1_000, i)) }
    tester.wait(.milliseconds(20))
    let first = tester.unit.association.nextTSN.reversed(by: 8)
    let before = tester.unit.association.statistics
    for gaps in [[(2, 3), (5, 65_535)], [(2, 3), (3, 2)], [(1, 8), (4, 4)], [(2, 9)]] as [[(UInt16, UInt16)]] {
      tester.hand(sack(first.advanced(by: 2), window: 77, gaps: gaps))
      let after = tester.unit.association.statistics
      #expect(after.bytesInFlight == before.bytesInFlight && after.peerReceiverWindow == before.peerReceiverWindow)
      #expect(after.congestionWindow == before.congestionWindow)
    }
    let consistent = tester.unit.association.isConsistent
    #expect(consistent)
  }

  @Test("the window that is announced falls with what is held, and never below zero")
  func receiveWindow() throws {
    var tester = try Tester.established(.plain { $0.receiveWindow = 10_000 })
    tester.unit.releases = false
    var last: UInt32 = 10_000
    for n in 0..<30 as Range<UInt32> {
      tester.hand(data(tester.tsn(n), pattern(1_000), ssn: UInt16(n), flags: [.whole, .immediate]))
      guard let seen = try tester.sent().flatMap({ try sacks(of: $0.bytes) }).last else { continue }
      #expect(seen.window <= last)
      last = seen.window
    }
    #expect(last < 1_000)
    tester.unit.association.releaseReceived(10_000, now: tester.now)
    tester.wait(.milliseconds(1))
    let update = try tester.sent().flatMap { try sacks(of: $0.bytes) }.last
    #expect(update.map { $0.window >= 9_000 } == true, "the peer is told without having asked")
  }

  @Test(
    "DATA far beyond the cumulative TSN is not kept",
    arguments: [40_000, 100_000, 0x4000_0000, 0x7fff_fffe] as [UInt32])
  func maximumOffset(distance: UInt32) throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(distance), pattern(1_000), flags: .begin))
    let (held, refused) = (tester.unit.association.heldBytes, tester.unit.association.statistics.chunksRefused)
    #expect(held == 0 && refused == 1)
  }

  @Test("reset requests that never come to their turn are not collected: each new one replaces the last")
  func reconfigRequestsLimited() throws {
    var tester = try Tester.established()
    for n in 0..<3_000 as Range<UInt32> {
      tester.hand(resetRequest(Tester.initialTSN &+ n, lastTSN: tester.tsn(100), [UInt16(n % 100)]))
    }
    #expect(tester.unit.events.isEmpty)
    tester.hand(forwardTSN(tester.tsn(100)))
    #expect(tester.unit.events == [.incomingStreamsReset([99])])
  }

  @Test("descriptors of fragments are limited, not only their bytes")
  func descriptorsLimited() throws {
    var tester = try Tester.established()
    for n in 0..<20_000 as Range<UInt32> {
      tester.unit.handle(
        craft(
          tag: tester.unit.association.localTag,
          data(tester.tsn(2 * n + 1), [1], stream: UInt16(n % 1_000), flags: .begin)),
        now: tester.now)
    }
    let (held, state) = (tester.unit.association.heldBytes, tester.state)
    #expect(held <= 16_384 && state == .established)
    tester.hand(rawChunk(ChunkType.abort))
    let after = tester.unit.association.heldBytes
    #expect(after == 0)
  }

  @Test("SHUTDOWNs that cross, with data on the way in both directions")
  func crossedShutdowns() throws {
    var world = World.connected()
    try world.a.association.send(OutgoingMessage(1, pattern(20_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(1, pattern(30_000)), now: world.now)
    world.a.association.shutdown(now: world.now)
    world.b.association.shutdown(now: world.now)
    world.run(for: .seconds(30))
    #expect(world.a.events == [.closed(.shutdown)] && world.b.events == [.closed(.shutdown)])
    #expect(world.a.messages.count == 1 && world.b.messages.count == 1)
  }

  @Test(
    "an ABORT, in whatever state, ends all waiting: what is whole can still be read, then the end is told, once",
    arguments: 0..<8)
  func abortEndsWaiting(step: Int) throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    try tester.send(pattern(50_000))
    if step > 0 { tester.hand(Tester.initAck()) }
    if step > 1 { tester.hand(rawChunk(ChunkType.cookieAck)) }
    if step > 2 {
      tester.unit.handle(craft(tag: tester.unit.association.localTag, data(tester.tsn(0), [7])), now: tester.now)
    }
    if step > 3 { tester.unit.association.resetStreams([3], now: tester.now) }
    if step > 4 { tester.unit.association.shutdown(now: tester.now) }
    if step > 5 { tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1))) }
    if step > 6 { tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1))) }
    tester.hand(rawChunk(ChunkType.abort))
    let closings = tester.unit.events.filter { if case .closed = $0 { true } else { false } }
    #expect(closings == [.closed(.abortedByPeer(cause: nil))])
    #expect(tester.received == (step > 2 ? [[7]] : []))
    let (pending, buffered) = (tester.unit.association.deadline, tester.unit.association.bufferedTotal)
    #expect(pending == nil && buffered == 0)
    #expect(throws: SCTPSendError.closing) { try tester.send([1]) }
  }

  @Test(
    "INITs with nonsense in every mandatory field, in every state: no association is harmed",
    arguments: [(0, 10, 10), (1_499, 10, 10), (100_000, 0, 10), (100_000, 10, 0), (0, 0, 0)]
      as [(UInt32, UInt16, UInt16)])
  func nonsensicalInit(window: UInt32, outbound: UInt16, inbound: UInt16) throws {
    let chunk = initChunk(tag: 5, window: window, outbound: outbound, inbound: inbound)
    var tester = Tester()
    tester.hand(tag: 0, chunk)
    tester.unit.association.connect(now: tester.now)
    tester.hand(tag: 0, chunk)
    tester.hand(Tester.initAck())
    tester.hand(tag: 0, chunk)
    tester.hand(rawChunk(ChunkType.cookieAck))
    tester.hand(tag: 0, chunk)
    let answers = try tester.sent().filter { $0.tag == 5 }
    #expect(answers.map(\.types) == [[UInt8]](repeating: [ChunkType.abort], count: 4))
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.received == [[1]] && tester.unit.events == [.established])
  }

  @Test(
    "when all is said, nothing stays behind: no timer, no bytes, no request, on either side",
    arguments: 1...6 as ClosedRange<UInt64>)
  func noLeaks(seed: UInt64) throws {
    var network = Network()
    network.lossPerMille = 50
    var world = World.connected(seed: seed, network: network)
    for i in 0..<30 {
      try world.a.association.send(
        OutgoingMessage(UInt16(i % 5), pattern(2_500, i), ordered: i % 2 == 0), now: world.now)
      try world.b.association.send(OutgoingMessage(UInt16(i % 5), pattern(1_500, i)), now: world.now)
    }
    world.a.association.resetStreams([0, 1], now: world.now)
    world.run(for: .seconds(30))
    let quiet = [world.a.association.isQuiet, world.b.association.isQuiet]
    let held = world.a.association.heldBytes + world.b.association.heldBytes
    #expect(quiet == [true, true] && held == 0)
    world.b.association.shutdown(now: world.now)
    world.run(for: .seconds(60))
    let pending = [world.a.association.deadline, world.b.association.deadline]
    #expect(pending == [nil, nil])
  }
}
