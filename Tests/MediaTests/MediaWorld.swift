// MediaWorld.swift — two sessions, a seeded link each way, and a clock that jumps to the next thing due.
//
// Whatever is sent is checked against the rule that SRTP depends on: one SSRC and number, one packet.

import Media
import RTP
import Testing
import Wire

/// A link that delays, loses, repeats and reorders.
struct Link {
  struct Datagram {
    var arrival: Instant
    var order: Int
    var kind: MediaPacketKind
    var bytes: [UInt8]
  }

  var lossPerMille = 0
  var duplicatePerMille = 0
  var delay = Interval.milliseconds(20)
  /// What is added to the delay is drawn from 0 to this.
  var spread = Interval.zero
  /// Drops by the sender's count of RTP packets, from 0.
  var drops: Set<Int> = []
  private(set) var rtpCount = 0
  private var random: RandomSource
  private var underWay: [Datagram] = []
  private var order = 0

  init(seed: UInt64) { random = .seeded(state: seed) }

  var nextArrival: Instant? { underWay.map(\.arrival).min() }

  mutating func send(_ bytes: [UInt8], _ kind: MediaPacketKind, now: Instant) {
    if kind == .rtp {
      rtpCount += 1
      if drops.contains(rtpCount - 1) { return }
    }
    let copies = Int.random(in: 0..<1_000, using: &random) < duplicatePerMille ? 2 : 1
    for _ in 0..<copies where Int.random(in: 0..<1_000, using: &random) >= lossPerMille {
      let extra = spread > .zero ? Int64.random(in: 0...spread.nanoseconds, using: &random) : 0
      order += 1
      underWay.append(
        Datagram(arrival: now + delay + Interval(nanoseconds: extra), order: order, kind: kind, bytes: bytes))
    }
  }

  mutating func receive(now: Instant) -> [Datagram] {
    let arrived = underWay.filter { $0.arrival <= now }.sorted { ($0.arrival, $0.order) < ($1.arrival, $1.order) }
    underWay.removeAll { $0.arrival <= now }
    return arrived
  }
}

/// Something that left, or that arrived.
struct Logged {
  var at: Instant
  var kind: MediaPacketKind
  var bytes: [UInt8]

  var sequenceNumber: UInt16 { UInt16(bytes[2]) << 8 | UInt16(bytes[3]) }
  var timestamp: UInt32 { word(4) }
  var ssrc: UInt32 { word(8) }
  var payloadType: UInt8 { bytes[1] & 0x7f }
  private func word(_ at: Int) -> UInt32 { bytes[at..<(at + 4)].reduce(0) { $0 << 8 | UInt32($1) } }
}

/// One session with what it has said and been told.
struct Side: ~Copyable {
  var session: MediaSession
  var events: [MediaEvent] = []
  var sent: [Logged] = []
  var received: [Logged] = []
  /// By SSRC, and by what SRTP takes for the index of a packet (RFC 3711 §3.3.1).
  private var identities: [UInt32: [Int: [UInt8]]] = [:]
  private var highest: [UInt32: Int] = [:]

  init(_ session: consuming MediaSession) { self.session = session }

  var packets: [IncomingRTP] { events.compactMap { if case .packet(let packet) = $0 { packet } else { nil } } }

  /// All that it has to send now.
  mutating func drain(now: Instant) -> [Logged] {
    var all: [Logged] = []
    while let one = pollTransmit(&session, now: now) {
      all.append(one)
      guard one.kind == .rtp else { continue }
      let before = highest[one.ssrc] ?? Int(one.sequenceNumber)
      let index = before + Int(Int16(truncatingIfNeeded: Int(one.sequenceNumber) - before))
      highest[one.ssrc] = max(before, index)
      if let known = identities[one.ssrc]?[index] { #expect(known == one.bytes, "one number, two packets: \(index)") }
      identities[one.ssrc, default: [:]][index] = one.bytes
    }
    while let event = session.pollEvent() { events.append(event) }
    sent += all
    return all
  }

  mutating func receive(_ datagram: Link.Datagram, now: Instant) {
    received.append(Logged(at: now, kind: datagram.kind, bytes: datagram.bytes))
    handle(datagram.kind, datagram.bytes, now: now)
  }

  mutating func handle(_ kind: MediaPacketKind, _ bytes: [UInt8], now: Instant) {
    switch kind {
    case .rtp: session.handleRTP(bytes.rawSpan, now: now)
    case .rtcp: session.handleRTCP(bytes.rawSpan, now: now)
    }
  }

  mutating func takeEvents() -> [MediaEvent] {
    while let event = session.pollEvent() { events.append(event) }
    defer { events = [] }
    return events
  }
}

func pollTransmit(_ session: inout MediaSession, now: Instant) -> Logged? {
  var kind: MediaPacketKind?
  let capacity = session.transmitCapacity
  let bytes = collectBytes(capacity: capacity) { out in kind = session.pollTransmit(into: &out, now: now) }
  return kind.map { Logged(at: now, kind: $0, bytes: bytes) }
}

struct MediaWorld: ~Copyable {
  struct Sending {
    var at: Instant
    var packet: OutgoingRTP
    var section = 0
  }

