// TLSClientSession.swift — one connection's TLS: ciphertext in and out through memory, plaintext in and out.
//
// Invariants: `isEstablished` only after the server has proved to hold the key of a certificate that is trusted and is for
// the name; what was received and not read yet is less than one read of the caller's.

internal import COpenSSL
internal import Wire

@safe
final class TLSClientSession: StreamSecuritySession {
  private let ssl: OpaquePointer
  /// What the server sent; owned by `ssl`, as is the next.
  private let incoming: OpaquePointer
  /// What is to be sent.
  private let outgoing: OpaquePointer
  private(set) var isEstablished = false

  init(_ context: OpaquePointer, serverName: String) throws(StreamSecurityError) {
    openssl_clear_errors()
    guard let ssl = unsafe SSL_new(context) else { throw .takeFromQueue("SSL_new") }
    guard let incoming = unsafe BIO_new(BIO_s_mem()) else {
      unsafe SSL_free(ssl)
      throw .takeFromQueue("BIO_new")
    }
    guard let outgoing = unsafe BIO_new(BIO_s_mem()) else {
      unsafe BIO_free(incoming)
      unsafe SSL_free(ssl)
      throw .takeFromQueue("BIO_new")
    }
    unsafe SSL_set_bio(ssl, incoming, outgoing)
    unsafe self.ssl = ssl
    unsafe self.incoming = incoming
    unsafe self.outgoing = outgoing
    guard unsafe Self.expect(serverName, of: ssl) else { throw .takeFromQueue("\(serverName) cannot be verified") }
    unsafe SSL_set_connect_state(ssl)
  }

  deinit { unsafe SSL_free(ssl) }

  /// Says whose certificate it must be. An address is not sent as a name (RFC 6066 §3).
  private static func expect(_ serverName: String, of ssl: OpaquePointer) -> Bool {
    if let address = IPAddress(serverName) {
      // Without the zone, which means nothing to others.
      let text = String(address.description.prefix { $0 != "%" })
      return unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), text) == 1
    }
    unsafe SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    return unsafe SSL_set1_host(ssl, serverName) == 1 && openssl_set_server_name(ssl, serverName) == 1
  }

  func start() throws(StreamSecurityError) { try advanceHandshake() }

  func receive(_ ciphertext: RawSpan) throws(StreamSecurityError) {
    openssl_clear_errors()
    let taken = unsafe ciphertext.withUnsafeBytes { bytes in
      unsafe BIO_write(incoming, bytes.baseAddress, CInt(bytes.count))
    }
    guard Int(taken) == ciphertext.byteCount else { throw .takeFromQueue("out of memory") }
    if !isEstablished { try advanceHandshake() }
  }

  func readPlaintext(into out: inout OutputRawSpan) throws(StreamSecurityError) -> Bool {
    guard isEstablished else { return false }
    precondition(!out.isFull, "there is room to read into")
    openssl_clear_errors()
    let ssl = unsafe self.ssl
    var status: CInt = 0
    var count = 0
    unsafe out.withUnsafeMutableBytes { buffer, initialized in
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[initialized...])
      status = unsafe SSL_read_ex(ssl, room.baseAddress, room.count, &count)
      initialized += count
    }
    guard status != 1 else { return true }
    switch unsafe SSL_get_error(ssl, status) {
    // After close_notify the end of the stream itself follows.
    case SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN: return false
    default: throw failure()
    }
  }

  func write(_ plaintext: RawSpan) throws(StreamSecurityError) {
    guard isEstablished else { throw StreamSecurityError("the handshake has not ended") }
    openssl_clear_errors()
    var count = 0
    let status = unsafe plaintext.withUnsafeBytes { unsafe SSL_write_ex(ssl, $0.baseAddress, $0.count, &count) }
    guard status == 1, count == plaintext.byteCount else { throw failure() }
  }

  func takeCiphertext(into out: inout [UInt8]) {
    let count = unsafe BIO_ctrl_pending(outgoing)
    guard count > 0 else { return }
    let start = out.count
    out.append(contentsOf: repeatElement(0, count: count))
    let read = unsafe out.withUnsafeMutableBytes { buffer in
      unsafe BIO_read(outgoing, buffer.baseAddress.map { unsafe $0 + start }, CInt(count))
    }
    precondition(Int(read) == count, "memory gives what it says it holds")
  }

  func close() {
    guard isEstablished else { return }
    openssl_clear_errors()
    _ = unsafe SSL_shutdown(ssl)
    ERR_clear_error()
    isEstablished = false
  }

  private func advanceHandshake() throws(StreamSecurityError) {
    openssl_clear_errors()
    let status = unsafe SSL_do_handshake(ssl)
    if status == 1 {
      isEstablished = true
    } else if unsafe SSL_get_error(ssl, status) != SSL_ERROR_WANT_READ {
      throw failure()
    }
  }

  private func failure() -> StreamSecurityError {
    isEstablished = false
    let error = StreamSecurityError.takeFromQueue("the connection was cut")
    let verdict = unsafe SSL_get_verify_result(ssl)
    guard verdict != Int(X509_V_OK), let why = unsafe X509_verify_cert_error_string(verdict) else { return error }
    return unsafe StreamSecurityError("\(error.reason) (\(String(cString: why)))")
  }
}
