// ReceptionTests.swift — loss, jitter and round trip as reported, against figures that the tests work out for themselves
// (RFC 3550 §6.4.1, A.1, A.3, A.8).

import Media
import RTP
import Testing
import Wire

@Suite("Reception")
struct ReceptionTests {
  /// The blocks of all reports that a side sent, with their times.
  private func blocks(_ sent: [Logged]) throws -> [(at: Instant, block: RTCPReportBlock)] {
    var found: [(at: Instant, block: RTCPReportBlock)] = []
    for one in sent where one.kind == .rtcp {
      for report in try parse(one.bytes).reports { found += report.blocks.map { (one.at, $0) } }
    }
    return found
  }

  @Test("loss, jitter and the highest number equal an independent count", arguments: 1...20)
  func figures(seed: UInt64) throws {
    var world = MediaWorld(seed: seed, [audio()])
    world.forth.lossPerMille = 80
    world.forth.duplicatePerMille = 30
    world.forth.spread = .milliseconds(45)
    // The first packet arrives first, so that none lies before where the count begins.
    let packets = stream(
      900, from: world.now + .milliseconds(100), every: .milliseconds(20), first: 65_200, timestamp: .max - 200_000,
      payloadType: 111, ticks: 960, section: 1)
    world.forth.lossPerMille = 0
    try world.run(until: packets[0].at + .milliseconds(90), sending: Array(packets[..<1]))
    world.forth.lossPerMille = 80
    let rest = Array(packets[1...]).map { one in
      MediaWorld.Sending(at: one.at + .milliseconds(200), packet: one.packet, section: 1)
    }
    try world.run(for: .seconds(20), sending: rest)

    let reports = try blocks(world.b.sent)
    try #require(reports.count > 4)
    var independent = IndependentReception(clockRate: 48_000)
    var arrivals = world.b.received.filter { $0.kind == .rtp }[...]
    for report in reports {
      while let next = arrivals.first, next.at <= report.at {
        independent.receive(next)
        arrivals = arrivals.dropFirst()
      }
      let expected = independent.report()
      #expect(report.block.ssrc == SSRC.audio)
      #expect(report.block.cumulativeLost == Int32(expected.cumulative), "seed \(seed)")
      #expect(report.block.fractionLost == expected.fraction, "seed \(seed)")
      #expect(report.block.extendedHighestSequence == expected.highest, "seed \(seed)")
      // A.8's integers round; the definition does not.
      #expect(abs(Double(report.block.jitter) - expected.jitter) <= 2, "seed \(seed)")
    }
    for late in arrivals { independent.receive(late) }
    let statistics = world.b.session.statistics(of: 1)
    #expect(statistics.packetsReceived == independent.numbers.count, "seed \(seed)")
    #expect(statistics.duplicatePackets == independent.received - independent.numbers.count, "seed \(seed)")
    #expect(world.a.session.statistics(of: 1).remotePacketsLost == Int(reports.last?.block.cumulativeLost ?? -1))
    #expect(independent.highest > 1 << 16, "the numbers have wrapped")
  }

  @Test("the round trip is the links' delay, also when the report waited")
  func roundTrip() throws {
    var world = MediaWorld(seed: 5, [video()])
    world.forth.delay = .milliseconds(35)
    world.back.delay = .milliseconds(50)
    try world.run(for: .seconds(10), sending: stream(900, from: world.now, every: .milliseconds(10)))
    let measured = try #require(world.a.session.statistics(of: 0).roundTrip)
    #expect(abs(measured.milliseconds - 85) < 0.1)
    #expect(abs(try #require(world.a.session.statistics.roundTrip).milliseconds - 85) < 0.1)
    // The other side sends nothing that could be reported on.
    #expect(world.b.session.statistics(of: 0).roundTrip == nil)
  }

  @Test("a side that only receives measures the round trip by what it asks for")
  func roundTripOfRequests() throws {
    var world = MediaWorld(seed: 6, [video()])
    world.forth.delay = .milliseconds(35)
    world.back.delay = .milliseconds(50)
    world.forth.drops = [50, 90, 130]
    try world.run(for: .seconds(4), sending: stream(300, from: world.now, every: .milliseconds(10)))
    let measured = try #require(world.b.session.statistics.roundTrip)
    #expect((85...90).contains(measured.milliseconds))
  }

