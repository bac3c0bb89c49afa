// MediaTests.swift — audio and video beside data between two connections on loopback: what descriptions agree on, how it
// changes later, and what happens to packets. Every wait ends by an event or by the time limit of its test.

import Testing
import WebRTC

/// Two connections of which the answering one takes what is offered.
struct MediaPair {
  let offerer: PeerConnection
  let answerer: PeerConnection
  let pair: Pair

  init(answererAccepts: Bool = true) throws {
    var configuration = Pair.loopbackOnly
    configuration.acceptsMedia = answererAccepts
    offerer = try PeerConnection(configuration: Pair.loopbackOnly)
    answerer = try PeerConnection(configuration: configuration)
    pair = Pair(offerer: offerer, answerer: answerer)
  }

  /// One exchange of descriptions; `prepare` runs between the offer's arrival and the answer.
  func negotiate(
    from first: PeerConnection, to second: PeerConnection, prepare: () async throws -> Void = {}
  ) async throws -> (offer: String, answer: String) {
    let offer = try await first.createOffer()
    try await first.setLocalDescription(offer)
    try await second.setRemoteDescription(offer)
    try await prepare()
    let answer = try await second.createAnswer()
    try await second.setLocalDescription(answer)
    try await first.setRemoteDescription(answer)
    return (offer.sdp, answer.sdp)
  }

  /// The first exchange, with candidates, until both sides are connected.
  @discardableResult
  func connect(prepare: () async throws -> Void = {}) async throws -> (offer: String, answer: String) {
    let texts = try await negotiate(from: offerer, to: answerer, prepare: prepare)
    try await pair.exchangeCandidates()
    for connection in [offerer, answerer] {
      for await state in connection.connectionStates where state == .connected { break }
    }
    return texts
  }

  func close() async { await pair.close() }
}

extension PeerConnection {
  /// What the application has added or been given, by its place.
  fileprivate func transceiver(_ index: Int) throws -> RTPTransceiver {
    try #require(transceivers.indices.contains(index))
    return transceivers[index]
  }
}

private func packet(_ number: Int, of transceiver: RTPTransceiver, size: Int = 100) throws -> RTPPacket {
  let codec = try #require(transceiver.codecs.first)
  return RTPPacket(
    payloadType: try #require(codec.payloadType), marker: number % 3 == 0,
    sequenceNumber: UInt16(truncatingIfNeeded: 1_000 + number), timestamp: UInt32(number) &* 3_000,
    payload: (0..<size).map { UInt8(truncatingIfNeeded: $0 &+ number) })
}

/// Sends a packet and waits for it. Both sides are connected and have each other's descriptions.
private func flows(from sender: RTPTransceiver, to receiver: RTPTransceiver, beginning start: Int = 0) async throws {
  try sender.send(rtp: packet(start, of: sender))
  var arrived: RTPPacket?
  for await packet in receiver.packets {
    arrived = packet
    break
  }
  let first = try #require(arrived)
  #expect(first.ssrc == sender.ssrc)
  #expect(first.payload.count == 100)
}

private func sections(_ sdp: String) -> [Substring] {
  sdp.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("m=") }
}

