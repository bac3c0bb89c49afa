// ServerLink.swift — the way to one STUN or TURN server: its messages as they are, or as records of a DTLS session
// (RFC 7350, RFC 8656 §3.1). What a stream socket carries is as it is, too: framing and TLS are that socket's.

import DTLS
import Wire

/// Whose certificate a server must show, when it is spoken to by DTLS.
package struct ServerName: Hashable, Sendable {
  /// A host name, or an address.
  package var text: String
  package init(_ text: String) { self.text = text }
}

/// A reference, because the owners are kept in arrays and a session cannot be.
final class ServerLink {
  let route: Route
  private var session: DTLSSession?
  /// What comes out of a record, and what goes into one.
  private var scratch: ScratchBuffer?
  private(set) var failure: DTLSError?

  /// - Parameter secure: the name to verify; nil: no DTLS.
  init(route: Route, secure name: ServerName?, maximumDatagramSize: Int) throws(DTLSError) {
    self.route = route
    guard let name else { return }
    session = try DTLSSession(serverName: name.text, maximumRecordSize: maximumDatagramSize)
    scratch = ScratchBuffer()
  }

  /// Whether there is a session, ready or not.
  var isSecure: Bool {
    switch session {
    case .some: true
    case .none: false
    }
  }

  /// Whether messages can be sent now.
  var isReady: Bool {
    switch session {
    case .some(let session): session.isConnected
    case .none: true
    }
  }

  func start(now: Instant) { session?.start(now: now) }

  /// Calls `body` with each message of a datagram from the server.
  func open(_ datagram: RawSpan, now: Instant, _ body: (RawSpan) -> Void) {
    guard isSecure else { return body(datagram) }
    session?.handle(datagram, now: now)
    noteEvents()
    while openNext(body) {}
    noteEvents()
  }

  private func openNext(_ body: (RawSpan) -> Void) -> Bool {
    var taken: ScratchBuffer?
    swap(&taken, &scratch)  // `body` may lead back here, though not to this buffer
    defer { swap(&taken, &scratch) }
    return taken?.withBytes { out in
      session?.readApplicationData(into: &out) ?? false
    } read: {
      body($0)
    } != nil
  }

  func handleTimeout(now: Instant) {
    if let due = deadline, due <= now { session?.handleTimeout(now: now) }
    noteEvents()
  }

  var deadline: Instant? {
    switch session {
    case .some(let session): session.deadline
    case .none: nil
    }
  }

  /// Appends a datagram of the session's own: a flight of its handshake, or its end.
  func transmitHandshake(into batch: inout TransmitBatch) -> Bool {
    guard isSecure else { return false }
    return batch.append(maximum: Self.maximumHandshakeDatagram) { out in
      session?.pollTransmit(into: &out) == true ? route : nil
    }
  }

  /// Appends what `write` writes, at most `maximum` bytes, sealed if there is a session; `write` returns whether it did.
  func transmit(into batch: inout TransmitBatch, maximum: Int, _ write: (inout OutputRawSpan) -> Bool) -> Bool {
    guard isSecure else { return batch.append(maximum: maximum) { out in write(&out) ? route : nil } }
    guard isReady else { return false }
    return batch.append(maximum: maximum + DTLSSession.recordOverhead) { out in
      let isSealed = scratch?.withBytes(write: write) { plaintext in
        do {
          try session?.seal(plaintext, into: &out)
          return true
        } catch {
          // Longer than a record may be, or the session has ended, which its event says.
          return false
        }
      }
      return isSealed == true ? route : nil
    }
  }

  private func noteEvents() {
    while let event = session?.pollEvent() {
      switch event {
      case .connected: break
      case .failed(let error): failure = failure ?? error
      case .closed: failure = failure ?? .notConnected
      }
    }
  }

  /// Room that `transmit` needs beyond what is written.
  static let maximumOverhead = DTLSSession.recordOverhead
  static let maximumHandshakeDatagram = 1_200
}
