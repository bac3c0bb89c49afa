// RTCPDescription.swift — SDES, BYE and APP: who a source is, that it leaves, and what an application adds
// (RFC 3550 §6.5 … §6.7).
//
//   SDES:  count chunks of  | SSRC/CSRC | items: type 8, length 8, text … | zeros, 1 … 4, to the next word |
//   BYE:   | count SSRC/CSRCs | length of reason, 8 | reason … |
//   APP:   | SSRC/CSRC | name, 4 bytes | data … |

internal import Wire

/// The types of SDES items (RFC 3550 §6.5; RFC 9143 §15.1, RFC 8852 §3).
package enum RTCPDescriptionType {
  package static let cname: UInt8 = 1
  package static let name: UInt8 = 2
  package static let email: UInt8 = 3
  package static let phone: UInt8 = 4
  package static let location: UInt8 = 5
  package static let tool: UInt8 = 6
  package static let note: UInt8 = 7
  package static let privateExtension: UInt8 = 8
  package static let rid: UInt8 = 12
  package static let repairedRid: UInt8 = 13
  package static let mid: UInt8 = 15
}

/// SDES. Every chunk and item lies within it.
package struct RTCPSourceDescription: ~Escapable {
  /// 0 … 31.
  package let chunkCount: Int
  private let body: RawSpan

  @_lifetime(copy body)
  init(_ body: RawSpan, chunks: Int) throws(Malformed) {
    self.body = body
    chunkCount = chunks
    var reader = ByteReader(body)
    for _ in 0..<chunks { _ = try RTCPDescriptionChunk(from: &reader) }
  }

  package var chunks: RTCPDescriptionChunks {
    @_lifetime(copy self)
    get { RTCPDescriptionChunks(body, count: chunkCount) }
  }
}

/// Walks the chunks without allocating.
package struct RTCPDescriptionChunks: ~Escapable {
  private var reader: ByteReader
  private var remaining: Int

  @_lifetime(copy body)
  fileprivate init(_ body: RawSpan, count: Int) {
    reader = ByteReader(body)
    remaining = count
  }

  @_lifetime(copy self)
  package mutating func next() -> RTCPDescriptionChunk? {
    guard remaining > 0 else { return nil }
    remaining -= 1
    do throws(Malformed) {
      return try RTCPDescriptionChunk(from: &reader)
    } catch {
      preconditionFailure("the description was checked when it was read")
    }
  }
}

/// What is said of one source.
package struct RTCPDescriptionChunk: ~Escapable {
  package let ssrc: UInt32
  /// The items without the zeros that end them.
  private let list: RawSpan

  @_lifetime(copy reader)
  fileprivate init(from reader: inout ByteReader) throws(Malformed) {
    ssrc = try reader.readUInt32()
    // A look ahead finds where the items end.
    var ahead = reader
    var count = 0
    while try ahead.readUInt8() != 0 {
      let length = Int(try ahead.readUInt8())
      try ahead.skip(length)
      count += 2 + length
    }
    list = try reader.readBytes(count)
    try reader.skip(1)
    // The body starts on a word, so the offset tells how far the next one is.
    reader.skipPadding(after: reader.offset)
  }

  package var items: RTCPDescriptionItems {
    @_lifetime(copy self)
    get { RTCPDescriptionItems(list) }
  }

  /// The value of the first item of a type, such as the CNAME.
  @_lifetime(copy self)
  package func item(_ type: UInt8) -> RawSpan? {
    var items = items
    while let item = items.next() {
      if item.type == type { return item.value }
    }
    return nil
  }
}

package struct RTCPDescriptionItem: ~Escapable {
  package let type: UInt8
  /// UTF-8 that nobody has checked; 0 … 255 bytes.
  package let value: RawSpan

  @_lifetime(copy value)
  fileprivate init(type: UInt8, value: RawSpan) {
    self.type = type
    self.value = value
  }
}

/// Walks the items of a chunk without allocating.
package struct RTCPDescriptionItems: ~Escapable {
  private let list: RawSpan
  private var offset = 0

  @_lifetime(copy list)
  fileprivate init(_ list: RawSpan) { self.list = list }

  @_lifetime(copy self)
  package mutating func next() -> RTCPDescriptionItem? {
    guard offset < list.byteCount else { return nil }
    let start = offset + 2
    let end = start + Int(list.byte(at: offset + 1))
    let type = list.byte(at: offset)
    offset = end
    return RTCPDescriptionItem(type: type, value: list.extracting(start..<end))
  }
}

/// BYE.
package struct RTCPGoodbye: ~Escapable {
  /// 0 … 31.
  package let sourceCount: Int
  /// Why they leave; nil when nothing is said.
  package let reason: RawSpan?
  private let body: RawSpan

  @_lifetime(copy body)
  init(_ body: RawSpan, sources: Int) throws(Malformed) {
    guard body.byteCount >= 4 * sources else { throw .truncated }
    self.body = body
    sourceCount = sources
    var reader = ByteReader(body)
    try reader.skip(4 * sources)
    reason = reader.isAtEnd ? nil : try reader.readBytes(Int(try reader.readUInt8()))
  }

  /// The source at `index`, which must be less than `sourceCount`.
  package func source(_ index: Int) -> UInt32 {
    precondition(index >= 0 && index < sourceCount, "the caller asks for a source that there is")
    return body.uint32(at: 4 * index)
  }
}

/// APP.
package struct RTCPApplication: ~Escapable {
  package let subtype: UInt8
  package let ssrc: UInt32
  /// Four letters, the first one highest.
  package let name: UInt32
  package let data: RawSpan

  @_lifetime(copy body)
  init(_ body: RawSpan, subtype: UInt8) throws(Malformed) {
    var reader = ByteReader(body)
    self.subtype = subtype
    ssrc = try reader.readUInt32()
    name = try reader.readUInt32()
    data = reader.readRemaining()
  }
}
