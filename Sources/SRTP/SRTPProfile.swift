// SRTPProfile.swift — which protection profiles there are, by their numbers in DTLS (RFC 5764 §4.1.2, RFC 7714 §14.2).

/// A protection profile of SRTP. The raw value is its number in the `use_srtp` extension.
package enum SRTPProfile: UInt16, Hashable, Sendable, CaseIterable {
  /// SRTP_AES128_CM_HMAC_SHA1_80: AES in counter mode, a tag of 80 bits.
  case aes128CMSHA1 = 0x0001
  case aeadAES128GCM = 0x0007
  case aeadAES256GCM = 0x0008

  /// Bytes of the master key.
  package var keyLength: Int { self == .aeadAES256GCM ? 32 : 16 }
  /// Bytes of the master salt.
  package var saltLength: Int { self == .aes128CMSHA1 ? 14 : 12 }

  /// Bytes of the authentication tag, in RTP and in RTCP.
  package var tagLength: Int { self == .aes128CMSHA1 ? 10 : 16 }
  /// Bytes that protection adds to an RTP packet.
  package var rtpTrailerLength: Int { tagLength }
  /// Bytes that protection adds to an RTCP packet: the tag, and the index with the E flag (RFC 3711 §3.4).
  package var rtcpTrailerLength: Int { tagLength + 4 }
}
