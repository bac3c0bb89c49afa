// SkipScenario.swift — one row of the tables of RFC 3758 and RFC 8260 §2.3: what arrives, what is skipped, what comes out.
//
// A row is written as three words. `sends` has a letter for each TSN from 1: the same letter is one message, which is
// ordered when the letter is a capital; letters of the second half of the alphabet travel on stream 2, the others on
// stream 1. `steps` says what reaches the receiver: a number is that TSN, `f4` a FORWARD-TSN up to TSN 4. `delivers` names
// the messages in the order in which the receiver must hand them over.

import SCTP
import SCTPTestSupport
import Testing
import Wire

/// Which chunks carry the messages.
enum ChunkKind: String, Sendable, CustomTestStringConvertible {
  /// DATA and FORWARD-TSN.
  case data
  /// I-DATA and I-FORWARD-TSN.
  case interleaved
  var testDescription: String { rawValue }
}

struct SkipScenario: Sendable, CustomTestStringConvertible {
  struct Message: Sendable {
    var letter: Character
    var isOrdered: Bool
    var stream: UInt16
    /// The number within its stream; ordered and unordered ones are counted apart.
    var number: UInt16
    var tsns: ClosedRange<UInt32>

    /// Fragment `index` holds so many bytes of the letter.
    func payload(_ index: UInt32) -> [UInt8] {
      [UInt8](repeating: letter.asciiValue ?? 0, count: Int(index) + 3)
    }
    var whole: [UInt8] { (0..<UInt32(tsns.count)).flatMap { payload($0) } }
  }

  enum Step: Sendable {
    case data(UInt32)
    case skip(UInt32)
  }

  var name: String
  var messages: [Message] = []
  var steps: [Step]
  var delivers: String
  var testDescription: String { name }

  init(_ sends: String, _ steps: String, _ delivers: String) {
    name = "\(sends): \(steps) → \(delivers)"
    self.delivers = delivers
    self.steps = steps.split(separator: " ").map { word in
      word.hasPrefix("f") ? .skip(UInt32(word.dropFirst()) ?? 0) : .data(UInt32(word) ?? 0)
    }
    var counts: [String: UInt16] = [:]
    for (offset, letter) in sends.enumerated() {
      let tsn = UInt32(offset + 1)
      if let last = messages.indices.last, messages[last].letter == letter {
        messages[last].tsns = messages[last].tsns.lowerBound...tsn
        continue
      }
      let stream: UInt16 = letter.lowercased() >= "n" ? 2 : 1
      let key = "\(stream)\(letter.isUppercase)"
      messages.append(
        Message(
          letter: letter, isOrdered: letter.isUppercase, stream: stream, number: counts[key, default: 0],
          tsns: tsn...tsn))
      counts[key, default: 0] += 1
    }
  }

  private func chunk(_ tsn: UInt32, _ kind: ChunkKind) throws -> [UInt8] {
    let message = try #require(messages.first { $0.tsns.contains(tsn) })
    let index = tsn - message.tsns.lowerBound
    var flags: DataFlags = message.isOrdered ? [] : .unordered
    if tsn == message.tsns.lowerBound { flags.insert(.begin) }
    if tsn == message.tsns.upperBound { flags.insert(.end) }
    let payload = message.payload(index)
    let wire = TSN(rawValue: Tester.initialTSN &+ tsn - 1)
    switch kind {
    case .data:
      return data(wire, payload, stream: message.stream, ssn: message.isOrdered ? message.number : 0, flags: flags)
    case .interleaved:
      return interleavedData(
        wire, payload, stream: message.stream, mid: UInt32(message.number), fragment: index, flags: flags)
    }
  }

  /// What a sender names when it gives up all that has not arrived up to `target`: the last number of each stream.
  private func skipped(to target: UInt32, arrived: Set<UInt32>) -> [Message] {
    var last: [String: Message] = [:]
    for message in messages where message.tsns.lowerBound <= target {
      guard !message.tsns.allSatisfy(arrived.contains) else { continue }
      last["\(message.stream)\(message.isOrdered)"] = message
    }
    return last.values.sorted { $0.tsns.lowerBound < $1.tsns.lowerBound }
  }

  private func skip(to target: UInt32, arrived: Set<UInt32>, _ kind: ChunkKind) -> [UInt8] {
    let list = skipped(to: target, arrived: arrived)
    let wire = TSN(rawValue: Tester.initialTSN &+ target - 1)
    switch kind {
    case .data: return forwardTSN(wire, list.filter(\.isOrdered).map { ($0.stream, $0.number) })
    case .interleaved:
      return interleavedForwardTSN(
        wire,
        list.map {
          SkippedMessage(stream: $0.stream, isUnordered: !$0.isOrdered, mid: MID(rawValue: UInt32($0.number)))
        })
    }
  }

