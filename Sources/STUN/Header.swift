// Header.swift — the fixed 20 bytes in front of every STUN message (RFC 8489 §5).
//
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |0 0|  method and class         |  length of the attributes     |
// |                  magic cookie 0x2112A442                      |
// |                  transaction id, 96 bits                      |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

package import Wire

package enum STUNClass: UInt8, Hashable, Sendable {
  case request = 0
  case indication = 1
  case successResponse = 2
  case errorResponse = 3
}

/// What a message is about: 12 bits.
package struct STUNMethod: Hashable, Sendable {
  package let rawValue: UInt16

  package init?(rawValue: UInt16) {
    guard rawValue <= 0xfff else { return nil }
    self.rawValue = rawValue
  }
  private init(known: UInt16) { rawValue = known }

  package static let binding = STUNMethod(known: 0x001)
  // RFC 8656 §17
  package static let allocate = STUNMethod(known: 0x003)
  package static let refresh = STUNMethod(known: 0x004)
  package static let send = STUNMethod(known: 0x006)
  package static let data = STUNMethod(known: 0x007)
  package static let createPermission = STUNMethod(known: 0x008)
  package static let channelBind = STUNMethod(known: 0x009)
}

/// The 96 bits that tie a response to its request (RFC 8489 §5). Unpredictable, or anybody could answer.
package struct TransactionID: Hashable, Sendable {
  package var high: UInt32
  package var low: UInt64

  package init(high: UInt32, low: UInt64) {
    self.high = high
    self.low = low
  }

  package static func random(using random: inout RandomSource) -> TransactionID {
    TransactionID(high: UInt32(truncatingIfNeeded: random.next()), low: random.next())
  }
}

package struct STUNHeader: Hashable, Sendable {
  package var messageClass: STUNClass
  package var method: STUNMethod
  package var id: TransactionID

  package static let byteCount = 20
  package static let magicCookie: UInt32 = 0x2112_A442

  package init(_ messageClass: STUNClass, _ method: STUNMethod = .binding, id: TransactionID) {
    self.messageClass = messageClass
    self.method = method
    self.id = id
  }

  /// Reads a header and the length it claims for the attributes, which is always a multiple of four.
  package static func read(from datagram: RawSpan) throws(Malformed) -> (header: STUNHeader, bodyLength: Int) {
    var reader = ByteReader(datagram)
    let type = try reader.readUInt16()
    let length = try reader.readUInt16()
    let cookie = try reader.readUInt32()
    let id = TransactionID(high: try reader.readUInt32(), low: try reader.readUInt64())
    guard let (messageClass, method) = Self.split(type: type), cookie == magicCookie else { throw .badValue }
    guard length & 3 == 0 else { throw .badLength }
    return (STUNHeader(messageClass, method, id: id), Int(length))
  }

  /// The 14 bits of the type field: the class sits at bits 4 and 8, the method fills the rest.
  package var type: UInt16 {
    let method = method.rawValue
    let code = UInt16(messageClass.rawValue)
    return (method & 0x000f) | (method & 0x0070) << 1 | (method & 0x0f80) << 2 | (code & 1) << 4 | (code & 2) << 7
  }

  /// Nil when one of the two upper bits is set: such bytes are no STUN (RFC 8489 §5).
  package static func split(type: UInt16) -> (STUNClass, STUNMethod)? {
    guard type & 0xc000 == 0,
      let messageClass = STUNClass(rawValue: UInt8(type >> 4 & 1 | type >> 7 & 2)),
      let method = STUNMethod(rawValue: type & 0x000f | type >> 1 & 0x0070 | type >> 2 & 0x0f80)
    else { return nil }
    return (messageClass, method)
  }
}
