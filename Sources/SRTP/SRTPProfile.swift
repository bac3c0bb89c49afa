// SRTPProfile.swift — which protection profiles there are, by their numbers in DTLS (RFC 5764 §4.1.2, RFC 7714 §14.2).

/// A protection profile of SRTP. The raw value is its number in the `use_srtp` extension.
package enum SRTPProfile: UInt16, Hashable, Sendable, CaseIterable {
  case aes128CMSHA1_80 = 0x0001
  case aeadAES128GCM = 0x0007
  case aeadAES256GCM = 0x0008

  /// Bytes of the master key.
  package var keyLength: Int { self == .aeadAES256GCM ? 32 : 16 }
  /// Bytes of the master salt.
  package var saltLength: Int { self == .aes128CMSHA1_80 ? 14 : 12 }
}
