// InterleavingAttackTests.swift — what a hostile peer may try with I-DATA and I-FORWARD-TSN (RFC 8260): the attacks of the
// catalogue that concern receiving, each by its name.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct InterleavingAttackTests {
  @Test(
    "C8: I-FORWARD-TSN far ahead or behind changes nothing; by as much as is tracked, it skips; one more is refused")
  func c8ForwardTSN() throws {
    var world = World.interleaving()
    let start = world.tsn(0)
    for far in [0x7fff_ffff, 32_769, 40_000] as [UInt32] { world.inject(interleavedForwardTSN(world.tsn(far))) }
    world.inject(interleavedForwardTSN(start.reversed(by: 5), [SkippedMessage(1, 9)]))
    #expect(world.tsn(0) == start)
    world.inject(interleavedForwardTSN(world.tsn(1), [SkippedMessage(65_535, 7), SkippedMessage(1, 0)]))
    world.inject(interleavedData(world.tsn(1), [1], mid: 0), interleavedData(world.tsn(2), [2], mid: 1))
    #expect(world.b.messages.map(\.payload) == [[2]])
    world.inject(interleavedForwardTSN(world.tsn(32_768)))
    #expect(world.tsn(0) == start.advanced(by: 3 + 32_768))
    let refused = world.b.association.statistics.chunksRefused
    #expect(refused == 3)
  }

  @Test("C8: an I-FORWARD-TSN whose entries are cut off is malformed", arguments: [1, 4, 7, 9])
  func c8Truncated(count: Int) {
    var world = World.interleaving()
    let start = world.tsn(0)
    let dropped = world.b.association.statistics.packetsDropped
    world.inject(rawChunk(ChunkType.interleavedForwardTSN, [0, 0, 0, 1] + pattern(count)))
    #expect(world.b.association.statistics.packetsDropped == dropped + 1 && world.tsn(0) == start)
  }

  @Test("C9: a stream that is named twice is skipped to the largest MID; one that lies behind changes nothing")
  func c9Duplicates() {
    var world = World.interleaving()
    for mid in [1, 3, 6, 9] as [UInt32] { world.inject(interleavedData(world.tsn(2 + mid), [UInt8(mid)], mid: mid)) }
    let skipped = [SkippedMessage(1, 2), SkippedMessage(1, 5), SkippedMessage(1, 4), SkippedMessage(1, .max)]
    world.inject(interleavedForwardTSN(world.tsn(1), skipped))
    #expect(world.b.messages.map(\.payload) == [[1], [3], [6]])
    world.inject(interleavedForwardTSN(world.tsn(1), [SkippedMessage(1, 3)]))
    #expect(world.b.messages.count == 3)
    world.inject(interleavedForwardTSN(world.tsn(2), [SkippedMessage(1, 8)]))
    #expect(world.b.messages.map(\.payload) == [[1], [3], [6], [9]])
  }

  @Test("C9: MIDs that lie far ahead, thousands of times: what is skipped costs by what is held")
  func c9FarMIDs() throws {
    var receiver = DataReceiver(TSN(rawValue: 0), window: 16 << 20)
    for index in 0..<4_000 as Range<UInt32> {
      let draft = Draft(stream: 1, isOrdered: index % 2 == 0, number: 0x4000_0000 &+ index, fragments: [[1], [2]])
      let outcome = receiver.take(draft.piece(0, tsn: TSN(rawValue: 1 + index)), interleaved: true)
      #expect(outcome == .taken)
    }
    // A walk along the numbers would be 2^41 steps.
    for step in 0..<1_000 as Range<UInt32> {
      let mid = step &* 0x10_0000
      _ = try receiver.skip(to: TSN(rawValue: 4_000 + step), [SkippedMessage(2, mid)], interleaved: true)
    }
    #expect(receiver.reassembly.heldCount == 4_000)
    let last = [SkippedMessage(1, 0x7fff_ffff), SkippedMessage(1, 0x7fff_ffff, unordered: true)]
    _ = try receiver.skip(to: TSN(rawValue: 5_100), last, interleaved: true)
    #expect(receiver.reassembly.heldCount == 0)
  }

  @Test("C10: each kind of data, and of FORWARD-TSN, is a protocol violation where the other was agreed on")
  func c10WrongKind() throws {
    for interleaved in [true, false] {
      for isData in [true, false] {
        var world = interleaved ? World.interleaving() : World.connected()
        let chunk =
          switch (interleaved, isData) {
          case (true, true): data(world.tsn(1), [1])
          case (true, false): forwardTSN(world.tsn(1))
          case (false, true): interleavedData(world.tsn(1), [1])
          case (false, false): interleavedForwardTSN(world.tsn(1))
          }
        world.inject(chunk)
        let answers = try world.answers()
        #expect(answers.count == 1 && answers[0][0].type == ChunkType.abort)
        #expect(answers[0][0].value.prefix(2) == [0, 13])
        #expect(world.b.messages.isEmpty && world.b.association.state == .closed)
      }
    }
  }

  @Test("C13: the first fragments of 65,535 messages, one byte each, in order: the window shuts on them")
  func c13ReassemblyExhaustion() throws {
    for streams in [65_535, 1] as [UInt32] {
      var world = World.interleaving()
      for index in 0..<65_535 as Range<UInt32> {
        let (stream, mid) = streams == 1 ? (1, index) : (UInt16(index), 0)
        let chunk = interleavedData(world.tsn(1), [1], stream: stream, mid: mid, flags: [.begin, .unordered])
        let (tag, now) = (world.b.association.localTag, world.now)
        world.b.handle(craft(tag: tag, chunk), now: now)
      }
      let held = world.b.association.heldBytes
      #expect(held == 8_192)  // with what holding them costs, that is more than the window
      let window = try sacks(of: try world.b.requirePacket(now: world.now)).map(\.window)
      #expect(window == [0] && world.b.association.state == .established)
      world.b.association.abort(now: world.now)
      let after = world.b.association.heldBytes
      #expect(after == 0)
    }
  }

  @Test("C13: 8,192 messages may be incomplete, and one more may not; the known ones go on")
  func c13IncompleteMessages() {
    var receiver = DataReceiver(TSN(rawValue: 1), window: 64 << 20)
    func draft(_ index: UInt32) -> Draft {
      Draft(stream: UInt16(index), isOrdered: false, number: 0, fragments: [[1], [2], [3]])
    }
    for index in 0...8_192 as ClosedRange<UInt32> {
      let outcome = receiver.take(draft(index).piece(0, tsn: TSN(rawValue: 1 + index)), interleaved: true)
      #expect(outcome == (index < 8_192 ? .taken : .refused))
    }
    let more = receiver.take(draft(77).piece(1, tsn: TSN(rawValue: 8_193)), interleaved: true)
    let whole = Draft(stream: 9_000, isOrdered: false, number: 0, fragments: [[4]])
    let alone = receiver.take(whole.piece(0, tsn: TSN(rawValue: 8_194)), interleaved: true)
    let last = receiver.take(draft(77).piece(2, tsn: TSN(rawValue: 8_195)), interleaved: true)
    #expect([more, alone, last] == [.taken, .taken, .taken])
    #expect(receiver.drain().map(\.payload) == [[4], [1, 2, 3]])
    let next = receiver.take(draft(8_192).piece(0, tsn: TSN(rawValue: 8_196)), interleaved: true)
    #expect(next == .taken)
  }

  @Test("C13: 512 holes in one message, and one more is refused until another has closed")
  func c13Holes() {
    let draft = Draft(stream: 1, isOrdered: true, number: 0, fragments: (0..<1_100).map { pattern(3, $0) })
    var receiver = DataReceiver(TSN(rawValue: 0))
    func take(_ fragment: Int) -> DataReceiver.Outcome {
      receiver.take(draft.piece(fragment, tsn: TSN(rawValue: UInt32(fragment))), interleaved: true)
    }
    for hole in 1...513 { #expect(take(2 * hole) == (hole <= 512 ? .taken : .refused)) }
    #expect(receiver.reassembly.heldCount == 513)
    // What grows a run makes no hole.
    #expect([take(1_025), take(0), take(1), take(1_026)] == [.taken, .taken, .taken, .taken])
    let consistent = receiver.reassembly.isConsistent
    #expect(consistent && receiver.reassembly.heldCount == 512)
    for fragment in 0..<1_100 { _ = take(fragment) }
    #expect(receiver.drain().map(\.payload) == [draft.payload])
  }

  @Test("C14: ten times the window is sent in beginnings: what is held ends at the window, and it tells so")
  func c14WindowIgnored() throws {
    var small = SCTPConfiguration()
    small.receiveWindow = 50_000
    small.maximumReceiveWindow = 200_000
    small.maximumIncomingMessageSize = 30_000
    var world = World.interleaving(b: small)
    for index in 0..<2_000 as Range<UInt32> {
      let chunk = interleavedData(
        world.tsn(1), pattern(1_000), stream: UInt16(index % 500), fragment: index / 500,
        flags: index < 500 ? .begin : [])
      world.inject(chunk)
    }
    let held = world.b.association.heldBytes
    #expect(held > 150_000 && held <= 230_000)
    let refused = world.b.association.statistics.chunksRefused
    #expect(refused > 1_700)
    let window = try sacks(of: try world.b.requirePacket(now: world.now)).map(\.window)
    #expect(window == [0])
  }

  @Test("C14: messages that alternate and fill the window before any is whole: it grows, and all of them arrive")
  func c14WindowFullOfBeginnings() {
    var world = World.interleaving()
    let count = 200
    for fragment in 0..<count {
      for stream in 0..<16 as Range<UInt16> {
        let flags: DataFlags = fragment == 0 ? .begin : fragment == count - 1 ? .end : []
        world.inject(
          interleavedData(world.tsn(1), pattern(1_000), stream: stream, fragment: UInt32(fragment), flags: flags))
      }
    }
    #expect(world.b.messages.count == 16 && world.b.association.statistics.chunksRefused == 0)
    let held = world.b.association.heldBytes
    #expect(held == 0)
  }

  @Test("C15: a TSN beyond what is tracked is dropped, the last within it is taken")
  func c15FarTSN() {
    var world = World.interleaving()
    world.inject(interleavedData(world.tsn(32_769), [1]), interleavedData(world.tsn(100_000), [2]))
    #expect(world.b.association.statistics.chunksRefused == 2)
    world.inject(interleavedData(world.tsn(32_768), [3]))
    #expect(world.b.messages.map(\.payload) == [[3]])
  }

  @Test("C16: bytes held are what is held, after any sequence", arguments: 1...60 as ClosedRange<UInt64>)
  func c16Accounting(seed: UInt64) {
    var dice = RandomSource.seeded(state: seed)
    var world = World.interleaving()
    func roll(_ n: UInt64) -> UInt32 { UInt32(dice.next() % n) }
    for _ in 0..<200 where world.b.association.state == .established {
      let tsn = world.tsn(1 + roll(12))
      let unordered = roll(2) == 0
      switch roll(10) {
      case 0:
        world.inject(
          interleavedForwardTSN(world.tsn(roll(4)), [SkippedMessage(UInt16(roll(3)), roll(5), unordered: unordered)]))
      case 1: world.inject(resetRequest(roll(1 << 31), lastTSN: tsn, [0, 1]))
      default:
        // Some seeds contradict themselves, and end there.
        let fragment = roll(4)
        let flags: DataFlags = fragment == 0 ? .begin : fragment == 3 ? .end : []
        world.inject(
          interleavedData(
            tsn, pattern(Int(1 + roll(50))), stream: UInt16(roll(3)), mid: roll(40), fragment: fragment,
            flags: unordered ? flags.union(.unordered) : flags))
      }
      let consistent = world.b.association.isConsistent
      #expect(consistent, "seed \(seed)")
    }
    world.b.association.abort(now: world.now)
    let held = world.b.association.heldBytes
    #expect(held == 0)
  }

  @Test("C26: a reset waits for the I-FORWARD-TSN that overtakes nothing, and the other way round")
  func c26ForwardTSNAndReset() {
    for resetFirst in [true, false] {
      var world = World.interleaving()
      let number = world.b.association.receivedTSN.advanced(by: 1).rawValue
      world.inject(interleavedData(world.tsn(1), [1]))
      let last = world.tsn(2)
      let request = resetRequest(number, lastTSN: last, [1])
      let forward = interleavedForwardTSN(last, [SkippedMessage(1, 1)])
      world.inject(resetFirst ? request : forward)
      world.inject(resetFirst ? forward : request)
      #expect(world.b.events == [.incomingStreamsReset([1])])
      world.inject(interleavedData(world.tsn(1), [2]))
      #expect(world.b.messages.map(\.payload) == [[1], [2]])
    }
  }

  @Test("C27: fragments that contradict each other end the association, and deliver nothing", arguments: 0..<8)
  func c27Chimera(kind: Int) throws {
    for backwards in [false, true] {
      var world = World.interleaving()
      let first = world.tsn(1)
      func fragment(_ step: UInt32, _ number: UInt32, _ flags: DataFlags = []) -> [UInt8] {
        interleavedData(first.advanced(by: step), [UInt8(step)], fragment: number, flags: flags)
      }
      // The first chunk of the association stays missing, so that nothing is in order.
      let list: [[UInt8]] =
        switch kind {
        case 0: [fragment(1, 0, .begin), fragment(2, 0, .begin), fragment(3, 2, .end)]  // begins twice
        case 1: [fragment(1, 0, .begin), fragment(2, 2, .end), fragment(3, 3, .end)]  // ends twice
        case 2: [fragment(1, 3), fragment(2, 5), fragment(3, 3)]  // a fragment twice
        case 3: [fragment(1, 4), fragment(2, 0), fragment(3, 7)]  // the first fragment does not begin
        case 4: [fragment(1, 2, .end), fragment(2, 5), fragment(3, 6)]  // goes on after its end
        case 5: [fragment(1, 0, .begin), fragment(2, 0, .whole), fragment(3, 3)]  // whole, and in fragments
        case 6: [fragment(1, 5), fragment(2, 6), fragment(3, 5)]  // twice, within a run
        default: [fragment(1, 1), fragment(2, 3), fragment(3, 2, .end)]  // ends before a later fragment
        }
      for chunk in backwards ? list.reversed() : list { world.inject(chunk) }
      #expect(world.b.association.state == .closed, "kind \(kind), backwards \(backwards)")
      #expect(world.b.messages.isEmpty || kind == 5 && backwards && world.b.messages.map(\.payload) == [[2]])
      let answer = try world.answers()
      #expect(answer.last?.last?.type == ChunkType.abort)
    }
  }

  @Test("C27: the U bit, the stream and the MID each make another message; no chimera of two is delivered")
  func c27OtherMessages() {
    var world = World.interleaving()
    let first = world.tsn(1)
    world.inject(
      interleavedData(first, [1], flags: .begin),
      interleavedData(first.advanced(by: 1), [2], fragment: 1, flags: [.end, .unordered]),
      interleavedData(first.advanced(by: 2), [3], stream: 2, fragment: 1, flags: .end),
      interleavedData(first.advanced(by: 3), [4], mid: 1, fragment: 1, flags: .end))
    #expect(world.b.messages.isEmpty && world.b.association.state == .established)
    // Three ends without a beginning, in order, are rests of skipped messages.
    let held = world.b.association.heldBytes
    #expect(held == 1)
  }

  @Test("I-DATA without user data is the end, with the cause that says so; too short a chunk is malformed")
  func noUserData() throws {
    var world = World.interleaving()
    let dropped = world.b.association.statistics.packetsDropped
    for count in 0..<16 { world.inject(rawChunk(ChunkType.interleavedData, flags: 3, pattern(count))) }
    #expect(world.b.association.statistics.packetsDropped == dropped + 16)
    world.inject(interleavedData(world.tsn(1), []))
    let answers = try world.answers()
    #expect(answers.count == 1 && answers[0][0].type == ChunkType.abort && answers[0][0].value.prefix(2) == [0, 9])
  }

  @Test("a message longer than announced is refused before it is buffered; one of just that length is delivered")
  func messageTooLong() {
    var small = SCTPConfiguration()
    small.maximumIncomingMessageSize = 5_000
    for (extra, flags) in [(0, []), (1, []), (0, .unordered), (1, .unordered)] as [(Int, DataFlags)] {
      var world = World.interleaving(b: small)
      for fragment in [1, 2, 3, 4, 0] as [UInt32] {
        let place: DataFlags = fragment == 0 ? .begin : fragment == 4 ? .end : []
        let payload = pattern(1_000 + (fragment == 0 ? extra : 0))
        world.inject(
          interleavedData(
            world.tsn(fragment == 0 ? 1 : 1 + fragment), payload, fragment: fragment, flags: place.union(flags)))
      }
      #expect(world.b.messages.count == 1 - extra)
      #expect(world.b.association.state == (extra == 0 ? .established : .closed))
    }
  }

  @Test("I-DATA on a stream that does not exist is acknowledged and reported")
  func invalidStream() throws {
    var world = World.interleaving()
    world.inject(interleavedData(world.tsn(1), [1], stream: 65_535), interleavedData(world.tsn(2), [2]))
    let answers = try world.answers().flatMap { $0 }
    #expect(answers.map(\.type).sorted() == [ChunkType.sack, ChunkType.error])
    #expect(world.b.messages.map(\.payload) == [[2]])
  }
}
