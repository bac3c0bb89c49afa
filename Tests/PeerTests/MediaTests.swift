// MediaTests.swift — audio, video and data on one transport: under loss, under attack, and around the handshake.

import DTLS
import DataChannel
import ICE
import Media
import Peer
import RTP
import SDP
import SRTP
import TestSupport
import Testing
import Wire

@Suite struct MediaTests {
  /// What is lost is asked for and sent again, in the same stream or in one of its own, while data flows beside it.
  @Test(arguments: [0, 20, 100] as [UInt64], 1...4 as ClosedRange<UInt64>)
  func audioVideoAndDataUnderLoss(lossPerMille: UInt64, seed: UInt64) throws {
    let world = try MediaWorld(seed: seed)
    _ = try world.add(.audio)
    _ = try world.add(.video)
    let channel = try world.offerer.openChannel(ChannelParameters(label: "beside"), now: world.now)
    try world.connect()
    try #require(world.run { !$0.incomingChannels.isEmpty })
    world.mediaLossPerMille = lossPerMille
    let count = 1_000
    for number in 0..<count {
      for side in MediaWorld.Side.allCases {
        if number % 2 == 0 { try world.send(number / 2, from: side, on: 0, size: 80) }
        try world.send(number, from: side, on: 1, size: 1_000)
      }
      if number % 10 == 0 {
        try world.offerer.send(
          on: channel, isText: false, payload: MediaWorld.payload(number, 3_000), now: world.now)
      }
      try world.run(for: .milliseconds(5))
    }
    try world.run(for: .seconds(2))
    for side in MediaWorld.Side.allCases {
      let received = world.packets[side]!
      let video = received.filter { $0.payloadType == 96 }
      let numbers = Set(video.map(\.sequenceNumber))
      #expect(numbers.count == video.count, "seed \(seed): twice the same")
      // Ten tries each; at 10 % both ways nearly nothing stays lost. The first packets may be gone before anything is
      // known of their stream, and nobody asks for them.
      #expect(numbers.count >= count - 5, "seed \(seed), \(side): \(numbers.count) of \(count)")
      for packet in video {
        let number = Int(packet.sequenceNumber) - 100
        #expect(packet.payload == MediaWorld.payload(number, 1_000))
      }
      let audio = Set(received.filter { $0.payloadType == 111 }.map(\.sequenceNumber))
      let expected = count / 2 * Int(1_000 - lossPerMille) / 1_000
      #expect(audio.count >= expected - 60, "seed \(seed), \(side): \(audio.count) of \(count / 2)")
      #expect(world.senderReports[side]! > 0)
    }
    #expect(world.messages.count == count / 10)
    let statistics = world.offerer.mediaStatistics(of: world.offerer.allTransceivers[1].id)
    #expect(statistics.packetsReceived >= count - 5)
    #expect(statistics.roundTrip.map { $0 >= .milliseconds(19) && $0 < .milliseconds(60) } == true)
    if lossPerMille > 0 {
      #expect(statistics.nacksSent > 0 && statistics.packetsRetransmitted > 0 && statistics.packetsRecovered > 0)
    } else {
      #expect(statistics.packetsRetransmitted == 0 && statistics.packetsLost == 0)
    }
    #expect(world.offerer.mediaDropCounters.srtp?.dropped == 0, "seed \(seed)")
  }

  @Test func keyframesAreAskedForBothWays() throws {
    let world = try MediaWorld()
    let video = try world.add(.video)
    try world.connect()
    for side in MediaWorld.Side.allCases { try world.send(0, from: side) }
    try world.run { $0.packets.values.allSatisfy { $0.count == 1 } }
    world.offerer.requestKeyframe(of: nil, from: video.id, now: world.now)
    world.answerer.requestKeyframe(of: nil, from: world.answerer.allTransceivers[0].id, now: world.now)
    try world.run(for: .seconds(1))
    #expect(world.keyframeRequests == [.offerer: 1, .answerer: 1])
  }

  @Test func closingSaysBye() throws {
    let world = try MediaWorld()
    let video = try world.add(.video)
    try world.connect()
    try world.send(0, from: .offerer)
    try world.run { !$0.packets[.answerer]!.isEmpty }
    world.offerer.close(now: world.now)
    try world.run(for: .seconds(1))
    #expect(world.byes[.answerer]!.contains(video.ssrc))
    #expect(world.states[.answerer] == .closed)
  }

