// Chunk.swift — the frame that every chunk shares, and what unknown types ask of us (RFC 9260 §3.2).
//
//   |  chunk type   |  chunk flags  |         chunk length          |
//   |                          chunk value …                        |
//
// The length counts header and value, but not the padding to four bytes.

package import Wire

package enum ChunkType {
  package static let data: UInt8 = 0
  package static let initiation: UInt8 = 1
  package static let initiationAck: UInt8 = 2
  package static let sack: UInt8 = 3
  package static let heartbeat: UInt8 = 4
  package static let heartbeatAck: UInt8 = 5
  package static let abort: UInt8 = 6
  package static let shutdown: UInt8 = 7
  package static let shutdownAck: UInt8 = 8
  package static let error: UInt8 = 9
  package static let cookieEcho: UInt8 = 10
  package static let cookieAck: UInt8 = 11
  package static let shutdownComplete: UInt8 = 14
  package static let interleavedData: UInt8 = 64
  package static let reconfig: UInt8 = 130
  /// PAD (RFC 4820 §3): skipped by those that do not know it, as by us.
  package static let padding: UInt8 = 132
  package static let forwardTSN: UInt8 = 192
  package static let interleavedForwardTSN: UInt8 = 194
}

package enum ChunkHeader {
  package static let byteCount = 4

  /// Writes type and flags with a length of zero, and answers where the chunk began; `finish` completes it.
  static func begin(_ type: UInt8, flags: UInt8 = 0, into out: inout OutputRawSpan) -> Int {
    let start = out.byteCount
    out.writeUInt32(UInt32(type) << 24 | UInt32(flags) << 16)
    return start
  }

  /// Fills in the length and pads the chunk that began at `start`.
  static func finish(chunkAt start: Int, into out: inout OutputRawSpan) {
    let length = out.byteCount - start
    out.patchUInt16(UInt16(length), at: start + 2)
    out.writePadding(after: length)
  }

  /// A chunk without a value.
  static func writeEmpty(_ type: UInt8, flags: UInt8 = 0, into out: inout OutputRawSpan) {
    out.writeUInt32(UInt32(type) << 24 | UInt32(flags) << 16 | UInt32(byteCount))
  }
}

/// The T bit of ABORT and SHUTDOWN-COMPLETE: the verification tag is the sender's own, reflected (RFC 9260 §8.5.1).
let reflectedTagFlag: UInt8 = 1

/// One chunk, borrowed from its packet.
package struct Chunk: ~Escapable {
  package let type: UInt8
  package let flags: UInt8
  package let value: RawSpan
  /// Header and value, without padding.
  package let whole: RawSpan

  @_lifetime(copy value, copy whole)
  init(type: UInt8, flags: UInt8, value: RawSpan, whole: RawSpan) {
    self.type = type
    self.flags = flags
    self.value = value
    self.whole = whole
  }
}

/// Walks the chunks of a packet without allocating; every step moves at least four bytes ahead.
package struct ChunkReader: ~Escapable {
  private let packet: RawSpan
  private var offset: Int

  /// - Parameter packet: the whole packet, common header included.
  @_lifetime(copy packet)
  package init(_ packet: RawSpan) {
    self.packet = packet
    offset = PacketHeader.byteCount
  }

  package var isAtEnd: Bool { offset >= packet.byteCount }

  @_lifetime(copy self)
  package mutating func next() throws(Malformed) -> Chunk? {
    let remaining = packet.byteCount - offset
    guard remaining > 0 else { return nil }
    guard remaining >= ChunkHeader.byteCount else { throw .truncated }
    let length = Int(packet.uint16(at: offset + 2))
    guard length >= ChunkHeader.byteCount else { throw .badLength }
    guard length <= remaining else { throw .truncated }
    let chunk = Chunk(
      type: packet.byte(at: offset), flags: packet.byte(at: offset + 1),
      value: packet.extracting((offset + ChunkHeader.byteCount)..<(offset + length)),
      whole: packet.extracting(offset..<(offset + length)))
    // The padding of a last chunk may be missing.
    offset = min(packet.byteCount, offset + (length + 3) & ~3)
    return chunk
  }
}

/// What the two highest bits of an unknown type ask of us: for chunks (RFC 9260 §3.2) and for parameters (§3.2.1).
package struct UnknownTypeAction: Equatable, Sendable {
  package var stops: Bool
  package var reports: Bool

  package init(chunkType: UInt8) {
    stops = chunkType & 0x80 == 0
    reports = chunkType & 0x40 != 0
  }

  package init(parameterType: UInt16) { self.init(chunkType: UInt8(parameterType >> 8)) }
}
