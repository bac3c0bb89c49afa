// KeyframeTests.swift — PLI and FIR both ways (RFC 4585 §6.3.1, RFC 5104 §4.3.1), and how many of them there may be.

import Media
import RTP
import Testing
import Wire

@Suite("Keyframes")
struct KeyframeTests {
  private func requests(_ events: [MediaEvent]) -> Int { events.count { $0 == .keyframeRequested(section: 0) } }

  @Test("a request goes at once as PLI and comes out on the other side")
  func roundTrip() throws {
    var world = MediaWorld(seed: 1, [video()])
    try world.run(for: .seconds(1), sending: stream(50, from: world.now, every: .milliseconds(10)))
    let asked = world.now
    #expect(world.b.session.requestKeyframe(0, now: asked) == true)
    try world.run(for: .milliseconds(30))
    #expect(requests(world.a.events) == 1)
    #expect(world.b.session.statistics(of: 0).plisSent == 1)
    #expect(world.a.session.statistics(of: 0).plisReceived == 1)
    let pli = try #require(
      try world.b.sent.first { $0.kind == .rtcp ? try parse($0.bytes).plis == [SSRC.video] : false })
    #expect(pli.at - asked <= .milliseconds(10))
  }

  @Test("FIR is sent when only FIR was negotiated, with a new number for each request")
  func fullIntraRequest() throws {
    var section = video()
    section.payloadTypes[96]?.hasPLI = false
    var world = MediaWorld(seed: 2, [section])
    try world.run(for: .seconds(1), sending: stream(50, from: world.now, every: .milliseconds(10)))
    for _ in 0..<3 {
      world.b.session.requestKeyframe(0, ssrc: SSRC.video, now: world.now)
      try world.run(for: .seconds(1))
    }
    let entries = try world.b.sent.filter { $0.kind == .rtcp }.flatMap { try parse($0.bytes).firs }
    #expect(entries.map(\.ssrc) == [SSRC.video, SSRC.video, SSRC.video])
    #expect(Set(entries.map(\.sequenceNumber)).count == 3)
    #expect(requests(world.a.events) == 3)
    #expect(world.b.session.statistics(of: 0).plisSent == 0)
  }

  @Test("a hundred requests a second become a few, and the last is not forgotten")
  func coalesced() throws {
    var world = MediaWorld(seed: 3, [video()])
    try world.run(for: .seconds(1), sending: stream(50, from: world.now, every: .milliseconds(10)))
    for _ in 0..<100 {
      world.b.session.requestKeyframe(0, now: world.now)
      try world.run(for: .milliseconds(10))
    }
    let last = world.now
    try world.run(for: .seconds(2))
    let sent = try world.b.sent.filter { $0.kind == .rtcp ? try !parse($0.bytes).plis.isEmpty : false }
    #expect((4...5).contains(sent.count))
    #expect(zip(sent, sent.dropFirst()).allSatisfy { $1.at - $0.at >= .milliseconds(300) })
    #expect(try #require(sent.last).at + .milliseconds(10) >= last)
    #expect(requests(world.a.events) == sent.count)
  }

  @Test("a flood of PLI and FIR becomes ten events a second, and a repeated FIR none")
  func flood() throws {
    var side = sender()
    var now = Instant(nanoseconds: 1_000_000_000)
    let pli = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.pictureLossIndication(sender: 9, media: SSRC.video, into: &out)
    }
    for _ in 0..<1_000 {
      side.handle(.rtcp, pli, now: now)
      now = now + .milliseconds(1)
      side.session.handleTimeout(now: now)
    }
    #expect((9...11).contains(requests(side.takeEvents())))
    #expect(side.session.statistics(of: 0).plisReceived == 1_000)

    now = now + .seconds(1)
    side.session.handleTimeout(now: now)
    _ = side.takeEvents()
    let fir = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.fullIntraRequest(
        sender: 9, [RTCPFullIntraEntry(ssrc: SSRC.video, sequenceNumber: 200)], into: &out)
    }
    for _ in 0..<1_000 {
      side.handle(.rtcp, fir, now: now)
      now = now + .milliseconds(1)
      side.session.handleTimeout(now: now)
    }
    #expect(requests(side.takeEvents()) == 1)
    #expect(side.session.statistics(of: 0).firsReceived == 1)
  }

  @Test("there is nobody to ask before anything came, nor without feedback")
  func nobody() throws {
    var world = MediaWorld(seed: 4, [video(), audio()])
    #expect(world.b.session.requestKeyframe(0, now: world.now) == false)
    #expect(world.b.session.requestKeyframe(7, now: world.now) == false)
    try world.run(
      for: .seconds(1),
      sending: stream(50, from: world.now, every: .milliseconds(10), payloadType: 111, section: 1))
    #expect(world.b.session.requestKeyframe(1, now: world.now) == false)
  }
}

/// A running session that sends video.
func sender(usesRTX: Bool = false, limits: MediaLimits = MediaLimits()) -> Side {
  var session = MediaSession(limits: limits, cname: "x", random: .seeded(state: 1))
  session.configure([video(usesRTX: usesRTX)], now: Instant(nanoseconds: 0))
  session.start(now: Instant(nanoseconds: 0))
  return Side(session)
}
