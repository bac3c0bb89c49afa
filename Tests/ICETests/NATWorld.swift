// NATWorld.swift — two agents, each behind a NAT of a kind, with a STUN server and a relay on the open network
// (RFC 4787 §4, §5, in the words of RFC 3489 §5).

import Testing
import Wire

@testable import ICE

enum NATKind: CaseIterable, Sendable, CustomTestStringConvertible {
  case none, fullCone, addressRestricted, portRestricted, symmetric
  /// Nothing of UDP passes but to and from the relay's server.
  case blocked

  var testDescription: String { "\(self)" }
}

/// Maps inner addresses to ports of its own outer one, and lets in what its kind allows.
struct NAT {
  let kind: NATKind
  let outer: IPAddress
  private var mappings: [Mapping] = []

  private struct Mapping {
    let inner: SocketAddress
    /// A symmetric NAT has a mapping for each remote address.
    let remote: SocketAddress?
    let outer: SocketAddress
    var contacted: Set<SocketAddress> = []
  }

  init(_ kind: NATKind, outer: IPAddress) {
    self.kind = kind
    self.outer = outer
  }

  /// The source that the world outside sees.
  mutating func send(from inner: SocketAddress, to remote: SocketAddress) -> SocketAddress {
    guard kind != .none else { return inner }
    let key = kind == .symmetric ? remote : nil
    if let index = mappings.firstIndex(where: { $0.inner == inner && $0.remote == key }) {
      mappings[index].contacted.insert(remote)
      return mappings[index].outer
    }
    let mapped = SocketAddress(ip: outer, port: UInt16(40_000 + mappings.count))
    mappings.append(Mapping(inner: inner, remote: key, outer: mapped, contacted: [remote]))
    return mapped
  }

  /// Who inside gets what comes from `remote` to `destination`; nil: nobody.
  func receive(from remote: SocketAddress, to destination: SocketAddress) -> SocketAddress? {
    guard kind != .none else { return destination }
    guard let mapping = mappings.first(where: { $0.outer == destination }) else { return nil }
    switch kind {
    case .none, .fullCone: return mapping.inner
    case .addressRestricted: return mapping.contacted.contains { $0.ip == remote.ip } ? mapping.inner : nil
    case .portRestricted, .symmetric, .blocked: return mapping.contacted.contains(remote) ? mapping.inner : nil
    }
  }
}

struct NATWorld: ~Copyable {
  var left: ICEAgent
  var right: ICEAgent
  var now = Instant(nanoseconds: 1_000_000_000)
  var lossPerMille: UInt64 = 0
  private var leftNAT: NAT
  private var rightNAT: NAT
  private var random: RandomSource
  private var flying: [Datagram] = []

  static let hostSocket = SocketID(rawValue: 1)
  static let relaySocket = SocketID(rawValue: 1 << 31 | 1)
  private let leftHost: SocketAddress
  private let rightHost: SocketAddress
  private let leftRelay = SocketAddress(ip: .v4(0xCB00_7101), port: 50_001)
  private let rightRelay = SocketAddress(ip: .v4(0xCB00_7102), port: 50_002)
  private static let stunServer = SocketAddress(ip: .v4(0xCB00_710A), port: 3_478)

