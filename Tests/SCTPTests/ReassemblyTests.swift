// ReassemblyTests.swift — fragments in every order.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct ReassemblyTests {
  @Test("two messages of three fragments, in all 720 orders, each fragment twice", arguments: [true, false])
  func everyOrder(ordered: Bool) {
    var world = World.connected()
    let extra: DataFlags = ordered ? [] : .unordered
    for order in permutations(6) {
      world.b.messages.removeAll()
      let first = world.tsn(1)
      let ssn = world.b.association.statistics.messagesReceived
      for index in order {
        let flags: [DataFlags] = [.begin, [], .end]
        let chunk = data(
          first.advanced(by: UInt32(index)), [UInt8](repeating: UInt8(index), count: 1 + index),
          ssn: UInt16(truncatingIfNeeded: Int(ssn) + index / 3), flags: flags[index % 3].union(extra))
        world.inject(chunk, chunk)
        let consistent = world.b.association.isConsistent
        #expect(consistent)
      }
      let messages = world.b.messages.map(\.payload)
      let expected: [[UInt8]] = [[0, 1, 1, 2, 2, 2], [3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5]]
      // Unordered messages come when they are complete.
      #expect(ordered ? messages == expected : Set(messages) == Set(expected) && messages.count == 2, "\(order)")
      let held = world.b.association.heldBytes
      #expect(held == 0)
    }
  }

  /// Two messages of three fragments that alternate.
  private func alternating(_ streams: [UInt16], ordered: Bool, first: UInt32) -> [Draft] {
    (0..<2).map { index in
      Draft(
        stream: streams[index], isOrdered: ordered,
        number: streams[0] == streams[1] ? first &+ UInt32(index) : first,
        fragments: (0..<3).map { pattern(1 + $0 + 3 * index, index) })
    }
  }

  @Test(
    "I-DATA: two messages whose fragments alternate, in all 720 orders, each twice; their numbers wrap in between",
    arguments: [true, false], [[1, 1], [1, 2]] as [[UInt16]])
  func everyOrderInterleaved(ordered: Bool, streams: [UInt16]) {
    let drafts = alternating(streams, ordered: ordered, first: .max)
    let start = TSN(rawValue: 0xffff_fffd)
    let pieces = (0..<6).map { drafts[$0 % 2].piece($0 / 2, tsn: start.advanced(by: UInt32($0))) }
    for order in permutations(6) {
      var receiver = DataReceiver(start, firstNumber: .max)
      var received: [IncomingMessage] = []
      for index in order {
        let outcomes = [
          receiver.take(pieces[index], interleaved: true), receiver.take(pieces[index], interleaved: true),
        ]
        #expect(outcomes == [.taken, .duplicate])
        received += receiver.drain()
        let consistent = receiver.reassembly.isConsistent
        #expect(consistent)
      }
      let expected = drafts.map(\.payload)
      let payloads = received.map(\.payload)
      let inOrder = ordered && streams[0] == streams[1]
      #expect(inOrder ? payloads == expected : Set(payloads) == Set(expected) && payloads.count == 2, "\(order)")
      let left = [receiver.reassembly.heldBytes, receiver.reassembly.heldCount, receiver.usedBytes]
      #expect(left == [0, 0, 0] && received.allSatisfy { $0.payloadProtocol == .binary })
    }
  }

  @Test(
    "numbers that wrap: 40 ordered messages around the end of the number space, the later half of each four first",
    arguments: [(true, UInt32.max - 19), (false, 0xffec)])
  func numbersWrap(interleaved: Bool, first: UInt32) {
    let start = TSN(rawValue: 100)
    var receiver = DataReceiver(start, firstNumber: first)
    var received: [[UInt8]] = []
    for group in 0..<10 {
      for index in [2, 3, 0, 1] {
        let step = UInt32(4 * group + index)
        let draft = Draft(stream: 7, isOrdered: true, number: first &+ step, fragments: [[UInt8(step)]])
        let outcome = receiver.take(draft.piece(0, tsn: start.advanced(by: step)), interleaved: interleaved)
        #expect(outcome == .taken)
      }
      received += receiver.drain().map(\.payload)
    }
    #expect(received == (0..<40).map { [UInt8($0)] })
    let held = receiver.reassembly.heldCount
    #expect(held == 0)
  }

  @Test("a run beyond a gap is one thing held, however many fragments it has; a hole of its own makes two")
  func runs() {
    let start = TSN(rawValue: 0xffff_fff0)
    var receiver = DataReceiver(start)
    let draft = Draft(stream: 1, isOrdered: true, number: 1, fragments: (0..<100).map { pattern(1_000, $0) })
    func piece(_ fragment: Int) -> Piece { draft.piece(fragment, tsn: start.advanced(by: UInt32(1 + fragment))) }
    for fragment in 0..<60 where fragment != 30 { _ = receiver.take(piece(fragment), interleaved: false) }
    #expect(receiver.reassembly.heldCount == 2)
    // Without having been joined yet: both belong to one message that is not whole.
    _ = receiver.take(piece(30), interleaved: false)
    for fragment in (60..<100).reversed() { _ = receiver.take(piece(fragment), interleaved: false) }
    // Whole now, and waits for the first message of its stream.
    let before = [receiver.reassembly.heldCount, receiver.reassembly.heldBytes, receiver.reassembly.deliveredCount]
    #expect(before == [1, 100_000, 0])
    _ = receiver.take(
      Draft(stream: 1, isOrdered: true, number: 0, fragments: [[9]]).piece(0, tsn: start), interleaved: false)
    let received = receiver.drain().map(\.payload)
    #expect(received == [[9], draft.payload])
  }

  @Test("a stream's reset puts its numbers back to 0, ordered and unordered, and lets go of what was begun")
  func resetBeginsAnew() {
    var world = World.interleaving()
    world.inject(
      interleavedData(world.tsn(1), [1], mid: 0), interleavedData(world.tsn(2), [2], mid: 1),
      interleavedData(world.tsn(3), [3], mid: 0, flags: [.whole, .unordered]),
      interleavedData(world.tsn(4), [4], stream: 2, mid: 0),
      interleavedData(world.tsn(5), [5], mid: 1, flags: [.begin, .unordered]),
      interleavedData(world.tsn(6), [6], mid: 3))
    let number = world.b.association.receivedTSN.advanced(by: 1).rawValue &- 6
    world.inject(resetRequest(number, lastTSN: world.tsn(0), [1]))
    #expect(world.b.events == [.incomingStreamsReset([1])])
    let held = world.b.association.heldBytes
    #expect(held == 0)
    world.inject(
      interleavedData(world.tsn(1), [7], mid: 0), interleavedData(world.tsn(2), [8], stream: 2, mid: 1),
      interleavedData(world.tsn(3), [9], mid: 0, flags: [.begin, .unordered]),
      interleavedData(world.tsn(4), [10], mid: 0, fragment: 1, flags: [.end, .unordered]))
    let received = world.b.messages.map(\.payload)
    #expect(received == [[1], [2], [3], [4], [7], [8], [9, 10]])
  }
}
