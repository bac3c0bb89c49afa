// VectorTests.swift — the published messages of RFC 5769 and RFC 8489, and the derived malformed ones.

import TestSupport
import Testing
import Wire

import STUN

@Suite struct STUNVectorTests {
  private static let shortTermKey = Array("VOkJxbRl1RmTxUk/WvJxBt".utf8)

  private func message(_ name: String) throws -> [UInt8] {
    let record = try #require(try VectorRecord.read("rfc/stun-rfc5769-rfc8489.txt").first { $0.name == name })
    return try #require(record.bytes("message"))
  }

  @Test func rfc5769Request() throws {
    let bytes = try message("rfc5769-2.1-request")
    let summary = try Summary(bytes)
    #expect(summary.header.messageClass == .request)
    #expect(summary.header.method == .binding)
    #expect(summary.header.id == TransactionID(high: 0xb7e7_a701, low: 0xbc34_d686_fa87_dfae))
    #expect(
      summary.attributes == [
        "software STUN test client", "priority 1845494271", "controlled 932ff9b151263b36", "username evtj:h6vY",
        "integrity 20", "fingerprint",
      ])
    #expect(summary.hasFingerprint)
    #expect(verifies(bytes, key: Self.shortTermKey))
    #expect(!verifies(bytes, key: Array("VOkJxbRl1RmTxUk/WvJxBu".utf8)))
  }

  @Test(arguments: [
    ("rfc5769-2.2-ipv4-response", "192.0.2.1:32853"),
    ("rfc5769-2.3-ipv6-response", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
  ])
  func rfc5769Response(name: String, address: String) throws {
    let bytes = try message(name)
    let summary = try Summary(bytes)
    #expect(summary.header.messageClass == .successResponse)
    #expect(summary.attributes == ["software test vector", "xor-mapped \(address)", "integrity 20", "fingerprint"])
    #expect(verifies(bytes, key: Self.shortTermKey))
  }

  @Test func rfc5769LongTerm() throws {
    let bytes = try message("rfc5769-2.4-long-term-request")
    let key = try #require(unhex("e8ca7ad59d5eb0518e312911d2dab2a9"))
    #expect(verifies(bytes, key: key))
    let summary = try Summary(bytes)
    #expect(!summary.hasFingerprint)
    #expect(summary.attributes.contains("realm example.org"))
    #expect(summary.attributes.contains("nonce f//499k954d6OL34oL9FSTvy64sA"))

    // This one pads with zeros, as we do: written by us, it must be the same bytes.
    let written = try collectBytes(capacity: 200) { (out) throws(STUNEncodingError) in
      let id = TransactionID(high: 0x78ad_3433, low: 0xc6ad_72c0_29da_412e)
      let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
      try writer.username(Array("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}".utf8), into: &out)
      try writer.attribute(.nonce, Array("f//499k954d6OL34oL9FSTvy64sA".utf8).rawSpan, into: &out)
      try writer.attribute(.realm, Array("example.org".utf8).rawSpan, into: &out)
      try writer.messageIntegrity(key: key, into: &out)
    }
    #expect(written == bytes)
  }

  @Test func rfc8489SHA256() throws {
    let bytes = try message("rfc8489-B.1-corrected")
    let key = try #require(
      unhex("dd295a613b9058c3c23d6dc7165bda072304d989c9d0af3a8c7e184b4f9bb4a1"))
    #expect(verifiesSHA256(bytes, key: key))
    #expect(!verifiesSHA256(bytes, key: key.reversed()))
    #expect(!verifies(bytes, key: key))
    let printed = try message("rfc8489-B.1-as-printed")
    #expect(throws: Malformed.badLength) { try Summary(printed) }
  }

  @Test func messageTypes() throws {
    var count = 0
    for line in try Vectors.text(HexBlock.malformedFile).split(separator: "\n") where line.contains(" -> request ") {
      let words = line.split(separator: " ").filter { $0.hasPrefix("0x") }
      let numbers = words.compactMap { UInt16($0.dropFirst(2), radix: 16) }
      try #require(numbers.count == 5)
      let method = try #require(STUNMethod(rawValue: numbers[0]))
      let classes = [STUNClass.request, .indication, .successResponse, .errorResponse]
      for (messageClass, type) in zip(classes, numbers[1...]) {
        #expect(STUNHeader(messageClass, method, id: TransactionID(high: 0, low: 0)).type == type)
        let (readClass, readMethod) = try #require(STUNHeader.split(type: type))
        #expect(readClass == messageClass)
        #expect(readMethod == method)
      }
      count += 1
    }
    #expect(count == 10)
    let highest = try #require(STUNMethod(rawValue: 0xfff))
    #expect(STUNHeader(.request, highest, id: TransactionID(high: 0, low: 0)).type == 0x3eef)
    #expect(STUNHeader(.errorResponse, highest, id: TransactionID(high: 0, low: 0)).type == 0x3fff)
    #expect(STUNMethod(rawValue: 0x1000) == nil)
  }

  @Test(arguments: try HexBlock.read(HexBlock.malformedFile).filter { $0.title.hasPrefix("bad:") })
  func malformed(block: HexBlock) throws {
    if block.title.contains("unknown comprehension-required") {
      // Well-formed, but the owner must refuse it.
      #expect(try Summary(block.bytes).unknownRequired == [0x7ffe])
    } else {
      #expect(!isAccepted(block.bytes))
    }
  }

  @Test("S3: attributes after MESSAGE-INTEGRITY do not count")
  func attributesAfterIntegrity() throws {
    let address = try HexBlock.named("inject-after-mi:")
    #expect(verifies(address, key: Self.shortTermKey))
    #expect(try Summary(address).attributes == ["software test vector", "xor-mapped 192.0.2.1:32853", "integrity 20"])

    let nomination = try HexBlock.named("inject-use-candidate-after-mi:")
    #expect(verifies(nomination, key: Self.shortTermKey))
    let summary = try Summary(nomination)
    #expect(summary.hasFingerprint)
    #expect(!summary.attributes.contains("use-candidate"))
  }

  @Test("S5: messages may lie at any address")
  func misaligned() throws {
    for message in try allMessages() {
      let expected = isAccepted(message)
      for offset in 0..<8 {
        let shifted = [UInt8](repeating: 0xaa, count: offset) + message
        let isSame = isAccepted(shifted.rawSpan.extracting(offset..<shifted.count)) == expected
        #expect(isSame)
      }
    }
  }

  @Test("S6: no message is taken when it is cut short, at any length")
  func truncatedAtEveryLength() throws {
    for message in try allMessages() {
      for length in 0..<message.count {
        let part = Array(message[..<length])
        // One vector is a message with bytes behind it: cut there, it is whole.
        if length >= 20, length == 20 + Int(part[2]) << 8 + Int(part[3]) { continue }
        #expect(!isAccepted(part))
        #expect(!verifies(part, key: Self.shortTermKey))
        // The same with a length field that fits what is left.
        guard length >= 20 else { continue }
        var fitted = Array(message[..<(length & ~3)])
        fitted[2] = UInt8((fitted.count - 20) >> 8)
        fitted[3] = UInt8((fitted.count - 20) & 0xff)
        _ = isAccepted(fitted)
        _ = verifies(fitted, key: Self.shortTermKey)
      }
    }
  }

  @Test("random damage never traps", arguments: 1...20 as ClosedRange<UInt64>)
  func damage(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    let messages = try allMessages()
    var accepted = 0
    for _ in 0..<1_000 {
      var bytes = messages[Int(random.next() % UInt64(messages.count))]
      for _ in 0...(random.next() % 4) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if isAccepted(bytes) { accepted += 1 }
      _ = verifies(bytes, key: Self.shortTermKey)
      _ = verifiesSHA256(bytes, key: Self.shortTermKey)
    }
    // Else the damage would only ever test the length check.
    #expect(accepted > 0, "seed \(seed)")
  }
}
