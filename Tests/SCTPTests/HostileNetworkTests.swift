// HostileNetworkTests.swift — seeded loss, duplication, reordering and corruption: every reliable message arrives once and
// in order, every counter returns to zero, and the associations fall silent.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct HostileNetworkTests {
  struct Sent {
    var stream: UInt16
    var payload: [UInt8]
  }

  @Test("exactly once, in order, and then silence", arguments: 1...320 as ClosedRange<UInt64>)
  func exactlyOnceInOrder(seed: UInt64) throws {
    var dice = RandomSource.seeded(state: seed &* 977)
    var network = Network()
    network.delay = .milliseconds(Int64(1 + dice.next() % 60))
    network.jitter = .milliseconds(Int64(dice.next() % 40))
    network.lossPerMille = dice.next() % 200
    network.duplicatePerMille = dice.next() % 50
    network.corruptPerMille = dice.next() % 50
    var configuration = SCTPConfiguration()
    configuration.offersZeroChecksum = false  // nothing else finds the corruption here
    configuration.offersInterleaving = seed % 4 < 2
    if seed % 3 == 0 { configuration.receiveWindow = 40_000 }
    if seed % 5 == 0 { configuration.sendBufferLimit = 8 << 20 }
    configuration.maximumInitRetransmits = 100  // the question here is not when to give up
    configuration.maximumRetransmits = 100
    var world = World(seed: seed, network: network, a: configuration, b: configuration)
    world.a.association.connect(now: world.now)
    if seed % 2 == 0 { world.b.association.connect(now: world.now) }

    var fromA: [Sent] = []
    var fromB: [Sent] = []
    let count = 10 + Int(dice.next() % 12)
    for index in 0..<count {
      // On ordered streams 0…3, and unordered on stream 9.
      let stream = UInt16(dice.next() % 5)
      let size = [1, 30, 700, 1_160, 3_000, 20_000][Int(dice.next() % 6)]
      let sent = Sent(stream: stream == 4 ? 9 : stream, payload: pattern(size, index))
      let message = OutgoingMessage(sent.stream, sent.payload, ordered: stream != 4)
      if dice.next() % 2 == 0 {
        if (try? world.a.association.send(message, now: world.now)) != nil { fromA.append(sent) }
      } else {
        if (try? world.b.association.send(message, now: world.now)) != nil { fromB.append(sent) }
      }
      world.run(for: .milliseconds(Int64(dice.next() % 50)))
    }
    let expectedB = fromA.count
    let expectedA = fromB.count
    let end = world.now + .seconds(600)
    while world.b.messages.count < expectedB || world.a.messages.count < expectedA || !world.a.association.isQuiet
      || !world.b.association.isQuiet
    {
      guard world.step(limit: end) else { break }
    }
    check(world.b.messages, fromA, seed)
    check(world.a.messages, fromB, seed)
    let quiet = world.a.association.isQuiet && world.b.association.isQuiet
    #expect(quiet, "seed \(seed)")
    let held = world.a.association.heldBytes + world.b.association.heldBytes
    #expect(held == 0, "seed \(seed)")
    let buffered = world.a.association.bufferedTotal + world.b.association.bufferedTotal
    #expect(buffered == 0, "seed \(seed)")
    let consistent = world.a.association.isConsistent && world.b.association.isConsistent
    #expect(consistent, "seed \(seed)")
  }

  private func check(_ received: [IncomingMessage], _ sent: [Sent], _ seed: UInt64) {
    for stream in [0, 1, 2, 3] as [UInt16] {
      let got = received.filter { $0.stream == stream }.map(\.payload)
      let expected = sent.filter { $0.stream == stream }.map(\.payload)
      #expect(got == expected, "seed \(seed), stream \(stream)")
    }
    let got = received.filter { $0.stream == 9 }.map(\.payload).sorted { $0.lexicographicallyPrecedes($1) }
    let expected = sent.filter { $0.stream == 9 }.map(\.payload).sorted { $0.lexicographicallyPrecedes($1) }
    #expect(got == expected, "seed \(seed), unordered")
  }

  @Test(
    "partial reliability: what arrives is in order, once, and nothing is stuck",
    arguments: 1...120 as ClosedRange<UInt64>)
  func partialReliability(seed: UInt64) throws {
    var dice = RandomSource.seeded(state: seed &* 131)
    var network = Network()
    network.lossPerMille = 50 + dice.next() % 250
    network.duplicatePerMille = dice.next() % 50
    network.jitter = .milliseconds(Int64(dice.next() % 30))
    var configuration = SCTPConfiguration()
    configuration.maximumRetransmits = 100
    var world = World.connected(seed: seed, network: network, a: configuration, b: configuration)
    var reliable: [[UInt8]] = []
    for index in 0..<40 {
      let size = [1, 500, 1_500, 5_000, 15_000][Int(dice.next() % 5)]
      var payload = pattern(size, index)
      payload.append(contentsOf: [UInt8(index)])
      let stream = UInt16(dice.next() % 3)
      let reliability: Reliability =
        switch dice.next() % 3 {
        case 0: .maximumRetransmits(UInt16(dice.next() % 3))
        case 1: .maximumLifetime(milliseconds: UInt16(dice.next() % 400))
        default: .reliable
        }
      if reliability == .reliable { reliable.append(payload) }
      let ordered = dice.next() % 4 != 0
      try world.a.association.send(OutgoingMessage(stream, payload, ordered: ordered, reliability), now: world.now)
      world.run(for: .milliseconds(Int64(dice.next() % 40)))
    }
    let end = world.now + .seconds(600)
    while !world.a.association.isQuiet { guard world.step(limit: end) else { break } }
    let quiet = world.a.association.isQuiet
    #expect(quiet, "seed \(seed)")
    world.network.lossPerMille = 0
    world.settle()
    let received = world.b.messages.map(\.payload)
    #expect(Set(received).count == received.count, "seed \(seed): delivered twice")
    for payload in reliable { #expect(received.contains(payload), "seed \(seed): a reliable message is missing") }
    let held = world.b.association.heldBytes
    #expect(held == 0, "seed \(seed)")
    // The streams still work.
    for stream in 0..<3 as Range<UInt16> {
      try world.a.association.send(OutgoingMessage(stream, pattern(2_000)), now: world.now)
    }
    world.settle()
    let after = world.b.messages.suffix(3).map(\.payload)
    #expect(after == [pattern(2_000), pattern(2_000), pattern(2_000)], "seed \(seed)")
  }
}
