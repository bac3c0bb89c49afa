// MutationTests.swift — every way in which a fingerprint can be wrong, in both roles: the handshake fails with an error that
// says so, and nothing was sealed, opened or exported on either side.

import CVirtualClock
import DTLS
import Testing
import Wire

@Suite struct MutationTests {
  @Test("D2: every flipped byte of a fingerprint fails the handshake", arguments: [DTLSRole.client, .server])
  func flippedBytes(wary: DTLSRole) throws {
    let identity = try wary == .client ? Pair.serverIdentity.get() : Pair.clientIdentity.get()
    for algorithm in FingerprintAlgorithm.allCases {
      let right = identity.fingerprint(algorithm)
      for index in right.bytes.indices {
        var bytes = right.bytes
        bytes[index] ^= 1 << UInt8(index % 8)
        try expectMismatch([try #require(Fingerprint(algorithm: algorithm, bytes: bytes))], wary: wary)
      }
    }
  }

  @Test("D2: another hash, the right one cut or lengthened, and none at all", arguments: [DTLSRole.client, .server])
  func otherShapes(wary: DTLSRole) throws {
    let identity = try wary == .client ? Pair.serverIdentity.get() : Pair.clientIdentity.get()
    let (short, long) = (identity.fingerprint(.sha256), identity.fingerprint(.sha512))
    // The bytes of one hash under the name of another.
    try expectMismatch([try #require(Fingerprint(algorithm: .sha256, bytes: Array(long.bytes.prefix(32))))], wary: wary)
    try expectMismatch([try #require(Fingerprint(algorithm: .sha384, bytes: Array(long.bytes.prefix(48))))], wary: wary)
    try expectMismatch([try #require(Fingerprint(algorithm: .sha512, bytes: short.bytes + short.bytes))], wary: wary)
    // A right one beside a wrong one of a stronger hash does not count (RFC 8122 §5).
    var wrong = long.bytes
    wrong[0] ^= 1
    try expectMismatch([short, try #require(Fingerprint(algorithm: .sha512, bytes: wrong))], wary: wary)
    // Another certificate's.
    let other = try DTLSIdentity.generate()
    try expectMismatch(FingerprintAlgorithm.allCases.map { other.fingerprint($0) }, wary: wary)
    // Cut, lengthened, or by a hash that authenticates nobody: such values do not exist.
    #expect(Fingerprint(algorithm: .sha256, bytes: Array(short.bytes.dropLast())) == nil)
    #expect(Fingerprint(algorithm: .sha256, bytes: short.bytes + [0]) == nil)
    #expect(throws: FingerprintError.malformed) { try Fingerprint(parsing: String(short.description.dropLast(3))) }
    #expect(throws: FingerprintError.unsupportedAlgorithm) {
      try Fingerprint(parsing: short.description.replacing("sha-256", with: "sha-1"))
    }
    #expect(throws: DTLSError.noRemoteFingerprint) {
      _ = try DTLSSession(identity: identity, role: wary, remoteFingerprints: [])
    }
  }

  private func expectMismatch(_ announced: [Fingerprint], wary: DTLSRole) throws {
    var pair = try wary == .client ? Pair(clientExpects: announced) : Pair(serverExpects: announced)
    var sealed = 0
    pair.start()
    for _ in 0..<6 {
      pair.run(limit: .milliseconds(15))
      if let record = try? pair.client.session.seal([1, 2, 3]) {
        sealed += 1
        pair.server.handle(record, now: pair.now)
      }
      if let record = try? pair.server.session.seal([1, 2, 3]) {
        sealed += 1
        pair.client.handle(record, now: pair.now)
      }
    }
    pair.run()
    let (ours, theirs) =
      wary == .client ? (pair.client.events, pair.server.events) : (pair.server.events, pair.client.events)
    #expect(ours == [.failed(.fingerprintMismatch)], "\(announced)")
    // A client that has sent its last flight waits for the server's; neither is ever connected.
    #expect(!theirs.contains(.connected), "\(announced)")
    #expect(sealed == 0 && pair.client.received.isEmpty && pair.server.received.isEmpty, "\(announced)")
    let keys = [
      pair.client.session.exportKeyingMaterial(label: "EXTRACTOR-dtls_srtp", byteCount: 60),
      pair.server.session.exportKeyingMaterial(label: "EXTRACTOR-dtls_srtp", byteCount: 60),
    ]
    #expect(keys == [nil, nil], "\(announced)")
  }
}
