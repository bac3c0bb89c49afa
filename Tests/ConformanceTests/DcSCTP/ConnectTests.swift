// ConnectTests.swift — dcSCTP's scenarios of connecting: collisions, losses, and what waits until the association is up.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP connect") struct ConnectTests {
  private static let bothUp: [SCTPAssociation.State] = [.established, .established]

  @Test("one side connects", arguments: [World.Side.a, .b])
  func oneConnects(side: World.Side) {
    var world = World()
    if side == .a { world.a.association.connect(now: world.now) } else { world.b.association.connect(now: world.now) }
    world.run(for: .seconds(2))
    let states = world.states
    #expect(states == Self.bothUp)
    #expect(world.a.events == [.established] && world.b.events == [.established])
  }

  @Test("both sides connect, at once or some time apart", arguments: [0, 5, 15, 25, 35, 100] as [Int64])
  func bothConnect(milliseconds: Int64) {
    var world = World()
    world.a.association.connect(now: world.now)
    world.run(for: .milliseconds(milliseconds))
    world.b.association.connect(now: world.now)
    world.run(for: .seconds(2))
    let states = world.states
    #expect(states == Self.bothUp)
    #expect(world.a.events == [.established] && world.b.events == [.established])
  }

  @Test("both sides connect with data waiting, and the first packet of data each way is lost")
  func bothConnectWithLostData() throws {
    var world = World()
    var victims: Set<World.Side> = [.a, .b]
    world.filter = { from, packet in !(carriesData(packet) && victims.remove(from) != nil) }
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, pattern(5_000)), now: world.now)
    try world.b.association.send(OutgoingMessage(1, pattern(6_000)), now: world.now)
    world.run(for: .seconds(5))
    #expect(victims.isEmpty)
    #expect(world.b.messages.map(\.payload) == [pattern(5_000)])
    #expect(world.a.messages.map(\.payload) == [pattern(6_000)])
  }

  @Test("INITs that cross are answered with the tag and TSN of our own")
  func collisionKeepsTag() throws {
    var world = World(a: .plain, b: .plain)
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    world.run(for: .seconds(2))
    for side in [World.Side.a, .b] {
      let own = try #require(try world.chunks(ChunkType.initiation, from: side).first)
      let answer = try #require(try world.chunks(ChunkType.initiationAck, from: side).first)
      #expect(own.uint32(at: 0) == answer.uint32(at: 0) && own.uint32(at: 12) == answer.uint32(at: 12))
    }
  }

  @Test("COOKIE-ACK lost: the COOKIE-ECHO comes again and is answered again; what waits goes out once")
  func cookieAckLost() throws {
    var world = World()
    world.dropFirst(2, ChunkType.cookieAck, from: .b)
    world.a.association.connect(now: world.now)
    try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    world.run(for: .seconds(10))
    let states = world.states
    #expect(states == Self.bothUp)
    #expect(world.b.events == [.established] && world.b.messages.map(\.payload) == [[1]])
    let echoes = try world.chunks(ChunkType.cookieEcho, from: .a)
    #expect(echoes.count == 3 && Set(echoes.map(\.value)).count == 1)
  }

  @Test("before COOKIE-ACK the user's data goes behind COOKIE-ECHO only, and the rest the moment it comes")
  func queueWaits() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    try tester.send(pattern(900))
    try tester.send(pattern(901))
    tester.wait(.milliseconds(100))
    tester.hand(Tester.initAck())
    tester.wait(.milliseconds(100))
    let before = try tester.sent().filter { $0.types.contains(ChunkType.data) }
    #expect(before.map(\.types) == [[ChunkType.cookieEcho, ChunkType.data]])
    tester.hand(rawChunk(ChunkType.cookieAck))
    let at = tester.now
    tester.wait(.milliseconds(10))
    let after = try tester.sent().filter { $0.types.contains(ChunkType.data) && $0.at >= at }
    #expect(after.map(\.types) == [[ChunkType.data]] && after[0].at == at)
  }

  @Test("a repeated INIT is the first one again, byte for byte")
  func repeatedInit() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    tester.wait(.seconds(4))
    let packets = try tester.sent()
    #expect(packets.count >= 3 && Set(packets.map(\.bytes)).count == 1)
  }

  @Test("a repeated INIT gets another INIT-ACK, and either one's cookie leads to an association", arguments: [0, 1])
  func eitherCookie(which: Int) throws {
    var tester = Tester()
    let answers = [try tester.open(), try tester.open()]
    #expect(answers[0].tag != answers[1].tag && answers[0].cookie != answers[1].cookie)
    let (tag, cookie) = answers[which]
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
    let types = try tester.types()
    #expect(types == [[ChunkType.cookieAck]] && tester.unit.events == [.established])
    // The other cookie comes too late.
    let (otherTag, other) = answers[1 - which]
    tester.hand(tag: otherTag, rawChunk(ChunkType.cookieEcho, other))
    tester.hand(data(tester.tsn(0), [1]))
    let own = tester.unit.association.localTag
    #expect(own == tag && tester.unit.events == [.established] && tester.received == [[1]])
  }

  @Test("an association that has ended does not connect again")
  func noSecondLife() throws {
    var tester = try Tester.established()
    tester.unit.association.abort(now: tester.now)
    _ = try tester.sent()
    tester.unit.association.connect(now: tester.now)
    let (types, state) = (try tester.types(), tester.state)
    #expect(types.isEmpty && state == .closed)
    tester.hand(tag: 0, Tester.initiation())
    let answers = try tester.types()
    #expect(answers == [[ChunkType.abort]])
  }
}
