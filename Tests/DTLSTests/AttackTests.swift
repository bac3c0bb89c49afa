// AttackTests.swift — the DTLS flaws others have had, each as a test. D1 and D12 (records from addresses that ICE has not
// validated) are in PeerTests, with the layer that routes datagrams; D14, D17 and D18 with the other losses.

import COpenSSL
import CVirtualClock
import DTLS
import Glibc
import Testing
import Wire

/// One record in plaintext: epoch 0, or as given.
func record(type: UInt8, epoch: UInt16 = 0, sequence: UInt64 = 0, _ body: [UInt8]) -> [UInt8] {
  var bytes: [UInt8] = [type, 0xfe, 0xfd, UInt8(epoch >> 8), UInt8(epoch & 0xff)]
  bytes += (0..<6).map { UInt8(truncatingIfNeeded: sequence >> (40 - 8 * UInt64($0))) }
  return bytes + [UInt8(body.count >> 8), UInt8(body.count & 0xff)] + body
}

/// A handshake fragment's header and `body`.
func fragment(
  type: UInt8, length: Int, sequence: Int, offset: Int, body: [UInt8]
) -> [UInt8] {
  func uint24(_ value: Int) -> [UInt8] { [UInt8(value >> 16 & 0xff), UInt8(value >> 8 & 0xff), UInt8(value & 0xff)] }
  return [type] + uint24(length) + [UInt8(sequence >> 8), UInt8(sequence & 0xff)] + uint24(offset) + uint24(body.count)
    + body
}

