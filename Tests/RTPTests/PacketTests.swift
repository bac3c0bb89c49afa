// PacketTests.swift — RTP packets: what a packet may claim about its own lengths, and what is written reads back.

import RTP
import TestSupport
import Testing
import Wire

@Suite struct PacketTests {
  /// Twelve bytes of header with these first bits, and what follows.
  private func packet(_ first: UInt8, _ rest: [UInt8]) -> [UInt8] {
    [first, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3] + rest
  }

  private func error(_ bytes: [UInt8]) -> Malformed? {
    do throws(Malformed) {
      _ = try OwnedPacket(bytes)
      return nil
    } catch { return error }
  }

  @Test(
    "R3: a padding count that is no count of padding is refused",
    arguments: [
      (0xa0, []),  // the bit, and nothing to hold a count
      (0xa0, [0]), (0xa0, [2]), (0xa0, [255]), (0xa0, [1, 2, 3, 0]), (0xa0, [1, 2, 3, 5]),
      (0xa0, Array(repeating: 255, count: 254)),
      // Behind a contributing source and behind an extension, neither of which padding may reach into.
      (0xa1, [9, 9, 9, 4]), (0xa1, [0, 0, 0, 9, 2]), (0xb0, [0xbe, 0xde, 0, 0]), (0xb0, [0xbe, 0xde, 0, 0, 5, 3]),
      (0xb0, [0xbe, 0xde, 0, 1, 0x10, 7, 0, 4]),
    ] as [(UInt8, [UInt8])])
  func padding(first: UInt8, rest: [UInt8]) {
    #expect(error(packet(first, rest)) == .badLength)
  }

  @Test("R3: padding takes away what it counts, up to all of the payload")
  func paddingThatFits() throws {
    for (payload, padding) in [(0, 1), (0, 255), (1, 1), (3, 5), (1000, 255)] {
      let bytes = packet(
        0xa0, Array(repeating: 7, count: payload) + Array(repeating: 0, count: padding - 1) + [UInt8(padding)])
      let parts = try OwnedPacket(bytes)
      #expect(parts.padding == padding)
      #expect(parts.payload == Array(repeating: 7, count: payload))
    }
  }

  @Test(
    "R3: an extension that is longer than its packet is refused",
    arguments: [
      (0x90, []), (0x90, [0xbe]), (0x90, [0xbe, 0xde, 0]), (0x90, [0xbe, 0xde, 0, 1]),
      (0x90, [0xbe, 0xde, 0, 1, 0, 0, 0]), (0x90, [0xbe, 0xde, 0xff, 0xff, 1, 2, 3, 4]), (0x91, [0, 0, 0, 1]),
      (0x91, [0, 0, 0, 1, 0xbe, 0xde]), (0x81, []), (0x8f, Array(repeating: 0, count: 59)),
    ] as [(UInt8, [UInt8])])
  func extensionLength(first: UInt8, rest: [UInt8]) {
    #expect(error(packet(first, rest)) != nil)
  }

  @Test("R3: an element that is longer than its extension is refused")
  func elementLength() {
    // One-byte form: 0x1f claims sixteen bytes. Two-byte form: a length, or none at all, behind the end.
    #expect(error(packet(0x90, [0xbe, 0xde, 0, 1, 0x1f, 1, 2, 3])) == .badLength)
    #expect(error(packet(0x90, [0xbe, 0xde, 0, 1, 0x10, 1, 0x11, 3])) == .badLength)
    #expect(error(packet(0x90, [0x10, 0x00, 0, 1, 1, 3, 2, 3])) == .badLength)
    #expect(error(packet(0x90, [0x10, 0x0f, 0, 1, 1, 255, 2, 3])) == .badLength)
    #expect(error(packet(0x90, [0x10, 0x00, 0, 1, 1, 1, 2, 3])) == .badLength)
  }

  @Test("only version 2 is RTP", arguments: [0x00, 0x40, 0xc0] as [UInt8])
  func version(first: UInt8) {
    #expect(error(packet(first, [1])) == .badValue)
  }

