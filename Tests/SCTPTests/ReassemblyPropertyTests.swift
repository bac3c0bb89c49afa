// ReassemblyPropertyTests.swift — random messages, cut at random, through a network that reorders, duplicates and gives
// up: what is delivered, and when, is what a simple model says.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct ReassemblyPropertyTests {
  /// A sender with its messages, a network without order, and the model of a receiver that knows everything.
  private struct Model {
    struct Message {
      var draft: Draft
      /// Sequence of messages that have an order: stream, and whether ordered.
      var arrived: Set<Int> = []
      var isAbandoned = false
      var isDelivered = false

      var isWhole: Bool { arrived.count == draft.fragments.count }
    }

    let interleaved: Bool
    let start: TSN
    var dice: RandomSource
    var messages: [Message] = []
    /// For each TSN from the first on: which fragment of which message it carries.
    var chunks: [(message: Int, fragment: Int)] = []
    /// TSNs, as offsets, that have arrived or were skipped.
    var passed: Set<Int> = []
    /// TSNs that are on their way, and will come or be lost.
    var pending: [Int] = []
    /// All offsets below have passed.
    var cumulative = 0
    /// For each stream the number that is delivered next.
    var next: [UInt16: UInt32] = [:]
    let firstNumber: UInt32

    init(seed: UInt64, interleaved: Bool) {
      self.interleaved = interleaved
      dice = .seeded(state: seed)
      start = TSN(rawValue: UInt32.max - UInt32(dice.next() % 200))
      firstNumber = interleaved ? UInt32.max - UInt32(dice.next() % 12) : 0xffff - UInt32(dice.next() % 12)
      makeMessages(count: 60)
      makeChunks()
    }

    mutating func roll(_ n: Int) -> Int { Int(dice.next() % UInt64(n)) }

    private mutating func makeMessages(count: Int) {
      var numbers: [Int: UInt32] = [:]
      for index in 0..<count {
        let stream = roll(4)
        let isOrdered = roll(3) > 0
        // DATA does not number what has no order.
        let sequence = 2 * stream + (isOrdered ? 1 : 0)
        let number = numbers[sequence] ?? firstNumber
        numbers[sequence] = number &+ 1
        let fragments = roll(2) == 0 ? 1 : 2 + roll(6)
        messages.append(
          Message(
            draft: Draft(
              stream: UInt16(stream), isOrdered: isOrdered, number: number,
              fragments: (0..<fragments).map { pattern(1 + roll(40), 10 * index + $0) })))
      }
      for stream in 0..<4 as Range<UInt16> { next[stream] = firstNumber }
    }

    /// The order in which the sender lets fragments go: messages of different streams may alternate with I-DATA.
    private mutating func makeChunks() {
      var open: [(message: Int, fragment: Int)] = []
      var waiting = Array(messages.indices)
      while !open.isEmpty || !waiting.isEmpty {
        if open.count < (interleaved ? 4 : 1), !waiting.isEmpty, open.isEmpty || roll(2) == 0 {
          let busy = open.map { messages[$0.message].draft }
          let found = waiting.firstIndex { candidate in
            let draft = messages[candidate].draft
            return !busy.contains { $0.stream == draft.stream && $0.isOrdered == draft.isOrdered }
          }
          if let found { open.append((waiting.remove(at: found), 0)) }
        }
        let turn = roll(open.count)
        chunks.append(open[turn])
        open[turn].fragment += 1
        if open[turn].fragment == messages[open[turn].message].draft.fragments.count { open.remove(at: turn) }
      }
      pending = Array(chunks.indices)
    }

    func tsn(_ offset: Int) -> TSN { start.advanced(by: UInt32(offset)) }

    func piece(_ offset: Int) -> Piece {
      messages[chunks[offset].message].draft.piece(chunks[offset].fragment, tsn: tsn(offset))
    }

    /// Messages that are whole and in their turn, and were not before.
    mutating func deliverable() -> [[UInt8]] {
      var result: [[UInt8]] = []
      for index in messages.indices where !messages[index].isDelivered && messages[index].isWhole {
        let draft = messages[index].draft
        guard !draft.isOrdered else { continue }
        messages[index].isDelivered = true
        result.append(draft.payload)
      }
      var moved = true
      while moved {
        moved = false
        for index in messages.indices where !messages[index].isDelivered && messages[index].isWhole {
          let draft = messages[index].draft
          guard draft.isOrdered, next[draft.stream] == draft.number else { continue }
          messages[index].isDelivered = true
          next[draft.stream] = draft.number &+ 1
          result.append(draft.payload)
          moved = true
        }
      }
      return result
    }

    mutating func note(_ offset: Int) -> [[UInt8]] {
      passed.insert(offset)
      while passed.contains(cumulative) { cumulative += 1 }
      messages[chunks[offset].message].arrived.insert(chunks[offset].fragment)
      return deliverable()
    }

    /// Gives up the message of the oldest chunk that is missing, and says how far the receiver may go on then.
    mutating func abandon() -> (target: Int, skipped: [SkippedMessage], due: [[UInt8]])? {
      guard cumulative < chunks.count else { return nil }
      let victim = chunks[cumulative].message
      messages[victim].isAbandoned = true
      // What is under way may still come, but not what the receiver is told to do without.
      var furthest = cumulative
      while furthest < chunks.count, messages[chunks[furthest].message].isAbandoned { furthest += 1 }
      let end = cumulative + 1 + roll(furthest - cumulative)
      var largest: [Int: (at: UInt32, entry: SkippedMessage)] = [:]
      var due: [[UInt8]] = []
      for offset in cumulative..<end where messages[chunks[offset].message].isAbandoned {
        let draft = messages[chunks[offset].message].draft
        let sequence = 2 * Int(draft.stream) + (draft.isOrdered ? 1 : 0)
        let place = draft.number &- firstNumber
        if let known = largest[sequence], known.at >= place { continue }
        largest[sequence] = (
          place, SkippedMessage(draft.stream, draft.number, unordered: !draft.isOrdered)
        )
      }
      for offset in cumulative..<end { passed.insert(offset) }
      while passed.contains(cumulative) { cumulative += 1 }
      pending.removeAll { $0 < end }
      for (_, skipped) in largest.sorted(by: { $0.key < $1.key }) where !skipped.entry.isUnordered {
        let stream = skipped.entry.stream
        // Waiting ones before it have their turn now.
        for index in messages.indices where messages[index].isWhole && !messages[index].isDelivered {
          let draft = messages[index].draft
          guard draft.isOrdered, draft.stream == stream, draft.number &- firstNumber < skipped.at else { continue }
          messages[index].isDelivered = true
          due.append(draft.payload)
        }
        if skipped.at >= (next[stream] ?? 0) &- firstNumber { next[stream] = skipped.entry.mid.rawValue &+ 1 }
      }
      return (end, largest.values.map(\.entry), due + deliverable())
    }

    /// Bytes of messages that will be whole, and are held until then.
    var heldForSure: Int {
      messages.filter { !$0.isDelivered && !$0.isAbandoned }.reduce(0) { sum, message in
        sum + message.arrived.reduce(0) { $0 + message.draft.fragments[$1].count }
      }
    }
  }

  private func run(seed: UInt64, interleaved: Bool) throws {
    var model = Model(seed: seed, interleaved: interleaved)
    var receiver = DataReceiver(model.start, firstNumber: model.firstNumber)
    while !model.pending.isEmpty {
      var expected: [[UInt8]] = []
      switch model.roll(12) {
      case 0:
        if let old = model.passed.randomElement(using: &model.dice) {
          let outcome = receiver.take(model.piece(old), interleaved: interleaved)
          #expect(outcome == .duplicate, "seed \(seed)")
        }
      case 1 where !model.passed.contains(model.cumulative):
        guard let (target, skipped, due) = model.abandon() else { continue }
        expected = due
        let outcome = try receiver.skip(to: model.tsn(target - 1), skipped, interleaved: interleaved)
        #expect(outcome == .taken, "seed \(seed)")
      default:
        let place = model.roll(min(20, model.pending.count))
        let offset = model.pending.remove(at: place)
        let outcome = receiver.take(model.piece(offset), interleaved: interleaved)
        #expect(outcome == .taken, "seed \(seed)")
        expected = model.note(offset)
      }
      let received = receiver.drain().map(\.payload)
      // Several streams may go on at once: their order among each other does not matter.
      #expect(received.count == expected.count && Set(received) == Set(expected), "seed \(seed)")
      #expect(receiver.tracker.cumulativeTSN == model.tsn(model.cumulative).reversed(by: 1), "seed \(seed)")
      let consistent = receiver.reassembly.isConsistent
      let held = receiver.reassembly.heldBytes
      #expect(consistent && held >= model.heldForSure, "seed \(seed)")
      if !model.messages.contains(where: \.isAbandoned) { #expect(held == model.heldForSure, "seed \(seed)") }
    }
    #expect(model.cumulative == model.chunks.count && !receiver.tracker.hasGap)
    let left = [receiver.reassembly.heldBytes, receiver.reassembly.heldCount, receiver.usedBytes]
    #expect(left == [0, 0, 0], "seed \(seed)")
    let missing = model.messages.filter { !$0.isAbandoned && !$0.isDelivered }
    #expect(missing.isEmpty, "seed \(seed)")
  }

  @Test("DATA", arguments: 1...300 as ClosedRange<UInt64>)
  func data(seed: UInt64) throws { try run(seed: seed, interleaved: false) }

  @Test("I-DATA", arguments: 1...300 as ClosedRange<UInt64>)
  func interleavedData(seed: UInt64) throws { try run(seed: seed, interleaved: true) }
}
