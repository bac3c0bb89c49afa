// TransferTests.swift — messages from end to end on a simulated clock.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct TransferTests {
  @Test("both sides connect, and messages of all sizes arrive in both directions")
  func bothWays() throws {
    var world = World()
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    let sizes = [1, 2, 3, 4, 63, 1_159, 1_160, 1_161, 2_320, 65_536, 262_144]
    for size in sizes {
      try world.a.association.send(OutgoingMessage(1, pattern(size, size)), now: world.now)
      try world.b.association.send(OutgoingMessage(2, pattern(size, size + 1), ordered: false), now: world.now)
    }
    world.run(for: .seconds(20))
    let up = world.b.messages.map(\.payload)
    let down = world.a.messages.map(\.payload)
    #expect(up == sizes.map { pattern($0, $0) })
    #expect(down == sizes.map { pattern($0, $0 + 1) })
    let events = world.a.events
    #expect(events == [.established])
    let buffered = world.a.association.bufferedTotal
    #expect(buffered == 0)
  }

  @Test("a message of one byte says nothing about the path", arguments: CongestionControl.allCases)
  func smallMessagesFirst(control: CongestionControl) throws {
    var sending = SCTPConfiguration()
    sending.congestionControl = control
    var receiving = SCTPConfiguration()
    receiving.acknowledgementDelay = .milliseconds(200)  // as browsers hold back the answer to a lone packet
    var world = World.connected(a: sending, b: receiving)
    for size in [1, 1, 16_384] {
      let began = world.now
      try world.a.association.send(OutgoingMessage(1, pattern(size)), now: world.now)
      world.run(until: { a, b in a.bufferedTotal == 0 && b.receivedTSN == a.nextTSN.reversed(by: 1) })
      // The message needs two windows.
      let took = world.now - began
      #expect(took <= .milliseconds(size == 1 ? 10 : 50), "\(size) bytes took \(took)")
    }
    world.run(for: .seconds(1))
    let sizes = world.b.messages.map(\.payload.count)
    #expect(sizes == [1, 1, 16_384])
  }
}
