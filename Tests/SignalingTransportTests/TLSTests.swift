// TLSTests.swift — `wss://`: a certificate that the client trusts, and one that it does not.

import Foundation
import Logging
import Signaling
import SignalingTransport
import Testing

@Suite struct TLSTests {
  /// A self-signed certificate for localhost and 127.0.0.1, made by the openssl command.
  private static func makeIdentity() throws -> SignalingServer.TLS {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swarm-tls-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer {
      do { try FileManager.default.removeItem(at: folder) } catch { print("\(folder.path) stays: \(error)") }
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
      "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
      folder.appendingPathComponent("key.pem").path, "-out", folder.appendingPathComponent("cert.pem").path,
    ]
    process.standardError = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return SignalingServer.TLS(
      certificateChainPEM: try String(contentsOf: folder.appendingPathComponent("cert.pem"), encoding: .utf8),
      privateKeyPEM: try String(contentsOf: folder.appendingPathComponent("key.pem"), encoding: .utf8))
  }

  @Test("a trusted certificate connects by name and by address, a strange one does not")
  func secure() async throws {
    let identity = try Self.makeIdentity()
    try await withServer({ $0.tls = identity }) { _, address in
      #expect(address.url == "wss://127.0.0.1:\(address.port)/signaling")
      var trusting = SignalingClient.Configuration()
      trusting.additionalTrustRootsPEM = identity.certificateChainPEM
      for url in [address.url, "wss://localhost:\(address.port)/signaling"] {
        let client = SignalingClient(configuration: trusting)
        try await client.connect(url: url)
        try await client.send(.join(.init(peerID: "aaa", roomID: "room")))
        let joined = try await client.next { if case .joined(let joined) = $0 { joined } else { nil } }
        #expect(joined.peerID == "aaa")
        await client.close()
      }
      let strict = SignalingClient()
      do throws(SignalingError) {
        try await strict.connect(url: address.url)
        Issue.record("an unknown certificate was trusted")
      } catch {
        guard case .cannotConnect = error else { throw error }
      }
      let plain = SignalingClient()
      await #expect(throws: SignalingError.self) {
        try await plain.connect(url: "ws://127.0.0.1:\(address.port)/signaling")
      }
    }
  }

  @Test("a key that is none is an error before anything listens")
  func badKey() async throws {
    var configuration = SignalingServer.Configuration(port: 0)
    configuration.tls = SignalingServer.TLS(certificateChainPEM: "no", privateKeyPEM: "no")
    do throws(SignalingError) {
      try await SignalingServer(configuration: configuration).start()
      Issue.record("started")
    } catch {
      guard case .invalidCertificate = error else { throw error }
    }
  }
}
