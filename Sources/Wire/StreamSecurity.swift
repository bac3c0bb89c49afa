// StreamSecurity.swift — TLS over a byte stream, as the event loop sees it: who owns the connections knows no
// cryptography, and who does the cryptography knows no socket.

/// Makes the sessions of a stream socket, one for each connection: a name to verify and the authorities that are trusted.
package protocol StreamSecurity: Sendable {
  /// A session that has not begun.
  func makeSession() throws(StreamSecurityError) -> any StreamSecuritySession
}

/// One side of one secured connection, without I/O. It is used from one thread.
///
/// After each call that may fail the caller takes what is to be sent with `takeCiphertext`, also when it did fail: the
/// last of it is the alert that tells the peer why.
package protocol StreamSecuritySession: AnyObject {
  /// Whether the handshake has ended well, so that `write` may be called.
  var isEstablished: Bool { get }

  /// Begins the handshake.
  func start() throws(StreamSecurityError)

  /// Takes over bytes that came from the peer, however they were cut.
  func receive(_ ciphertext: RawSpan) throws(StreamSecurityError)

  /// Appends to `out`, which is not full, plaintext of what was received.
  ///
  /// - Returns: false when there is none until more is received.
  func readPlaintext(into out: inout OutputRawSpan) throws(StreamSecurityError) -> Bool

  /// Encrypts `plaintext`, of at least one byte.
  func write(_ plaintext: RawSpan) throws(StreamSecurityError)

  /// Moves the bytes that are to be sent to the end of `out`.
  func takeCiphertext(into out: inout [UInt8])

  /// Says that nothing more will be written (close_notify).
  func close()
}

/// Why a secured stream ended.
package struct StreamSecurityError: Error, Hashable, Sendable, CustomStringConvertible {
  /// For people: what the library said, for example `certificate verify failed (hostname mismatch)`.
  package var reason: String

  package init(_ reason: String) { self.reason = reason }

  package var description: String { reason }
}
