// Credential.swift — a name and a password that last (RFC 8489 §9.2).

/// Used as they are, in UTF-8. RFC 8489 asks for the profiles UsernameCaseMapped and OpaqueString; for ASCII they change
/// nothing, and the servers and browsers in use apply neither.
package struct STUNCredential: Hashable, Sendable {
  package var username: String
  package var password: String

  package init(username: String, password: String) {
    self.username = username
    self.password = password
  }
}

/// RFC 8656 §18.7.
package enum STUNAddressFamily: UInt8, Hashable, Sendable {
  case v4 = 1
  case v6 = 2
}
