// InterleavedForwardTSNChunk.swift — I-FORWARD-TSN (RFC 8260 §2.3.1).
//
//   |  type = 194   |     flags     |            length             |
//   |                     new cumulative TSN                        |
//   |           stream 1            |          reserved           |U|
//   |                     message identifier 1                      |
//   |                              …                                |

package import Wire

/// The last message of a stream, ordered or not, that the receiver need not wait for.
package struct SkippedMessage: Equatable, Sendable {
  package var stream: UInt16
  package var isUnordered: Bool
  package var mid: MID
  package init(stream: UInt16, isUnordered: Bool, mid: MID) {
    self.stream = stream
    self.isUnordered = isUnordered
    self.mid = mid
  }
}

/// An I-FORWARD-TSN, borrowed from its packet.
package struct InterleavedForwardTSNChunk: ~Escapable {
  package let newCumulativeTSN: TSN
  package let skippedCount: Int
  private let list: RawSpan

  private static let entryByteCount = 8

  @_lifetime(copy chunk)
  package init(_ chunk: borrowing Chunk) throws(Malformed) {
    let value = chunk.value
    guard value.byteCount >= 4 else { throw .truncated }
    guard (value.byteCount - 4) % Self.entryByteCount == 0 else { throw .badLength }
    newCumulativeTSN = TSN(rawValue: value.uint32(at: 0))
    list = value.extracting(4..<value.byteCount)
    skippedCount = list.byteCount / Self.entryByteCount
  }

  /// The entry at `index`, which must be less than `skippedCount`.
  package func skipped(_ index: Int) -> SkippedMessage {
    let at = Self.entryByteCount * index
    return SkippedMessage(
      stream: list.uint16(at: at), isUnordered: list.uint16(at: at + 2) & 1 != 0,
      mid: MID(rawValue: list.uint32(at: at + 4)))
  }

  package static func byteCount(skipped: Int) -> Int { 8 + entryByteCount * skipped }

  package static func write(newCumulativeTSN: TSN, skipped: [SkippedMessage], into out: inout OutputRawSpan) {
    out.writeUInt32(UInt32(ChunkType.interleavedForwardTSN) << 24 | UInt32(byteCount(skipped: skipped.count)))
    out.writeUInt32(newCumulativeTSN.rawValue)
    for entry in skipped {
      out.writeUInt32(UInt32(entry.stream) << 16 | (entry.isUnordered ? 1 : 0))
      out.writeUInt32(entry.mid.rawValue)
    }
  }
}
