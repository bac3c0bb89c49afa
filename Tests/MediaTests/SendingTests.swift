// SendingTests.swift — what `send` refuses, what it adds, and that no number is used twice.

import RTP
import Testing
import Wire

@testable import Media

@Suite("Sending")
struct SendingTests {
  private let now = Instant(nanoseconds: 1_000_000_000)
  private func packet(_ number: UInt16, payloadType: UInt8 = 96, size: Int = 10) -> OutgoingRTP {
    OutgoingRTP(payloadType: payloadType, sequenceNumber: number, timestamp: 0, payload: payload(0, size: size))
  }

  @Test("each misuse has its error")
  func errors() throws {
    var side = sender(usesRTX: true)
    #expect(throws: MediaSendError.notSending) { try side.session.send(packet(1), on: 5, now: now) }
    #expect(throws: MediaSendError.unknownPayloadType) {
      try side.session.send(packet(1, payloadType: 95), on: 0, now: now)
    }
    #expect(throws: MediaSendError.unknownPayloadType) {
      try side.session.send(packet(1, payloadType: 224), on: 0, now: now)
    }
    #expect(throws: MediaSendError.unknownPayloadType, "RTX is not the application's") {
      try side.session.send(packet(1, payloadType: 97), on: 0, now: now)
    }
    #expect(throws: MediaSendError.packetTooLarge) { try side.session.send(packet(1, size: 1_430), on: 0, now: now) }
    var tooMany = packet(1)
    tooMany.contributingSources = Array(0..<16)
    #expect(throws: MediaSendError.badHeader) { try side.session.send(tooMany, on: 0, now: now) }
    var badID = packet(1)
    badID.extensions = [RTPExtension(id: 0, value: [1])]
    #expect(throws: MediaSendError.badHeader) { try side.session.send(badID, on: 0, now: now) }
    badID.extensions = [RTPExtension(id: 20, value: [UInt8](repeating: 0, count: 256))]
    #expect(throws: MediaSendError.badHeader) { try side.session.send(badID, on: 0, now: now) }
    // None of them used the number.
    try side.session.send(packet(1), on: 0, now: now)
    #expect(side.drain(now: now).count == 1)
  }

  @Test("the largest packet that is taken fits what is promised, also as RTX and in the form of two bytes")
  func largest() throws {
    var side = sender(usesRTX: true)
    var largest = 0
    var number: UInt16 = 0
    for size in 1_300...1_430 {
      for value in [0, 20] {
        var packet = packet(number, size: size)
        packet.extensions = [RTPExtension(id: 40, value: [UInt8](repeating: 7, count: value))]
        do throws(MediaSendError) {
          try side.session.send(packet, on: 0, now: now)
          number += 1
          largest = max(largest, side.drain(now: now).last?.bytes.count ?? 0)
        } catch {
          #expect(error == .packetTooLarge)
        }
      }
    }
    #expect(largest == MediaLimits().maximumPacketSize)
    let nack = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 9, media: SSRC.video, RTCPNackPair.pairs(Array((number - 10)..<number)), into: &out)
    }
    side.handle(.rtcp, nack, now: now + .milliseconds(300))
    let again = side.drain(now: now + .milliseconds(300)).filter { $0.kind == .rtp }
    #expect(again.map(\.bytes.count).max() == largest + 2)
    #expect(largest + 2 <= side.session.transmitCapacity)
  }

  @Test("the queue is bounded in packets and in bytes, and a refused packet may be sent later")
  func queueFull() throws {
    var side = sender()
    for number: UInt16 in 0..<512 { try side.session.send(packet(number), on: 0, now: now) }
    #expect(throws: MediaSendError.queueFull) { try side.session.send(packet(512), on: 0, now: now) }
    #expect(side.session.statistics(of: 0).queuedPackets == 512)
    #expect(side.drain(now: now).count == 512)
    try side.session.send(packet(512), on: 0, now: now)
    #expect(side.drain(now: now).count == 1)
    var limits = MediaLimits()
    limits.maximumQueuedBytes = 5_000
    var small = sender(limits: limits)
    for number: UInt16 in 0..<4 { try small.session.send(packet(number, size: 1_000), on: 0, now: now) }
    #expect(throws: MediaSendError.queueFull) { try small.session.send(packet(4, size: 1_000), on: 0, now: now) }
  }

  @Test("a number is taken once; out of order is fine, and a source that begins anew is renumbered")
  func numbers() throws {
    var side = sender()
    for number: UInt16 in [65_534, 1, 65_535, 0] { try side.session.send(packet(number), on: 0, now: now) }
    for number: UInt16 in [65_534, 0, 1] {
      #expect(throws: MediaSendError.sequenceNumberUsed) { try side.session.send(packet(number), on: 0, now: now) }
    }
    _ = side.drain(now: now)
    #expect(throws: MediaSendError.sequenceNumberUsed) { try side.session.send(packet(40_000), on: 0, now: now) }
    #expect(throws: MediaSendError.sequenceNumberUsed) { try side.session.send(packet(45_000), on: 0, now: now) }
    try side.session.send(packet(45_001), on: 0, now: now)
    try side.session.send(packet(45_003), on: 0, now: now)
    try side.session.send(packet(45_002), on: 0, now: now)
    #expect(side.drain(now: now).map(\.sequenceNumber) == [2, 4, 3])
  }

  @Test("no number leaves twice, whatever the application does", arguments: 1...20)
  func neverTwice(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    var numbers = SendNumbers()
    var used: Set<Int> = []
    var highest = 0
    var at: UInt16 = .random(in: 0...UInt16.max, using: &random)
    for index in 0..<20_000 {
      switch Int.random(in: 0..<100, using: &random) {
      case 0: at = .random(in: 0...UInt16.max, using: &random)
      case 1..<10: at &-= UInt16.random(in: 0...20, using: &random)
      default: at &+= 1
      }
      guard let wire = numbers.use(at) else { continue }
      // The extended number, as SRTP would guess it (RFC 3711 §3.3.1).
      let number = index == 0 ? Int(wire) + 65_536 : highest + Int(Int16(bitPattern: wire &- UInt16(highest & 0xffff)))
      highest = max(highest, number)
      #expect(used.insert(number).inserted, "seed \(seed)")
    }
    #expect(used.count > 5_000)
  }

  @Test("the mid goes along until the peer has reported on the stream, and again after a negotiation that changes it")
  func midUntilAcknowledged() throws {
    var side = sender()
    func mid(_ number: UInt16) throws -> [UInt8]? {
      try side.session.send(packet(number), on: 0, now: now)
      let bytes = try #require(side.drain(now: now).last { $0.kind == .rtp }).bytes
      return try RTPPacketView(bytes.rawSpan).extensionValue(1)?.copyBytes()
    }
    #expect(try mid(1) == Array("v".utf8))
    #expect(try mid(2) == Array("v".utf8))
    side.handle(.rtcp, try receiverReport(block(SSRC.audio), from: 9), now: now)
    #expect(try mid(3) == Array("v".utf8), "that was about another")
    side.handle(.rtcp, try receiverReport(block(SSRC.video), from: 9), now: now)
    #expect(try mid(4) == nil)
    var changed = video()
    changed.mid = "new"
    side.session.configure([changed], now: now)
    #expect(try mid(5) == Array("new".utf8))
    // What was sent with other extensions cannot be sent again with the same bytes, so it is not.
    let nack = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 9, media: SSRC.video, RTCPNackPair.pairs([1, 2, 3, 4]), into: &out)
    }
    side.handle(.rtcp, nack, now: now + .milliseconds(500))
    #expect(side.drain(now: now + .milliseconds(500)).filter { $0.kind == .rtp }.isEmpty)
  }

  @Test("a section on hold keeps its numbers")
  func hold() throws {
    var side = sender()
    try side.session.send(packet(7), on: 0, now: now)
    _ = side.drain(now: now)
    side.session.configure([video(sends: false)], now: now)
    #expect(throws: MediaSendError.notSending) { try side.session.send(packet(8), on: 0, now: now) }
    side.session.configure([video()], now: now)
    #expect(throws: MediaSendError.sequenceNumberUsed) { try side.session.send(packet(7), on: 0, now: now) }
    try side.session.send(packet(8), on: 0, now: now)
    #expect(side.drain(now: now).count == 1)
  }

  @Test("a negotiation that drops RTX, or brings it back, keeps the numbers of the stream")
  func droppedRTX() throws {
    var side = sender(usesRTX: true)
    try side.session.send(packet(7), on: 0, now: now)
    _ = side.drain(now: now)
    for usesRTX in [false, true] {
      side.session.configure([video(usesRTX: usesRTX)], now: now)
      #expect(throws: MediaSendError.sequenceNumberUsed) { try side.session.send(packet(7), on: 0, now: now) }
    }
    let nack = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 9, media: SSRC.video, [RTCPNackPair(packetID: 7, followingLost: 0)], into: &out)
    }
    side.handle(.rtcp, nack, now: now + .milliseconds(200))
    #expect(side.drain(now: now + .milliseconds(200)).map(\.ssrc) == [SSRC.videoRTX])
  }

  @Test("what is kept for NACKs is bounded in packets, bytes and age", arguments: 1...10)
  func history(seed: UInt64) {
    var limits = MediaLimits()
    limits.maximumHistoryPackets = 256
    limits.maximumHistoryBytes = 20_000
    limits.historyAge = .milliseconds(500)
    var history = History(limits: limits)
    var random = RandomSource.seeded(state: seed)
    var now = Instant(nanoseconds: 0)
    var kept: [(number: UInt16, bytes: Int, at: Instant)] = []
    var number: UInt16 = 65_000
    for _ in 0..<3_000 {
      now = now + .milliseconds(Int64.random(in: 0...10, using: &random))
      let bytes = Int.random(in: 20...400, using: &random)
      let sent = SentPacket(
        packet: packet(number), sequenceNumber: number, carriesMid: false, byteCount: bytes, sentAt: now,
        lastSentAt: now)
      history.insert(sent, now: now)
      kept.append((number, bytes, now))
      kept.removeAll { now - $0.at > .milliseconds(500) }
      while kept.reduce(0, { $0 + $1.bytes }) > 20_000 { kept.removeFirst() }
      #expect(history.count == kept.count, "seed \(seed)")
      #expect(history.byteCount == kept.reduce(0) { $0 + $1.bytes }, "seed \(seed)")
      #expect(kept.allSatisfy { history.contains($0.number) }, "seed \(seed)")
      number &+= 1
    }
    #expect(history.count > 20)
  }

  @Test("audio goes before video, and sections of video take turns")
  func turns() throws {
    var second = video()
    second.id = 2
    second.mid = "w"
    second.localSSRC = 0x55
    var session = MediaSession(cname: "x", random: .seeded(state: 1))
    session.configure([video(), second, audio()], now: now)
    session.start(now: now)
    var side = Side(session)
    for number: UInt16 in 0..<3 {
      try side.session.send(packet(number), on: 0, now: now)
      try side.session.send(packet(number), on: 2, now: now)
      try side.session.send(packet(number, payloadType: 111), on: 1, now: now)
    }
    let sources = side.drain(now: now).map(\.ssrc)
    #expect(sources == [SSRC.audio, SSRC.audio, SSRC.audio, SSRC.video, 0x55, SSRC.video, 0x55, SSRC.video, 0x55])
  }

  @Test("REMB is told when it is about us")
  func bandwidth() throws {
    var side = sender()
    let remb = try rtcp { (writer, out) throws(RTPEncodingError) in
      try writer.maximumBitrate(sender: 9, bitrate: 1_500_000, sources: [SSRC.video], into: &out)
    }
    side.handle(.rtcp, remb, now: now)
    #expect(side.takeEvents() == [.bandwidthEstimate(bitsPerSecond: 1_500_000)])
    #expect(side.session.statistics.bandwidthEstimate == 1_500_000)
  }
}
