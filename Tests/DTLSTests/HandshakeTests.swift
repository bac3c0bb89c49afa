// HandshakeTests.swift — the handshake in both roles, its timers and its failures, under a simulated clock.

import CVirtualClock
import DTLS
import Testing
import Wire

@Suite struct HandshakeTests {
  @Test func bothSidesConnectAndTalk() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    #expect(pair.client.events == [.connected])
    #expect(pair.server.events == [.connected])
    let suite = pair.client.session.cipherSuite
    #expect(suite == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    let profiles = [pair.client.session.mediaProfile, pair.server.session.mediaProfile]
    #expect(profiles == [7, 7])
    let hello: [UInt8] = Array("hello".utf8)
    let record = try pair.client.session.seal(hello)
    #expect(record.count == hello.count + DTLSSession.recordOverhead)
    let answer = try pair.server.session.seal([1, 2, 3])
    pair.server.handle(record, now: pair.now)
    pair.client.handle(answer, now: pair.now)
    #expect(pair.server.received == [hello])
    #expect(pair.client.received == [[1, 2, 3]])
    let deadline = pair.client.session.deadline
    #expect(deadline == nil)
  }

  @Test func theTimerReadsTheSimulatedClock() throws {
    let before = virtual_clock_reads()
    var pair = try Pair()
    pair.start()
    let began = pair.now
    pair.run(limit: .seconds(1), up: { _, _ in [] })
    #expect(virtual_clock_reads() > before)
    // Sent at 0, 50, 150, 350 and 750 ms.
    #expect(pair.sentByClient == 5)
    #expect(pair.now - began == .milliseconds(750))
  }

  @Test("at 30 % loss every handshake ends by the deadline, and nearly all connect")
  func survivesLoss() throws {
    var longest = Interval.zero
    var connected = 0
    for seed in 1...1_000 as ClosedRange<UInt64> {
      var random = RandomSource.seeded(state: seed)
      var pair = try Pair()
      let began = pair.now
      pair.start()
      // One generator serves both links; the order of draws is part of the seed's story.
      pair.run(
        up: { _, datagram in random.next() % 10 < 3 ? [] : [datagram] },
        down: { _, datagram in random.next() % 10 < 3 ? [] : [datagram] })
      for events in [pair.client.events, pair.server.events] {
        #expect(events == [.connected] || events == [.failed(.handshakeTimedOut)], "seed \(seed): \(events)")
      }
      #expect(pair.now - began <= DTLSSession.handshakeLimit, "seed \(seed)")
      if pair.bothConnected { connected += 1 }
      longest = max(longest, pair.now - began)
    }
    #expect(connected >= 995)
    print(
      "1,000 handshakes at 30 % loss: \(connected) connected; at most \(longest.nanoseconds / 1_000_000) simulated ms")
  }
}
