// RTPExtensionElements.swift — the elements of a header extension in their two forms (RFC 8285 §4.2, §4.3).
//
//   one byte, profile 0xBEDE:   |  ID 4 | L-1 4 | value, 1 … 16 bytes |
//   two bytes, profile 0x100x:  |      ID 8     |      L 8      | value, 0 … 255 bytes |
//
// A zero byte between elements is padding. In the one-byte form the id 15 ends the reading, as does the id 0 with a
// length; what came before counts.

internal import Wire

/// How elements are written, which all of a packet share.
package enum RTPExtensionForm: Hashable, Sendable {
  /// Ids 1 … 14, values of 1 … 16 bytes.
  case oneByte
  /// Ids 1 … 255, values of 0 … 255 bytes. Only for a peer that understands it: `a=extmap-allow-mixed`, or an id beyond 14.
  case twoByte

  package var profile: UInt16 { self == .oneByte ? 0xbede : 0x1000 }

  package init?(profile: UInt16) {
    switch profile {
    case 0xbede: self = .oneByte
    case 0x1000...0x100f: self = .twoByte  // the last four bits are the application's
    default: return nil
    }
  }
}

/// One element, borrowed from its packet.
package struct RTPExtensionElement: ~Escapable {
  package let id: UInt8
  package let value: RawSpan

  @_lifetime(copy value)
  init(id: UInt8, value: RawSpan) {
    self.id = id
    self.value = value
  }
}

/// Walks the elements of a checked extension without allocating.
package struct RTPExtensionElements: ~Escapable {
  private let body: RawSpan
  private let form: RTPExtensionForm?
  private var offset = 0

  @_lifetime(copy body)
  init(_ body: RawSpan, profile: UInt16?) {
    self.body = body
    form = profile.flatMap { profile in RTPExtensionForm(profile: profile) }
  }

  /// Refuses an extension in which an element claims bytes beyond its end.
  static func check(_ body: RawSpan, profile: UInt16) throws(Malformed) {
    var elements = RTPExtensionElements(body, profile: profile)
    while elements.step() != nil {}
    guard !elements.isOverrun else { throw .badLength }
  }

  @_lifetime(copy self)
  package mutating func next() -> RTPExtensionElement? {
    guard let (id, range) = step() else { return nil }
    return RTPExtensionElement(id: id, value: body.extracting(range))
  }

  private var isOverrun: Bool { offset > body.byteCount }

  /// The next element's id and where its value lies; moves at least one byte ahead. After the last, `offset` is at the
  /// end, or beyond it when an element is cut off.
  @_lifetime(self: copy self)
  private mutating func step() -> (UInt8, Range<Int>)? {
    let count = body.byteCount
    guard let form else { return nil }
    while offset < count {
      let first = body.byte(at: offset)
      if first == 0 {
        offset += 1
        continue
      }
      let id: UInt8
      let start: Int
      let length: Int
      switch form {
      case .oneByte:
        id = first >> 4
        guard id != 0, id != 15 else {
          offset = count
          return nil
        }
        start = offset + 1
        length = Int(first & 0x0f) + 1
      case .twoByte:
        guard offset + 1 < count else {
          offset = count + 1
          return nil
        }
        id = first
        start = offset + 2
        length = Int(body.byte(at: offset + 1))
      }
      offset = start + length
      return offset <= count ? (id, start..<offset) : nil
    }
    return nil
  }
}
