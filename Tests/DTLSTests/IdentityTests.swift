// IdentityTests.swift — every kind of certificate, made here or brought along as PEM, in both roles; what is refused; and one
// identity that serves many sessions.

import COpenSSL
import CVirtualClock
import DTLS
import Testing
import Wire

@Suite struct IdentityTests {
  /// RSA keys take long to make: one of each kind serves all tests.
  static let identities = Result { () throws(DTLSError) in
    var identities: [DTLSKeyKind: DTLSIdentity] = [:]
    for kind in DTLSKeyKind.allCases { identities[kind] = try .generate(kind) }
    return identities
  }

  static func identity(_ kind: DTLSKeyKind) throws -> DTLSIdentity { try #require(try identities.get()[kind]) }

  @Test("every kind of key shakes hands with every other", arguments: DTLSKeyKind.allCases, DTLSKeyKind.allCases)
  func kinds(client: DTLSKeyKind, server: DTLSKeyKind) throws {
    var pair = try Pair(clientIdentity: Self.identity(client), serverIdentity: Self.identity(server))
    pair.start()
    pair.run()
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
    let suite = pair.client.session.cipherSuite ?? ""
    #expect(suite.hasPrefix(server == .rsa2048 ? "TLS_ECDHE_RSA_WITH_" : "TLS_ECDHE_ECDSA_WITH_"))
    pair.server.handle(try pair.client.session.seal([1, 2, 3]), now: pair.now)
    #expect(pair.server.received == [[1, 2, 3]])
  }

  @Test("a wrong fingerprint fails with every kind of key", arguments: DTLSKeyKind.allCases)
  func wrongFingerprint(kind: DTLSKeyKind) throws {
    let wrong = try #require(AttackTests.wrong)
    var pair = try Pair(clientExpects: [wrong], serverIdentity: Self.identity(kind))
    pair.start()
    pair.run()
    #expect(pair.client.events == [.failed(.fingerprintMismatch)])
  }

  @Test("the fingerprint in each hash is the certificate's, and each of them identifies it")
  func hashes() throws {
    let identity = try Self.identity(.ecdsaP256)
    #expect(identity.fingerprint == identity.fingerprint(.sha256))
    for algorithm in FingerprintAlgorithm.allCases {
      let fingerprint = identity.fingerprint(algorithm)
      #expect(fingerprint.algorithm == algorithm && fingerprint.bytes.count == algorithm.byteCount)
      var pair = try Pair(clientExpects: [fingerprint], serverIdentity: identity)
      pair.start()
      pair.run()
      #expect(pair.client.events == [.connected])
    }
  }

  @Test("an identity written as PEM and read again is the same", arguments: DTLSKeyKind.allCases)
  func roundTrip(kind: DTLSKeyKind) throws {
    let identity = try Self.identity(kind)
    let (certificate, key) = (try #require(identity.certificatePEM), try #require(identity.privateKeyPEM))
    let read = try DTLSIdentity.reading(certificatePEM: certificate, privateKeyPEM: key)
    #expect(read.fingerprint == identity.fingerprint)
    #expect(read.validity == identity.validity)
    var pair = try Pair(serverExpects: [identity.fingerprint], clientIdentity: read)
    pair.start()
    pair.run()
    #expect(pair.server.events == [.connected])
  }

  @Test("an identity lives as long as was asked for, a year at most")
  func lifetimes() throws {
    let week = Int64(7 * 86_400)
    let day = Int64(86_400)
    #expect(try DTLSIdentity.generate(lifetime: .seconds(week)).validity.count == Int(week + day) + 1)
    let decade = try DTLSIdentity.generate(lifetime: .seconds(3_650 * day))
    #expect(decade.validity.count == Int(366 * day) + 1)
  }

  @Test("what cannot be an identity is refused, and the error says why")
  func refusals() throws {
    let identity = try Self.identity(.ecdsaP256)
    let (certificate, key) = (try #require(identity.certificatePEM), try #require(identity.privateKeyPEM))
    func failure(_ certificate: String, _ key: String) -> DTLSIdentityError? {
      do throws(DTLSIdentityError) {
        _ = try DTLSIdentity.reading(certificatePEM: certificate, privateKeyPEM: key)
        return nil
      } catch {
        return error
      }
    }
    for kind in DTLSKeyKind.allCases {
      let other = try kind == .ecdsaP256 ? DTLSIdentity.generate() : Self.identity(kind)
      #expect(failure(certificate, try #require(other.privateKeyPEM)) == .keyMismatch)
    }
    for text in ["", "no PEM", key, String(certificate.dropLast(60)), certificate.replacing("A", with: "*")] {
      guard case .malformedCertificate? = failure(text, key) else {
        Issue.record("\(text): \(failure(text, key).debugDescription)")
        continue
      }
    }
    for text in ["", "no PEM", certificate, String(key.dropLast(60))] {
      guard case .malformedPrivateKey? = failure(certificate, text) else {
        Issue.record("\(text): \(failure(certificate, text).debugDescription)")
        continue
      }
    }
    // Keys of other kinds, with certificates of their own.
    let short = try PEMPair(try #require(openssl_generate_rsa(1024)))
    #expect(failure(short.certificate, short.key) == .keyTooShort(bits: 1024))
    let large = try PEMPair(try #require(openssl_generate_rsa(3072)))
    #expect(failure(large.certificate, large.key) == nil)
    let curve = try PEMPair(try #require(makeKey(curve: "P-384")))
    #expect(failure(curve.certificate, curve.key) == .unsupportedKey("EC on another curve than P-256"))
    let huge = try PEMPair(try #require(openssl_generate_p256()), commentBytes: 9_000)
    guard case .certificateTooLong? = failure(huge.certificate, huge.key) else {
      Issue.record("\(failure(huge.certificate, huge.key).debugDescription)")
      return
    }
    // Behind a password: refused without asking anybody for it.
    let locked = try PEMPair(try #require(openssl_generate_p256()), password: "secret")
    guard case .malformedPrivateKey? = failure(locked.certificate, locked.key) else {
      Issue.record("\(failure(locked.certificate, locked.key).debugDescription)")
      return
    }
  }

  @Test("one identity serves many sessions, at once and one after another, and leaves nothing behind")
  func reuse() throws {
    let identity = try Self.identity(.ed25519)
    func shakeHands() throws {
      var one = try Pair(clientIdentity: identity, serverIdentity: identity)
      var other = try Pair(clientIdentity: identity, serverIdentity: identity)
      one.start()
      other.start()
      one.run()
      other.run()
      let areConnected = one.bothConnected && other.bothConnected
      #expect(areConnected)
    }
    for _ in 0..<5 { try shakeHands() }
    let before = thread_live_bytes()
    for _ in 0..<50 { try shakeHands() }
    let growth = thread_live_bytes() - before
    #expect(growth < 20_000, "grew by \(growth) bytes")
  }

  @Test("AES-GCM comes first where the processor has instructions for it, ChaCha20-Poly1305 where not")
  func preference() throws {
    let (with, without) = (CipherSuites.offer(isAESAccelerated: true), CipherSuites.offer(isAESAccelerated: false))
    #expect(with.hasPrefix("ECDHE-ECDSA-AES128-GCM-SHA256:"))
    #expect(without.hasPrefix("ECDHE-ECDSA-CHACHA20-POLY1305:"))
    #expect(Set(with.split(separator: ":")) == Set(without.split(separator: ":")))
    // What this machine has is what goes out, and what two of us agree on.
    var pair = try Pair()
    pair.start()
    pair.run()
    let suite = pair.client.session.cipherSuite
    #expect(
      suite
        == (CipherSuites.isAESAccelerated
          ? "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" : "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"))
  }

  @Test("a server follows a client that would rather have ChaCha20-Poly1305, and keeps its own order otherwise")
  func clientPreference() throws {
    for (offer, expected) in [
      (CipherSuites.offer(isAESAccelerated: false), "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
      ("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ] {
      let joined = try Joined(rawRole: .client) { context in
        #expect(SSL_CTX_set_cipher_list(context, offer) == 1)
      }
      #expect(joined.side.events == [.connected])
      let suite = joined.side.session.cipherSuite
      #expect(suite == expected)
    }
  }

  @Test("a server with an Ed25519 certificate ends the handshake with a client that does not understand it")
  func withoutEd25519() throws {
    let joined = try Joined(rawRole: .client, identity: Self.identity(.ed25519)) { context in
      #expect(openssl_context_set_signature_algorithms(context, "ecdsa_secp256r1_sha256") == 1)
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in
        Issue.record("no certificate is sent")
        return 1
      }
    }
    guard case .failed(.protocolFailure)? = joined.side.events.first else {
      Issue.record("\(joined.side.events)")
      return
    }
  }

  @Test("a server with an RSA or Ed25519 certificate serves a bare OpenSSL client, and the other way round")
  func rawPeers() throws {
    for kind in DTLSKeyKind.allCases {
      for rawRole in [DTLSRole.client, .server] {
        let joined = try Joined(rawRole: rawRole, identity: Self.identity(kind)) { _ in }
        #expect(joined.side.events == [.connected], "\(kind), \(rawRole)")
        #expect(joined.raw.isConnected, "\(kind), \(rawRole)")
      }
    }
  }
}

private func makeKey(curve: String) -> OpaquePointer? {
  guard let maker = EVP_PKEY_CTX_new_from_name(nil, "EC", nil) else { return nil }
  defer { EVP_PKEY_CTX_free(maker) }
  var key: OpaquePointer?
  guard EVP_PKEY_keygen_init(maker) == 1, EVP_PKEY_CTX_set_group_name(maker, curve) == 1,
    EVP_PKEY_generate(maker, &key) == 1
  else { return nil }
  return key
}

/// A self-signed certificate and its key as PEM, made without the code under test.
private struct PEMPair {
  let certificate: String
  let key: String

  init(_ key: OpaquePointer, commentBytes: Int = 0, password: String? = nil) throws {
    let certificate = try #require(X509_new())
    X509_set_version(certificate, 2)
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), 1)
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0)
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600)
    X509_set_pubkey(certificate, key)
    if commentBytes > 0 {
      let text = String(repeating: "x", count: commentBytes)
      let comment = try #require(X509V3_EXT_conf_nid(nil, nil, NID_netscape_comment, text))
      #expect(X509_add_ext(certificate, comment, -1) == 1)
    }
    #expect(X509_sign(certificate, key, EVP_sha256()) > 0)
    self.certificate = try Self.text { PEM_write_bio_X509($0, certificate) }
    self.key = try Self.text { bio in
      guard let password else { return PEM_write_bio_PrivateKey(bio, key, nil, nil, 0, nil, nil) }
      return password.withCString { secret in
        let bytes = UnsafeMutableRawPointer(mutating: secret)
        return PEM_write_bio_PrivateKey(bio, key, EVP_aes_128_cbc(), nil, 0, nil, bytes)
      }
    }
    X509_free(certificate)
    EVP_PKEY_free(key)
  }

  private static func text(_ write: (OpaquePointer) -> CInt) throws -> String {
    let bio = try #require(BIO_new(BIO_s_mem()))
    defer { BIO_free(bio) }
    #expect(write(bio) == 1)
    var start: UnsafePointer<UInt8>?
    let count = openssl_memory_of(bio, &start)
    return String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
  }
}
