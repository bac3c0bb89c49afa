// DTLSBenchTests.swift — `swarm bench dtls` measures everything that it promises; how fast is not the matter here.

import Foundation
import Signaling
import Testing

@testable import SwarmCLI

extension CommandTests {
  @Suite struct DTLSBenchTests {
    @Test("every figure is there, and the ratio where openssl is")
    func figures() async throws {
      let (ending, output, errors) = try await Program(["bench", "dtls", "--seconds", "0.05", "--json"]).finish()
      #expect(ending == Program.Ending(code: 0), "\(errors)")
      let result = try JSONValue(parsing: output.joined())
      #expect(result["cipher_suite"]?.stringValue?.hasPrefix("TLS_ECDHE_ECDSA_WITH_") == true)
      for key in ["identities_per_s", "handshakes_per_s", "sealed_mb_per_s", "opened_mb_per_s"] {
        #expect((result[key]?.doubleValue ?? 0) > 0, "\(key)")
      }
      let profiles = try #require(result["srtp"]?.arrayValue)
      #expect(
        profiles.compactMap { $0["profile"]?.stringValue } == [
          "AES128_CM_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
        ])
      for profile in profiles {
        #expect((profile["protected_mb_per_s"]?.doubleValue ?? 0) > 0)
        #expect((profile["unprotected_mb_per_s"]?.doubleValue ?? 0) > 0)
      }
      let hasOpenSSL = result["openssl_encrypted_mb_per_s"] != nil
      #expect(hasOpenSSL == errors.isEmpty, "\(errors)")
      #expect((result["sealed_ratio"] != nil) == hasOpenSSL && (result["opened_ratio"] != nil) == hasOpenSSL)
    }

    @Test("the output of openssl speed is read, and nothing else is")
    func speed() {
      #expect(
        OpenSSLSpeed.parse("+DT:AES-128-GCM:1:1024\n+R:9:AES-128-GCM:0.34\n+H:1024\n+F:25:AES-128-GCM:2500000000.0\n")
          == 2_500)
      #expect(OpenSSLSpeed.parse("+F:25:AES-256-GCM:2500000000.0\n") == nil)
      #expect(OpenSSLSpeed.parse("+F:25:AES-128-GCM:fast\n") == nil)
      #expect(OpenSSLSpeed.parse("") == nil)
    }
  }
}
