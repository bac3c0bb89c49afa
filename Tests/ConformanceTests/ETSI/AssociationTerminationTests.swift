// AssociationTerminationTests.swift — ETSI TS 102 369, group AT: ending an association (RFC 9260 §9).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI AT: association termination") struct AssociationTerminationTests {
  /// A unit that has sent one message and not been told that it arrived.
  private func sending() throws -> Tester {
    var tester = try Tester.established()
    try tester.send([1, 2, 3])
    tester.wait(.milliseconds(20))
    let sent = try tester.dataSent()
    #expect(sent.count == 1)
    return tester
  }

  private func refusesToSend(_ tester: inout Tester) {
    #expect(throws: SCTPSendError.closing) { try tester.send([9]) }
  }

  @Test("2-2: ABORT while up: closed, and reported with its cause")
  func aborted() throws {
    var tester = try Tester.established()
    tester.hand(rawChunk(ChunkType.abort, [0, 12, 0, 8] + Array("oops".utf8)))
    #expect(tester.unit.events == [.closed(.abortedByPeer(cause: CauseCode.userInitiatedAbort))])
    let (state, types) = (tester.state, try tester.types())
    #expect(state == .closed && types.isEmpty)
  }

  @Test("2-3: SHUTDOWN goes out only when everything sent is acknowledged")
  func shutdownAfterData() throws {
    var tester = try sending()
    let last = tester.unit.association.nextTSN.reversed(by: 1)
    tester.unit.association.shutdown(now: tester.now)
    tester.wait(.milliseconds(100))
    let early = try tester.types()
    let state = tester.state
    #expect(!early.have(ChunkType.shutdown) && state == .shutdownPending)
    tester.hand(sack(last))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdown]])
  }

  @Test("2-4: an unanswered SHUTDOWN is sent again when T2 expires")
  func shutdownLost() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    let first = try tester.types()
    #expect(first == [[ChunkType.shutdown]])
    tester.wait(.seconds(1))
    let again = try tester.types()
    #expect(again == [[ChunkType.shutdown]])
  }

  @Test("2-5: a SHUTDOWN that is never answered is given up, and that is reported")
  func shutdownNeverAnswered() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    tester.wait(.seconds(120))
    let types = try tester.types()
    #expect(types.filter { $0 == [ChunkType.shutdown] }.count == 11)
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
  }

  @Test("2-5: T5 ends what a peer that only asks for more keeps open")
  func shutdownGuard() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    // Data keeps T2 from ever running out.
    for n in 0..<1_000 as Range<UInt32> where tester.unit.events.isEmpty {
      tester.hand(data(tester.tsn(n), [1], ssn: UInt16(n)))
      tester.wait(.milliseconds(200))
    }
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
    let types = try tester.types()
    #expect(types.last == [ChunkType.abort])
  }

  @Test("2-6: SHUTDOWN-ACK in SHUTDOWN-SENT: SHUTDOWN-COMPLETE, and closed")
  func shutdownAck() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    _ = try tester.sent()
    tester.hand(rawChunk(ChunkType.shutdownAck))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.shutdownComplete]])
    #expect(sent[0].tag == Tester.tag && sent[0].chunks[0].flags == 0)
    #expect(tester.unit.events == [.closed(.shutdown)])
  }

  @Test("2-7-1: the user's message is refused in SHUTDOWN-SENT")
  func sendInShutdownSent() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    let state = tester.state
    #expect(state == .shutdownSent)
    refusesToSend(&tester)
  }

  @Test("2-7-2: the user's message is refused in SHUTDOWN-RECEIVED")
  func sendInShutdownReceived() throws {
    var tester = try sending()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 2)))
    let state = tester.state
    #expect(state == .shutdownReceived)
    refusesToSend(&tester)
  }

  @Test("2-7-3: the user's message is refused in SHUTDOWN-PENDING")
  func sendInShutdownPending() throws {
    var tester = try sending()
    tester.unit.association.shutdown(now: tester.now)
    let state = tester.state
    #expect(state == .shutdownPending)
    refusesToSend(&tester)
  }

  @Test("2-7-4: the user's message is refused in SHUTDOWN-ACK-SENT")
  func sendInShutdownAckSent() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    let state = tester.state
    #expect(state == .shutdownAckSent)
    refusesToSend(&tester)
  }

  @Test("2-8: DATA in SHUTDOWN-SENT is taken, answered by SACK and SHUTDOWN, and T2 begins anew")
  func dataInShutdownSent() throws {
    var tester = try Tester.established()
    tester.unit.association.shutdown(now: tester.now)
    tester.wait(.milliseconds(200))
    _ = try tester.sent()
    tester.hand(data(tester.tsn(0), [5]))
    let at = tester.now
    let answers = try tester.sent()
    let types = answers.flatMap(\.types)
    #expect(Set(types) == [ChunkType.sack, ChunkType.shutdown])
    let repeated = try #require(answers.flatMap(\.chunks).first { $0.type == ChunkType.shutdown })
    #expect(repeated.uint32(at: 0) == tester.tsn(0).rawValue)
    #expect(tester.received == [[5]])
    // T2 would have run out here had it not begun anew.
    tester.wait(.seconds(2))
    let next = try #require(try tester.sent().first)
    #expect(next.types == [ChunkType.shutdown] && next.at - at >= .milliseconds(250))
  }

  @Test("2-9: DATA in SHUTDOWN-RECEIVED is ignored")
  func dataInShutdownReceived() throws {
    var tester = try sending()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 2)))
    _ = try tester.sent()
    tester.hand(data(tester.tsn(0), [5]))
    let types = try tester.types()
    #expect(tester.received.isEmpty && !types.have(ChunkType.sack))
  }

  @Test("2-10: SHUTDOWN while our data is unacknowledged: first the data, then SHUTDOWN-ACK")
  func shutdownWithDataOutstanding() throws {
    var tester = try sending()
    let last = tester.unit.association.nextTSN.reversed(by: 1)
    tester.hand(shutdown(last.reversed(by: 1)))
    let early = try tester.types()
    #expect(!early.have(ChunkType.shutdownAck))
    tester.wait(.seconds(2))
    let again = try tester.dataSent()
    #expect(again.contains { $0.tsn == last })
    tester.hand(sack(last))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownAck]])
  }

  @Test("2-11: an unanswered SHUTDOWN-ACK is sent again when T2 expires")
  func shutdownAckLost() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    let first = try tester.types()
    #expect(first == [[ChunkType.shutdownAck]])
    tester.wait(.seconds(1))
    let again = try tester.types()
    #expect(again == [[ChunkType.shutdownAck]])
  }

  @Test("2-12: a SHUTDOWN-ACK that is never answered is given up, and that is reported")
  func shutdownAckNeverAnswered() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    tester.wait(.seconds(120))
    let types = try tester.types()
    #expect(types.filter { $0 == [ChunkType.shutdownAck] }.count == 11)
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
  }

  @Test("2-13: SHUTDOWN-COMPLETE in SHUTDOWN-ACK-SENT: closed")
  func shutdownComplete() throws {
    var tester = try Tester.established()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    _ = try tester.sent()
    tester.hand(rawChunk(ChunkType.shutdownComplete))
    #expect(tester.unit.events == [.closed(.shutdown)])
    let types = try tester.types()
    #expect(types.isEmpty)
  }

  @Test("2-14: a SHUTDOWN whose cumulative TSN covers all our data counts as the acknowledgement")
  func shutdownAcknowledges() throws {
    var tester = try sending()
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    let types = try tester.types()
    #expect(types == [[ChunkType.shutdownAck]])
    let buffered = tester.unit.association.statistics.bytesInFlight
    #expect(buffered == 0)
  }
}
