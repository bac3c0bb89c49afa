// World.swift — two agents on a simulated clock, between them a seeded network that loses, delays and translates.

import Testing
import Wire

@testable import ICE

enum Side: Hashable, Sendable { case left, right }

struct Datagram {
  var at: Instant
  var from: Side
  var source: SocketAddress
  var destination: SocketAddress
  var bytes: [UInt8]
}

struct World: ~Copyable {
  var left: ICEAgent
  var right: ICEAgent
  var now = Instant(nanoseconds: 1_000_000_000)
  var random: RandomSource

  // The network.
  var lossPerMille: UInt64 = 0
  var delay = Interval.milliseconds(20)
  var jitter = Interval.zero
  var duplicatePerMille: UInt64 = 0
  /// One bit of a datagram is flipped.
  var corruptPerMille: UInt64 = 0
  /// Longer ways for some datagrams.
  var extraDelay: (Datagram) -> Interval = { _ in .zero }
  /// Datagrams for which this says true vanish.
  var isBlocked: (Datagram) -> Bool = { _ in false }
  /// The public address of each private one behind a full-cone NAT.
  var translations: [SocketAddress: SocketAddress] = [:]

  /// Everything that was sent, lost or not.
  var sent: [Datagram] = []
  var leftEvents: [ICEAgent.Event] = []
  var rightEvents: [ICEAgent.Event] = []
  private var flying: [Datagram] = []
  private var sockets: [Side: [SocketID: SocketAddress]] = [.left: [:], .right: [:]]

  init(
    seed: UInt64, left: ICEAgent.Role = .controlling, right: ICEAgent.Role = .controlled,
    configuration: ICEConfiguration = .init(), leftConfiguration: ICEConfiguration? = nil
  ) {
    random = .seeded(state: seed)
    self.left = ICEAgent(
      role: left, configuration: leftConfiguration ?? configuration, random: .seeded(state: seed &* 2 &+ 1_000_003))
    self.right = ICEAgent(
      role: right, configuration: configuration, random: .seeded(state: seed &* 2 &+ 2_000_004))
  }

  // MARK: Set-up

  @discardableResult
  mutating func addLocal(_ side: Side, _ text: String) throws -> ICECandidate {
    let (address, id) = try addSocket(side, text)
    return side == .left ? left.addLocalCandidate(address, socket: id) : right.addLocalCandidate(address, socket: id)
  }

  /// A candidate of TCP; the connection is taken for granted.
  @discardableResult
  mutating func addTCP(_ side: Side, _ text: String, _ type: ICECandidate.TCPType) throws -> ICECandidate {
    let (address, id) = try addSocket(side, text)
    return side == .left
      ? left.addTCPCandidate(address, type: type, socket: id) : right.addTCPCandidate(address, type: type, socket: id)
  }

  /// An allocation on a relay, which is a place on the network like any other.
  @discardableResult
  mutating func addRelay(_ side: Side, _ text: String) throws -> ICECandidate {
    let (address, id) = try addSocket(side, text)
    return side == .left
      ? left.addRelayedCandidate(address, mapped: nil, socket: id)
      : right.addRelayedCandidate(address, mapped: nil, socket: id)
  }

  private mutating func addSocket(_ side: Side, _ text: String) throws -> (SocketAddress, SocketID) {
    let address = try #require(SocketAddress(text))
    let id = SocketID(rawValue: UInt32(sockets[side, default: [:]].count + (side == .left ? 100 : 200)))
    sockets[side]?[id] = address
    return (address, id)
  }

  /// One address each, credentials and candidates exchanged, both started.
  mutating func connectSimply() throws {
    let l = try addLocal(.left, "10.0.0.1:1000")
    let r = try addLocal(.right, "10.0.0.2:2000")
    exchangeCredentials()
    left.addRemoteCandidate(r, now: now)
    right.addRemoteCandidate(l, now: now)
    start()
  }

  mutating func exchangeCredentials(renomination: Bool = false) {
    left.setRemoteCredentials(
      right.localCredentials, isLite: right.configuration.isLite, supportsRenomination: renomination)
    right.setRemoteCredentials(
      left.localCredentials, isLite: left.configuration.isLite, supportsRenomination: renomination)
  }

  mutating func start() {
    left.start(now: now)
    right.start(now: now)
    drain()
  }

  // MARK: Running

