// ReceivedMessage.swift — a whole STUN message, checked once and borrowed from its datagram (RFC 8489 §6.3).
//
// Invariants of a value: the length field equals the datagram, every attribute that counts is well-formed, FINGERPRINT
// is last and right when it is there. Authentication is the caller's question: `verifiesIntegrity(key:)`.

package import Wire
import Digest

package struct STUNMessage: ~Escapable {
  package let header: STUNHeader
  private let datagram: RawSpan
  /// Where MESSAGE-INTEGRITY's attribute header starts in the datagram.
  private let integrityOffset: Int?
  private let integritySHA256Offset: Int?
  package let hasFingerprint: Bool
  /// Types below 0x8000 that this codec does not know, at most `maximumUnknownTypes`; a request that has some is
  /// answered with 420, any other message is dropped (RFC 8489 §6.3.1–6.3.4).
  package private(set) var unknownRequiredTypes: [STUNAttributeType] = []

  /// More are not worth reporting: the answer must not grow with the question.
  package static let maximumUnknownTypes = 8

  @_lifetime(copy datagram)
  package init(_ datagram: RawSpan) throws(Malformed) {
    let (header, bodyLength) = try STUNHeader.read(from: datagram)
    guard datagram.byteCount == STUNHeader.byteCount + bodyLength else { throw .badLength }
    self.header = header
    self.datagram = datagram

    var integrityOffset: Int?
    var integritySHA256Offset: Int?
    var hasFingerprint = false
    var attributes = STUNAttributes(Self.body(of: datagram), id: header.id)
    while let attribute = try attributes.next() {
      let end = STUNHeader.byteCount + attributes.offset
      switch attribute {
      case .messageIntegrity: integrityOffset = end - 24
      case .messageIntegritySHA256(let code): integritySHA256Offset = end - 4 - code.byteCount
      case .fingerprint(let value):
        // FINGERPRINT is the last attribute (§14.7), so its bytes are the last eight.
        guard end == datagram.byteCount else { throw .badValue }
        let covered = datagram.extracting(0..<(end - 8))
        guard value == CRC32.checksum(covered) ^ Self.fingerprintMask else { throw .badChecksum }
        hasFingerprint = true
      case .unknown(let type):
        if type.isComprehensionRequired, unknownRequiredTypes.count < Self.maximumUnknownTypes {
          unknownRequiredTypes.append(type)
        }
      default: break
      }
    }
    self.integrityOffset = integrityOffset
    self.integritySHA256Offset = integritySHA256Offset
    self.hasFingerprint = hasFingerprint
  }

  package var attributes: STUNAttributes {
    @_lifetime(copy self) get { STUNAttributes(Self.body(of: datagram), id: header.id) }
  }

  package var hasIntegrity: Bool { integrityOffset != nil }
  package var hasIntegritySHA256: Bool { integritySHA256Offset != nil }

  /// Whether MESSAGE-INTEGRITY is there and was made with `key`: the password itself for short-term credentials.
  package func verifiesIntegrity(key: [UInt8]) -> Bool {
    guard let integrityOffset else { return false }
    let end = integrityOffset + 24
    let expected = withCovered(upTo: integrityOffset, lengthUpTo: end) { HMAC.sha1(key: key, $0) }
    return constantTimeEqual(expected.rawSpan, datagram.extracting((integrityOffset + 4)..<end))
  }

  /// Whether MESSAGE-INTEGRITY-SHA256, whole or cut short, is there and was made with `key`.
  package func verifiesIntegritySHA256(key: [UInt8]) -> Bool {
    guard let offset = integritySHA256Offset else { return false }
    let end = offset + 4 + Int(datagram.uint16(at: offset + 2))
    let expected = withCovered(upTo: offset, lengthUpTo: end) { HMAC.sha256(key: key, $0) }
    let code = datagram.extracting((offset + 4)..<end)
    return constantTimeEqual(expected.rawSpan.extracting(0..<code.byteCount), code)
  }

  /// The code covers the message up to itself, with a length field that counts up to its own end (§14.5).
  private func withCovered(upTo offset: Int, lengthUpTo end: Int, _ body: (RawSpan) -> [UInt8]) -> [UInt8] {
    if end == datagram.byteCount { return body(datagram.extracting(0..<offset)) }
    var covered = datagram.extracting(0..<offset).copyBytes()
    let length = UInt16(truncatingIfNeeded: end - STUNHeader.byteCount)
    covered[2] = UInt8(length >> 8)
    covered[3] = UInt8(length & 0xff)
    return body(covered.rawSpan)
  }

  @_lifetime(copy datagram)
  private static func body(of datagram: RawSpan) -> RawSpan {
    datagram.extracting(STUNHeader.byteCount..<datagram.byteCount)
  }

  /// XORed to the CRC so that it differs from one that the payload itself might carry (§14.7).
  static let fingerprintMask: UInt32 = 0x5354_554e
}
