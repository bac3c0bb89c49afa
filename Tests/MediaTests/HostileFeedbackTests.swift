// HostileFeedbackTests.swift — a peer that asks for too much, or speaks of what is not: nothing is amplified, and nothing
// else changes.

import Media
import RTP
import Testing
import Wire

@Suite("Hostile feedback")
struct HostileFeedbackTests {
  private func nack(_ numbers: [UInt16], media: UInt32 = SSRC.video) throws -> [UInt8] {
    try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 9, media: media, RTCPNackPair.pairs(numbers), into: &out)
    }
  }

  @Test(
    "NACKs for everything, all the time, are answered with half of what is sent, and none twice a round trip",
    arguments: [false, true])
  func amplification(usesRTX: Bool) throws {
    var side = sender(usesRTX: usesRTX)
    var now = Instant(nanoseconds: 1_000_000_000)
    var originals = 0
    var repeats = 0
    var last: [UInt16: Instant] = [:]
    for index in 0..<500 {
      let number = UInt16(index)
      try side.session.send(
        OutgoingRTP(payloadType: 96, sequenceNumber: number, timestamp: 0, payload: payload(index, size: 1_000)),
        on: 0, now: now)
      // Ten times the last two hundred: two thousand requests for each packet that is sent.
      for _ in 0..<10 {
        let recent = (max(0, index - 200)...index).map { UInt16($0) }
        side.handle(.rtcp, try nack(recent), now: now)
        for one in side.drain(now: now) where one.kind == .rtp {
          let original =
            one.ssrc == SSRC.videoRTX
            ? UInt16(one.bytes[one.bytes.count - 1_002]) << 8
              | UInt16(one.bytes[one.bytes.count - 1_001]) : one.sequenceNumber
          if let before = last.updateValue(now, forKey: original) {
            repeats += one.bytes.count
            #expect(now - before >= .milliseconds(100), "no round trip is measured, so 100 ms count")
          } else {
            originals += one.bytes.count
          }
        }
        now = now + .milliseconds(1)
      }
    }
    #expect(originals > 500_000)
    #expect(repeats > 100_000, "they are answered")
    #expect(repeats <= originals / 2 + 1 << 17)
    let statistics = side.session.statistics(of: 0)
    #expect(statistics.retransmissionsRefused > 700_000)
    #expect(statistics.nacksReceived == 5_000)
  }

  @Test("a NACK for packets that were never sent, or for other sources, is answered with nothing")
  func unknownPackets() throws {
    var side = sender(usesRTX: true)
    let now = Instant(nanoseconds: 1_000_000_000)
    try side.session.send(
      OutgoingRTP(payloadType: 96, sequenceNumber: 500, timestamp: 0, payload: [1, 2, 3]), on: 0, now: now)
    _ = side.drain(now: now)
    let later = now + .milliseconds(200)
    side.handle(.rtcp, try nack(Array(501...700)), now: later)
    side.handle(.rtcp, try nack(Array(0...499)), now: later)
    side.handle(.rtcp, try nack([500], media: 0xdead_beef), now: later)
    side.handle(.rtcp, try nack([500], media: SSRC.remoteVideo), now: later)
    side.handle(.rtcp, try nack([500], media: SSRC.videoRTX), now: later)
    #expect(side.drain(now: later).isEmpty)
    side.handle(.rtcp, try nack([500]), now: later)
    #expect(side.drain(now: later).count == 1)
    // Two seconds later it is not kept any more.
    side.handle(.rtcp, try nack([500]), now: later + .seconds(3))
    #expect(side.drain(now: later + .seconds(3)).filter { $0.kind == .rtp }.isEmpty)
  }

  @Test("a resent packet has the same bytes, its transport-wide number included; RTX has a number of its own")
  func sameBytes() throws {
    for usesRTX in [false, true] {
      var side = sender(usesRTX: usesRTX)
      let now = Instant(nanoseconds: 1_000_000_000)
      let packet = OutgoingRTP(
        payloadType: 96, marker: true, sequenceNumber: 500, timestamp: 7, contributingSources: [1, 2],
        extensions: [RTPExtension(id: 9, value: [5]), RTPExtension(id: 3, value: [0xff, 0xff])], payload: [1, 2, 3])
      try side.session.send(packet, on: 0, now: now)
      let first = try #require(side.drain(now: now).first)
      // The peer has meanwhile acknowledged the mid, and the wall clock has moved.
      side.handle(.rtcp, try receiverReport(block(SSRC.video), from: 9), now: now + .milliseconds(150))
      side.handle(.rtcp, try nack([500]), now: now + .milliseconds(200))
      let again = try #require(side.drain(now: now + .milliseconds(200)).first { $0.kind == .rtp })
      guard usesRTX else {
        #expect(again.bytes == first.bytes)
        continue
      }
      let view = try RTPPacketView(again.bytes.rawSpan)
      let original = try RTPPacketView(first.bytes.rawSpan)
      #expect(view.header.ssrc == SSRC.videoRTX)
      #expect(view.header.payloadType == 97)
      #expect(view.header.marker)
      #expect(view.payload.copyBytes() == [1, 244, 1, 2, 3])
      #expect(view.contributingSources == [1, 2])
      #expect(view.extensionValue(9)?.copyBytes() == [5])
      #expect(view.extensionValue(1)?.copyBytes() == Array("v".utf8), "its stream is new to the peer")
      #expect(original.extensionValue(3)?.copyBytes() == [0, 0])
      #expect(view.extensionValue(3)?.copyBytes() == [0, 1])
    }
  }

  @Test("reports on others, goodbyes of others, and REMB for others change nothing")
  func others() throws {
    var world = MediaWorld(seed: 1, [video(), audio()])
    let packets = stream(200, from: world.now, every: .milliseconds(10))
    try world.run(until: packets[99].at, sending: Array(packets[...99]))
    _ = world.a.takeEvents()
    let before = (world.a.session.statistics(of: 0), world.a.session.statistics(of: 1))
    let bandwidth = world.a.session.statistics.bandwidthEstimate
    let roundTrip = world.a.session.statistics.roundTrip
    for ssrc: UInt32 in [0, 1, SSRC.remoteVideo, SSRC.audio, 0xffff_ffff] {
      let hostile = RTCPReportBlock(
        ssrc: ssrc, fractionLost: 255, cumulativeLost: 8_000_000, extendedHighestSequence: .max, jitter: .max,
        lastSenderReport: 1, delaySinceLastSenderReport: .max)
      world.a.handle(.rtcp, try receiverReport(hostile, from: 77), now: world.now)
    }
    let bye = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.goodbye([0, 1, SSRC.video, SSRC.audio, 0xffff_ffff], into: &out)
    }
    let remb = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.maximumBitrate(sender: 77, bitrate: 1, sources: [1, 2, 3], into: &out)
    }
    world.a.handle(.rtcp, bye, now: world.now)
    world.a.handle(.rtcp, remb, now: world.now)
    #expect(world.a.takeEvents().isEmpty)
    #expect(world.a.session.statistics(of: 0) == before.0)
    #expect(world.a.session.statistics(of: 1) == before.1)
    #expect(world.a.session.statistics.bandwidthEstimate == bandwidth)
    #expect(world.a.session.statistics.roundTrip == roundTrip)
    try world.run(for: .seconds(2), sending: Array(packets[100...]))
    #expect(world.b.packets.count == 200)
  }

  @Test("a report that claims an absurd round trip does not count")
  func absurdRoundTrip() throws {
    var side = sender()
    let now = Instant(nanoseconds: 1_000_000_000)
    try side.session.send(
      OutgoingRTP(payloadType: 96, sequenceNumber: 5, timestamp: 0, payload: [1]), on: 0, now: now)
    _ = side.drain(now: now)
    side.handle(.rtcp, try receiverReport(block(SSRC.video, lastReport: 5, delay: 7), from: 9), now: now)
    #expect(side.session.statistics.roundTrip ?? .zero <= .seconds(10))
  }

  @Test("a BYE ends its stream and no other; a later packet revives it")
  func goodbye() throws {
    var side = receiver(of: [video()], announcing: [0x51, 0x52])
    let now = Instant(nanoseconds: 1)
    for ssrc: UInt32 in [0x51, 0x52] { side.handle(.rtp, try rtp(1, ssrc: ssrc), now: now) }
    _ = side.takeEvents()
    let bye = try rtcp { (writer, out) throws(RTPEncodingError) in try writer.goodbye([0x51], into: &out) }
    for _ in 0..<10 { side.handle(.rtcp, bye, now: now) }
    #expect(side.takeEvents() == [.bye(section: 0, ssrc: 0x51)])
    #expect(side.session.requestKeyframe(0, ssrc: 0x52, now: now) == true)
    #expect(side.session.requestKeyframe(0, ssrc: 0x51, now: now) == false)
    side.handle(.rtp, try rtp(2, ssrc: 0x51), now: now)
    #expect(side.numbers() == [2])
    #expect(side.session.requestKeyframe(0, ssrc: 0x51, now: now) == true)
  }

  @Test("gaps of the peer's making: what is asked for is bounded, however it jumps")
  func hugeGaps() throws {
    var side = receiver(of: [video()], announcing: [0x51])
    var now = Instant(nanoseconds: 1_000_000_000)
    var number: UInt16 = 0
    var asked = 0
    for _ in 0..<200 {
      side.handle(.rtp, try rtp(number, ssrc: 0x51), now: now)
      number &+= 2_900
      now = now + .milliseconds(20)
      side.session.handleTimeout(now: now)
      for one in side.drain(now: now) where one.kind == .rtcp {
        #expect(one.bytes.count <= MediaLimits().maximumRTCPSize)
        asked += try parse(one.bytes).nacks.reduce(0) { $0 + $1.numbers.count }
      }
    }
    // 256 for each of the jumps at most, and each at most once between two of them.
    #expect(asked <= 200 * 256)
    #expect(asked > 0)
    #expect(side.session.statistics(of: 0).packetsAbandoned > 100_000)
  }

  @Test("events that nobody takes are bounded")
  func events() throws {
    var limits = MediaLimits()
    limits.maximumEvents = 10
    var side = receiver(of: [video()], announcing: [0x51], limits: limits)
    for number: UInt16 in 0..<100 { side.handle(.rtp, try rtp(number, ssrc: 0x51), now: Instant(nanoseconds: 1)) }
    #expect(side.session.statistics.overflowedEvents == 90)
    #expect(side.takeEvents().count == 10)
  }
}