  // MARK: Attacks

  @Test("R1: a media packet with one flipped bit is dropped and counted", arguments: [1, 2, 3] as [UInt64])
  func flippedBits(seed: UInt64) throws {
    let world = try MediaWorld(seed: seed)
    _ = try world.add(.video)
    try world.connect()
    try world.send(0, from: .offerer)
    try world.run { !$0.packets[.answerer]!.isEmpty }
    // The next one is caught on its way.
    var caught: [UInt8] = []
    world.tamper = { datagram in
      guard datagram.isMedia, datagram.bytes.count > 200 else { return datagram }
      caught = datagram.bytes
      return nil
    }
    try world.send(1, from: .offerer)
    try world.run(for: .milliseconds(1))
    world.tamper = { $0 }
    #expect(caught.count > 200)
    // Every bit of the header and of the tag, and every seventh of the rest; the first two say what kind of datagram it is.
    var forged = 0
    for bit in 2..<(caught.count * 8) where bit < 8 * 20 || bit > caught.count * 8 - 128 || bit % 7 == 0 {
      var bytes = caught
      bytes[bit / 8] ^= 0x80 >> UInt8(bit % 8)
      world.inject(bytes, from: .offerer)
      forged += 1
    }
    try world.run(for: .milliseconds(11))
    #expect(world.packets[.answerer]!.count == 1)
    let counters = try #require(world.answerer.mediaDropCounters.srtp)
    #expect(counters.dropped == forged)
    // One for each bit of the sequence number that leads to one that was seen, or is too old.
    #expect(counters.replay < 16)
    // None of them has spoiled anything for the genuine one; the second time it is a replay (R4).
    world.inject(caught, from: .offerer)
    world.inject(caught, from: .offerer)
    try world.run(for: .milliseconds(11))
    #expect(world.packets[.answerer]!.count == 2)
    #expect(world.answerer.mediaDropCounters.srtp?.dropped == forged + 1)
  }

  @Test("R2: RTP and RTCP of every length from 1 to 40 bytes are dropped")
  func shortPackets() throws {
    let world = try MediaWorld()
    _ = try world.add(.audio)
    try world.connect()
    var count = 0
    for length in 1...40 {
      for second in [111, 200, 201, 206] as [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes[0] = 0x80
        if length > 1 { bytes[1] = second }
        world.inject(bytes, from: .offerer)
        count += 1
      }
    }
    try world.run(for: .milliseconds(100))
    #expect(world.packets[.answerer]!.isEmpty)
    #expect(Int(world.answerer.mediaDropCounters.srtp?.dropped ?? 0) == count)
    #expect(world.states[.answerer] == .connected)
  }

  @Test("media from an address that no check has validated is not even decrypted")
  func mediaFromStrangers() throws {
    let world = try MediaWorld()
    _ = try world.add(.video)
    try world.connect()
    var taken: [[UInt8]] = []
    world.tamper = { datagram in
      guard datagram.isMedia else { return datagram }
      taken.append(datagram.bytes)
      return nil
    }
    for number in 0..<5 { try world.send(number, from: .offerer) }
    try world.run(for: .milliseconds(50))
    #expect(taken.count >= 5)
    for bytes in taken { world.inject(bytes, from: .offerer, asStranger: true) }
    try world.run(for: .milliseconds(50))
    #expect(world.packets[.answerer]!.isEmpty)
    #expect(Int(world.answerer.mediaDropCounters.unexpected) >= taken.count)
    #expect(world.answerer.mediaDropCounters.srtp?.dropped == 0)
    // From where they belong they are good: they were never looked at.
    world.tamper = { $0 }
    for bytes in taken { world.inject(bytes, from: .offerer) }
    try world.run(for: .milliseconds(50))
    #expect(world.packets[.answerer]!.count == 5)
  }

