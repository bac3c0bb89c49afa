// MutationTests.swift — a session's own packets, damaged and sent back to it and to its peer: nothing traps, and every
// bound holds.

import Media
import RTP
import Testing
import Wire

@Suite("Mutations")
struct MutationTests {
  @Test("R3: damaged packets of every kind neither trap nor grow anything", arguments: 1...10)
  func damaged(seed: UInt64) throws {
    var limits = MediaLimits()
    limits.maximumEvents = 100
    var world = MediaWorld(seed: seed, [video(usesRTX: true), audio()], limits: limits)
    world.forth.lossPerMille = 50
    try world.run(for: .seconds(2), sending: stream(200, from: world.now, every: .milliseconds(8)))
    world.b.session.requestKeyframe(0, now: world.now)
    try world.run(for: .seconds(1))
    let corpus = world.a.sent + world.b.sent
    var random = RandomSource.seeded(state: seed)
    for round in 0..<3_000 {
      var one = corpus[Int.random(in: 0..<corpus.count, using: &random)]
      for _ in 0..<Int.random(in: 0...4, using: &random) where !one.bytes.isEmpty {
        let at = Int.random(in: 0..<one.bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: one.bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: one.bytes[at] = .random(in: 0...255, using: &random)
        case 2: one.bytes.removeLast(min(one.bytes.count, Int.random(in: 1...8, using: &random)))
        default: one.bytes[at] = 0xff
        }
      }
      let kind: MediaPacketKind = Bool.random(using: &random) ? .rtp : .rtcp
      world.a.handle(kind, one.bytes, now: world.now)
      world.b.handle(kind, one.bytes, now: world.now)
      if round % 10 == 0 { try world.run(for: .milliseconds(3)) }
    }
    for section in 0..<2 {
      #expect(world.a.session.statistics(of: section).streams <= limits.maximumSSRCsPerSection)
      #expect(world.b.session.statistics(of: section).streams <= limits.maximumSSRCsPerSection)
    }
    // It still works.
    let before = world.b.session.statistics(of: 0).bytesReceived
    world.forth.lossPerMille = 0
    try world.run(
      for: .seconds(1), sending: stream(50, from: world.now, every: .milliseconds(8), first: 1_000))
    #expect(world.b.session.statistics(of: 0).bytesReceived >= before + 40 * 200, "seed \(seed)")
  }
}
