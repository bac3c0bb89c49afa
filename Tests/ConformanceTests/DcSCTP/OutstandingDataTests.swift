// OutstandingDataTests.swift — dcSCTP's scenarios of outstanding data and the retransmission queue, as a peer sees them: what is
// sent again and when, what a SACK may and may not do. With RFC 9260's own congestion control, so that windows are known.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP outstanding data") struct OutstandingDataTests {
  /// A unit that has sent `count` packets of 1,000 bytes, and their TSNs; its round trip is known to be 50 ms.
  private func sending(_ count: Int, _ reliability: Reliability = .reliable) throws -> Tester {
    var tester = try Tester.established()
    try tester.send([0])
    tester.wait(.milliseconds(50))
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    _ = try tester.sent()
    for i in 0..<count { try tester.send(pattern(1_000, i), reliability) }
    // Paced over the round trip.
    var sent = 0
    for _ in 0..<60 where sent < count {
      sent += try tester.dataSent().count
      tester.wait(.milliseconds(1))
    }
    #expect(sent == count)
    return tester
  }

  private func firstTSN(_ tester: borrowing Tester, _ count: UInt32) -> TSN {
    tester.unit.association.nextTSN.reversed(by: count)
  }

  @Test("a hole with three packets beyond it is sent again at once, and only the hole")
  func threeReports() throws {
    var tester = try sending(8)
    let first = firstTSN(tester, 8)
    tester.wait(.milliseconds(50))
    _ = try tester.sent()
    for beyond in 2...5 as ClosedRange<UInt16> { tester.hand(sack(first.reversed(by: 1), gaps: [(2, beyond)])) }
    tester.wait(.milliseconds(1))
    let again = try tester.dataSent().map(\.tsn)
    #expect(again == [first])
    let statistics = tester.unit.association.statistics
    #expect(statistics.fastRetransmits == 1 && statistics.timeouts == 0)
  }

  @Test("two holes are both sent again")
  func twoHoles() throws {
    var tester = try sending(8)
    let first = firstTSN(tester, 8)
    tester.wait(.milliseconds(50))
    tester.hand(sack(first.reversed(by: 1), gaps: [(2, 2), (4, 8)]))
    tester.wait(.milliseconds(60))
    let again = Set(try tester.dataSent().map(\.tsn))
    #expect(again.isSuperset(of: [first, first.advanced(by: 2)]) && again.count == 2)
  }

  @Test("a retransmission that is lost as well is found, at the latest by the timer")
  func lostAgain() throws {
    var tester = try sending(8)
    let first = firstTSN(tester, 8)
    tester.wait(.milliseconds(50))
    tester.hand(sack(first.reversed(by: 1), gaps: [(2, 8)]))
    var count = 0
    for _ in 0..<100 where count < 3 {
      tester.wait(.milliseconds(20))
      count += try tester.dataSent().filter { $0.tsn == first }.count
    }
    #expect(count >= 3)
    tester.hand(sack(first.advanced(by: 7)))
    let quiet = tester.unit.association.isQuiet
    #expect(quiet)
  }

  @Test("loss halves the window once for each round of recovery, not for each packet")
  func windowHalvedOnce() throws {
    var tester = try sending(10)
    let first = firstTSN(tester, 10)
    let before = tester.unit.association.statistics.congestionWindow
    tester.wait(.milliseconds(50))
    tester.hand(sack(first.reversed(by: 1), gaps: [(4, 10)]))
    tester.wait(.milliseconds(30))
    let once = tester.unit.association.statistics.congestionWindow
    #expect(once < before)
    tester.hand(sack(first, gaps: [(3, 9)]))
    tester.hand(sack(first.advanced(by: 1), gaps: [(2, 8)]))
    let still = tester.unit.association.statistics.congestionWindow
    #expect(still == once)
  }

  @Test("the window comes back after a loss")
  func windowRecovers() throws {
    var world = World.connected(a: .plain, b: .plain)
    try world.a.association.send(OutgoingMessage(1, pattern(200_000)), now: world.now)
    world.run(for: .milliseconds(60))
    world.dropFirst(1, ChunkType.data, from: .a)
    world.run(for: .milliseconds(60))
    let after = world.a.association.statistics.congestionWindow
    for _ in 0..<30 {
      try world.a.association.send(OutgoingMessage(1, pattern(200_000)), now: world.now)
      world.run(for: .milliseconds(400))
    }
    let statistics = world.a.association.statistics
    #expect(statistics.fastRetransmits == 1 && statistics.timeouts == 0)
    #expect(statistics.congestionWindow > after && world.b.messages.count == 31)
  }

  @Test("a message without retransmissions is given up at the first loss, one with two at the third")
  func abandonedAtTheLimit() throws {
    for limit in [0, 2] as [UInt16] {
      var tester = try sending(8, .maximumRetransmits(limit))
      let first = firstTSN(tester, 8)
      tester.wait(.milliseconds(50))
      tester.hand(sack(first.reversed(by: 1), gaps: [(2, 8)]))
      tester.wait(.seconds(10))
      let sent = try tester.sent()
      let again = try sent.flatMap { try dataHeaders(of: $0.bytes) }.filter { $0.tsn == first }.count
      #expect(again == Int(limit))
      let skips = sent.flatMap(\.chunks).filter { $0.type == ChunkType.forwardTSN }
      // Up to the last one that has arrived: all of it is behind the peer then.
      let skip = try #require(skips.first)
      #expect(TSN(rawValue: skip.uint32(at: 0)) >= first && skip.uint16(at: 4) == 1 && skip.uint16(at: 6) == 1)
      let abandoned = tester.unit.association.statistics.messagesAbandoned
      #expect(abandoned == 1)
    }
  }

  @Test("a FORWARD-TSN that skips further does not wait for the last one's round trip; one that repeats it does")
  func furtherSkipDoesNotWait() throws {
    var tester = try sending(1, .maximumRetransmits(0))
    try tester.send(pattern(1_000))
    try tester.send(pattern(1_000), .maximumRetransmits(0))
    for _ in 0..<3 { try tester.send(pattern(1_000)) }
    tester.wait(.milliseconds(30))  // paced
    let first = firstTSN(tester, 6)
    tester.wait(.milliseconds(50))
    func skips() throws -> [UInt32] {
      try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.forwardTSN }.map { $0.uint32(at: 0) }
    }
    // The first three are lost; the second is repeated.
    tester.hand(sack(first.reversed(by: 1), gaps: [(4, 6)]))
    #expect(try skips() == [first.rawValue])
    tester.hand(sack(first.reversed(by: 1), gaps: [(4, 6)]))
    #expect(try skips().isEmpty)
    tester.hand(sack(first.advanced(by: 1), gaps: [(2, 4)]))
    let further = try skips()
    #expect(further.map { $0 &- first.rawValue } == [2])
  }

  @Test("FORWARD-TSN goes no further than what is given up")
  func forwardTSNStops() throws {
    var tester = try sending(1, .maximumRetransmits(0))
    try tester.send(pattern(1_000))
    try tester.send(pattern(1_000), .maximumRetransmits(0))
    tester.wait(.milliseconds(1))
    let first = firstTSN(tester, 3)
    tester.wait(.milliseconds(900))
    let skips = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.forwardTSN }
    #expect(!skips.isEmpty && skips.allSatisfy { $0.uint32(at: 0) == first.rawValue })
    tester.hand(sack(first.advanced(by: 1)))
    tester.wait(.milliseconds(900))
    let then = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.forwardTSN }
    #expect(then.contains { $0.uint32(at: 0) == first.advanced(by: 2).rawValue })
  }

  @Test("given up and acknowledged all the same: counted once")
  func abandonedThenAcknowledged() throws {
    var tester = try sending(4, .maximumRetransmits(0))
    let first = firstTSN(tester, 4)
    tester.wait(.seconds(2))
    _ = try tester.sent()
    for gaps in [[(2, 2)], [(2, 4)]] as [[(UInt16, UInt16)]] { tester.hand(sack(first.reversed(by: 1), gaps: gaps)) }
    tester.hand(sack(first.advanced(by: 3)))
    let (flight, consistent, quiet) = (
      tester.unit.association.statistics.bytesInFlight, tester.unit.association.isConsistent,
      tester.unit.association.isQuiet
    )
    #expect(flight == 0 && consistent && quiet)
  }

  @Test("the round trip is not measured on what was sent twice (Karn), nor on a gap block that says it again")
  func measuredOnce() throws {
    var tester = try Tester.established()
    try tester.send([1])
    tester.wait(.milliseconds(1))
    for _ in 0..<2_000 where tester.unit.association.statistics.timeouts == 0 { tester.wait(.milliseconds(10)) }
    tester.wait(.milliseconds(3))
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    let none = tester.unit.association.statistics.smoothedRoundTrip
    #expect(none == nil)
    for i in 0..<2 { try tester.send(pattern(400, i)) }
    tester.wait(.milliseconds(40))
    _ = try tester.sent()
    let first = firstTSN(tester, 2)
    tester.hand(sack(first.reversed(by: 1), gaps: [(2, 2)]))
    let measured = tester.unit.association.statistics.smoothedRoundTrip
    #expect(measured.map { $0 <= .milliseconds(40) } == true)
    tester.wait(.milliseconds(400))
    tester.hand(sack(first.reversed(by: 1), gaps: [(2, 2)]))
    let after = tester.unit.association.statistics.smoothedRoundTrip
    #expect(after == measured)
  }

  @Test("one packet may always go out, however small the windows are")
  func onePacketAlways() throws {
    var tester = try Tester.established(window: 1_500)
    try tester.send(pattern(3_000))
    for _ in 0..<2_000 where !tester.unit.association.isQuiet {
      tester.wait(.milliseconds(50))
      guard let last = try tester.dataSent().map(\.tsn).max() else { continue }
      tester.hand(sack(last, window: 0))
    }
    let quiet = tester.unit.association.isQuiet
    #expect(quiet)
  }

  @Test("what the peer has named and then not any more is sent again when the timer finds it missing, and not before")
  func reneged() throws {
    var tester = try sending(6)
    let first = firstTSN(tester, 6)
    tester.wait(.milliseconds(50))
    tester.hand(sack(first.reversed(by: 1), gaps: [(2, 3), (5, 6)]))
    // It may just have been overtaken by the one before.
    tester.hand(sack(first.reversed(by: 1), gaps: [(5, 6)]))
    tester.wait(.milliseconds(20))
    let named = [1, 2, 4, 5].map { first.advanced(by: $0) }
    let early = try tester.dataSent().map(\.tsn)
    #expect(!early.contains(where: named.contains))
    // The next one expected is one that had been named: the peer has dropped what it had.
    tester.hand(sack(first))
    let consistent = tester.unit.association.isConsistent
    #expect(consistent)
    tester.wait(.seconds(2))
    let again = Set(try tester.dataSent().map(\.tsn))
    #expect(again.isSuperset(of: named.prefix(2)), "the window is one packet now, and nothing answers")
  }

  @Test("with nothing outstanding, SACKs of all kinds change nothing")
  func nothingOutstanding() throws {
    var tester = try sending(2)
    let last = tester.unit.association.nextTSN.reversed(by: 1)
    tester.hand(sack(last))
    let before = tester.unit.association.statistics
    tester.hand(sack(last, gaps: [(1, 1)]))
    tester.hand(sack(last.advanced(by: 1)))
    tester.hand(sack(last.reversed(by: 3), gaps: [(1, 9)]))
    let (after, state) = (tester.unit.association.statistics, tester.state)
    #expect(after.bytesInFlight == 0 && after.congestionWindow == before.congestionWindow && state == .established)
  }
}
