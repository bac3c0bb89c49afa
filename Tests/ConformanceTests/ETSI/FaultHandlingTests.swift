// FaultHandlingTests.swift — ETSI TS 102 369, group FH: failure detection and packets out of the blue (RFC 9260 §8).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI FH: fault handling") struct FaultHandlingTests {
  @Test("5-1-1: nothing acknowledged up to the limit: the association ends, and that is reported")
  func limitReached() throws {
    var tester = try Tester.established(.plain { $0.maximumRetransmits = 4 })
    try tester.send([1])
    tester.wait(.seconds(60))
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
    let headers = try tester.dataSent()
    #expect(Set(headers.map(\.tsn)).count == 1 && headers.count >= 5)
    let state = tester.state
    #expect(state == .closed)
  }

  @Test("5-1-2: an acknowledgement before the limit starts the count anew")
  func acknowledgedBeforeLimit() throws {
    var tester = try Tester.established(.plain { $0.maximumRetransmits = 4 })
    for round in 0..<4 {
      try tester.send([UInt8(round)])
      // Two expiries or more in each round.
      tester.wait(.seconds(2))
      let sent = try tester.dataSent()
      #expect(sent.count >= 3)
      tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
      let state = tester.state
      #expect(state == .established)
    }
    #expect(tester.unit.events.isEmpty)
  }

  @Test("5-2: HEARTBEAT while up: HEARTBEAT-ACK with the same information")
  func heartbeat() throws {
    var tester = try Tester.established()
    for length in [0, 1, 4, 40, 1_000] {
      let information = parameter(ParameterType.heartbeatInfo, pattern(length, length))
      tester.hand(rawChunk(ChunkType.heartbeat, information))
      let sent = try tester.sent()
      #expect(sent.map(\.types) == [[ChunkType.heartbeatAck]] && sent[0].chunks[0].value == information)
    }
  }

  /// What is answered to a packet for an association that is gone.
  private func answersOutOfTheBlue(_ chunks: [UInt8]...) throws -> [Seen] {
    var tester = try Tester.established()
    tester.unit.association.abort(now: tester.now)
    _ = try tester.sent()
    tester.deliver(craft(tag: 0x99, chunks))
    return try tester.sent()
  }

  // RFC 9260 §8.4 would have the same before `connect`, too: there nothing is answered (see 4-6-2).
  @Test("5-3-1: DATA out of the blue: ABORT with its tag and the T bit")
  func dataOutOfTheBlue() throws {
    let sent = try answersOutOfTheBlue(data(TSN(rawValue: 1), [1]))
    #expect(sent.map(\.types) == [[ChunkType.abort]] && sent[0].tag == 0x99 && sent[0].chunks[0].flags == 1)
  }

  @Test("5-3-2: ABORT out of the blue, alone or behind something else: no answer")
  func abortOutOfTheBlue() throws {
    let alone = try answersOutOfTheBlue(rawChunk(ChunkType.abort))
    #expect(alone.isEmpty)
    let bundled = try answersOutOfTheBlue(rawChunk(ChunkType.heartbeat, [0, 1, 0, 4]), rawChunk(ChunkType.abort))
    #expect(bundled.isEmpty)
  }

  @Test("5-3-3: SHUTDOWN-ACK out of the blue: SHUTDOWN-COMPLETE with its tag and the T bit")
  func shutdownAckOutOfTheBlue() throws {
    let sent = try answersOutOfTheBlue(rawChunk(ChunkType.shutdownAck))
    #expect(sent.map(\.types) == [[ChunkType.shutdownComplete]] && sent[0].tag == 0x99 && sent[0].chunks[0].flags == 1)
    // Before `connect` as well: it tells a peer that survived a crash of ours that it may go.
    var tester = Tester()
    tester.hand(tag: 0x98, rawChunk(ChunkType.shutdownAck))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownComplete]])
  }

  @Test("5-3-4: SHUTDOWN-COMPLETE out of the blue: no answer")
  func shutdownCompleteOutOfTheBlue() throws {
    let sent = try answersOutOfTheBlue(rawChunk(ChunkType.shutdownComplete))
    #expect(sent.isEmpty)
  }

  @Test("5-3-4: COOKIE-ACK and ERROR stale cookie out of the blue: no answer either")
  func lateHandshakeOutOfTheBlue() throws {
    let acknowledged = try answersOutOfTheBlue(rawChunk(ChunkType.cookieAck))
    let stale = try answersOutOfTheBlue(rawChunk(ChunkType.error, [0, 3, 0, 8, 0, 0, 0, 1]))
    #expect(acknowledged.isEmpty && stale.isEmpty)
  }
}
