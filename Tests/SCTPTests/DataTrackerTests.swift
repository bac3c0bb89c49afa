// DataTrackerTests.swift — which TSNs have arrived, against a set that remembers them all; and the limits of a SACK.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct DataTrackerTests {
  @Test(
    "arrivals and skips in any order, around the end of the number space", arguments: 1...100 as ClosedRange<UInt64>)
  func againstSet(seed: UInt64) {
    var dice = RandomSource.seeded(state: seed)
    let start = TSN(rawValue: UInt32.max - UInt32(dice.next() % 3_000))
    var tracker = DataTracker(cumulativeTSN: start)
    var arrived: Set<Int> = []
    var cumulative = 0
    // How far things are apart: some seeds stay near, some go to the window's end.
    let reach = [20, 300, 5_000, 32_768][Int(seed % 4)]
    for _ in 0..<2_000 {
      let offset = cumulative + Int(dice.next() % UInt64(reach)) + 1 - (dice.next() % 8 == 0 ? 5 : 0)
      let tsn = start.advanced(by: UInt32(truncatingIfNeeded: offset))
      if dice.next() % 64 == 0, offset > cumulative {
        tracker.skip(to: tsn)
        cumulative = offset
        arrived = arrived.filter { $0 > offset }
        while arrived.remove(cumulative + 1) != nil { cumulative += 1 }
        _ = tracker.advance()
      } else {
        let isNew = offset > cumulative && !arrived.contains(offset)
        switch tracker.classify(tsn) {
        case .inOrder:
          #expect(isNew && offset == cumulative + 1, "seed \(seed)")
          tracker.acceptInOrder(tsn)
          _ = tracker.advance()
          cumulative += 1
          while arrived.remove(cumulative + 1) != nil { cumulative += 1 }
        case .beyondGap:
          #expect(isNew && offset > cumulative + 1, "seed \(seed)")
          tracker.acceptBeyondGap(tsn)
          arrived.insert(offset)
        case .duplicate: #expect(!isNew, "seed \(seed)")
        case .tooFarAhead: Issue.record("within the window, seed \(seed)")
        }
      }
      #expect(tracker.cumulativeTSN == start.advanced(by: UInt32(cumulative)), "seed \(seed)")
      #expect(tracker.hasGap == !arrived.isEmpty, "seed \(seed)")
    }
    var blocks: [GapBlock] = []
    for offset in arrived.sorted().map({ UInt16($0 - cumulative) }) {
      if let last = blocks.last, last.end + 1 == offset {
        blocks[blocks.count - 1].end = offset
      } else {
        blocks.append(GapBlock(start: offset, end: offset))
      }
    }
    #expect(tracker.gapBlocks(limit: 1_000) == Array(blocks.prefix(DataTracker.maximumGapBlocks)), "seed \(seed)")
    #expect(tracker.gapBlocks(limit: 3) == Array(blocks.prefix(3)), "seed \(seed)")
  }

  @Test(
    "gap blocks: as many as fit a packet, and the first of them when there is one more", arguments: [280, 281, 5_000])
  func gapBlocks(count: Int) throws {
    var world = World.connected()
    for index in 0..<UInt32(count) {
      world.b.handle(craft(tag: world.b.association.localTag, data(world.tsn(2 + 2 * index), [1])), now: world.now)
    }
    let packet = try world.b.requirePacket(now: world.now)
    #expect(packet.count <= 1_188)
    let gaps = try sacks(of: packet)[0].gaps
    #expect(gaps.count == min(count, DataTracker.maximumGapBlocks))
    #expect(gaps.last == GapBlock(start: UInt16(2 * gaps.count), end: UInt16(2 * gaps.count)))
  }

  @Test("duplicates: at most 16 in a SACK, and with as many gaps as fit", arguments: [16, 17, 100])
  func duplicates(count: Int) throws {
    var world = World.connected()
    for index in 0..<UInt32(280) {
      world.b.handle(craft(tag: world.b.association.localTag, data(world.tsn(2 + 2 * index), [1])), now: world.now)
    }
    let old = world.tsn(0)
    for _ in 0..<count { world.inject(data(old, [1])) }
    let packet = try world.b.requirePacket(now: world.now)
    let first = try sacks(of: packet)[0]
    // A packet has room for 290 of both.
    #expect(packet.count == 1_188 && first.gaps.count == 280)
    #expect(first.duplicates == [TSN](repeating: old, count: 10))
    world.inject(forwardTSN(world.tsn(1_000)))
    for _ in 0..<count { world.inject(data(old, [1])) }
    let second = try sacks(of: try world.b.requirePacket(now: world.now))[0]
    #expect(second.gaps.isEmpty && second.duplicates.count == min(count, DataTracker.maximumDuplicates))
  }

  @Test("the end of a gap is told at once, and a batch with gaps is answered by one SACK")
  func answers() throws {
    var world = World.connected()
    world.inject(data(world.tsn(1), [1], ssn: 0))
    _ = try world.answers()
    let first = world.tsn(1)
    for step in [1, 3, 5] as [UInt32] { world.inject(data(first.advanced(by: step), [1], ssn: UInt16(1 + step))) }
    let one = world.b.packets(now: world.now)
    #expect(try one.map { try sacks(of: $0).map(\.gaps.count) } == [[3]])
    for step in [0, 2, 4] as [UInt32] { world.inject(data(first.advanced(by: step), [1], ssn: UInt16(1 + step))) }
    let closing = world.b.packets(now: world.now)
    #expect(try closing.map { try sacks(of: $0).map(\.tsn) } == [[first.advanced(by: 5)]])
    world.inject(data(world.tsn(2), [1], ssn: 8))
    _ = try world.answers()
    // A lone chunk that closes the only gap.
    world.inject(data(world.tsn(1), [1], ssn: 7))
    let answer = try world.answers()
    #expect(answer.map { $0.map(\.type) } == [[ChunkType.sack]])
  }
}