@Suite struct AttackTests {
  static let wrong = Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: 0x5a, count: 32))

  @Test("D2, D3: a wrong fingerprint fails the handshake, and nothing is delivered", arguments: [true, false])
  func wrongFingerprint(clientIsWary: Bool) throws {
    let wrong = try #require(Self.wrong)
    var pair = try clientIsWary ? Pair(clientExpects: [wrong]) : Pair(serverExpects: [wrong])
    pair.start()
    var sentEarly = false
    for _ in 0..<6 {
      pair.run(limit: .milliseconds(100))
      // Whoever believes to be connected sends at once.
      if let early = try? pair.client.session.seal([1, 2, 3]) {
        sentEarly = true
        pair.server.handle(early, now: pair.now)
      }
      if let early = try? pair.server.session.seal([1, 2, 3]) {
        sentEarly = true
        pair.client.handle(early, now: pair.now)
      }
    }
    pair.run()
    #expect(!sentEarly)
    let (wary, other) =
      clientIsWary ? (pair.client.events, pair.server.events) : (pair.server.events, pair.client.events)
    #expect(wary == [.failed(.fingerprintMismatch)])
    // The other side hears of it in an alert that it does not trust, and gives up soon after.
    #expect(other == [.failed(.peerAlert("certificate unknown"))] || other == [.failed(.peerAlert("bad certificate"))])
    #expect(pair.client.received.isEmpty && pair.server.received.isEmpty)
    let sealed = Result { () throws(DTLSError) in try pair.client.session.seal([1]) }
    #expect(sealed == .failure(.notConnected))
  }

  @Test("only the strongest hash counts, and one match among its fingerprints suffices")
  func severalFingerprints() throws {
    let wrong = try #require(Self.wrong)
    let right = try Pair.serverIdentity.get().fingerprint
    var pair = try Pair(clientExpects: [wrong, right])
    pair.start()
    pair.run()
    #expect(pair.client.events == [.connected])

    let wrongSHA512 = try #require(Fingerprint(algorithm: .sha512, bytes: [UInt8](repeating: 1, count: 64)))
    var second = try Pair(clientExpects: [right, wrongSHA512])
    second.start()
    second.run()
    #expect(second.client.events == [.failed(.fingerprintMismatch)])
  }

  @Test("D4: a certificate without proof of its key is refused", arguments: [DTLSRole.client, .server])
  func certificateWithoutKey(attacker: DTLSRole) throws {
    // A key object with the victim's public half and another private half signs, but not for that public half.
    for honest in [true, false] {
      let key = try #require(openssl_generate_p256())
      let other = try #require(openssl_generate_p256())
      var fingerprint: Fingerprint?
      let raw = try RawPeer(role: attacker) { context in
        let signing = honest ? key : mixedKey(publicFrom: key, privateFrom: other)
        fingerprint = signing.flatMap { key in try? RawPeer.use(key, in: context) }
      }
      let announced = try #require(fingerprint)
      let role: DTLSRole = attacker == .client ? .server : .client
      var side = Side(
        try DTLSSession(
          identity: try Pair.serverIdentity.get(), role: role, remoteFingerprints: [announced]))
      let now = Instant(nanoseconds: 0)
      side.session.start(now: now)
      exchange(raw, &side, now: now)
      let connected = side.session.isConnected
      #expect(connected == honest, "\(side.events)")
      if !honest {
        guard case .failed(.protocolFailure)? = side.events.first else {
          Issue.record("\(side.events)")
          return
        }
      }
    }
  }

  @Test("a client without a certificate is refused")
  func noCertificate() throws {
    let raw = try RawPeer(role: .client)
    let wrong = try #require(Self.wrong)
    var side = Side(
      try DTLSSession(identity: try Pair.serverIdentity.get(), role: .server, remoteFingerprints: [wrong]))
    exchange(raw, &side, now: Instant(nanoseconds: 0))
    guard case .failed? = side.events.first else {
      Issue.record("\(side.events)")
      return
    }
    #expect(!raw.isConnected)
  }

  @Test("D5: fragments that claim much memory get little")
  func greedyFragments() throws {
    var pair = try Pair()
    pair.start()
    let before = thread_live_bytes()
    for index in 0..<10_000 {
      // Some claim 16 MB, some the most that passes, of messages that are not due yet.
      let length = index % 2 == 0 ? 0xff_ffff : 16_384
      let piece = fragment(type: 11, length: length, sequence: index % 60, offset: 1 + index % 1000, body: [1])
      pair.server.handle(record(type: 22, sequence: UInt64(index), piece), now: pair.now)
    }
    let growth = thread_live_bytes() - before
    #expect(growth < 1 << 20, "grew by \(growth) bytes")
    print("10,000 greedy fragments: \(growth) bytes kept")
    let events = pair.server.events
    #expect(events.allSatisfy { if case .failed = $0 { true } else { false } })
  }

  @Test("D6: zero-length fragments cost nothing, and the handshake survives them")
  func emptyFragments() throws {
    var pair = try Pair()
    pair.start()
    let before = thread_live_bytes()
    for index in 0..<10_000 {
      let piece = fragment(type: 1, length: 200, sequence: index % 3, offset: 0, body: [])
      pair.server.handle(record(type: 22, sequence: 0x1000 + UInt64(index), piece), now: pair.now)
    }
    let growth = thread_live_bytes() - before
    #expect(growth < 1 << 16, "grew by \(growth) bytes")
    pair.run()
    let connected = pair.bothConnected
    #expect(connected)
    let dropped = pair.server.session.droppedRecords
    #expect(dropped == 10_000)
  }

  @Test("D7: a message whose length changes between fragments is never assembled")
  func changingLength() throws {
    var pair = try Pair()
    pair.start()
    let body = [UInt8](repeating: 3, count: 50)
    for (sequence, length, offset) in [(0, 100, 0), (1, 16_000, 50), (2, 60, 50), (3, 51, 1)] {
      let piece = fragment(
        type: 1, length: length, sequence: 0, offset: offset, body: Array(body.prefix(length - offset)))
      pair.server.handle(record(type: 22, sequence: UInt64(sequence), piece), now: pair.now)
    }
    pair.run(limit: .seconds(40))
    // Whoever writes into the path of an unauthenticated handshake can spoil it, but not make us believe him.
    #expect(!pair.server.events.contains(.connected))
  }

  @Test(
    "D8: renegotiation is refused, the session and its memory stay as they are", arguments: [DTLSRole.client, .server])
  func renegotiation(attacker: DTLSRole) throws {
    let key = try #require(openssl_generate_p256())
    var fingerprint: Fingerprint?
    let raw = try RawPeer(role: attacker) { context in
      fingerprint = try? RawPeer.use(key, in: context)
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in 1 }
    }
    let announced = try #require(fingerprint)
    let role: DTLSRole = attacker == .client ? .server : .client
    var side = Side(
      try DTLSSession(identity: try Pair.serverIdentity.get(), role: role, remoteFingerprints: [announced]))
    let now = Instant(nanoseconds: 0)
    side.session.start(now: now)
    exchange(raw, &side, now: now)
    #expect(side.events == [.connected])
    let before = thread_live_bytes()
    for _ in 0..<20 {
      SSL_renegotiate(raw.ssl)
      SSL_do_handshake(raw.ssl)
      for datagram in raw.transmit() { side.handle(datagram, now: now) }
      _ = side.transmit()
    }
    // The attacker's own OpenSSL lives on this thread too, and keeps its flights.
    #expect(thread_live_bytes() - before < 1 << 18)
    #expect(side.events == [.connected])
    let record = Result { () throws(DTLSError) in try side.session.seal([1, 2, 3]) }
    #expect(throws: Never.self) { try record.get() }
  }

  @Test("D8: what was kept for the handshake is gone after it")
  func memoryAfterHandshake() throws {
    func growth(flooded: Bool) throws -> Int64 {
      let before = thread_live_bytes()
      var pair = try Pair()
      pair.start()
      if flooded {
        for number in 0..<500 as Range<Int> {
          // A part of messages that will never be due, and records of the epoch to come.
          let piece = fragment(
            type: 11, length: 16_000, sequence: 7 + number % 3, offset: number % 8_000,
            body: [UInt8](repeating: 1, count: 1_000))
          let early = record(type: 23, epoch: 1, sequence: UInt64(number), [UInt8](repeating: 1, count: 1_000))
          for datagram in [record(type: 22, sequence: 0x8000 + UInt64(number), piece), early] {
            pair.client.handle(datagram, now: pair.now)
            pair.server.handle(datagram, now: pair.now)
          }
        }
        #expect(!allocations_are_counted() || thread_live_bytes() - before > 500_000, "there was something to free")
      }
      pair.run(limit: .seconds(10))
      let areConnected = pair.bothConnected
      #expect(areConnected)
      return thread_live_bytes() - before
    }
    _ = try growth(flooded: false)
    let (quiet, flooded) = (try growth(flooded: false), try growth(flooded: true))
    print("both sessions after a handshake: \(quiet) bytes, after a flooded one \(flooded)")
    #expect(flooded - quiet < 16_384)
  }

  @Test("D9: a forged record of a far sequence number or the next epoch does not move the replay window")
  func forgedSequence() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    let last = (UInt64(1) << 48) - 1
    for epoch in [UInt16(1), 2, 3, 0xffff] {
      for type in [UInt8(20), 21, 22, 23] {
        pair.server.handle(
          record(type: type, epoch: epoch, sequence: last, [UInt8](repeating: 7, count: 64)), now: pair.now)
      }
    }
    let sealed = try pair.client.session.seal([9])
    pair.server.handle(sealed, now: pair.now)
    #expect(pair.server.received == [[9]])
    pair.server.handle(sealed, now: pair.now)
    #expect(pair.server.received == [[9]], "a replayed record is dropped")
    #expect(pair.server.events == [.connected])
  }

  @Test("D9: nor does one in plaintext move the handshake's window", arguments: [6, 32, 48])
  func forgedPlaintextSequence(bits: Int) throws {
    let sequence = (UInt64(1) << UInt64(bits)) - 1
    var pair = try Pair()
    pair.start()
    for _ in 0..<8 {
      // A message that is never due, and a change of ciphers out of order, which OpenSSL passes over.
      let piece = fragment(type: 11, length: 100, sequence: 9, offset: 0, body: [1])
      for forged in [record(type: 22, sequence: sequence, piece), record(type: 20, sequence: sequence, [1])] {
        pair.client.handle(forged, now: pair.now)
        pair.server.handle(forged, now: pair.now)
      }
      pair.run(limit: .milliseconds(10))
    }
    pair.run()
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
  }

  @Test("D10: application data in plaintext is never delivered, and does not disturb the handshake")
  func plaintextData() throws {
    var pair = try Pair()
    pair.start()
    let forged = record(type: 23, sequence: 77, [1, 2, 3])
    // Before, in the middle of and after the handshake, towards both.
    for _ in 0..<8 {
      pair.client.handle(forged, now: pair.now)
      pair.server.handle(forged, now: pair.now)
      pair.run(limit: .milliseconds(10))
    }
    pair.run()
    pair.client.handle(forged, now: pair.now)
    pair.server.handle(forged, now: pair.now)
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
    #expect(pair.client.received.isEmpty && pair.server.received.isEmpty)
  }

  @Test("D11: no explicit nonce comes twice")
  func nonces() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    var nonces: Set<[UInt8]> = []
    for _ in 0..<1000 { nonces.insert(Array(try pair.client.session.seal([0]).dropFirst(13).prefix(8))) }
    #expect(nonces.count == 1000)
  }

  @Test("D13: a thousand failing handshakes leave nothing behind")
  func manyFailures() throws {
    let wrong = try #require(Self.wrong)
    func failOnce() throws {
      var pair = try Pair(clientExpects: [wrong])
      pair.start()
      pair.run(limit: .milliseconds(100))
      #expect(pair.client.events == [.failed(.fingerprintMismatch)])
    }
    for _ in 0..<10 { try failOnce() }
    let before = thread_live_bytes()
    for _ in 0..<1000 { try failOnce() }
    let growth = thread_live_bytes() - before
    #expect(growth < 100_000, "grew by \(growth) bytes")
    var pair = try Pair()
    pair.start()
    pair.run()
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
  }

  @Test(
    "D15: fatal alerts in plaintext neither stop the handshake nor end the session", arguments: [UInt8(10), 40, 80])
  func forgedAlert(description: UInt8) throws {
    var pair = try Pair()
    pair.start()
    for _ in 0..<8 {
      for forged in [record(type: 21, sequence: 3, [2, description]), record(type: 21, sequence: 4, [1, 0])] {
        pair.client.handle(forged, now: pair.now)
        pair.server.handle(forged, now: pair.now)
      }
      pair.run(limit: .milliseconds(10))
    }
    pair.run()
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
    pair.client.handle(record(type: 21, sequence: 9, [2, description]), now: pair.now)
    pair.client.handle(record(type: 21, epoch: 1, sequence: 900, [2, description]), now: pair.now)
    #expect(pair.client.events == [.connected])
  }

  @Test("a peer that does give up is believed after a while")
  func genuineAlert() throws {
    var pair = try Pair()
    pair.start()
    let began = pair.now
    pair.client.handle(record(type: 21, sequence: 1, [2, 40]), now: pair.now)
    pair.run(up: { _, _ in [] })
    #expect(pair.client.events == [.failed(.peerAlert("handshake failure"))])
    #expect(pair.now - began >= DTLSSession.plaintextAlertPatience)
    let waited = pair.client.session.deadline
    #expect(waited == nil)
  }

  @Test("D16: old versions and weak suites are refused, though the peer could", arguments: WeakOffer.all)
  func weakParameters(offer: WeakOffer) throws {
    // With each other such peers do connect: it is we who refuse.
    let (first, second) = (try offer.peer(.client), try offer.peer(.server))
    for _ in 0..<10 {
      first.raw.advance()
      for datagram in first.raw.transmit() { second.raw.deliver(datagram) }
      second.raw.advance()
      for datagram in second.raw.transmit() { first.raw.deliver(datagram) }
    }
    #expect(first.raw.isConnected && second.raw.isConnected, "\(offer)")
    for attacker in [DTLSRole.client, .server] {
      let (raw, announced) = try offer.peer(attacker)
      var side = Side(
        try DTLSSession(
          identity: try IdentityTests.identity(.rsa2048), role: attacker == .client ? .server : .client,
          remoteFingerprints: [announced]))
      let now = Instant(nanoseconds: 0)
      side.session.start(now: now)
      exchange(raw, &side, now: now)
      let connected = side.session.isConnected
      #expect(!connected && !raw.isConnected, "\(offer), \(attacker)")
    }
  }
}

