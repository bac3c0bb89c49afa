// FingerprintTests.swift — the text form of certificate fingerprints (RFC 8122 §5) and fresh identities.

import DTLS
import Testing

@Suite struct FingerprintTests {
  static let text = "sha-256 " + (0..<32).map { $0 < 10 ? "0\($0)" : "A\($0 % 10)" }.joined(separator: ":")

  @Test func readsAndWrites() throws {
    let fingerprint = try Fingerprint(parsing: Self.text)
    #expect(fingerprint.algorithm == .sha256)
    #expect(fingerprint.bytes.prefix(11) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa0])
    #expect(fingerprint.description == Self.text)
    #expect(try Fingerprint(parsing: Self.text.lowercased()) == fingerprint)
    #expect(try Fingerprint(parsing: Self.text.replacing("sha", with: "SHA")) == fingerprint)
  }

  @Test(arguments: [
    "", "sha-256", "sha-256 ", "sha-256 00", text + ":00", text + ":", String(text.dropLast()),
    String(text.dropLast(3)), text.replacing("00", with: "0G"), text.replacing(":", with: ""),
    text.replacing("00:01", with: "0:001"), text + " x", text.replacing("00:01", with: "00::01"),
    text.replacing("sha-256", with: "sha-512"), text.replacing("00", with: "+0"),
  ])
  func refusesMalformed(text: String) {
    #expect(throws: FingerprintError.malformed) { try Fingerprint(parsing: text) }
  }

  @Test(arguments: ["sha-1 AB:CD", "md5 AB", "sha-224 00", "sha256 00"])
  func refusesWeakAndUnknownHashes(text: String) {
    #expect(throws: FingerprintError.unsupportedAlgorithm) { try Fingerprint(parsing: text) }
  }

  @Test func refusesBytesOfTheWrongLength() {
    #expect(Fingerprint(algorithm: .sha384, bytes: [UInt8](repeating: 0, count: 32)) == nil)
    #expect(Fingerprint(algorithm: .sha384, bytes: [UInt8](repeating: 0, count: 48)) != nil)
  }

  @Test func everyIdentityIsFresh() throws {
    let identities = try (0..<20).map { _ in try DTLSIdentity.generate() }
    #expect(Set(identities.map(\.fingerprint)).count == identities.count)
  }

  @Test func aSessionNeedsAFingerprint() throws {
    let identity = try DTLSIdentity.generate()
    #expect(throws: DTLSError.noRemoteFingerprint) {
      _ = try DTLSSession(identity: identity, role: .client, remoteFingerprints: [])
    }
  }
}
