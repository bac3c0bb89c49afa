// DuplicateMessageTests.swift — ETSI TS 102 369, group DM: duplicates and messages out of place (RFC 9260 §5.2, §8.4, §9.2).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI DM: duplicate and unexpected messages") struct DuplicateMessageTests {
  private func connecting() throws -> Tester {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    return tester
  }

  /// A unit that has answered the peer's SHUTDOWN.
  private func shutdownAckSent() throws -> Tester {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownAck]])
    return tester
  }

  private func ignores(_ tester: inout Tester, _ chunk: [UInt8]) throws {
    let state = tester.state
    tester.hand(chunk)
    let (after, types) = (tester.state, try tester.types())
    #expect(after == state && types.isEmpty && tester.unit.events.isEmpty)
  }

  @Test("4-1: INIT in COOKIE-WAIT: INIT-ACK with the tag of our own INIT")
  func initCollision() throws {
    var tester = try connecting()
    let own = tester.unit.association.localTag
    tester.hand(tag: 0, Tester.initiation())
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.initiationAck]] && sent[0].tag == Tester.tag)
    #expect(sent[0].chunks[0].uint32(at: 0) == own)
    let state = tester.state
    #expect(state == .cookieWait)
  }

  @Test("4-2-1: INIT while up: INIT-ACK, and the association is as it was")
  func initWhileUp() throws {
    var tester = try Tester.established()
    let before = tester.unit.association.statistics
    tester.hand(tag: 0, Tester.initiation())
    let types = try tester.types()
    #expect(types == [[ChunkType.initiationAck]])
    let (state, after) = (tester.state, tester.unit.association.statistics)
    #expect(state == .established && tester.unit.events.isEmpty)
    #expect(after.congestionWindow == before.congestionWindow && after.peerReceiverWindow == before.peerReceiverWindow)
    try tester.send([4])
    tester.wait(.milliseconds(20))
    let sent = try tester.sent()
    #expect(sent.map(\.tag) == [Tester.tag])
  }

  @Test("4-2-2: INIT in SHUTDOWN-ACK-SENT: SHUTDOWN-ACK again")
  func initInShutdownAckSent() throws {
    var tester = try shutdownAckSent()
    tester.hand(tag: 0, Tester.initiation())
    let (types, state) = (try tester.types(), tester.state)
    #expect(types == [[ChunkType.shutdownAck]] && state == .shutdownAckSent)
  }

  @Test("4-3: INIT-ACK in COOKIE-ECHOED is dropped")
  func initAckInCookieEchoed() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck())
    _ = try tester.sent()
    try ignores(&tester, Tester.initAck(parameters: parameter(ParameterType.stateCookie, [9, 9, 9, 9])))
    tester.wait(.seconds(1))
    let again = try #require(try tester.sent().first)
    #expect(again.chunks[0].value == [1, 2, 3, 4], "the first cookie is the one that is echoed")
  }

  @Test("4-4: COOKIE-ACK while up is dropped")
  func cookieAckWhileUp() throws {
    var tester = try Tester.established()
    try ignores(&tester, rawChunk(ChunkType.cookieAck))
  }

  @Test("4-5: SHUTDOWN in SHUTDOWN-SENT: SHUTDOWN-ACK")
  func crossedShutdowns() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    let (types, state) = (try tester.types(), tester.state)
    #expect(types == [[ChunkType.shutdownAck]] && state == .shutdownAckSent)
  }

  @Test("4-6-1: SHUTDOWN in COOKIE-WAIT, and in COOKIE-ECHOED, is dropped")
  func shutdownInCookieWait() throws {
    var tester = try connecting()
    try ignores(&tester, shutdown(TSN(rawValue: 0)))
    tester.hand(Tester.initAck())
    _ = try tester.sent()
    try ignores(&tester, shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
  }

  // Before `connect` nothing is answered but INIT, COOKIE-ECHO and SHUTDOWN-ACK: nothing is owed to anyone yet.
  @Test("4-6-2: SHUTDOWN when the association is gone: ABORT with the T bit; before there is one: nothing")
  func shutdownInClosed() throws {
    var tester = Tester()
    tester.hand(tag: 55, shutdown(TSN(rawValue: 0)))
    let nothing = try tester.types()
    #expect(nothing.isEmpty)
    tester.unit.association.abort(now: tester.now)
    tester.hand(tag: 55, shutdown(TSN(rawValue: 0)))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.abort]] && sent[0].tag == 55 && sent[0].chunks[0].flags == 1)
  }

  @Test("4-6-3: SHUTDOWN in SHUTDOWN-SENT: T2 begins anew, for the SHUTDOWN-ACK")
  func crossedShutdownsRestartT2() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    tester.wait(.milliseconds(200))
    _ = try tester.sent()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    let at = tester.now
    _ = try tester.sent()
    tester.wait(.seconds(3))
    let next = try #require(try tester.sent().first)
    #expect(next.types == [ChunkType.shutdownAck] && next.at - at >= .milliseconds(250))
  }

  @Test("4-7-1: SHUTDOWN-ACK in COOKIE-WAIT: SHUTDOWN-COMPLETE with its own tag and the T bit")
  func shutdownAckInCookieWait() throws {
    var tester = try connecting()
    for state in [SCTPAssociation.State.cookieWait, .cookieEchoed] {
      tester.hand(tag: 77, rawChunk(ChunkType.shutdownAck))
      let sent = try tester.sent()
      #expect(sent.map(\.types) == [[ChunkType.shutdownComplete]] && sent[0].tag == 77 && sent[0].chunks[0].flags == 1)
      let after = tester.state
      #expect(after == state)
      tester.hand(Tester.initAck())
      _ = try tester.sent()
    }
  }

  @Test("4-7-2: SHUTDOWN-ACK while up is dropped")
  func shutdownAckWhileUp() throws {
    var tester = try Tester.established()
    try ignores(&tester, rawChunk(ChunkType.shutdownAck))
  }

  @Test("4-7-3: SHUTDOWN-ACK in SHUTDOWN-ACK-SENT: SHUTDOWN-COMPLETE, and closed")
  func crossedShutdownAcks() throws {
    var tester = try shutdownAckSent()
    tester.hand(rawChunk(ChunkType.shutdownAck))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownComplete]])
    #expect(tester.unit.events == [.closed(.shutdown)])
  }

  @Test("4-8: a COOKIE-ECHO with a bad code while up is dropped; a HEARTBEAT is answered afterwards")
  func forgedCookieWhileUp() throws {
    var tester = try Tester.established()
    var (opened, cookie) = try tester.open()
    cookie[cookie.count - 1] ^= 1
    for tag in [opened, tester.unit.association.localTag] {
      tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
      let (types, state) = (try tester.types(), tester.state)
      #expect(types.isEmpty && state == .established)
    }
    tester.hand(rawChunk(ChunkType.heartbeat, parameter(1, [5, 6, 7, 8])))
    let types = try tester.types()
    #expect(types == [[ChunkType.heartbeatAck]] && tester.unit.events.isEmpty)
  }

  @Test("4-9: SHUTDOWN-COMPLETE in COOKIE-WAIT, and in every other state but one, is dropped")
  func shutdownCompleteOutOfPlace() throws {
    var tester = try connecting()
    try ignores(&tester, rawChunk(ChunkType.shutdownComplete))
    tester = try Tester.established()
    try ignores(&tester, rawChunk(ChunkType.shutdownComplete))
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    try ignores(&tester, rawChunk(ChunkType.shutdownComplete))
  }

  @Test("4-10: DATA in SHUTDOWN-ACK-SENT is dropped")
  func dataInShutdownAckSent() throws {
    var tester = try shutdownAckSent()
    try ignores(&tester, data(tester.tsn(0), [1]))
    #expect(tester.received.isEmpty)
  }
}
