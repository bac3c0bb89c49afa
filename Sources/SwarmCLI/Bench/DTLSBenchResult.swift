// DTLSBenchResult.swift — `swarm bench dtls`: what encryption costs in this process, and what OpenSSL alone would take.

import DTLS
import Foundation
import SRTP

/// The figures of `swarm bench dtls`, with the names that scripts read. A megabyte is 10^6 bytes.
struct DTLSBenchResult: Encodable {
  /// How long each figure was measured.
  var seconds: Double
  var identitiesPerSecond = 0.0
  var handshakesPerSecond = 0.0
  var cipherSuite = ""
  var sealed = 0.0
  var opened = 0.0
  var srtp: [SRTPBenchResult] = []
  /// Nil where the program is not installed.
  var openSSL: OpenSSLSpeed?

  init(measuring seconds: Double) throws {
    self.seconds = seconds
    try measureDTLS()
    srtp = try SRTPProfile.allCases.map { try SRTPBenchResult(measuring: $0, seconds: seconds) }
    do throws(OpenSSLSpeed.Missing) {
      openSSL = try OpenSSLSpeed(seconds: max(1, Int(seconds)))
    } catch {
      FileHandle.standardError.write(Data("swarm: \(error): no ratio\n".utf8))
    }
  }

  /// What part of OpenSSL's own speed is left.
  var sealedRatio: Double? { openSSL.map { sealed / $0.encrypted } }
  var openedRatio: Double? { openSSL.map { opened / $0.decrypted } }

  private enum CodingKeys: String, CodingKey {
    case mode, seconds, srtp
    case identitiesPerSecond = "identities_per_s"
    case handshakesPerSecond = "handshakes_per_s"
    case cipherSuite = "cipher_suite"
    case plaintext = "plaintext_bytes"
    case sealed = "sealed_mb_per_s"
    case opened = "opened_mb_per_s"
    case openSSLEncrypted = "openssl_encrypted_mb_per_s"
    case openSSLDecrypted = "openssl_decrypted_mb_per_s"
    case sealedRatio = "sealed_ratio"
    case openedRatio = "opened_ratio"
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode("dtls", forKey: .mode)
    try values.encode(seconds, forKey: .seconds)
    try values.encode(identitiesPerSecond, forKey: .identitiesPerSecond)
    try values.encode(handshakesPerSecond, forKey: .handshakesPerSecond)
    try values.encode(cipherSuite, forKey: .cipherSuite)
    try values.encode(DTLSBench.plaintextLength, forKey: .plaintext)
    try values.encode(sealed, forKey: .sealed)
    try values.encode(opened, forKey: .opened)
    try values.encodeIfPresent(openSSL?.encrypted, forKey: .openSSLEncrypted)
    try values.encodeIfPresent(openSSL?.decrypted, forKey: .openSSLDecrypted)
    try values.encodeIfPresent(sealedRatio, forKey: .sealedRatio)
    try values.encodeIfPresent(openedRatio, forKey: .openedRatio)
    try values.encode(srtp, forKey: .srtp)
  }

  /// The figures for people, one a line.
  var table: String {
    var lines = ["dtls, one core, by processor time"]
    func add(_ name: String, _ value: Double, _ unit: String, _ more: String = "") {
      let padded = name.padding(toLength: 30, withPad: " ", startingAt: 0)
      lines.append("  \(padded) \(String(format: "%10.1f", value)) \(unit)\(more)")
    }
    func share(_ ratio: Double?) -> String { ratio.map { String(format: ", %.2f of OpenSSL's", $0) } ?? "" }
    add("identities", identitiesPerSecond, "/s")
    add("handshakes, both ends", handshakesPerSecond, "/s")
    add("records sealed", sealed, "MB/s", share(sealedRatio))
    add("records opened", opened, "MB/s", share(openedRatio))
    for one in srtp {
      add("\(one.profile) protected", one.protected, "MB/s", String(format: ", %.0f /s", one.protectedPerSecond))
      add("\(one.profile) opened", one.unprotected, "MB/s", String(format: ", %.0f /s", one.unprotectedPerSecond))
    }
    if let openSSL {
      add("openssl speed, encrypting", openSSL.encrypted, "MB/s")
      add("openssl speed, decrypting", openSSL.decrypted, "MB/s")
    }
    return lines.joined(separator: "\n")
  }
}
