// ChecksumTests.swift — CRC-32C against the vectors, and the processor's instruction against the tables.

import TestSupport
import Testing
import Wire

@Suite struct ChecksumTests {
  @Test func hardwareAndTablesAgreeAtEveryLength() {
    var random = RandomSource.seeded(state: 1)
    let bytes = random.bytes(300)
    for count in 0...300 {
      let part = bytes[..<count]
      #expect(CRC32C.checksum(part.rawSpan) == CRC32C.portableChecksum(part.rawSpan), "\(count) bytes")
    }
  }

  @Test func checkValues() {
    let digits = Array("123456789".utf8)
    #expect(CRC32.checksum(digits.rawSpan) == 0xCBF4_3926)
    #expect(CRC32C.checksum(digits.rawSpan) == 0xE306_9283)
  }
}

@Suite struct ChecksumVectorTests {
  @Test(arguments: try VectorRecord.read("rfc/crc32c-rfc3720-rfc9260.txt"))
  func matchesPublishedValue(_ record: VectorRecord) throws {
    let input = try #require(record.bytes("input"))
    let expected = try #require(record.values["crc"])
    #expect("0x" + String(CRC32C.checksum(input.rawSpan), radix: 16) == expected)
    #expect(CRC32C.portableChecksum(input.rawSpan) == CRC32C.checksum(input.rawSpan))
  }
}
