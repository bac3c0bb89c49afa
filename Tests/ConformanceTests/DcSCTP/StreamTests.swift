// StreamTests.swift — dcSCTP's scenarios of resetting streams, and packetdrill's of RE-CONFIG, active and passive (RFC 6525).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP streams") struct StreamTests {
  /// The responses that the unit has sent: number and result.
  private func responses(_ tester: inout Tester) throws -> [[UInt32]] {
    try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.reconfig && $0.uint16(at: 0) == 16 }
      .map { [$0.uint32(at: 4), $0.uint32(at: 8)] }
  }

  /// The requests to reset its own streams that the unit has sent.
  private func requests(_ tester: inout Tester) throws -> [(number: UInt32, response: UInt32, streams: [UInt8])] {
    try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.reconfig && $0.uint16(at: 0) == 13 }
      .map { ($0.uint32(at: 4), $0.uint32(at: 8), Array($0.value.dropFirst(16).prefix(Int($0.uint16(at: 2)) - 16))) }
  }

  private func respond(_ tester: inout Tester, _ number: UInt32, _ result: ReconfigResult) {
    tester.hand(
      collectBytes(capacity: 16) { out in
        ReconfigResponse(number: RequestNumber(rawValue: number), result: result).write(into: &out)
      })
  }

  private func request(_ type: UInt16, _ number: UInt32, _ rest: [UInt8]) -> [UInt8] {
    rawChunk(ChunkType.reconfig, parameter(type, bigEndian(number) + rest))
  }

  @Test("after a reset the stream's numbers begin at 0, and only those of the streams that were named")
  func onlyRequested() throws {
    var world = World.connected(a: .plain, b: .plain)
    for stream in [1, 2, 3] as [UInt16] {
      try world.a.association.send(OutgoingMessage(stream, [1]), now: world.now)
    }
    world.settle()
    world.a.association.resetStreams([1, 3], now: world.now)
    world.settle()
    #expect(world.a.events == [.outgoingStreamsReset([1, 3])] && world.b.events == [.incomingStreamsReset([1, 3])])
    world.log.removeAll()
    for stream in [1, 2, 3] as [UInt16] {
      try world.a.association.send(OutgoingMessage(stream, [2]), now: world.now)
    }
    world.settle()
    let numbers = try world.log.flatMap { try dataHeaders(of: $0.packet) }.reduce(into: [UInt16: UInt16]()) {
      $0[$1.stream] = $1.ssn.rawValue
    }
    #expect(numbers == [1: 0, 2: 1, 3: 0])
    #expect(world.b.messages.map(\.payload) == [[1], [1], [1], [2], [2], [2]])
  }

  @Test("a reset waits until everything on the stream is acknowledged, not for other streams")
  func waitsForTheStream() throws {
    var tester = try Tester.established()
    try tester.send([1], stream: 1)
    tester.wait(.milliseconds(5))
    _ = try tester.sent()
    tester.unit.association.resetStreams([1], now: tester.now)
    tester.wait(.milliseconds(20))
    var sent = try requests(&tester)
    #expect(sent.isEmpty)
    let tsn = tester.unit.association.nextTSN.reversed(by: 1)
    try tester.send([2], stream: 2)
    tester.wait(.milliseconds(5))
    _ = try tester.sent()
    tester.hand(sack(tsn))
    sent = try requests(&tester)
    #expect(sent.count == 1 && sent.first?.streams == [0, 1])
  }

  @Test("two or three streams closed at once share a request", arguments: [2, 3] as [UInt16])
  func several(count: UInt16) throws {
    var tester = try Tester.established()
    tester.unit.association.resetStreams((1...count).map { $0 }, now: tester.now)
    let sent = try requests(&tester)
    #expect(sent.count == 1 && sent[0].streams.count == 2 * Int(count))
    respond(&tester, sent[0].number, .performed)
    #expect(tester.unit.events == [.outgoingStreamsReset((1...count).map { $0 })])
  }

  @Test("closed while a request is out: the next one waits for the answer, and has the next number")
  func whilePending() throws {
    var tester = try Tester.established()
    tester.unit.association.resetStreams([1], now: tester.now)
    let first = try requests(&tester)
    tester.unit.association.resetStreams([2], now: tester.now)
    tester.unit.association.resetStreams([1, 3], now: tester.now)
    tester.wait(.milliseconds(10))
    let none = try requests(&tester)
    #expect(first.count == 1 && none.isEmpty)
    respond(&tester, first[0].number, .performed)
    let second = try requests(&tester)
    #expect(second.count == 1 && second[0].number == first[0].number &+ 1 && second[0].streams == [0, 2, 0, 3])
    respond(&tester, second[0].number, .performed)
    #expect(tester.unit.events == [.outgoingStreamsReset([1]), .outgoingStreamsReset([2, 3])])
  }

  @Test("a stream takes no message while it is reset, and all others do")
  func pausedSender() throws {
    var tester = try Tester.established()
    tester.unit.association.resetStreams([1], now: tester.now)
    #expect(throws: SCTPSendError.streamResetting) { try tester.send([1], stream: 1) }
    try tester.send([2], stream: 2)
    let number = try requests(&tester)[0].number
    respond(&tester, number, .performed)
    try tester.send([1], stream: 1)
    tester.wait(.milliseconds(10))
    let headers = try tester.dataSent()
    #expect(headers.map(\.stream) == [1] && headers[0].ssn.rawValue == 0)
  }

  @Test("packetdrill: an incoming reset request makes us reset those streams, once what waits on them is acknowledged")
  func incomingReset() throws {
    var tester = try Tester.established()
    try tester.send([1], stream: 4)
    tester.wait(.milliseconds(10))
    _ = try tester.sent()
    let number = Tester.initialTSN
    tester.hand(request(14, number, [0, 4, 0, 5]))
    let answers = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.reconfig }
    // Stream 5 is dry, and can be reset at once.
    #expect(answers.contains { $0.uint16(at: 0) == 16 && $0.uint32(at: 4) == number && $0.uint32(at: 8) == 1 })
    let first = try #require(answers.first { $0.uint16(at: 0) == 13 })
    #expect(first.uint32(at: 8) == number && Array(first.value[16..<18]) == [0, 5])
    #expect(throws: SCTPSendError.streamResetting) { try tester.send([1], stream: 4) }
    respond(&tester, first.uint32(at: 4), .performed)
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    let second = try requests(&tester)
    #expect(second.count == 1 && second[0].streams == [0, 4] && second[0].response == number)
    respond(&tester, second[0].number, .performed)
    #expect(tester.unit.events == [.outgoingStreamsReset([5]), .outgoingStreamsReset([4])])
    try tester.send([1], stream: 4)
    tester.wait(.milliseconds(10))
    let headers = try tester.dataSent()
    #expect(headers.map(\.ssn.rawValue) == [0])
  }

  @Test("packetdrill: an incoming reset request that is repeated is answered again and done once")
  func incomingResetRepeated() throws {
    var tester = try Tester.established()
    let number = Tester.initialTSN
    for round in 0..<3 {
      tester.hand(request(14, number, [0, 4]))
      let answers = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.reconfig }
      #expect(answers.filter { $0.uint16(at: 0) == 16 }.map { $0.uint32(at: 8) } == [1])
      #expect(answers.filter { $0.uint16(at: 0) == 13 }.count == (round == 0 ? 1 : 0))
    }
  }

  @Test("packetdrill: an incoming reset of streams that we do not have is refused: wrong SSN; of all streams: denied")
  func incomingResetRefused() throws {
    var tester = try Tester.established()
    let number = Tester.initialTSN
    tester.hand(request(14, number, [0, 1, 0xff, 0xff]))
    tester.hand(request(14, number &+ 1, []))
    let answers = try responses(&tester)
    #expect(answers == [[number, ReconfigResult.wrongSSN.rawValue], [number &+ 1, ReconfigResult.denied.rawValue]])
    try tester.send([1], stream: 1)
  }

  @Test(
    "packetdrill: requests that we always refuse: SSN/TSN reset, add outgoing and incoming streams",
    arguments: [15, 17, 18] as [UInt16])
  func denied(type: UInt16) throws {
    var tester = try Tester.established()
    let number = Tester.initialTSN
    let rest: [UInt8] = type == 15 ? [] : [0, 2, 0, 0]
    for _ in 0..<2 { tester.hand(request(type, number, rest)) }
    var answers = try responses(&tester)
    #expect(answers == [[UInt32]](repeating: [number, ReconfigResult.denied.rawValue], count: 2))
    // The number is used up: the next request has the next one.
    tester.hand(request(type, number &+ 5, rest))
    tester.hand(resetRequest(number &+ 1, lastTSN: tester.tsn(0).reversed(by: 1), [3]))
    answers = try responses(&tester)
    #expect(answers == [[number &+ 5, ReconfigResult.badSequenceNumber.rawValue], [number &+ 1, 1]])
    #expect(tester.unit.events == [.incomingStreamsReset([3])])
  }

  @Test("packetdrill: two requests in one chunk are both answered, and both again when the chunk is repeated")
  func twoRequests() throws {
    var tester = try Tester.established()
    let number = Tester.initialTSN
    let outgoing = parameter(
      13, bigEndian(number) + bigEndian(0) + bigEndian(tester.tsn(0).rawValue) + [0, 1])
    let incoming = parameter(14, bigEndian(number &+ 1) + [0, 1])
    let chunk = rawChunk(ChunkType.reconfig, outgoing + incoming)
    // The first waits for data that is on its way.
    for _ in 0..<2 {
      tester.hand(chunk)
      let answers = try responses(&tester)
      #expect(answers == [[number, ReconfigResult.inProgress.rawValue], [number &+ 1, 1]])
    }
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.unit.events == [.incomingStreamsReset([1])])
    tester.hand(chunk)
    let answers = try responses(&tester)
    #expect(answers.suffix(2) == [[number, 1], [number &+ 1, 1]])
    #expect(tester.unit.events == [.incomingStreamsReset([1])])
  }

  @Test(
    "a reset that overtakes data is put off, and performed when the data has come or was skipped",
    arguments: [true, false])
  func deferred(skips: Bool) throws {
    var tester = try Tester.established()
    let number = Tester.initialTSN
    tester.hand(resetRequest(number, lastTSN: tester.tsn(1), [1]))
    var answers = try responses(&tester)
    #expect(answers == [[number, ReconfigResult.inProgress.rawValue]] && tester.unit.events.isEmpty)
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.unit.events.isEmpty)
    tester.hand(skips ? forwardTSN(tester.tsn(1), [(1, 1)]) : data(tester.tsn(1), [2], ssn: 1))
    #expect(tester.unit.events == [.incomingStreamsReset([1])])
    answers = try responses(&tester)
    #expect(answers == [[number, ReconfigResult.performed.rawValue]])
    tester.hand(data(tester.tsn(2), [3]))
    #expect(tester.received.last == [3])
  }

  @Test("RE-CONFIG towards a peer that does not speak it is not sent; the user is told")
  func notSpoken() throws {
    var tester = try Tester.established(parameters: Tester.cookie)
    tester.unit.association.resetStreams([1], now: tester.now)
    tester.wait(.seconds(5))
    let types = try tester.types()
    #expect(!types.have(ChunkType.reconfig) && tester.unit.events == [.outgoingResetFailed([1])])
    try tester.send([1], stream: 1)
  }

  @Test("a request that is cut short drops the packet", arguments: [13, 14, 15, 16, 17, 18] as [UInt16])
  func cutShort(type: UInt16) throws {
    var tester = try Tester.established()
    let before = tester.unit.association.statistics.packetsDropped
    tester.hand(rawChunk(ChunkType.reconfig, parameter(type, [1, 2, 3])))
    let (after, types) = (tester.unit.association.statistics.packetsDropped, try tester.types())
    #expect(after == before + 1 && types.isEmpty && tester.unit.events.isEmpty)
  }
}
