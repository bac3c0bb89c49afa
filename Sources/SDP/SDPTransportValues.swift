// SDPTransportValues.swift — what a description says about ICE and DTLS, read into values that are well-formed.
//
// They are this module's own: a description is text, and neither machine has to exist to read one.

/// `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.4).
package struct SDPCredentials: Hashable, Sendable {
  package let usernameFragment: String
  package let password: String

  package init(usernameFragment: String, password: String) throws(SDPError) {
    guard Self.isValid(usernameFragment, lengths: 4...256) else { throw .malformedAttribute(name: "ice-ufrag") }
    guard Self.isValid(password, lengths: 22...256) else { throw .malformedAttribute(name: "ice-pwd") }
    self.usernameFragment = usernameFragment
    self.password = password
  }

  /// ice-char is a letter, a digit, `+` or `/`; some senders also use the URL-safe alphabet's `-`, `_` and `=`. None of
  /// them can be mistaken for the colon between two fragments in a STUN user name.
  private static func isValid(_ text: String, lengths: ClosedRange<Int>) -> Bool {
    lengths.contains(text.utf8.count)
      && text.utf8.allSatisfy { isAlphanumeric($0) || "+/-_=".utf8.contains($0) }
  }
}

/// `a=fingerprint` (RFC 8122 §5): a hash function and the hash of a certificate.
package struct SDPFingerprint: Hashable, Sendable, CustomStringConvertible {
  /// In lower case, like `sha-256`. It may be one we do not know.
  package let algorithm: String
  package let bytes: [UInt8]

  package init(algorithm: String, bytes: [UInt8]) throws(SDPError) {
    let algorithm = algorithm.lowercased()
    if let length = Self.length(algorithm) {
      guard bytes.count == length else { throw .malformedAttribute(name: "fingerprint") }
    } else {
      guard (1...64).contains(bytes.count) else { throw .malformedAttribute(name: "fingerprint") }
    }
    self.algorithm = algorithm
    self.bytes = bytes
  }

  /// Reads `sha-256 12:AB:…`.
  package init(parsing text: some StringProtocol) throws(SDPError) {
    let parts = words(text)
    guard parts.count == 2, parts[1].utf8.count <= Self.maximumTextLength else {
      throw .malformedAttribute(name: "fingerprint")
    }
    var bytes: [UInt8] = []
    for pair in parts[1].utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
      guard let byte = Self.byte(pair) else { throw .malformedAttribute(name: "fingerprint") }
      bytes.append(byte)
    }
    try self.init(algorithm: parts[0], bytes: bytes)
  }

  package var description: String {
    let pairs = bytes.map { ($0 < 0x10 ? "0" : "") + String($0, radix: 16, uppercase: true) }
    return "\(algorithm) \(pairs.joined(separator: ":"))"
  }

  private static func byte(_ pair: Substring.UTF8View) -> UInt8? {
    guard pair.count == 2, pair.allSatisfy(isAlphanumeric) else { return nil }  // UInt8("+1", radix: 16) would be 1
    return UInt8(Substring(pair), radix: 16)
  }

  private static func length(_ algorithm: String) -> Int? {
    switch algorithm {
    case "md5": 16
    case "sha-1": 20
    case "sha-224": 28
    case "sha-256": 32
    case "sha-384": 48
    case "sha-512": 64
    default: nil
    }
  }
  private static let maximumTextLength = 64 * 3 - 1  // of the longest hash
}

/// `a=setup` (RFC 4145 §4, RFC 8842 §5).
package enum SDPSetup: String, Hashable, Sendable { case active, passive, actpass, holdconn }

/// Who sends the ClientHello.
package enum SDPRole: Hashable, Sendable {
  /// The DTLS client; its channels have even stream ids.
  case active
  /// The DTLS server; its channels have odd stream ids.
  case passive

  var setup: SDPSetup { self == .active ? .active : .passive }
}