  /// Goes from event to event until `isDone` or until nothing happens before `limit`.
  @discardableResult
  mutating func run(for limit: Interval, until isDone: (borrowing World) -> Bool = { _ in false }) -> Bool {
    let end = now + limit
    drain()
    var steps = 0
    while !isDone(self) {
      var next = earliest(left.deadline, right.deadline)
      for datagram in flying { next = earliest(next, datagram.at) }
      guard let next, next <= end else {
        now = end
        return isDone(self)
      }
      now = max(now, next)
      step()
      steps += 1
      if steps > 1_000_000 {
        Issue.record("the agents never come to rest")
        return false
      }
    }
    return true
  }

  private mutating func step() {
    // Sorted by time, ties in order of sending.
    while let index = flying.indices.filter({ flying[$0].at <= now }).min(by: { flying[$0].at < flying[$1].at }) {
      deliver(flying.remove(at: index))
      drain()
    }
    if let due = left.deadline, due <= now {
      left.handleTimeout(now: now)
      drain()
      if let again = left.deadline, again <= now { Issue.record("left's deadline does not move on") }
    }
    if let due = right.deadline, due <= now {
      right.handleTimeout(now: now)
      drain()
      if let again = right.deadline, again <= now { Issue.record("right's deadline does not move on") }
    }
  }

  private mutating func deliver(_ datagram: Datagram) {
    guard let (side, socket) = receiver(of: datagram) else { return }
    inject(datagram.bytes, to: side, route: Route(socket: socket, remote: datagram.source))
  }

  private func receiver(of datagram: Datagram) -> (Side, SocketID)? {
    let side: Side = datagram.from == .left ? .right : .left
    for (id, address) in sockets[side, default: [:]] {
      let isLinkLocal = address.ip.isLinkLocal && address.withoutZone == datagram.destination.withoutZone
      if isLinkLocal || (translations[address] ?? address) == datagram.destination { return (side, id) }
    }
    return nil
  }

  mutating func inject(_ bytes: [UInt8], to side: Side, route: Route) {
    switch side {
    case .left: left.handle(bytes.rawSpan, route: route, now: now)
    case .right: right.handle(bytes.rawSpan, route: route, now: now)
    }
  }

  mutating func drain() {
    for (datagram, route) in left.transmissions(now: now) { launch(datagram, route, from: .left) }
    for (datagram, route) in right.transmissions(now: now) { launch(datagram, route, from: .right) }
    while let event = left.pollEvent() { leftEvents.append(event) }
    while let event = right.pollEvent() { rightEvents.append(event) }
  }

  private mutating func launch(_ bytes: [UInt8], _ route: Route, from side: Side) {
    guard let address = sockets[side]?[route.socket] else {
      Issue.record("sent through a socket that does not exist")
      return
    }
    var datagram = Datagram(
      at: now, from: side, source: translations[address] ?? address, destination: route.remote, bytes: bytes)
    sent.append(datagram)
    guard !isBlocked(datagram), receiver(of: datagram) != nil else { return }
    var copies = random.next() % 1_000 < duplicatePerMille ? 2 : 1
    if random.next() % 1_000 < lossPerMille { copies -= 1 }
    for _ in 0..<copies {
      datagram.bytes = bytes
      if random.next() % 1_000 < corruptPerMille {
        datagram.bytes[Int(random.next() % UInt64(bytes.count))] ^= 1 << UInt8(random.next() % 8)
      }
      let extra = jitter.nanoseconds > 0 ? Int64(random.next() % UInt64(jitter.nanoseconds)) : 0
      datagram.at = now + delay + extraDelay(datagram) + Interval(nanoseconds: extra)
      flying.append(datagram)
    }
  }

  func socket(_ side: Side, _ index: UInt32 = 0) -> SocketID {
    SocketID(rawValue: (side == .left ? 100 : 200) + index)
  }

  func sent(by side: Side) -> [Datagram] { sent.filter { $0.from == side } }
}

extension ICEAgent {
  /// Everything the agent wants to send now.
  mutating func transmissions(now: Instant) -> [(bytes: [UInt8], route: Route)] {
    var all: [(bytes: [UInt8], route: Route)] = []
    while true {
      var route: Route?
      let bytes = collectBytes(capacity: 1_500) { out in route = pollTransmit(into: &out, now: now) }
      guard let route else { return all }
      all.append((bytes, route))
    }
  }
}

func bothCompleted(_ world: borrowing World) -> Bool {
  world.left.state == .completed && world.right.state == .completed
}

func selectedAddresses(_ agent: borrowing ICEAgent) -> [SocketAddress?] {
  [agent.selectedPair?.local.socketAddress, agent.selectedPair?.remote.socketAddress]
}
