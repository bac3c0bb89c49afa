// AcknowledgementTests.swift — ETSI TS 102 369, group A: when a SACK is sent (RFC 9260 §6.2).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI A: acknowledgements") struct AcknowledgementTests {
  @Test("a-9-1: the first DATA after setup is acknowledged at once")
  func firstData() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(0), [1]))
    let seen = try tester.sent().flatMap { try sacks(of: $0.bytes) }
    #expect(seen.map(\.tsn) == [tester.tsn(0)])
  }

  @Test("a-9-2: one SACK covers all DATA of a packet")
  func severalInOnePacket() throws {
    var tester = try Tester.established()
    tester.hand(
      data(tester.tsn(0), [1]), data(tester.tsn(1), [2], ssn: 1), data(tester.tsn(2), [3], ssn: 2))
    let seen = try tester.sent().flatMap { try sacks(of: $0.bytes) }
    #expect(seen.map(\.tsn) == [tester.tsn(2)] && seen[0].gaps.isEmpty)
    #expect(tester.received == [[1], [2], [3]])
  }

  @Test("a-9-3: a gap is answered at once by a SACK with its block")
  func gap() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(0), [1]))
    _ = try tester.sent()
    tester.hand(data(tester.tsn(3), [4], ssn: 3))
    let seen = try tester.sent().flatMap { try sacks(of: $0.bytes) }
    #expect(seen.map(\.tsn) == [tester.tsn(0)] && seen[0].gaps == [GapBlock(start: 3, end: 3)])
  }
}