  @Test("padding between elements, and what ends them, is as RFC 8285 says")
  func elements() throws {
    func ids(_ profile: [UInt8], _ body: [UInt8]) throws -> [UInt8] {
      try OwnedPacket(packet(0x90, profile + [0, UInt8(body.count / 4)] + body)).extensions.map(\.id)
    }
    let one: [UInt8] = [0xbe, 0xde]
    let two: [UInt8] = [0x10, 0x00]
    #expect(try ids(one, []) == [])
    #expect(try ids(one, [0, 0, 0x10, 1, 0, 0x20, 2, 0]) == [1, 2])
    // §4.2: id 15 ends the reading whatever length it has, and so does id 0 with a length.
    #expect(try ids(one, [0x10, 1, 0xff, 0, 0x20, 2, 0, 0]) == [1])
    #expect(try ids(one, [0x10, 1, 0xf0, 0x20]) == [1])
    #expect(try ids(one, [0x10, 1, 0x03, 0, 0x20, 2, 0, 0]) == [1])
    // §4.3: every id but 0, any length.
    #expect(try ids(two, [0, 15, 0, 255, 1, 9, 1, 0]) == [15, 255, 1])
    #expect(try ids([0x10, 0x0f], [7, 2, 1, 2]) == [7])
    #expect(try ids([0x10, 0x10], [7, 2, 1, 2]) == [])
    #expect(try ids([0x00, 0x01], [7, 255, 1, 2]) == [])
  }

  @Test("an element is found by its id, the first one when there are two, wherever it stands")
  func lookup() throws {
    let bytes = packet(0x90, [0xbe, 0xde, 0, 2, 0x10, 1, 0x32, 2, 3, 0x10, 0x10, 4, 0xaa])
    let view = try RTPPacketView(bytes.rawSpan)
    func value(_ id: UInt8) -> [UInt8]? {
      guard let value = view.extensionValue(id) else { return nil }
      return value.copyBytes()
    }
    #expect(value(1) == [1])
    #expect(value(3) == [2, 3, 0x10])
    #expect(value(2) == nil)
    #expect(view.payload.byteCount == 1)
    #expect(view.extensionProfile == 0xbede)
    #expect(view.extensionBytes.byteCount == 8)
  }

  @Test("cut at every byte, a packet is refused or is what its bytes are", arguments: try WrittenPackets.all())
  func truncations(packet: WrittenPacket) throws {
    guard !isRTCP(packet.bytes.rawSpan) else { return }
    let whole = try OwnedPacket(packet.bytes)
    let headerCount = packet.bytes.count - whole.payload.count - whole.padding
    for count in 0..<packet.bytes.count {
      let cut = Array(packet.bytes.prefix(count))
      if count < headerCount {
        #expect(error(cut) != nil, "\(packet.name) cut to \(count)")
      } else if whole.padding == 0 {
        #expect(try OwnedPacket(cut).payload == Array(whole.payload.prefix(count - headerCount)))
      } else if error(cut) == nil {
        #expect(try OwnedPacket(cut).payload.count < count - headerCount)
      }
    }
  }

  @Test(
    "changed at random, a packet is refused or writes back to one that reads the same",
    arguments: 1...20 as ClosedRange<UInt64>)
  func mutations(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    let seeds = try WrittenPackets.all().map(\.bytes).filter { !isRTCP($0.rawSpan) }
    var taken = 0
    for round in 0..<2000 {
      var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
      for _ in 0...Int(random.next() % 3) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      let parts: OwnedPacket
      do throws(Malformed) { parts = try OwnedPacket(bytes) } catch { continue }
      taken += 1
      let again = try OwnedPacket(try parts.written())
      #expect(again.extensions == parts.extensions && again.payload == parts.payload, "seed \(seed), round \(round)")
      #expect(again.header == parts.header && again.padding == parts.padding, "seed \(seed), round \(round)")
      #expect(again.contributingSources == parts.contributingSources, "seed \(seed), round \(round)")
    }
    #expect(taken > 100, "seed \(seed)")
  }

  @Test("RTP and RTCP part by the second byte")
  func demultiplexing() {
    func isRTCP(_ bytes: [UInt8]) -> Bool { RTP.isRTCP(bytes.rawSpan) }
    for second in 0...255 as ClosedRange<UInt8> {
      #expect(isRTCP([0x80, second, 0, 0]) == (192...223).contains(second))
    }
    #expect(!isRTCP([]))
    #expect(!isRTCP([0x80]))
  }
}
