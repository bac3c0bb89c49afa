// MediaWorld.swift — two whole peers with audio and video beside data on a simulated clock, and a network that a test may
// make lose, change, repeat or hold back datagrams.

import CVirtualClock
import DTLS
import DataChannel
import ICE
import Media
import Peer
import RTP
import SDP
import TestSupport
import Testing
import Wire

final class MediaWorld {
  enum Side: CaseIterable {
    case offerer, answerer
    var other: Side { self == .offerer ? .answerer : .offerer }
  }

  struct Datagram {
    var at: Instant
    var from: Side
    var bytes: [UInt8]
    /// From an address that no candidate names.
    var isFromStranger = false

    var isMedia: Bool { bytes.first.map { (128...191).contains($0) } == true }
  }

  static let addresses: [Side: SocketAddress] = [
    .offerer: SocketAddress(ip: .v4(0xc000_0201), port: 5_000),
    .answerer: SocketAddress(ip: .v4(0xc000_0202), port: 6_000),
  ]
  static let stranger = SocketAddress(ip: .v4(0xcb00_7101), port: 7_000)
  static let socket = SocketID(rawValue: 7)

  var offerer: Connection
  var answerer: Connection
  var now = Instant(nanoseconds: 1_000_000_000)
  var delay = Interval.milliseconds(10)
  /// Of every thousand datagrams of media; everything else arrives.
  var mediaLossPerMille: UInt64 = 0
  /// Sees every datagram before it is sent, and may change it; nil: it is lost.
  var tamper: (Datagram) -> Datagram? = { $0 }

  var packets: [Side: [IncomingRTP]] = [.offerer: [], .answerer: []]
  var keyframeRequests: [Side: Int] = [.offerer: 0, .answerer: 0]
  var byes: [Side: [UInt32]] = [.offerer: [], .answerer: []]
  var senderReports: [Side: Int] = [.offerer: 0, .answerer: 0]
  var states: [Side: Connection.State] = [:]
  var incomingChannels: [ChannelID] = []
  var closedChannels: [ChannelID] = []
  var messages: [[UInt8]] = []
  var mediaFailures: [String] = []
  /// Everything that was sent, whatever became of it.
  var sent: [Datagram] = []
  private var flying: [Datagram] = []
  private var random: RandomSource
  private var batch = TransmitBatch(capacity: 128 << 10)

  init(seed: UInt64 = 1, acceptsMedia: Bool = true) throws {
    random = .seeded(state: seed)
    var configuration = Connection.Configuration()
    configuration.acceptsMedia = acceptsMedia
    configuration.codecs = [.audio: [Self.opus], .video: [Self.vp8]]
    offerer = Connection(configuration: .init(), identity: try .generate(), random: random.split())
    answerer = Connection(configuration: configuration, identity: try .generate(), random: random.split())
    virtual_clock_set(now.nanoseconds)
  }

  deinit { virtual_clock_clear() }

  static let opus = SDPCodec(
    payloadType: 111, name: "opus", clockRate: 48_000, channels: 2, feedback: ["transport-cc"])
  static let vp8 = SDPCodec(
    payloadType: 96, name: "VP8", clockRate: 90_000, feedback: ["nack", "nack pli", "ccm fir", "transport-cc"])

  // MARK: Doing

  func add(_ kind: MediaKind, _ direction: SDPDirection = .sendReceive) throws -> Transceiver {
    try offerer.addTransceiver(kind, direction: direction, codecs: [kind == .audio ? Self.opus : Self.vp8])
  }

  func negotiate(answerDirection: SDPDirection? = .sendReceive, changing: (String) -> String = { $0 }) throws {
    let offer = try offerer.createOffer()
    try offerer.setLocalDescription(.offer, offer, now: now)
    try answerer.setRemoteDescription(.offer, changing(offer), now: now)
    if let answerDirection {
      for transceiver in answerer.allTransceivers { answerer.setDirection(answerDirection, of: transceiver.id) }
    }
    let answer = try answerer.createAnswer()
    try answerer.setLocalDescription(.answer, answer, now: now)
    try offerer.setRemoteDescription(.answer, answer, now: now)
  }

  func addCandidates() throws {
    let near = offerer.addLocalCandidate(Self.addresses[.offerer]!, socket: Self.socket, now: now)
    try answerer.addRemoteCandidate(near.sdpText, now: now)
    let far = answerer.addLocalCandidate(Self.addresses[.answerer]!, socket: Self.socket, now: now)
    try offerer.addRemoteCandidate(far.sdpText, now: now)
  }