  @Test("a source found by its payload type alone is on probation for one packet, and loses none")
  func probation() throws {
    var section = video()
    section.extensionIDs = MediaExtensionIDs()
    var side = receiver(of: [section])
    let now = Instant(nanoseconds: 1)
    side.handle(.rtp, try rtp(7, ssrc: 0x51), now: now)
    #expect(side.takeEvents().isEmpty)
    side.handle(.rtp, try rtp(8, ssrc: 0x51), now: now)
    #expect(side.numbers() == [7, 8])
    // Another that never comes in sequence.
    for number: UInt16 in [10, 20, 30, 40] { side.handle(.rtp, try rtp(number, ssrc: 0x52), now: now) }
    #expect(side.takeEvents().isEmpty)
    #expect(side.session.statistics(of: 0).packetsReceived == 2)
  }

  @Test("a jump is believed when a second packet confirms it, and the count begins anew")
  func restart() throws {
    var side = receiver(of: [video()], announcing: [0x51])
    let now = Instant(nanoseconds: 1)
    for number: UInt16 in [100, 101, 102] { side.handle(.rtp, try rtp(number, ssrc: 0x51), now: now) }
    side.handle(.rtp, try rtp(40_000, ssrc: 0x51), now: now)  // stray
    side.handle(.rtp, try rtp(103, ssrc: 0x51), now: now)
    #expect(side.numbers() == [100, 101, 102, 103])
    side.handle(.rtp, try rtp(20_000, ssrc: 0x51), now: now)
    side.handle(.rtp, try rtp(20_001, ssrc: 0x51), now: now)
    side.handle(.rtp, try rtp(20_002, ssrc: 0x51), now: now)
    #expect(side.numbers() == [20_001, 20_002])
    #expect(side.session.statistics(of: 0).packetsLost == 0)
    #expect(side.session.statistics.invalidSequences == 2)
  }

  @Test("packets go up in order of arrival, late ones too, each once")
  func order() throws {
    var side = receiver(of: [video()], announcing: [0x51])
    let now = Instant(nanoseconds: 1)
    for number: UInt16 in [65_534, 0, 65_535, 0, 65_533, 3, 65_533, 1] {
      side.handle(.rtp, try rtp(number, ssrc: 0x51), now: now)
    }
    #expect(side.numbers() == [65_534, 0, 65_535, 65_533, 3, 1])
    #expect(side.session.statistics(of: 0).duplicatePackets == 2)
  }

  @Test("parsed fields go up; padding does not, and a packet of nothing else is told as such")
  func fields() throws {
    var side = receiver(of: [video()], announcing: [0x51])
    let now = Instant(nanoseconds: 77)
    let time = AbsoluteSendTime(NTPTime(unixNanoseconds: 12_345_678_900))
    let bytes = try rtp(
      5, ssrc: 0x51, timestamp: 99, mid: "v",
      extensions: [
        RTPExtension(id: 2, time), RTPExtension(id: 3, transportSequence: 1), RTPExtension(id: 7, value: [1, 2]),
      ], payload: [9, 8], padding: 6)
    side.handle(.rtp, bytes, now: now)
    side.handle(.rtp, try rtp(6, ssrc: 0x51, payload: [], padding: 200), now: now)
    let events = side.takeEvents()
    guard events.count == 2, case .packet(let packet) = events[0], case .padding(let padding) = events[1] else {
      Issue.record("\(events)")
      return
    }
    #expect(packet.payload == [9, 8])
    #expect(packet.timestamp == 99)
    #expect(packet.extensions == [RTPExtension(id: 7, value: [1, 2])])
    #expect(packet.absoluteSendTime == time)
    #expect(packet.receivedAt == now)
    #expect(padding.sequenceNumber == 6)
    #expect(padding.payload.isEmpty)
    let statistics = side.session.statistics(of: 0)
    #expect(statistics.packetsReceived == 2)
    #expect(statistics.bytesReceived == 2)
    #expect(statistics.paddingPackets == 1)
  }
}

extension Side {
  /// Of the packets that came since the last time.
  mutating func numbers() -> [UInt16] {
    takeEvents().compactMap { if case .packet(let packet) = $0 { packet.sequenceNumber } else { nil } }
  }
}

