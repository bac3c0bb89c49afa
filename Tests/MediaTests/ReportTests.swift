// ReportTests.swift — when reports go and what they say (RFC 3550 §6.2…6.6), and goodbyes.

import Media
import RTP
import Testing
import Wire

@Suite("Reports")
struct ReportTests {
  private func intervals(_ sent: [Logged]) throws -> [Double] {
    let times = try sent.filter { one in
      one.kind == .rtcp ? try parse(one.bytes).reports.contains { $0.info != nil } : false
    }.map(\.at)
    return zip(times, times.dropFirst()).map { ($1 - $0).milliseconds }
  }

  @Test("with video a report goes every half to one and a half seconds", arguments: 1...5)
  func videoInterval(seed: UInt64) throws {
    var world = MediaWorld(seed: seed, [video(), audio()])
    try world.run(for: .seconds(60), sending: stream(3_000, from: world.now, every: .milliseconds(20)))
    let gaps = try intervals(world.a.sent)
    #expect(gaps.count > 45, "seed \(seed)")
    #expect(gaps.allSatisfy { (499...1_501).contains($0) }, "seed \(seed): \(gaps)")
    #expect(abs(gaps.reduce(0, +) / Double(gaps.count) - 1_000) < 150, "seed \(seed)")
    // They differ: two ends that began together must not stay in step.
    #expect(Set(gaps.map { Int($0) }).count > 30)
  }

  @Test("with audio alone less often, and never more than five seconds apart")
  func audioInterval() throws {
    var world = MediaWorld(seed: 7, [audio()])
    // One packet a second: 5 % of that is next to nothing, and yet there are reports.
    try world.run(
      for: .seconds(120),
      sending: stream(120, from: world.now, every: .seconds(1), payloadType: 111, size: 20, section: 1))
    let slow = try intervals(world.a.sent)
    #expect(slow.count >= 20)
    #expect(slow.allSatisfy { $0 <= 5_001 })
    let start = world.now
    try world.run(
      for: .seconds(60),
      sending: stream(3_000, from: start, every: .milliseconds(20), first: 300, payloadType: 111, section: 1))
    let usual = try intervals(world.a.sent.filter { $0.at > start + .seconds(6) })
    #expect(usual.count >= 15)
    #expect(usual.allSatisfy { (1_249...3_751).contains($0) })
  }

