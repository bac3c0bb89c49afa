// Crafting.swift — packets made by hand, as a peer would that does not play by the rules.

package import SCTP
import Wire

package func craft(tag: UInt32, _ chunks: [[UInt8]], checksum: Bool = true) -> [UInt8] {
  collectBytes(capacity: 66_000) { out in
    PacketHeader(sourcePort: 5000, destinationPort: 5000, verificationTag: tag).write(into: &out)
    for chunk in chunks { out.writeBytes(chunk) }
    if checksum { PacketChecksum.patch(&out, packetAt: 0) }
  }
}

package func craft(tag: UInt32, _ chunk: [UInt8]...) -> [UInt8] { craft(tag: tag, chunk) }

/// Any chunk; pads the value.
package func rawChunk(_ type: UInt8, flags: UInt8 = 0, _ value: [UInt8] = [], length: Int? = nil) -> [UInt8] {
  let count = length ?? (4 + value.count)
  return [type, flags, UInt8(count >> 8 & 255), UInt8(count & 255)] + value
    + [UInt8](repeating: 0, count: -value.count & 3)
}

package func data(
  _ tsn: TSN, _ payload: [UInt8], stream: UInt16 = 1, ssn: UInt16 = 0, flags: DataFlags = .whole
) -> [UInt8] {
  collectBytes(capacity: payload.count + 32) { out in
    DataHeader(flags: flags, tsn: tsn, stream: stream, ssn: SSN(rawValue: ssn), payloadProtocol: 53)
      .write(userDataCount: payload.count, into: &out)
    out.writeBytes(payload)
    out.writePadding(after: payload.count)
  }
}

package func sack(_ tsn: TSN, window: UInt32 = 1 << 20, gaps: [(UInt16, UInt16)] = []) -> [UInt8] {
  collectBytes(capacity: 64 + 4 * gaps.count) { out in
    SackChunk.write(
      cumulativeTSN: tsn, receiverWindow: window, gapBlocks: gaps.map { GapBlock(start: $0.0, end: $0.1) },
      duplicates: [], into: &out)
  }
}

package func forwardTSN(_ tsn: TSN, _ skipped: [(UInt16, UInt16)] = []) -> [UInt8] {
  collectBytes(capacity: 64 + 4 * skipped.count) { out in
    ForwardTSNChunk.write(
      newCumulativeTSN: tsn,
      skipped: skipped.map { SkippedStream(stream: $0.0, ssn: SSN(rawValue: $0.1)) }, into: &out)
  }
}

package func resetRequest(_ number: UInt32, lastTSN: TSN, _ streams: [UInt16]) -> [UInt8] {
  collectBytes(capacity: 64 + 2 * streams.count) { out in
    OutgoingResetRequest(
      number: RequestNumber(rawValue: number), responseNumber: RequestNumber(rawValue: 0), lastTSN: lastTSN,
      streams: streams
    ).write(into: &out)
  }
}

package func initChunk(
  tag: UInt32 = 0x1234, window: UInt32 = 100_000, outbound: UInt16 = 10, inbound: UInt16 = 10, tsn: UInt32 = 77,
  parameters: [UInt8] = [], type: UInt8 = ChunkType.initiation
) -> [UInt8] {
  let fixed = collectBytes(capacity: 16) { out in
    out.writeUInt32(tag)
    out.writeUInt32(window)
    out.writeUInt16(outbound)
    out.writeUInt16(inbound)
    out.writeUInt32(tsn)
  }
  return rawChunk(type, fixed + parameters)
}

package func parameter(_ type: UInt16, _ value: [UInt8] = [], length: Int? = nil) -> [UInt8] {
  let count = length ?? (4 + value.count)
  return [UInt8(type >> 8), UInt8(type & 255), UInt8(count >> 8), UInt8(count & 255)] + value
    + [UInt8](repeating: 0, count: -value.count & 3)
}

/// One chunk of a packet, copied out.
package struct SeenChunk: Equatable {
  package var type: UInt8
  package var flags: UInt8
  package var value: [UInt8]

  package init(type: UInt8, flags: UInt8, value: [UInt8]) {
    self.type = type
    self.flags = flags
    self.value = value
  }
}

package func chunks(of packet: [UInt8]) throws -> [SeenChunk] {
  var result: [SeenChunk] = []
  var reader = ChunkReader(packet.rawSpan)
  while let chunk = try reader.next() {
    result.append(SeenChunk(type: chunk.type, flags: chunk.flags, value: chunk.value.copyBytes()))
  }
  return result
}

package func tag(of packet: [UInt8]) throws -> UInt32 { try PacketHeader(packet.rawSpan).verificationTag }

package func dataHeaders(of packet: [UInt8]) throws -> [DataHeader] {
  var result: [DataHeader] = []
  var reader = ChunkReader(packet.rawSpan)
  while let chunk = try reader.next() {
    if chunk.type == ChunkType.data { result.append(try DataHeader(chunk)) }
  }
  return result
}

package struct SeenSack: Equatable {
  package var tsn: TSN
  package var window: UInt32
  package var gaps: [GapBlock]
  package var duplicates: [TSN]
}

package func sacks(of packet: [UInt8]) throws -> [SeenSack] {
  var result: [SeenSack] = []
  var reader = ChunkReader(packet.rawSpan)
  while let chunk = try reader.next() {
    guard chunk.type == ChunkType.sack else { continue }
    let sack = try SackChunk(chunk)
    result.append(
      SeenSack(
        tsn: sack.cumulativeTSN, window: sack.receiverWindow, gaps: (0..<sack.gapBlockCount).map { sack.gapBlock($0) },
        duplicates: (0..<sack.duplicateCount).map { sack.duplicate($0) }))
  }
  return result
}

extension World {
  /// Hands `b` a crafted packet with the right tag.
  package mutating func inject(_ chunks: [UInt8]...) {
    b.handle(craft(tag: b.association.localTag, chunks), now: now)
    b.collect(now: now)
  }

  /// The TSN `n` steps after what `b` has received.
  package func tsn(_ n: UInt32) -> TSN { b.association.receivedTSN.advanced(by: n) }

  /// What `b` wants to send now, one list of chunks for each packet.
  package mutating func answers() throws -> [[SeenChunk]] { try b.packets(now: now).map { try chunks(of: $0) } }
}
