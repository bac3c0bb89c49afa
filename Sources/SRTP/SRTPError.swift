// SRTPError.swift — why a packet was not protected or not let in, and the counters of what was dropped.

internal import CSRTP2

package enum SRTPError: Error, Hashable, Sendable {
  /// Key or salt do not have the length that the profile asks for.
  case wrongKeyLength
  /// Not an RTP or RTCP packet: too short, of another version, or with a header that ends behind the packet.
  case malformed
  /// The packet does not fit the room that the caller has for it, or its header is longer than libsrtp takes.
  case packetTooLarge
  /// Not from the peer, or changed on the way.
  case authenticationFailed
  /// This very packet was here before (RFC 3711 §3.3.2).
  case replayed
  /// So old that nobody can tell whether it was here before.
  case tooOld
  /// Another packet went out under this sequence number: a second one would give away what both say (RFC 3711 §9.1).
  case alteredRepeat
  /// As many SSRCs as `SRTPLimits` allows are in use or used up.
  case tooManySSRCs
  /// The SSRC was removed; under the same key it must not come back.
  case retiredSSRC
  /// The key has protected as many packets as it may (RFC 3711 §9.2): 2^48 of RTP, 2^31 of RTCP an SSRC.
  case keyExhausted
  /// libsrtp refused what cannot fail except for want of memory; its status.
  case library(UInt32)

  init(_ status: srtp_err_status_t) {
    switch status {
    case srtp_err_status_bad_param, srtp_err_status_parse_err, srtp_err_status_cant_check: self = .malformed
    case srtp_err_status_auth_fail: self = .authenticationFailed
    case srtp_err_status_replay_fail: self = .replayed
    case srtp_err_status_replay_old, srtp_err_status_pkt_idx_old: self = .tooOld
    case srtp_err_status_key_expired: self = .keyExhausted
    default: self = .library(status.rawValue)
    }
  }
}

/// What came in and was dropped, by reason, and what went through.
package struct SRTPCounters: Hashable, Sendable {
  /// Packets in the clear that were handed up.
  package var unprotected = 0
  /// Packets that were protected.
  package var protected = 0
  package var authentication = 0
  /// Seen before, or too old to tell.
  package var replay = 0
  package var malformed = 0
  /// Of an SSRC for which there is no place, or which was removed.
  package var refusedSSRC = 0
  /// All else: no room, the key used up, no memory.
  package var other = 0

  /// All that was dropped.
  package var dropped: Int { authentication + replay + malformed + refusedSSRC + other }

  mutating func count(_ error: SRTPError) {
    switch error {
    case .authenticationFailed: authentication += 1
    case .replayed, .tooOld: replay += 1
    case .malformed: malformed += 1
    case .tooManySSRCs, .retiredSSRC: refusedSSRC += 1
    case .wrongKeyLength, .packetTooLarge, .alteredRepeat, .keyExhausted, .library: other += 1
    }
  }
}
