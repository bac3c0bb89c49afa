// Summary.swift — what a message says, as plain values that tests can compare; and the vectors without records.

import TestSupport
import Testing
import Wire

@testable import STUN

struct Summary: Equatable {
  var header: STUNHeader
  var attributes: [String] = []
  var unknownRequired: [UInt16]
  var hasFingerprint: Bool

  init(_ bytes: [UInt8]) throws(Malformed) { try self.init(bytes.rawSpan) }

  init(_ bytes: RawSpan) throws(Malformed) {
    let message = try STUNMessage(bytes)
    header = message.header
    unknownRequired = message.unknownRequiredTypes.map(\.rawValue)
    hasFingerprint = message.hasFingerprint
    var walk = message.attributes
    while let attribute = try walk.next() { attributes.append(Self.describe(attribute)) }
  }

  private static func text(_ bytes: RawSpan) -> String { String(decoding: bytes.copyBytes(), as: UTF8.self) }

  private static func describe(_ attribute: borrowing STUNAttribute) -> String {
    switch attribute {
    case .mappedAddress(let address): "mapped \(address)"
    case .xorMappedAddress(let address): "xor-mapped \(address)"
    case .username(let name): "username \(text(name))"
    case .realm(let name): "realm \(text(name))"
    case .nonce(let name): "nonce \(text(name))"
    case .userHash(let hash): "userhash \(hash.byteCount)"
    case .passwordAlgorithm(let number): "password-algorithm \(number)"
    case .passwordAlgorithms(let list): "password-algorithms \(list.copyBytes())"
    case .alternateServer(let address): "alternate \(address)"
    case .alternateDomain(let name): "alternate-domain \(text(name))"
    case .channelNumber(let number): "channel \(String(number, radix: 16))"
    case .lifetime(let seconds): "lifetime \(seconds)"
    case .xorPeerAddress(let address): "peer \(address)"
    case .data(let bytes): "data \(text(bytes))"
    case .xorRelayedAddress(let address): "relayed \(address)"
    case .requestedAddressFamily(let family): "family \(family)"
    case .additionalAddressFamily(let family): "additional-family \(family)"
    case .addressErrorCode(let family, let code, let reason): "address-error \(family) \(code) \(text(reason))"
    case .evenPort(let reserves): "even-port \(reserves)"
    case .requestedTransport(let number): "transport \(number)"
    case .dontFragment: "dont-fragment"
    case .reservationToken(let token): "token \(String(token, radix: 16))"
    case .icmp(let type, let code, let data): "icmp \(type) \(code) \(data)"
    case .software(let name): "software \(text(name))"
    case .errorCode(let code, let reason): "error \(code) \(text(reason))"
    case .unknownAttributes(let types): "unknown-attributes \(types.copyBytes())"
    case .priority(let value): "priority \(value)"
    case .useCandidate: "use-candidate"
    case .nomination(let number): "nomination \(number)"
    case .iceControlled(let tieBreaker): "controlled \(String(tieBreaker, radix: 16))"
    case .iceControlling(let tieBreaker): "controlling \(String(tieBreaker, radix: 16))"
    case .messageIntegrity(let code): "integrity \(code.byteCount)"
    case .messageIntegritySHA256(let code): "integrity-sha256 \(code.byteCount)"
    case .fingerprint: "fingerprint"
    case .unknown(let type): "unknown \(type.rawValue)"
    }
  }
}

func isAccepted(_ bytes: RawSpan) -> Bool {
  do throws(Malformed) {
    _ = try Summary(bytes)
    return true
  } catch {
    return false
  }
}

func verifies(_ bytes: [UInt8], key: [UInt8]) -> Bool {
  do throws(Malformed) { return try STUNMessage(bytes.rawSpan).verifiesIntegrity(key: key) } catch { return false }
}

func verifiesSHA256(_ bytes: [UInt8], key: [UInt8]) -> Bool {
  do throws(Malformed) {
    return try STUNMessage(bytes.rawSpan).verifiesIntegritySHA256(key: key)
  } catch {
    return false
  }
}

func isAccepted(_ bytes: [UInt8]) -> Bool { isAccepted(bytes.rawSpan) }

func unhex(_ text: String) -> [UInt8]? { TestSupport.bytes(hex: text) }

/// A titled block of hexadecimal lines.
struct HexBlock: Sendable, CustomTestStringConvertible {
  var title: String
  var bytes: [UInt8]
  var testDescription: String { title }

  static func read(_ file: String) throws -> [HexBlock] {
    var blocks: [(title: String, hex: String)] = []
    for line in try Vectors.text(file).split(separator: "\n") where !line.hasPrefix("#") {
      if line.allSatisfy(\.isHexDigit) {
        if !blocks.isEmpty { blocks[blocks.count - 1].hex += line }
      } else {
        blocks.append((String(line), ""))
      }
    }
    var result: [HexBlock] = []
    for block in blocks where !block.hex.isEmpty {
      result.append(HexBlock(title: block.title, bytes: try #require(unhex(block.hex))))
    }
    return result
  }

  static let malformedFile = "rfc/stun-types-and-malformed.txt"
  static func named(_ title: String) throws -> [UInt8] {
    try #require(try read(malformedFile).first { $0.title == title }).bytes
  }
}

/// Every whole message of the vector files.
func allMessages() throws -> [[UInt8]] {
  let published = try VectorRecord.read("rfc/stun-rfc5769-rfc8489.txt").compactMap { $0.bytes("message") }
  return published + (try HexBlock.read(HexBlock.malformedFile).map(\.bytes))
}
