// RetransmissionTimerTests.swift — ETSI TS 102 369, group RT: the retransmission timer (RFC 9260 §6.3).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI RT: retransmission timer") struct RetransmissionTimerTests {
  /// The suite's figures: RTO.Min 0.1 s and RTO.Max 0.8 s.
  private static let timers = SCTPConfiguration.plain {
    $0.initialRTO = .milliseconds(100)
    $0.minimumRTO = .milliseconds(100)
    $0.maximumRTO = .milliseconds(800)
    $0.maximumBackoff = .milliseconds(800)
  }

  /// The timeouts that T3 had, expiry after expiry, in milliseconds.
  private func timeouts(_ tester: inout Tester, _ count: Int) throws -> [Int64] {
    try tester.send([1])
    tester.wait(.milliseconds(1))
    var result: [Int64] = []
    var expiries = tester.unit.association.statistics.timeouts
    for _ in 0..<10_000 where result.count < count {
      result.append(tester.unit.association.statistics.retransmissionTimeout.nanoseconds / 1_000_000)
      while tester.unit.association.statistics.timeouts == expiries, tester.state == .established {
        tester.wait(.milliseconds(5))
      }
      expiries += 1
    }
    return result
  }

  @Test("rt-11-1: the timeout doubles with every expiry, and stays at RTO.Max")
  func doubles() throws {
    var tester = try Tester.established(Self.timers)
    let seen = try timeouts(&tester, 5)
    #expect(seen == [100, 200, 400, 800, 800])
  }

  @Test("rt-11-2: it is what it was before, once something new has been acknowledged, and doubles again")
  func startsAnew() throws {
    var tester = try Tester.established(Self.timers)
    _ = try timeouts(&tester, 4)
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1)))
    _ = try tester.sent()
    let seen = try timeouts(&tester, 5)
    #expect(seen == [100, 200, 400, 800, 800])
  }
}
