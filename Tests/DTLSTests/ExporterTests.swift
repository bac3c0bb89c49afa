// ExporterTests.swift — keys for SRTP (RFC 5764 §4.2), the profile that goes with them, and the key log: checked against a bare
// OpenSSL peer, and against each other by the pseudorandom function of RFC 5246 §5.

import COpenSSL
import DTLS
import Digest
import Testing
import Wire

private let label = "EXTRACTOR-dtls_srtp"

@Suite struct ExporterTests {
  @Test("both sides export the same, another label gives other keys, and nothing comes without a connection")
  func bothSides() throws {
    var pair = try Pair()
    pair.start()
    var early = pair.client.session.exportKeyingMaterial(label: label, byteCount: 60)
    #expect(early == nil)
    pair.run()
    let exported = pair.client.session.exportKeyingMaterial(label: label, byteCount: 60)
    let client = try #require(exported)
    let server = pair.server.session.exportKeyingMaterial(label: label, byteCount: 60)
    #expect(client == server && client.count == 60 && Set(client).count > 10)
    let other = pair.client.session.exportKeyingMaterial(label: "EXTRACTOR-other", byteCount: 60)
    #expect(other != nil && other != client)
    let shorter = pair.client.session.exportKeyingMaterial(label: label, byteCount: 20)
    #expect(shorter == Array(client.prefix(20)))
    pair.client.session.close()
    early = pair.client.session.exportKeyingMaterial(label: label, byteCount: 60)
    #expect(early == nil)
    var second = try Pair()
    second.start()
    second.run()
    let fresh = second.client.session.exportKeyingMaterial(label: label, byteCount: 60)
    #expect(fresh != client)
  }

  @Test("the profile is the best that both have, by its number, and the keys are the peer's", arguments: [true, false])
  func rawPeer(rawIsClient: Bool) throws {
    for (offer, agreed) in [
      ("SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80", 7), ("SRTP_AEAD_AES_256_GCM", 8),
      ("SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80", 1), ("SRTP_AES128_CM_SHA1_32", nil), (nil, nil),
    ] as [(String?, UInt16?)] {
      let joined = try Joined(rawRole: rawIsClient ? .client : .server) { context in
        if let offer { #expect(SSL_CTX_set_tlsext_use_srtp(context, offer) == 0) }
      }
      #expect(joined.side.events == [.connected], "\(offer ?? "nothing")")
      let profile = joined.side.session.mediaProfile
      #expect(profile == agreed)
      var theirs = [UInt8](repeating: 0, count: 88)
      #expect(SSL_export_keying_material(joined.raw.ssl, &theirs, 88, label, label.utf8.count, nil, 0, 0) == 1)
      let ours = joined.side.session.exportKeyingMaterial(label: label, byteCount: 88)
      #expect(ours == theirs)
    }
  }

  @Test("a key log's line has the hello's random, and the secret from which the exported keys follow")
  func keyLog() throws {
    var pair = try Pair(logsKeys: true)
    var hellos: [[UInt8]] = [[], []]
    pair.start()
    pair.run(
      up: { index, datagram in
        if index == 1 { hellos[0] = datagram }
        return [datagram]
      },
      down: { index, datagram in
        if index == 1 { hellos[1] = datagram }
        return [datagram]
      })
    let lines = [pair.client.session.pollKeyLog(), pair.server.session.pollKeyLog()]
    let line = try #require(lines[0])
    #expect(lines[1] == line)
    let further = pair.client.session.pollKeyLog()
    #expect(further == nil)
    let parts = line.split(separator: " ")
    try #require(parts.count == 3 && parts[0] == "CLIENT_RANDOM")
    let (random, secret) = (try bytes(parts[1]), try bytes(parts[2]))
    // Record header 13, message header 12, version 2.
    let (clientRandom, serverRandom) = (Array(hellos[0][27..<59]), Array(hellos[1][27..<59]))
    #expect(random == clientRandom && secret.count == 48)
    let suite = pair.client.session.cipherSuite ?? ""
    try #require(suite.hasSuffix("_SHA256"), "P_SHA256 is what the next line computes")
    let expected = expand(secret, Array(label.utf8) + clientRandom + serverRandom, byteCount: 60)
    let exported = pair.client.session.exportKeyingMaterial(label: label, byteCount: 60)
    #expect(exported == expected)
  }

  @Test("nothing is logged unasked")
  func silence() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    let lines = [pair.client.session.pollKeyLog(), pair.server.session.pollKeyLog()]
    #expect(lines == [nil, nil])
  }

  private func bytes(_ digits: Substring) throws -> [UInt8] {
    let digits = Array(digits)
    return try stride(from: 0, to: digits.count, by: 2).map {
      try #require(UInt8(String(digits[$0...($0 + 1)]), radix: 16))
    }
  }

  /// P_SHA256 of RFC 5246 §5.
  private func expand(_ secret: [UInt8], _ seed: [UInt8], byteCount: Int) -> [UInt8] {
    var (output, block): ([UInt8], [UInt8]) = ([], seed)
    while output.count < byteCount {
      block = Digest.HMAC.sha256(key: secret, block.rawSpan)
      output += Digest.HMAC.sha256(key: secret, (block + seed).rawSpan)
    }
    return Array(output.prefix(byteCount))
  }
}
