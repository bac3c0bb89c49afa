// RestartTests.swift — dcSCTP's scenarios of a peer that has lost its state and connects again (RFC 9260 §5.2.4.1).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP restart") struct RestartTests {
  /// `b` is another process now, and connects.
  private func restart(_ world: inout World) {
    world.inFlight.removeAll()
    world.b = Endpoint(seed: 815)
    world.b.association.connect(now: world.now)
    world.run(for: .seconds(10))
    let states = world.states
    #expect(states == [.established, .established])
    #expect(world.b.events == [.established])
  }

  private func bothWaysWork(_ world: inout World) throws {
    world.a.messages.removeAll()
    world.b.messages.removeAll()
    for stream in 0..<3 as Range<UInt16> {
      try world.a.association.send(OutgoingMessage(stream, pattern(3_000, 1)), now: world.now)
      try world.b.association.send(OutgoingMessage(stream, pattern(3_000, 2)), now: world.now)
    }
    world.settle()
    #expect(world.b.messages.map(\.payload) == [[UInt8]](repeating: pattern(3_000, 1), count: 3))
    #expect(world.a.messages.map(\.payload) == [[UInt8]](repeating: pattern(3_000, 2), count: 3))
  }

  @Test("with nothing pending: told once, and every stream begins anew")
  func plain() throws {
    var world = World.connected()
    for i in 0..<5 { try world.a.association.send(OutgoingMessage(1, [UInt8(i)]), now: world.now) }
    for i in 0..<5 { try world.b.association.send(OutgoingMessage(1, [UInt8(i)]), now: world.now) }
    world.settle()
    restart(&world)
    #expect(world.a.events == [.restarted])
    try bothWaysWork(&world)
  }

  @Test("with data pending: what was half sent and what waits reaches the new peer whole")
  func withPendingData() throws {
    var world = World.connected()
    try world.a.association.send(OutgoingMessage(1, pattern(200_000)), now: world.now)
    try world.a.association.send(OutgoingMessage(2, pattern(50_000, 3), ordered: false), now: world.now)
    world.run(for: .milliseconds(30))
    restart(&world)
    #expect(world.b.messages.first { $0.stream == 1 }?.payload == pattern(200_000))
    #expect(world.b.messages.first { $0.stream == 2 }?.payload == pattern(50_000, 3))
    #expect(world.b.messages.count == 2)
    try bothWaysWork(&world)
  }

  @Test("with half of a message received: it is forgotten")
  func withPartialMessage() throws {
    var world = World.connected()
    try world.b.association.send(OutgoingMessage(1, pattern(200_000)), now: world.now)
    world.run(for: .milliseconds(12))
    restart(&world)
    let held = world.a.association.heldBytes
    #expect(held == 0 && world.a.messages.isEmpty)
    try bothWaysWork(&world)
  }

  @Test("with a reset of ours pending, whether asked for or not yet: it is told as done")
  func withPendingReset() throws {
    for drained in [true, false] {
      var world = World.connected()
      world.filter = { _, _ in false }
      if !drained { try world.a.association.send(OutgoingMessage(1, [1]), now: world.now) }
      world.a.association.resetStreams([1], now: world.now)
      world.run(for: .milliseconds(100))
      world.filter = nil
      restart(&world)
      #expect(Set(world.a.events) == [.outgoingStreamsReset([1]), .restarted])
      #expect(world.a.events.count == 2)
      try bothWaysWork(&world)
    }
  }

  @Test("while we shut down: what waits reaches the new peer, and the shutdown goes on")
  func whileShuttingDown() throws {
    for sends in [false, true] {
      var world = World.connected()
      world.filter = { _, _ in false }
      if sends { try world.a.association.send(OutgoingMessage(1, pattern(3_000)), now: world.now) }
      world.a.association.shutdown(now: world.now)
      world.run(for: .milliseconds(100))
      world.filter = nil
      world.inFlight.removeAll()
      world.b = Endpoint(seed: 815)
      world.b.association.connect(now: world.now)
      world.run(for: .seconds(30))
      #expect(world.a.events == [.restarted, .closed(.shutdown)])
      #expect(world.b.events == [.established, .closed(.shutdown)])
      #expect(world.b.messages.map(\.payload) == (sends ? [pattern(3_000)] : []))
    }
  }
}
