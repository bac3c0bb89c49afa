// Connection+Security.swift — what the DTLS session is told by its neighbours, and what it tells the owner for people to
// look at.

import DTLS
import ICE
import SDP
import Wire

extension Connection {
  /// How our descriptions announce the certificate.
  var localFingerprints: [SDPFingerprint] {
    get throws(SDPError) {
      let functions = configuration.fingerprintAlgorithms.isEmpty ? [.sha256] : configuration.fingerprintAlgorithms
      var fingerprints: [SDPFingerprint] = []
      for function in functions {
        let fingerprint = identity.fingerprint(function)
        fingerprints.append(
          try SDPFingerprint(algorithm: fingerprint.algorithm.rawValue, bytes: fingerprint.bytes))
      }
      return fingerprints
    }
  }

  /// A line for a key log, without the end of line; nil when there is none, and always unless the configuration asks
  /// for them.
  package mutating func pollKeyLog() -> String? { dtls?.pollKeyLog() }

  /// Begins the handshake on the route that ICE has found.
  mutating func startSession(now: Instant) {
    isSessionStarted = true
    adoptRoundTrip()
    dtls!.start(now: now)
  }

  /// An answer takes one round trip and what the peer computes: a flight goes out again after two, as in libwebrtc.
  mutating func adoptRoundTrip() {
    guard let route = activeRoute, let roundTrip = ice.roundTripBound(of: route) else { return }
    dtls!.setInitialTimeout(roundTrip * 2)
  }
}
