// RawPeer.swift — a bare OpenSSL endpoint for tests, free to misbehave: it speaks through a socket pair that keeps
// datagrams apart, has no fingerprint check of its own, and lets a test set whatever it wants.

import COpenSSL
import DTLS
import Glibc
import Testing
import Wire

final class RawPeer {
  let context: OpaquePointer
  let ssl: OpaquePointer
  private let inner: CInt
  private let outer: CInt

  /// - Parameter configure: runs on the SSL_CTX before the session is made.
  init(role: DTLSRole, configure: (OpaquePointer) -> Void = { _ in }) throws {
    var pair: [CInt] = [0, 0]
    try #require(socketpair(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0)
    (inner, outer) = (pair[0], pair[1])
    context = try #require(SSL_CTX_new(DTLS_method()))
    SSL_CTX_set_options(context, UInt64(1) << 12)  // SSL_OP_NO_QUERY_MTU
    configure(context)
    ssl = try #require(SSL_new(context))
    let bio = try #require(BIO_new_socket(inner, BIO_NOCLOSE))
    SSL_set_bio(ssl, bio, bio)
    #expect(openssl_set_datagram_size(ssl, 1200) == 1)
    if role == .client { SSL_set_connect_state(ssl) } else { SSL_set_accept_state(ssl) }
  }

  deinit {
    SSL_free(ssl)
    SSL_CTX_free(context)
    close(inner)
    close(outer)
  }

  /// Goes on with the handshake, or reads; true when something came of it.
  @discardableResult
  func advance() -> Bool {
    ERR_clear_error()
    guard SSL_is_init_finished(ssl) == 1 else { return SSL_do_handshake(ssl) == 1 }
    var buffer = [UInt8](repeating: 0, count: 2000)
    return SSL_read(ssl, &buffer, 2000) > 0
  }

  var isConnected: Bool { SSL_is_init_finished(ssl) == 1 }

  func send(_ bytes: [UInt8]) -> Bool { SSL_write(ssl, bytes, CInt(bytes.count)) == CInt(bytes.count) }

  /// Hands the peer a datagram.
  func deliver(_ datagram: [UInt8]) { #expect(Glibc.send(outer, datagram, datagram.count, 0) == datagram.count) }

  /// What the peer has sent.
  func transmit() -> [[UInt8]] {
    var datagrams: [[UInt8]] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(outer, &buffer, buffer.count, 0)
      guard count > 0 else { return datagrams }
      datagrams.append(Array(buffer[..<count]))
    }
  }

  /// A certificate for `keyOfCertificate`, and the key to sign with, which may be another.
  static func use(_ identityKey: OpaquePointer, in context: OpaquePointer) throws -> Fingerprint {
    let certificate = try #require(X509_new())
    X509_set_version(certificate, 2)
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), 1)
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0)
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600)
    X509_set_pubkey(certificate, identityKey)
    #expect(X509_sign(certificate, identityKey, EVP_sha256()) > 0)
    #expect(SSL_CTX_use_certificate(context, certificate) == 1)
    #expect(SSL_CTX_use_PrivateKey(context, identityKey) == 1)
    var digest = [UInt8](repeating: 0, count: 32)
    var count = UInt32(0)
    #expect(X509_digest(certificate, EVP_sha256(), &digest, &count) == 1)
    return try #require(Fingerprint(algorithm: .sha256, bytes: digest))
  }
}

/// Joins a raw peer and one of our sessions, without loss, for a bounded number of rounds.
func exchange(_ raw: RawPeer, _ side: inout Side, now: Instant, rounds: Int = 10) {
  for _ in 0..<rounds {
    raw.advance()
    for datagram in raw.transmit() { side.handle(datagram, now: now) }
    for datagram in side.transmit() {
      raw.deliver(datagram)
      raw.advance()
    }
  }
}
