// WrapTests.swift — Pion's scenarios of numbers that wrap, for the side that sends: its first TSN lies just before 2^32.
//
// An association draws its first TSN at random, and nothing else may choose it. The seeded source is a bijection, though:
// from the number of the draw and the value that is wanted, the seed follows.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("Pion wrap") struct WrapTests {
  private static let step: UInt64 = 0x9e37_79b9_7f4a_7c15

  private static func initialTSN(seed: UInt64) throws -> UInt32 {
    var tester = Tester(seed: seed)
    tester.unit.association.connect(now: tester.now)
    return try #require(try tester.sent().first?.chunks.first).uint32(at: 12)
  }

  /// What an odd factor is undone by, modulo 2^64 (Newton's iteration doubles the right bits).
  private static func inverse(_ factor: UInt64) -> UInt64 {
    (0..<6).reduce(factor) { result, _ in result &* (2 &- factor &* result) }
  }

  /// The state from which the source draws `value`.
  private static func state(drawing value: UInt64) -> UInt64 {
    var z = value
    z ^= z >> 31 ^ z >> 62
    z = z &* inverse(0x94d0_49bb_1331_11eb)
    z ^= z >> 27 ^ z >> 54
    z = z &* inverse(0xbf58_476d_1ce4_e5b9)
    return z ^ z >> 30 ^ z >> 60
  }

  /// A seed with which the first TSN is `wanted`.
  private static func seed(_ wanted: UInt32) throws -> UInt64 {
    let first = try initialTSN(seed: 7)
    var source = RandomSource.seeded(state: 7)
    let draw = try #require((1...1_000).first { _ in UInt32(truncatingIfNeeded: source.next()) == first })
    let seed = state(drawing: UInt64(wanted)) &- UInt64(draw) &* step
    let drawn = try initialTSN(seed: seed)
    #expect(drawn == wanted)
    return seed
  }

  private static func established(_ initialTSN: UInt32, _ configuration: SCTPConfiguration) throws -> Tester {
    var tester = Tester(configuration, seed: try seed(initialTSN))
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.hand(Tester.initAck())
    tester.hand(rawChunk(ChunkType.cookieAck))
    _ = try tester.sent()
    return tester
  }

  @Test(
    "the TSN wraps while it is sent, acknowledged, and acknowledged in gaps",
    arguments: [0xffff_ffff, 0xffff_fffe, 0xffff_fff0] as [UInt32])
  func sending(initialTSN: UInt32) throws {
    var tester = try Self.established(initialTSN, .plain)
    for i in 0..<20 { try tester.send(pattern(1_000, i)) }
    var seen: Set<TSN> = []
    var isLost = true
    for _ in 0..<400 where !tester.unit.association.isQuiet {
      tester.wait(.milliseconds(10))
      seen.formUnion(try tester.dataSent().map(\.tsn))
      let first = TSN(rawValue: initialTSN)
      // The third is lost at first.
      let count = seen.count
      if isLost, count > 6 {
        tester.hand(sack(first.advanced(by: 1), gaps: [(2, UInt16(count - 2))]))
        isLost = false
      } else if !isLost {
        tester.hand(sack(first.advanced(by: UInt32(count - 1))))
      }
    }
    let (quiet, consistent) = (tester.unit.association.isQuiet, tester.unit.association.isConsistent)
    #expect(quiet && consistent && seen.count == 20 && !isLost)
    let next = tester.unit.association.nextTSN
    #expect(next == TSN(rawValue: initialTSN &+ 20))
  }

  @Test("what is given up on either side of the wrap is skipped")
  func skipping() throws {
    var tester = try Self.established(0xffff_fffe, .plain)
    for i in 0..<4 { try tester.send(pattern(500, i), .maximumRetransmits(0)) }
    tester.wait(.seconds(3))
    let skip = try #require(try tester.sent().flatMap(\.chunks).last { $0.type == ChunkType.forwardTSN })
    #expect(skip.uint32(at: 0) == 1 && skip.uint16(at: 6) == 3)
    tester.hand(sack(TSN(rawValue: 1)))
    let quiet = tester.unit.association.isQuiet
    #expect(quiet)
  }

  @Test("a reset names the last TSN and the number of its request across the wrap")
  func resetting() throws {
    var tester = try Self.established(0xffff_ffff, .plain)
    for round in 0..<3 as Range<UInt32> {
      tester.unit.association.resetStreams([1], now: tester.now)
      let request = try #require(try tester.sent().flatMap(\.chunks).last { $0.type == ChunkType.reconfig })
      #expect(request.uint32(at: 4) == 0xffff_ffff &+ round)
      tester.hand(
        collectBytes(capacity: 16) { out in
          ReconfigResponse(number: RequestNumber(rawValue: request.uint32(at: 4)), result: .performed).write(into: &out)
        })
    }
    #expect(tester.unit.events.filter { $0 == .outgoingStreamsReset([1]) }.count == 3)
  }
}
