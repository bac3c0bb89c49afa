// PacketTests.swift — the bytes: published layouts, round trips, truncation at every length.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

struct SCTPVector: CustomTestStringConvertible, Sendable {
  var isGood: Bool
  var name: String
  var bytes: [UInt8]
  var testDescription: String { name }

  static func read() throws -> [SCTPVector] {
    var result: [SCTPVector] = []
    for line in try Vectors.text("rfc/sctp-packets.txt").split(separator: "\n") where !line.hasPrefix("#") {
      if line.hasPrefix("good:") || line.hasPrefix("bad:") {
        let name = line.split(separator: ":", maxSplits: 1)[1].drop { $0 == " " }
        result.append(SCTPVector(isGood: line.hasPrefix("good:"), name: String(name), bytes: []))
      } else if let more = TestSupport.bytes(hex: line) {
        result[result.count - 1].bytes += more
      }
    }
    return result
  }
}

@Suite struct PacketTests {
  @Test func vectorsAreThere() throws {
    let vectors = try SCTPVector.read()
    #expect(vectors.filter(\.isGood).count == 17)
    #expect(vectors.filter { !$0.isGood }.count == 16)
  }

  @Test("good packets are read and written again, byte for byte", arguments: try SCTPVector.read().filter(\.isGood))
  func rebuilt(vector: SCTPVector) throws {
    let isCorrect = PacketChecksum.isCorrect(vector.bytes.rawSpan)
    #expect(isCorrect)
    let header = try PacketHeader(vector.bytes.rawSpan)
    let again = try collectBytes(capacity: 256) { out throws in
      header.write(into: &out)
      var reader = ChunkReader(vector.bytes.rawSpan)
      while let chunk = try reader.next() { try rewrite(chunk, into: &out) }
      PacketChecksum.patch(&out, packetAt: 0)
    }
    #expect(again == vector.bytes)
  }

  private func rewrite(_ chunk: borrowing Chunk, into out: inout OutputRawSpan) throws {
    switch chunk.type {
    case ChunkType.data:
      let header = try DataHeader(chunk)
      let payload = DataHeader.userData(of: chunk)
      header.write(userDataCount: payload.byteCount, into: &out)
      out.writeBytes(payload)
      out.writePadding(after: payload.byteCount)
    case ChunkType.sack:
      let sack = try SackChunk(chunk)
      SackChunk.write(
        cumulativeTSN: sack.cumulativeTSN, receiverWindow: sack.receiverWindow,
        gapBlocks: (0..<sack.gapBlockCount).map { sack.gapBlock($0) },
        duplicates: (0..<sack.duplicateCount).map { sack.duplicate($0) }, into: &out)
    case ChunkType.initiation, ChunkType.initiationAck:
      try InitChunk(chunk).write(type: chunk.type, into: &out)
    case ChunkType.forwardTSN:
      let forward = try ForwardTSNChunk(chunk)
      ForwardTSNChunk.write(
        newCumulativeTSN: forward.newCumulativeTSN, skipped: (0..<forward.skippedCount).map { forward.skipped($0) },
        into: &out)
    case ChunkType.reconfig:
      var parameters = ParameterReader(chunk.value)
      while let parameter = try parameters.next() {
        switch try ReconfigParameter(parameter) {
        case .outgoingReset(let request): request.write(into: &out)
        case .response(let response): response.write(into: &out)
        case .incomingReset, .refused, .unknown: Issue.record("not in the vectors")
        }
      }
    case ChunkType.abort:
      var causes = ParameterReader(chunk.value)
      while let cause = try causes.next() {
        out.writeBytes(ErrorCause.userInitiatedAbort(cause.value.copyBytes()).chunk(type: ChunkType.abort))
      }
    default:
      out.writeBytes(rawChunk(chunk.type, flags: chunk.flags, chunk.value.copyBytes()))
    }
  }

  @Test("fields are what the layout says")
  func fields() throws {
    let vectors = try SCTPVector.read()
    func chunk(_ name: String, _ body: (borrowing Chunk) throws -> Void) throws {
      let vector = try #require(vectors.first { $0.name.hasPrefix(name) })
      var reader = ChunkReader(vector.bytes.rawSpan)
      while let chunk = try reader.next() { return try body(chunk) }
    }
    try chunk("INIT (") { chunk in
      let peer = try InitChunk(chunk)
      #expect(peer.initiateTag == 0x1111_1111 && peer.receiverWindow == 131_072 && peer.initialTSN.rawValue == 0x1000)
      #expect(peer.outboundStreams == 65_535 && peer.supportsForwardTSN && peer.supportsReconfig && peer.cookie == nil)
    }
    try chunk("INIT-ACK") { chunk in
      let peer = try InitChunk(chunk)
      #expect(peer.cookie == (0..<32).map { UInt8($0) } && peer.initialTSN.rawValue == 0xffff_fffe)
    }
    try chunk("SACK-gap") { chunk in
      let sack = try SackChunk(chunk)
      #expect(sack.cumulativeTSN.rawValue == 0x1000 && sack.gapBlockCount == 1 && sack.duplicateCount == 1)
      let block = sack.gapBlock(0)
      let duplicate = sack.duplicate(0).rawValue
      #expect(block == GapBlock(start: 2, end: 3) && duplicate == 0x1000)
    }
    try chunk("RECONFIG-out") { chunk in
      var parameters = ParameterReader(chunk.value)
      var seen: [ReconfigParameter] = []
      while let parameter = try parameters.next() { seen.append(try ReconfigParameter(parameter)) }
      let expected = OutgoingResetRequest(
        number: RequestNumber(rawValue: 0x1000), responseNumber: RequestNumber(rawValue: 0xffff_fffe),
        lastTSN: TSN(rawValue: 0x1002), streams: [0])
      #expect(seen == [.outgoingReset(expected)])
    }
  }

