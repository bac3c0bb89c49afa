// Attribute.swift — STUN attributes, read by borrowing from the datagram (RFC 8489 §14, RFC 8445 §16.1).
//
// Each is a 16-bit type, a 16-bit length and a value padded to four bytes:
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |         type                  |            length             |
// |                      value (variable) …                       |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// An attribute that exists is well-formed. An unknown type is a case, not an error.

package import Wire

package struct STUNAttributeType: Hashable, Sendable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  /// Types below 0x8000 must be understood, or the message is refused (RFC 8489 §14).
  package var isComprehensionRequired: Bool { rawValue < 0x8000 }

  package static let mappedAddress = Self(rawValue: 0x0001)
  package static let username = Self(rawValue: 0x0006)
  package static let messageIntegrity = Self(rawValue: 0x0008)
  package static let errorCode = Self(rawValue: 0x0009)
  package static let unknownAttributes = Self(rawValue: 0x000a)
  package static let realm = Self(rawValue: 0x0014)
  package static let nonce = Self(rawValue: 0x0015)
  package static let messageIntegritySHA256 = Self(rawValue: 0x001c)
  package static let passwordAlgorithm = Self(rawValue: 0x001d)
  package static let userHash = Self(rawValue: 0x001e)
  package static let xorMappedAddress = Self(rawValue: 0x0020)
  package static let priority = Self(rawValue: 0x0024)
  package static let useCandidate = Self(rawValue: 0x0025)
  package static let software = Self(rawValue: 0x8022)
  package static let fingerprint = Self(rawValue: 0x8028)
  package static let iceControlled = Self(rawValue: 0x8029)
  package static let iceControlling = Self(rawValue: 0x802a)
  /// Renomination (draft-thatcher-ice-renomination), at the number that libwebrtc and Pion use.
  package static let nomination = Self(rawValue: 0xc001)
  /// The same, as earlier versions of Pion number it.
  package static let earlierNomination = Self(rawValue: 0x0030)
}

/// One attribute, borrowed from the datagram it came in.
package enum STUNAttribute: ~Escapable {
  case mappedAddress(SocketAddress)
  case xorMappedAddress(SocketAddress)
  case username(RawSpan)
  case realm(RawSpan)
  case nonce(RawSpan)
  case userHash(RawSpan)
  case passwordAlgorithm(UInt16)
  case software(RawSpan)
  /// The number 300…699 and the reason text.
  case errorCode(UInt16, reason: RawSpan)
  /// The 16-bit types that the other side did not understand, as they lie in the datagram.
  case unknownAttributes(RawSpan)
  case priority(UInt32)
  case useCandidate
  case iceControlled(tieBreaker: UInt64)
  case iceControlling(tieBreaker: UInt64)
  /// Which nomination this is; a larger one takes the place of a smaller.
  case nomination(UInt32)
  case messageIntegrity(RawSpan)
  case messageIntegritySHA256(RawSpan)
  case fingerprint(UInt32)
  case unknown(STUNAttributeType)

  /// - Parameter id: the message's transaction id, which masks an IPv6 address.
  @_lifetime(copy value)
  init(type: STUNAttributeType, value: RawSpan, id: TransactionID) throws(Malformed) {
    let length = value.byteCount
    var reader = ByteReader(value)
    switch type {
    case .mappedAddress: self = .mappedAddress(try Self.readAddress(value, mask: nil))
    case .xorMappedAddress: self = .xorMappedAddress(try Self.readAddress(value, mask: id))
    case .username:
      guard length <= STUNLimits.username else { throw .badLength }
      self = .username(value)
    case .realm:
      guard length <= STUNLimits.text else { throw .badLength }
      self = .realm(value)
    case .nonce:
      guard length <= STUNLimits.text else { throw .badLength }
      self = .nonce(value)
    case .software:
      guard length <= STUNLimits.text else { throw .badLength }
      self = .software(value)
    case .userHash:
      guard length == 32 else { throw .badLength }
      self = .userHash(value)
    case .passwordAlgorithm:
      self = .passwordAlgorithm(try reader.readUInt16())
      guard Int(try reader.readUInt16()) <= reader.remaining else { throw .badLength }
    case .errorCode:
      _ = try reader.readUInt16()
      let hundreds = try reader.readUInt8() & 7
      let rest = try reader.readUInt8()
      guard (3...6).contains(hundreds), rest < 100 else { throw .badValue }
      guard reader.remaining <= STUNLimits.text else { throw .badLength }
      self = .errorCode(UInt16(hundreds) * 100 + UInt16(rest), reason: reader.readRemaining())
    case .unknownAttributes:
      guard length & 1 == 0 else { throw .badLength }
      self = .unknownAttributes(value)
    case .priority:
      guard length == 4 else { throw .badLength }
      self = .priority(try reader.readUInt32())
    case .useCandidate:
      guard length == 0 else { throw .badLength }
      self = .useCandidate
    case .iceControlled:
      guard length == 8 else { throw .badLength }
      self = .iceControlled(tieBreaker: try reader.readUInt64())
    case .iceControlling:
      guard length == 8 else { throw .badLength }
      self = .iceControlling(tieBreaker: try reader.readUInt64())
    case .nomination, .earlierNomination:
      guard length == 4 else { throw .badLength }
      self = .nomination(try reader.readUInt32())
    case .messageIntegrity:
      guard length == 20 else { throw .badLength }
      self = .messageIntegrity(value)
    case .messageIntegritySHA256:
      // May be cut to no less than 16 bytes (RFC 8489 §14.6).
      guard (16...32).contains(length), length & 3 == 0 else { throw .badLength }
      self = .messageIntegritySHA256(value)
    case .fingerprint:
      guard length == 4 else { throw .badLength }
      self = .fingerprint(try reader.readUInt32())
    default: self = .unknown(type)
    }
  }

  /// `0 | family | port | address`; XORed with the cookie and the transaction id when `mask` is given (§14.1, §14.2).
  private static func readAddress(_ value: RawSpan, mask: TransactionID?) throws(Malformed) -> SocketAddress {
    var reader = ByteReader(value)
    _ = try reader.readUInt8()
    let family = try reader.readUInt8()
    let port = try reader.readUInt16() ^ (mask == nil ? 0 : STUNAddressMask.port)
    let ip: IPAddress
    switch family {
    case 1: ip = .v4(try reader.readUInt32() ^ (mask == nil ? 0 : STUNHeader.magicCookie))
    case 2:
      let high = try reader.readUInt64() ^ (mask.map(STUNAddressMask.high) ?? 0)
      let low = try reader.readUInt64() ^ (mask?.low ?? 0)
      ip = .v6(high, low, zone: 0)
    default: throw .badValue
    }
    guard reader.isAtEnd else { throw .badLength }
    return SocketAddress(ip: ip, port: port)
  }
}

