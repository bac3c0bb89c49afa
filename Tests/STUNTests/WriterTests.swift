// WriterTests.swift — what we write is what we read, and never more than the length field can say.

import Foundation
import TestSupport
import Testing
import Wire

import STUN

@Suite struct STUNWriterTests {
  private let id = TransactionID(high: 0x0102_0304, low: 0x0506_0708_090a_0b0c)
  private let key = Array("a password of some length".utf8)

  @Test func roundTrip() throws {
    let v4 = try #require(SocketAddress("192.0.2.7:65535"))
    let v6 = try #require(SocketAddress("[2001:db8::7%5]:1"))
    let bytes = try collectBytes(capacity: 1_000) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(.errorResponse, id: id), into: &out)
      try writer.username(Array("left:right".utf8), into: &out)
      try writer.software(Array("x".utf8), into: &out)
      try writer.priority(0xfedc_ba98, into: &out)
      try writer.useCandidate(into: &out)
      try writer.iceControlling(tieBreaker: .max, into: &out)
      try writer.iceControlled(tieBreaker: 1, into: &out)
      try writer.xorMappedAddress(v4, into: &out)
      try writer.xorMappedAddress(v6, into: &out)
      try writer.errorCode(487, reason: Array("Role".utf8), into: &out)
      try writer.unknownAttributes([.init(rawValue: 0x7ffe)], into: &out)
      try writer.messageIntegrity(key: key, into: &out)
      try writer.fingerprint(into: &out)
    }
    let summary = try Summary(bytes)
    #expect(summary.header == STUNHeader(.errorResponse, id: id))
    #expect(
      summary.attributes == [
        "username left:right", "software x", "priority 4275878552", "use-candidate", "controlling ffffffffffffffff",
        "controlled 1", "xor-mapped 192.0.2.7:65535", "xor-mapped [2001:db8::7]:1", "error 487 Role",
        "unknown-attributes [127, 254]", "integrity 20", "fingerprint",
      ])
    #expect(verifies(bytes, key: key))
  }

  @Test("a message may start behind other bytes of the buffer")
  func appended() throws {
    let bytes = try collectBytes(capacity: 200) { (out) throws(STUNEncodingError) in
      out.writeUInt32(0xdead_beef)
      let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
      try writer.priority(1, into: &out)
      try writer.messageIntegrity(key: key, into: &out)
      try writer.fingerprint(into: &out)
    }
    let message = Array(bytes[4...])
    #expect(verifies(message, key: key))
    #expect(try Summary(message).hasFingerprint)
  }

  @Test("S2: padding is zero for every length, also in a poisoned buffer", arguments: 0...9)
  func padding(length: Int) throws {
    let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 8)
    defer { storage.deallocate() }
    for index in storage.indices { storage[index] = 0xa5 }
    var out = OutputRawSpan(buffer: storage, initializedCount: 0)
    let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
    try writer.software([UInt8](repeating: 0x78, count: length), into: &out)
    try writer.errorCode(400, reason: [UInt8](repeating: 0x78, count: length), into: &out)
    try writer.unknownAttributes((0..<length).map { .init(rawValue: UInt16(0x100 + $0)) }, into: &out)
    let count = out.finalize(for: storage)
    let bytes = Array(storage[..<count])
    #expect(!bytes.contains(0xa5))
    #expect(bytes.count.isMultiple(of: 4))
    #expect(isAccepted(bytes))
  }

  @Test("S4: a body that the length field cannot hold is refused, not wrapped")
  func lengthNeverWraps() throws {
    let bytes = try collectBytes(capacity: 70_000) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
      let big = [UInt8](repeating: 1, count: 65_500)
      try writer.attribute(.init(rawValue: 0x9000), big.rawSpan, into: &out)  // 65,504 bytes of body
      // 28 bytes are left, header included.
      var refusal: STUNEncodingError?
      do throws(STUNEncodingError) {
        try writer.attribute(.init(rawValue: 0x9001), [UInt8](repeating: 2, count: 25).rawSpan, into: &out)
      } catch {
        refusal = error
      }
      #expect(refusal == .tooLong)
      try writer.attribute(.init(rawValue: 0x9001), [UInt8](repeating: 2, count: 24).rawSpan, into: &out)
    }
    #expect(bytes.count == 20 + 65_532)
    #expect(isAccepted(bytes))
  }

  @Test(arguments: [65_529, 65_533, 65_536, 131_072])
  func oneAttributeTooLong(count: Int) {
    let value = [UInt8](repeating: 0, count: count)
    #expect(throws: STUNEncodingError.tooLong) {
      _ = try collectBytes(capacity: 200_000) { (out) throws(STUNEncodingError) in
        let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
        try writer.attribute(.init(rawValue: 0x9000), value.rawSpan, into: &out)
      }
    }
  }

  @Test func limitsOfTexts() {
    #expect(throws: STUNEncodingError.tooLong) {
      _ = try collectBytes(capacity: 2_000) { (out) throws(STUNEncodingError) in
        let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
        try writer.username([UInt8](repeating: 0x61, count: 509), into: &out)
      }
    }
    #expect(throws: STUNEncodingError.tooLong) {
      _ = try collectBytes(capacity: 2_000) { (out) throws(STUNEncodingError) in
        let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
        try writer.software([UInt8](repeating: 0x61, count: 764), into: &out)
      }
    }
  }

  @Test("a full buffer is an error at every size", arguments: 0..<68)
  func noRoom(capacity: Int) {
    #expect(throws: STUNEncodingError.noRoom) {
      _ = try collectBytes(capacity: capacity) { (out) throws(STUNEncodingError) in
        let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
        try writer.username(Array("abcdefgh:i".utf8), into: &out)
        try writer.messageIntegrity(key: key, into: &out)
        try writer.fingerprint(into: &out)
      }
    }
  }

  @Test("S7: every bit of the code matters, and codes are compared in constant time")
  func integrityComparison() throws {
    let bytes = try collectBytes(capacity: 100) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
      try writer.messageIntegrity(key: key, into: &out)
    }
    #expect(verifies(bytes, key: key))
    for bit in 0..<160 {
      var forged = bytes
      forged[24 + bit / 8] ^= 1 << (bit % 8)
      #expect(!verifies(forged, key: key))
    }
    // A rule for the source: whoever computes a code compares it with the constant-time helper only.
    let sources = Vectors.folder.deletingLastPathComponent().appendingPathComponent("Sources/STUN")
    let text = try String(contentsOf: sources.appendingPathComponent("ReceivedMessage.swift"), encoding: .utf8)
    let lines = text.split(separator: "\n").filter { $0.contains("expected") }
    #expect(lines.count(where: { $0.contains("constantTimeEqual") }) == 2)
    #expect(!lines.contains { $0.contains("==") || $0.contains(".equals(") })
  }

  @Test func unknownRequiredTypesAreCapped() throws {
    let bytes = try collectBytes(capacity: 4_000) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
      for type in 0..<500 {
        try writer.attribute(.init(rawValue: UInt16(0x7000 + type)), [UInt8]().rawSpan, into: &out)
      }
    }
    #expect(try Summary(bytes).unknownRequired.count == STUNMessage.maximumUnknownTypes)
  }
}
