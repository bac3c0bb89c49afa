// VerificationTagTests.swift — dcSCTP's scenarios of verification tags (RFC 9260 §8.5): the rule and its exceptions.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP verification tag") struct VerificationTagTests {
  /// Chunks that would each move an association that is up.
  private static let moving: [[UInt8]] = [
    data(TSN(rawValue: Tester.initialTSN), [1]), shutdown(TSN(rawValue: 0)), rawChunk(ChunkType.abort),
    rawChunk(ChunkType.heartbeat, parameter(1, [1, 2, 3, 4])), forwardTSN(TSN(rawValue: Tester.initialTSN)),
    rawChunk(0xff, [1]), resetRequest(Tester.initialTSN, lastTSN: TSN(rawValue: Tester.initialTSN &- 1), [1]),
  ]

  @Test("up: any tag but our own is refused, for every chunk", arguments: moving)
  func established(chunk: [UInt8]) throws {
    var tester = try Tester.established()
    let own = tester.unit.association.localTag
    for tag in [own &+ 1, own ^ 0x8000_0000, Tester.tag, 0, UInt32.max] where tag != own {
      tester.hand(tag: tag, chunk)
    }
    let (state, types) = (tester.state, try tester.types())
    let reached = tester.unit.association.receivedTSN
    #expect(state == .established && types.isEmpty && tester.unit.events.isEmpty)
    #expect(reached == tester.tsn(0).reversed(by: 1))
  }

  @Test("closed: no tag is ours, and nothing is believed", arguments: moving)
  func closed(chunk: [UInt8]) throws {
    var tester = Tester()
    for tag in [0, 1, Tester.tag] as [UInt32] { tester.hand(tag: tag, chunk) }
    let (state, types) = (tester.state, try tester.types())
    #expect(state == .closed && types.isEmpty && tester.unit.events.isEmpty)
  }

  @Test("INIT has tag 0, and none other")
  func initiation() throws {
    var tester = Tester()
    for tag in [1, Tester.tag, UInt32.max] { tester.hand(tag: tag, Tester.initiation()) }
    let nothing = try tester.types()
    #expect(nothing.isEmpty)
    tester.hand(tag: 0, Tester.initiation())
    let types = try tester.types()
    #expect(types == [[ChunkType.initiationAck]])
  }

  @Test("ABORT: our tag, or with the T bit the peer's", arguments: [0, 1] as [UInt8])
  func abort(flag: UInt8) throws {
    var tester = try Tester.established()
    let own = tester.unit.association.localTag
    tester.hand(tag: flag == 0 ? Tester.tag : own, rawChunk(ChunkType.abort, flags: flag))
    var state = tester.state
    #expect(state == .established)
    tester.hand(tag: flag == 0 ? own : Tester.tag, rawChunk(ChunkType.abort, flags: flag))
    state = tester.state
    #expect(state == .closed)
  }

  @Test("ABORT with the T bit before the peer's tag is known is refused, also with tag 0")
  func abortBeforeInitAck() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.hand(tag: 0, rawChunk(ChunkType.abort, flags: 1))
    tester.hand(tag: 0, rawChunk(ChunkType.abort))
    var state = tester.state
    #expect(state == .cookieWait)
    tester.hand(rawChunk(ChunkType.abort))
    state = tester.state
    #expect(state == .closed)
  }

  @Test("every packet that we send carries the peer's tag, but INIT and what is reflected")
  func ours() throws {
    var world = World(a: .plain, b: .plain)
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    world.settle()
    try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
    world.settle()
    let (tagOfA, tagOfB) = (world.a.association.localTag, world.b.association.localTag)
    world.a.association.shutdown(now: world.now)
    world.settle()
    for entry in world.log {
      let seen = try SCTPTestSupport.tag(of: entry.packet)
      #expect(seen == (types(of: entry.packet) == [ChunkType.initiation] ? 0 : entry.from == .a ? tagOfB : tagOfA))
    }
  }
}