/// What an address is XORed with (RFC 8489 §14.2).
enum STUNAddressMask {
  static let port = UInt16(STUNHeader.magicCookie >> 16)
  static func high(_ id: TransactionID) -> UInt64 { UInt64(STUNHeader.magicCookie) << 32 | UInt64(id.high) }
}

package enum STUNLimits {
  /// USERNAME, in bytes (RFC 8489 §14.3).
  package static let username = 508
  /// REALM, NONCE, SOFTWARE and the reason of an error, in bytes: 128 characters (RFC 8489 §14.8–14.14).
  package static let text = 763
  /// All attributes together: the largest multiple of four that the 16-bit length holds.
  package static let body = 65_532
}

/// Walks the attributes of a message without allocating.
///
/// What follows MESSAGE-INTEGRITY is not covered by it, so the walk ends there but for MESSAGE-INTEGRITY-SHA256 and
/// FINGERPRINT (RFC 8489 §14.5); what follows MESSAGE-INTEGRITY-SHA256 likewise but for FINGERPRINT (§14.6).
package struct STUNAttributes: ~Escapable {
  private var reader: ByteReader
  private let id: TransactionID
  private var hasSeenIntegrity = false
  private var hasSeenSHA256 = false

  @_lifetime(copy body)
  init(_ body: RawSpan, id: TransactionID) {
    reader = ByteReader(body)
    self.id = id
  }

  /// Where the next attribute starts, counted from the first.
  var offset: Int { reader.offset }

  /// The next attribute that counts; nil when none is left.
  @_lifetime(copy self)
  package mutating func next() throws(Malformed) -> STUNAttribute? {
    while !reader.isAtEnd {
      let type = STUNAttributeType(rawValue: try reader.readUInt16())
      let length = Int(try reader.readUInt16())
      let value = try reader.readBytes(length)
      reader.skipPadding(after: length)
      guard counts(type) else { continue }
      if type == .messageIntegrity { hasSeenIntegrity = true }
      if type == .messageIntegritySHA256 { hasSeenSHA256 = true }
      return try STUNAttribute(type: type, value: value, id: id)
    }
    return nil
  }

  private func counts(_ type: STUNAttributeType) -> Bool {
    if type == .fingerprint { return true }
    if hasSeenSHA256 { return false }
    return !hasSeenIntegrity || type == .messageIntegritySHA256
  }
}
