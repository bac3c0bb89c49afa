// CipherSuites.swift — what is offered: forward secrecy and authenticated encryption only (RFC 9325 §4.2).
//
// Where the processor has instructions for AES and for GCM's hash, AES-GCM costs a third of ChaCha20-Poly1305; where it has
// none, three times as much, and its time depends on the data. A server follows a client that puts ChaCha20 first.

internal import COpenSSL

package enum CipherSuites {
  /// In OpenSSL's notation. The suites for certificates on elliptic curves come first; the RSA suites serve peers whose
  /// certificate is not.
  package static func offer(isAESAccelerated: Bool) -> String {
    // What WebRTC obliges everybody to have (RFC 8827 §6.5) is AES-128-GCM.
    let ciphers =
      isAESAccelerated
      ? ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]
      : ["CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384"]
    return ["ECDSA", "RSA"].flatMap { kind in ciphers.map { "ECDHE-\(kind)-\($0)" } }.joined(separator: ":")
  }

  /// Whether this machine has the instructions.
  package static let isAESAccelerated = cpu_accelerates_aes_gcm() == 1

  /// For key exchange.
  static let groups = "X25519:P-256:P-384"

  /// What certificates and keys may sign with: nothing with SHA-1.
  static let signatureAlgorithms = [
    "ecdsa_secp256r1_sha256", "ed25519", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256", "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384", "rsa_pkcs1_sha384", "ecdsa_secp521r1_sha512", "rsa_pss_rsae_sha512", "rsa_pkcs1_sha512",
  ].joined(separator: ":")

  /// What a server with an Ed25519 key signs with, and what it must not have use for but OpenSSL wants to see.
  static let ed25519First = "ed25519:ecdsa_secp256r1_sha256"
}
