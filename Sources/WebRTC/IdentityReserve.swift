// IdentityReserve.swift — the next connection's key and certificate, made ahead: OpenSSL takes most of a millisecond.
//
// Each identity still serves one connection only. A configured certificate is another matter: it serves many.

import DTLS
import Synchronization

enum IdentityReserve {
  private static let spare = Mutex<DTLSIdentity?>(nil)

  /// A fresh identity. Another one is made in the background for the next caller.
  static func take() throws(DTLSError) -> DTLSIdentity {
    let taken = spare.withLock { spare in
      defer { spare = nil }
      return spare
    }
    Task.detached(priority: .background) { refill() }
    if let taken { return taken }
    return try .generate()
  }

  /// The configured certificate, unless it has expired, or a fresh one.
  static func take(_ configuration: PeerConnectionConfiguration) throws(PeerConnectionError) -> DTLSIdentity {
    if let certificate = configuration.certificate {
      guard !certificate.isExpired else { throw .invalidAccess("certificate: it has expired") }
      return certificate.identity
    }
    do { return try take() } catch { throw .system("\(error)") }
  }

  private static func refill() {
    guard spare.withLock({ $0 == nil }) else { return }
    do {
      let identity = try DTLSIdentity.generate()
      spare.withLock { $0 = identity }
    } catch {
      // What is wrong will be wrong again in the next `take`, which says so.
      return
    }
  }
}
