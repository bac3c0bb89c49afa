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
}
