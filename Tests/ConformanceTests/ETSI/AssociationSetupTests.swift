// AssociationSetupTests.swift — ETSI TS 102 369, group AS: setting an association up (RFC 9260 §5).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI AS: association setup") struct AssociationSetupTests {
  /// A unit that has sent its INIT.
  private func connecting(_ configuration: SCTPConfiguration = .plain) throws -> Tester {
    var tester = Tester(configuration)
    tester.unit.association.connect(now: tester.now)
    let first = try tester.types()
    #expect(first == [[ChunkType.initiation]])
    return tester
  }

  /// The INIT-ACK that answers an INIT with these values, or nil.
  private func answer(to initiation: [UInt8], _ configuration: SCTPConfiguration = .plain) throws -> SeenChunk? {
    var tester = Tester(configuration)
    tester.hand(tag: 0, initiation)
    return try tester.sent().first?.chunks.first
  }

  @Test("1-1-1: we open: INIT, then COOKIE-ECHO, then up")
  func weOpen() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck())
    let echo = try tester.sent()
    #expect(echo.map(\.types) == [[ChunkType.cookieEcho]])
    #expect(echo[0].tag == Tester.tag && echo[0].chunks[0].value == [1, 2, 3, 4])
    tester.hand(rawChunk(ChunkType.cookieAck))
    #expect(tester.unit.events == [.established])
    let state = tester.state
    #expect(state == .established)
  }

  @Test("1-1-2: the peer opens: INIT-ACK with a cookie, then COOKIE-ACK, then up")
  func peerOpens() throws {
    var tester = Tester()
    try bringUp(&tester)
    #expect(tester.unit.events == [.established])
  }

  /// The peer's side of a handshake that it begins.
  private func bringUp(_ tester: inout Tester, parameters: [UInt8] = Tester.extensions) throws {
    try bringUp(&tester, Tester.initiation(parameters: parameters))
  }

  private func bringUp(_ tester: inout Tester, _ initiation: [UInt8]) throws {
    let (tag, cookie) = try tester.open(initiation)
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieAck]])
    let state = tester.state
    #expect(state == .established)
  }

  @Test("1-2-1: an INIT that is lost is sent again when T1 expires")
  func initLost() throws {
    var tester = try connecting()
    tester.wait(.milliseconds(400))
    let early = try tester.types()
    #expect(early.isEmpty)
    tester.wait(.milliseconds(200))
    let again = try tester.types()
    #expect(again == [[ChunkType.initiation]])
    tester.hand(Tester.initAck())
    tester.hand(rawChunk(ChunkType.cookieAck))
    let state = tester.state
    #expect(state == .established)
  }

  @Test("1-2-2: a COOKIE-ECHO that is lost is sent again when T1 expires")
  func cookieEchoLost() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck())
    _ = try tester.sent()
    tester.wait(.milliseconds(600))
    let again = try tester.types()
    #expect(again == [[ChunkType.cookieEcho]])
    tester.hand(rawChunk(ChunkType.cookieAck))
    let state = tester.state
    #expect(state == .established)
  }

  @Test("1-3-1: an INIT that is never answered is given up after Max.Init.Retransmits, and that is reported")
  func initNeverAnswered() throws {
    var tester = try connecting(.plain { $0.maximumInitRetransmits = 3 })
    tester.wait(.seconds(60))
    let again = try tester.types()
    #expect(again == [[UInt8]](repeating: [ChunkType.initiation], count: 3))
    #expect(tester.unit.events == [.closed(.connectTimedOut)])
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("1-3-2: a COOKIE-ECHO that is never answered is given up in the same way")
  func cookieEchoNeverAnswered() throws {
    var tester = try connecting(.plain { $0.maximumInitRetransmits = 3 })
    tester.hand(Tester.initAck())
    _ = try tester.sent()
    tester.wait(.seconds(60))
    let again = try tester.types()
    #expect(again == [[UInt8]](repeating: [ChunkType.cookieEcho], count: 3))
    #expect(tester.unit.events == [.closed(.connectTimedOut)])
  }

  @Test("1-4: an INIT leaves nothing behind before its COOKIE-ECHO comes")
  func noStateBeforeCookie() throws {
    var tester = Tester()
    for _ in 0..<100 { tester.hand(tag: 0, Tester.initiation()) }
    let association = (tester.unit.association.localTag, tester.unit.association.peerTag)
    #expect(association == (0, 0))
    let (state, deadline) = (tester.state, tester.unit.association.deadline)
    #expect(state == .closed && deadline == nil)
    #expect(tester.unit.events.isEmpty)
  }

  @Test("1-5-1: the tags of our INITs differ from one to the next")
  func tagsOfInits() throws {
    let tags = try (1...50).map { seed -> UInt32 in
      var tester = Tester(seed: UInt64(seed))
      tester.unit.association.connect(now: tester.now)
      return try tester.sent()[0].chunks[0].uint32(at: 0)
    }
    #expect(Set(tags).count == 50 && !tags.contains(0))
  }

  @Test("1-5-2: the tags of our INIT-ACKs differ from one to the next")
  func tagsOfInitAcks() throws {
    var tester = Tester()
    for _ in 0..<5 { tester.hand(tag: 0, Tester.initiation()) }
    let tags = try tester.sent().map { $0.chunks[0].uint32(at: 0) }
    #expect(tags.count == 5 && Set(tags).count == 5)
  }

  /// Parameters that mean something to others: addresses, cookie preservative, adaptation layer, random and HMAC lists.
  private static let assorted = [
    parameter(ParameterType.ipv4Address, [192, 0, 2, 1]), parameter(ParameterType.cookiePreservative, [0, 0, 16, 0]),
    parameter(ParameterType.supportedAddressTypes, [0, 5, 0, 6]),
    parameter(ParameterType.adaptationLayer, [0, 0, 0, 1]), parameter(0x8002, pattern(32)),
    parameter(0x8004, [0, 1]), parameter(0x8000),
  ].flatMap { $0 }

  @Test("1-6-1: an INIT with assorted optional parameters is accepted")
  func assortedInInit() throws {
    var tester = Tester()
    try bringUp(&tester, parameters: Self.assorted + Tester.extensions)
  }

  @Test("1-6-2: an INIT-ACK with assorted optional parameters is accepted")
  func assortedInInitAck() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck(parameters: Self.assorted + Tester.cookie + Tester.extensions))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieEcho]])
  }

  @Test("1-7-1: an INIT that takes fewer streams than we want limits what we send on")
  func fewerStreamsInInit() throws {
    let ack = try #require(try answer(to: Tester.initiation(inbound: 3)))
    #expect(ack.uint16(at: 8) == 3)
    var tester = Tester()
    try bringUp(&tester, Tester.initiation(inbound: 3))
    let count = tester.unit.association.outgoingStreamCount
    #expect(count == 3)
  }

  @Test("1-7-2: an INIT with no outbound streams is answered by ABORT: invalid mandatory parameter")
  func noStreamsInInit() throws {
    let abort = try #require(try answer(to: Tester.initiation(outbound: 0)))
    #expect(abort.type == ChunkType.abort && abort.causes == [CauseCode.invalidMandatoryParameter])
  }

  @Test("1-7-3: of what we ask and what the INIT-ACK takes, the smaller number of streams counts")
  func fewerStreamsInInitAck() throws {
    for (asked, taken, expected) in [(10, 4, 4), (4, 10, 4)] as [(UInt16, UInt16, UInt16)] {
      var tester = try connecting(.plain { $0.outboundStreams = asked })
      tester.hand(Tester.initAck(inbound: taken))
      tester.hand(rawChunk(ChunkType.cookieAck))
      let count = tester.unit.association.outgoingStreamCount
      #expect(count == expected)
    }
  }

  @Test("1-7-4: an INIT-ACK with no outbound streams ends the attempt with ABORT")
  func noStreamsInInitAck() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck(outbound: 0))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.abort]] && sent[0].tag == Tester.tag)
    #expect(sent[0].chunks[0].causes == [CauseCode.invalidMandatoryParameter])
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("1-7-5: two streams each way are negotiated exactly")
  func twoStreams() throws {
    let two = SCTPConfiguration.plain {
      $0.outboundStreams = 2
      $0.inboundStreams = 2
    }
    let ack = try #require(try answer(to: Tester.initiation(outbound: 2, inbound: 2), two))
    #expect(ack.uint16(at: 8) == 2 && ack.uint16(at: 10) == 2)
    var tester = try connecting(two)
    tester.hand(Tester.initAck(outbound: 2, inbound: 2))
    tester.hand(rawChunk(ChunkType.cookieAck))
    let count = tester.unit.association.outgoingStreamCount
    #expect(count == 2)
    #expect(throws: SCTPSendError.noSuchStream) { try tester.send([1], stream: 2) }
    try tester.send([1], stream: 1)
  }

  /// The unknown parameters that an INIT-ACK reports when the INIT had c0cc, `type`, c0cc.
  private func reported(_ type: UInt16) throws -> [[UInt8]] {
    let list = parameter(0xc0cc, [1, 1, 1, 1]) + parameter(type, [2, 2, 2, 2]) + parameter(0xc0cc, [3, 3, 3, 3])
    let ack = try #require(try answer(to: Tester.initiation(parameters: list)))
    #expect(ack.type == ChunkType.initiationAck)
    return ack.parameters.filter { $0.type == ParameterType.unrecognizedParameter }.map(\.value)
  }

  @Test("1-8-1: an unknown parameter with highest bits 11 is skipped and reported")
  func unknownSkipAndReport() throws {
    let values = try reported(0xc0cc)
    #expect(
      values == [
        parameter(0xc0cc, [1, 1, 1, 1]), parameter(0xc0cc, [2, 2, 2, 2]), parameter(0xc0cc, [3, 3, 3, 3]),
      ])
  }

  @Test("1-8-2: bits 00: the list ends there, and nothing is said of it")
  func unknownStop() throws {
    let values = try reported(0x00cc)
    #expect(values == [parameter(0xc0cc, [1, 1, 1, 1])])
  }

  @Test("1-8-3: bits 01: the list ends there, and it is reported")
  func unknownStopAndReport() throws {
    let values = try reported(0x40cc)
    #expect(values == [parameter(0xc0cc, [1, 1, 1, 1]), parameter(0x40cc, [2, 2, 2, 2])])
  }

  @Test("1-8-4: bits 10: it is skipped, and nothing is said of it")
  func unknownSkip() throws {
    let values = try reported(0x80cc)
    #expect(values == [parameter(0xc0cc, [1, 1, 1, 1]), parameter(0xc0cc, [3, 3, 3, 3])])
  }

  @Test("1-9-1: an INIT while up is answered with another tag, and the association lives on")
  func initWhileUp() throws {
    var tester = try Tester.established()
    tester.hand(tag: 0, Tester.initiation())
    let answers = try tester.sent()
    #expect(answers.map(\.types) == [[ChunkType.initiationAck]])
    let own = tester.unit.association.localTag
    #expect(answers[0].chunks[0].uint32(at: 0) != own)
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.received == [[1]])
  }

  @Test("1-10-1: an INIT without an address: the packet's way is the way back")
  func noAddressInInit() throws {
    var tester = Tester()
    try bringUp(&tester, parameters: [])
  }

  @Test("1-10-2: an INIT-ACK without an address; and ours has none")
  func noAddressInInitAck() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    let initiation = try tester.sent()[0].chunks[0]
    let addresses: Set<UInt16> = [ParameterType.ipv4Address, ParameterType.ipv6Address, ParameterType.hostNameAddress]
    #expect(addresses.isDisjoint(with: initiation.parameterTypes))
    tester.hand(Tester.initAck(parameters: Tester.cookie))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieEcho]])
  }

  /// One IPv4 and one IPv6 address.
  private static let addresses =
    parameter(ParameterType.ipv4Address, [192, 0, 2, 9]) + parameter(ParameterType.ipv6Address, pattern(16))

  // RFC 8261 §6.1: over DTLS addresses are neither sent nor looked at.
  @Test("1-11-1: an INIT with addresses: they are ignored, not reported, and the association comes up")
  func addressesInInit() throws {
    var tester = Tester()
    try bringUp(&tester, parameters: Self.addresses)
    let ack = try #require(try answer(to: Tester.initiation(parameters: Self.addresses)))
    #expect(!ack.parameterTypes.contains(ParameterType.unrecognizedParameter))
  }

  @Test("1-11-2: an INIT-ACK with addresses: they are ignored")
  func addressesInInitAck() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck(parameters: Self.addresses + Tester.cookie))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieEcho]])
  }

  private static let hostName = parameter(ParameterType.hostNameAddress, Array("example.org\0".utf8))

  @Test("1-12-1: an INIT with a host name is refused: unresolvable address")
  func hostNameInInit() throws {
    let abort = try #require(try answer(to: Tester.initiation(parameters: Self.hostName)))
    #expect(abort.type == ChunkType.abort && abort.causes == [CauseCode.unresolvableAddress])
  }

  @Test("1-12-2: an INIT-ACK with a host name is refused: unresolvable address")
  func hostNameInInitAck() throws {
    var tester = try connecting()
    tester.hand(Tester.initAck(parameters: Self.hostName + Tester.cookie))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.abort]])
    #expect(sent[0].chunks[0].causes == [CauseCode.unresolvableAddress])
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("1-13-1: supported address types that fit us: up")
  func fittingAddressTypes() throws {
    var tester = Tester()
    try bringUp(&tester, parameters: parameter(ParameterType.supportedAddressTypes, [0, 5, 0, 6]))
  }

  @Test("1-13-2: supported address types that fit nobody: up all the same")
  func strangeAddressTypes() throws {
    var tester = Tester()
    try bringUp(&tester, parameters: parameter(ParameterType.supportedAddressTypes, [0, 11]))
  }

  @Test("1-14-1: an INIT with tag 0 is dropped")
  func zeroTagInInit() throws {
    let answer = try answer(to: initChunk(tag: 0, parameters: Tester.extensions))
    #expect(answer == nil)
  }

  @Test("1-14-2: an INIT-ACK with tag 0 ends the attempt with ABORT")
  func zeroTagInInitAck() throws {
    var tester = try connecting()
    tester.hand(initChunk(tag: 0, parameters: Tester.cookie, type: ChunkType.initiationAck))
    let sent = try tester.sent()
    // There is no tag of the peer's: our own goes back, with the T bit.
    #expect(sent.map(\.types) == [[ChunkType.abort]] && sent[0].chunks[0].flags == 1)
    let state = tester.state
    #expect(state == .closed)
  }
}
