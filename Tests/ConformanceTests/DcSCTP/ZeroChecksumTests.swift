// ZeroChecksumTests.swift — dcSCTP's scenarios of packets without a checksum (RFC 9653), which DTLS protects as well.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP zero checksum") struct ZeroChecksumTests {
  private static let accepting = SCTPConfiguration.plain { $0.offersZeroChecksum = true }

  private func hasChecksum(_ packet: [UInt8]) -> Bool { packet[8..<12].contains { $0 != 0 } }

  @Test(
    "INIT and COOKIE-ECHO always carry a checksum; once both accept it, no data does",
    arguments: [(true, true), (true, false), (false, true), (false, false)])
  func whichPackets(a: Bool, b: Bool) throws {
    for bothConnect in [false, true] {
      var world = World(a: a ? Self.accepting : .plain, b: b ? Self.accepting : .plain)
      world.a.association.connect(now: world.now)
      if bothConnect { world.b.association.connect(now: world.now) }
      try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
      world.settle()
      try world.b.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
      world.settle()
      #expect(world.a.messages.count == 1 && world.b.messages.count == 1)
      for entry in world.log {
        let kinds = types(of: entry.packet)
        let isCorrect = PacketChecksum.isCorrect(entry.packet.rawSpan)
        #expect(isCorrect || !hasChecksum(entry.packet))
        if kinds.contains(ChunkType.initiation) || kinds.contains(ChunkType.cookieEcho) {
          #expect(isCorrect)
        } else if carriesData(entry.packet) {
          #expect(hasChecksum(entry.packet) != (a && b))
        }
      }
    }
  }

  /// Up, with a peer that has offered RFC 9653 or not.
  private func established(offers: Bool, accepts: Bool) throws -> Tester {
    // Error detection method 1: DTLS.
    let offer = offers ? parameter(0x8001, [0, 0, 0, 1]) : []
    return try Tester.established(
      accepts ? Self.accepting : .plain, parameters: Tester.cookie + Tester.extensions + offer)
  }

  @Test("a checksum of zero is taken only when we have announced that")
  func zeroIsTaken() throws {
    for accepts in [true, false] {
      var tester = try established(offers: true, accepts: accepts)
      let tag = tester.unit.association.localTag
      tester.deliver(craft(tag: tag, [data(tester.tsn(0), [1])], checksum: false))
      #expect(tester.received == (accepts ? [[1]] : []))
    }
  }

  @Test("a wrong checksum that is not zero is never taken", arguments: 0..<32)
  func wrongIsNotTaken(bit: Int) throws {
    var tester = try established(offers: true, accepts: true)
    var packet = craft(tag: tester.unit.association.localTag, data(tester.tsn(0), [1]))
    packet[8 + bit / 8] ^= 1 << UInt8(bit % 8)
    tester.deliver(packet)
    #expect(tester.received.isEmpty)
    var lone = craft(tag: tester.unit.association.localTag, [data(tester.tsn(0), [1])], checksum: false)
    lone[8 + bit / 8] ^= 1 << UInt8(bit % 8)
    tester.deliver(lone)
    #expect(tester.received.isEmpty)
  }

  @Test("before we have announced anything, an INIT without a checksum is dropped")
  func initNeedsChecksum() throws {
    var tester = Tester(Self.accepting)
    tester.deliver(craft(tag: 0, [Tester.initiation()], checksum: false))
    let types = try tester.types()
    #expect(types.isEmpty)
  }

  @Test("an error detection method that we do not know is not agreed to")
  func unknownMethod() throws {
    var tester = try Tester.established(
      Self.accepting, parameters: Tester.cookie + Tester.extensions + parameter(0x8001, [0, 0, 0, 7]))
    try tester.send([1])
    tester.wait(.milliseconds(10))
    let packet = try #require(try tester.sent().last { $0.types.contains(ChunkType.data) })
    #expect(hasChecksum(packet.bytes))
  }
}
