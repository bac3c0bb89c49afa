// LongTermTests.swift — keys, nonce cookies, and what a client makes of a server's challenges (RFC 8489 §9.2).

import TestSupport
import Testing
import Wire

@testable import STUN

/// An answer that a test makes for a server.
func reply(
  _ messageClass: STUNClass, _ method: STUNMethod = .binding, id: TransactionID = TransactionID(high: 1, low: 2),
  _ body: (STUNWriter, inout OutputRawSpan) throws(STUNEncodingError) -> Void
) throws -> [UInt8] {
  try collectBytes(capacity: 3_000) { (out) throws(STUNEncodingError) in
    let writer = try STUNWriter(STUNHeader(messageClass, method, id: id), into: &out)
    try body(writer, &out)
  }
}

struct Challenge {
  var code: UInt16 = 401
  var realm: String? = "example.org"
  var nonce: String? = "plain"
  var algorithms: [UInt16]?

  func response() throws -> STUNErrorResponse {
    let bytes = try reply(.errorResponse) { (writer, out) throws(STUNEncodingError) in
      try writer.errorCode(code, into: &out)
      if let realm { try writer.attribute(.realm, Array(realm.utf8).rawSpan, into: &out) }
      if let nonce { try writer.attribute(.nonce, Array(nonce.utf8).rawSpan, into: &out) }
      if let algorithms { try writer.attribute(.passwordAlgorithms, Self.list(algorithms).rawSpan, into: &out) }
    }
    return try #require(try STUNErrorResponse(STUNMessage(bytes.rawSpan)))
  }

  static func list(_ algorithms: [UInt16]) -> [UInt8] {
    algorithms.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff), 0, 0] }
  }
}

@Suite struct LongTermTests {
  private let matrix = STUNCredential(
    username: "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}", password: "TheMatrIX")
  private let realm = Array("example.org".utf8)

  private func signed(_ client: LongTermClient) throws -> [UInt8] {
    try reply(.request) { (writer, out) throws(STUNEncodingError) in try client.sign(writer, into: &out) }
  }

  private func hand(
    _ challenge: STUNErrorResponse, to client: inout LongTermClient, wasSigned: Bool
  ) throws -> LongTermClient.Verdict {
    client.handle(challenge: challenge, wasSigned: wasSigned)
  }

  private func authenticity(_ client: LongTermClient, _ bytes: [UInt8]) throws -> LongTermClient.Authenticity {
    try client.authenticity(of: STUNMessage(bytes.rawSpan))
  }

  // MARK: Vectors

