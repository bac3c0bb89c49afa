// NegotiationTests.swift — what INIT and INIT-ACK offer: interleaving, packets without a checksum, and peers that choke on it.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

extension SCTPConfiguration {
  /// Offers nothing that may be missing.
  static var basic: SCTPConfiguration {
    var result = SCTPConfiguration()
    result.offersInterleaving = false
    result.offersZeroChecksum = false
    return result
  }
}

private func initiation(in packet: [UInt8]) throws -> InitChunk? {
  var reader = ChunkReader(packet.rawSpan)
  guard let chunk = try reader.next() else { return nil }
  guard chunk.type == ChunkType.initiation || chunk.type == ChunkType.initiationAck else { return nil }
  return try InitChunk(chunk)
}

private func hasChecksum(_ packet: [UInt8]) -> Bool { packet[8..<12] != [0, 0, 0, 0] }

@Suite struct NegotiationTests {
  @Test("interleaving: when both offer it, whoever connects", arguments: [false, true], [false, true])
  func interleaving(aOffers: Bool, bOffers: Bool) {
    for (aConnects, bConnects) in [(true, false), (false, true), (true, true)] {
      var a = SCTPConfiguration()
      a.offersInterleaving = aOffers
      var b = SCTPConfiguration()
      b.offersInterleaving = bOffers
      var world = World(a: a, b: b)
      if aConnects { world.a.association.connect(now: world.now) }
      if bConnects { world.b.association.connect(now: world.now) }
      world.settle()
      let states = [world.a.association.state, world.b.association.state]
      #expect(states == [.established, .established])
      let agreed = [world.a.association.peerSupportsInterleaving, world.b.association.peerSupportsInterleaving]
      #expect(agreed == [aOffers && bOffers, aOffers && bOffers])
    }
  }