  @Test("bad packets do what the file says", arguments: try SCTPVector.read().filter { !$0.isGood })
  func badVectors(vector: SCTPVector) throws {
    let isCorrect = PacketChecksum.isCorrect(vector.bytes.rawSpan)
    #expect(isCorrect)
    let isInit = vector.bytes[12] == ChunkType.initiation
    var world = World.connected()
    var fresh = Endpoint(seed: 99)
    // The same chunks with the tag that the association has, and with the TSN that it expects.
    var packet = vector.bytes
    let label = isInit ? 0 : world.b.association.localTag
    for i in 0..<4 { packet[4 + i] = UInt8(truncatingIfNeeded: label >> UInt32(24 - 8 * i)) }
    if packet[12] == ChunkType.data, packet.count >= 20 {
      for i in 0..<4 { packet[16 + i] = UInt8(truncatingIfNeeded: world.tsn(1).rawValue >> UInt32(24 - 8 * i)) }
    }
    packet = repaired(packet)
    let before = world.b.association.statistics
    let received = world.b.association.receivedTSN
    world.b.handle(packet, now: world.now)
    world.b.collect(now: world.now)
    let after = world.b.association.statistics
    let state = world.b.association.state
    let dropped = after.packetsDropped == before.packetsDropped + 1
    let name = vector.name
    if name.hasPrefix("DATA with no user data") {
      let answers = try world.answers()
      #expect(answers.count == 1 && answers[0][0].type == ChunkType.abort && state == .closed)
    } else if isInit {
      // Towards one that has not connected yet, where an INIT means most.
      fresh.handle(packet, now: world.now)
      let answers = fresh.packets(now: world.now)
      let types = try answers.map { try chunks(of: $0)[0].type }
      let isAnswered = name.contains("OS=0") || name.contains("a_rwnd")
      #expect(types == (isAnswered ? [ChunkType.abort] : []), "\(name)")
      #expect(state == .established)
    } else if name.hasPrefix("DCEP") {
      // Well-formed for SCTP: the layer above decides; but stream 65535 is none.
      #expect(world.b.messages.count == (name.contains("65535") ? 0 : 1))
      #expect(state == .established)
    } else if name.hasPrefix("FORWARD-TSN") {
      let moved = world.b.association.receivedTSN
      #expect(state == .established && moved == received)
    } else {
      #expect(dropped && state == .established, "\(name)")
      #expect(world.b.messages.isEmpty)
    }
  }

  @Test(
    "every truncation of every good packet is refused or read, never a trap, at any state", arguments: [false, true])
  func truncatedAtEveryLength(connected: Bool) throws {
    for vector in try SCTPVector.read() {
      for length in 0...vector.bytes.count {
        var world = World.connectedOrNot(connected)
        var packet = Array(vector.bytes.prefix(length))
        if packet.count >= 12 {
          for i in 0..<4 {
            packet[4 + i] = UInt8(truncatingIfNeeded: world.b.association.localTag >> UInt32(24 - 8 * i))
          }
          packet = repaired(packet)
        }
        world.b.handle(packet, now: world.now)
        world.b.collect(now: world.now)
        _ = world.b.packets(now: world.now)
        let consistent = world.b.association.isConsistent
        #expect(consistent)
      }
    }
  }

  @Test("random chunks with a valid header and checksum never trap", arguments: 1...200 as ClosedRange<UInt64>)
  func randomChunks(seed: UInt64) {
    var dice = RandomSource.seeded(state: seed)
    var world = World.connectedOrNot(seed % 2 == 0)
    let types: [UInt8] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 64, 128, 255]
    for _ in 0..<30 {
      var list: [[UInt8]] = []
      for _ in 0..<(1 + dice.next() % 4) {
        var value = dice.bytes(Int(dice.next() % 40))
        // Half the time the number is near what the association expects.
        if dice.next() % 2 == 0, value.count >= 4 {
          let near = world.b.association.receivedTSN.rawValue &+ UInt32(dice.next() % 5)
          for i in 0..<4 { value[i] = UInt8(truncatingIfNeeded: near >> UInt32(24 - 8 * i)) }
        }
        var type = types[Int(dice.next() % UInt64(types.count))]
        if type == ChunkType.abort, dice.next() % 8 != 0 { type = ChunkType.data }
        list.append(rawChunk(type, flags: UInt8(dice.next() % 16), value))
      }
      let tag = dice.next() % 8 == 0 ? 0 : world.b.association.localTag
      world.b.handle(craft(tag: tag, list), now: world.now)
      world.b.collect(now: world.now)
      _ = world.b.packets(now: world.now)
      let consistent = world.b.association.isConsistent
      #expect(consistent, "seed \(seed)")
    }
    world.run(for: .seconds(100))
  }

  /// Puts the right checksum into a packet.
  private func repaired(_ packet: [UInt8]) -> [UInt8] {
    collectBytes(capacity: packet.count) { out in
      out.writeBytes(packet)
      out.patchUInt32(0, at: 8)
      PacketChecksum.patch(&out, packetAt: 0)
    }
  }
}

extension World {
  static func connectedOrNot(_ connected: Bool) -> World {
    if connected { return .connected() }
    var world = World()
    world.b.association.connect(now: world.now)
    return world
  }
}
