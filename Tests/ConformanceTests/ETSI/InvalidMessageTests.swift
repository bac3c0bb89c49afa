// InvalidMessageTests.swift — ETSI TS 102 369, group IMH: messages that are not as they must be (RFC 9260 §8.5, §5.1.5).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI IMH: invalid messages") struct InvalidMessageTests {
  private func drops(_ tester: inout Tester, _ packet: [UInt8]) throws {
    let before = tester.unit.association.statistics.packetsDropped
    let state = tester.state
    tester.deliver(packet)
    let (after, stateAfter, types) = (
      tester.unit.association.statistics.packetsDropped, tester.state, try tester.types()
    )
    #expect(after == before + 1 && stateAfter == state && types.isEmpty)
    #expect(tester.unit.events.isEmpty)
  }

  @Test("3-1: an INIT shorter than its fixed part is dropped without an answer")
  func shortInit() throws {
    for length in 0..<16 {
      var tester = Tester()
      let chunk = rawChunk(ChunkType.initiation, Array(pattern(16, 3).prefix(length)))
      try drops(&tester, craft(tag: 0, chunk))
    }
  }

  @Test("3-2: an INIT-ACK that is too short is dropped, and T1 sends the INIT again")
  func shortInitAck() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    try drops(
      &tester, craft(tag: tester.unit.association.localTag, rawChunk(ChunkType.initiationAck, pattern(15, 3))))
    tester.wait(.seconds(1))
    let again = try tester.types()
    #expect(again == [[ChunkType.initiation]])
  }

  @Test("3-3: a COOKIE-ECHO with a wrong verification tag is dropped")
  func cookieEchoWithWrongTag() throws {
    var tester = Tester()
    let (tag, cookie) = try tester.open()
    for wrong in [tag &+ 1, Tester.tag, 0] {
      tester.hand(tag: wrong, rawChunk(ChunkType.cookieEcho, cookie))
      let (state, types) = (tester.state, try tester.types())
      #expect(state == .closed && types.isEmpty)
    }
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
    let state = tester.state
    #expect(state == .established)
  }

  @Test("3-4: an INIT with a wrong checksum is dropped")
  func initWithWrongChecksum() throws {
    var tester = Tester()
    for bit in 0..<32 {
      var packet = craft(tag: 0, Tester.initiation())
      packet[8 + bit / 8] ^= 1 << UInt8(bit % 8)
      try drops(&tester, packet)
    }
    try drops(&tester, craft(tag: 0, [Tester.initiation()], checksum: false))
  }

  @Test("3-5: a COOKIE-ECHO with a made-up cookie is dropped; the genuine one works afterwards")
  func forgedCookie() throws {
    var tester = Tester()
    let (tag, cookie) = try tester.open()
    for forged in [pattern(16), pattern(cookie.count, 9), [], Array(cookie.dropLast()), cookie + [0, 0, 0, 0]] {
      tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, forged))
      let (state, types) = (tester.state, try tester.types())
      #expect(state == .closed && types.isEmpty)
    }
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
    #expect(tester.unit.events == [.established])
  }

  @Test("3-6: a cookie older than Valid.Cookie.Life is answered by ERROR stale cookie, with the measure")
  func staleCookie() throws {
    var tester = Tester()
    let (tag, cookie) = try tester.open()
    tester.wait(.seconds(62))
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.error]] && sent[0].tag == Tester.tag)
    #expect(sent[0].chunks[0].causes == [CauseCode.staleCookie])
    #expect(sent[0].chunks[0].uint32(at: 4) == 2_000_000)
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("3-7: an ABORT with a wrong verification tag is ignored")
  func abortWithWrongTag() throws {
    var tester = try Tester.established()
    let own = tester.unit.association.localTag
    for (tag, flags) in [(own &+ 1, 0), (Tester.tag, 0), (own, 1), (0, 0), (0, 1)] as [(UInt32, UInt8)] {
      try drops(&tester, craft(tag: tag, rawChunk(ChunkType.abort, flags: flags)))
    }
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.received == [[1]])
  }

  @Test("3-8: a packet shorter than its INIT says is dropped")
  func truncatedInit() throws {
    var tester = Tester()
    let whole = Tester.initiation()
    for length in stride(from: 4, to: whole.count, by: 4) {
      try drops(&tester, craft(tag: 0, [Array(whole.prefix(length))]))
    }
  }

  @Test("3-9: a SHUTDOWN-ACK with a wrong tag in SHUTDOWN-SENT is ignored")
  func shutdownAckWithWrongTag() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    try drops(&tester, craft(tag: tester.unit.association.localTag &+ 1, rawChunk(ChunkType.shutdownAck)))
    try drops(&tester, craft(tag: Tester.tag, rawChunk(ChunkType.shutdownAck)))
  }

  @Test("3-10: a SHUTDOWN-COMPLETE with a wrong tag in SHUTDOWN-ACK-SENT is ignored")
  func shutdownCompleteWithWrongTag() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    _ = try tester.sent()
    let own = tester.unit.association.localTag
    for (tag, flags) in [(own &+ 1, 0), (Tester.tag, 0), (own, 1)] as [(UInt32, UInt8)] {
      try drops(&tester, craft(tag: tag, rawChunk(ChunkType.shutdownComplete, flags: flags)))
    }
    // The T bit with the peer's own tag is right.
    tester.hand(tag: Tester.tag, rawChunk(ChunkType.shutdownComplete, flags: 1))
    #expect(tester.unit.events == [.closed(.shutdown)])
  }
}