  init(_ left: NATKind, _ right: NATKind, relays: Bool, renomination: Bool = true, seed: UInt64 = 1) {
    random = .seeded(state: seed)
    // Private addresses behind a NAT are the same on both sides now and then: here they differ, and lead nowhere.
    leftHost = SocketAddress(ip: .v4(left == .none ? 0xC000_0201 : 0x0A01_0001), port: 1_000)
    rightHost = SocketAddress(ip: .v4(right == .none ? 0xC000_0202 : 0x0A02_0001), port: 2_000)
    leftNAT = NAT(left, outer: .v4(0xC633_6401))
    rightNAT = NAT(right, outer: .v4(0xC633_6402))
    self.left = ICEAgent(role: .controlling, random: .seeded(state: seed &* 2 &+ 11))
    self.right = ICEAgent(role: .controlled, random: .seeded(state: seed &* 2 &+ 12))
    _ = self.left.addLocalCandidate(leftHost, socket: Self.hostSocket)
    _ = self.right.addLocalCandidate(rightHost, socket: Self.hostSocket)
    if left != .blocked {
      let mapped = leftNAT.send(from: leftHost, to: Self.stunServer)
      _ = self.left.addReflexiveCandidate(mapped, base: leftHost, socket: Self.hostSocket, server: Self.stunServer)
    }
    if right != .blocked {
      let mapped = rightNAT.send(from: rightHost, to: Self.stunServer)
      _ = self.right.addReflexiveCandidate(mapped, base: rightHost, socket: Self.hostSocket, server: Self.stunServer)
    }
    if relays {
      _ = self.left.addRelayedCandidate(leftRelay, mapped: nil, socket: Self.relaySocket, server: Self.stunServer)
      _ = self.right.addRelayedCandidate(rightRelay, mapped: nil, socket: Self.relaySocket, server: Self.stunServer)
    }
    self.left.setRemoteCredentials(self.right.localCredentials, supportsRenomination: renomination)
    self.right.setRemoteCredentials(self.left.localCredentials, supportsRenomination: renomination)
    for candidate in self.right.localCandidates { self.left.addRemoteCandidate(candidate, now: now) }
    for candidate in self.left.localCandidates { self.right.addRemoteCandidate(candidate, now: now) }
    self.left.start(now: now)
    self.right.start(now: now)
  }

  mutating func run(for limit: Interval, until isDone: (borrowing NATWorld) -> Bool) -> Bool {
    let end = now + limit
    drain()
    while !isDone(self) {
      var next = earliest(left.deadline, right.deadline)
      for datagram in flying { next = earliest(next, datagram.at) }
      guard let next, next <= end else { return isDone(self) }
      now = max(now, next)
      while let index = flying.firstIndex(where: { $0.at <= now }) {
        deliver(flying.remove(at: index))
        drain()
      }
      if let due = left.deadline, due <= now { left.handleTimeout(now: now) }
      if let due = right.deadline, due <= now { right.handleTimeout(now: now) }
      drain()
    }
    return true
  }

  private mutating func drain() {
    for (bytes, route) in left.transmissions(now: now) { launch(bytes, route, from: .left) }
    for (bytes, route) in right.transmissions(now: now) { launch(bytes, route, from: .right) }
    while left.pollEvent() != nil {}
    while right.pollEvent() != nil {}
  }

  private mutating func launch(_ bytes: [UInt8], _ route: Route, from side: Side) {
    var source: SocketAddress
    if route.socket == Self.relaySocket {
      // The client talks to its server through the NAT; that always works, and is not what is looked at here.
      source = side == .left ? leftRelay : rightRelay
    } else {
      let nat = side == .left ? leftNAT.kind : rightNAT.kind
      guard nat != .blocked else { return }
      source =
        side == .left
        ? leftNAT.send(from: leftHost, to: route.remote) : rightNAT.send(from: rightHost, to: route.remote)
      // A private address leads nowhere outside.
      if case .v4(let bits) = route.remote.ip, bits >> 24 == 10 { return }
    }
    guard random.next() % 1_000 >= lossPerMille else { return }
    flying.append(
      Datagram(
        at: now + .milliseconds(route.socket == Self.relaySocket ? 40 : 20), from: side, source: source,
        destination: route.remote, bytes: bytes))
  }

  private mutating func deliver(_ datagram: Datagram) {
    let side: Side = datagram.from == .left ? .right : .left
    let relay = side == .left ? leftRelay : rightRelay
    if datagram.destination == relay {
      return hand(datagram.bytes, to: side, Route(socket: Self.relaySocket, remote: datagram.source))
    }
    let kind = side == .left ? leftNAT.kind : rightNAT.kind
    guard kind != .blocked else { return }
    let inner =
      side == .left
      ? leftNAT.receive(from: datagram.source, to: datagram.destination)
      : rightNAT.receive(from: datagram.source, to: datagram.destination)
    guard inner == (side == .left ? leftHost : rightHost) else { return }
    hand(datagram.bytes, to: side, Route(socket: Self.hostSocket, remote: datagram.source))
  }

  private mutating func hand(_ bytes: [UInt8], to side: Side, _ route: Route) {
    switch side {
    case .left: left.handle(bytes.rawSpan, route: route, now: now)
    case .right: right.handle(bytes.rawSpan, route: route, now: now)
    }
  }
}
