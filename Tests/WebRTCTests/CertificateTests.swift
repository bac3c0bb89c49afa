// CertificateTests.swift — certificates that are kept: of every kind, by every hash, out and in as PEM, expired ones; and the
// key log, which tells the truth and nothing unasked.

import DTLS
import Foundation
import Testing
import WebRTC
import Wire

@Suite(.timeLimit(.minutes(1))) struct CertificateTests {
  private static func configuration(_ certificate: Certificate?) -> PeerConnectionConfiguration {
    var configuration = Pair.loopbackOnly
    configuration.certificate = certificate
    return configuration
  }

  private static func fingerprints(_ sdp: String) -> [String] {
    sdp.split(separator: "\r\n").filter { $0.hasPrefix("a=fingerprint:") }.map {
      String($0.dropFirst("a=fingerprint:".count))
    }
  }

  private static func temporaryFile() -> URL {
    FileManager.default.temporaryDirectory.appendingPathComponent("keys-\(UInt64.random(in: 0...UInt64.max)).log")
  }

  @Test("peers with each kind of certificate connect, and each announces its own", arguments: Certificate.Kind.allCases)
  func kinds(kind: Certificate.Kind) async throws {
    let certificate = try Certificate.generate(kind)
    for offererHasIt in [true, false] {
      let (with, without) = (
        try PeerConnection(configuration: Self.configuration(certificate)),
        try PeerConnection(configuration: Self.configuration(nil))
      )
      let pair = offererHasIt ? Pair(offerer: with, answerer: without) : Pair(offerer: without, answerer: with)
      let (near, far) = try await pair.open()
      try await near.send(.text("hello"))
      for await message in far.messages {
        #expect(message == .text("hello"))
        break
      }
      let sdp = try #require(await with.localDescription?.sdp)
      #expect(Self.fingerprints(sdp) == [certificate.fingerprint().description])
      let other = try #require(await without.localDescription?.sdp)
      #expect(Self.fingerprints(other) != Self.fingerprints(sdp))
      await pair.close()
    }
  }

  @Test("one certificate serves many connections at once, and comes back from its PEM the same")
  func reuse() async throws {
    let made = try Certificate.generate()
    let certificate = try Certificate(certificatePEM: made.certificatePEM, privateKeyPEM: made.privateKeyPEM)
    #expect(certificate.fingerprints == made.fingerprints && certificate.expires == made.expires)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          let pair = try Pair(configuration: Self.configuration(certificate))
          _ = try await pair.open()
          for connection in [pair.offerer, pair.answerer] {
            let sdp = try #require(await connection.localDescription?.sdp)
            #expect(Self.fingerprints(sdp) == [made.fingerprint().description])
          }
          await pair.close()
        }
      }
      try await group.waitForAll()
    }
  }

  @Test("descriptions announce the certificate by every hash that was asked for")
  func hashes() async throws {
    var configuration = Self.configuration(try .generate())
    configuration.fingerprintFunctions = [.sha256, .sha384, .sha512]
    let pair = try Pair(configuration: configuration)
    _ = try await pair.open()
    let sdp = try #require(await pair.offerer.localDescription?.sdp)
    #expect(Self.fingerprints(sdp) == configuration.certificate?.fingerprints.map(\.description))
    #expect(Self.fingerprints(sdp).map { $0.prefix(7) } == ["sha-256", "sha-384", "sha-512"])
    await pair.close()
  }

  @Test("an expired certificate makes no connection")
  func expired() async throws {
    let certificate = try Certificate.generate(expiresIn: .seconds(60))
    let now = Int64(Date().timeIntervalSince1970)
    #expect((now + 55...now + 60).contains(certificate.expires))
    // One that has expired an hour ago.
    let old = Certificate(identity: try DTLSIdentity.generate(lifetime: .seconds(-3_600)))
    #expect(old.isExpired && !certificate.isExpired)
    #expect(throws: PeerConnectionError.invalidAccess("certificate: it has expired")) {
      _ = try PeerConnection(configuration: Self.configuration(old))
    }
    #expect(throws: CertificateError.expired) {
      _ = try Certificate(certificatePEM: old.certificatePEM, privateKeyPEM: old.privateKeyPEM)
    }
    #expect(throws: PeerConnectionError.self) { _ = try Certificate.generate(expiresIn: .zero) }
    #expect(throws: CertificateError.keyMismatch) {
      _ = try Certificate(
        certificatePEM: certificate.certificatePEM, privateKeyPEM: Certificate.generate().privateKeyPEM)
    }
    let year = try Certificate.generate(expiresIn: .seconds(10 * 365 * 86_400))
    #expect(year.expires <= now + 366 * 86_400)
  }

  @Test("the key log has both sides' secrets, for its owner's eyes; without a file there is none")
  func keyLog() async throws {
    let file = Self.temporaryFile()
    defer { try? FileManager.default.removeItem(at: file) }
    var configuration = Pair.loopbackOnly
    configuration.keyLogFile = file.path
    for connections in 1...2 {
      let pair = try Pair(configuration: configuration)
      _ = try await pair.open()
      await pair.close()
      let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
      #expect(lines.count == 2 * connections)
      for line in lines {
        let parts = line.split(separator: " ")
        #expect(parts.count == 3 && parts[0] == "CLIENT_RANDOM")
        #expect(parts[1].count == 64 && parts[2].count == 96)
      }
      // Both sides of a connection have the same.
      #expect(Set(lines).count == connections)
    }
    let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    configuration.keyLogFile = "/nonexistent/keys.log"
    #expect(throws: PeerConnectionError.self) { _ = try PeerConnection(configuration: configuration) }
  }
}
