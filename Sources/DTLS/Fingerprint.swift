// Fingerprint.swift — the hash of a certificate, as SDP carries it in `a=fingerprint` (RFC 8122 §5).
//
// The certificates are self-signed, so that this hash, which comes over the signalling channel, is all that ties the
// DTLS peer to the one we mean to talk to. Hash functions that can be collided are refused, not compared.

internal import COpenSSL

/// The hash functions that a fingerprint may use here; weaker ones (MD5, SHA-1) do not authenticate.
package enum FingerprintAlgorithm: String, Hashable, Sendable, CaseIterable, Comparable {
  case sha256 = "sha-256"
  case sha384 = "sha-384"
  case sha512 = "sha-512"

  /// Bytes in the hash.
  package var byteCount: Int {
    switch self {
    case .sha256: 32
    case .sha384: 48
    case .sha512: 64
    }
  }

  /// The stronger of two is the greater.
  package static func < (a: FingerprintAlgorithm, b: FingerprintAlgorithm) -> Bool { a.byteCount < b.byteCount }
}

/// Why a fingerprint could not be read.
package enum FingerprintError: Error, Hashable, Sendable {
  /// A hash function that is unknown or too weak; RFC 8122 §5 wants such a line skipped, as long as another is left.
  case unsupportedAlgorithm
  case malformed
}

/// The hash of a certificate in its DER form.
package struct Fingerprint: Hashable, Sendable, CustomStringConvertible {
  package let algorithm: FingerprintAlgorithm
  package let bytes: [UInt8]

  /// Nil unless `bytes` has the length of the algorithm's hash.
  package init?(algorithm: FingerprintAlgorithm, bytes: [UInt8]) {
    guard bytes.count == algorithm.byteCount else { return nil }
    self.algorithm = algorithm
    self.bytes = bytes
  }

  /// Reads the value of `a=fingerprint`: the hash function's name, one space, hexadecimal pairs between colons. Case
  /// does not matter; RFC 8122 asks for upper case, not all senders comply.
  package init(parsing text: some StringProtocol) throws(FingerprintError) {
    let parts = text.split(separator: " ", omittingEmptySubsequences: true)
    guard parts.count == 2 else { throw .malformed }
    guard let algorithm = FingerprintAlgorithm(rawValue: parts[0].lowercased()) else { throw .unsupportedAlgorithm }
    var bytes: [UInt8] = []
    var high: UInt8?
    var wantsColon = false
    for character in parts[1].utf8 {
      if wantsColon {
        guard character == UInt8(ascii: ":") else { throw .malformed }
        wantsColon = false
      } else {
        guard let digit = Self.value(ofHexDigit: character) else { throw .malformed }
        if let upper = high {
          guard bytes.count < algorithm.byteCount else { throw .malformed }
          bytes.append(upper << 4 | digit)
          high = nil
          wantsColon = true
        } else {
          high = digit
        }
      }
    }
    // After a whole pair a colon is what could still follow; anything else was cut off.
    guard wantsColon, bytes.count == algorithm.byteCount else { throw .malformed }
    self.algorithm = algorithm
    self.bytes = bytes
  }

  /// `sha-256 AB:CD:…`
  package var description: String {
    var text = algorithm.rawValue
    for (index, byte) in bytes.enumerated() {
      text += index == 0 ? " " : ":"
      text.append(Self.hexDigits[Int(byte >> 4)])
      text.append(Self.hexDigits[Int(byte & 0xf)])
    }
    return text
  }

  private static let hexDigits: [Character] = Array("0123456789ABCDEF")

  private static func value(ofHexDigit character: UInt8) -> UInt8? {
    switch character {
    case 0x30...0x39: character - 0x30
    case 0x41...0x46: character - 0x41 + 10
    case 0x61...0x66: character - 0x61 + 10
    default: nil
    }
  }
}

extension Fingerprint {
  /// The fingerprint of an X.509 certificate; nil when OpenSSL cannot compute it.
  init?(of certificate: OpaquePointer, algorithm: FingerprintAlgorithm) {
    let hash =
      switch algorithm {
      case .sha256: unsafe EVP_sha256()
      case .sha384: unsafe EVP_sha384()
      case .sha512: unsafe EVP_sha512()
      }
    var bytes = [UInt8](repeating: 0, count: algorithm.byteCount)
    var count = UInt32(0)
    guard unsafe X509_digest(certificate, hash, &bytes, &count) == 1 else { return nil }
    self.init(algorithm: algorithm, bytes: Array(bytes.prefix(Int(count))))
  }

  /// Whether a peer that presents `certificate` is the one that `announced` describes. Of several hash functions only
  /// the strongest counts, and one match among its fingerprints suffices (RFC 8122 §5).
  static func matches(_ certificate: OpaquePointer, announced: [Fingerprint]) -> Bool {
    guard let strongest = announced.map(\.algorithm).max(),
      let actual = unsafe Fingerprint(of: certificate, algorithm: strongest)
    else { return false }
    return announced.contains(actual)
  }
}
