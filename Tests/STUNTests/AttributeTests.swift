// AttributeTests.swift — the attributes of RFC 8489 and RFC 8656: written and read, and every length but the right one.

import TestSupport
import Testing
import Wire

@testable import STUN

@Suite struct AttributeTests {
  private func summary(_ type: STUNAttributeType, _ value: [UInt8]) throws -> [String] {
    let bytes = try reply(.indication) { (writer, out) throws(STUNEncodingError) in
      try writer.attribute(type, value.rawSpan, into: &out)
    }
    return try Summary(bytes).attributes
  }

  @Test func roundTrip() throws {
    let v4 = try #require(SocketAddress("192.0.2.7:65535"))
    let v6 = try #require(SocketAddress("[2001:db8::7]:1"))
    let bytes = try reply(.successResponse, .allocate) { (writer, out) throws(STUNEncodingError) in
      try writer.plainAddress(.mappedAddress, v4, into: &out)
      try writer.plainAddress(.alternateServer, v6, into: &out)
      try writer.attribute(.alternateDomain, Array("turn.example".utf8).rawSpan, into: &out)
      try writer.xorAddress(.xorRelayedAddress, v4, into: &out)
      try writer.xorAddress(.xorRelayedAddress, v6, into: &out)
      try writer.xorAddress(.xorPeerAddress, v6, into: &out)
      try writer.channelNumber(0x4abc, into: &out)
      try writer.word(.lifetime, .max, into: &out)
      try writer.requestedTransportUDP(into: &out)
      try writer.addressFamily(.requestedAddressFamily, .v6, into: &out)
      try writer.addressFamily(.additionalAddressFamily, .v4, into: &out)
      try writer.attribute(.addressErrorCode, ([2, 0, 4, 40] + Array("no".utf8)).rawSpan, into: &out)
      try writer.attribute(.evenPort, ([0x80] as [UInt8]).rawSpan, into: &out)
      try writer.attribute(.dontFragment, [UInt8]().rawSpan, into: &out)
      try writer.attribute(.reservationToken, ([1, 2, 3, 4, 5, 6, 7, 8] as [UInt8]).rawSpan, into: &out)
      try writer.attribute(.icmp, ([0, 0, 3, 4, 0, 0, 5, 0xdc] as [UInt8]).rawSpan, into: &out)
      try writer.attribute(.data, Array("hello".utf8).rawSpan, into: &out)
    }
    let summary = try Summary(bytes)
    #expect(summary.unknownRequired.isEmpty)
    #expect(
      summary.attributes == [
        "mapped 192.0.2.7:65535", "alternate [2001:db8::7]:1", "alternate-domain turn.example",
        "relayed 192.0.2.7:65535", "relayed [2001:db8::7]:1", "peer [2001:db8::7]:1", "channel 4abc",
        "lifetime 4294967295", "transport 17", "family v6", "additional-family v4", "address-error v6 440 no",
        "even-port true", "dont-fragment", "token 102030405060708", "icmp 3 4 1500", "data hello",
      ])
  }

  @Test(
    "of a fixed length every other is refused",
    arguments: [
      (0x0c, [4]), (0x0d, [4]), (0x12, [8, 20]), (0x16, [8, 20]), (0x17, [4]), (0x18, [1]), (0x19, [4]), (0x1a, [0]),
      (0x22, [8]), (0x8000, [4]), (0x8004, [8]), (0x8023, [8, 20]), (0x1e, [32]), (0x01, [8, 20]), (0x20, [8, 20]),
    ] as [(UInt16, [Int])])
  func lengths(type: UInt16, allowed: [Int]) throws {
    for length in 0...40 {
      // Family 1 or 2 where one stands; the cookie does not mask it.
      var value = [UInt8](repeating: 0, count: length)
      if type == 0x17 || type == 0x8000, length > 0 { value[0] = 1 }
      if length > 1 { value[1] = length == 20 ? 2 : 1 }
      let bytes = try reply(.indication) { (writer, out) throws(STUNEncodingError) in
        try writer.attribute(.init(rawValue: type), value.rawSpan, into: &out)
      }
      #expect(isAccepted(bytes) == allowed.contains(length), "length \(length)")
    }
  }

  @Test("values that nobody may send")
  func values() throws {
    #expect(throws: Malformed.badValue) { try summary(.requestedAddressFamily, [3, 0, 0, 0]) }
    #expect(throws: Malformed.badValue) { try summary(.addressErrorCode, [1, 0, 2, 0]) }
    #expect(throws: Malformed.badValue) { try summary(.addressErrorCode, [0, 0, 4, 0]) }
    #expect(throws: Malformed.badValue) { try summary(.alternateServer, [0, 7, 0, 0, 0, 0, 0, 0]) }
    #expect(throws: Malformed.badLength) { try summary(.alternateDomain, [UInt8](repeating: 0x61, count: 256)) }
    #expect(throws: Malformed.badLength) { try summary(.passwordAlgorithms, []) }
    #expect(throws: Malformed.truncated) { try summary(.passwordAlgorithms, [0, 2, 0]) }
    #expect(throws: Malformed.truncated) { try summary(.passwordAlgorithms, [0, 2, 0, 9, 1, 1, 1, 1]) }
  }

  @Test("names of every sort are bytes to us: nothing is interpreted, nothing ends early")
  func t12HostileNames() throws {
    for name in ["%s%n%x", "'; DROP TABLE turnusers;--", "a\u{0}b", "line\r\nQUIT", "\u{202e}gnp", "{}$(id)`id`"] {
      #expect(try summary(.username, Array(name.utf8)) == ["username \(name)"])
      #expect(try summary(.realm, Array(name.utf8)) == ["realm \(name)"])
    }
    #expect(throws: Malformed.badLength) { try summary(.username, [UInt8](repeating: 0x61, count: 509)) }
  }

  @Test func valueOffset() throws {
    let bytes = try reply(.indication, .data) { (writer, out) throws(STUNEncodingError) in
      try writer.software([1, 2, 3], into: &out)
      try writer.attribute(.data, Array("hello".utf8).rawSpan, into: &out)
    }
    let message = try STUNMessage(bytes.rawSpan)
    var walk = message.attributes
    _ = try walk.next()
    _ = try walk.next()
    let start = walk.valueOffset
    #expect(Array(bytes[start..<(start + 5)]) == Array("hello".utf8))
  }
}
