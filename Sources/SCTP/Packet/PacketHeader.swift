// PacketHeader.swift — the common header and the checksum over a whole packet (RFC 9260 §3.1, §6.8).
//
//   0                   1                   2                   3
//   |      source port number       |    destination port number    |
//   |                       verification tag                        |
//   |                 checksum (CRC-32C, little-endian)             |

package import Wire

package struct PacketHeader: Equatable, Sendable {
  package static let byteCount = 12

  package var sourcePort: UInt16
  package var destinationPort: UInt16
  package var verificationTag: UInt32

  package init(sourcePort: UInt16, destinationPort: UInt16, verificationTag: UInt32) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.verificationTag = verificationTag
  }

  /// Reads the header of a whole packet; does not look at the checksum.
  package init(_ packet: RawSpan) throws(Malformed) {
    guard packet.byteCount >= Self.byteCount + ChunkHeader.byteCount else { throw .truncated }
    sourcePort = packet.uint16(at: 0)
    destinationPort = packet.uint16(at: 2)
    verificationTag = packet.uint32(at: 4)
  }

  /// Writes the header with a checksum of zero; `PacketChecksum.patch` completes it.
  package func write(into out: inout OutputRawSpan) {
    out.writeUInt64(
      UInt64(sourcePort) << 48 | UInt64(destinationPort) << 32 | UInt64(verificationTag))
    out.writeUInt32(0)
  }
}

/// The CRC-32C of a packet, computed as if its own field were zero. It is the one little-endian field of SCTP.
package enum PacketChecksum {
  static let offset = 8

  /// Fills in the checksum of the packet that begins at `start` and ends where the buffer does now.
  package static func patch(_ out: inout OutputRawSpan, packetAt start: Int) {
    let checksum = CRC32C.checksum(out.bytes.extracting(start..<out.byteCount))
    out.patchUInt32(checksum.byteSwapped, at: start + offset)
  }

  /// Whether the packet, of which a header has been read, carries zero in place of a checksum (RFC 9653 §5.2).
  package static func isAbsent(_ packet: RawSpan) -> Bool { packet.uint32(at: offset) == 0 }

  /// Whether the packet carries the right checksum.
  package static func isCorrect(_ packet: RawSpan) -> Bool {
    guard packet.byteCount >= PacketHeader.byteCount else { return false }
    return CRC32C.checksum(packet, zeroingFourAt: offset) == packet.uint32(at: offset).byteSwapped
  }
}