extension AttackTests {
  @Test("D16: a certificate with a key of 1,024 bits proves nothing", arguments: [DTLSRole.client, .server])
  func shortKey(attacker: DTLSRole) throws {
    for (bits, expected) in [(1_024, .failed(.weakKey)), (2_048, .connected)] as [(UInt32, DTLSSession.Event)] {
      let key = try #require(openssl_generate_rsa(bits))
      let joined = try Joined(rawRole: attacker, key: key) { context in SSL_CTX_set_security_level(context, 0) }
      #expect(joined.side.events == [expected])
    }
  }
}

/// What a peer of yesterday has.
struct WeakOffer: CustomStringConvertible, Sendable {
  let suites: String
  var version: CInt = DTLS1_2_VERSION
  var description: String { version == DTLS1_VERSION ? "DTLS 1.0 with \(suites)" : suites }

  static let all = [
    WeakOffer(suites: "ECDHE-RSA-AES128-SHA", version: DTLS1_VERSION), WeakOffer(suites: "ECDHE-RSA-AES128-SHA"),
    WeakOffer(suites: "ECDHE-RSA-AES128-SHA256"), WeakOffer(suites: "AES128-GCM-SHA256"),
    WeakOffer(suites: "AES128-SHA"), WeakOffer(suites: "NULL-SHA256"), WeakOffer(suites: "ECDHE-RSA-NULL-SHA"),
    WeakOffer(suites: "DHE-RSA-AES128-GCM-SHA256"), WeakOffer(suites: "ADH-AES128-GCM-SHA256"),
    WeakOffer(suites: "AECDH-AES128-SHA"),
  ]

