// TransportFeedbackTests.swift — transport-wide numbers and the feedback on them
// (draft-holmer-rmcat-transport-wide-cc-extensions-01).

import RTP
import Testing
import Wire

@testable import Media

@Suite("Transport-wide feedback")
struct TransportFeedbackTests {
  @Test("every arrival is told once, at its time, across the wrap of the number", arguments: 1...10)
  func tellsArrivals(seed: UInt64) throws {
    var section = video()
    section.payloadTypes[96]?.hasNACK = false
    var world = MediaWorld(seed: seed, [section])
    world.forth.lossPerMille = 50
    world.forth.spread = .milliseconds(8)
    world.a.session.departures = TransportDepartures(first: 131_072 - 2_000)
    let count = 6_000
    try world.run(for: .seconds(4), sending: stream(count, from: world.now, every: .microseconds(500), size: 4))

    let arrived = Set(world.b.received.filter { $0.kind == .rtp }.map { Int($0.timestamp - 1_000) / 450 })
    var told: Set<Int> = []
    var cycle = 2_000 - 65_536
    var last = 0
    var times: [Instant] = []
    for one in world.b.sent where one.kind == .rtcp {
      #expect(one.bytes.count <= MediaLimits().maximumRTCPSize)
      for feedback in try parse(one.bytes).transport {
        times.append(one.at)
        for status in feedback.statuses where status.delta != nil {
          var number = cycle + Int(status.sequenceNumber)
          if number < last - 32_768 {
            cycle += 65_536
            number += 65_536
          }
          last = max(last, number)
          told.insert(number)
        }
      }
    }
    #expect(told == arrived, "seed \(seed)")
    let gaps = zip(times, times.dropFirst()).map { ($1 - $0).milliseconds }
    #expect(gaps.allSatisfy { (9...101).contains($0) }, "seed \(seed)")

    let statistics = world.a.session.statistics
    #expect(statistics.transportPacketsAcknowledged == arrived.count, "seed \(seed)")
    #expect(statistics.transportPacketsLost <= count - arrived.count, "seed \(seed)")
    #expect(statistics.transportPacketsLost > (count - arrived.count) * 95 / 100, "seed \(seed)")
    #expect(statistics.transportFeedbackReceived == world.b.session.statistics.transportFeedbackSent)
  }

  @Test("a queue that grows is seen as such")
  func delayGrowth() throws {
    var world = MediaWorld(seed: 3, [video()])
    let packets = stream(200, from: world.now, every: .milliseconds(5))
    for (index, packet) in packets.enumerated() {
      world.forth.delay = .milliseconds(20 + Int64(index))  // 1 ms more for each packet
      try world.run(until: packet.at, sending: [packet])
    }
    try world.run(for: .seconds(1))
    var growth = Interval.zero
    var received = 0
    for case .transportFeedback(let summary) in world.a.events {
      growth = growth + summary.delayGrowth
      received += summary.receivedPackets
    }
    #expect(received == 200)
    // 199 ms in all, less the one step between each two feedback packets.
    #expect((170...199).contains(growth.milliseconds))
  }

  @Test("feedback on what was never sent is ignored, and costs no more than its bytes")
  func hostile() throws {
    var side = sender()
    let now = Instant(nanoseconds: 1_000_000_000)
    for number: UInt16 in 0..<20 {
      try side.session.send(
        OutgoingRTP(payloadType: 96, sequenceNumber: number, timestamp: 0, payload: [1]), on: 0, now: now)
    }
    _ = side.drain(now: now)
    for base: UInt16 in [20, 1_000, 32_768, 65_535] {
      let feedback = try rtcp { (writer, out) throws(RTPEncodingError) in
        let builder = RTCPTransportFeedbackBuilder(
          sequenceNumber: base, arrival: now, maximumByteCount: 1_000)
        try writer.transportFeedback(builder, sender: 1, media: 2, feedbackCount: 0, into: &out)
      }
      side.handle(.rtcp, feedback, now: now)
    }
    #expect(side.takeEvents().isEmpty)
    // From a packet that was sent on to far beyond: only those twenty count, and once.
    let feedback = try rtcp { (writer, out) throws(RTPEncodingError) in
      var builder = RTCPTransportFeedbackBuilder(sequenceNumber: 5, arrival: now, maximumByteCount: 1_000)
      _ = builder.add(sequenceNumber: 30_000, arrival: now)
      try writer.transportFeedback(builder, sender: 1, media: 2, feedbackCount: 0, into: &out)
    }
    for _ in 0..<10 { side.handle(.rtcp, feedback, now: now) }
    #expect(side.session.statistics.transportPacketsAcknowledged == 1)
    #expect(side.session.statistics.transportPacketsLost == 14)
  }

  @Test("without the negotiation no feedback is sent and no number is carried")
  func notNegotiated() throws {
    var section = video()
    section.extensionIDs.transportSequence = nil
    var world = MediaWorld(seed: 4, [section])
    try world.run(for: .seconds(2), sending: stream(100, from: world.now, every: .milliseconds(10)))
    #expect(world.b.session.statistics.transportFeedbackSent == 0)
    for one in world.a.sent where one.kind == .rtp {
      let view = try RTPPacketView(one.bytes.rawSpan)
      #expect(view.extensionValue(3)?.copyBytes() == nil)
    }
  }

  @Test("arrivals are a bounded window, whatever the numbers")
  func window() {
    var arrivals = TransportArrivals()
    var random = RandomSource.seeded(state: 5)
    for index in 0..<20_000 {
      arrivals.receive(UInt16.random(in: 0...UInt16.max, using: &random), now: Instant(nanoseconds: Int64(index)))
      #expect(arrivals.end - arrivals.base <= TransportArrivals.windowSize)
      if index % 100 == 0 { arrivals.told(upTo: arrivals.end) }
    }
  }
}