@Suite(.timeLimit(.minutes(1))) struct MediaTests {
  @Test func audioAndVideoBothWaysBesideData() async throws {
    let media = try MediaPair()
    let audio = try await media.offerer.addTransceiver(kind: .audio)
    let video = try await media.offerer.addTransceiver(kind: .video)
    let channel = try await media.offerer.createDataChannel("beside")
    let texts = try await media.connect {
      for transceiver in await media.answerer.transceivers { transceiver.direction = .sendReceive }
    }
    #expect(sections(texts.offer).count == 3)
    #expect(sections(texts.answer).allSatisfy { $0.split(separator: " ")[1] != "0" })
    try await channel.waitUntilOpen()
    #expect(audio.currentDirection == .sendReceive)
    #expect(audio.codecs.first?.mimeType == "audio/opus")
    #expect(video.codecs.map(\.mimeType) == ["video/VP8", "video/VP9", "video/H264", "video/AV1"])
    let farAudio = try await media.answerer.transceiver(0)
    let farVideo = try await media.answerer.transceiver(1)
    #expect(farAudio.mid == audio.mid && farVideo.mid == video.mid)
    #expect(farVideo.codecs == video.codecs)
    try await flows(from: audio, to: farAudio)
    try await flows(from: video, to: farVideo)
    try await flows(from: farAudio, to: audio)
    try await flows(from: farVideo, to: video)
    let statistics = try #require(await media.answerer.statistics(of: farVideo))
    #expect(statistics.packetsReceived > 0 && statistics.packetsSent > 0)
    await media.close()
    #expect(throws: RTPSendError.closed) {
      try video.send(rtp: RTPPacket(payloadType: 96, sequenceNumber: 0, timestamp: 0, payload: [1]))
    }
  }

  @Test func packetsArriveAsTheyWereSent() async throws {
    let media = try MediaPair()
    let video = try await media.offerer.addTransceiver(kind: .video, direction: .sendOnly)
    try await media.connect()
    let far = try await media.answerer.transceiver(0)
    #expect(video.currentDirection == .sendOnly && far.currentDirection == .receiveOnly)
    var incoming: RTPTransceiver?
    for await transceiver in media.answerer.incomingTracks {
      incoming = transceiver
      break
    }
    #expect(incoming === far)
    try await flows(from: video, to: far)
    var sent: [RTPPacket] = []
    for number in 500..<700 {
      sent.append(try packet(number, of: video, size: number))
      try video.send(rtp: sent[sent.count - 1])
    }
    var received: [RTPPacket] = []
    for await packet in far.packets where packet.sequenceNumber >= 1_500 {
      received.append(packet)
      if received.count == sent.count { break }
    }
    for index in sent.indices { sent[index].ssrc = video.ssrc }
    #expect(received == sent)
    await media.close()
  }

  @Test func whoWantsOnlyDataRefusesMedia() async throws {
    let media = try MediaPair(answererAccepts: false)
    let video = try await media.offerer.addTransceiver(kind: .video)
    let channel = try await media.offerer.createDataChannel("data")
    let texts = try await media.connect()
    #expect(sections(texts.answer).contains { $0.hasPrefix("m=video 0 ") })
    try await channel.waitUntilOpen()
    #expect(await media.answerer.transceivers.isEmpty)
    // W3C: a section that is refused stops its transceiver.
    #expect(await media.offerer.transceivers.isEmpty)
    #expect(video.direction == .stopped)
    await media.close()
  }

  @Test func aTransceiverOfTheAnswererTakesTheOfferedSection() async throws {
    let media = try MediaPair(answererAccepts: false)
    let near = try await media.offerer.addTransceiver(kind: .video)
    let far = try await media.answerer.addTransceiver(kind: .video)
    try await media.connect()
    #expect(await media.answerer.transceivers.count == 1)
    #expect(far.mid == near.mid && far.mid != nil)
    try await flows(from: near, to: far)
    try await flows(from: far, to: near)
    await media.close()
  }

  @Test(arguments: [true, false])
  func mediaIsAddedLater(byOfferer: Bool) async throws {
    let media = try MediaPair()
    let channel = try await media.offerer.createDataChannel("first")
    try await media.connect()
    try await channel.waitUntilOpen()
    let (adding, other) = byOfferer ? (media.offerer, media.answerer) : (media.answerer, media.offerer)
    if !byOfferer { _ = try await other.addTransceiver(kind: .audio, direction: .inactive) }
    let video = try await adding.addTransceiver(kind: .video)
    for await _ in adding.negotiationNeeded { break }
    _ = try await media.negotiate(from: adding, to: other)
    let far = try #require(await other.transceivers.first { $0.kind == .video })
    #expect(far.direction == .receiveOnly && video.currentDirection == .sendOnly)
    try await flows(from: video, to: far)
    // And now the other way as well.
    far.direction = .sendReceive
    for await _ in other.negotiationNeeded { break }
    _ = try await media.negotiate(from: other, to: adding)
    #expect(video.currentDirection == .sendReceive)
    try await flows(from: far, to: video)
    #expect(channel.state == .open)
    await media.close()
  }

  @Test func aStoppedSectionIsUsedAgain() async throws {
    let media = try MediaPair()
    let first = try await media.offerer.addTransceiver(kind: .video)
    _ = try await media.offerer.createDataChannel("data")
    let before = try await media.connect()
    let far = try await media.answerer.transceiver(0)
    first.stop()
    for await _ in media.offerer.negotiationNeeded { break }
    let during = try await media.negotiate(from: media.offerer, to: media.answerer)
    #expect(sections(during.offer).contains { $0.hasPrefix("m=video 0 ") })
    #expect(far.direction == .stopped && first.currentDirection == .stopped)
    for await _ in far.packets {}  // ends
    let second = try await media.offerer.addTransceiver(kind: .video)
    for await _ in media.offerer.negotiationNeeded { break }
    let after = try await media.negotiate(from: media.offerer, to: media.answerer)
    #expect(sections(after.offer).count == sections(before.offer).count)
    #expect(second.mid != nil && second.mid != first.mid)
    try await flows(from: second, to: try await media.answerer.transceiver(0))
    await media.close()
  }

  @Test func directionsComeAndGo() async throws {
    let media = try MediaPair()
    let video = try await media.offerer.addTransceiver(kind: .video)
    try await media.connect { try await media.answerer.transceiver(0).direction = .sendReceive }
    let far = try await media.answerer.transceiver(0)
    try await flows(from: far, to: video)
    video.direction = .sendOnly
    for await _ in media.offerer.negotiationNeeded { break }
    _ = try await media.negotiate(from: media.offerer, to: media.answerer)
    #expect(far.currentDirection == .receiveOnly && !far.isSending)
    #expect(throws: RTPSendError.notSending) { try far.send(rtp: packet(1, of: far)) }
    video.direction = .sendReceive
    for await _ in media.offerer.negotiationNeeded { break }
    _ = try await media.negotiate(from: media.offerer, to: media.answerer)
    #expect(far.isSending)
    try await flows(from: far, to: video, beginning: 600)
    await media.close()
  }

  @Test func offersThatMeetBecomeOne() async throws {
    let media = try MediaPair()
    _ = try await media.offerer.createDataChannel("data")
    try await media.connect()
    let near = try await media.offerer.addTransceiver(kind: .video)
    let far = try await media.answerer.addTransceiver(kind: .video)
    let ours = try await media.offerer.createOffer()
    let theirs = try await media.answerer.createOffer()
    try await media.offerer.setLocalDescription(ours)
    try await media.answerer.setLocalDescription(theirs)
    // The offerer gives way: its own offer is undone.
    try await media.offerer.setRemoteDescription(theirs)
    let answer = try await media.offerer.createAnswer()
    try await media.offerer.setLocalDescription(answer)
    try await media.answerer.setRemoteDescription(answer)
    #expect(near.mid == far.mid && near.currentDirection == .sendReceive)
    #expect(await media.offerer.transceivers.count == 1)
    #expect(await media.answerer.transceivers.count == 1)
    try await flows(from: near, to: far)
    await media.close()
  }

  @Test func withoutDataAndWithDataLater() async throws {
    let media = try MediaPair()
    let audio = try await media.offerer.addTransceiver(kind: .audio)
    let texts = try await media.connect()
    #expect(sections(texts.offer).count == 1)
    try await flows(from: audio, to: try await media.answerer.transceiver(0))
    let channel = try await media.offerer.createDataChannel("late")
    for await _ in media.offerer.negotiationNeeded { break }
    _ = try await media.negotiate(from: media.offerer, to: media.answerer)
    try await channel.waitUntilOpen()
    for await incoming in media.answerer.incomingChannels {
      #expect(incoming.label == "late")
      break
    }
    try await flows(from: audio, to: try await media.answerer.transceiver(0), beginning: 600)
    await media.close()
  }

  @Test func mediaGoesOverTCP() async throws {
    var configuration = Pair.loopbackOnly
    configuration.acceptsMedia = true
    configuration.tcpCandidates = .activeAndPassive
    let pair = Pair(
      offerer: try PeerConnection(configuration: Pair.loopbackOnly),
      answerer: try PeerConnection(configuration: configuration))
    let video = try await pair.offerer.addTransceiver(kind: .video, direction: .sendOnly)
    try await pair.negotiate(using: TCPTests.isTCP)
    for await state in pair.offerer.connectionStates where state == .connected { break }
    try await flows(from: video, to: try await pair.answerer.transceiver(0))
    #expect(await pair.offerer.selectedCandidatePair?.local.transport == "tcp")
    await pair.close()
  }

  @Test func keyframesAreAskedFor() async throws {
    let media = try MediaPair()
    let video = try await media.offerer.addTransceiver(kind: .video, direction: .sendOnly)
    try await media.connect()
    let far = try await media.answerer.transceiver(0)
    try await flows(from: video, to: far)
    far.requestKeyframe()
    for await _ in video.keyframeRequests { break }
    let statistics = try #require(await media.offerer.statistics(of: video))
    #expect(statistics.keyframeRequestsReceived > 0)
    await media.close()
  }

  /// What nobody reads goes, the oldest first, and is counted.
  @Test func anInboxThatNobodyReadsIsBounded() async throws {
    let media = try MediaPair()
    let video = try await media.offerer.addTransceiver(kind: .video, direction: .sendOnly)
    try await media.connect()
    let far = try await media.answerer.transceiver(0)
    try await flows(from: video, to: far)
    var statistics = try #require(await media.answerer.statistics(of: far))
    var number = 600
    while statistics.packetsUnread < 100 {
      // In small lots, each of which arrives before the next goes: loopback's own buffers are bounded, too.
      let awaited = statistics.packetsReceived + 50
      for _ in 0..<50 {
        try video.send(rtp: packet(number, of: video))
        number += 1
      }
      while statistics.packetsReceived < awaited {
        statistics = try #require(await media.answerer.statistics(of: far))
      }
    }
    // The newest are there, and the handler gets them in order.
    let (numbers, continuation) = AsyncStream.makeStream(of: UInt16.self)
    far.onPacket { continuation.yield($0.sequenceNumber) }
    try video.send(rtp: packet(number, of: video))
    var received: [UInt16] = []
    for await next in numbers {
      received.append(next)
      if next == UInt16(truncatingIfNeeded: 1_000 + number) { break }
    }
    #expect(received.count > 400 && received == received.sorted())
    #expect(received.first! > 1_600)
    await media.close()
  }

  @Test func misuseGetsATypedError() async throws {
    let media = try MediaPair()
    let video = try await media.offerer.addTransceiver(kind: .video)
    #expect(throws: RTPSendError.notSending) {
      try video.send(rtp: RTPPacket(payloadType: 96, sequenceNumber: 0, timestamp: 0, payload: [0]))
    }
    await #expect(throws: PeerConnectionError.self) {
      try await media.offerer.addTransceiver(kind: .video, codecs: [.opus])
    }
    await #expect(throws: PeerConnectionError.self) {
      try await media.offerer.addTransceiver(kind: .video, direction: .stopped)
    }
    await #expect(throws: PeerConnectionError.self) {
      try await media.offerer.addTransceiver(
        kind: .audio, codecs: [RTPCodec("audio/x", clockRate: 8_000, parameters: "a\r\nm=audio 1 x 1")])
    }
    try await media.connect()
    #expect(video.isSending)
    #expect(throws: RTPSendError.unknownPayloadType(1)) {
      try video.send(rtp: RTPPacket(payloadType: 1, sequenceNumber: 0, timestamp: 0, payload: [0]))
    }
    let limit = video.maximumPacketSize
    #expect(limit > 1_100 && limit < 1_500)
    #expect(throws: RTPSendError.packetTooLarge(limit: limit)) {
      try video.send(
        rtp: RTPPacket(
          payloadType: 96, sequenceNumber: 0, timestamp: 0, payload: [UInt8](repeating: 0, count: limit - 11)))
    }
    // The loop's thread is held up, so that nothing is taken from the queue.
    await media.offerer.holdUp {
      var refusal: RTPSendError?
      for number in 0..<2_000 where refusal == nil {
        do throws(RTPSendError) {
          try video.send(
            rtp: RTPPacket(payloadType: 96, sequenceNumber: UInt16(number), timestamp: 0, payload: [0]))
        } catch { refusal = error }
      }
      #expect(refusal == .queueFull)
    }
    await media.close()
  }
}

extension PeerConnection {
  /// Runs `body` on the loop's thread.
  fileprivate func holdUp(_ body: @Sendable () -> Void) { body() }
}
