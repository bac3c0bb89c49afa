// DirectWorld.swift — two whole peers that see each other directly, and somebody who can send to both of them and read along, on
// a simulated clock.

import CVirtualClock
import DTLS
import DataChannel
import ICE
import Peer
import TestSupport
import Testing
import Wire

final class DirectWorld {
  static let offererAddress = SocketAddress(ip: .v4(0xc000_0201), port: 5_000)
  static let answererAddress = SocketAddress(ip: .v4(0xc000_0202), port: 6_000)
  static let socket = SocketID(rawValue: 3)

  var offerer: Connection
  var answerer: Connection
  var now = Instant(nanoseconds: 1_000_000_000)
  let delay: Interval
  /// Nothing that the two send arrives.
  var isShut = false
  private(set) var steps: UInt64 = 0

  /// Of both sides.
  private(set) var states: [Connection.State] = []
  private(set) var opened = 0
  private(set) var messages: [[UInt8]] = []
  private var channels: [ChannelID] = []
  private var sent: [(to: SocketAddress, bytes: [UInt8])] = []
  private var flying: [(at: Instant, from: SocketAddress, to: SocketAddress, bytes: [UInt8])] = []
  private var batch = TransmitBatch(capacity: 128 << 10)

  init(
    seed: UInt64 = 1, configuration: Connection.Configuration = .init(), delay: Interval = .milliseconds(10)
  ) throws {
    var random = RandomSource.seeded(state: seed)
    self.delay = delay
    offerer = Connection(configuration: configuration, identity: try .generate(), random: random.split())
    answerer = Connection(configuration: configuration, identity: try .generate(), random: random.split())
    virtual_clock_set(now.nanoseconds)
  }

  deinit { virtual_clock_clear() }

  // MARK: Doing

  /// Descriptions and candidates, at once.
  ///
  /// - Parameter onTheWay: what becomes of a description between the two; true for the offer.
  func negotiate(onTheWay: (String, Bool) -> String = { text, _ in text }) throws {
    channels = [try offerer.openChannel(ChannelParameters(label: "first"), now: now)]
    try renegotiate(onTheWay: onTheWay)
    let first = offerer.addLocalCandidate(Self.offererAddress, socket: Self.socket, now: now)
    try answerer.addRemoteCandidate(first.sdpText, now: now)
    let second = answerer.addLocalCandidate(Self.answererAddress, socket: Self.socket, now: now)
    try offerer.addRemoteCandidate(second.sdpText, now: now)
    drain()
  }

  func renegotiate(onTheWay: (String, Bool) -> String) throws {
    let offer = try offerer.createOffer()
    try offerer.setLocalDescription(.offer, offer, now: now)
    try answerer.setRemoteDescription(.offer, onTheWay(offer, true), now: now)
    let answer = try answerer.createAnswer()
    try answerer.setLocalDescription(.answer, answer, now: now)
    try offerer.setRemoteDescription(.answer, onTheWay(answer, false), now: now)
  }

  /// Tells both that the other can be reached there, too.
  func announce(_ address: SocketAddress) throws {
    let line = "candidate:9 1 udp 2130706431 \(address.ip) \(address.port) typ host"
    try offerer.addRemoteCandidate(line, now: now)
    try answerer.addRemoteCandidate(line, now: now)
    drain()
  }

  /// Both want channels; a side that has ended opens none.
  func openChannels() throws {
    for parameters in [ChannelParameters(label: "one"), ChannelParameters(label: "other")] {
      do { channels.append(try offerer.openChannel(parameters, now: now)) } catch ChannelError.connectionClosed {}
      do { channels.append(try answerer.openChannel(parameters, now: now)) } catch ChannelError.connectionClosed {}
    }
    drain()
  }

  /// A datagram of somebody else's, to both.
  func inject(_ bytes: [UInt8], from address: SocketAddress) {
    let route = Route(socket: Self.socket, remote: address)
    offerer.handle(bytes.rawSpan, route: route, now: now)
    answerer.handle(bytes.rawSpan, route: route, now: now)
    drain()
  }

  /// Sends a message over the first channel, and expects it.
  func exchangeMessages() throws {
    let before = messages.count
    try offerer.send(on: channels[0], isText: false, payload: [1, 2, 3], now: now)
    while messages.count == before, try step() {}
    #expect(messages.last == [1, 2, 3])
  }

  /// Lets the next thing happen; false when nothing is pending.
  func step() throws -> Bool {
    drain()
    guard let due = earliest(earliest(offerer.deadline, answerer.deadline), flying.map(\.at).min()) else {
      return false
    }
    steps += 1
    try #require(steps < 100_000, "the world turns without an end")
    now = max(now, due)
    virtual_clock_set(now.nanoseconds)
    while let index = flying.firstIndex(where: { $0.at <= now }) {
      let datagram = flying.remove(at: index)
      let route = Route(socket: Self.socket, remote: datagram.from)
      switch datagram.to {
      case Self.offererAddress: offerer.handle(datagram.bytes.rawSpan, route: route, now: now)
      case Self.answererAddress: answerer.handle(datagram.bytes.rawSpan, route: route, now: now)
      default: break
      }
    }
    if let due = offerer.deadline, due <= now { offerer.handleTimeout(now: now) }
    if let due = answerer.deadline, due <= now { answerer.handleTimeout(now: now) }
    drain()
    return true
  }

  // MARK: Seeing

  var isOpen: Bool { opened > 0 }
  var failure: String { "offerer: \(offerer.failure ?? "well"), answerer: \(answerer.failure ?? "well")" }
  var dropped: UInt64 { offerer.counters.datagramsDropped + answerer.counters.datagramsDropped }
  var allDatagrams: [[UInt8]] { sent.map(\.bytes) }
  func datagrams(to address: SocketAddress) -> [[UInt8]] { sent.filter { $0.to == address }.map(\.bytes) }

  private func drain() {
    while let event = offerer.pollEvent(now: now) { take(event) }
    while let event = answerer.pollEvent(now: now) { take(event) }
    transmit(from: Self.offererAddress) { batch in offerer.pollTransmit(into: &batch, now: now) }
    transmit(from: Self.answererAddress) { batch in answerer.pollTransmit(into: &batch, now: now) }
  }

  private func take(_ event: Connection.Event) {
    switch event {
    case .stateChanged(let state): states.append(state)
    case .channelOpened, .incomingChannel: opened += 1
    case .message(_, _, let payload): messages.append(payload)
    default: break
    }
  }

  private func transmit(from source: SocketAddress, _ poll: (inout TransmitBatch) -> Bool) {
    var hasMore = true
    while hasMore {
      hasMore = poll(&batch)
      for datagram in batch.datagrams {
        let bytes = batch.bytes(of: datagram.range).copyBytes()
        sent.append((datagram.route.remote, bytes))
        if !isShut { flying.append((now + delay, source, datagram.route.remote, bytes)) }
      }
      batch.removeAll()
    }
  }
}
