// ForwardTSNChunk.swift — FORWARD-TSN (RFC 3758 §3.2).
//
//   |  type = 192   |     flags     |            length             |
//   |                     new cumulative TSN                        |
//   |           stream 1            |     stream sequence 1         |
//   |                              …                                |

package import Wire

/// The last message of an ordered stream that the receiver need not wait for.
package struct SkippedStream: Equatable, Sendable {
  package var stream: UInt16
  package var ssn: SSN
  package init(stream: UInt16, ssn: SSN) {
    self.stream = stream
    self.ssn = ssn
  }
}

/// A FORWARD-TSN, borrowed from its packet.
package struct ForwardTSNChunk: ~Escapable {
  package let newCumulativeTSN: TSN
  package let skippedCount: Int
  private let list: RawSpan

  @_lifetime(copy chunk)
  package init(_ chunk: borrowing Chunk) throws(Malformed) {
    let value = chunk.value
    guard value.byteCount >= 4 else { throw .truncated }
    guard value.byteCount % 4 == 0 else { throw .badLength }
    newCumulativeTSN = TSN(rawValue: value.uint32(at: 0))
    list = value.extracting(4..<value.byteCount)
    skippedCount = list.byteCount / 4
  }

  /// The entry at `index`, which must be less than `skippedCount`.
  package func skipped(_ index: Int) -> SkippedStream {
    SkippedStream(stream: list.uint16(at: 4 * index), ssn: SSN(rawValue: list.uint16(at: 4 * index + 2)))
  }

  package static func byteCount(skipped: Int) -> Int { 8 + 4 * skipped }

  package static func write(newCumulativeTSN: TSN, skipped: [SkippedStream], into out: inout OutputRawSpan) {
    out.writeUInt32(UInt32(ChunkType.forwardTSN) << 24 | UInt32(byteCount(skipped: skipped.count)))
    out.writeUInt32(newCumulativeTSN.rawValue)
    for entry in skipped { out.writeUInt32(UInt32(entry.stream) << 16 | UInt32(entry.ssn.rawValue)) }
  }
}