  /// Descriptions, candidates, and whatever follows until both are connected.
  func connect() throws {
    try negotiate()
    try addCandidates()
    try #require(run { $0.isConnected })
  }

  var isConnected: Bool { states[.offerer] == .connected && states[.answerer] == .connected }

  /// A packet of the side's transceiver at `index`.
  func send(_ number: Int, from side: Side, on index: Int = 0, size: Int = 200) throws(MediaSendError) {
    let transceiver = side == .offerer ? offerer.allTransceivers[index] : answerer.allTransceivers[index]
    let packet = OutgoingRTP(
      payloadType: transceiver.mediaCodecs[0].payloadType, marker: number % 5 == 4,
      sequenceNumber: UInt16(truncatingIfNeeded: 100 + number), timestamp: UInt32(number) &* 3_000,
      payload: Self.payload(number, size))
    switch side {
    case .offerer: try offerer.send(packet, on: transceiver.id, now: now)
    case .answerer: try answerer.send(packet, on: transceiver.id, now: now)
    }
  }

  static func payload(_ number: Int, _ size: Int) -> [UInt8] {
    (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 3 &+ number) }
  }

  func inject(_ bytes: [UInt8], from side: Side, asStranger: Bool = false) {
    flying.append(Datagram(at: now + delay, from: side, bytes: bytes, isFromStranger: asStranger))
  }

  /// Until `isDone`, or the time is over, or nothing is pending.
  @discardableResult
  func run(for limit: Interval = .seconds(60), until isDone: (MediaWorld) -> Bool = { _ in false }) throws -> Bool {
    let end = now + limit
    drain()
    while !isDone(self) {
      let due = earliest(earliest(offerer.deadline, answerer.deadline), flying.map(\.at).min())
      guard let due, due <= end else {
        now = end
        virtual_clock_set(now.nanoseconds)
        return isDone(self)
      }
      now = max(now, due)
      virtual_clock_set(now.nanoseconds)
      while let index = flying.indices.filter({ flying[$0].at <= now }).min(by: { flying[$0].at < flying[$1].at }) {
        arrive(flying.remove(at: index))
      }
      if let due = offerer.deadline, due <= now { offerer.handleTimeout(now: now) }
      if let due = answerer.deadline, due <= now { answerer.handleTimeout(now: now) }
      drain()
    }
    return true
  }

  // MARK: The network

  private func arrive(_ datagram: Datagram) {
    let remote = datagram.isFromStranger ? Self.stranger : Self.addresses[datagram.from]!
    let route = Route(socket: Self.socket, remote: remote)
    switch datagram.from {
    case .offerer: answerer.handle(datagram.bytes.rawSpan, route: route, now: now)
    case .answerer: offerer.handle(datagram.bytes.rawSpan, route: route, now: now)
    }
  }

  private func drain() {
    while let event = offerer.pollEvent(now: now) { note(event, .offerer) }
    while let event = answerer.pollEvent(now: now) {
      if case .message(_, _, let payload) = event {
        answerer.releaseReceived(cost: Connection.receiveCost(payloadBytes: payload.count), now: now)
      }
      note(event, .answerer)
    }
    transmit(from: .offerer) { batch in offerer.pollTransmit(into: &batch, now: now) }
    transmit(from: .answerer) { batch in answerer.pollTransmit(into: &batch, now: now) }
  }

  private func note(_ event: Connection.Event, _ side: Side) {
    switch event {
    case .media(.packet(let packet)): packets[side]!.append(packet)
    case .media(.keyframeRequested): keyframeRequests[side]! += 1
    case .media(.bye(_, let ssrc)): byes[side]!.append(ssrc)
    case .media(.senderReport): senderReports[side]! += 1
    case .mediaFailed(let why): mediaFailures.append(why)
    case .stateChanged(let state): states[side] = state
    case .incomingChannel(let channel, _): incomingChannels.append(channel)
    case .channelClosed(let channel): closedChannels.append(channel)
    case .message(_, _, let payload): messages.append(payload)
    default: break
    }
  }

  private func transmit(from side: Side, _ poll: (inout TransmitBatch) -> Bool) {
    var hasMore = true
    while hasMore {
      hasMore = poll(&batch)
      for datagram in batch.datagrams {
        let one = Datagram(at: now + delay, from: side, bytes: batch.bytes(of: datagram.range).copyBytes())
        sent.append(one)
        guard let changed = tamper(one) else { continue }
        if changed.isMedia, mediaLossPerMille > 0, random.next() % 1_000 < mediaLossPerMille { continue }
        flying.append(changed)
      }
      batch.removeAll()
    }
  }
}
