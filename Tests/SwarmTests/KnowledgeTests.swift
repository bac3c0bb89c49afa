// KnowledgeTests.swift — replicated state: everybody ends with the same, in whatever order writes arrive.

import Signaling
import Testing
import Wire

@testable import Swarm

@Suite struct KnowledgeTests {
  private func entry(_ id: String, _ value: JSONValue, clock: Int64, by peer: PeerID) -> KnowledgeEntry {
    KnowledgeEntry(id: id, value: value, clock: clock, peerID: peer, updatedAt: 0)
  }

  @Test("the higher clock wins, then the greater writer in the order of UTF-16 units")
  func lastWriterWins() {
    var store = KnowledgeStore()
    #expect(store.merge(entry("g", 1, clock: 2, by: "b"), size: 1) == .stored)
    #expect(store.merge(entry("g", 2, clock: 1, by: "z"), size: 1) == .older)
    #expect(store.merge(entry("g", 3, clock: 2, by: "a"), size: 1) == .older)
    #expect(store.merge(entry("g", 4, clock: 2, by: "b"), size: 1) == .older)
    #expect(store.merge(entry("g", 5, clock: 2, by: "c"), size: 1) == .stored)
    // U+FF5E sorts before U+1F600 by scalar and after its surrogates by unit: a browser says the former is greater.
    #expect(store.merge(entry("g", 6, clock: 3, by: "\u{1F600}"), size: 1) == .stored)
    #expect(store.merge(entry("g", 7, clock: 3, by: "\u{FF5E}"), size: 1) == .stored)
    #expect(store.merge(entry("g", 8, clock: 3, by: "\u{1F600}"), size: 1) == .older)
    #expect(store.entries["g"]?.value == 7)
  }

  @Test("any order of the same writes gives the same state", arguments: 1...50 as ClosedRange<UInt64>)
  func convergence(seed: UInt64) {
    var random = RandomSource.seeded(state: seed)
    let writes = (0..<40).map { index in
      entry(
        "k\(Int.random(in: 0..<4, using: &random))", .integer(index), clock: .random(in: 1...5, using: &random),
        by: "peer_\(Int.random(in: 0..<6, using: &random))")
    }
    // A peer never makes two writes of one id with one clock.
    let unique = Dictionary(
      writes.map { ("\($0.id) \($0.clock) \($0.peerID)", $0) }, uniquingKeysWith: { first, _ in first })
    var stores = [KnowledgeStore(), KnowledgeStore()]
    for index in stores.indices {
      for write in unique.values.shuffled(using: &random) { _ = stores[index].merge(write, size: 1) }
    }
    #expect(stores[0].entries == stores[1].entries, "seed \(seed)")
  }

  @Test("concurrent writers agree, and who comes later learns everything", arguments: 1...6 as ClosedRange<UInt64>)
  func mesh(seed: UInt64) throws {
    let nodes = (0..<4).map { Node("peer_\($0)") }
    let late = Node("peer_late")
    let world = World(seed: seed, nodes + [late])
    for (index, node) in nodes.enumerated() {
      for other in nodes[(index + 1)...] { world.connect(node.id, other.id) }
    }
    for round in 0..<5 {
      for node in nodes {
        _ = try node.machine.share("goal", .string("\(node.id) \(round)"), now: world.now)
        _ = try node.machine.share(
          "big \(node.id) \(round)", .string(String(repeating: "x", count: 20_000)), now: world.now)
      }
      let pause = world.now + .milliseconds(8)
      _ = world.run(limit: .milliseconds(8)) { world.now >= pause }
    }
    for node in nodes { world.connect("peer_late", node.id) }
    let agreed = world.run {
      nodes.allSatisfy { $0.machine.knowledge.entries == late.machine.knowledge.entries }
        && late.machine.knowledge.entries.count == 21
    }
    #expect(agreed, "seed \(seed)")
  }

  @Test("an update counts as its sender's, whatever it says")
  func attribution() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    let world = World.mesh(a, b)
    let fields = entry("g", 1, clock: 9, by: "peer_zzz").fields
    _ = a.machine.post(.goalUpdate, fields, to: "peer_b")
    #expect(world.run { b.machine.knowledge.entries["g"] != nil })
    #expect(b.machine.knowledge.entries["g"]?.peerID == "peer_a")
    // The next write counts on from what is held.
    #expect(try b.machine.share("g", 2, now: world.now).clock == 10)
  }

  @Test func bounds() throws {
    let a = Node("peer_a")
    let value = JSONValue.string(String(repeating: "x", count: 59_000))
    #expect(throws: SwarmError.payloadTooLarge) {
      try a.machine.share("g", .string(String(repeating: "x", count: 60_000)), now: Instant(nanoseconds: 0))
    }
    var count = 0
    #expect(throws: SwarmError.full("knowledge")) {
      while count < 10_000 {
        try a.machine.share("k\(count)", value, now: Instant(nanoseconds: 0))
        count += 1
      }
    }
    #expect(a.machine.knowledge.byteCount <= SwarmLimits.maximumKnowledgeBytes)
    #expect(a.machine.knowledge.byteCount + 60_000 > SwarmLimits.maximumKnowledgeBytes)
    // Overwriting what is there is still possible.
    _ = try a.machine.share("k0", 1, now: Instant(nanoseconds: 0))

    let b = Node("peer_b")
    #expect(throws: SwarmError.full("knowledge")) {
      for index in 0...SwarmLimits.maximumKnowledgeEntries {
        try b.machine.share("k\(index)", 1, now: Instant(nanoseconds: 0))
      }
    }
    #expect(b.machine.knowledge.entries.count == SwarmLimits.maximumKnowledgeEntries)
  }

  @Test("a peer that asks again and again is not sent everything each time")
  func syncIsPaced() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    let world = World.mesh(a, b)
    for index in 0..<20 {
      _ = try a.machine.share("k\(index)", .string(String(repeating: "x", count: 50_000)), now: world.now)
    }
    _ = world.run { b.machine.knowledge.entries.count == 20 }
    let before = a.machine.peers["peer_b"]?.counters.bytesOut ?? 0
    for _ in 0..<100 { _ = b.machine.post(.syncRequest, [:], to: "peer_a") }
    let count = world.delivered
    _ = world.run { world.delivered >= count + 200 }
    let after = a.machine.peers["peer_b"]?.counters.bytesOut ?? 0
    #expect(after - before < 2_500_000)
  }
}
