// HeartbeatTests.swift — dcSCTP's scenarios of HEARTBEAT (RFC 9260 §8.3). That one is answered with its own bytes is with
// ETSI's group FH; that a long one is not is with the attacks (C18).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP heartbeat") struct HeartbeatTests {
  private static let configuration = SCTPConfiguration.plain {
    $0.heartbeatInterval = .seconds(10)
    $0.maximumRetransmits = 3
  }

  private func heartbeats(_ tester: inout Tester) throws -> [Seen] {
    try tester.sent().filter { $0.types.contains(ChunkType.heartbeat) }
  }

  private func answer(_ tester: inout Tester, _ heartbeat: Seen) throws {
    let chunk = try #require(heartbeat.chunks.first { $0.type == ChunkType.heartbeat })
    tester.hand(rawChunk(ChunkType.heartbeatAck, chunk.value))
  }

  @Test("asked after each interval without data, by both sides")
  func bothSides() throws {
    var world = World.connected(a: Self.configuration, b: Self.configuration)
    world.run(for: .seconds(35))
    for side in [World.Side.a, .b] {
      let (asked, answered) = (
        try world.chunks(ChunkType.heartbeat, from: side).count,
        try world.chunks(ChunkType.heartbeatAck, from: side).count
      )
      #expect(asked == 3 && answered == 3)
    }
    let states = world.states
    #expect(states == [.established, .established])
  }

  @Test("not asked while data flows")
  func onlyWhenIdle() throws {
    var world = World.connected(a: Self.configuration, b: Self.configuration)
    for i in 0..<50 {
      try world.a.association.send(OutgoingMessage(1, [UInt8(i)]), now: world.now)
      world.run(for: .seconds(1))
    }
    let asked = try world.chunks(ChunkType.heartbeat, from: .a)
    #expect(asked.isEmpty)
  }

  @Test("as many unanswered as the limit allows are survived; an answer starts the count anew", arguments: [1, 2, 3])
  func lost(count: Int) throws {
    var tester = try Tester.established(Self.configuration)
    for _ in 0..<3 {
      var left = count
      for _ in 0..<1_000 where tester.state == .established {
        tester.wait(.milliseconds(100))
        guard let asked = try heartbeats(&tester).last else { continue }
        if left == 0 {
          try answer(&tester, asked)
          break
        }
        left -= 1
      }
      let state = tester.state
      #expect(state == .established && left == 0)
    }
  }

  @Test("one more than the limit, and the association ends; asked faster once one was missed")
  func tooMany() throws {
    var tester = try Tester.established(Self.configuration)
    tester.wait(.seconds(120))
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
    let asked = try heartbeats(&tester)
    #expect(asked.count == 4)
    #expect(asked[2].at - asked[1].at < .seconds(10))
  }

  @Test("an answer that is not ours counts for nothing: other bytes, cut short, or one of an earlier question")
  func forgedAnswer() throws {
    var tester = try Tester.established(Self.configuration)
    tester.wait(.seconds(10))
    let first = try #require(try heartbeats(&tester).last)
    try answer(&tester, first)
    for _ in 0..<2_000 where tester.state == .established {
      tester.wait(.milliseconds(100))
      tester.hand(rawChunk(ChunkType.heartbeatAck, parameter(ParameterType.heartbeatInfo, pattern(16))))
      tester.hand(rawChunk(ChunkType.heartbeatAck, Array(first.chunks[0].value.prefix(12))))
      try answer(&tester, first)
    }
    #expect(tester.unit.events == [.closed(.retransmissionLimit)])
  }

  @Test("an answer measures the round trip")
  func measures() throws {
    var world = World.connected(network: .init(), a: Self.configuration, b: Self.configuration)
    world.network.delay = .milliseconds(70)
    world.run(for: .seconds(12))
    let measured = try #require(world.a.association.statistics.smoothedRoundTrip)
    #expect(measured > .milliseconds(20) && measured <= .milliseconds(140))
  }
}
