// Digest.swift — the keyed and plain hashes that the protocols name, over OpenSSL.

import COpenSSL

/// OpenSSL's one condition for being used from several threads: see `prepare`.
public enum OpenSSL {
  private static let isReady = openssl_keep_until_the_end() == 1

  /// Whoever calls OpenSSL calls this before; all calls but the first cost next to nothing.
  @inline(__always)
  public static func prepare() { precondition(isReady, "OpenSSL 3 can always be initialized once") }
}

/// HMAC (RFC 2104) with the two hashes that STUN and SCTP use.
public enum HMAC {
  /// HMAC-SHA-1, 20 bytes: STUN's MESSAGE-INTEGRITY (RFC 8489 §14.5).
  public static func sha1(key: [UInt8], _ message: RawSpan) -> [UInt8] {
    unsafe compute(EVP_sha1(), key: key, message, count: 20)
  }

  /// HMAC-SHA-256, 32 bytes: SCTP's state cookie (RFC 9260 §5.1.3).
  public static func sha256(key: [UInt8], _ message: RawSpan) -> [UInt8] {
    unsafe compute(EVP_sha256(), key: key, message, count: 32)
  }

  private static func compute(
    _ hash: OpaquePointer?, key: [UInt8], _ message: RawSpan, count: Int
  ) -> [UInt8] {
    OpenSSL.prepare()
    var code = [UInt8](repeating: 0, count: count)
    var written: UInt32 = 0
    let result = unsafe message.withUnsafeBytes { message in
      unsafe COpenSSL.HMAC(
        hash, key, CInt(key.count), message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count, &code,
        &written)
    }
    precondition(unsafe result != nil && Int(written) == count, "HMAC over bytes in memory cannot fail")
    return code
  }
}

/// SHA-256 in one call or in pieces.
@safe
public struct SHA256: ~Copyable {
  private let context: OpaquePointer

  public init() {
    OpenSSL.prepare()
    guard let context = unsafe EVP_MD_CTX_new() else { preconditionFailure("out of memory") }
    unsafe self.context = context
    unsafe precondition(EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1, "SHA-256 is always available")
  }

  deinit { unsafe EVP_MD_CTX_free(context) }

  public mutating func update(_ bytes: RawSpan) {
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "hashing memory cannot fail")
    }
  }

  /// The 32 bytes of the hash; ends this computation.
  public consuming func finalize() -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    unsafe precondition(EVP_DigestFinal_ex(context, &digest, nil) == 1, "hashing memory cannot fail")
    return digest
  }

  public static func hash(_ bytes: RawSpan) -> [UInt8] {
    var hash = SHA256()
    hash.update(bytes)
    return hash.finalize()
  }
}

/// MD5, only where a protocol names it: the long-term credential's key (RFC 8489 §9.2.2).
public enum MD5 {
  /// The 16 bytes of the hash; nil where the system's policy has turned MD5 off.
  public static func hash(_ bytes: RawSpan) -> [UInt8]? {
    OpenSSL.prepare()
    var digest = [UInt8](repeating: 0, count: 16)
    let result = unsafe bytes.withUnsafeBytes { bytes in
      unsafe EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_md5(), nil)
    }
    openssl_clear_errors()
    return result == 1 ? digest : nil
  }
}

/// Whether both codes are equal, in a time that does not depend on where they differ.
public func constantTimeEqual(_ a: RawSpan, _ b: RawSpan) -> Bool {
  guard a.byteCount == b.byteCount else { return false }
  return unsafe a.withUnsafeBytes { a in
    unsafe b.withUnsafeBytes { b in unsafe CRYPTO_memcmp(a.baseAddress, b.baseAddress, a.count) == 0 }
  }
}
