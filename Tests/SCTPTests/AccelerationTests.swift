// AccelerationTests.swift — associations that begin with INIT chunks from the session descriptions, and chunks that do not.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct AccelerationTests {
  private static func initiations(_ a: SCTPConfiguration, _ b: SCTPConfiguration) -> (a: [UInt8], b: [UInt8]) {
    var random = RandomSource.seeded(state: 77)
    return (
      SCTPAssociation.makeInitiation(a, random: &random), SCTPAssociation.makeInitiation(b, random: &random)
    )
  }

  @Test(
    "both are up at once, agree on everything, and data flows both ways without a handshake", arguments: [false, true])
  func upAtOnce(basic: Bool) throws {
    let b: SCTPConfiguration = basic ? .basic : .init()
    let chunks = Self.initiations(.init(), b)
    var world = World(b: b)
    world.a.association.connect(own: chunks.a, peer: chunks.b, now: world.now)
    world.b.association.connect(own: chunks.b, peer: chunks.a, now: world.now)
    let states = [world.a.association.state, world.b.association.state]
    #expect(states == [.established, .established])
    let agreed = [world.a.association.peerSupportsInterleaving, world.b.association.peerSupportsInterleaving]
    #expect(agreed == [!basic, !basic])
    try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(2, pattern(5_000, 1)), now: world.now)
    world.settle()
    let received = [world.a.messages.map(\.payload), world.b.messages.map(\.payload)]
    #expect(received == [[pattern(5_000, 1)], [pattern(5_000)]])
    #expect(!world.log.contains { (1...2).contains($0.packet[12]) || (10...11).contains($0.packet[12]) })
  }

  @Test("a peer that begins with the handshake after all restarts the association, and nothing is lost")
  func peerThatShakesHands() throws {
    let chunks = Self.initiations(.init(), .init())
    var world = World()
    world.a.association.connect(own: chunks.a, peer: chunks.b, now: world.now)
    world.b.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    try world.b.association.send(OutgoingMessage(1, [2]), now: world.now)
    world.run(for: .seconds(10))
    let states = [world.a.association.state, world.b.association.state]
    #expect(states == [.established, .established])
    let received = [world.a.messages.map(\.payload), world.b.messages.map(\.payload)]
    #expect(received == [[[2]], [[1]]])
  }

  @Test("what is no INIT chunk, or none to begin with, leads to the handshake")
  func unusable() {
    let good = Self.initiations(.init(), .init()).a
    #expect(SCTPAssociation.isUsable(initiation: good))
    var bad: [[UInt8]] = (0..<good.count).map { Array(good[..<$0]) }
    bad.append(good + [0, 0, 0, 0])
    bad.append([ChunkType.initiationAck] + good.dropFirst())
    bad += [
      initChunk(tag: 0), initChunk(outbound: 0), initChunk(inbound: 0), initChunk(window: 1_499),
      initChunk(parameters: parameter(ParameterType.hostNameAddress, [97, 0])),
      initChunk(parameters: [UInt8](repeating: 0, count: 8)),
      initChunk(parameters: parameter(0x80cc, [UInt8](repeating: 0, count: 2_000))),
    ]
    for bytes in bad {
      #expect(!SCTPAssociation.isUsable(initiation: bytes), "\(bytes)")
      var a = Endpoint(seed: 1)
      a.association.connect(own: good, peer: bytes, now: Instant(nanoseconds: 0))
      let state = a.association.state
      #expect(state == .cookieWait)
    }
  }
}
