// Parameters.swift — the type-length-value frame inside INIT, INIT-ACK and RE-CONFIG (RFC 9260 §3.2.1).

package import Wire

package enum ParameterType {
  package static let heartbeatInfo: UInt16 = 1
  package static let ipv4Address: UInt16 = 5
  package static let ipv6Address: UInt16 = 6
  package static let stateCookie: UInt16 = 7
  package static let unrecognizedParameter: UInt16 = 8
  package static let cookiePreservative: UInt16 = 9
  package static let hostNameAddress: UInt16 = 11
  package static let supportedAddressTypes: UInt16 = 12
  package static let outgoingResetRequest: UInt16 = 13
  package static let incomingResetRequest: UInt16 = 14
  package static let tsnResetRequest: UInt16 = 15
  package static let reconfigResponse: UInt16 = 16
  package static let addOutgoingStreams: UInt16 = 17
  package static let addIncomingStreams: UInt16 = 18
  package static let zeroChecksumAcceptable: UInt16 = 0x8001
  package static let supportedExtensions: UInt16 = 0x8008
  package static let forwardTSNSupported: UInt16 = 0xc000
  /// Adaptation layer indication (RFC 5061 §4.2.6): harmless, common, and not worth a report.
  package static let adaptationLayer: UInt16 = 0xc006
}

package struct Parameter: ~Escapable {
  package let type: UInt16
  package let value: RawSpan
  /// Header and value, without padding.
  package let whole: RawSpan

  @_lifetime(copy value, copy whole)
  init(type: UInt16, value: RawSpan, whole: RawSpan) {
    self.type = type
    self.value = value
    self.whole = whole
  }
}

/// Walks parameters, or error causes, which have the same frame; every step moves at least four bytes ahead.
package struct ParameterReader: ~Escapable {
  private let bytes: RawSpan
  private var offset = 0
  package static let headerByteCount = 4

  @_lifetime(copy bytes)
  package init(_ bytes: RawSpan) { self.bytes = bytes }

  @_lifetime(copy self)
  package mutating func next() throws(Malformed) -> Parameter? {
    let remaining = bytes.byteCount - offset
    guard remaining > 0 else { return nil }
    guard remaining >= Self.headerByteCount else { throw .truncated }
    let length = Int(bytes.uint16(at: offset + 2))
    guard length >= Self.headerByteCount else { throw .badLength }
    guard length <= remaining else { throw .truncated }
    let parameter = Parameter(
      type: bytes.uint16(at: offset),
      value: bytes.extracting((offset + Self.headerByteCount)..<(offset + length)),
      whole: bytes.extracting(offset..<(offset + length)))
    // A chunk's length may or may not count the padding of its last parameter (§3.2): both are taken.
    offset = min(bytes.byteCount, offset + (length + 3) & ~3)
    return parameter
  }
}