  /// - Parameter isSorted: the messages are compared by TSN, not in the order in which they were delivered.
  func run(_ kind: ChunkKind, isSorted: Bool = false) throws {
    var tester = try Tester.established(kind)
    var arrived: Set<UInt32> = []
    var passed: UInt32 = 0
    for step in steps {
      switch step {
      case .data(let tsn):
        tester.hand(try chunk(tsn, kind))
        arrived.insert(tsn)
      case .skip(let target):
        tester.hand(skip(to: target, arrived: arrived, kind))
        passed = max(passed, target)
      }
      let state = tester.state
      #expect(state == .established, "\(name)")
      // The cumulative TSN: everything up to it has come or is skipped.
      var cumulative = passed
      while arrived.contains(cumulative + 1) { cumulative += 1 }
      let reached = tester.unit.association.receivedTSN
      #expect(reached == TSN(rawValue: Tester.initialTSN &+ cumulative &- 1), "\(name)")
      let consistent = tester.unit.association.isConsistent
      #expect(consistent, "\(name)")
    }
    let letters = tester.received.compactMap { $0.first.map { Character(UnicodeScalar($0)) } }
    for stream in [1, 2] as [UInt16] {
      let own = messages.filter { $0.stream == stream && $0.isOrdered }.map(\.letter)
      let inOrder = letters.filter(own.contains)
      #expect(inOrder == own.filter(inOrder.contains), "\(name)")
    }
    let sent = messages.map(\.letter)
    #expect(String(isSorted ? sent.filter(letters.contains) : letters) == delivers, "\(name)")
    #expect(Set(letters).count == letters.count, "\(name)")
    for payload in tester.received { #expect(messages.contains { $0.whole == payload }, "\(name)") }
    try checkAfterwards(&tester, arrived, kind)
  }

  /// Everything that is still missing is given up: nothing stays behind, and both streams go on.
  private func checkAfterwards(_ tester: inout Tester, _ arrived: Set<UInt32>, _ kind: ChunkKind) throws {
    let last = UInt32(messages.last?.tsns.upperBound ?? 0)
    tester.hand(skip(to: last, arrived: arrived, kind))
    let held = tester.unit.association.heldBytes
    #expect(held == 0, "\(name)")
    let count = tester.received.count
    for (offset, stream) in ([1, 2] as [UInt16]).enumerated() {
      let number = UInt16(messages.filter { $0.stream == stream && $0.isOrdered }.count)
      let wire = TSN(rawValue: Tester.initialTSN &+ last &+ UInt32(offset))
      tester.hand(
        kind == .data
          ? data(wire, [7], stream: stream, ssn: number)
          : interleavedData(wire, [7], stream: stream, mid: UInt32(number), fragment: 0, flags: .whole))
    }
    #expect(tester.received.dropFirst(count) == [[7], [7]], "\(name)")
  }
}

extension Tester {
  /// Up, with or without RFC 8260.
  static func established(_ kind: ChunkKind) throws -> Tester {
    guard kind == .interleaved else { return try established() }
    let list = [ChunkType.reconfig, ChunkType.forwardTSN, ChunkType.interleavedData, ChunkType.interleavedForwardTSN]
    return try established(
      .plain { $0.offersInterleaving = true },
      parameters: cookie + parameter(ParameterType.forwardTSNSupported)
        + parameter(ParameterType.supportedExtensions, list))
  }
}

func interleavedData(
  _ tsn: TSN, _ payload: [UInt8], stream: UInt16 = 1, mid: UInt32 = 0, fragment: UInt32 = 0,
  flags: DataFlags = .whole
) -> [UInt8] {
  collectBytes(capacity: payload.count + 32) { out in
    InterleavedDataHeader(
      flags: flags, tsn: tsn, stream: stream, mid: MID(rawValue: mid), fragment: fragment, payloadProtocol: 53
    ).write(userDataCount: payload.count, into: &out)
    out.writeBytes(payload)
    out.writePadding(after: payload.count)
  }
}

func interleavedForwardTSN(_ tsn: TSN, _ skipped: [SkippedMessage] = []) -> [UInt8] {
  collectBytes(capacity: 64 + 8 * skipped.count) { out in
    InterleavedForwardTSNChunk.write(newCumulativeTSN: tsn, skipped: skipped, into: &out)
  }
}
