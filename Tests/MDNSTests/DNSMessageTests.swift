// DNSMessageTests.swift — DNS names and messages as bytes (RFC 1035 §4.1, RFC 6762 §18).

import MDNS
import TestSupport
import Testing
import Wire

func encoded(_ message: DNSMessage) -> [UInt8] {
  collectBytes(capacity: DNSMessage.maximumSize) { out in message.write(into: &out) }
}

private func decoded(_ hex: String) throws -> DNSMessage {
  let datagram = try #require(bytes(hex: hex))
  return try DNSMessage(reading: datagram.rawSpan)
}

@Suite struct DNSNameTests {
  @Test func textFormsThatAreNames() throws {
    #expect(try #require(DNSName("Host.LOCAL.")).description == "host.local")
    #expect(DNSName("host.local") == DNSName("HOST.local"))
    #expect(try #require(DNSName("host.local")).isLocal)
    #expect(try #require(DNSName("local")).isLocal == false)
    #expect(try #require(DNSName("host.local.example")).isLocal == false)
    #expect(try #require(DNSName("hostlocal")).isLocal == false)
  }

  @Test(arguments: ["", ".", "a..b", ".a", "a b", "a\u{0}b", "bücher.local", String(repeating: "a", count: 64)])
  func textFormsThatAreNone(text: String) { #expect(DNSName(text) == nil) }

  @Test func nameOf255BytesAtMost() {
    let label = String(repeating: "a", count: 63)
    #expect(DNSName([label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")) != nil)
    #expect(DNSName([label, label, label, String(repeating: "b", count: 62)].joined(separator: ".")) == nil)
  }

  @Test func bytesWithinALabelDoNotMakeANameLocal() throws {
    // One label that ends in the bytes of another: 8 bytes "x\5local" is not below local.
    let bytes: [UInt8] = [7, 0x78, 5, 0x6c, 0x6f, 0x63, 0x61, 0x6c, 0]
    var offset = 0
    let name = try DNSName(reading: bytes.rawSpan, at: &offset)
    #expect(!name.isLocal)
    #expect(name.description == "x\\005local")
    #expect(offset == bytes.count)
  }

  @Test func pointersLeadBackwardsOrNowhere() throws {
    // "local" at 0, "host" + pointer at 7.
    let good: [UInt8] = [5, 0x6c, 0x6f, 0x63, 0x61, 0x6c, 0, 4, 0x68, 0x6f, 0x73, 0x74, 0xc0, 0, 0xff]
    var offset = 7
    #expect(try DNSName(reading: good.rawSpan, at: &offset) == DNSName("host.local"))
    #expect(offset == 14)
    for bad: [UInt8] in [
      [0xc0, 0], [0xc0, 2, 0], [1, 0x61, 0xc0, 0], [0xc0], [0x40, 0], [0x80, 0], [5, 0x61], [],
    ] {
      var offset = 0
      #expect(throws: Malformed.self) { try DNSName(reading: bad.rawSpan, at: &offset) }
    }
  }

  @Test func aChainOfPointersEndsAndStaysShort() {
    // Each name is a label and a pointer to the one before: at most 255 bytes of it are read.
    var bytes: [UInt8] = [0]
    var last = 0
    for _ in 0..<200 {
      let start = bytes.count
      bytes += [1, 0x61, 0xc0 | UInt8(last >> 8), UInt8(last & 255)]
      last = start
    }
    var offset = last
    #expect(throws: Malformed.badLength) { try DNSName(reading: bytes.rawSpan, at: &offset) }
  }

  @Test func randomNamesAreVersion4UUIDs() throws {
    var random = RandomSource.seeded(state: 7)
    var seen: Set<DNSName> = []
    for _ in 0..<1_000 {
      let name = DNSName.random(using: &random)
      let text = Array(name.description)
      #expect(text.count == 42 && name.isLocal)
      #expect(text[8] == "-" && text[13] == "-" && text[14] == "4" && text[18] == "-" && text[23] == "-")
      #expect("89ab".contains(text[19]))
      #expect(seen.insert(name).inserted)
    }
  }
}

@Suite struct DNSMessageTests {
  private static let name =
    "24" + "37633462306631302d323061302d346533632d616234322d333364393831613063356531" + "05 6c6f63616c 00"

  @Test func aQuestionAsBrowsersSendIt() throws {
    let message = try decoded("0000 0000 0001 0000 0000 0000" + Self.name + "0001 0001")
    #expect(!message.isResponse && message.records.isEmpty)
    #expect(message.questions.map(\.name.description) == ["7c4b0f10-20a0-4e3c-ab42-33d981a0c5e1.local"])
    #expect(message.questions.first?.kind == .v4)
    #expect(message.questions.first?.wantsUnicast == false)
  }

  @Test func anAnswerWithCompressionAndOtherRecords() throws {
    let message = try decoded(
      "0000 8400 0000 0002 0000 0001" + Self.name + "0001 8001 00000078 0004 c0000207"
        + "c00c 0010 8001 00000078 0003 026162"  // a TXT record: skipped
        + "c00c 001c 0001 00000078 0010 20010db8000000000000000000000007")
    #expect(message.isResponse)
    #expect(message.records.map(\.address) == [.v4(0xc000_0207), .v6(0x2001_0db8_0000_0000, 7, zone: 0)])
    #expect(message.records.map(\.isUnique) == [true, false])
    #expect(message.records.map(\.timeToLive) == [120, 120])
  }

  @Test func whatAProbeProposesIsNoAddress() throws {
    let message = try decoded(
      "0000 0000 0001 0000 0001 0000" + Self.name + "00ff 8001" + "c00c 0001 0001 00000078 0004 c0000207")
    #expect(message.records.isEmpty)
    #expect(message.questions.first?.kind == .any)
    #expect(message.questions.first?.wantsUnicast == true)
  }

  @Test func writtenIsReadAgain() throws {
    let name = try #require(DNSName("a.local"))
    var message = DNSMessage(id: 77, isResponse: true)
    message.questions = [DNSQuestion(name: name, kind: .any, wantsUnicast: true)]
    message.records = [
      DNSAddressRecord(name: name, address: .v4(0xc000_0207), timeToLive: 120, isUnique: true),
      DNSAddressRecord(name: name, address: .v6(1, 2, zone: 0), timeToLive: 10, isUnique: false),
    ]
    let bytes = encoded(message)
    #expect(try DNSMessage(reading: bytes.rawSpan) == message)
    for count in 0..<bytes.count {
      #expect(throws: Malformed.self) { try DNSMessage(reading: bytes.rawSpan.extracting(0..<count)) }
    }
  }

  @Test(arguments: [
    "0000 8403 0000 0000 0000 0000",  // an error
    "0000 2800 0000 0000 0000 0000",  // another opcode
    "0000 8400 0000 ffff 0000 0000",  // more entries than any message has
    "0000 8400 0000 0001 0000 0000 0161 00 0001 0001 00000078 0005 c000020700",  // an A record of five bytes
    "0000 8400 0000 0001 0000 0000 0161 00 001c 0001 00000078 0004 c0000207",  // an AAAA record of four
    "0000 8400 0000 0001 0000 0000 0161 00 0001 0001 00000078 0004 c00002",
  ])
  func whatIsRefused(hex: String) { #expect(throws: Malformed.self) { try decoded(hex) } }
}