  @Test("D2, D3: with a wrong fingerprint no byte of SRTP passes either way", arguments: [true, false])
  func wrongFingerprint(inOffer: Bool) throws {
    let world = try MediaWorld()
    _ = try world.add(.video)
    let channel = try world.offerer.openChannel(ChannelParameters(label: "never"), now: world.now)
    // Swapped for one that is as well-formed: the peer whose description it is fails the verification.
    func withWrongFingerprint(_ sdp: String) -> String {
      sdp.split(separator: "\r\n", omittingEmptySubsequences: false).map { line in
        guard line.hasPrefix("a=fingerprint:") else { return String(line) }
        return line.dropLast() + (line.last == "0" ? "1" : "0")
      }.joined(separator: "\r\n")
    }
    if inOffer {
      try world.negotiate(changing: withWrongFingerprint)
    } else {
      let offer = try world.offerer.createOffer()
      try world.offerer.setLocalDescription(.offer, offer, now: world.now)
      try world.answerer.setRemoteDescription(.offer, offer, now: world.now)
      world.answerer.setDirection(.sendReceive, of: world.answerer.allTransceivers[0].id)
      let answer = try world.answerer.createAnswer()
      try world.answerer.setLocalDescription(.answer, answer, now: world.now)
      try world.offerer.setRemoteDescription(.answer, withWrongFingerprint(answer), now: world.now)
    }
    try world.addCandidates()
    let victim: MediaWorld.Side = inOffer ? .answerer : .offerer
    var refusals = 0
    try world.run(for: .seconds(40)) { world in
      for side in MediaWorld.Side.allCases {
        do { try world.send(refusals, from: side) } catch { refusals += 1 }
      }
      return world.states[victim] == .failed
    }
    #expect(world.states[victim] == .failed)
    try world.run(for: .seconds(10))
    #expect(refusals > 0)
    // The victim never sends, and whatever the other side believes, nothing of its media is read.
    #expect(!world.sent.contains { $0.isMedia && $0.from == victim })
    #expect(world.packets[victim]!.isEmpty && world.packets[victim.other]!.isEmpty)
    #expect(world.messages.isEmpty && world.offerer.channels.stream(of: channel) == nil || world.messages.isEmpty)
    let counters = victim == .offerer ? world.offerer.mediaDropCounters : world.answerer.mediaDropCounters
    #expect(counters.srtp == nil)
  }

  @Test("media before the handshake's end is neither decrypted nor kept")
  func mediaBeforeTheKeys() throws {
    let world = try MediaWorld()
    _ = try world.add(.video)
    try world.negotiate()
    try world.addCandidates()
    // The handshake's last flight is held back, so that one side is ready and the other is not.
    var isHeld = true
    world.tamper = { datagram in
      let isHandshake = datagram.bytes.first.map { (20...63).contains($0) } == true
      return isHeld && isHandshake && datagram.from == .offerer ? nil : datagram
    }
    try world.run(for: .milliseconds(200))
    #expect(world.states[.answerer] == .connecting)
    for length in [12, 100, 1_000] {
      var bytes = [UInt8](repeating: 7, count: length)
      bytes[0] = 0x80
      bytes[1] = 96
      world.inject(bytes, from: .offerer)
    }
    try world.run(for: .milliseconds(50))
    #expect(world.answerer.mediaDropCounters.unexpected == 3)
    #expect(world.answerer.mediaDropCounters.srtp == nil)
    #expect(throws: MediaSendError.notSending) { try world.send(0, from: .answerer) }
    isHeld = false
    try #require(world.run { $0.isConnected })
    try world.send(0, from: .offerer)
    try world.run { !$0.packets[.answerer]!.isEmpty }
    #expect(world.packets[.answerer]!.count == 1)
  }

  @Test func mediaGoesThroughARelay() throws {
    let world = try RelayWorld()
    let video = try world.offerer.addTransceiver(.video, direction: .sendOnly, codecs: [MediaWorld.vp8])
    _ = try world.answerer.addTransceiver(.video, direction: .receiveOnly, codecs: [MediaWorld.vp8])
    _ = world.offerer.addLocalCandidate(RelayWorld.offererAddress, socket: RelayWorld.socket, now: world.now)
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    try #require(world.run { $0.states.last == .connected && !$0.pairs.isEmpty })
    #expect(world.pairs.last?.local.kind == .relayed)
    let transceiver = try #require(world.offerer.allTransceivers.first)
    let largest = world.offerer.largestMediaPacket(of: transceiver)
    for number in 0..<20 {
      let packet = OutgoingRTP(
        payloadType: 96, sequenceNumber: UInt16(number), timestamp: 0,
        payload: MediaWorld.payload(number, number == 19 ? largest - 12 : 1_000))
      try world.offerer.send(packet, on: video.id, now: world.now)
      try world.run(for: .milliseconds(20)) { _ in false }
    }
    #expect(world.packets.count == 20)
    #expect(world.packets.last?.payload.count == largest - 12)
  }

