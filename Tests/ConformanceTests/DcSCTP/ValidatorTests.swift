// ValidatorTests.swift — dcSCTP's scenarios of SACKs that make no sense. dcSCTP drops the blocks that are wrong, and sorts and
// merges the rest; ours is stricter, see the README's departures: what contradicts itself is ignored whole, because a
// peer that is wrong about one block is not believed about the others.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP validators") struct ValidatorTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var gaps: [[UInt16]]
    var isBelieved: Bool
    var testDescription: String { "\(gaps)" }
  }

  static let rows: [Row] = [
    Row(gaps: [], isBelieved: true),
    Row(gaps: [[2, 2]], isBelieved: true),
    Row(gaps: [[2, 4], [6, 8]], isBelieved: true),
    Row(gaps: [[2, 10]], isBelieved: true),
    Row(gaps: [[2, 3], [4, 5]], isBelieved: true),  // adjacent: two blocks where one would do
    Row(gaps: [[5, 2]], isBelieved: false),
    Row(gaps: [[0, 2]], isBelieved: false),
    Row(gaps: [[6, 8], [2, 4]], isBelieved: false),
    Row(gaps: [[2, 5], [4, 8]], isBelieved: false),
    Row(gaps: [[2, 5], [2, 5]], isBelieved: false),
    Row(gaps: [[2, 11]], isBelieved: false),  // one more than was sent
    Row(gaps: [[2, 65_535]], isBelieved: false),
    Row(gaps: [[65_535, 65_535]], isBelieved: false),
    Row(gaps: [[2, 4], [6, 65_535]], isBelieved: false),
  ]

  @Test("gap blocks", arguments: rows)
  func gapBlocks(row: Row) throws {
    var tester = try Tester.established(window: 100_000)
    for i in 0..<10 { try tester.send(pattern(1_000, i)) }
    tester.wait(.milliseconds(50))
    let tsns = try tester.dataSent().map(\.tsn)
    #expect(tsns.count == 10)
    let before = tester.unit.association.statistics
    tester.hand(sack(tsns[0].reversed(by: 1), window: 90_000, gaps: row.gaps.map { ($0[0], $0[1]) }))
    let after = tester.unit.association.statistics
    let named = row.isBelieved ? row.gaps.reduce(0) { $0 + Int($1[1] - $1[0]) + 1 } : 0
    #expect(before.bytesInFlight == 10_000)
    #expect((after.peerReceiverWindow == 90_000) == row.isBelieved)
    #expect(after.packetsDropped == before.packetsDropped + (row.isBelieved ? 0 : 1))
    // What was lost by the blocks is not in flight either.
    #expect(after.bytesInFlight <= 10_000 - 1_000 * named || named == 0 && after.bytesInFlight == 10_000)
    let consistent = tester.unit.association.isConsistent
    #expect(consistent)
    // And it all ends well.
    tester.hand(sack(tsns[9], window: 90_000))
    let flight = tester.unit.association.statistics.bytesInFlight
    #expect(flight == 0)
  }

  @Test(
    "a SACK that says more blocks or duplicates than it holds is dropped",
    arguments: [(1, 0), (0, 1), (65_535, 65_535), (2, 3)] as [(UInt16, UInt16)])
  func counts(blocks: UInt16, duplicates: UInt16) throws {
    var tester = try Tester.established()
    try tester.send([1])
    tester.wait(.milliseconds(5))
    let tsn = tester.unit.association.nextTSN.reversed(by: 1)
    let value =
      bigEndian(tsn.rawValue) + bigEndian(1_000) + Array(bigEndian(UInt32(blocks)).suffix(2))
      + Array(bigEndian(UInt32(duplicates)).suffix(2))
    tester.hand(rawChunk(ChunkType.sack, value))
    var flight = tester.unit.association.statistics.bytesInFlight
    #expect(flight == 1)
    tester.hand(sack(tsn))
    flight = tester.unit.association.statistics.bytesInFlight
    #expect(flight == 0)
  }
}
