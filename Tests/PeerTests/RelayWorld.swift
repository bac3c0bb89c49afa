// RelayWorld.swift — two whole peers that see each other only as far as a test lets them, a STUN and TURN server, and a NAT
// in front of the one that offers, on a simulated clock.

import CVirtualClock
import DTLS
import DataChannel
import ICE
import Media
import Peer
import STUN
import TURNTestSupport
import TestSupport
import Testing
import Wire

func address(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }

final class RelayWorld {
  static let offererAddress = SocketAddress(ip: .v4(0x0a00_0001), port: 5_000)
  static let mappedAddress = SocketAddress(ip: .v4(0xc633_6401), port: 61_000)
  static let answererAddress = SocketAddress(ip: .v4(0xc000_0202), port: 6_000)
  static let serverAddress = SocketAddress(ip: .v4(0xc000_0203), port: 3_478)
  static let socket = SocketID(rawValue: 7)

  var offerer: Connection
  var answerer: Connection
  var server = SimulatedServer()
  var responder = BindingResponder(random: .seeded(state: 5))
  var now = Instant(nanoseconds: 1_000_000_000)
  var delay = Interval.milliseconds(10)
  /// The server says nothing.
  var isServerSilent = false
  /// What the two send each other without the relay vanishes.
  var isDirectWayShut = true
  var lossPerMille: UInt64 = 0

  var candidates: [ICECandidate] = []
  var hasEndedCandidates = false
  var failures: [String] = []
  var pairs: [ICEPairSummary] = []
  var states: [Connection.State] = []
  var incoming: [ChannelID] = []
  var opened: [ChannelID] = []
  var messages: [[UInt8]] = []
  /// What the answerer has got of audio and video.
  var packets: [IncomingRTP] = []
  /// Datagrams that went to the server, and payload bytes that came out of it.
  var toServer = 0
  private var flying: [(at: Instant, from: SocketAddress, to: SocketAddress, bytes: [UInt8])] = []
  private var random: RandomSource
  private var batch = TransmitBatch(capacity: 128 << 10)

  init(seed: UInt64 = 1, configuration: Connection.Configuration = .init()) throws {
    random = .seeded(state: seed)
    offerer = Connection(configuration: configuration, identity: try .generate(), random: random.split())
    answerer = Connection(configuration: .init(), identity: try .generate(), random: random.split())
    virtual_clock_set(now.nanoseconds)
  }

  deinit { virtual_clock_clear() }

  // MARK: Doing

  var request: RelayRequest {
    RelayRequest(
      route: Route(socket: Self.socket, remote: Self.serverAddress), transport: .udp,
      credential: STUNCredential(username: "George", password: "wisemans-secret"),
      serverName: ServerName("turn.example"))
  }

  /// Descriptions and the answerer's candidate, at once; the offerer's candidates follow as they are found.
  func negotiate() throws {
    let offer = try offerer.createOffer()
    try offerer.setLocalDescription(.offer, offer, now: now)
    try answerer.setRemoteDescription(.offer, offer, now: now)
    let answer = try answerer.createAnswer()
    try answerer.setLocalDescription(.answer, answer, now: now)
    try offerer.setRemoteDescription(.answer, answer, now: now)
    let candidate = answerer.addLocalCandidate(Self.answererAddress, socket: Self.socket, now: now)
    try offerer.addRemoteCandidate(candidate.sdpText, now: now)
    try drain()
  }

  /// Until `isDone`, or the time is over, or nothing is pending.
  @discardableResult
  func run(for limit: Interval = .seconds(60), until isDone: (RelayWorld) -> Bool) throws -> Bool {
    let end = now + limit
    try drain()
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
        try arrive(flying.remove(at: index))
      }
      if let due = offerer.deadline, due <= now { offerer.handleTimeout(now: now) }
      if let due = answerer.deadline, due <= now { answerer.handleTimeout(now: now) }
      try drain()
    }
    return true
  }

  // MARK: The network

  private func arrive(_ datagram: (at: Instant, from: SocketAddress, to: SocketAddress, bytes: [UInt8])) throws {
    let (from, to, bytes) = (datagram.from, datagram.to, datagram.bytes)
    switch to {
    case Self.serverAddress: try arriveAtServer(bytes, from: from)
    case server.relayed:
      if let wrapped = try server.deliver(bytes, from: from, now: now) {
        fly(wrapped, from: Self.serverAddress, to: Self.mappedAddress)
      }
    case Self.mappedAddress:
      offerer.handle(bytes.rawSpan, route: Route(socket: Self.socket, remote: from), now: now)
    case Self.answererAddress:
      answerer.handle(bytes.rawSpan, route: Route(socket: Self.socket, remote: from), now: now)
    default: break
    }
  }

  private func arriveAtServer(_ bytes: [UInt8], from client: SocketAddress) throws {
    toServer += 1
    guard !isServerSilent else { return }
    var isAnswered = false
    let answer = collectBytes(capacity: BindingResponder.maximumMessageSize) { out in
      isAnswered = responder.answer(bytes.rawSpan, from: client, into: &out, now: now)
    }
    if isAnswered { return fly(answer, from: Self.serverAddress, to: client) }
    if let answer = try server.handle(bytes, from: client, now: now) {
      fly(answer, from: Self.serverAddress, to: client)
    }
    for payload in server.relayedPayloads { fly(payload.bytes, from: server.relayed, to: payload.peer) }
    server.relayedPayloads = []
  }

  private func fly(_ bytes: [UInt8], from: SocketAddress, to: SocketAddress) {
    guard lossPerMille == 0 || random.next() % 1_000 >= lossPerMille else { return }
    flying.append((now + delay, from, to, bytes))
  }

  func drain() throws {
    while let event = offerer.pollEvent(now: now) {
      switch event {
      case .localCandidate(let candidate):
        candidates.append(candidate)
        try answerer.addRemoteCandidate(candidate.sdpText, now: now)
      case .localCandidatesEnded: hasEndedCandidates = true
      case .serverFailed(let why): failures.append(why)
      case .selectedPairChanged(let pair): pairs.append(pair)
      case .stateChanged(let state): states.append(state)
      case .channelOpened(let channel): opened.append(channel)
      default: break
      }
    }
    while let event = answerer.pollEvent(now: now) {
      switch event {
      case .incomingChannel(let channel, _): incoming.append(channel)
      case .message(_, _, let payload):
        answerer.releaseReceived(cost: Connection.receiveCost(payloadBytes: payload.count), now: now)
        messages.append(payload)
      case .media(.packet(let packet)): packets.append(packet)
      default: break
      }
    }
    transmit(from: Self.mappedAddress) { batch in offerer.pollTransmit(into: &batch, now: now) }
    transmit(from: Self.answererAddress) { batch in answerer.pollTransmit(into: &batch, now: now) }
  }

  private func transmit(from source: SocketAddress, _ poll: (inout TransmitBatch) -> Bool) {
    var hasMore = true
    while hasMore {
      hasMore = poll(&batch)
      for datagram in batch.datagrams {
        let to = datagram.route.remote
        // The network knows no virtual sockets: what is sent on one must have been wrapped.
        #expect(!datagram.route.socket.isVirtual)
        let isDirect = to == Self.answererAddress && source == Self.mappedAddress || to == Self.mappedAddress
        if isDirect, isDirectWayShut { continue }
        fly(batch.bytes(of: datagram.range).copyBytes(), from: source, to: to)
      }
      batch.removeAll()
    }
  }
}