/// RFC 3550's definitions in their plainest form: sets, and fractions as they are written.
private struct IndependentReception {
  let clockRate: Double
  var numbers: Set<Int> = []
  var received = 0
  var highest = 0
  private var first: Int?
  private var jitter = 0.0
  private var last: (arrival: Double, timestamp: UInt32)?
  private var before = (expected: 0, received: 0)

  init(clockRate: Double) { self.clockRate = clockRate }

  mutating func receive(_ packet: Logged) {
    received += 1
    // The nearest number on the line to the highest so far.
    let inThisCycle = highest / 65_536 * 65_536 + Int(packet.sequenceNumber)
    let candidates = [inThisCycle - 65_536, inThisCycle, inThisCycle + 65_536]
    let number = candidates.min { abs($0 - highest) < abs($1 - highest) } ?? 0
    let isFirst = first == nil
    if isFirst { first = Int(packet.sequenceNumber) }
    highest = isFirst ? Int(packet.sequenceNumber) : max(highest, number)
    guard numbers.insert(isFirst ? Int(packet.sequenceNumber) : number).inserted else { return }
    let arrival = Double(packet.at.nanoseconds) / 1e9 * clockRate
    if let last {
      let difference = arrival - last.arrival - Double(Int32(bitPattern: packet.timestamp &- last.timestamp))
      jitter += (abs(difference) - jitter) / 16
    }
    last = (arrival, packet.timestamp)
  }

  mutating func report() -> (fraction: UInt8, cumulative: Int, highest: UInt32, jitter: Double) {
    let expected = highest - (first ?? 0) + 1
    let interval = expected - before.expected
    let lost = interval - (received - before.received)
    before = (expected, received)
    let fraction = interval > 0 && lost > 0 ? UInt8(min(255, Double(lost) * 256 / Double(interval))) : 0
    return (fraction, expected - received, UInt32(highest), jitter)
  }
}

/// What a compound says, in plain values.
struct ParsedRTCP {
  var reports: [(ssrc: UInt32, info: RTCPSenderInfo?, blocks: [RTCPReportBlock])] = []
  var nacks: [(media: UInt32, numbers: [UInt16])] = []
  var goodbyes: [UInt32] = []
  var names: [UInt32: String] = [:]
  var plis: [UInt32] = []
  var firs: [RTCPFullIntraEntry] = []
  var transport: [(base: UInt16, count: Int, statuses: [RTCPPacketStatus])] = []
  var packetCount = 0
}

func parse(_ bytes: [UInt8], form: RTCPForm = .reducedSize) throws -> ParsedRTCP {
  var result = ParsedRTCP()
  var compound = try RTCPCompound(bytes.rawSpan, form: form)
  while let packet = try compound.next() {
    result.packetCount += 1
    switch packet {
    case .senderReport(let report):
      result.reports.append((report.ssrc, report.info, (0..<report.blocks.count).map { report.blocks.block($0) }))
    case .receiverReport(let report):
      result.reports.append((report.ssrc, nil, (0..<report.blocks.count).map { report.blocks.block($0) }))
    case .sourceDescription(let description):
      var chunks = description.chunks
      while let chunk = chunks.next() {
        guard let name = chunk.item(RTCPDescriptionType.cname) else { continue }
        result.names[chunk.ssrc] = String(decoding: name.copyBytes(), as: UTF8.self)
      }
    case .goodbye(let goodbye): result.goodbyes += (0..<goodbye.sourceCount).map { goodbye.source($0) }
    case .nack(let nack):
      var numbers: [UInt16] = []
      var list = nack.sequenceNumbers
      while let number = list.next() { numbers.append(number) }
      result.nacks.append((nack.media, numbers))
    case .pictureLossIndication(let request): result.plis.append(request.media)
    case .fullIntraRequest(let request): result.firs += (0..<request.entryCount).map { request.entry($0) }
    case .transportFeedback(let feedback):
      var all: [RTCPPacketStatus] = []
      var statuses = feedback.statuses
      while let status = statuses.next() { all.append(status) }
      result.transport.append((feedback.baseSequenceNumber, feedback.statusCount, all))
    case .receiverEstimatedMaximumBitrate, .application, .other: break
    }
  }
  return result
}
