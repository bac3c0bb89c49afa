// DTLSError.swift — what can go wrong, and how OpenSSL's queue of errors becomes one of these.

internal import COpenSSL

package enum DTLSError: Error, Hashable, Sendable {
  /// A session cannot be made without a fingerprint to hold the peer to.
  case noRemoteFingerprint
  /// The peer's certificate is not the one that was announced (RFC 8122 §6.2).
  case fingerprintMismatch
  /// The peer's certificate is the one that was announced, but its key is too short to prove anything (RFC 9325 §4.5).
  case weakKey
  /// No authority vouches for the server, or not under this name; OpenSSL's words.
  case untrustedServer(String)
  /// The peer gave up, with the name of its alert.
  case peerAlert(String)
  /// The handshake did not end within `DTLSSession.handshakeLimit`.
  case handshakeTimedOut
  /// The peers have no parameters in common, or the peer broke the protocol; OpenSSL's words.
  case protocolFailure(String)
  /// Application data was to be sent before the handshake ended or after the session did.
  case notConnected
  /// The plaintext does not fit one datagram.
  case plaintextTooLarge
  /// OpenSSL refused what cannot fail except for want of memory; its words.
  case library(String)
}

extension DTLSError {
  /// Takes the oldest error off OpenSSL's queue, the cause of the others, and empties the queue.
  static func takeFromQueue() -> DTLSError {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return .library("no reason given") }
    let reason = ERR_GET_REASON(code)
    if ERR_GET_LIB(code) == ERR_LIB_SSL {
      if reason == SSL_R_READ_TIMEOUT_EXPIRED { return .handshakeTimedOut }
      if reason > SSL_AD_REASON_OFFSET { return .peerAlert(alertName(UInt8(truncatingIfNeeded: reason))) }
    }
    guard let text = unsafe ERR_reason_error_string(code) else { return .protocolFailure("OpenSSL error \(code)") }
    return .protocolFailure(unsafe String(cString: text))
  }

  /// The words for the newest error on OpenSSL's queue, which is the most particular one to a caller that did one thing;
  /// empties the queue.
  static func takeWords() -> String {
    let code = ERR_peek_last_error()
    ERR_clear_error()
    guard code != 0, let text = unsafe ERR_reason_error_string(code) else { return "no reason given" }
    return unsafe String(cString: text)
  }

  /// The name that RFC 5246 §7.2 gives an alert, with spaces.
  static func alertName(_ description: UInt8) -> String {
    guard let text = unsafe SSL_alert_desc_string_long(CInt(description)) else { return "alert \(description)" }
    return unsafe String(cString: text)
  }
}
