// SackChunk.swift — SACK (RFC 9260 §3.3.4).
//
//   |   type = 3    |     flags     |            length             |
//   |                      cumulative TSN ack                       |
//   |          advertised receiver window credit (a_rwnd)           |
//   | number of gap ack blocks = N  |  number of duplicate TSNs = M |
//   |      start of gap block 1     |       end of gap block 1      |
//   |                      …        duplicate TSNs …                |

package import Wire

/// A run of received TSNs beyond the cumulative one, as offsets from it, both ends included.
package struct GapBlock: Equatable, Sendable {
  package var start: UInt16
  package var end: UInt16
  package init(start: UInt16, end: UInt16) {
    self.start = start
    self.end = end
  }
}

/// A SACK, borrowed from its packet.
package struct SackChunk: ~Escapable {
  package let cumulativeTSN: TSN
  package let receiverWindow: UInt32
  package let gapBlockCount: Int
  package let duplicateCount: Int
  private let lists: RawSpan

  private static let fixedByteCount = 12

  @_lifetime(copy chunk)
  package init(_ chunk: borrowing Chunk) throws(Malformed) {
    let value = chunk.value
    guard value.byteCount >= Self.fixedByteCount else { throw .truncated }
    cumulativeTSN = TSN(rawValue: value.uint32(at: 0))
    receiverWindow = value.uint32(at: 4)
    gapBlockCount = Int(value.uint16(at: 8))
    duplicateCount = Int(value.uint16(at: 10))
    lists = value.extracting(Self.fixedByteCount..<value.byteCount)
    guard lists.byteCount >= 4 * (gapBlockCount + duplicateCount) else { throw .badLength }
  }

  /// The block at `index`, which must be less than `gapBlockCount`.
  package func gapBlock(_ index: Int) -> GapBlock {
    GapBlock(start: lists.uint16(at: 4 * index), end: lists.uint16(at: 4 * index + 2))
  }

  /// The duplicate at `index`, which must be less than `duplicateCount`.
  package func duplicate(_ index: Int) -> TSN {
    TSN(rawValue: lists.uint32(at: 4 * (gapBlockCount + index)))
  }

  package static func byteCount(gapBlocks: Int, duplicates: Int) -> Int {
    ChunkHeader.byteCount + fixedByteCount + 4 * (gapBlocks + duplicates)
  }

  package static func write(
    cumulativeTSN: TSN, receiverWindow: UInt32, gapBlocks: [GapBlock], duplicates: [TSN],
    into out: inout OutputRawSpan
  ) {
    let length = byteCount(gapBlocks: gapBlocks.count, duplicates: duplicates.count)
    out.writeUInt32(UInt32(ChunkType.sack) << 24 | UInt32(length))
    out.writeUInt32(cumulativeTSN.rawValue)
    out.writeUInt32(receiverWindow)
    out.writeUInt16(UInt16(gapBlocks.count))
    out.writeUInt16(UInt16(duplicates.count))
    for block in gapBlocks { out.writeUInt32(UInt32(block.start) << 16 | UInt32(block.end)) }
    for tsn in duplicates { out.writeUInt32(tsn.rawValue) }
  }
}
