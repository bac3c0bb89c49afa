// SharedContext.swift — the SSL_CTXs of the process, one for peers and one for servers: which parameters are offered, and the three callbacks through
// which OpenSSL asks for bytes, for the length of a timer and for a verdict on the peer's certificate.
//
// Making an SSL_CTX costs more than a handshake's share of it, and nothing in it belongs to one connection: certificate,
// role and fingerprints are set on each session.

internal import COpenSSL
internal import Digest

@safe
struct SharedContext: @unchecked Sendable {
  let context: OpaquePointer
  let method: OpaquePointer

  /// Whose certificates count.
  private enum Trust {
    /// Those that a description has announced.
    case fingerprints
    /// Those that an authority vouches for, with the name that was asked for.
    case authorities
  }

  /// For peers, which are known by fingerprint.
  static let result = Result<SharedContext, DTLSError> { () throws(DTLSError) in try SharedContext(.fingerprints) }
  /// The same for sessions whose secrets are to be told; apart, so that no callback sees those of the others.
  static let keyLogging = Result<SharedContext, DTLSError> { () throws(DTLSError) in
    let shared = try SharedContext(.fingerprints)
    unsafe SSL_CTX_set_keylog_callback(shared.context, takeKeyLogLine)
    return shared
  }
  /// For servers, which are known by name.
  static let servers = Result<SharedContext, DTLSError> { () throws(DTLSError) in try SharedContext(.authorities) }

  private init(_ trust: Trust) throws(DTLSError) {
    OpenSSL.prepare()
    openssl_clear_errors()
    guard let method = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagram"),
      unsafe BIO_meth_set_read_ex(method, readDatagram) == 1,
      unsafe BIO_meth_set_write_ex(method, writeDatagram) == 1,
      unsafe BIO_meth_set_ctrl(method, controlDatagram) == 1,
      let context = unsafe SSL_CTX_new(DTLS_method()),
      unsafe openssl_context_set_version(context, DTLS1_2_VERSION) == 1,
      unsafe SSL_CTX_set_cipher_list(
        context, CipherSuites.offer(isAESAccelerated: CipherSuites.isAESAccelerated)) == 1,
      unsafe openssl_context_set_groups(context, CipherSuites.groups) == 1,
      unsafe openssl_context_set_signature_algorithms(context, CipherSuites.signatureAlgorithms) == 1,
      unsafe SSL_CTX_set_tlsext_use_srtp(context, Self.mediaProfiles) == 0  // the other way round: 0 is good
    else { throw .takeFromQueue() }  // once per process: what was made so far is not worth freeing
    unsafe self.context = context
    unsafe self.method = method
    unsafe openssl_context_disable_session_cache(context)
    unsafe openssl_context_set_maximum_certificates(context, Self.maximumCertificateBytes)
    // No cookie is asked for, as RFC 6347 §4.2.1 allows: ICE has already proved that the peer is at its address.
    unsafe openssl_context_set_datagram_options(context)
    unsafe openssl_context_set_read_ahead(context)
    unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    switch trust {
    case .fingerprints: unsafe SSL_CTX_set_cert_verify_callback(context, verifyCertificate, nil)
    // Without any authority no server is trusted; the handshake says so.
    case .authorities: _ = unsafe openssl_context_trust_system(context)
    }
  }

  /// A session's SSL object with a BIO over `pipe` on both sides. It owns the BIO, and lends `pipe`.
  func makeSession(over pipe: UnsafeMutablePointer<DatagramPipe>) -> OpaquePointer? {
    guard let ssl = unsafe SSL_new(context) else { return nil }
    guard let bio = unsafe BIO_new(method) else {
      unsafe SSL_free(ssl)
      return nil
    }
    unsafe BIO_set_data(bio, pipe)
    unsafe BIO_set_init(bio, 1)
    unsafe pipe.pointee.ssl = ssl
    unsafe SSL_set_bio(ssl, bio, bio)
    unsafe SSL_set_ex_data(ssl, Self.pipeIndex, pipe)
    unsafe DTLS_set_timer_cb(ssl, nextTimerInterval)
    return unsafe ssl
  }

  /// OpenSSL keeps slot 0 for the application.
  fileprivate static let pipeIndex: CInt = 0