  var a: Side
  var b: Side
  /// From `a` to `b`, and back.
  var forth: Link
  var back: Link
  var now = Instant(nanoseconds: 5_000_000_000)

  /// - Parameters:
  ///   - sections: of `a`; `b` has their mirror images.
  init(seed: UInt64, _ sections: [MediaSection], limits: MediaLimits = MediaLimits()) {
    var random = RandomSource.seeded(state: seed)
    a = Side(
      MediaSession(
        limits: limits, cname: "a@example", random: random.split(),
        wallClock: WallClock(nanosecondsAtOrigin: 1_795_000_000_000_000_000)))
    b = Side(MediaSession(limits: limits, cname: "b@example", random: random.split()))
    forth = Link(seed: random.next())
    back = Link(seed: random.next())
    a.session.configure(sections, now: now)
    b.session.configure(sections.map(mirrored), now: now)
    a.session.start(now: now)
    b.session.start(now: now)
  }

  /// Runs until `end`; `a` sends `sending`, in order of time.
  mutating func run(until end: Instant, sending: [Sending] = []) throws {
    var rest = sending[...]
    var steps = 0
    while true {
      steps += 1
      try #require(steps < 1_000_000, "the clock does not advance")
      for one in a.drain(now: now) { forth.send(one.bytes, one.kind, now: now) }
      for one in b.drain(now: now) { back.send(one.bytes, one.kind, now: now) }
      let due = [a.session.deadline, b.session.deadline, forth.nextArrival, back.nextArrival, rest.first?.at]
      guard let next = due.compactMap({ $0 }).min(), next <= end else {
        now = end
        return
      }
      now = max(now, next)
      while let first = rest.first, first.at <= now {
        try a.session.send(first.packet, on: first.section, now: now)
        rest = rest.dropFirst()
      }
      for datagram in forth.receive(now: now) { b.receive(datagram, now: now) }
      for datagram in back.receive(now: now) { a.receive(datagram, now: now) }
      a.session.handleTimeout(now: now)
      b.session.handleTimeout(now: now)
      let late = [a.session.deadline, b.session.deadline].compactMap { $0 }.filter { $0 <= now }
      try #require(late.isEmpty, "handleTimeout moves every deadline")
    }
  }

