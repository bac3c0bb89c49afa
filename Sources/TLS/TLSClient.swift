// TLSClient.swift — TLS 1.2 and 1.3 (RFC 5246, RFC 8446) over a stream as the side that connects, over OpenSSL and without
// I/O: for TURN over TLS (RFC 8656 §3.1), whose server shows a certificate for its name.

internal import COpenSSL
internal import Digest
package import Wire

/// Who vouches for a server's certificate.
package enum TLSTrust: Hashable, Sendable {
  /// Whom this system trusts.
  case system
  /// The authorities in a file of PEM certificates, and nobody else.
  case file(String)
}

/// Connects to servers that prove to be `serverName`.
@safe
package final class TLSClient: StreamSecurity, @unchecked Sendable {
  package let serverName: String
  private let context: OpaquePointer

  /// - Parameter serverName: a host name, or an IP address as a literal; the certificate must be for it.
  /// - Throws: when the authorities cannot be read.
  package init(serverName: String, trust: TLSTrust = .system) throws(StreamSecurityError) {
    guard !serverName.isEmpty, serverName.utf8.count <= Self.maximumNameLength, !serverName.utf8.contains(0) else {
      throw StreamSecurityError("\(serverName.debugDescription) is no name of a server")
    }
    // The root's dot is not part of a name in a certificate, nor of what is sent (RFC 6066 §3).
    self.serverName = serverName.hasSuffix(".") ? String(serverName.dropLast()) : serverName
    switch trust {
    case .system:
      // Reading the system's authorities may take milliseconds: once is enough.
      let shared = try Self.system.get()
      unsafe precondition(SSL_CTX_up_ref(shared.context) == 1, "a count of references does not overflow")
      unsafe context = shared.context
    case .file: unsafe context = try Self.makeContext(trust).context
    }
  }

  deinit { unsafe SSL_CTX_free(context) }

  package func makeSession() throws(StreamSecurityError) -> any StreamSecuritySession {
    try unsafe TLSClientSession(context, serverName: serverName)
  }

  @safe
  private struct Context: @unchecked Sendable {
    let context: OpaquePointer
  }

  private static let system = Result<Context, StreamSecurityError> { () throws(StreamSecurityError) in
    try makeContext(.system)
  }

  private static func makeContext(_ trust: TLSTrust) throws(StreamSecurityError) -> Context {
    OpenSSL.prepare()
    openssl_clear_errors()
    guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw .takeFromQueue("SSL_CTX_new") }
    let isReady = unsafe openssl_context_prepare_stream_client(context) == 1
    let isTrusting =
      switch trust {
      case .system: unsafe SSL_CTX_set_default_verify_paths(context) == 1
      case .file(let path): unsafe SSL_CTX_load_verify_file(context, path) == 1
      }
    guard isReady, isTrusting else {
      let error = StreamSecurityError.takeFromQueue("the trusted certificates cannot be read")
      unsafe SSL_CTX_free(context)
      throw error
    }
    unsafe openssl_context_disable_session_cache(context)
    unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    return unsafe Context(context: context)
  }

  private static let maximumNameLength = 255  // RFC 1035 §2.3.4
}

extension StreamSecurityError {
  /// Takes the oldest error off OpenSSL's queue, the cause of the others, and empties the queue.
  static func takeFromQueue(_ otherwise: String) -> StreamSecurityError {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0, let text = unsafe ERR_reason_error_string(code) else { return StreamSecurityError(otherwise) }
    return unsafe StreamSecurityError(String(cString: text))
  }
}
