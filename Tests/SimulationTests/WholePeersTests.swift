// WholePeersTests.swift — two whole peers, ICE to data channel, over hostile networks. Each seed is its own run.

import CVirtualClock
import DataChannel
import Foundation
import Peer
import SCTP
import Simulation
import Testing
import Wire

/// One conversation: both sides send messages of seeded sizes over a reliable, ordered channel.
private struct Conversation {
  enum Outcome: Equatable { case delivered(messages: Int), stuck(String) }

  let seed: UInt64
  let conditions: PathConditions
  var messagesPerSide = 40
  var largestMessage = 12_000

  func run() throws -> Outcome {
    defer { virtual_clock_clear() }
    var random = RandomSource.seeded(state: seed &* 31 &+ 7)
    let sizes = (0..<messagesPerSide).map { _ in Int.random(in: 0...largestMessage, using: &random) }
    // A flipped bit in the plaintext part of the handshake rightly ends it (UDP's checksum catches nearly all of them on
    // a real path): corruption begins once both sides are connected.
    var peaceful = conditions
    peaceful.corruptionPerMille = 0
    var connected: Set<TwoPeers.Side> = []
    var peers = try TwoPeers(conditions: peaceful, seed: seed) { virtual_clock_set($0.nanoseconds) }
    try peers.negotiate()
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "story"), now: peers.now)

    var received: [TwoPeers.Side: [[UInt8]]] = [.offerer: [], .answerer: []]
    var failure: String?
    var toSend: [TwoPeers.Side: ChannelID] = [:]
    var sent: [TwoPeers.Side: Int] = [.offerer: 0, .answerer: 0]
    let expected = sizes.enumerated().map { Self.payload(number: $0, size: $1) }
    let end = peers.now + .seconds(300)
    while peers.now < end, failure == nil {
      if received[.offerer]!.count == expected.count, received[.answerer]!.count == expected.count { break }
      let isPending = peers.step { side, event in
        switch event {
        case .channelOpened(channel) where side == .offerer: toSend[.offerer] = channel
        case .incomingChannel(let incoming, _): toSend[.answerer] = incoming
        case .message(_, let isText, let payload):
          if isText { failure = "binary arrived as text" }
          received[side]!.append(payload)
        case .stateChanged(.connected): connected.insert(side)
        case .stateChanged(let state) where state == .failed || state == .closed: failure = "\(side) is \(state)"
        case .channelClosed: failure = "the channel closed"
        default: break
        }
      }
      if connected.count == 2 { peers.network.conditions = conditions }
      for (side, channel) in toSend {
        while sent[side]! < expected.count {
          do {
            let payload = expected[sent[side]!]
            let now = peers.now
            switch side {
            case .offerer: try peers.offerer.send(on: channel, isText: false, payload: payload, now: now)
            case .answerer: try peers.answerer.send(on: channel, isText: false, payload: payload, now: now)
            }
            sent[side]! += 1
          } catch { break }
        }
      }
      if !isPending, toSend.isEmpty { failure = "nothing is pending" }
    }
    if let failure { return .stuck(failure) }
    for side in TwoPeers.Side.allCases where received[side]! != expected {
      return .stuck("\(side) got \(received[side]!.count) of \(expected.count) messages, or not in order")
    }
    return .delivered(messages: received[.offerer]!.count + received[.answerer]!.count)
  }

  private static func payload(number: Int, size: Int) -> [UInt8] {
    (0..<size).map { UInt8(truncatingIfNeeded: number &* 7 &+ $0) }
  }
}

@Suite struct WholePeersTests {
  @Test func cleanPath() throws {
    #expect(try Conversation(seed: 1, conditions: PathConditions()).run() == .delivered(messages: 80))
  }

