// DTLSIdentity.swift — the certificate that a peer shows, made fresh for each connection (RFC 8827 §6.5).
//
// Nobody vouches for the certificate: its hash goes over the signalling channel. A fresh one keeps connections from
// being linked to each other.

internal import COpenSSL
internal import Digest
internal import Wire

/// A key on P-256 and a self-signed certificate for it. Immutable, so that any number of sessions may share it.
@safe
package final class DTLSIdentity: @unchecked Sendable {
  package let fingerprint: Fingerprint
  let certificate: OpaquePointer
  let key: OpaquePointer

  package static func generate() throws(DTLSError) -> DTLSIdentity {
    OpenSSL.prepare()
    openssl_clear_errors()
    guard let key = unsafe openssl_generate_p256() else { throw .takeFromQueue() }
    guard let certificate = unsafe X509_new() else {
      unsafe EVP_PKEY_free(key)
      throw .takeFromQueue()
    }
    guard unsafe fill(certificate, key: key), let fingerprint = unsafe Fingerprint(of: certificate, algorithm: .sha256)
    else {
      unsafe X509_free(certificate)
      unsafe EVP_PKEY_free(key)
      throw .takeFromQueue()
    }
    return unsafe DTLSIdentity(certificate: certificate, key: key, fingerprint: fingerprint)
  }

  private init(certificate: OpaquePointer, key: OpaquePointer, fingerprint: Fingerprint) {
    unsafe self.certificate = certificate
    unsafe self.key = key
    self.fingerprint = fingerprint
  }

  deinit {
    unsafe X509_free(certificate)
    unsafe EVP_PKEY_free(key)
  }

  private static func fill(_ certificate: OpaquePointer, key: OpaquePointer) -> Bool {
    var random = RandomSource.system
    let version3 = 2
    // The name says nothing about us; the serial number must be positive (RFC 5280 §4.1.2.2).
    guard unsafe X509_set_version(certificate, version3) == 1,
      unsafe ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), random.next() >> 1 | 1) == 1,
      unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), -clockSkewSeconds) != nil,
      unsafe X509_gmtime_adj(X509_getm_notAfter(certificate), lifetimeSeconds) != nil,
      unsafe X509_set_pubkey(certificate, key) == 1,
      let name = unsafe X509_get_subject_name(certificate),
      unsafe X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, commonName, -1, -1, 0) == 1,
      unsafe X509_set_issuer_name(certificate, name) == 1
    else { return false }
    return unsafe X509_sign(certificate, key, EVP_sha256()) > 0
  }

  private static let commonName = "WebRTC"
  /// The peer's clock may be a day behind ours.
  private static let clockSkewSeconds = 86_400
  /// What browsers give theirs: 30 days.
  private static let lifetimeSeconds = 30 * 86_400
}
