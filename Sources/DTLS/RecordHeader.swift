// RecordHeader.swift — as much of the record layer and of handshake fragments as it takes to keep forged ones from OpenSSL
// while nothing is authenticated yet (RFC 6347 §4.1, §4.2.2).

internal import Wire

/// The first 13 bytes of a record.
///
///      0      1      2      3      4      5 … 10           11     12
///     +------+------+------+------+------+-----------------+------+------+
///     | type | version     | epoch       | sequence number | length      |
///     +------+------+------+------+------+-----------------+------+------+
struct RecordHeader {
  let contentType: UInt8
  let epoch: UInt16
  let length: Int

  static let byteCount = 13
  static let changeCipherSpec: UInt8 = 20
  static let alert: UInt8 = 21
  static let handshake: UInt8 = 22
  /// AES-GCM's explicit nonce and tag. ChaCha20-Poly1305 has no explicit nonce, but what comes before a handshake ends is
  /// longer with it too.
  static let minimumProtectedLength = 24

  init(from reader: inout ByteReader) throws(Malformed) {
    contentType = try reader.readUInt8()
    try reader.skip(2)
    epoch = try reader.readUInt16()
    try reader.skip(6)
    length = Int(try reader.readUInt16())
  }
}

/// A piece of a handshake message.
///
///      0      1 … 3    4 … 5              6 … 8             9 … 11
///     +------+--------+------------------+-----------------+-----------------+----
///     | type | length | message sequence | fragment offset | fragment length | …
///     +------+--------+------------------+-----------------+-----------------+----
enum HandshakeFragment {
  /// Whether a record holds whole fragments only, each within its message, none empty unless its message is, and no
  /// message longer than a peer's certificates may make it. OpenSSL fails the handshake, or reserves memory, for others.
  static func areSound(in record: RawSpan) -> Bool {
    var reader = ByteReader(record)
    do throws(Malformed) {
      repeat { try readFragment(from: &reader) } while !reader.isAtEnd
      return true
    } catch {
      return false
    }
  }

  private static func readFragment(from reader: inout ByteReader) throws(Malformed) {
    try reader.skip(1)
    let length = try readUInt24(from: &reader)
    try reader.skip(2)
    let offset = try readUInt24(from: &reader)
    let count = try readUInt24(from: &reader)
    guard length <= maximumMessageLength, offset + count <= length, count > 0 || length == 0 else { throw .badLength }
    try reader.skip(count)
  }

  private static func readUInt24(from reader: inout ByteReader) throws(Malformed) -> Int {
    Int(try reader.readUInt8()) << 16 | Int(try reader.readUInt16())
  }

  /// What OpenSSL has been told to accept as certificates; all other messages are shorter.
  static let maximumMessageLength = 16_384
}
