// RetransmissionLimitTests.swift — dcSCTP's scenarios of giving a silent peer up (RFC 9260 §8.1).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP retransmission limits") struct RetransmissionLimitTests {
  private func sending(limit: Int) throws -> Tester {
    var tester = try Tester.established(.plain { $0.maximumRetransmits = limit })
    try tester.send([1])
    tester.wait(.milliseconds(1))
    return tester
  }

  @Test("the association ends with the expiry that passes the limit", arguments: [0, 1, 2, 10])
  func ends(limit: Int) throws {
    var tester = try sending(limit: limit)
    tester.wait(.seconds(120))
    let timeouts = tester.unit.association.statistics.timeouts
    #expect(timeouts == limit + 1 && tester.unit.events == [.closed(.retransmissionLimit)])
    let pending = tester.unit.association.deadline
    #expect(pending == nil)
  }

  @Test("an answer to the very last transmission saves it", arguments: [1, 2, 10])
  func savedByTheLast(limit: Int) throws {
    var tester = try sending(limit: limit)
    for _ in 0..<20_000 where tester.unit.association.statistics.timeouts < limit { tester.wait(.milliseconds(10)) }
    tester.wait(.milliseconds(1))
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    tester.wait(.seconds(20))
    let state = tester.state
    #expect(state == .established && tester.unit.events.isEmpty)
  }

  @Test("an acknowledgement of anything new starts the count anew, a repeated one does not")
  func counts() throws {
    var tester = try Tester.established(.plain { $0.maximumRetransmits = 3 })
    for i in 0..<6 { try tester.send(pattern(1_000, i)) }
    tester.wait(.milliseconds(20))
    let tsns = try tester.dataSent().map(\.tsn)
    for tsn in tsns {
      let before = tester.unit.association.statistics.timeouts
      for _ in 0..<20_000 where tester.unit.association.statistics.timeouts < before + 2 {
        tester.wait(.milliseconds(10))
      }
      tester.hand(sack(tsn))
      let state = tester.state
      #expect(state == .established)
    }
    try tester.send([1])
    for _ in 0..<1_000 where tester.state == .established {
      tester.wait(.milliseconds(100))
      tester.hand(sack(tsns[5]))
    }
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
  }

  @Test("the user's side: nothing is taken any more, and nothing is left waiting")
  func afterwards() throws {
    var tester = try sending(limit: 1)
    try tester.send(pattern(100_000))
    tester.wait(.seconds(60))
    #expect(throws: SCTPSendError.closing) { try tester.send([1]) }
    let (buffered, quiet) = (tester.unit.association.bufferedTotal, tester.unit.association.isQuiet)
    #expect(buffered == 0 && quiet)
  }
}
