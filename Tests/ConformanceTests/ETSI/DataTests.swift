// DataTests.swift — ETSI TS 102 369, group D: transfer of data (RFC 9260 §6).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI D: data") struct DataTests {
  /// Long enough for pacing to let a few packets out, and too short for any timer.
  private static let moment = Interval.milliseconds(20)

  private func sendAndSee(_ tester: inout Tester, _ payload: [UInt8]) throws -> [Seen] {
    try tester.send(payload)
    tester.wait(Self.moment)
    return try tester.sent()
  }

  /// The user data of all chunks, in the order in which they were sent.
  private func userData(_ packets: [Seen]) -> [UInt8] {
    packets.flatMap(\.chunks).filter { $0.type == ChunkType.data }.flatMap { $0.value.dropFirst(12) }
  }

  @Test("d-8-1: a message that fits a packet goes out in one chunk")
  func small() throws {
    var tester = try Tester.established()
    let sent = try sendAndSee(&tester, pattern(500))
    let headers = try sent.flatMap { try dataHeaders(of: $0.bytes) }
    #expect(headers.map(\.flags) == [.whole] && headers[0].stream == 1 && headers[0].ssn.rawValue == 0)
    #expect(userData(sent) == pattern(500))
  }

  @Test("d-8-2: a larger one is cut: B, then neither, then E, with consecutive TSNs and one SSN")
  func large() throws {
    var tester = try Tester.established()
    let sent = try sendAndSee(&tester, pattern(4_000))
    let headers = try sent.flatMap { try dataHeaders(of: $0.bytes) }
    #expect(headers.count > 3)
    #expect(headers.first?.flags == .begin && headers.last?.flags == .end)
    #expect(headers.dropFirst().dropLast().allSatisfy { $0.flags == [] })
    #expect(Set(headers.map(\.ssn)).count == 1)
    for (left, right) in zip(headers, headers.dropFirst()) { #expect(right.tsn == left.tsn.advanced(by: 1)) }
    #expect(userData(sent) == pattern(4_000))
    #expect(sent.allSatisfy { $0.byteCount <= SCTPConfiguration.plain.maximumPacketSize })
  }

  @Test("d-8-3: first, middle and last fragment are delivered as one message")
  func reassembled() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(0), [1, 2], flags: .begin))
    tester.hand(data(tester.tsn(1), [3], flags: []))
    #expect(tester.received.isEmpty)
    tester.hand(data(tester.tsn(2), [4, 5, 6], flags: .end))
    #expect(tester.received == [[1, 2, 3, 4, 5, 6]])
  }

  @Test("d-8-4: a SACK for what is outstanding releases it, and T3 does not fire")
  func acknowledged() throws {
    var tester = try Tester.established()
    _ = try sendAndSee(&tester, [1])
    let before = tester.unit.association.statistics.bytesInFlight
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    let after = tester.unit.association.statistics.bytesInFlight
    #expect(before == 1 && after == 0)
    tester.wait(.seconds(10))
    let (again, statistics) = (try tester.dataSent(), tester.unit.association.statistics)
    #expect(again.isEmpty && statistics.timeouts == 0 && statistics.chunksRetransmitted == 0)
  }

  @Test("d-8-5: T3 expires: sent again, RTO doubled, the congestion window one packet")
  func timerExpires() throws {
    var tester = try Tester.established()
    _ = try sendAndSee(&tester, [1])
    let timeout = tester.unit.association.statistics.retransmissionTimeout
    let tsn = tester.unit.association.nextTSN.reversed(by: 1)
    for _ in 0..<40 where tester.unit.association.statistics.timeouts == 0 { tester.wait(.milliseconds(50)) }
    let again = try tester.dataSent()
    #expect(!again.isEmpty && again.allSatisfy { $0.tsn == tsn })
    let statistics = tester.unit.association.statistics
    #expect(statistics.timeouts == 1)
    #expect(statistics.retransmissionTimeout == timeout * 2)
    #expect(statistics.congestionWindow <= SCTPConfiguration.plain.maximumPacketSize)
  }

  @Test("d-8-6: DATA that comes twice is delivered once, and the second is reported")
  func duplicate() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(0), [1]))
    _ = try tester.sent()
    tester.hand(data(tester.tsn(0), [1]))
    let seen = try tester.sent().flatMap { try sacks(of: $0.bytes) }
    #expect(seen.map(\.duplicates) == [[tester.tsn(0)]] && seen[0].tsn == tester.tsn(0))
    #expect(tester.received == [[1]])
  }

  /// The peer's window is shut: what is sent, and that it goes on for as long as the peer answers.
  private func probes(_ payload: [UInt8]) throws {
    var tester = try Tester.established(window: 1_500)
    // Fill the window, and let the peer say that it is full.
    try tester.send(pattern(1_000))
    try tester.send(payload)
    tester.wait(Self.moment)
    _ = try tester.sent()
    let full = tester.unit.association.nextTSN.reversed(by: 1)
    tester.hand(sack(full, window: 0))
    var times: [Instant] = []
    for _ in 0..<40 {
      tester.wait(.seconds(1))
      for packet in try tester.sent() {
        let headers = try dataHeaders(of: packet.bytes)
        #expect(headers.map(\.tsn) == [full.advanced(by: 1)], "one chunk, the same each time")
        times.append(packet.at)
      }
      tester.hand(sack(full, window: 0))
    }
    #expect(times.count >= 8, "it goes on for as long as the peer answers")
    #expect(times.count <= 80, "and is not sent with every answer")
    let (state, consistent) = (tester.state, tester.unit.association.isConsistent)
    #expect(state == .established && consistent)
    // The window opens.
    tester.hand(sack(full.advanced(by: 1), window: 100_000))
    tester.wait(.seconds(1))
    let rest = try tester.dataSent()
    #expect(rest.isEmpty == (payload.count <= 1_100))
  }

  @Test("d-8-7: the peer's window is shut: one chunk probes it, again and again, without an end")
  func windowShut() throws { try probes(pattern(900)) }

  @Test("d-8-8: the same in the middle of a fragmented message")
  func windowShutInMessage() throws { try probes(pattern(5_000)) }

  @Test("d-8-9: what must be sent again goes before what is new")
  func retransmissionsFirst() throws {
    var tester = try Tester.established()
    for i in 0..<4 { try tester.send(pattern(1_100, i)) }
    tester.wait(Self.moment)
    let first = try tester.dataSent()
    #expect(first.count == 4)
    // The timer expires; before anything goes out there is new data as well.
    for i in 4..<20 { try tester.send(pattern(1_100, i)) }
    tester.wait(Self.moment)
    _ = try tester.dataSent()
    while tester.unit.association.statistics.timeouts == 0 { tester.wait(.milliseconds(10)) }
    _ = try tester.dataSent()
    tester.hand(sack(first[0].tsn))
    tester.wait(Self.moment)
    let (next, highest) = (try tester.dataSent().map(\.tsn), first[3].tsn)
    let old = next.firstIndex { !$0.isAfter(highest) }
    let new = next.firstIndex { $0.isAfter(highest) }
    #expect(old == 0 && new.map { $0 > 0 } != false)
  }

  @Test("d-8-11: DATA without user data: ABORT no user data, with its TSN")
  func noUserData() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(0), []))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.abort]])
    #expect(sent[0].chunks[0].value == [0, 9, 0, 8] + bigEndian(tester.tsn(0).rawValue))
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("d-8-12: a SACK whose cumulative TSN lies behind is ignored")
  func oldSack() throws {
    var tester = try Tester.established()
    for i in 0..<4 { try tester.send(pattern(1_000, i)) }
    tester.wait(Self.moment)
    let tsns = try tester.dataSent().map(\.tsn)
    tester.hand(sack(tsns[1]))
    let before = tester.unit.association.statistics
    tester.hand(sack(tsns[0], window: 5, gaps: [(2, 2)]))
    let after = tester.unit.association.statistics
    #expect(before.bytesInFlight == 2_000 && after.bytesInFlight == 2_000)
    #expect(after.peerReceiverWindow == before.peerReceiverWindow)
    let consistent = tester.unit.association.isConsistent
    #expect(consistent)
  }

  private static let limited = SCTPConfiguration.plain {
    $0.maximumIncomingMessageSize = 10_000
    $0.maximumOutgoingMessageSize = 10_000
  }

  /// Hands the unit a message of this many bytes, in fragments.
  private func handMessage(_ tester: inout Tester, _ count: Int) {
    let payload = pattern(count)
    var at = 0
    var n: UInt32 = 0
    while at < count {
      let end = min(count, at + 1_000)
      let flags = DataFlags(rawValue: (at == 0 ? 2 : 0) | (end == count ? 1 : 0))
      tester.hand(data(tester.tsn(n), Array(payload[at..<end]), flags: flags))
      at = end
      n += 1
    }
  }

  @Test("d-8-13: the longest message that we announce is taken")
  func longestReceived() throws {
    var tester = try Tester.established(Self.limited)
    handMessage(&tester, 10_000)
    #expect(tester.received == [pattern(10_000)])
  }

  @Test("d-8-14: the longest message that the peer accepts is sent; a longer one is refused to the user")
  func longestSent() throws {
    var tester = try Tester.established(Self.limited)
    let sent = try sendAndSee(&tester, pattern(10_000))
    #expect(userData(sent) == pattern(10_000))
    #expect(throws: SCTPSendError.messageTooLarge) { try tester.send(pattern(10_001)) }
  }

  @Test("d-8-15: a message longer than we announce ends the association before it is complete")
  func tooLongReceived() throws {
    var tester = try Tester.established(Self.limited)
    handMessage(&tester, 10_001)
    let types = try tester.types()
    #expect(types.last == [ChunkType.abort] && tester.received.isEmpty)
    let state = tester.state
    #expect(state == .closed)
  }
}
