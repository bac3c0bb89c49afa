// BundlingTests.swift — ETSI TS 102 369, group BDC: chunks that share a packet (RFC 9260 §6.10).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI BDC: bundling") struct BundlingTests {
  @Test("bdc-7-1: INIT bundled with DATA is dropped whole; a plain INIT works afterwards")
  func initWithData() throws {
    var tester = Tester()
    tester.hand(tag: 0, Tester.initiation(), data(tester.tsn(0), [1]))
    let nothing = try tester.types()
    #expect(nothing.isEmpty)
    tester.hand(tag: 0, Tester.initiation())
    let types = try tester.types()
    #expect(types == [[ChunkType.initiationAck]])
  }

  @Test("bdc-7-2: INIT-ACK bundled with DATA is dropped whole; a plain one works afterwards")
  func initAckWithData() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.hand(Tester.initAck(), data(tester.tsn(0), [1]))
    let (nothing, state) = (try tester.types(), tester.state)
    #expect(nothing.isEmpty && state == .cookieWait)
    tester.hand(Tester.initAck())
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieEcho]])
  }

  @Test("bdc-7-3: SHUTDOWN-COMPLETE bundled with DATA is not taken, in either order")
  func shutdownCompleteWithData() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    _ = try tester.sent()
    tester.hand(rawChunk(ChunkType.shutdownComplete), data(tester.tsn(0), [1]))
    tester.hand(data(tester.tsn(0), [1]), rawChunk(ChunkType.shutdownComplete))
    let state = tester.state
    #expect(state == .shutdownAckSent && tester.unit.events.isEmpty && tester.received.isEmpty)
    tester.hand(rawChunk(ChunkType.shutdownComplete))
    #expect(tester.unit.events == [.closed(.shutdown)])
  }

  @Test("bdc-7-1: INIT behind another chunk, with the association's own tag, is not taken either")
  func initBehindAnother() throws {
    var tester = try Tester.established()
    tester.hand(rawChunk(ChunkType.heartbeat, parameter(ParameterType.heartbeatInfo, [1])), Tester.initiation())
    let types = try tester.types()
    #expect(types == [[ChunkType.heartbeatAck]])
  }

  @Test("bdc-7-4: COOKIE-ECHO and DATA: both count")
  func cookieEchoWithData() throws {
    var tester = Tester()
    let (tag, cookie) = try tester.open()
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie), data(tester.tsn(0), [6]))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieAck, ChunkType.sack]])
    #expect(tester.unit.events == [.established] && tester.received == [[6]])
  }

  @Test("bdc-7-5: COOKIE-ACK and DATA: both count")
  func cookieAckWithData() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    tester.hand(Tester.initAck())
    _ = try tester.sent()
    tester.hand(rawChunk(ChunkType.cookieAck), data(tester.tsn(0), [6]))
    let types = try tester.types()
    #expect(types == [[ChunkType.sack]])
    #expect(tester.unit.events == [.established] && tester.received == [[6]])
  }

  private func sending() throws -> Tester {
    var tester = try Tester.established()
    try tester.send([1])
    tester.wait(.milliseconds(20))
    _ = try tester.sent()
    return tester
  }

  @Test("bdc-7-6: SACK and SHUTDOWN: both count")
  func sackWithShutdown() throws {
    var tester = try sending()
    let last = tester.unit.association.nextTSN.reversed(by: 1)
    tester.hand(sack(last), shutdown(last.reversed(by: 1)))
    let (types, state) = (try tester.types(), tester.state)
    #expect(types == [[ChunkType.shutdownAck]] && state == .shutdownAckSent)
  }

  @Test("bdc-7-7: SACK and DATA: both count")
  func sackWithData() throws {
    var tester = try sending()
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)), data(tester.tsn(0), [6]))
    let flight = tester.unit.association.statistics.bytesInFlight
    #expect(flight == 0 && tester.received == [[6]])
  }

  @Test("bdc-7-8: SHUTDOWN-ACK and DATA: the data is ignored, SHUTDOWN-COMPLETE goes out")
  func shutdownAckWithData() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    tester.hand(rawChunk(ChunkType.shutdownAck), data(tester.tsn(0), [6]))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownComplete]])
    #expect(tester.received.isEmpty && tester.unit.events == [.closed(.shutdown)])
  }
}
