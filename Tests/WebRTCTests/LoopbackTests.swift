// LoopbackTests.swift — two connections over real UDP sockets on loopback. Every wait ends by an event or by the
// time limit of its test.

import Testing
import WebRTC

/// Two connections that hand each other their descriptions and candidates in memory.
struct Pair {
  let offerer: PeerConnection
  let answerer: PeerConnection

  init(configuration: PeerConnectionConfiguration = Self.loopbackOnly) throws {
    offerer = try PeerConnection(configuration: configuration)
    answerer = try PeerConnection(configuration: configuration)
  }

  init(offerer: PeerConnection, answerer: PeerConnection) {
    self.offerer = offerer
    self.answerer = answerer
  }

  static var loopbackOnly: PeerConnectionConfiguration {
    var configuration = PeerConnectionConfiguration()
    configuration.loopback = .only
    configuration.iceServers = []
    return configuration
  }

  func negotiate(using isWanted: (ICECandidateInit) -> Bool = { _ in true }) async throws {
    let offer = try await offerer.createOffer()
    try await offerer.setLocalDescription(offer)
    try await answerer.setRemoteDescription(offer)
    let answer = try await answerer.createAnswer()
    try await answerer.setLocalDescription(answer)
    try await offerer.setRemoteDescription(answer)
    try await exchangeCandidates(using: isWanted)
  }

  /// Until both sides have said that there are no more.
  func exchangeCandidates(using isWanted: (ICECandidateInit) -> Bool = { _ in true }) async throws {
    for await candidate in offerer.localCandidates {
      if isWanted(candidate) { try await answerer.addICECandidate(candidate) }
      if candidate.isEndOfCandidates { break }
    }
    for await candidate in answerer.localCandidates {
      if isWanted(candidate) { try await offerer.addICECandidate(candidate) }
      if candidate.isEndOfCandidates { break }
    }
  }

  /// Opens a channel and returns both ends.
  func open(
    _ label: String = "test", _ configuration: DataChannelConfiguration = .init()
  ) async throws -> (DataChannel, DataChannel) {
    let channel = try await offerer.createDataChannel(label, configuration)
    try await negotiate()
    try await channel.waitUntilOpen()
    for await incoming in answerer.incomingChannels { return (channel, incoming) }
    throw SendError.closed
  }

  func close() async {
    await offerer.close()
    await answerer.close()
  }
}