  @Test("keys: RFC 5769 §2.4, RFC 8489 B.1")
  func keys() {
    #expect(matrix.key(.md5, realm: realm) == unhex("e8ca7ad59d5eb0518e312911d2dab2a9"))
    #expect(
      matrix.key(.sha256, realm: realm)
        == unhex("dd295a613b9058c3c23d6dc7165bda072304d989c9d0af3a8c7e184b4f9bb4a1"))
    #expect(
      matrix.userHash(realm: realm) == unhex("4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"))
  }

  @Test("RFC 8489 B.1, as erratum 6268 has it, written by us")
  func written() throws {
    let record = try #require(
      try VectorRecord.read("rfc/stun-rfc5769-rfc8489.txt").first { $0.name == "rfc8489-B.1-corrected" })
    let key = try #require(matrix.key(.sha256, realm: realm))
    let bytes = try reply(.request, id: TransactionID(high: 0x78ad_3433, low: 0xc6ad_72c0_29da_412e)) {
      (writer, out) throws(STUNEncodingError) in
      try writer.attribute(.userHash, matrix.userHash(realm: realm).rawSpan, into: &out)
      try writer.attribute(.nonce, Array("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA".utf8).rawSpan, into: &out)
      try writer.attribute(.realm, realm.rawSpan, into: &out)
      try writer.passwordAlgorithm(.sha256, into: &out)
      try writer.messageIntegritySHA256(key: key, into: &out)
    }
    #expect(bytes == record.bytes("message"))
  }

  @Test(
    "the 24 bits of the nonce cookie count from the most significant",
    arguments: [
      ("obMatJos2gAAAadl7W7PeDU4hKE72jda", STUNSecurityFeatures.passwordAlgorithms),
      ("obMatJos2QAAAx", .usernameAnonymity),
      ("obMatJos2wAAA", [.passwordAlgorithms, .usernameAnonymity]),
      // Bit 22, which means nothing yet.
      ("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA", STUNSecurityFeatures(rawValue: 2)),
      ("obMatJos2gAA", []), ("obMatJos2gA-A", []), ("f//499k954d6OL34oL9FSTvy64sA", []), ("", []),
    ] as [(String, STUNSecurityFeatures)])
  func nonceCookie(nonce: String, features: STUNSecurityFeatures) {
    let read = STUNSecurityFeatures(nonce: Array(nonce.utf8).rawSpan)
    #expect(read == features)
    if !features.isEmpty { #expect(nonce.utf8.starts(with: features.nonceCookie)) }
  }

  // MARK: Challenges

  @Test("a server of RFC 5389: user name, SHA-1 code with the MD5 key")
  func plainServer() throws {
    var client = LongTermClient(matrix)
    #expect(try signed(client).count == 20)
    #expect(try hand(try Challenge().response(), to: &client, wasSigned: false) == .retry)
    let bytes = try signed(client)
    #expect(
      try Summary(bytes).attributes == [
        "username \(matrix.username)", "realm example.org", "nonce plain", "integrity 20",
      ])
    #expect(verifies(bytes, key: try #require(matrix.key(.md5, realm: realm))))
  }

  @Test("a server of RFC 8489: the list as it came, the first algorithm we know, the SHA-256 code")
  func modernServer() throws {
    var client = LongTermClient(matrix)
    let challenge = Challenge(nonce: "obMatJos2wAAA123", algorithms: [77, 2, 1])
    #expect(try hand(try challenge.response(), to: &client, wasSigned: false) == .retry)
    let bytes = try signed(client)
    #expect(
      try Summary(bytes).attributes == [
        "userhash 32", "realm example.org", "nonce obMatJos2wAAA123",
        "password-algorithms \(Challenge.list([77, 2, 1]))", "password-algorithm 2", "integrity-sha256 32",
      ])
    #expect(verifiesSHA256(bytes, key: try #require(matrix.key(.sha256, realm: realm))))
  }

  @Test("the server's order counts: MD5 keys, and yet the SHA-256 code")
  func prefersMD5() throws {
    var client = LongTermClient(matrix)
    let challenge = Challenge(nonce: "obMatJos2gAAA", algorithms: [1, 2])
    #expect(try hand(try challenge.response(), to: &client, wasSigned: false) == .retry)
    let bytes = try signed(client)
    #expect(try Summary(bytes).attributes.first == "username \(matrix.username)")
    #expect(verifiesSHA256(bytes, key: try #require(matrix.key(.md5, realm: realm))))
  }

  @Test("bidding down: the list is cut out of a challenge, of a later one, of an answer")
  func biddingDown() throws {
    let full = try Challenge(nonce: "obMatJos2gAAA", algorithms: [2, 1]).response()
    let stripped = try Challenge(nonce: "obMatJos2gAAA").response()
    var fresh = LongTermClient(matrix)
    #expect(try hand(stripped, to: &fresh, wasSigned: false) == .unsupported)
    #expect(!fresh.hasSession)

    var client = LongTermClient(matrix)
    #expect(try hand(full, to: &client, wasSigned: false) == .retry)
    // The nonce replaced, too, by one without a cookie.
    let replaced = try Challenge(code: 438, nonce: "plain").response()
    #expect(try hand(replaced, to: &client, wasSigned: true) == .unsupported)

    let key = try #require(matrix.key(.sha256, realm: realm))
    let weaker = try reply(.successResponse) { (writer, out) throws(STUNEncodingError) in
      try writer.messageIntegrity(key: key, into: &out)
    }
    #expect(try authenticity(client, weaker) == .wrong)
    let contradiction = try reply(.successResponse) { (writer, out) throws(STUNEncodingError) in
      try writer.attribute(.nonce, Array("obMatJos2gAAA".utf8).rawSpan, into: &out)
      try writer.messageIntegritySHA256(key: key, into: &out)
    }
    #expect(try authenticity(client, contradiction) == .wrong)
  }

  @Test("algorithms that nobody knows, with parameters that none has, and a list too long to repeat")
  func unknownAlgorithms() throws {
    for algorithms in [[3, 4], [], (0..<40).map { $0 + 100 } + [2]] as [[UInt16]] {
      var client = LongTermClient(matrix)
      let challenge = Challenge(nonce: "obMatJos2gAAA", algorithms: algorithms.isEmpty ? [9] : algorithms)
      #expect(try hand(try challenge.response(), to: &client, wasSigned: false) == .unsupported)
    }
    let withParameters = [UInt8]([0, 2, 0, 1, 7, 0, 0, 0, 0, 1, 0, 0])
    let first = STUNPasswordAlgorithm.first(in: withParameters.rawSpan)
    #expect(first == .md5)
  }

  @Test("401 after credentials of the same realm is the end; of another realm it is not; 438 renews the nonce")
  func repeated() throws {
    var client = LongTermClient(matrix)
    #expect(try hand(try Challenge().response(), to: &client, wasSigned: false) == .retry)
    let stale = try Challenge(code: 438, realm: nil, nonce: "fresh").response()
    #expect(try hand(stale, to: &client, wasSigned: true) == .retry)
    #expect(try Summary(try signed(client)).attributes.contains("nonce fresh"))
    #expect(try hand(try Challenge().response(), to: &client, wasSigned: true) == .unauthorized)
    let moved = try Challenge(realm: "example.net").response()
    #expect(try hand(moved, to: &client, wasSigned: true) == .retry)
    #expect(try Summary(try signed(client)).attributes.contains("realm example.net"))

    var without = LongTermClient(nil)
    #expect(try hand(try Challenge().response(), to: &without, wasSigned: false) == .unauthorized)
    var noNonce = LongTermClient(matrix)
    #expect(try hand(try Challenge(nonce: nil).response(), to: &noNonce, wasSigned: false) == .unauthorized)
  }

  @Test("answers: of our key, of another, of none")
  func answers() throws {
    var client = LongTermClient(matrix)
    #expect(try hand(try Challenge().response(), to: &client, wasSigned: false) == .retry)
    let key = try #require(matrix.key(.md5, realm: realm))
    let good = try reply(.successResponse) { (writer, out) throws(STUNEncodingError) in
      try writer.messageIntegrity(key: key, into: &out)
    }
    #expect(try authenticity(client, good) == .authentic)
    #expect(try authenticity(client, try reply(.successResponse) { (_, _) throws(STUNEncodingError) in }) == .absent)
    let forged = try reply(.successResponse) { (writer, out) throws(STUNEncodingError) in
      try writer.messageIntegrity(key: key.reversed(), into: &out)
    }
    #expect(try authenticity(client, forged) == .wrong)
  }
}