  @Test("nothing is sent before the keys exist")
  func notBeforeStart() throws {
    var session = MediaSession(cname: "x", random: .seeded(state: 1))
    let now = Instant(nanoseconds: 0)
    session.configure([video()], now: now)
    session.handleTimeout(now: now + .seconds(60))
    #expect(session.deadline == nil)
    #expect(pollTransmit(&session, now: now + .seconds(60)) == nil)
    #expect(throws: MediaSendError.notSending) {
      try session.send(OutgoingRTP(payloadType: 96, sequenceNumber: 1, timestamp: 1, payload: [1]), on: 0, now: now)
    }
  }

  @Test("a sender report counts packets and octets, and tells the stream's clock at the time of the wall clock")
  func senderReport() throws {
    var world = MediaWorld(seed: 8, [video()])
    let start = world.now
    let packets = stream(100, from: start, every: .milliseconds(10), timestamp: .max - 40_000, ticks: 900)
    try world.run(for: .seconds(5), sending: packets)
    var reported = 0
    for one in world.a.sent where one.kind == .rtcp {
      let parsed = try parse(one.bytes, form: .compound)
      for report in parsed.reports {
        guard let info = report.info else { continue }
        reported += 1
        #expect(report.ssrc == SSRC.video)
        #expect(parsed.names[SSRC.video] == "a@example")
        let before = world.a.sent.filter { $0.kind == .rtp && $0.at < one.at }.count
        #expect((before...before + 1).contains(Int(info.packetCount)))
        #expect(info.octetCount == info.packetCount * 200)
        // 90 ticks a millisecond since the first packet left, on a clock that wraps.
        let ticks = UInt32(truncatingIfNeeded: (one.at - start).nanoseconds * 9 / 100_000)
        let told = info.rtpTimestamp &- packets[0].packet.timestamp
        #expect(abs(Int(told) - Int(ticks)) <= 1)
        #expect(abs(info.ntp.unixNanoseconds - 1_795_000_000_000_000_000 - one.at.nanoseconds) <= 1)
      }
    }
    // Two reports after its last packet a source is no sender any more.
    #expect((2...5).contains(reported))
    let heard = world.b.events.compactMap { event -> RemoteSenderReport? in
      if case .senderReport(let report) = event { report } else { nil }
    }
    #expect(heard.count == reported)
    #expect(heard.last?.packetCount == 100)
    #expect(heard.allSatisfy { $0.section == 0 && $0.ssrc == SSRC.video })
  }

  @Test("every report is a compound with a CNAME, and at most 31 blocks a packet")
  func manySources() throws {
    var limits = MediaLimits()
    limits.maximumSSRCsPerSection = 100
    var side = receiver(of: [video(), audio()], announcing: Array(1...90), limits: limits)
    let now = Instant(nanoseconds: 5_000_000)
    for ssrc: UInt32 in 1...90 { side.handle(.rtp, try rtp(1, ssrc: ssrc), now: now) }
    side.session.handleTimeout(now: now + .seconds(2))
    var reported: [UInt32] = []
    for one in side.drain(now: now + .seconds(2)) {
      #expect(one.bytes.count <= limits.maximumRTCPSize)
      let parsed = try parse(one.bytes, form: .compound)
      for report in parsed.reports {
        #expect(report.blocks.count <= 31)
        #expect(parsed.names[report.ssrc] == "x")
        reported += report.blocks.map(\.ssrc)
      }
    }
    #expect(reported.sorted() == Array(1...90))
    // Nobody heard again: nothing to report of them.
    side.session.handleTimeout(now: now + .seconds(4))
    let next = try side.drain(now: now + .seconds(4)).flatMap { try parse($0.bytes).reports.flatMap(\.blocks) }
    #expect(next.isEmpty)
  }

  @Test("closing says BYE for every source that was heard, and nothing after it")
  func close() throws {
    var world = MediaWorld(seed: 9, [video(), audio()])
    let start = world.now
    try world.run(
      for: .seconds(2),
      sending: stream(20, from: start, every: .milliseconds(10))
        + stream(20, from: start + .milliseconds(500), every: .milliseconds(10), payloadType: 111, section: 1))
    world.a.session.close(now: world.now)
    #expect(world.a.session.deadline == nil)
    let last = world.a.drain(now: world.now)
    #expect(try last.flatMap { try parse($0.bytes, form: .compound).goodbyes }.sorted() == [SSRC.video, SSRC.audio])
    for one in last { world.forth.send(one.bytes, one.kind, now: world.now) }
    try world.run(for: .seconds(10))
    #expect(world.b.events.contains(.bye(section: 0, ssrc: SSRC.video)))
    #expect(world.b.events.contains(.bye(section: 1, ssrc: SSRC.audio)))
    #expect(world.a.drain(now: world.now).isEmpty)
    #expect(throws: MediaSendError.notSending) {
      try world.a.session.send(
        OutgoingRTP(payloadType: 96, sequenceNumber: 1, timestamp: 1, payload: [1]), on: 0, now: world.now)
    }
  }

  @Test("a section's end says BYE for its source only")
  func sectionEnds() throws {
    var world = MediaWorld(seed: 10, [video(usesRTX: true), audio()])
    world.forth.drops = [5]
    try world.run(for: .seconds(2), sending: stream(20, from: world.now, every: .milliseconds(10)))
    world.a.session.configure([audio()], now: world.now)
    let goodbyes = try world.a.drain(now: world.now).flatMap { try parse($0.bytes).goodbyes }
    #expect(goodbyes.sorted() == [SSRC.video, SSRC.videoRTX])
  }

  @Test("a negotiation that changes nothing keeps streams, counts and what is asked for")
  func reconfiguration() throws {
    var world = MediaWorld(seed: 11, [video(), audio()])
    world.forth.drops = [30]
    let packets = stream(100, from: world.now, every: .milliseconds(10))
    try world.run(until: packets[31].at, sending: Array(packets[...31]))
    // In another order, and with one more.
    var third = video()
    third.id = 9
    third.mid = "third"
    third.localSSRC = 0x99
    third.remoteSSRCs = []
    let sections = [third, audio(), video()]
    world.a.session.configure(sections, now: world.now)
    world.b.session.configure(sections.map(mirrored), now: world.now)
    try world.run(for: .seconds(2), sending: Array(packets[32...]))
    #expect(Set(world.b.packets.map(\.sequenceNumber)).count == 100)
    #expect(world.b.session.statistics(of: 0).packetsReceived == 100)
    #expect(world.b.session.statistics(of: 0).packetsRecovered == 1)
    #expect(world.a.session.statistics(of: 0).packetsSent == 101)
    #expect(try world.a.sent.filter { $0.kind == .rtcp }.flatMap { try parse($0.bytes).goodbyes }.isEmpty)
  }
}
