// BulkFrame.swift — the binary messages of an artifact transfer between extended peers.
//
//   0               1               2               3
//  +---------------+---------------+-------------------------------+
//  |     kind      |    version    |           reserved            |
//  +---------------+---------------+-------------------------------+
//  |                     transfer (64 bits)                        |
//  +---------------------------------------------------------------+
//  |                      offset (64 bits)                         |
//  +---------------------------------------------------------------+
//  |   data: the bytes from `offset` on; acknowledgement: none     |
//
// A chunk's offset is its sequence number: chunks come in order on a reliable channel, and one that does not continue
// what is there belongs to an earlier attempt. An acknowledgement is cumulative.

package import Wire

package struct BulkFrame: Hashable, Sendable {
  package enum Kind: UInt8, Sendable { case chunk = 1, acknowledgement = 2 }

  package var kind: Kind
  package var transfer: UInt64
  package var offset: Int64

  package static let headerBytes = 20
  private static let version: UInt8 = 1

  package init(kind: Kind, transfer: UInt64, offset: Int64) {
    self.kind = kind
    self.transfer = transfer
    self.offset = offset
  }

  /// Reads the header; the data is what follows it.
  package init(_ frame: RawSpan) throws(Malformed) {
    var reader = ByteReader(frame)
    guard let kind = Kind(rawValue: try reader.readUInt8()) else { throw .badValue }
    guard try reader.readUInt8() == Self.version else { throw .badValue }
    try reader.skip(2)
    transfer = try reader.readUInt64()
    guard let offset = Int64(exactly: try reader.readUInt64()) else { throw .badValue }
    guard kind == .chunk ? !reader.isAtEnd : reader.isAtEnd else { throw .badLength }
    self.kind = kind
    self.offset = offset
  }

  package func bytes(data: [UInt8] = []) -> [UInt8] {
    collectBytes(capacity: Self.headerBytes + data.count) { out in
      out.writeUInt8(kind.rawValue)
      out.writeUInt8(Self.version)
      out.writeUInt16(0)
      out.writeUInt64(transfer)
      out.writeUInt64(UInt64(offset))
      out.writeBytes(data)
    }
  }
}
