// TrackerTests.swift — dcSCTP's scenarios of the data tracker, as a peer sees them: which TSNs its SACKs name, and when they go.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP data tracker") struct TrackerTests {
  /// Hands the unit these TSNs, counted from 1, each an unordered message of its own.
  private func receive(_ tester: inout Tester, _ tsns: [UInt32]) {
    for n in tsns { tester.hand(data(tester.tsn(n - 1), [UInt8(truncatingIfNeeded: n)], flags: [.whole, .unordered])) }
  }

  /// The last SACK, its cumulative TSN counted in the same way.
  private func lastSack(_ tester: inout Tester) throws -> (cumulative: UInt32, gaps: [[UInt16]], duplicates: [UInt32]) {
    let last = try #require(try tester.sent().flatMap { try sacks(of: $0.bytes) }.last)
    let base = tester.tsn(0).reversed(by: 1)
    return (
      last.tsn.distance(from: base), last.gaps.map { [$0.start, $0.end] },
      last.duplicates.map { $0.distance(from: base) }
    )
  }

  struct Row: Sendable, CustomTestStringConvertible {
    var tsns: [UInt32]
    var cumulative: UInt32
    var gaps: [[UInt16]]
    var testDescription: String { "\(tsns)" }
  }

  /// Blocks that appear, grow at either end, merge, and are swallowed by the cumulative TSN.
  static let rows: [Row] = [
    Row(tsns: [1, 3], cumulative: 1, gaps: [[2, 2]]),
    Row(tsns: [1, 3, 4], cumulative: 1, gaps: [[2, 3]]),
    Row(tsns: [1, 4, 3], cumulative: 1, gaps: [[2, 3]]),
    Row(tsns: [1, 3, 5], cumulative: 1, gaps: [[2, 2], [4, 4]]),
    Row(tsns: [1, 5, 3], cumulative: 1, gaps: [[2, 2], [4, 4]]),
    Row(tsns: [1, 3, 5, 4], cumulative: 1, gaps: [[2, 4]]),
    Row(tsns: [1, 3, 5, 7], cumulative: 1, gaps: [[2, 2], [4, 4], [6, 6]]),
    Row(tsns: [1, 3, 7, 5], cumulative: 1, gaps: [[2, 2], [4, 4], [6, 6]]),
    Row(tsns: [1, 3, 5, 7, 4], cumulative: 1, gaps: [[2, 4], [6, 6]]),
    Row(tsns: [1, 3, 5, 7, 6], cumulative: 1, gaps: [[2, 2], [4, 6]]),
    Row(tsns: [1, 3, 5, 7, 4, 6], cumulative: 1, gaps: [[2, 6]]),
    Row(tsns: [1, 3, 5, 7, 2], cumulative: 3, gaps: [[2, 2], [4, 4]]),
    Row(tsns: [1, 3, 4, 5, 7, 2], cumulative: 5, gaps: [[2, 2]]),
    Row(tsns: [1, 3, 2, 5], cumulative: 3, gaps: [[2, 2]]),
    Row(tsns: [3, 5, 1], cumulative: 1, gaps: [[2, 2], [4, 4]]),
    Row(tsns: [3], cumulative: 0, gaps: [[3, 3]]),
    // RFC 9260 §3.3.4: 10, 11, 12, 14, 15, 17 have come.
    Row(tsns: [1, 2, 3, 5, 6, 8], cumulative: 3, gaps: [[2, 3], [5, 5]]),
  ]

  @Test("gap blocks in every position", arguments: rows)
  func gapBlocks(row: Row) throws {
    var tester = try Tester.established()
    receive(&tester, row.tsns)
    let seen = try lastSack(&tester)
    #expect(seen.cumulative == row.cumulative && seen.gaps == row.gaps)
  }

  @Test(
    "the blocks are the same whatever the order of arrival, over the wrap of the TSN as well",
    arguments: 1...20 as ClosedRange<UInt64>)
  func anyOrder(seed: UInt64) throws {
    var dice = RandomSource.seeded(state: seed)
    var tester = try Tester.established()
    var tsns = (1...40).filter { _ in dice.next() % 3 != 0 }.map { UInt32($0) }
    for i in tsns.indices.dropFirst() { tsns.swapAt(i, Int(dice.next() % UInt64(i + 1))) }
    receive(&tester, tsns + [42])
    let all = Set(tsns + [42])
    let cumulative = UInt32((0...42).prefix { $0 == 0 || all.contains(UInt32($0)) }.count - 1)
    var gaps: [[UInt16]] = []
    for n in all.sorted() where n > cumulative {
      let offset = UInt16(n - cumulative)
      if let last = gaps.last, last[1] == offset - 1 {
        gaps[gaps.count - 1][1] = offset
      } else {
        gaps.append([offset, offset])
      }
    }
    let seen = try lastSack(&tester)
    #expect(seen.cumulative == cumulative && seen.gaps == gaps)
  }

  // RFC 3758 §3.6: with 102 as the cumulative TSN, 104, 105 and 107 here; FORWARD-TSN 103.
  @Test("the example of RFC 3758 §3.6: the skip reaches what has come already")
  func exampleOfPartialReliability() throws {
    var tester = try Tester.established()
    receive(&tester, [1, 2, 4, 5, 7])
    tester.hand(forwardTSN(tester.tsn(2)))
    let seen = try lastSack(&tester)
    #expect(seen.cumulative == 5 && seen.gaps == [[2, 2]])
  }

  @Test(
    "FORWARD-TSN at, behind and before what has come",
    arguments: [
      (1, 1, [[2, 3], [5, 5]]), (2, 4, [[2, 2]]), (3, 4, [[2, 2]]), (4, 4, [[2, 2]]), (5, 6, []), (6, 6, []),
      (9, 9, []),
    ] as [(UInt32, UInt32, [[UInt16]])])
  func forward(target: UInt32, cumulative: UInt32, gaps: [[UInt16]]) throws {
    var tester = try Tester.established()
    receive(&tester, [1, 3, 4, 6])
    tester.hand(forwardTSN(tester.tsn(target - 1)))
    let seen = try lastSack(&tester)
    #expect(seen.cumulative == cumulative && seen.gaps == gaps)
  }

  @Test("a TSN is taken only within the window ahead")
  func window() throws {
    for (ahead, isTaken) in [(1, true), (2, true), (1_000, true), (100_000, false), (0x7fff_ffff, false)]
      as [(UInt32, Bool)]
    {
      var tester = try Tester.established()
      tester.hand(data(tester.tsn(ahead - 1), [1], flags: [.whole, .unordered]))
      #expect(tester.received.isEmpty != isTaken, "\(ahead)")
    }
  }

  @Test("a lone packet is answered after a while, the second at once")
  func everySecond() throws {
    var tester = try Tester.established()
    receive(&tester, [1])
    _ = try tester.sent()
    receive(&tester, [2])
    let early = try tester.types()
    #expect(early.isEmpty)
    tester.wait(.milliseconds(200))
    let late = try lastSack(&tester)
    #expect(late.cumulative == 2)
    // Two before the owner looks for what is due.
    for n in [2, 3] as [UInt32] {
      tester.unit.handle(
        craft(tag: tester.unit.association.localTag, data(tester.tsn(n), [1], flags: [.whole, .unordered])),
        now: tester.now)
    }
    let at = tester.now
    let both = try tester.sent()
    #expect(both.map(\.types) == [[ChunkType.sack]] && both[0].at == at)
  }

  @Test("while something is missing every packet is answered at once")
  func everyOneOnLoss() throws {
    var tester = try Tester.established()
    receive(&tester, [1])
    _ = try tester.sent()
    for n in 3...8 as ClosedRange<UInt32> {
      receive(&tester, [n])
      let seen = try lastSack(&tester)
      #expect(seen.cumulative == 1 && seen.gaps == [[2, UInt16(n - 1)]])
    }
  }

  @Test("a duplicate is answered at once and named; each once, and not again in the next")
  func duplicates() throws {
    var tester = try Tester.established()
    receive(&tester, [1, 2, 4])
    _ = try tester.sent()
    receive(&tester, [2])
    var seen = try lastSack(&tester)
    #expect(seen.duplicates == [2])
    receive(&tester, [4])
    seen = try lastSack(&tester)
    #expect(seen.duplicates == [4])
    receive(&tester, [3])
    tester.wait(.milliseconds(200))
    seen = try lastSack(&tester)
    #expect(seen.cumulative == 4 && seen.duplicates.isEmpty)
  }

  @Test("however many gaps and duplicates there are, a SACK fits its packet and is true")
  func caps() throws {
    var tester = try Tester.established()
    for n in stride(from: 2, to: 4_000, by: 2) as StrideTo<UInt32> {
      let packet = craft(
        tag: tester.unit.association.localTag, data(tester.tsn(n - 1), [1], flags: [.whole, .unordered]))
      tester.unit.handle(packet, now: tester.now)
      tester.unit.handle(packet, now: tester.now)
    }
    let packets = try tester.sent()
    #expect(packets.allSatisfy { $0.byteCount <= 1_188 })
    let last = try #require(packets.flatMap(\.chunks).last { $0.type == ChunkType.sack })
    let seen = try #require(try packets.flatMap { try sacks(of: $0.bytes) }.last)
    #expect(last.uint32(at: 0) == tester.tsn(0).reversed(by: 1).rawValue && seen.gaps.count > 16)
    #expect(seen.gaps.enumerated().allSatisfy { $1.start == 2 + 2 * UInt16($0) && $1.end == $1.start })
  }
}
