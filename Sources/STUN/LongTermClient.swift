// LongTermClient.swift — a client's side of the long-term credential mechanism (RFC 8489 §9.2.3, §9.2.5).
//
// The first request goes without credentials. What the server's refusal says, realm, nonce and algorithms, is what every
// later request is signed with, until the server says that the nonce is stale.
//
// Invariant: a session exists exactly when a challenge was understood; its key belongs to its realm and algorithm.

package import Wire

package struct LongTermClient: Sendable {
  /// What a 401 or 438 leads to.
  package enum Verdict: Hashable, Sendable {
    case retry
    /// The credentials are wrong, or there are none.
    case unauthorized
    /// The server names no algorithm that we know, or somebody has taken its list away.
    case unsupported
  }

  /// What an answer's integrity code says.
  package enum Authenticity: Hashable, Sendable {
    case authentic
    /// There is none.
    case absent
    /// There is one, and it is not of our key; or the message contradicts its nonce cookie.
    case wrong
  }

  private struct Session: Sendable {
    var realm: [UInt8]
    var nonce: [UInt8]
    /// The server's list as it came, which is to be sent back; nil for a server of RFC 5389.
    var algorithms: [UInt8]?
    var algorithm: STUNPasswordAlgorithm
    var hidesUsername: Bool
    var key: [UInt8]
  }

  /// In bytes: eight algorithms with parameters. It is to be repeated in every request, so it must be bounded.
  private static let maximumList = 64

  private let credential: STUNCredential?
  private var session: Session?

  package init(_ credential: STUNCredential?) { self.credential = credential }

  /// Whether requests are signed.
  package var hasSession: Bool { session != nil }

  /// Takes a 401 or a 438.
  ///
  /// - Parameter wasSigned: whether the request had credentials.
  package mutating func handle(challenge: STUNErrorResponse, wasSigned: Bool) -> Verdict {
    guard let nonce = challenge.nonce else { return .unauthorized }
    let features = STUNSecurityFeatures(nonce: nonce.rawSpan)
    // RFC 8489 §9.2.5: the nonce says that there is a list, and there is none.
    if features.contains(.passwordAlgorithms), challenge.passwordAlgorithms == nil { return .unsupported }
    // Servers of RFC 5389 may leave the realm out of a 438.
    guard let credential, let realm = challenge.realm ?? session?.realm else { return .unauthorized }
    if challenge.code == 401, wasSigned, realm == session?.realm { return .unauthorized }

    var algorithm = STUNPasswordAlgorithm.md5
    if let list = challenge.passwordAlgorithms {
      guard list.count <= Self.maximumList, let first = STUNPasswordAlgorithm.first(in: list.rawSpan) else {
        return .unsupported
      }
      algorithm = first
    } else if session?.algorithms != nil {
      // It had a list before: all later requests are to use SHA-256 codes (§9.2.5).
      return .unsupported
    }
    guard let key = credential.key(algorithm, realm: realm) else { return .unsupported }
    session = Session(
      realm: realm, nonce: nonce, algorithms: challenge.passwordAlgorithms, algorithm: algorithm,
      hidesUsername: features.contains(.usernameAnonymity), key: key)
    return .retry
  }

  /// Adds the credentials and the integrity code; nothing but FINGERPRINT may follow. Without a session adds nothing.
  @_lifetime(out: copy out)
  package func sign(_ writer: STUNWriter, into out: inout OutputRawSpan) throws(STUNEncodingError) {
    guard let session, let credential else { return }
    if session.hidesUsername {
      try writer.attribute(.userHash, credential.userHash(realm: session.realm).rawSpan, into: &out)
    } else {
      try writer.username(Array(credential.username.utf8), into: &out)
    }
    try writer.attribute(.realm, session.realm.rawSpan, into: &out)
    try writer.attribute(.nonce, session.nonce.rawSpan, into: &out)
    guard let algorithms = session.algorithms else {
      try writer.messageIntegrity(key: session.key, into: &out)
      return
    }
    try writer.attribute(.passwordAlgorithms, algorithms.rawSpan, into: &out)
    try writer.passwordAlgorithm(session.algorithm, into: &out)
    try writer.messageIntegritySHA256(key: session.key, into: &out)
  }

  /// Judges an answer to a signed request.
  package func authenticity(of message: borrowing STUNMessage) throws(Malformed) -> Authenticity {
    guard let session else { return .absent }
    guard try !Self.contradictsItsNonce(message) else { return .wrong }
    if session.algorithms != nil {
      // A weaker code than the one that was agreed on is none (§9.2.5).
      guard message.hasIntegritySHA256 else { return message.hasIntegrity ? .wrong : .absent }
      return message.verifiesIntegritySHA256(key: session.key) ? .authentic : .wrong
    }
    guard message.hasIntegrity else { return message.hasIntegritySHA256 ? .wrong : .absent }
    return message.verifiesIntegrity(key: session.key) ? .authentic : .wrong
  }

  /// The nonce says that there is a list of algorithms, and there is none: somebody has cut it out (§9.2.5).
  private static func contradictsItsNonce(_ message: borrowing STUNMessage) throws(Malformed) -> Bool {
    var claimsList = false
    var hasList = false
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      case .nonce(let nonce): claimsList = STUNSecurityFeatures(nonce: nonce).contains(.passwordAlgorithms)
      case .passwordAlgorithms: hasList = true
      default: break
      }
    }
    return claimsList && !hasList
  }
}
