// ControlMessageTests.swift — DCEP on the wire: the vectors, every truncation, and bytes that lie.

import DataChannel
import SCTP
import TestSupport
import Testing
import Wire

/// The examples of `dcep-rfc8832.txt`: a line that says what, then a line of hexadecimal.
private func vectors(_ kind: String) throws -> [(name: String, bytes: [UInt8])] {
  var found: [(String, [UInt8])] = []
  var name: String?
  for line in try Vectors.text("rfc/dcep-rfc8832.txt").split(separator: "\n") where !line.hasPrefix("#") {
    if let open = name {
      let bytes = line == "(zero bytes)" ? [] : bytes(hex: line)
      if open.hasPrefix(kind + ":") { found.append((open, try #require(bytes))) }
      name = nil
    } else {
      name = String(line)
    }
  }
  return found
}

private func parse(_ bytes: [UInt8]) -> Result<ControlMessage, Malformed> {
  do throws(Malformed) { return .success(try ControlMessage(parsing: bytes.rawSpan)) } catch { return .failure(error) }
}

@Suite struct ControlMessageTests {
  /// What the vector file's OPENs say, in its order.
  private static let opens: [ChannelParameters] = [
    ChannelParameters(label: "chat"),
    ChannelParameters(isOrdered: false),
    ChannelParameters(label: "game", subprotocol: "v1", reliability: .maximumRetransmits(3), priority: 128),
    ChannelParameters(label: "u", isOrdered: false, reliability: .maximumRetransmits(0), priority: 512),
    ChannelParameters(label: "t", reliability: .maximumLifetime(milliseconds: 1500), priority: 1024),
    ChannelParameters(
      label: "•", subprotocol: "€", isOrdered: false, reliability: .maximumLifetime(milliseconds: .max)),
  ]

  @Test func vectorsAreReadAndWritten() throws {
    let vectors = try vectors("open")
    #expect(vectors.count == Self.opens.count)
    for (vector, parameters) in zip(vectors, Self.opens) {
      #expect(parse(vector.bytes) == .success(.open(parameters)), "\(vector.name)")
      #expect(parameters.openMessage() == vector.bytes, "\(vector.name)")
    }
    let acknowledgements = try Self.bytesOf("ack")
    #expect(acknowledgements == [ControlMessage.acknowledgement])
    #expect(parse(ControlMessage.acknowledgement) == .success(.acknowledge))
  }

  @Test func everyBadVectorIsRefused() throws {
    let errors = try vectors("bad").map { vector -> Malformed? in
      switch parse(vector.bytes) {
      case .success(let message):
        Issue.record("\(vector.name) was read as \(message)")
        return nil
      case .failure(let error): return error
      }
    }
    #expect(
      errors == [
        .truncated, .truncated, .truncated, .truncated, .badLength, .badValue, .badValue, .badValue, .badLength,
      ])
  }

  @Test func truncatedAtEveryLength() {
    let whole = Self.opens[2].openMessage()
    for count in 0..<whole.count {
      #expect(parse(Array(whole[..<count])) == .failure(.truncated), "\(count) bytes")
    }
    #expect(parse(whole + [0]) == .failure(.badLength))
  }

  @Test func unknownTypesAreNotErrors() {
    for type in UInt8.min...UInt8.max where type != 2 && type != 3 {
      #expect(parse([type, 1, 2]) == .success(.unknown(type: type)))
    }
  }

  @Test func everyChannelType() {
    for type in UInt8.min...UInt8.max {
      let result = parse([3, type, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0])
      let isOrdered = type < 0x80
      switch type & 0x7f {
      case 0:
        #expect(
          result == .success(.open(ChannelParameters(isOrdered: isOrdered, priority: 0))), "reliable: 7 is ignored")
      case 1:
        let expected = ChannelParameters(isOrdered: isOrdered, reliability: .maximumRetransmits(7), priority: 0)
        #expect(result == .success(.open(expected)))
      case 2:
        let expected = ChannelParameters(
          isOrdered: isOrdered, reliability: .maximumLifetime(milliseconds: 7), priority: 0)
        #expect(result == .success(.open(expected)))
      default:
        #expect(result == .failure(.badValue), "type \(type)")
      }
    }
  }

  @Test func largeReliabilityParametersAreClamped() {
    for parameter: [UInt8] in [[0, 1, 0, 0], [0xff, 0xff, 0xff, 0xff]] {
      let expected = ChannelParameters(reliability: .maximumRetransmits(.max), priority: 0)
      #expect(parse([3, 1, 0, 0] + parameter + [0, 0, 0, 0]) == .success(.open(expected)))
    }
  }

  @Test("labels and protocols of 65,535 bytes, one byte or three to the character")
  func longestTexts() {
    for unit in ["x", "€"] {
      let text = String(repeating: unit, count: 65_535 / unit.utf8.count)
      let parameters = ChannelParameters(label: text, subprotocol: text)
      let message = parameters.openMessage()
      #expect(message.count == 12 + 2 * 65_535)
      #expect(parse(message) == .success(.open(parameters)))
    }
  }

  @Test("bytes that lie are refused or read, never worse", arguments: 1...20 as ClosedRange<UInt64>)
  func mutations(seed: UInt64) {
    var random = RandomSource.seeded(state: seed)
    for _ in 0..<500 {
      var message = Self.opens[Int.random(in: 0..<Self.opens.count, using: &random)].openMessage()
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<message.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: message[at] = UInt8.random(in: .min ... .max, using: &random)
        case 1: message.insert(UInt8.random(in: .min ... .max, using: &random), at: at)
        default: if message.count > 1 { message.remove(at: at) }
        }
      }
      // What is read means the same when it is written again.
      if case .success(.open(let parameters)) = parse(message) {
        #expect(parse(parameters.openMessage()) == .success(.open(parameters)), "seed \(seed)")
      }
    }
  }

  private static func bytesOf(_ kind: String) throws -> [[UInt8]] { try vectors(kind).map(\.bytes) }
}
