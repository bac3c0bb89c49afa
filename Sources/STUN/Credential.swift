// Credential.swift — a name and a password that last, and the keys made of them (RFC 8489 §9.2.2, §18.5).

import Digest
import Wire

/// Used as they are, in UTF-8. RFC 8489 asks for the profiles UsernameCaseMapped and OpaqueString; for ASCII they change
/// nothing, and the servers and browsers in use apply neither.
package struct STUNCredential: Hashable, Sendable {
  package var username: String
  package var password: String

  package init(username: String, password: String) {
    self.username = username
    self.password = password
  }

  /// USERHASH: SHA-256 of the name and the realm (RFC 8489 §14.4).
  package func userHash(realm: [UInt8]) -> [UInt8] {
    SHA256.hash((Array(username.utf8) + [Self.colon] + realm).rawSpan)
  }

  /// The key for integrity codes; nil when this system has no such hash.
  package func key(_ algorithm: STUNPasswordAlgorithm, realm: [UInt8]) -> [UInt8]? {
    let text = Array(username.utf8) + [Self.colon] + realm + [Self.colon] + Array(password.utf8)
    switch algorithm {
    case .md5: return MD5.hash(text.rawSpan)
    case .sha256: return SHA256.hash(text.rawSpan)
    }
  }

  private static let colon = UInt8(ascii: ":")
}

/// How a password becomes a key (RFC 8489 §18.5).
package enum STUNPasswordAlgorithm: UInt16, Hashable, Sendable {
  case md5 = 1
  case sha256 = 2

  /// PASSWORD-ALGORITHMS is a list of numbers, each with the length of its parameters, and those padded (§14.11).
  static func check(list: RawSpan) throws(Malformed) {
    var reader = ByteReader(list)
    guard !reader.isAtEnd else { throw .badLength }
    while !reader.isAtEnd {
      _ = try reader.readUInt16()
      let length = Int(try reader.readUInt16())
      try reader.skip(length)
      reader.skipPadding(after: length)
    }
  }

  /// The first of the list that we know, which is the one to take (§9.2.5); nil when we know none.
  package static func first(in list: RawSpan) -> STUNPasswordAlgorithm? {
    var reader = ByteReader(list)
    do throws(Malformed) {
      while !reader.isAtEnd {
        let number = try reader.readUInt16()
        let length = Int(try reader.readUInt16())
        try reader.skip(length)
        reader.skipPadding(after: length)
        if length == 0, let algorithm = STUNPasswordAlgorithm(rawValue: number) { return algorithm }
      }
    } catch {
      return nil
    }
    return nil
  }
}

/// What a server says of itself in the first characters of its nonce, where nobody can take it out without spoiling the
/// nonce: the protection against bidding down (RFC 8489 §9.2, §18.1).
package struct STUNSecurityFeatures: OptionSet, Sendable {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  // The 24 bits are counted from the most significant one.
  package static let passwordAlgorithms = Self(rawValue: 1 << 23)
  package static let usernameAnonymity = Self(rawValue: 1 << 22)

  /// The features of a nonce that starts with the nonce cookie; none of any other.
  package init(nonce: RawSpan) {
    rawValue = Self.bits(nonce: nonce) ?? 0
  }

  private static func bits(nonce: RawSpan) -> UInt32? {
    guard nonce.byteCount >= cookie.count + 4, nonce.extracting(0..<cookie.count).equals(cookie.rawSpan) else {
      return nil
    }
    var bits: UInt32 = 0
    for offset in cookie.count..<(cookie.count + 4) {
      guard let digit = alphabet.firstIndex(of: nonce.byte(at: offset)) else { return nil }
      bits = bits << 6 | UInt32(digit)
    }
    return bits
  }

  /// The first characters of a nonce with these features.
  package var nonceCookie: [UInt8] {
    Self.cookie + [18, 12, 6, 0].map { Self.alphabet[Int(rawValue >> $0 & 63)] }
  }

  private static let cookie = Array("obMatJos2".utf8)
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
}
