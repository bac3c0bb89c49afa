// AttributeType.swift — the numbers of the attributes (RFC 8489 §18.3, RFC 8445 §20.1, RFC 8656 §22.2), and their limits.

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
  package static let channelNumber = Self(rawValue: 0x000c)
  package static let lifetime = Self(rawValue: 0x000d)
  package static let xorPeerAddress = Self(rawValue: 0x0012)
  package static let data = Self(rawValue: 0x0013)
  package static let realm = Self(rawValue: 0x0014)
  package static let nonce = Self(rawValue: 0x0015)
  package static let xorRelayedAddress = Self(rawValue: 0x0016)
  package static let requestedAddressFamily = Self(rawValue: 0x0017)
  package static let evenPort = Self(rawValue: 0x0018)
  package static let requestedTransport = Self(rawValue: 0x0019)
  package static let dontFragment = Self(rawValue: 0x001a)
  package static let messageIntegritySHA256 = Self(rawValue: 0x001c)
  package static let passwordAlgorithm = Self(rawValue: 0x001d)
  package static let userHash = Self(rawValue: 0x001e)
  package static let xorMappedAddress = Self(rawValue: 0x0020)
  package static let reservationToken = Self(rawValue: 0x0022)
  package static let priority = Self(rawValue: 0x0024)
  package static let useCandidate = Self(rawValue: 0x0025)
  package static let additionalAddressFamily = Self(rawValue: 0x8000)
  package static let addressErrorCode = Self(rawValue: 0x8001)
  package static let passwordAlgorithms = Self(rawValue: 0x8002)
  package static let alternateDomain = Self(rawValue: 0x8003)
  package static let icmp = Self(rawValue: 0x8004)
  package static let software = Self(rawValue: 0x8022)
  package static let alternateServer = Self(rawValue: 0x8023)
  package static let fingerprint = Self(rawValue: 0x8028)
  package static let iceControlled = Self(rawValue: 0x8029)
  package static let iceControlling = Self(rawValue: 0x802a)
  /// Renomination (draft-thatcher-ice-renomination), at the number that libwebrtc and Pion use.
  package static let nomination = Self(rawValue: 0xc001)
  /// The same, as earlier versions of Pion number it.
  package static let earlierNomination = Self(rawValue: 0x0030)
}

/// RFC 8656 §18.6, with the numbers of RFC 8489 §14.1.
package enum STUNAddressFamily: UInt8, Hashable, Sendable {
  case v4 = 1
  case v6 = 2

  package init(_ ip: IPAddress) { self = ip.isV4 ? .v4 : .v6 }
}

package enum STUNLimits {
  /// USERNAME, in bytes (RFC 8489 §14.3).
  package static let username = 508
  /// REALM, NONCE, SOFTWARE and the reason of an error, in bytes: 128 characters (RFC 8489 §14.8–14.14).
  package static let text = 763
  /// ALTERNATE-DOMAIN, in bytes: a domain name (RFC 8489 §14.16).
  package static let domain = 255
  /// DATA of a Send indication, in bytes: what the body holds beside an IPv6 address.
  package static let data = body - 24 - 4
  /// All attributes together: the largest multiple of four that the 16-bit length holds.
  package static let body = 65_532
}
