// DTLSIdentity.swift — the certificate that a peer shows and the key that proves it (RFC 8827 §6.5).
//
// Nobody vouches for the certificate: its hash goes over the signalling channel. A fresh one for each connection keeps
// connections from being linked to each other; one that is kept lets a peer be recognized.

internal import COpenSSL
internal import Digest
package import Wire

/// The keys that a certificate may have here.
package enum DTLSKeyKind: Hashable, Sendable, CaseIterable {
  /// What everybody must understand (RFC 8827 §6.5).
  case ecdsaP256
  /// RFC 8422; browsers do not understand it.
  case ed25519
  case rsa2048
}

/// Why a certificate and its key cannot be used.
package enum DTLSIdentityError: Error, Hashable, Sendable {
  /// No certificate in PEM; OpenSSL's words.
  case malformedCertificate(String)
  /// No private key in PEM, or one behind a password; OpenSSL's words.
  case malformedPrivateKey(String)
  /// The key is another than the certificate's.
  case keyMismatch
  /// A kind of key, or a curve, other than `DTLSKeyKind` has; its name.
  case unsupportedKey(String)
  /// An RSA key of fewer bits than 2,048.
  case keyTooShort(bits: Int)
  /// So long that peers would refuse the handshake message.
  case certificateTooLong(byteCount: Int)
  /// OpenSSL does not take it, because of its signature for one; its words.
  case refused(String)
}

/// A key and a certificate for it. Immutable, so that any number of sessions may share it.
@safe
package final class DTLSIdentity: @unchecked Sendable {
  /// By SHA-256, which every peer knows.
  package let fingerprint: Fingerprint
  /// When the certificate is valid, in seconds since 1970.
  package let validity: ClosedRange<Int64>
  let certificate: OpaquePointer
  let key: OpaquePointer

  private init(
    certificate: OpaquePointer, key: OpaquePointer, fingerprint: Fingerprint, validity: ClosedRange<Int64>
  ) {
    unsafe self.certificate = certificate
    unsafe self.key = key
    self.fingerprint = fingerprint
    self.validity = validity
  }

  /// Takes over both references; nil, and they are gone, when the certificate has no hash or no validity.
  private static func taking(certificate: OpaquePointer, key: OpaquePointer) -> DTLSIdentity? {
    let begins = unsafe seconds(X509_get0_notBefore(certificate))
    let ends = unsafe seconds(X509_get0_notAfter(certificate))
    guard let fingerprint = unsafe Fingerprint(of: certificate, algorithm: .sha256), let begins, let ends,
      begins <= ends
    else {
      unsafe X509_free(certificate)
      unsafe EVP_PKEY_free(key)
      return nil
    }
    return unsafe DTLSIdentity(certificate: certificate, key: key, fingerprint: fingerprint, validity: begins...ends)
  }

  deinit {
    unsafe X509_free(certificate)
    unsafe EVP_PKEY_free(key)
  }

  /// By another hash function, for peers that ask for more.
  package func fingerprint(_ algorithm: FingerprintAlgorithm) -> Fingerprint {
    // A certificate that had one fingerprint has all: OpenSSL could only fail for want of memory, and it is finite.
    unsafe Fingerprint(of: certificate, algorithm: algorithm) ?? fingerprint
  }

  // MARK: Making one

  /// A fresh key and a certificate that it signs itself.
  ///
  /// - Parameter lifetime: from now until it expires; at most `longestLifetime`.
  package static func generate(
    _ kind: DTLSKeyKind = .ecdsaP256, lifetime: Interval = usualLifetime
  ) throws(DTLSError) -> DTLSIdentity {
    OpenSSL.prepare()
    openssl_clear_errors()
    guard let key = unsafe generateKey(kind) else { throw .takeFromQueue() }
    guard let certificate = unsafe X509_new() else {
      unsafe EVP_PKEY_free(key)
      throw .takeFromQueue()
    }
    let seconds = Int(min(lifetime, longestLifetime).nanoseconds / 1_000_000_000)
    let isFilled = unsafe fill(certificate, key: key, kind, lifetimeSeconds: seconds)
    guard let identity = unsafe taking(certificate: certificate, key: key), isFilled else {
      throw .takeFromQueue()
    }
    return identity
  }

  private static func generateKey(_ kind: DTLSKeyKind) -> OpaquePointer? {
    switch kind {
    case .ecdsaP256: unsafe openssl_generate_p256()
    case .ed25519: unsafe openssl_generate_ed25519()
    case .rsa2048: unsafe openssl_generate_rsa(2048)
    }
  }

  private static func fill(
    _ certificate: OpaquePointer, key: OpaquePointer, _ kind: DTLSKeyKind, lifetimeSeconds: Int
  ) -> Bool {
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
    // Ed25519 hashes by itself (RFC 8032).
    return unsafe X509_sign(certificate, key, kind == .ed25519 ? nil : EVP_sha256()) > 0
  }

  /// What browsers give theirs: 30 days.
  package static let usualLifetime = Interval.seconds(30 * 86_400)
  /// As in browsers, a year.
  package static let longestLifetime = Interval.seconds(365 * 86_400)
  private static let commonName = "WebRTC"
  /// The peer's clock may be a day behind ours.
  private static let clockSkewSeconds = 86_400
}

// MARK: - PEM (RFC 7468)