  /// Some peers, aiortc and Pion among them, end a handshake that agrees on no profile for media (RFC 5764 §4.1), even when
  /// no media will come. Browsers always offer them.
  private static let mediaProfiles = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"

  /// A chain with a few RSA certificates fits; OpenSSL reserves memory for what an unauthenticated fragment claims.
  private static let maximumCertificateBytes = HandshakeFragment.maximumMessageLength
}

/// How long the retransmission timer runs: at first as the session was told, then double each time.
private func nextTimerInterval(_ ssl: OpaquePointer?, _ previous: UInt32) -> UInt32 {
  guard previous == 0 else { return min(previous &* 2, longestTimerMicroseconds) }
  return unsafe pipe(of: ssl)?.pointee.initialTimeoutMicroseconds ?? longestTimerMicroseconds
}

/// Keeps the 12 expiries after which OpenSSL gives up longer than `DTLSSession.handshakeLimit`, and the last of them near
/// its end: a doubling without a ceiling would wait in silence for the whole second half.
private let longestTimerMicroseconds: UInt32 = 5_000_000

private func takeKeyLogLine(_ ssl: OpaquePointer?, _ line: UnsafePointer<CChar>?) {
  guard let line = unsafe line else { return }
  unsafe pipe(of: ssl)?.pointee.appendKeyLogLine(String(cString: line))
}

private func pipe(of ssl: OpaquePointer?) -> UnsafeMutablePointer<DatagramPipe>? {
  unsafe SSL_get_ex_data(ssl, SharedContext.pipeIndex)?.assumingMemoryBound(to: DatagramPipe.self)
}

private func pipe(behind bio: OpaquePointer?) -> UnsafeMutablePointer<DatagramPipe>? {
  unsafe BIO_get_data(bio)?.assumingMemoryBound(to: DatagramPipe.self)
}

private func readDatagram(
  _ bio: OpaquePointer?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?
) -> CInt {
  unsafe BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY)
  let target = unsafe UnsafeMutableRawBufferPointer(start: buffer, count: capacity)
  guard let read = unsafe pipe(behind: bio)?.pointee.read(into: target) else {
    unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
    return 0
  }
  unsafe count?.pointee = read
  return 1
}

private func writeDatagram(
  _ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ byteCount: Int, _ count: UnsafeMutablePointer<Int>?
) -> CInt {
  unsafe BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY)
  let datagram = unsafe UnsafeRawBufferPointer(start: bytes, count: byteCount)
  guard unsafe pipe(behind: bio)?.pointee.write(datagram) == true else { return 0 }
  unsafe count?.pointee = byteCount
  return 1
}

/// OpenSSL asks a datagram BIO about MTU, peers and timeouts; of all that only flushing means something here.
private func controlDatagram(
  _ bio: OpaquePointer?, _ command: CInt, _ number: Int, _ pointer: UnsafeMutableRawPointer?
) -> Int {
  command == BIO_CTRL_FLUSH ? 1 : 0
}

/// Takes the place of OpenSSL's chain building: the fingerprint decides, nothing else. Called while the handshake runs, in
/// both roles, so that a peer with another certificate never gets a session.
private func verifyCertificate(_ store: OpaquePointer?, _ unused: UnsafeMutableRawPointer?) -> CInt {
  guard
    let ssl = unsafe X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
    let pipe = unsafe pipe(of: OpaquePointer(ssl))
  else { return 0 }
  let certificate = unsafe X509_STORE_CTX_get0_cert(store)
  if let verdict = unsafe certificate.map({ unsafe flaw(in: $0, announced: pipe.pointee.remoteFingerprints) })
    ?? .fingerprintMismatch
  {
    unsafe pipe.pointee.verdict = verdict
    unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
    return 0
  }
  unsafe X509_STORE_CTX_set_error(store, X509_V_OK)
  return 1
}

private func flaw(in certificate: OpaquePointer, announced: [Fingerprint]) -> DTLSError? {
  guard unsafe Fingerprint.matches(certificate, announced: announced) else { return .fingerprintMismatch }
  // RSA with 2,048 bits has 112, P-256 and Ed25519 have 128.
  guard let key = unsafe X509_get0_pubkey(certificate), unsafe EVP_PKEY_get_security_bits(key) >= 112 else {
    return .weakKey
  }
  return nil
}
