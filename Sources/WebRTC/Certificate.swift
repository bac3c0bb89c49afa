// Certificate.swift — the certificate and key by which a peer knows us (W3C `RTCCertificate`, RFC 8827 §6.5).

package import DTLS
import Net
import Wire

/// A certificate and its private key. Without one in its configuration each connection makes its own, so that nobody can
/// link two of them; one that is kept, and used again, lets a peer recognize this side by its fingerprint.
public struct Certificate: Sendable {
  /// What kind of key it has.
  public enum Kind: String, Sendable, CaseIterable {
    /// ECDSA on P-256 with SHA-256, which every peer understands.
    case ecdsaP256 = "ecdsa-p256"
    /// Smaller and faster; browsers do not understand it.
    case ed25519
    /// RSA with 2,048 bits, for peers that know nothing else.
    case rsa2048 = "rsa-2048"
  }

  /// By which a description announces a certificate (RFC 8122 §5).
  public enum HashFunction: String, Sendable, CaseIterable {
    case sha256 = "sha-256"
    case sha384 = "sha-384"
    case sha512 = "sha-512"
  }

  /// The hash of a certificate (W3C `RTCDtlsFingerprint`).
  public struct Fingerprint: Hashable, Sendable, CustomStringConvertible {
    /// The hash function's name, as `sha-256`.
    public let algorithm: String
    /// Pairs of hexadecimal digits with colons between them.
    public let value: String
    /// As in `a=fingerprint`.
    public var description: String { "\(algorithm) \(value)" }
  }

  let identity: DTLSIdentity

  /// A fresh key with a certificate that it signs itself.
  ///
  /// - Parameter expiresIn: how long it can be used; a year at most.
  /// - Throws: `PeerConnectionError.invalidParameter` unless it lives for a second, `.system` when no key can be made.
  public static func generate(
    _ kind: Kind = .ecdsaP256, expiresIn lifetime: Duration = .seconds(30 * 86_400)
  ) throws(PeerConnectionError) -> Certificate {
    let seconds = min(lifetime.components.seconds, 366 * 86_400)
    guard seconds >= 1 else { throw .invalidParameter("expiresIn: a certificate lives for a second at least") }
    do throws(DTLSError) {
      return Certificate(identity: try .generate(kind.inDTLS, lifetime: .seconds(seconds)))
    } catch {
      throw .system("\(error)")
    }
  }

  /// One that exists, as PEM (RFC 7468), with a key on P-256, an Ed25519 key, or an RSA key of 2,048 bits or more.
  public init(certificatePEM: String, privateKeyPEM: String) throws(CertificateError) {
    do throws(DTLSIdentityError) {
      identity = try .reading(certificatePEM: certificatePEM, privateKeyPEM: privateKeyPEM)
    } catch {
      throw CertificateError(error)
    }
    guard !isExpired else { throw .expired }
  }

  package init(identity: DTLSIdentity) { self.identity = identity }

  /// When no connection can be made with it any more, in seconds since 1970.
  public var expires: Int64 { identity.validity.upperBound }

  public var isExpired: Bool { expires <= WallClock.secondsSince1970() }

  /// What a peer's description calls `a=fingerprint`.
  public func fingerprint(_ function: HashFunction = .sha256) -> Fingerprint {
    let fingerprint = identity.fingerprint(function.inDTLS)
    let parts = fingerprint.description.split(separator: " ")
    return Fingerprint(algorithm: fingerprint.algorithm.rawValue, value: String(parts[1]))
  }

  /// By every hash function.
  public var fingerprints: [Fingerprint] { HashFunction.allCases.map { fingerprint($0) } }

  public var certificatePEM: String { get throws(PeerConnectionError) { try Self.require(identity.certificatePEM) } }

  /// In the clear: whoever reads it can pass for this side. For storing the certificate, where nobody else can read.
  public var privateKeyPEM: String { get throws(PeerConnectionError) { try Self.require(identity.privateKeyPEM) } }

  private static func require(_ text: String?) throws(PeerConnectionError) -> String {
    guard let text else { throw .system("the certificate cannot be written") }
    return text
  }
}

/// Why a certificate and its key cannot be used.
public enum CertificateError: Error, Hashable, Sendable, CustomStringConvertible {
  /// No certificate in PEM.
  case malformedCertificate(String)
  /// No private key in PEM, or one behind a password.
  case malformedPrivateKey(String)
  /// The key is another than the certificate's.
  case keyMismatch
  /// Neither ECDSA on P-256 nor Ed25519 nor RSA.
  case unsupportedKey(String)
  /// An RSA key of fewer bits than 2,048.
  case keyTooShort(bits: Int)
  case expired
  /// Too long, or with a signature that is not trusted any more.
  case refused(String)

  public var description: String {
    switch self {
    case .malformedCertificate(let why): "no certificate in PEM: \(why)"
    case .malformedPrivateKey(let why): "no private key in PEM without a password: \(why)"
    case .keyMismatch: "the private key is another than the certificate's"
    case .unsupportedKey(let name): "keys are on P-256, Ed25519 or RSA; this is \(name)"
    case .keyTooShort(let bits): "an RSA key has 2,048 bits at least, not \(bits)"
    case .expired: "the certificate has expired"
    case .refused(let why): "the certificate cannot be used: \(why)"
    }
  }

  init(_ error: DTLSIdentityError) {
    switch error {
    case .malformedCertificate(let why): self = .malformedCertificate(why)
    case .malformedPrivateKey(let why): self = .malformedPrivateKey(why)
    case .keyMismatch: self = .keyMismatch
    case .unsupportedKey(let name): self = .unsupportedKey(name)
    case .keyTooShort(let bits): self = .keyTooShort(bits: bits)
    case .certificateTooLong(let byteCount): self = .refused("it has \(byteCount) bytes")
    case .refused(let why): self = .refused(why)
    }
  }
}

extension Certificate.Kind {
  fileprivate var inDTLS: DTLSKeyKind {
    switch self {
    case .ecdsaP256: .ecdsaP256
    case .ed25519: .ed25519
    case .rsa2048: .rsa2048
    }
  }
}

extension Certificate.HashFunction {
  var inDTLS: FingerprintAlgorithm {
    switch self {
    case .sha256: .sha256
    case .sha384: .sha384
    case .sha512: .sha512
    }
  }
}