  // MARK: Descriptions

  /// What an offer has brought about goes with it, when another takes its place.
  @Test func anOfferThatIsReplacedLeavesNothing() throws {
    let world = try MediaWorld()
    _ = try world.add(.video)
    let first = try world.offerer.createOffer()
    try world.answerer.setRemoteDescription(.offer, first, now: world.now)
    let before = try #require(world.answerer.allTransceivers.first)
    _ = try world.add(.audio)
    let second = try world.offerer.createOffer()
    try world.offerer.setLocalDescription(.offer, second, now: world.now)
    try world.answerer.setRemoteDescription(.offer, second, now: world.now)
    #expect(world.answerer.allTransceivers.map(\.kind) == [.video, .audio])
    #expect(!world.answerer.allTransceivers.contains { $0.id == before.id })
    let answer = try world.answerer.createAnswer()
    try world.answerer.setLocalDescription(.answer, answer, now: world.now)
    try world.offerer.setRemoteDescription(.answer, answer, now: world.now)
    #expect(world.offerer.allTransceivers.map(\.currentDirection) == [.sendOnly, .sendOnly])
    let needs = (world.offerer.needsMediaNegotiation, world.answerer.needsMediaNegotiation)
    #expect(needs == (false, false))
  }

  /// A peer that has taken up our offer sends before its answer is here.
  @Test func mediaThatOvertakesTheAnswerIsReceived() throws {
    let world = try MediaWorld()
    let channel = try world.offerer.openChannel(ChannelParameters(label: "first"), now: world.now)
    try world.connect()
    _ = channel
    _ = try world.add(.video)
    let offer = try world.offerer.createOffer()
    try world.offerer.setLocalDescription(.offer, offer, now: world.now)
    try world.answerer.setRemoteDescription(.offer, offer, now: world.now)
    world.answerer.setDirection(.sendReceive, of: try #require(world.answerer.allTransceivers.first).id)
    let answer = try world.answerer.createAnswer()
    try world.answerer.setLocalDescription(.answer, answer, now: world.now)
    for number in 0..<3 { try world.send(number, from: .answerer) }
    try world.run(for: .milliseconds(50))
    #expect(world.packets[.offerer]!.count == 3)
    try world.offerer.setRemoteDescription(.answer, answer, now: world.now)
    for number in 3..<6 { try world.send(number, from: .answerer) }
    try world.run(for: .milliseconds(50))
    #expect(world.packets[.offerer]!.count == 6)
  }

  /// Sections of kinds that nobody knows keep their place with port 0; so do those with nothing in common.
  @Test func whatCannotBeTakenIsRefused() throws {
    let world = try MediaWorld()
    _ = try world.offerer.addTransceiver(
      .video, direction: .sendReceive, codecs: [SDPCodec(payloadType: 120, name: "DIRAC", clockRate: 90_000)])
    _ = try world.add(.audio)
    _ = try world.offerer.openChannel(ChannelParameters(label: "data"), now: world.now)
    let offer = try world.offerer.createOffer()
    let changed = offer.replacing("a=group:BUNDLE 0 1 2\r\n", with: "a=group:BUNDLE 0 1 2 x\r\n") + Self.text
    try world.answerer.setRemoteDescription(.offer, changed, now: world.now)
    let answer = try world.answerer.createAnswer()
    let ports = answer.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("m=") }
      .map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
    #expect(ports == ["m=video 0", "m=audio 9", "m=application 9", "m=text 0"])
  }

