// ChecksumTests.swift — CRC-32C against the vectors, and the processor's instruction against the tables.

import TestSupport
import Testing
import Wire

@Suite struct ChecksumTests {
  @Test func hardwareAndTablesAgreeAtEveryLength() {
    var random = RandomSource.seeded(state: 1)
    let bytes = random.bytes(2_500)
    for count in Array(0...300) + Array(990...1_030) + Array(2_000...2_100) + [2_500] {
      let part = bytes[..<count]
      #expect(CRC32C.checksum(part.rawSpan) == CRC32C.portableChecksum(part.rawSpan), "\(count) bytes")
    }
  }

  @Test func theFieldOfTheChecksumCountsAsZero() {
    var random = RandomSource.seeded(state: 2)
    let bytes = random.bytes(1_160)
    for offset in [0, 8, 500, 1_156] {
      var zeroed = bytes
      zeroed.replaceSubrange(offset..<(offset + 4), with: [0, 0, 0, 0])
      let expected = CRC32C.portableChecksum(zeroed.rawSpan)
      let checksum = CRC32C.checksum(bytes.rawSpan, zeroingFourAt: offset)
      #expect(checksum == expected, "field at \(offset)")
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
