// SRTPKeyingMaterial.swift — the master keys that both ends take from DTLS (RFC 5764 §4.2). The bytes exist once, and are
// overwritten when nobody holds them any more.

internal import CSRTP2

/// A master key and its salt. Copies share the bytes.
package struct SRTPMasterKey: Sendable {
  let secret: Secret
  let keyLength: Int
  let saltLength: Int

  package init(key: [UInt8], salt: [UInt8]) {
    secret = Secret(key[...], salt[...])
    (keyLength, saltLength) = (key.count, salt.count)
  }

  fileprivate init(key: ArraySlice<UInt8>, salt: ArraySlice<UInt8>) {
    secret = Secret(key, salt)
    (keyLength, saltLength) = (key.count, salt.count)
  }

  /// The key and behind it the salt, as libsrtp wants them.
  @safe
  final class Secret: @unchecked Sendable {  // nobody writes after the initialiser
    private let storage: UnsafeMutableRawBufferPointer

    fileprivate init(_ key: ArraySlice<UInt8>, _ salt: ArraySlice<UInt8>) {
      unsafe storage = .allocate(byteCount: max(1, key.count + salt.count), alignment: 16)
      for (offset, byte) in key.enumerated() { unsafe storage[offset] = byte }
      for (offset, byte) in salt.enumerated() { unsafe storage[key.count + offset] = byte }
    }

    deinit {
      unsafe srtp_shim_wipe(storage.baseAddress, storage.count)
      unsafe storage.deallocate()
    }

    func withBytes<Result>(_ body: (UnsafeMutableRawBufferPointer) -> Result) -> Result { unsafe body(storage) }
  }
}

/// What DTLS exports for media under the label `exporterLabel`, split between the two directions.
package struct SRTPKeyingMaterial: Sendable {
  package let profile: SRTPProfile
  /// With what the DTLS client protects.
  package let client: SRTPMasterKey
  /// With what the DTLS server protects.
  package let server: SRTPMasterKey

  /// The label for `exportKeyingMaterial`, which is called without a context.
  package static let exporterLabel = "EXTRACTOR-dtls_srtp"

  /// How many bytes to export.
  package static func exportedLength(_ profile: SRTPProfile) -> Int { 2 * (profile.keyLength + profile.saltLength) }

  /// - Parameter exported: the client's key, the server's key, the client's salt, the server's salt. The array is
  ///   overwritten when the caller hands over the only reference to it.
  package init?(profile: SRTPProfile, exported: consuming [UInt8]) {
    let (key, salt) = (profile.keyLength, profile.saltLength)
    guard exported.count == Self.exportedLength(profile) else { return nil }
    self.profile = profile
    client = SRTPMasterKey(key: exported[..<key], salt: exported[(2 * key)..<(2 * key + salt)])
    server = SRTPMasterKey(key: exported[key..<(2 * key)], salt: exported[(2 * key + salt)...])
    unsafe exported.withUnsafeMutableBytes { unsafe srtp_shim_wipe($0.baseAddress, $0.count) }
  }
}
