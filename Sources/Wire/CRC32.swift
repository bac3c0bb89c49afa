// CRC32.swift — the two checksums of the stack: CRC-32 of STUN's FINGERPRINT (RFC 8489 §14.7) and CRC-32C of SCTP
// (RFC 9260 Appendix A).
//
// CRC-32C runs on the processor's own instruction where there is one; the tables serve CRC-32 and other processors,
// eight bytes at a time ("slicing by eight").

import CCRC32C

/// CRC-32, polynomial 0x04C11DB7 reflected, as in ISO 3309 and ITU-T V.42.
public enum CRC32 {
  public static func checksum(_ bytes: RawSpan) -> UInt32 { tables.checksum(bytes) }
  private static let tables = SlicedCRC(reflectedPolynomial: 0xEDB8_8320)
}

/// CRC-32C, the Castagnoli polynomial 0x1EDC6F41 reflected.
public enum CRC32C {
  public static func checksum(_ bytes: RawSpan) -> UInt32 { ~update(0xFFFF_FFFF, bytes) }

  /// The checksum as if the four bytes at `offset`, which must be within the bytes, were zero: where a packet carries
  /// its own checksum.
  public static func checksum(_ bytes: RawSpan, zeroingFourAt offset: Int) -> UInt32 {
    let head = update(0xFFFF_FFFF, bytes.extracting(0..<offset))
    let zeros: UInt32 = 0
    let field = unsafe withUnsafeBytes(of: zeros) { unsafe update(head, $0.bytes) }
    return ~update(field, bytes.extracting((offset + 4)..<bytes.byteCount))
  }

  /// The same without the processor's help; tests hold the two against each other.
  public static func portableChecksum(_ bytes: RawSpan) -> UInt32 { tables.checksum(bytes) }

  private static func update(_ crc: UInt32, _ bytes: RawSpan) -> UInt32 {
    guard hasHardware else { return tables.update(crc, bytes) }
    return unsafe bytes.withUnsafeBytes { unsafe crc32c_hardware_update(crc, $0.baseAddress, $0.count) }
  }

  private static let hasHardware = crc32c_hardware_prepare()
  private static let tables = SlicedCRC(reflectedPolynomial: 0x82F6_3B78)
}

struct SlicedCRC: Sendable {
  /// Eight tables of 256 entries, one after the other.
  private let table: [UInt32]

  init(reflectedPolynomial: UInt32) {
    var table = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var crc = UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 != 0 ? crc >> 1 ^ reflectedPolynomial : crc >> 1 }
      table[byte] = crc
    }
    for slice in 1..<8 {
      for byte in 0..<256 {
        let previous = table[(slice - 1) * 256 + byte]
        table[slice * 256 + byte] = previous >> 8 ^ table[Int(previous & 0xff)]
      }
    }
    self.table = table
  }

  func checksum(_ bytes: RawSpan) -> UInt32 { ~update(0xFFFF_FFFF, bytes) }

  /// Continues a checksum that is not inverted yet.
  func update(_ crc: UInt32, _ bytes: RawSpan) -> UInt32 {
    var crc = crc
    var offset = 0
    let count = bytes.byteCount
    unsafe table.withUnsafeBufferPointer { table in
      while count - offset >= 8 {
        let word =
          unsafe UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self))
          ^ UInt64(crc)
        crc = 0
        for slice in 0..<8 {
          crc ^= unsafe table[(7 - slice) * 256 + Int(word >> UInt64(slice * 8) & 0xff)]
        }
        offset += 8
      }
      while offset < count {
        crc = unsafe crc >> 8 ^ table[Int((crc ^ UInt32(bytes.byte(at: offset))) & 0xff)]
        offset += 1
      }
    }
    return crc
  }
}
