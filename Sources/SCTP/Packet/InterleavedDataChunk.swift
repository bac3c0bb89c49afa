// InterleavedDataChunk.swift — I-DATA (RFC 8260 §2.1): fragments that name their message and their place in it, so that
// those of several messages may alternate.
//
//   |   type = 64   |  res  |I|U|B|E|            length             |
//   |                              TSN                              |
//   |      stream identifier        |           reserved            |
//   |                   message identifier (MID)                    |
//   |   B: payload protocol identifier; else: fragment number (FSN) |
//   |                          user data …                          |

package import Wire

/// A message identifier (RFC 8260 §2.1): ordered and unordered messages of a stream are counted apart.
package struct MID: SerialNumber {
  package var rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }
  package var next: MID { advanced(by: 1) }
}

/// The fixed fields of an I-DATA chunk.
package struct InterleavedDataHeader: Equatable, Sendable {
  /// Chunk header and fixed fields.
  package static let byteCount = 20

  package var flags: DataFlags
  package var tsn: TSN
  package var stream: UInt16
  package var mid: MID
  /// The fragment's place in its message; 0 in the first one.
  package var fragment: UInt32
  /// Sent with the first fragment only; 0 in the others.
  package var payloadProtocol: UInt32

  package init(
    flags: DataFlags, tsn: TSN, stream: UInt16, mid: MID, fragment: UInt32, payloadProtocol: UInt32
  ) {
    self.flags = flags
    self.tsn = tsn
    self.stream = stream
    self.mid = mid
    self.fragment = fragment
    self.payloadProtocol = payloadProtocol
  }

  /// Reads an I-DATA chunk's fixed fields; what follows them, maybe nothing, is the user data.
  package init(_ chunk: borrowing Chunk) throws(Malformed) {
    let value = chunk.value
    guard value.byteCount >= Self.byteCount - ChunkHeader.byteCount else { throw .truncated }
    flags = DataFlags(rawValue: chunk.flags)
    tsn = TSN(rawValue: value.uint32(at: 0))
    stream = value.uint16(at: 4)
    mid = MID(rawValue: value.uint32(at: 8))
    let last = value.uint32(at: 12)
    let isFirst = flags.contains(.begin)
    fragment = isFirst ? 0 : last
    payloadProtocol = isFirst ? last : 0
  }

  /// The user data of a chunk whose header has been read.
  @_lifetime(copy chunk)
  package static func userData(of chunk: borrowing Chunk) -> RawSpan {
    chunk.value.extracting((byteCount - ChunkHeader.byteCount)..<chunk.value.byteCount)
  }

  /// Writes everything but the user data.
  package func write(userDataCount: Int, into out: inout OutputRawSpan) {
    out.writeUInt64(
      UInt64(ChunkType.interleavedData) << 56 | UInt64(flags.rawValue) << 48
        | UInt64(Self.byteCount + userDataCount) << 32 | UInt64(tsn.rawValue))
    out.writeUInt64(UInt64(stream) << 48 | UInt64(mid.rawValue))
    out.writeUInt32(flags.contains(.begin) ? payloadProtocol : fragment)
  }
}