  /// Media goes on without the data that the peer will not have; nobody asks again and again.
  @Test func aPeerMayRefuseDataAndTakeMedia() throws {
    let world = try MediaWorld()
    _ = try world.add(.video)
    _ = try world.offerer.openChannel(ChannelParameters(label: "refused"), now: world.now)
    let offer = try world.offerer.createOffer()
    try world.offerer.setLocalDescription(.offer, offer, now: world.now)
    try world.answerer.setRemoteDescription(.offer, offer, now: world.now)
    let answer = try world.answerer.createAnswer()
    try world.answerer.setLocalDescription(.answer, answer, now: world.now)
    let refusing = answer.replacing("m=application 9 ", with: "m=application 0 ")
      .replacing("a=group:BUNDLE 0 1", with: "a=group:BUNDLE 0")
    #expect(refusing != answer)
    try world.offerer.setRemoteDescription(.answer, refusing, now: world.now)
    let needsMore = world.offerer.needsMediaNegotiation
    #expect(!needsMore)
    try world.addCandidates()
    try #require(world.run { $0.isConnected })
    try world.send(0, from: .offerer)
    try world.run { !$0.packets[.answerer]!.isEmpty }
    #expect(world.packets[.answerer]!.count == 1 && world.incomingChannels.isEmpty)
  }

  private static let text = "m=text 9 UDP/TLS/RTP/SAVPF 99\r\nc=IN IP4 0.0.0.0\r\na=mid:x\r\na=rtpmap:99 t140/1000\r\n"

  // MARK: Who has asked for media

  @Test func aPeerThatWantsDataOnlyReadsNoMedia() throws {
    let world = try MediaWorld(acceptsMedia: false)
    _ = try world.add(.video)
    _ = try world.offerer.openChannel(ChannelParameters(label: "data"), now: world.now)
    try world.connect()
    try #require(world.run { !$0.incomingChannels.isEmpty })
    #expect(world.answerer.allTransceivers.isEmpty && world.offerer.allTransceivers.isEmpty)
    let before = world.answerer.counters.datagramsDropped
    var bytes = [UInt8](repeating: 0, count: 200)
    bytes[0] = 0x80
    for _ in 0..<10 { world.inject(bytes, from: .offerer) }
    try world.run(for: .milliseconds(50))
    #expect(world.answerer.counters.datagramsDropped == before + 10)
    #expect(world.answerer.mediaDropCounters.srtp == nil)
  }

  @Test("a channel whose section the peer refuses closes, and another opens once the peer takes data")
  func aPeerThatWantsMediaOnlyOpensNoChannel() throws {
    let world = try MediaWorld()
    _ = try world.add(.video)
    let refused = try world.offerer.openChannel(ChannelParameters(label: "refused"), now: world.now)
    try world.negotiate { $0.replacing("m=application 9", with: "m=application 0") }
    try world.addCandidates()
    try #require(world.run { $0.isConnected && !$0.closedChannels.isEmpty })
    #expect(world.closedChannels == [refused])
    #expect(throws: ChannelError.connectionClosed) {
      try world.offerer.openChannel(ChannelParameters(label: "too late"), now: world.now)
    }
    let asksAgain = world.offerer.needsMediaNegotiation
    #expect(!asksAgain)
    try world.send(0, from: .offerer)
    try world.negotiate()
    _ = try world.offerer.openChannel(ChannelParameters(label: "welcome"), now: world.now)
    try #require(world.run { !$0.incomingChannels.isEmpty })
    #expect(world.packets[.answerer]!.count == 1)
  }

  @Test func withoutMediaAnOfferIsWhatItAlwaysWas() throws {
    var connection = Connection(configuration: .init(), identity: try .generate(), random: .seeded(state: 1))
    let offer = try connection.createOffer()
    let sections = offer.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("m=") }
    #expect(sections == ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"])
    #expect(offer.contains("a=group:BUNDLE 0\r\n"))
  }

  @Test func packetsThatDoNotFitAreRefused() throws {
    let world = try MediaWorld()
    let video = try world.add(.video)
    try world.connect()
    let largest = world.offerer.largestMediaPacket(of: try #require(world.offerer.allTransceivers.first))
    #expect(throws: MediaSendError.packetTooLarge) { try world.send(0, from: .offerer, size: 1_500) }
    try world.send(1, from: .offerer, size: largest - 12)
    try world.run(for: .milliseconds(50))
    #expect(world.packets[.answerer]!.first?.payload.count == largest - 12)
    #expect(world.sent.allSatisfy { $0.bytes.count <= 1_472 })
    #expect(world.offerer.mediaStatistics(of: video.id).packetsSent == 1)
  }
}