  func peer(_ role: DTLSRole) throws -> (raw: RawPeer, fingerprint: Fingerprint) {
    let key = try #require(openssl_generate_rsa(2_048))
    var fingerprint: Fingerprint?
    let raw = try RawPeer(role: role) { context in
      SSL_CTX_set_security_level(context, 0)
      fingerprint = try? RawPeer.use(key, in: context)
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in 1 }
      #expect(SSL_CTX_ctrl(context, SSL_CTRL_SET_DH_AUTO, 1, nil) == 1)
      #expect(openssl_context_set_version(context, version) == 1)
      #expect(SSL_CTX_set_cipher_list(context, suites + "@SECLEVEL=0") == 1)
    }
    return (raw, try #require(fingerprint))
  }
}

/// A C string that lives as long as the program.
private func constant(_ text: StaticString) -> UnsafePointer<CChar> {
  UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

/// A key whose halves do not belong together.
func mixedKey(publicFrom key: OpaquePointer, privateFrom other: OpaquePointer) -> OpaquePointer? {
  var point = [UInt8](repeating: 0, count: 133)
  var pointCount = 0
  var scalar: OpaquePointer?
  guard EVP_PKEY_get_octet_string_param(key, "pub", &point, point.count, &pointCount) == 1,
    EVP_PKEY_get_bn_param(other, "priv", &scalar) == 1, let scalar
  else { return nil }
  defer { BN_free(scalar) }
  var scalarBytes = [UInt8](repeating: 0, count: 32)
  guard BN_bn2nativepad(scalar, &scalarBytes, 32) == 32, let maker = EVP_PKEY_CTX_new_from_name(nil, "EC", nil),
    EVP_PKEY_fromdata_init(maker) == 1
  else { return nil }
  defer { EVP_PKEY_CTX_free(maker) }
  var made: OpaquePointer?
  let isMade = point.withUnsafeMutableBytes { point in
    scalarBytes.withUnsafeMutableBytes { scalar in
      let group = UnsafeMutablePointer<CChar>.allocate(capacity: 16)
      defer { group.deallocate() }
      strcpy(group, "prime256v1")
      var parameters = [
        OSSL_PARAM_construct_utf8_string(constant("group"), group, 0),
        OSSL_PARAM_construct_octet_string(constant("pub"), point.baseAddress, pointCount),
        OSSL_PARAM_construct_BN(constant("priv"), scalar.baseAddress?.assumingMemoryBound(to: UInt8.self), 32),
        OSSL_PARAM_construct_end(),
      ]
      let wholeKeyPair: CInt = 0x87  // EVP_PKEY_KEYPAIR
      return EVP_PKEY_fromdata(maker, &made, wholeKeyPair, &parameters)
    }
  }
  return isMade == 1 ? made : nil
}
