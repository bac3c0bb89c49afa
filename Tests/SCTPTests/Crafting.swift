// Crafting.swift — packets made by hand, as a peer would that does not play by the rules.

import SCTP
import TestSupport
import Wire

func craft(tag: UInt32, _ chunks: [[UInt8]], checksum: Bool = true) -> [UInt8] {
  collectBytes(capacity: 66_000) { out in
    PacketHeader(sourcePort: 5000, destinationPort: 5000, verificationTag: tag).write(into: &out)
    for chunk in chunks { out.writeBytes(chunk) }
    if checksum { PacketChecksum.patch(&out, packetAt: 0) }
  }
}

func craft(tag: UInt32, _ chunk: [UInt8]...) -> [UInt8] { craft(tag: tag, chunk) }

/// Any chunk; pads the value.
func rawChunk(_ type: UInt8, flags: UInt8 = 0, _ value: [UInt8] = [], length: Int? = nil) -> [UInt8] {
  let count = length ?? (4 + value.count)
  return [type, flags, UInt8(count >> 8 & 255), UInt8(count & 255)] + value
    + [UInt8](repeating: 0, count: -value.count & 3)
}

func data(
  _ tsn: TSN, _ payload: [UInt8], stream: UInt16 = 1, ssn: UInt16 = 0, flags: DataFlags = .whole
) -> [UInt8] {
  collectBytes(capacity: payload.count + 32) { out in
    DataHeader(flags: flags, tsn: tsn, stream: stream, ssn: SSN(rawValue: ssn), payloadProtocol: 53)
      .write(userDataCount: payload.count, into: &out)
    out.writeBytes(payload)
    out.writePadding(after: payload.count)
  }
}

func sack(_ tsn: TSN, window: UInt32 = 1 << 20, gaps: [(UInt16, UInt16)] = []) -> [UInt8] {
  collectBytes(capacity: 64 + 4 * gaps.count) { out in
    SackChunk.write(
      cumulativeTSN: tsn, receiverWindow: window, gapBlocks: gaps.map { GapBlock(start: $0.0, end: $0.1) },
      duplicates: [], into: &out)
  }
}

func forwardTSN(_ tsn: TSN, _ skipped: [(UInt16, UInt16)] = []) -> [UInt8] {
  collectBytes(capacity: 64 + 4 * skipped.count) { out in
    ForwardTSNChunk.write(
      newCumulativeTSN: tsn,
      skipped: skipped.map { SkippedStream(stream: $0.0, ssn: SSN(rawValue: $0.1)) }, into: &out)
  }
}

func resetRequest(_ number: UInt32, lastTSN: TSN, _ streams: [UInt16]) -> [UInt8] {
  collectBytes(capacity: 64 + 2 * streams.count) { out in
    OutgoingResetRequest(
      number: RequestNumber(rawValue: number), responseNumber: RequestNumber(rawValue: 0), lastTSN: lastTSN,
      streams: streams
    ).write(into: &out)
  }
}

func initChunk(
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

func parameter(_ type: UInt16, _ value: [UInt8] = [], length: Int? = nil) -> [UInt8] {
  let count = length ?? (4 + value.count)
  return [UInt8(type >> 8), UInt8(type & 255), UInt8(count >> 8), UInt8(count & 255)] + value
    + [UInt8](repeating: 0, count: -value.count & 3)
}

/// One chunk of a packet, copied out.
struct SeenChunk: Equatable {
  var type: UInt8
  var flags: UInt8
  var value: [UInt8]
}

func chunks(of packet: [UInt8]) throws -> [SeenChunk] {
  var result: [SeenChunk] = []
  var reader = ChunkReader(packet.rawSpan)
  while let chunk = try reader.next() {
    result.append(SeenChunk(type: chunk.type, flags: chunk.flags, value: chunk.value.copyBytes()))
  }
  return result
}

func tag(of packet: [UInt8]) throws -> UInt32 { try PacketHeader(packet.rawSpan).verificationTag }

func dataHeaders(of packet: [UInt8]) throws -> [DataHeader] {
  var result: [DataHeader] = []
  var reader = ChunkReader(packet.rawSpan)
  while let chunk = try reader.next() {
    if chunk.type == ChunkType.data { result.append(try DataHeader(chunk)) }
  }
  return result
}

struct SeenSack: Equatable {
  var tsn: TSN
  var window: UInt32
  var gaps: [GapBlock]
  var duplicates: [TSN]
}

func sacks(of packet: [UInt8]) throws -> [SeenSack] {
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
  mutating func inject(_ chunks: [UInt8]...) {
    b.handle(craft(tag: b.association.localTag, chunks), now: now)
    b.collect(now: now)
  }

  /// The TSN `n` steps after what `b` has received.
  func tsn(_ n: UInt32) -> TSN { b.association.receivedTSN.advanced(by: n) }

  /// What `b` wants to send now, one list of chunks for each packet.
  mutating func answers() throws -> [[SeenChunk]] { try b.packets(now: now).map { try chunks(of: $0) } }
}
