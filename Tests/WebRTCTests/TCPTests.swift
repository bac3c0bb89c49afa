// TCPTests.swift — connections whose peers see no UDP of each other (RFC 6544), and those of which one end is ICE lite.

import Testing
import WebRTC

@Suite("Over TCP, and with ICE lite", .timeLimit(.minutes(1))) struct TCPTests {
  static func isTCP(_ candidate: ICECandidateInit) -> Bool {
    candidate.isEndOfCandidates || candidate.candidate.contains(" tcp ")
  }

  /// Either side may be the one that accepts, and with both two connections are made at once.
  @Test(
    "two peers connect, and messages of 1 MB in all flow both ways",
    arguments: [
      (PeerConnectionConfiguration.TCPCandidates.active, PeerConnectionConfiguration.TCPCandidates.activeAndPassive),
      (.activeAndPassive, .active), (.activeAndPassive, .activeAndPassive),
    ])
  func messages(
    offering: PeerConnectionConfiguration.TCPCandidates, answering: PeerConnectionConfiguration.TCPCandidates
  ) async throws {
    let pair = try Pair(offering: offering, answering: answering)
    let near = try await pair.offerer.createDataChannel("tcp")
    try await pair.negotiate(using: Self.isTCP)
    try await near.waitUntilOpen()
    var incoming = pair.answerer.incomingChannels.makeAsyncIterator()
    let far = try #require(await incoming.next())
    let message = Message.binary((0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    let echo = Task {
      var count = 0
      for await received in far.messages {
        try await far.send(received)
        count += 1
        if count == 16 { break }
      }
    }
    for _ in 0..<16 { try await near.send(message) }
    var count = 0
    for await received in near.messages {
      #expect(received == message)
      count += 1
      if count == 16 { break }
    }
    try await echo.value
    for connection in [pair.offerer, pair.answerer] {
      let selected = try #require(await connection.selectedCandidatePair)
      #expect(selected.local.transport == "tcp" && selected.remote.transport == "tcp")
    }
    await pair.close()
  }

  @Test("a side that only answers checks connects, offering and answering", arguments: [true, false])
  func lite(offers: Bool) async throws {
    var configuration = Pair.loopbackOnly
    configuration.isICELite = true
    let lite = try PeerConnection(configuration: configuration)
    let full = try PeerConnection(configuration: Pair.loopbackOnly)
    let pair = Pair(offerer: offers ? lite : full, answerer: offers ? full : lite)
    let near = try await pair.offerer.createDataChannel("lite")
    try await pair.negotiate()
    try await near.waitUntilOpen()
    #expect(try #require(await lite.localDescription).sdp.contains("a=ice-lite"))
    #expect(try !#require(await full.localDescription).sdp.contains("a=ice-lite"))
    await pair.close()
  }

  @Test("what is signalled: UDP first, and port 9 where nobody listens")
  func candidates() async throws {
    for (which, types) in [
      (PeerConnectionConfiguration.TCPCandidates.none, []), (.active, ["active"]),
      (.activeAndPassive, ["active", "passive"]),
    ] {
      var configuration = Pair.loopbackOnly
      configuration.tcpCandidates = which
      let connection = try PeerConnection(configuration: configuration)
      let lines = try await gathered(connection).filter { $0.contains(" 127.0.0.1 ") }
      #expect(lines.first?.contains(" udp ") == true)
      let streams = lines.dropFirst().map { $0.split(separator: " ").map(String.init) }
      for fields in streams { #expect(fields[2] == "tcp" && (fields[5] == "9") == fields.contains("active")) }
      #expect(streams.map { $0[$0.firstIndex(of: "tcptype")! + 1] } == types)
      await connection.close()
    }
  }

  @Test("TCP waits behind UDP")
  func preference() async throws {
    let pair = try Pair(offering: .activeAndPassive, answering: .activeAndPassive)
    let channel = try await pair.offerer.createDataChannel("udp")
    try await pair.negotiate()
    try await channel.waitUntilOpen()
    #expect(await pair.offerer.selectedCandidatePair?.local.transport == "udp")
    await pair.close()
  }
}

extension Pair {
  fileprivate init(
    offering: PeerConnectionConfiguration.TCPCandidates, answering: PeerConnectionConfiguration.TCPCandidates
  ) throws {
    var configuration = Self.loopbackOnly
    configuration.tcpCandidates = offering
    let offerer = try PeerConnection(configuration: configuration)
    configuration.tcpCandidates = answering
    self.init(offerer: offerer, answerer: try PeerConnection(configuration: configuration))
  }
}
