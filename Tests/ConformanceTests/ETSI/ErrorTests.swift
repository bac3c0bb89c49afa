// ErrorTests.swift — ETSI TS 102 369, group E: ERROR and its causes (RFC 9260 §3.3.10, §5.2.6, §6.5).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI E: errors") struct ErrorTests {
  private static let stale = rawChunk(ChunkType.error, [0, 3, 0, 8, 0, 0x0f, 0x42, 0x40])

  private func cookieEchoed(_ configuration: SCTPConfiguration = .plain) throws -> Tester {
    var tester = Tester(configuration)
    tester.unit.association.connect(now: tester.now)
    tester.hand(Tester.initAck())
    _ = try tester.sent()
    return tester
  }

  @Test("e-6-1: ERROR stale cookie in COOKIE-ECHOED: the handshake begins again with INIT")
  func staleCookie() throws {
    var tester = try cookieEchoed()
    tester.hand(Self.stale)
    let (types, state) = (try tester.types(), tester.state)
    #expect(types == [[ChunkType.initiation]] && state == .cookieWait)
    tester.hand(Tester.initAck(parameters: parameter(ParameterType.stateCookie, [5, 5, 5, 5])))
    let echo = try tester.sent()
    #expect(echo.map(\.types) == [[ChunkType.cookieEcho]] && echo[0].chunks[0].value == [5, 5, 5, 5])
    tester.hand(rawChunk(ChunkType.cookieAck))
    #expect(tester.unit.events == [.established])
  }

  @Test("e-6-1: a peer that finds every cookie stale is given up")
  func alwaysStale() throws {
    var tester = try cookieEchoed(.plain { $0.maximumInitRetransmits = 3 })
    for _ in 0..<10 where tester.unit.events.isEmpty {
      tester.hand(Self.stale)
      tester.hand(Tester.initAck())
    }
    #expect(tester.unit.events == [.closed(.connectTimedOut)])
  }

  @Test("e-6-2: ERROR stale cookie in other states is ignored")
  func staleCookieElsewhere() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.hand(Self.stale)
    var (types, state) = (try tester.types(), tester.state)
    #expect(types.isEmpty && state == .cookieWait)
    tester = try Tester.established()
    tester.hand(Self.stale)
    (types, state) = (try tester.types(), tester.state)
    #expect(types.isEmpty && state == .established)
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    tester.hand(Self.stale)
    (types, state) = (try tester.types(), tester.state)
    #expect(types.isEmpty && state == .shutdownSent)
  }

  @Test("e-6-3: DATA on a stream that does not exist is acknowledged, and ERROR names the stream")
  func invalidStream() throws {
    var tester = try Tester.established(.plain { $0.inboundStreams = 10 })
    tester.hand(data(tester.tsn(0), [1], stream: 10))
    tester.wait(.milliseconds(50))
    let sent = try tester.sent().flatMap(\.chunks)
    #expect(Set(sent.map(\.type)) == [ChunkType.sack, ChunkType.error])
    let error = try #require(sent.first { $0.type == ChunkType.error })
    #expect(error.value == [0, 1, 0, 8, 0, 10, 0, 0])
    let acknowledgement = try #require(sent.first { $0.type == ChunkType.sack })
    #expect(acknowledgement.uint32(at: 0) == tester.tsn(0).rawValue)
    #expect(tester.received.isEmpty)
  }

  @Test("e-6-4: an INIT-ACK without a cookie ends the attempt: missing mandatory parameter")
  func missingCookie() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.hand(Tester.initAck(parameters: Tester.extensions))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.abort]] && sent[0].tag == Tester.tag)
    #expect(sent[0].chunks[0].value == [0, 2, 0, 10, 0, 0, 0, 1, 0, 7])
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("e-6-5: an INIT-ACK's unknown parameters are reported together with the COOKIE-ECHO")
  func unknownParametersInInitAck() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    let unknown = parameter(0xc0cc, [1, 2, 3, 4])
    tester.hand(Tester.initAck(parameters: Tester.cookie + unknown))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.cookieEcho, ChunkType.error]])
    #expect(sent[0].chunks[1].value == [0, 8, 0, 12] + unknown)
  }

  @Test("e-6-6: COOKIE-ECHO together with ERROR unrecognized parameters: up")
  func errorBehindCookieEcho() throws {
    var tester = Tester()
    let (tag, cookie) = try tester.open(Tester.initiation(parameters: parameter(0xc0cc, [1, 2, 3, 4])))
    tester.hand(
      tag: tag, rawChunk(ChunkType.cookieEcho, cookie),
      rawChunk(ChunkType.error, [0, 8, 0, 8] + parameter(0x8008)))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieAck]] && tester.unit.events == [.established])
  }
}