  mutating func run(for duration: Interval, sending: [Sending] = []) throws {
    try run(until: now + duration, sending: sending)
  }
}

// MARK: What is sent

let vp8 = MediaCodec(
  name: "VP8", clockRate: 90_000, hasNACK: true, hasPLI: true, hasFIR: true, hasREMB: true, hasTransportCC: true)
let opus = MediaCodec(name: "opus", clockRate: 48_000, channels: 2)
let rtx = MediaCodec(name: "rtx", clockRate: 90_000, rtxFor: 96)

enum SSRC {
  static let video: UInt32 = 0x1111_1111
  static let videoRTX: UInt32 = 0x1111_2222
  static let audio: UInt32 = 0x2222_1111
  static let remoteVideo: UInt32 = 0x3333_1111
  static let remoteAudio: UInt32 = 0x4444_1111
}

func video(usesRTX: Bool = false, sends: Bool = true, receives: Bool = true) -> MediaSection {
  MediaSection(
    id: 0, mid: "v", kind: .video, sends: sends, receives: receives,
    payloadTypes: usesRTX ? [96: vp8, 97: rtx] : [96: vp8],
    extensionIDs: MediaExtensionIDs(mid: 1, transportSequence: 3, absoluteSendTime: 2),
    localSSRC: SSRC.video, localRTXSSRC: usesRTX ? SSRC.videoRTX : nil, remoteSSRCs: [SSRC.remoteVideo])
}

func audio() -> MediaSection {
  MediaSection(
    id: 1, mid: "a", kind: .audio, sends: true, receives: true, payloadTypes: [111: opus],
    extensionIDs: MediaExtensionIDs(mid: 1), localSSRC: SSRC.audio, remoteSSRCs: [SSRC.remoteAudio])
}

/// The other side's view of a section.
func mirrored(_ section: MediaSection) -> MediaSection {
  var other = section
  swap(&other.sends, &other.receives)
  other.localSSRC = section.remoteSSRCs.first ?? section.localSSRC ^ 0xffff_0000
  other.localRTXSSRC = section.localRTXSSRC.map { $0 ^ 0xffff_0000 }
  other.remoteSSRCs = [section.localSSRC]
  if let rtx = section.localRTXSSRC { other.remoteRTX = [rtx: section.localSSRC] }
  return other
}

/// A steady stream: `perFrame` packets with one timestamp, then the next frame.
func stream(
  _ count: Int, from start: Instant, every interval: Interval, first: UInt16 = 100, timestamp: UInt32 = 1_000,
  payloadType: UInt8 = 96, ticks: UInt32 = 450, size: Int = 200, section: Int = 0
) -> [MediaWorld.Sending] {
  (0..<count).map { index in
    let number = first &+ UInt16(truncatingIfNeeded: index)
    return MediaWorld.Sending(
      at: start + interval * Int64(index),
      packet: OutgoingRTP(
        payloadType: payloadType, marker: index % 10 == 9, sequenceNumber: number,
        timestamp: timestamp &+ ticks &* UInt32(truncatingIfNeeded: index), payload: payload(index, size: size)),
      section: section)
  }
}

/// Tells which packet it is, and whether it is whole.
func payload(_ index: Int, size: Int = 200) -> [UInt8] {
  (0..<size).map { UInt8(truncatingIfNeeded: index &* 31 &+ $0 &* 7 &+ index >> 8) }
}

/// A packet as a peer might make it.
func rtp(
  _ number: UInt16, ssrc: UInt32, payloadType: UInt8 = 96, timestamp: UInt32 = 0, mid: String? = nil,
  extensions: [RTPExtension] = [], payload: [UInt8] = [1, 2, 3], padding: Int = 0
) throws -> [UInt8] {
  let header = RTPHeader(payloadType: payloadType, sequenceNumber: number, timestamp: timestamp, ssrc: ssrc)
  let all = (mid.map { [RTPExtension(id: 1, text: $0)] } ?? []) + extensions
  return try collectBytes(capacity: 2_000) { (out) throws(RTPEncodingError) in
    try RTPWriter.write(header, extensions: all, payload: payload.rawSpan, padding: padding, into: &out)
  }
}

/// RTCP without a report before it.
func rtcp(
  _ body: (RTCPWriter, inout OutputRawSpan) throws(RTPEncodingError) -> Void
) throws -> [UInt8] {
  try collectBytes(capacity: 4_000) { (out) throws(RTPEncodingError) in try body(.reducedSize(), &out) }
}

/// A receiver report of one block.
func receiverReport(_ block: RTCPReportBlock, from ssrc: UInt32) throws -> [UInt8] {
  try collectBytes(capacity: 2_000) { (out) throws(RTPEncodingError) in
    _ = try RTCPWriter(RTCPReport(ssrc: ssrc, senderInfo: nil, blocks: [block]), cname: [0x78], into: &out)
  }
}

func block(_ ssrc: UInt32, lost: Int32 = 0, fraction: UInt8 = 0, lastReport: UInt32 = 0, delay: UInt32 = 0)
  -> RTCPReportBlock
{
  RTCPReportBlock(
    ssrc: ssrc, fractionLost: fraction, cumulativeLost: lost, extendedHighestSequence: 0, jitter: 0,
    lastSenderReport: lastReport, delaySinceLastSenderReport: delay)
}

extension Interval {
  var milliseconds: Double { Double(nanoseconds) / 1e6 }
}
