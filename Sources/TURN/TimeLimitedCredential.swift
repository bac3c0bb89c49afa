// TimeLimitedCredential.swift — credentials that a TURN server believes because they were made with its secret, until a
// time that their name says (draft-uberti-behave-turn-rest §2.2; coturn's `use-auth-secret`).

import Digest
package import STUN
import Wire

extension STUNCredential {
  /// The name is `expiry:subject`, or `expiry` alone for an empty subject; the password is the Base64 of the name's
  /// HMAC-SHA-1.
  ///
  /// - Parameters:
  ///   - secret: what the TURN server and whoever hands out credentials share.
  ///   - subject: for whom; the server uses it for its quotas only.
  ///   - expiry: in seconds since 1970.
  package static func timeLimited(secret: String, subject: String, expiry: UInt64) -> STUNCredential {
    let name = subject.isEmpty ? "\(expiry)" : "\(expiry):\(subject)"
    let code = HMAC.sha1(key: Array(secret.utf8), Array(name.utf8).rawSpan)
    return STUNCredential(username: name, password: base64(code))
  }

  private static func base64(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      var bits: UInt32 = 0
      for index in 0..<3 { bits = bits << 8 | (index < group.count ? UInt32(group[start + index]) : 0) }
      for digit in 0..<4 {
        text.append(digit <= group.count ? alphabet[Int(bits >> UInt32(18 - 6 * digit) & 63)] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
}