  /// A round trip less when the INIT chunks travel with the descriptions, whoever has to say so; and the channel works.
  @Test(arguments: [false, true])
  func handshakeInTheDescriptions(offers: Bool) throws {
    defer { virtual_clock_clear() }
    var configuration = Connection.Configuration()
    configuration.offersInitiation = offers
    var peers = try TwoPeers(configuration: configuration, conditions: PathConditions(), seed: 6) {
      virtual_clock_set($0.nanoseconds)
    }
    try peers.negotiate()
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "soon"), now: peers.now)
    var connected: Instant?
    var opened: Instant?
    var received: [[UInt8]] = []
    for _ in 0..<10_000 where received.isEmpty {
      var event: Connection.Event?
      let isPending = peers.step { side, next in
        switch next {
        case .stateChanged(.connected) where side == .offerer: connected = connected ?? .init(nanoseconds: 0)
        case .channelOpened where side == .offerer: event = next
        case .message(_, _, let payload): received.append(payload)
        default: break
        }
      }
      if connected == Instant(nanoseconds: 0) { connected = peers.now }
      if event != nil {
        opened = peers.now
        try peers.offerer.send(on: channel, isText: false, payload: [1, 2, 3], now: peers.now)
      }
      if !isPending { break }
    }
    #expect(received == [[1, 2, 3]])
    let wait = try #require(opened) - (try #require(connected))
    // Ten milliseconds are there in both: the steps of this loop.
    #expect(wait == .milliseconds(offers ? 10 : 30))
  }

  /// The end of the handshake leaves before what it protects, also when SCTP need not wait for a handshake of its own:
  /// BoringSSL drops what it cannot read yet.
  @Test(arguments: [false, true])
  func nothingOvertakesTheEndOfTheHandshake(offers: Bool) throws {
    defer { virtual_clock_clear() }
    var configuration = Connection.Configuration()
    configuration.offersInitiation = offers
    var peers = try TwoPeers(configuration: configuration, conditions: PathConditions(), seed: 7) {
      virtual_clock_set($0.nanoseconds)
    }
    // The content type and the epoch of each datagram's last record, by sender.
    var records: [SocketAddress: [[UInt8]]] = [:]
    peers.network.observer = { datagram in
      guard (20..<64).contains(datagram.bytes[0]) else { return }
      var start = 0
      while start + 13 <= datagram.bytes.count {
        records[datagram.from, default: []].append([datagram.bytes[start], datagram.bytes[start + 4]])
        start += 13 + Int(datagram.bytes[start + 11]) << 8 + Int(datagram.bytes[start + 12])
      }
    }
    try peers.negotiate()
    _ = try peers.offerer.openChannel(ChannelParameters(label: "first"), now: peers.now)
    let isUp = peers.run(limit: .seconds(5), until: { _ in false }) { _, _ in }
    #expect(!isUp)
    for address in [TwoPeers.offererAddress, TwoPeers.answererAddress] {
      let sent = try #require(records[address])
      let finished = try #require(sent.firstIndex(of: [22, 1]))
      let data = try #require(sent.firstIndex { $0[0] == 23 })
      #expect(finished < data, "\(address): \(sent.prefix(data + 1))")
    }
  }

  /// Chunks, DTLS and the batch all take what the probes have found; and a path that carries less later loses nothing.
  @Test(arguments: [(1_500, 1_432), (1_472, 1_432), (1_440, 1_392), (1_252, 1_160), (1_200, 1_160)])
  func growsToThePath(carried: Int, packetSize: Int) throws {
    defer { virtual_clock_clear() }
    var conditions = PathConditions()
    conditions.maximumDatagramSize = carried
    conditions.bytesPerSecond = 4_000_000
    conditions.queueBytes = 200_000
    var peers = try TwoPeers(conditions: conditions, seed: 5) { virtual_clock_set($0.nanoseconds) }
    try peers.negotiate()
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "long"), now: peers.now)
    var received: [[UInt8]] = []
    var isOpen = false
    var sent = 0
    var shrunkAt: Instant?
    let payload = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let isDone = { received.count == 100 }
    let end = peers.now + .seconds(60)
    while peers.now < end, !isDone() {
      let isPending = peers.step { side, event in
        if case .channelOpened = event { isOpen = true }
        if side == .answerer, case .message(_, _, let payload) = event { received.append(payload) }
      }
      if received.count >= 40, shrunkAt == nil {
        #expect(peers.offerer.association.statistics.packetSize == packetSize)
        peers.network.conditions.maximumDatagramSize = 1_200
        shrunkAt = peers.now
      }
      let now = peers.now
      while isOpen, sent < 100 {
        do { try peers.offerer.send(on: channel, isText: false, payload: payload, now: now) } catch { break }
        sent += 1
      }
      if !isPending { break }
    }
    #expect(received.count == 100 && received.allSatisfy { $0 == payload })
    #expect(peers.offerer.association.statistics.packetSize == 1_160)
    #expect(try #require(shrunkAt) + .seconds(5) > peers.now)
  }

  /// Messages of one byte that nobody reads cost more than their byte: the window counts their keeping.
  @Test func unreadSmallMessagesAreBounded() throws {
    defer { virtual_clock_clear() }
    var configuration = Connection.Configuration()
    configuration.sctp.receiveWindow = 65_536
    var peers = try TwoPeers(configuration: configuration, conditions: PathConditions(), seed: 11) {
      virtual_clock_set($0.nanoseconds)
    }
    peers.readsAtOnce = false
    try peers.negotiate()
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "flood"), now: peers.now)
    var isOpen = false
    var received = 0
    var sent = 0
    let end = peers.now + .seconds(30)
    while peers.now < end {
      let isPending = peers.step { side, event in
        if case .channelOpened = event { isOpen = true }
        if side == .answerer, case .message = event { received += 1 }
      }
      let now = peers.now
      while isOpen, sent < 100_000 {
        do { try peers.offerer.send(on: channel, isText: false, payload: [1], now: now) } catch { break }
        sent += 1
      }
      if !isPending { break }
    }
    // 65,536 bytes hold 1,008 messages that cost 65. On top comes the first flight, which the peer sent while the window
    // was still open: ten packets' worth of payload, or 11,600 messages.
    #expect((1_000...13_000).contains(received), "\(received) of \(sent) messages are held")
  }

  /// How many seeds altogether: `SEEDS`, or 1,000.
  private static let seeds = ProcessInfo.processInfo.environment["SEEDS"].flatMap(Int.init) ?? 1_000
  private static let shards = 10

  /// Shards run side by side; the seeds of all of them are 1…`seeds`.
  @Test(arguments: 0..<shards)
  func hostilePathDeliversOnceAndInOrder(shard: Int) throws {
    var conditions = PathConditions()
    conditions.lossPerMille = 100
    conditions.duplicationPerMille = 20
    conditions.reorderingPerMille = 50
    conditions.jitter = .milliseconds(5)
    let seeds = stride(from: shard + 1, through: Self.seeds, by: Self.shards).map { UInt64($0) }
    var delivered = 0
    for seed in seeds {
      let outcome = try Conversation(seed: seed, conditions: conditions).run()
      guard case .delivered(let messages) = outcome else {
        Issue.record("seed \(seed): \(outcome)")
        continue
      }
      delivered += messages
    }
    print("simulation: \(seeds.count) seeds, \(delivered) messages delivered once and in order")
    #expect(delivered == seeds.count * 80)
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func corruptionIsLoss(seed: UInt64) throws {
    var conditions = PathConditions()
    conditions.corruptionPerMille = 50
    #expect(try Conversation(seed: seed, conditions: conditions).run() == .delivered(messages: 80), "seed \(seed)")
  }
}
