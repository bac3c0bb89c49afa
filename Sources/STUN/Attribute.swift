// Attribute.swift — STUN attributes, read by borrowing from the datagram (RFC 8489 §14, RFC 8445 §16.1,
// RFC 8656 §18).
//
// Each is a 16-bit type, a 16-bit length and a value padded to four bytes:
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |         type                  |            length             |
// |                      value (variable) …                       |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// An attribute that exists is well-formed. An unknown type is a case, not an error.

package import Wire

/// One attribute, borrowed from the datagram it came in.
package enum STUNAttribute: ~Escapable {
  case mappedAddress(SocketAddress)
  case xorMappedAddress(SocketAddress)
  case username(RawSpan)
  case realm(RawSpan)
  case nonce(RawSpan)
  case userHash(RawSpan)
  case passwordAlgorithm(UInt16)
  /// Pairs of number and parameters, in the server's order of preference; see `STUNPasswordAlgorithm.first(in:)`.
  case passwordAlgorithms(RawSpan)
  case software(RawSpan)
  /// The number 300…699 and the reason text.
  case errorCode(UInt16, reason: RawSpan)
  /// The 16-bit types that the other side did not understand, as they lie in the datagram.
  case unknownAttributes(RawSpan)
  case alternateServer(SocketAddress)
  case alternateDomain(RawSpan)
  // TURN
  case channelNumber(UInt16)
  /// In seconds.
  case lifetime(UInt32)
  case xorPeerAddress(SocketAddress)
  case data(RawSpan)
  case xorRelayedAddress(SocketAddress)
  case requestedAddressFamily(STUNAddressFamily)
  case additionalAddressFamily(STUNAddressFamily)
  /// Why there is no address of this family beside the other.
  case addressErrorCode(STUNAddressFamily, UInt16, reason: RawSpan)
  case evenPort(reservesNext: Bool)
  /// A protocol number of IP: 17 for UDP.
  case requestedTransport(UInt8)
  case dontFragment
  case reservationToken(UInt64)
  case icmp(type: UInt8, code: UInt8, data: UInt32)
  // ICE
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
    case .passwordAlgorithms:
      try STUNPasswordAlgorithm.check(list: value)
      self = .passwordAlgorithms(value)
    case .errorCode:
      _ = try reader.readUInt16()
      let code = try Self.readErrorCode(&reader)
      self = .errorCode(code, reason: reader.readRemaining())
    case .unknownAttributes:
      guard length & 1 == 0 else { throw .badLength }
      self = .unknownAttributes(value)
    case .alternateServer: self = .alternateServer(try Self.readAddress(value, mask: nil))
    case .alternateDomain:
      guard length <= STUNLimits.domain else { throw .badLength }
      self = .alternateDomain(value)
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
    default: try self.init(relay: type, value: value, id: id)
    }
  }

  /// The attributes of TURN (RFC 8656 §18).
  @_lifetime(copy value)
  private init(relay type: STUNAttributeType, value: RawSpan, id: TransactionID) throws(Malformed) {
    let length = value.byteCount
    var reader = ByteReader(value)
    switch type {
    case .channelNumber:
      guard length == 4 else { throw .badLength }
      self = .channelNumber(try reader.readUInt16())
    case .lifetime:
      guard length == 4 else { throw .badLength }
      self = .lifetime(try reader.readUInt32())
    case .xorPeerAddress: self = .xorPeerAddress(try Self.readAddress(value, mask: id))
    case .data: self = .data(value)
    case .xorRelayedAddress: self = .xorRelayedAddress(try Self.readAddress(value, mask: id))
    case .requestedAddressFamily:
      guard length == 4 else { throw .badLength }
      self = .requestedAddressFamily(try Self.readFamily(&reader))
    case .additionalAddressFamily:
      guard length == 4 else { throw .badLength }
      self = .additionalAddressFamily(try Self.readFamily(&reader))
    case .addressErrorCode:
      let family = try Self.readFamily(&reader)
      _ = try reader.readUInt8()
      let code = try Self.readErrorCode(&reader)
      self = .addressErrorCode(family, code, reason: reader.readRemaining())
    case .evenPort:
      guard length == 1 else { throw .badLength }
      self = .evenPort(reservesNext: try reader.readUInt8() & 0x80 != 0)
    case .requestedTransport:
      guard length == 4 else { throw .badLength }
      self = .requestedTransport(try reader.readUInt8())
    case .dontFragment:
      guard length == 0 else { throw .badLength }
      self = .dontFragment
    case .reservationToken:
      guard length == 8 else { throw .badLength }
      self = .reservationToken(try reader.readUInt64())
    case .icmp:
      guard length == 8 else { throw .badLength }
      _ = try reader.readUInt16()
      self = .icmp(type: try reader.readUInt8(), code: try reader.readUInt8(), data: try reader.readUInt32())
    default: self = .unknown(type)
    }
  }

  /// `class | number`, after what precedes it, and then the reason (§14.8).
  @_lifetime(reader: copy reader)
  private static func readErrorCode(_ reader: inout ByteReader) throws(Malformed) -> UInt16 {
    let hundreds = try reader.readUInt8() & 7
    let rest = try reader.readUInt8()
    guard (3...6).contains(hundreds), rest < 100 else { throw .badValue }
    guard reader.remaining <= STUNLimits.text else { throw .badLength }
    return UInt16(hundreds) * 100 + UInt16(rest)
  }

  @_lifetime(reader: copy reader)
  private static func readFamily(_ reader: inout ByteReader) throws(Malformed) -> STUNAddressFamily {
    guard let family = STUNAddressFamily(rawValue: try reader.readUInt8()) else { throw .badValue }
    return family
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
  /// Where the value of the attribute that was read last starts in the message.
  package private(set) var valueOffset = STUNHeader.byteCount

  /// The next attribute that counts; nil when none is left.
  @_lifetime(copy self)
  package mutating func next() throws(Malformed) -> STUNAttribute? {
    while !reader.isAtEnd {
      let type = STUNAttributeType(rawValue: try reader.readUInt16())
      let length = Int(try reader.readUInt16())
      valueOffset = STUNHeader.byteCount + reader.offset
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
