// LimitTests.swift — dcSCTP's scenarios of limits: what `send` refuses, and what is counted as buffered.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP limits") struct LimitTests {
  private func refusal(_ tester: inout Tester, _ payload: [UInt8], stream: UInt16 = 1) -> SCTPSendError? {
    do throws(SCTPSendError) {
      try tester.unit.association.send(OutgoingMessage(stream, payload), now: tester.now)
      return nil
    } catch {
      return error
    }
  }

  @Test("empty, too large, on a stream that does not exist: each refused with its own reason, and nothing is queued")
  func refused() throws {
    var tester = try Tester.established(.plain { $0.maximumOutgoingMessageSize = 5_000 })
    let reasons = [
      refusal(&tester, []), refusal(&tester, pattern(5_001)), refusal(&tester, [1], stream: 100),
      refusal(&tester, pattern(5_000), stream: 99),
    ]
    #expect(reasons == [.messageEmpty, .messageTooLarge, .noSuchStream, nil])
    let buffered = tester.unit.association.bufferedTotal
    #expect(buffered == 5_000)
  }

  // One limit for all streams: data channels share one buffer of the connection, each counts its share.
  @Test(
    "the queue is full at its limit, takes one message of any size when it is empty, and says how much room there is")
  func queueLimit() throws {
    var tester = try Tester.established(.plain { $0.sendBufferLimit = 10_000 }, window: 1_500)
    tester.hand(sack(tester.unit.association.nextTSN.reversed(by: 1), window: 0))
    try tester.send([0])  // the probe of a shut window
    tester.wait(.milliseconds(1))
    var room = tester.unit.association.sendRoom
    #expect(room >= 200_000)
    try tester.send(pattern(4_000), stream: 1)
    try tester.send(pattern(4_000), stream: 2)
    room = tester.unit.association.sendRoom
    #expect(room == 2_000)
    #expect(refusal(&tester, pattern(2_001)) == .bufferFull)
    #expect(refusal(&tester, pattern(2_000), stream: 3) == nil)
    #expect(refusal(&tester, [1]) == .bufferFull)
    let amounts = [1, 2, 3, 4].map { tester.unit.association.bufferedAmount(stream: $0) }
    #expect(amounts == [4_000, 4_000, 2_000, 0])
  }

  @Test("buffered is what was never sent: it falls as data goes out, not as it is acknowledged")
  func bufferedAmount() throws {
    var tester = try Tester.established()
    try tester.send(pattern(3_000))
    var amount = tester.unit.association.bufferedAmount(stream: 1)
    #expect(amount == 3_000)
    tester.wait(.milliseconds(20))
    amount = tester.unit.association.bufferedAmount(stream: 1)
    let flight = tester.unit.association.statistics.bytesInFlight
    #expect(amount == 0 && flight == 3_000)
  }

  @Test("buffered falls to nothing when the association ends")
  func bufferedAfterTheEnd() throws {
    var tester = try Tester.established()
    try tester.send(pattern(200_000))
    tester.hand(rawChunk(ChunkType.abort))
    let (total, own, room) = (
      tester.unit.association.bufferedTotal, tester.unit.association.bufferedAmount(stream: 1), tester.state
    )
    #expect(total == 0 && own == 0 && room == .closed)
  }

  @Test("no more is in flight than the congestion window and the peer's window allow")
  func windows() throws {
    for window in [3_000, 20_000, 1 << 20] as [UInt32] {
      var tester = try Tester.established(window: window)
      try tester.send(pattern(250_000))
      tester.wait(.milliseconds(100))
      let statistics = tester.unit.association.statistics
      #expect(statistics.bytesInFlight <= min(Int(window), statistics.congestionWindow + 1_200))
      #expect(statistics.bytesInFlight > 0)
    }
  }

  @Test("counters: messages, packets and bytes of both directions agree on both sides")
  func counters() throws {
    var world = World.connected()
    for i in 0..<20 { try world.a.association.send(OutgoingMessage(1, pattern(100 * i + 1)), now: world.now) }
    world.settle()
    let (a, b) = (world.a.association.statistics, world.b.association.statistics)
    #expect(a.messagesSent == 20 && b.messagesReceived == 20)
    #expect(a.packetsSent == b.packetsReceived && a.bytesSent == b.bytesReceived)
    #expect(b.packetsSent == a.packetsReceived && b.bytesSent == a.bytesReceived)
    #expect(a.packetsDropped == 0 && b.packetsDropped == 0 && a.chunksRetransmitted == 0 && b.chunksDuplicated == 0)
  }
}
