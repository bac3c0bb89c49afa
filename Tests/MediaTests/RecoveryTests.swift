// RecoveryTests.swift — lost packets come back by NACK, each once, over links that lose, repeat and reorder.

import Media
import RTP
import Testing
import Wire

@Suite("Recovery")
struct RecoveryTests {
  @Test("NACK brings back all that was lost, across the wrap of numbers and of timestamps", arguments: 1...30)
  func recoversEverything(seed: UInt64) throws { try recover(seed: seed, usesRTX: false) }

  @Test("RTX does the same on a stream of its own", arguments: 1...30)
  func recoversEverythingByRTX(seed: UInt64) throws { try recover(seed: seed, usesRTX: true) }

  private func recover(seed: UInt64, usesRTX: Bool) throws {
    var world = MediaWorld(seed: seed, [video(usesRTX: usesRTX)])
    world.forth.lossPerMille = 100
    world.back.lossPerMille = 100
    world.forth.duplicatePerMille = 20
    world.forth.spread = .milliseconds(12)
    // The first packet tells where the stream begins, and a lost last one nobody misses: both are let through.
    let count = 600
    let packets = stream(
      count, from: world.now, every: .milliseconds(5), first: 65_300, timestamp: .max - 100_000)
    let loss = world.forth.lossPerMille
    world.forth.lossPerMille = 0
    try world.run(until: packets[1].at, sending: Array(packets[..<1]))
    world.forth.lossPerMille = loss
    try world.run(until: packets[count - 5].at, sending: Array(packets[1..<(count - 5)]))
    world.forth.lossPerMille = 0
    try world.run(for: .seconds(3), sending: Array(packets[(count - 5)...]))

    var seen: [UInt16: IncomingRTP] = [:]
    for packet in world.b.packets {
      #expect(seen.updateValue(packet, forKey: packet.sequenceNumber) == nil, "twice, seed \(seed)")
    }
    for sending in packets {
      let packet = seen[sending.packet.sequenceNumber]
      #expect(packet?.payload == sending.packet.payload, "seed \(seed)")
      #expect(packet?.timestamp == sending.packet.timestamp, "seed \(seed)")
      #expect(packet?.marker == sending.packet.marker, "seed \(seed)")
      #expect(packet?.ssrc == SSRC.video && packet?.payloadType == 96, "seed \(seed)")
    }
    let statistics = world.b.session.statistics(of: 0)
    #expect(statistics.packetsReceived == count, "seed \(seed)")
    #expect(statistics.packetsRecovered > 30, "seed \(seed)")
    #expect(statistics.packetsAbandoned == 0, "seed \(seed)")
    let again = world.a.sent.filter { $0.kind == .rtp && $0.ssrc == SSRC.videoRTX }
    #expect(usesRTX ? !again.isEmpty : again.isEmpty)
    #expect(world.a.session.statistics(of: 0).packetsRetransmitted >= statistics.packetsRecovered, "seed \(seed)")
  }

  @Test("a sender that keeps nothing is asked a bounded number of times")
  func boundedTries() throws {
    var limits = MediaLimits()
    limits.historyAge = .milliseconds(-1)
    var world = MediaWorld(seed: 2, [video()], limits: limits)
    world.forth.drops = [10, 11, 40]
    let start = world.now
    try world.run(for: .seconds(4), sending: stream(300, from: start, every: .milliseconds(10)))
    let statistics = world.b.session.statistics(of: 0)
    #expect(statistics.packetsAbandoned == 3)
    #expect(statistics.packetsRequested <= 30)
    #expect(statistics.packetsRequested >= 15)
    #expect(world.a.session.statistics(of: 0).packetsRetransmitted == 0)
    let abandoned = world.b.events.compactMap { event -> Int? in
      if case .packetsAbandoned(section: 0, ssrc: SSRC.video, let count) = event { count } else { nil }
    }
    #expect(abandoned.reduce(0, +) == 3)
    #expect(statistics.packetsLost == 3)
  }

  @Test("packets that only overtook each other are not asked for")
  func patience() throws {
    var world = MediaWorld(seed: 3, [video()])
    world.forth.spread = .milliseconds(9)
    try world.run(for: .seconds(3), sending: stream(1_000, from: world.now, every: .milliseconds(2)))
    #expect(world.b.packets.count == 1_000)
    #expect(world.b.packets.map(\.sequenceNumber) != world.b.packets.map(\.sequenceNumber).sorted())
    #expect(world.b.session.statistics(of: 0).packetsRequested == 0)
  }

  @Test("without NACK nobody asks and nothing is kept")
  func withoutNACK() throws {
    var world = MediaWorld(seed: 4, [audio()])
    world.forth.drops = [10, 20]
    try world.run(
      for: .seconds(4),
      sending: stream(100, from: world.now, every: .milliseconds(20), payloadType: 111, ticks: 960, section: 1))
    #expect(world.b.packets.count == 98)
    #expect(world.b.session.statistics(of: 1).packetsRequested == 0)
    #expect(world.b.session.statistics(of: 1).packetsLost == 2)
  }

  @Test("a retransmission stream that nobody announced is found by what is being asked for")
  func unannouncedRTX() throws {
    var section = video(usesRTX: true)
    section.extensionIDs = MediaExtensionIDs(mid: 1)
    var side = receiver(of: [section], announcing: [SSRC.video, 0x77])
    let now = Instant(nanoseconds: 1_000_000_000)
    for number: UInt16 in [10, 11, 13] {
      side.handle(.rtp, try rtp(number, ssrc: SSRC.video), now: now)
      side.handle(.rtp, try rtp(number == 13 ? 12 : number, ssrc: 0x77), now: now)
    }
    // Number 12 is missing of the first stream only.
    side.handle(.rtp, try rtp(500, ssrc: 0x99, payloadType: 97, mid: "v", payload: [0, 12, 7, 8, 9]), now: now)
    let last = side.takeEvents().last
    guard case .packet(let packet)? = last else {
      Issue.record("nothing came")
      return
    }
    #expect(packet.ssrc == SSRC.video)
    #expect(packet.sequenceNumber == 12)
    #expect(packet.payloadType == 96)
    #expect(packet.payload == [7, 8, 9])
    #expect(packet.isRecovered)
    // The original after all, and the retransmission once more: once is enough.
    side.handle(.rtp, try rtp(12, ssrc: SSRC.video), now: now)
    side.handle(.rtp, try rtp(501, ssrc: 0x99, payloadType: 97, payload: [0, 12, 7, 8, 9]), now: now)
    #expect(side.takeEvents().isEmpty)
  }
}

/// A running session that receives `sections` with these sources announced in the first.
func receiver(
  of sections: [MediaSection], announcing ssrcs: [UInt32] = [], limits: MediaLimits = MediaLimits()
) -> Side {
  var sections = sections
  sections[0].remoteSSRCs = ssrcs
  var session = MediaSession(limits: limits, cname: "x", random: .seeded(state: 1))
  session.configure(sections, now: Instant(nanoseconds: 0))
  session.start(now: Instant(nanoseconds: 0))
  return Side(session)
}
