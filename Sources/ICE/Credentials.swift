// Credentials.swift — the user name fragment and password that one side announces (RFC 8445 §5.3, RFC 8839 §5.4).

package import Wire

package struct ICECredentials: Hashable, Sendable {
  package var usernameFragment: String
  package var password: String

  package init(usernameFragment: String, password: String) {
    self.usernameFragment = usernameFragment
    self.password = password
  }

  /// At least 24 random bits in the fragment and 128 in the password are asked for; these are 48 and 144.
  package static func random(using random: inout RandomSource) -> ICECredentials {
    ICECredentials(
      usernameFragment: iceText(count: 8, using: &random), password: iceText(count: 24, using: &random))
  }

  /// Whether both parts are ice-chars and not longer than RFC 8839 §5.4 allows. The lower bounds, 4 and 22, protect
  /// the side that chose the credentials; so they are kept above when ours are made, not demanded here. The characters
  /// `-`, `_` and `=` of the URL-safe alphabet, which some senders use, pass as they do in a description.
  package var isWellFormed: Bool {
    for part in [usernameFragment, password] {
      guard (1...256).contains(part.utf8.count), part.utf8.allSatisfy({ isICECharacter($0) || "-_=".utf8.contains($0) })
      else {
        return false
      }
    }
    return true
  }

  private static func iceText(count: Int, using random: inout RandomSource) -> String {
    var text = ""
    var bits: UInt64 = 0
    for index in 0..<count {
      if index % 10 == 0 { bits = random.next() }  // ten characters of six bits each
      text.unicodeScalars.append(Unicode.Scalar(alphabet[Int(bits & 63)]))
      bits >>= 6
    }
    return text
  }

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
}

/// RFC 8839 §5.1: ice-char = ALPHA / DIGIT / "+" / "/".
func isICECharacter(_ byte: UInt8) -> Bool {
  switch byte {
  case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2b, 0x2f: true
  default: false
  }
}
