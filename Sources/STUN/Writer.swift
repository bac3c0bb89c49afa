// Writer.swift — writes a STUN message in place, attribute by attribute (RFC 8489 §6.1.1, §14).
//
// Invariants: after every call the bytes written so far are a message whose length field is right; padding is zero; the
// length never exceeds what its 16 bits hold, because an attribute that would make it so is refused.

package import Wire
import Digest

package enum STUNEncodingError: Error, Equatable, Sendable {
  /// The attributes would exceed the 16-bit length, or the value its own limit.
  case tooLong
  /// The caller's buffer is full.
  case noRoom
}

package struct STUNWriter {
  private let header: STUNHeader
  private let start: Int

  /// Writes the header; the attributes follow at the end of `out`.
  @_lifetime(out: copy out)
  package init(_ header: STUNHeader, into out: inout OutputRawSpan) throws(STUNEncodingError) {
    guard out.freeCapacity >= STUNHeader.byteCount else { throw .noRoom }
    self.header = header
    start = out.byteCount
    out.writeUInt16(header.type)
    out.writeUInt16(0)
    out.writeUInt32(STUNHeader.magicCookie)
    out.writeUInt32(header.id.high)
    out.writeUInt64(header.id.low)
  }

  // MARK: Attributes

  @_lifetime(out: copy out)
  package func username(_ value: [UInt8], into out: inout OutputRawSpan) throws(STUNEncodingError) {
    guard value.count <= STUNLimits.username else { throw .tooLong }
    try attribute(.username, value.rawSpan, into: &out)
  }

  @_lifetime(out: copy out)
  package func software(_ value: [UInt8], into out: inout OutputRawSpan) throws(STUNEncodingError) {
    guard value.count <= STUNLimits.text else { throw .tooLong }
    try attribute(.software, value.rawSpan, into: &out)
  }

  @_lifetime(out: copy out)
  package func priority(_ value: UInt32, into out: inout OutputRawSpan) throws(STUNEncodingError) {
    try begin(.priority, length: 4, into: &out)
    out.writeUInt32(value)
  }

  @_lifetime(out: copy out)
  package func useCandidate(into out: inout OutputRawSpan) throws(STUNEncodingError) {
    try begin(.useCandidate, length: 0, into: &out)
  }

  @_lifetime(out: copy out)
  package func nomination(_ value: UInt32, into out: inout OutputRawSpan) throws(STUNEncodingError) {
    try begin(.nomination, length: 4, into: &out)
    out.writeUInt32(value)
  }

  @_lifetime(out: copy out)
  package func iceControlling(
    tieBreaker: UInt64, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try begin(.iceControlling, length: 8, into: &out)
    out.writeUInt64(tieBreaker)
  }

  @_lifetime(out: copy out)
  package func iceControlled(
    tieBreaker: UInt64, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try begin(.iceControlled, length: 8, into: &out)
    out.writeUInt64(tieBreaker)
  }

  @_lifetime(out: copy out)
  package func xorMappedAddress(
    _ address: SocketAddress, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try xorAddress(.xorMappedAddress, address, into: &out)
  }

  /// An address that is masked with the cookie and the transaction id (§14.2).
  @_lifetime(out: copy out)
  package func xorAddress(
    _ type: STUNAttributeType, _ address: SocketAddress, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try begin(type, length: address.ip.isV4 ? 8 : 20, into: &out)
    writeAddress(address, mask: header.id, into: &out)
  }

  /// An address as it is: MAPPED-ADDRESS, ALTERNATE-SERVER (§14.1, §14.15).
  @_lifetime(out: copy out)
  package func plainAddress(
    _ type: STUNAttributeType, _ address: SocketAddress, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try begin(type, length: address.ip.isV4 ? 8 : 20, into: &out)
    writeAddress(address, mask: nil, into: &out)
  }

  @_lifetime(out: copy out)
  private func writeAddress(_ address: SocketAddress, mask: TransactionID?, into out: inout OutputRawSpan) {
    out.writeUInt8(0)
    out.writeUInt8(STUNAddressFamily(address.ip).rawValue)
    out.writeUInt16(address.port ^ (mask == nil ? 0 : STUNAddressMask.port))
    switch address.ip {
    case .v4(let bits): out.writeUInt32(bits ^ (mask == nil ? 0 : STUNHeader.magicCookie))
    case .v6(let high, let low, _):
      out.writeUInt64(high ^ (mask.map(STUNAddressMask.high) ?? 0))
      out.writeUInt64(low ^ (mask?.low ?? 0))
    }
  }

  /// - Parameter code: 300…699.
  @_lifetime(out: copy out)
  package func errorCode(
    _ code: UInt16, reason: [UInt8] = [], into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    precondition((300...699).contains(code), "the codes we send are constants of ours")
    guard reason.count <= STUNLimits.text else { throw .tooLong }
    try begin(.errorCode, length: 4 + reason.count, into: &out)
    out.writeUInt16(0)
    out.writeUInt8(UInt8(code / 100))
    out.writeUInt8(UInt8(code % 100))
    out.writeBytes(reason)
    out.writePadding(after: reason.count)
  }

  @_lifetime(out: copy out)
  package func unknownAttributes(
    _ types: [STUNAttributeType], into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    guard types.count <= STUNLimits.body / 2 else { throw .tooLong }
    try begin(.unknownAttributes, length: types.count * 2, into: &out)
    for type in types { out.writeUInt16(type.rawValue) }
    out.writePadding(after: types.count * 2)
  }

  /// An attribute of four bytes, such as LIFETIME.
  @_lifetime(out: copy out)
  package func word(
    _ type: STUNAttributeType, _ value: UInt32, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try begin(type, length: 4, into: &out)
    out.writeUInt32(value)
  }

  /// The number of an algorithm and no parameters: none of those there are has any (§14.12, §18.5).
  @_lifetime(out: copy out)
  package func passwordAlgorithm(
    _ algorithm: STUNPasswordAlgorithm, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try word(.passwordAlgorithm, UInt32(algorithm.rawValue) << 16, into: &out)
  }

  /// CHANNEL-NUMBER (RFC 8656 §18.1).
  @_lifetime(out: copy out)
  package func channelNumber(_ number: UInt16, into out: inout OutputRawSpan) throws(STUNEncodingError) {
    try word(.channelNumber, UInt32(number) << 16, into: &out)
  }

  /// REQUESTED-TRANSPORT for UDP (RFC 8656 §18.7).
  @_lifetime(out: copy out)
  package func requestedTransportUDP(into out: inout OutputRawSpan) throws(STUNEncodingError) {
    try word(.requestedTransport, 17 << 24, into: &out)
  }

  /// REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11).
  @_lifetime(out: copy out)
  package func addressFamily(
    _ type: STUNAttributeType, _ family: STUNAddressFamily, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try word(type, UInt32(family.rawValue) << 24, into: &out)
  }

  /// Any attribute, from its bytes.
  @_lifetime(out: copy out)
  package func attribute(
    _ type: STUNAttributeType, _ value: RawSpan, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    try begin(type, length: value.byteCount, into: &out)
    out.writeBytes(value)
    out.writePadding(after: value.byteCount)
  }

  // MARK: Ends

  /// Adds MESSAGE-INTEGRITY over everything written so far (§14.5).
  @_lifetime(out: copy out)
  package func messageIntegrity(key: [UInt8], into out: inout OutputRawSpan) throws(STUNEncodingError) {
    let covered = out.byteCount
    try begin(.messageIntegrity, length: 20, into: &out)
    out.writeBytes(HMAC.sha1(key: key, out.bytes.extracting(start..<covered)))
  }

  /// Adds MESSAGE-INTEGRITY-SHA256 over everything written so far (§14.6).
  @_lifetime(out: copy out)
  package func messageIntegritySHA256(key: [UInt8], into out: inout OutputRawSpan) throws(STUNEncodingError) {
    let covered = out.byteCount
    try begin(.messageIntegritySHA256, length: 32, into: &out)
    out.writeBytes(HMAC.sha256(key: key, out.bytes.extracting(start..<covered)))
  }

  /// Adds FINGERPRINT; nothing may follow (§14.7).
  @_lifetime(out: copy out)
  package func fingerprint(into out: inout OutputRawSpan) throws(STUNEncodingError) {
    let covered = out.byteCount
    try begin(.fingerprint, length: 4, into: &out)
    out.writeUInt32(CRC32.checksum(out.bytes.extracting(start..<covered)) ^ STUNMessage.fingerprintMask)
  }

  /// Writes an attribute's header and counts the whole attribute into the message's length.
  @_lifetime(out: copy out)
  private func begin(
    _ type: STUNAttributeType, length: Int, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    let written = out.byteCount - start - STUNHeader.byteCount
    let padded = (length + 3) & ~3
    guard length <= STUNLimits.body, written + 4 + padded <= STUNLimits.body else { throw .tooLong }
    guard out.freeCapacity >= 4 + padded else { throw .noRoom }
    out.writeUInt16(type.rawValue)
    out.writeUInt16(UInt16(length))
    out.patchUInt16(UInt16(written + 4 + padded), at: start + 2)
  }
}
