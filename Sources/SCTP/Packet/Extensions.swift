// Extensions.swift — what goes beyond RFC 9260, as one side offers it in INIT or INIT-ACK, or as both have agreed.

package struct Extensions: OptionSet, Sendable, Hashable {
  package var rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// FORWARD-TSN may be sent (RFC 3758 §3.3.1).
  package static let forwardTSN = Extensions(rawValue: 1)
  /// RE-CONFIG may be sent (RFC 6525 §5.1).
  package static let reconfig = Extensions(rawValue: 2)
  /// I-DATA is sent in place of DATA once both sides have offered it (RFC 8260 §2.2.1).
  package static let interleaving = Extensions(rawValue: 4)
  /// I-FORWARD-TSN is sent in place of FORWARD-TSN when I-DATA is in place of DATA (RFC 8260 §2.3.1).
  package static let interleavedForwardTSN = Extensions(rawValue: 8)
  /// A checksum of zero is accepted, because DTLS protects the packet (RFC 9653 §5.1).
  package static let zeroChecksum = Extensions(rawValue: 16)

  /// What every implementation understands that speaks WebRTC.
  package static let basic: Extensions = [.forwardTSN, .reconfig]

  /// Whether messages may be given up, among two sides that have this in common: each kind of data has its own chunk
  /// for that.
  package var allowsAbandoning: Bool { contains(contains(.interleaving) ? .interleavedForwardTSN : .forwardTSN) }
}

extension SCTPConfiguration {
  /// Everything that we offer to a peer of whom we know nothing.
  var extensions: Extensions {
    var result = Extensions.basic
    if offersInterleaving { result.formUnion([.interleaving, .interleavedForwardTSN]) }
    if offersZeroChecksum { result.insert(.zeroChecksum) }
    return result
  }
}