@Suite(.timeLimit(.minutes(1))) struct LoopbackTests {
  @Test func textAndBinaryOfManySizes() async throws {
    let pair = try Pair()
    let (near, far) = try await pair.open("sizes")
    #expect(far.label == "sizes")
    var messages: [Message] = [.text("héllo ✓"), .text(""), .binary([])]
    for size in [1, 2, 1_191, 1_192, 16_384, 65_535, 65_536, 262_144] {
      messages.append(.binary((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }))
    }
    for message in messages { try await near.send(message) }
    var received: [Message] = []
    for await message in far.messages {
      received.append(message)
      try await far.send(message)
      if received.count == messages.count { break }
    }
    #expect(received == messages)
    var echoed: [Message] = []
    for await message in near.messages {
      echoed.append(message)
      if echoed.count == messages.count { break }
    }
    #expect(echoed == messages)
    await pair.close()
  }

  @Test(arguments: ["127.0.0.1", "::1"])
  func eitherFamilyAlone(address: String) async throws {
    let pair = try Pair()
    let channel = try await pair.offerer.createDataChannel("family")
    try await pair.negotiate { $0.candidate.split(separator: " ").dropFirst(4).first.map(String.init) == address }
    try await channel.waitUntilOpen()
    let pairNow = await pair.offerer.statistics()
    #expect(pairNow.remoteCandidate?.address.contains(address) == true)
    await pair.close()
  }

  /// With sizes that do not divide the bounds of any queue on the way.
  @Test(arguments: [(100_000, 50_000), (1 << 20, 65_537), (1 << 20, 262_144), (300_000, 1)])
  func sendWaitsForRoomAndLosesNothing(limit: Int, size: Int) async throws {
    var configuration = Pair.loopbackOnly
    configuration.sendBufferLimit = limit
    let pair = try Pair(configuration: configuration)
    let (near, far) = try await pair.open()
    let count = 400
    let reader = Task {
      var bytes = 0
      for await message in far.messages {
        bytes += message.byteCount
        if bytes == count * size { break }
      }
      return bytes
    }
    for _ in 0..<count { try await near.send([UInt8](repeating: 7, count: size)) }
    #expect(await reader.value == count * size)
    await pair.close()
  }

  @Test func trySendRefusesWhenFull() async throws {
    let pair = try Pair()
    let (near, _) = try await pair.open()
    // Nobody reads: the window, SCTP's queue and the exchange fill up.
    var refusal: SendError?
    for _ in 0..<2_000 where refusal == nil {
      do { try near.trySend(.binary([UInt8](repeating: 1, count: 65_536))) } catch { refusal = error }
    }
    #expect(refusal == .bufferFull)
    #expect(near.bufferedAmount > 0)
    await pair.close()
    #expect(near.state == .closed)
    #expect(throws: SendError.closed) { try near.trySend(.text("late")) }
  }

  @Test func tooLargeIsRefusedAndHarmless() async throws {
    let pair = try Pair()
    let (near, far) = try await pair.open()
    await #expect(throws: SendError.messageTooLarge(limit: 262_144)) {
      try await near.send([UInt8](repeating: 0, count: 262_145))
    }
    try await near.send("still here")
    for await message in far.messages {
      #expect(message == .text("still here"))
      break
    }
    await pair.close()
  }

  @Test func closingAChannelFlushesItAndEndsBothSides() async throws {
    let pair = try Pair()
    let (near, far) = try await pair.open()
    for number in 0..<100 { try await near.send("message \(number)") }
    near.close()
    #expect(throws: SendError.closed) { try near.trySend(.text("late")) }
    var received = 0
    for await _ in far.messages { received += 1 }
    #expect(received == 100)
    await near.waitUntilClosed()
    await far.waitUntilClosed()
    #expect(far.state == .closed)
    // The connection goes on and can open another.
    let next = try await pair.offerer.createDataChannel("next")
    try await next.waitUntilOpen()
    await pair.close()
  }

  @Test func closingTheConnectionIsSeenByThePeer() async throws {
    let pair = try Pair()
    let (_, far) = try await pair.open()
    await pair.offerer.close()
    await far.waitUntilClosed()
    for await state in pair.answerer.connectionStates where state == .closed { break }
    #expect(await pair.answerer.state == .closed)
  }

  @Test func handlerOnTheLoopGetsEverythingInOrder() async throws {
    let pair = try Pair()
    let (near, far) = try await pair.open()
    let (numbers, continuation) = AsyncStream.makeStream(of: Message.self)
    for number in 0..<50 { try await near.send("\(number)") }
    far.onMessage { continuation.yield($0) }
    for number in 50..<1_000 { try await near.send("\(number)") }
    var next = 0
    for await message in numbers {
      #expect(message == .text("\(next)"))
      next += 1
      if next == 1_000 { break }
    }
    await pair.close()
  }

  @Test func wrongFingerprintFailsInBothRoles() async throws {
    for tampersWithOffer in [true, false] {
      let pair = try Pair()
      let channel = try await pair.offerer.createDataChannel("never")
      var offer = try await pair.offerer.createOffer()
      try await pair.offerer.setLocalDescription(offer)
      if tampersWithOffer { offer.sdp = Self.withWrongFingerprint(offer.sdp) }
      try await pair.answerer.setRemoteDescription(offer)
      var answer = try await pair.answerer.createAnswer()
      try await pair.answerer.setLocalDescription(answer)
      if !tampersWithOffer { answer.sdp = Self.withWrongFingerprint(answer.sdp) }
      try await pair.offerer.setRemoteDescription(answer)
      // The handshake may have failed before the last candidate is handed over.
      do {
        try await pair.exchangeCandidates()
      } catch PeerConnectionError.closed {}
      let victim = tampersWithOffer ? pair.answerer : pair.offerer
      for await state in victim.connectionStates where state == .failed { break }
      #expect(await victim.failureReason != nil)
      #expect(channel.state != .open)
      await pair.close()
    }
  }

  private static func withWrongFingerprint(_ sdp: String) -> String {
    sdp.split(separator: "\r\n", omittingEmptySubsequences: false).map { line in
      guard line.hasPrefix("a=fingerprint:") else { return String(line) }
      let last = line.last == "0" ? "1" : "0"
      return line.dropLast() + last
    }.joined(separator: "\r\n")
  }

  @Test func misuseGetsATypedError() async throws {
    let connection = try PeerConnection(configuration: Pair.loopbackOnly)
    await #expect(throws: PeerConnectionError.self) { try await connection.createAnswer() }
    await #expect(throws: PeerConnectionError.self) {
      try await connection.setRemoteDescription(SessionDescription(type: .offer, sdp: "nonsense"))
    }
    await #expect(throws: PeerConnectionError.self) {
      try await connection.addICECandidate(ICECandidateInit(candidate: "candidate:nonsense"))
    }
    await #expect(throws: PeerConnectionError.self) {
      try await connection.createDataChannel("x", .init(maxRetransmits: 1, maxPacketLifeTime: 1))
    }
    let channel = try await connection.createDataChannel("early")
    #expect(throws: SendError.notOpen) { try channel.trySend(.text("early")) }
    await connection.close()
    await #expect(throws: PeerConnectionError.closed) { try await connection.createOffer() }
  }
}