extension DTLSIdentity {
  /// The first certificate in `certificatePEM` and its key, without a password. Others in the text, a chain to an
  /// authority, are of no use to a peer that knows the certificate by its fingerprint.
  package static func reading(
    certificatePEM: String, privateKeyPEM: String
  ) throws(DTLSIdentityError) -> DTLSIdentity {
    OpenSSL.prepare()
    openssl_clear_errors()
    guard
      let certificate = unsafe withTextBIO(certificatePEM, { text in unsafe PEM_read_bio_X509(text, nil, nil, nil) })
    else { throw .malformedCertificate(DTLSError.takeWords()) }
    guard
      let key = unsafe withTextBIO(privateKeyPEM, { text in unsafe openssl_read_private_key(text) })
    else {
      unsafe X509_free(certificate)
      throw .malformedPrivateKey(DTLSError.takeWords())
    }
    guard let identity = unsafe taking(certificate: certificate, key: key) else {
      throw .malformedCertificate("its validity cannot be read")
    }
    try identity.check()
    return identity
  }

  private func check() throws(DTLSIdentityError) {
    guard unsafe X509_check_private_key(certificate, key) == 1 else {
      openssl_clear_errors()
      throw .keyMismatch
    }
    switch unsafe EVP_PKEY_get_base_id(key) {
    case EVP_PKEY_ED25519: break
    case EVP_PKEY_RSA:
      let bits = unsafe Int(EVP_PKEY_get_bits(key))
      guard bits >= Self.shortestRSAKey else { throw .keyTooShort(bits: bits) }
    case EVP_PKEY_EC:
      guard unsafe openssl_is_p256(key) == 1 else { throw .unsupportedKey("EC on another curve than P-256") }
    default:
      throw .unsupportedKey(unsafe EVP_PKEY_get0_type_name(key).map { unsafe String(cString: $0) } ?? "unknown")
    }
    let byteCount = unsafe Int(i2d_X509(certificate, nil))
    guard byteCount <= Self.longestCertificate else { throw .certificateTooLong(byteCount: byteCount) }
    guard let context = unsafe Self.context, let trial = unsafe SSL_new(context) else {
      throw .refused(DTLSError.takeWords())
    }
    defer { unsafe SSL_free(trial) }
    guard unsafe use(in: trial, as: .client) else { throw .refused(DTLSError.takeWords()) }
  }

  private static var context: OpaquePointer? {
    guard case .success(let shared) = SharedContext.result else { return nil }
    return unsafe shared.context
  }

  /// Makes it the identity of a session.
  ///
  /// OpenSSL lets a DTLS server have the suites that an Ed25519 key serves only beside a key on a curve of NIST's. Such a
  /// key it gets; that nothing is ever signed with it, and its certificate never sent, `requireEd25519` sees to.
  func use(in ssl: OpaquePointer, as role: DTLSRole) -> Bool {
    if role == .server, unsafe EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 {
      guard case .success(let companion) = Self.companion,
        unsafe SSL_use_certificate(ssl, companion.certificate) == 1, unsafe SSL_use_PrivateKey(ssl, companion.key) == 1,
        unsafe openssl_set_signature_algorithms(
          ssl, CipherSuites.ed25519First, CipherSuites.signatureAlgorithms) == 1
      else { return false }
      unsafe SSL_set_cert_cb(ssl, requireEd25519, nil)
    }
    return unsafe SSL_use_certificate(ssl, certificate) == 1 && SSL_use_PrivateKey(ssl, key) == 1
  }

  private static let companion = Result { () throws(DTLSError) in try generate() }

  package var certificatePEM: String? { unsafe Self.text { bio in unsafe PEM_write_bio_X509(bio, certificate) } }

  /// In the clear: whoever has it can pass for this identity.
  package var privateKeyPEM: String? {
    unsafe Self.text { bio in unsafe PEM_write_bio_PrivateKey(bio, key, nil, nil, 0, nil, nil) }
  }

  private static func withTextBIO<Result>(_ text: String, _ body: (OpaquePointer) -> Result?) -> Result? {
    var text = text
    return text.withUTF8 { bytes in
      guard let count = CInt(exactly: bytes.count), let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, count) else {
        return nil
      }
      defer { unsafe BIO_free(bio) }
      return unsafe body(bio)
    }
  }

  private static func text(_ write: (OpaquePointer) -> CInt) -> String? {
    guard let bio = unsafe BIO_new(BIO_s_secmem()) else { return nil }
    defer { unsafe BIO_free(bio) }
    openssl_clear_errors()
    var start: UnsafePointer<UInt8>?
    guard unsafe write(bio) == 1 else { return nil }
    let count = unsafe openssl_memory_of(bio, &start)
    return unsafe String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
  }

  /// Seconds since 1970, without asking a clock.
  private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
    guard let epoch = unsafe ASN1_TIME_set(nil, 0) else { return nil }
    defer { unsafe ASN1_TIME_free(epoch) }
    var (days, seconds): (CInt, CInt) = (0, 0)
    guard unsafe ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return nil }
    return Int64(days) * 86_400 + Int64(seconds)
  }

  private static let shortestRSAKey = 2_048
  /// A self-signed one with an RSA key of 2,048 bits has 0.8 KB. It shares its message's bound of 16 KB with nothing, but
  /// each kilobyte is a datagram more that a handshake can lose.
  private static let longestCertificate = 8_192
}

/// Ends a handshake with a client that does not understand Ed25519, before anything is chosen.
private func requireEd25519(_ ssl: OpaquePointer?, _ unused: UnsafeMutableRawPointer?) -> CInt {
  var signature: CInt = 0
  var index: CInt = 0
  while unsafe index < SSL_get_shared_sigalgs(ssl, index, &signature, nil, nil, nil, nil) {
    if signature == EVP_PKEY_ED25519 { return 1 }
    index += 1
  }
  return 0
}
