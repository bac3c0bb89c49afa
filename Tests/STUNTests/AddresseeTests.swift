// AddresseeTests.swift — for whom a message is, of many behind one socket.

import TestSupport
import Testing
import Wire

@testable import STUN

@Suite struct AddresseeTests {
  private let id = TransactionID(high: 1, low: 2)

  private func message(_ messageClass: STUNClass, username: String?) throws -> [UInt8] {
    try collectBytes(capacity: 800) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(messageClass, id: id), into: &out)
      try writer.priority(1, into: &out)
      if let username { try writer.username(Array(username.utf8), into: &out) }
      try writer.fingerprint(into: &out)
    }
  }

  @Test(
    "a request is for the fragment before the colon",
    arguments: [
      ("ours:theirs", "ours"), (":theirs", ""), ("ours:", "ours"), ("a:b:c", "a"), ("no colon", nil),
      (String(repeating: "x", count: 256) + ":y", String(repeating: "x", count: 256)),
      (String(repeating: "x", count: 257) + ":y", nil), (nil, nil),
    ] as [(String?, String?)])
  func request(username: String?, fragment: String?) throws {
    let bytes = try message(.request, username: username)
    #expect(addressee(bytes) == .request(localFragment: fragment, id: id))
  }

  private func addressee(_ bytes: [UInt8], count: Int? = nil) -> STUNAddressee {
    STUNAddressee(bytes.rawSpan.extracting(0..<(count ?? bytes.count)))
  }

  @Test func responsesAndOthers() throws {
    #expect(addressee(try message(.successResponse, username: "a:b")) == .response(id: id))
    #expect(addressee(try message(.errorResponse, username: nil)) == .response(id: id))
    #expect(addressee(try message(.indication, username: "a:b")) == .nobody)
    #expect(addressee([UInt8](repeating: 0, count: 40)) == .nobody)
  }

  @Test func truncatedAtEveryLength() throws {
    let bytes = try message(.request, username: "ours:theirs")
    for length in 0..<bytes.count { #expect(addressee(bytes, count: length) == .nobody) }
  }
}