  @Test("interleaving does not need the peer to understand any FORWARD-TSN")
  func interleavingAlone() throws {
    var b = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    b.handle(craft(tag: 0, initChunk(parameters: parameter(0x8008, [ChunkType.interleavedData]))), now: now)
    let answer = try #require(try initiation(in: try b.requirePacket(now: now)))
    #expect(answer.extensions.contains(.interleaving) && !answer.extensions.contains(.interleavedForwardTSN))
    let cookie = rawChunk(ChunkType.cookieEcho, try #require(answer.cookie))
    b.handle(craft(tag: answer.initiateTag, cookie), now: now)
    let interleaves = b.association.peerSupportsInterleaving
    #expect(interleaves)
  }

  @Test("an INIT-ACK offers beyond the basic only what the INIT did")
  func answersOfferNoMore() throws {
    var b = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    let offers: [([UInt8], Extensions)] = [
      ([], []), (parameter(0x8001, [0, 0, 0, 1]), .zeroChecksum),
      (parameter(0x8008, [64, 194]), [.interleaving, .interleavedForwardTSN]),
      (parameter(0x8001, [0, 0, 0, 2]), []), (parameter(0x8001, [0, 0, 1]), []), (parameter(0x8001), []),
    ]
    for (list, expected) in offers {
      b.handle(craft(tag: 0, initChunk(parameters: list)), now: now)
      let answer = try #require(try initiation(in: try b.requirePacket(now: now)))
      #expect(answer.extensions == Extensions.basic.union(expected))
    }
  }

  @Test("no checksum once both accept that, but always with INIT, INIT-ACK and COOKIE-ECHO", arguments: [false, true])
  func zeroChecksum(both: Bool) throws {
    for (aOffers, bOffers) in [(true, true), (true, false), (false, true)] {
      var a = SCTPConfiguration()
      a.offersZeroChecksum = aOffers
      var b = SCTPConfiguration()
      b.offersZeroChecksum = bOffers
      var world = World(a: a, b: b)
      world.a.association.connect(now: world.now)
      if both { world.b.association.connect(now: world.now) }
      try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
      try world.b.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
      world.settle()
      let received = [world.a.messages.map(\.payload), world.b.messages.map(\.payload)]
      #expect(received == [[pattern(5_000)], [pattern(5_000)]])
      let early: Set<UInt8> = [ChunkType.initiation, ChunkType.initiationAck, ChunkType.cookieEcho]
      for (_, packet) in world.log {
        #expect(hasChecksum(packet) == (early.contains(packet[12]) || !(aOffers && bOffers)))
      }
    }
  }

  @Test("a peer that has not announced it gets checksums, though it may leave out its own")
  func zeroChecksumOneWay() throws {
    var a = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    a.association.connect(now: now)
    _ = a.packets(now: now)
    let cookie = parameter(ParameterType.stateCookie, [1, 2, 3, 4])
    a.handle(craft(tag: a.association.localTag, initChunk(parameters: cookie, type: ChunkType.initiationAck)), now: now)
    #expect(hasChecksum(try a.requirePacket(now: now)))
    a.handle(craft(tag: a.association.localTag, [rawChunk(ChunkType.cookieAck)], checksum: false), now: now)
    let state = a.association.state
    #expect(state == .established)
    try a.association.send(OutgoingMessage(1, [1]), now: now)
    #expect(hasChecksum(try a.requirePacket(now: now)))
  }

  /// What a peer does with an INIT that has a parameter it does not know.
  enum Choking: CaseIterable { case silent, aborting }

  @Test(
    "a peer that chokes on what our INIT offers is asked again with less", arguments: Choking.allCases, [false, true])
  func chokingPeer(choking: Choking, both: Bool) throws {
    for order in [false, true] {
      var world = World(b: .basic)
      world.network.delay = .milliseconds(order ? 10 : 40)
      var refused: [[UInt8]] = []
      world.filter = { from, packet in
        guard from == .a, (try? initiation(in: packet))??.extensions.contains(.zeroChecksum) == true else {
          return true
        }
        refused.append(packet)
        return false
      }
      world.a.association.connect(now: world.now)
      if both { world.b.association.connect(now: world.now) }
      let start = world.now
      world.flush()
      repeat {
        guard choking == .aborting, let packet = refused.last else { continue }
        let tag = try #require(try initiation(in: packet)).initiateTag
        world.a.handle(craft(tag: tag, rawChunk(ChunkType.abort)), now: world.now)
      } while (world.a.association.state != .established || world.b.association.state != .established)
        && world.step(limit: start + .seconds(20))
      world.settle()
      let states = [world.a.association.state, world.b.association.state]
      #expect(states == [.established, .established])
      let events = [world.a.events, world.b.events]
      #expect(events == [[.established], [.established]])
      #expect(choking == .aborting ? refused.count == 1 : refused.count <= 2)
      try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
      try world.b.association.send(OutgoingMessage(1, [2]), now: world.now)
      world.settle()
      let received = [world.a.messages.map(\.payload), world.b.messages.map(\.payload)]
      #expect(received == [[[2]], [[1]]])
    }
  }

  @Test("an ABORT of the INIT that offers less ends the attempt; a late one of the first INIT does not")
  func lateAbort() throws {
    var a = Endpoint(seed: 3)
    let now = Instant(nanoseconds: 0)
    a.association.connect(now: now)
    let first = try #require(try initiation(in: try a.requirePacket(now: now)))
    let abort = craft(tag: first.initiateTag, rawChunk(ChunkType.abort))
    a.handle(craft(tag: first.initiateTag &+ 1, rawChunk(ChunkType.abort)), now: now)
    let nothing = a.packet(now: now)
    #expect(nothing == nil)
    a.handle(abort, now: now)
    let second = try #require(try initiation(in: try a.requirePacket(now: now)))
    #expect(second.extensions == .basic && second.initiateTag != first.initiateTag)
    a.handle(abort, now: now)
    let cookie = parameter(ParameterType.stateCookie, [1, 2, 3, 4])
    let late = initChunk(parameters: cookie, type: ChunkType.initiationAck)
    a.handle(craft(tag: first.initiateTag, late), now: now)
    let state = a.association.state
    #expect(state == .cookieWait)
    a.handle(craft(tag: second.initiateTag, rawChunk(ChunkType.abort)), now: now)
    a.collect(now: now)
    let events = a.events
    #expect(events == [.closed(.abortedByPeer(cause: nil))])
  }

  @Test(
    "both sides under heavy loss agree on the same, whatever they had to try", arguments: 1...200 as ClosedRange<UInt64>
  )
  func bothAgree(seed: UInt64) throws {
    var network = Network()
    network.lossPerMille = 400
    network.delay = .milliseconds(Int64(10 + seed % 7 * 150))
    network.jitter = .milliseconds(Int64(seed % 5 * 200))
    network.duplicatePerMille = 100
    var configuration = SCTPConfiguration()
    configuration.maximumInitRetransmits = 100
    var world = World(seed: seed, network: network, a: configuration, b: configuration)
    world.a.association.connect(now: world.now)
    if seed % 2 == 0 { world.b.association.connect(now: world.now) }
    world.run(for: .seconds(300), until: { a, b in a.state == .established && b.state == .established })
    world.network = Network()
    world.run(for: .seconds(20))
    let states = [world.a.association.state, world.b.association.state]
    #expect(states == [.established, .established], "seed \(seed)")
    let agreed = [world.a.association.peerSupportsInterleaving, world.b.association.peerSupportsInterleaving]
    #expect(agreed[0] == agreed[1], "seed \(seed)")
    try world.a.association.send(OutgoingMessage(1, pattern(3_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(1, pattern(3_000, 1)), now: world.now)
    world.run(for: .seconds(20))
    let received = [world.a.messages.map(\.payload), world.b.messages.map(\.payload)]
    #expect(received == [[pattern(3_000, 1)], [pattern(3_000)]], "seed \(seed)")
  }
}
