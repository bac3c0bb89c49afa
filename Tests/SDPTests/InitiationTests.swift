// InitiationTests.swift — `a=sctp-init`: an INIT chunk in a description (draft-hancke-tsvwg-snap).

import SDP
import TestSupport
import Testing

@Suite struct InitiationTests {
  private static func reading(_ value: String) throws -> [UInt8]? {
    let line = "a=sctp-port:5000\r\n"
    let offer = Sample.chromiumOffer.replacing(line, with: line + "a=sctp-init:\(value)\r\n")
    #expect(offer != Sample.chromiumOffer)
    return try readOffer(offer).get().data?.sctpInit
  }

  @Test("what is written is read again, in offers and answers", arguments: 1...40)
  func roundTrip(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 89 &+ count) }
    var local = try Sample.local()
    local.data?.sctpInit = bytes
    let offer = try Negotiation.offer(local)
    #expect(try Negotiation.read(offer: offer).data?.sctpInit == bytes)
    let answer = try Negotiation.answer(to: offer, local)
    #expect(try Negotiation.read(answer: answer, to: offer).data?.sctpInit == bytes)
  }

  @Test("the text is that of RFC 4648, §10")
  func vectors() throws {
    for (text, bytes) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")]
    {
      #expect(try Self.reading(text) == Array(bytes.utf8))
    }
  }

  @Test(
    "what is not Base64, or could be written otherwise, is passed over, and the description is good all the same",
    arguments: ["Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zm9v Zm9v", "Zm9-", "=Zm9", "Zg==Zg=="])
  func unreadable(text: String) throws {
    #expect(try Self.reading(text) == nil)
  }

  @Test("two of them are none")
  func twice() throws {
    #expect(try Self.reading("Zm9v\r\na=sctp-init:Zm9v") == nil)
  }
}
