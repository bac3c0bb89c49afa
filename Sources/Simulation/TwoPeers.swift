// TwoPeers.swift — two whole peers, from ICE to data channel, over a virtual network under a virtual clock.
//
// The very code that ships runs here; only sockets and the clock are replaced. Nothing waits: the clock jumps to the
// next thing due.

package import DTLS
import ICE
package import Peer
package import Wire

/// An offering and an answering peer with a network between them.
package struct TwoPeers: ~Copyable {
  package enum Side: Sendable, CaseIterable { case offerer, answerer }

  package var offerer: Connection
  package var answerer: Connection
  package var network: VirtualNetwork
  package private(set) var now: Instant
  /// Whether the applications read at once, so that the window never closes.
  package var readsAtOnce = true
  private var batch = TransmitBatch(capacity: 64 << 10)
  /// The address behind each side's sockets.
  package private(set) var sockets: [Side: [SocketID: SocketAddress]] = [.offerer: [:], .answerer: [:]]
  /// Addresses that nothing leaves or reaches any more.
  package var unplugged: Set<SocketAddress> = []
  /// Called whenever the clock has moved, so that a test can move OpenSSL's clock along.
  private let clockMoved: (Instant) -> Void

  package static let offererAddress = SocketAddress(ip: .v4(0xC000_0201), port: 5_000)
  package static let answererAddress = SocketAddress(ip: .v4(0xC000_0202), port: 6_000)
  private static let socket = SocketID(rawValue: 0)

  package init(
    configuration: Connection.Configuration = .init(), conditions: PathConditions, seed: UInt64,
    clockMoved: @escaping (Instant) -> Void
  ) throws(DTLSError) {
    let identities = (try DTLSIdentity.generate(), try DTLSIdentity.generate())
    var random = RandomSource.seeded(state: seed)
    offerer = Connection(configuration: configuration, identity: identities.0, random: random.split())
    answerer = Connection(configuration: configuration, identity: identities.1, random: random.split())
    network = VirtualNetwork(conditions: conditions, seed: random.next())
    // Not zero: a clock that starts at its origin hides mistakes with differences.
    now = Instant(nanoseconds: 1_000_000_000)
    self.clockMoved = clockMoved
    clockMoved(now)
  }

  /// Exchanges the descriptions and candidates at once, as a perfect signalling service would.
  package mutating func negotiate() throws(NegotiationError) {
    try renegotiate(by: .offerer)
    try addSocket(Self.socket, Self.offererAddress, to: .offerer)
    try addSocket(Self.socket, Self.answererAddress, to: .answerer)
  }

  /// Gives a side another socket, and the other side its candidate.
  package mutating func addSocket(
    _ socket: SocketID, _ address: SocketAddress, to side: Side
  ) throws(NegotiationError) {
    sockets[side]?[socket] = address
    switch side {
    case .offerer:
      let candidate = offerer.addLocalCandidate(address, socket: socket, now: now)
      try answerer.addRemoteCandidate(candidate.sdpText, now: now)
    case .answerer:
      let candidate = answerer.addLocalCandidate(address, socket: socket, now: now)
      try offerer.addRemoteCandidate(candidate.sdpText, now: now)
    }
  }

  /// Takes a socket away, as when an interface vanishes.
  package mutating func removeSocket(_ socket: SocketID, of side: Side) {
    guard let address = sockets[side]?.removeValue(forKey: socket) else { return }
    unplugged.insert(address)
    switch side {
    case .offerer: offerer.removeLocalCandidates(socket: socket, now: now)
    case .answerer: answerer.removeLocalCandidates(socket: socket, now: now)
    }
  }

  /// Exchanges another offer, of this side, and its answer.
  package mutating func renegotiate(by side: Side) throws(NegotiationError) {
    switch side {
    case .offerer: try Self.exchange(from: &offerer, to: &answerer, now: now)
    case .answerer: try Self.exchange(from: &answerer, to: &offerer, now: now)
    }
  }

  private static func exchange(
    from offering: inout Connection, to answering: inout Connection, now: Instant
  ) throws(NegotiationError) {
    let offer = try offering.createOffer()
    try offering.setLocalDescription(.offer, offer, now: now)
    try answering.setRemoteDescription(.offer, offer, now: now)
    let answer = try answering.createAnswer()
    try answering.setLocalDescription(.answer, answer, now: now)
    try offering.setRemoteDescription(.answer, answer, now: now)
  }

  /// An ICE restart, asked for by this side.
  package mutating func restartICE(by side: Side) throws(NegotiationError) {
    switch side {
    case .offerer: offerer.restartICE()
    case .answerer: answerer.restartICE()
    }
    try renegotiate(by: side)
  }

  /// Lets everything that is due happen, then moves the clock to the next thing pending.
  ///
  /// - Returns: false when nothing is pending any more.
  package mutating func step(_ handle: (Side, Connection.Event) -> Void) -> Bool {
    for side in Side.allCases { drain(side, handle) }
    let deadline = earliest(earliest(offerer.deadline, answerer.deadline), network.nextArrival)
    guard let deadline else { return false }
    now = max(now, deadline)
    clockMoved(now)
    while let datagram = network.receive(now: now) {
      if let socket = socket(of: .answerer, at: datagram.to) {
        answerer.handle(datagram.bytes.rawSpan, route: Route(socket: socket, remote: datagram.from), now: now)
      } else if let socket = socket(of: .offerer, at: datagram.to) {
        offerer.handle(datagram.bytes.rawSpan, route: Route(socket: socket, remote: datagram.from), now: now)
      }
    }
    if let due = offerer.deadline, due <= now { offerer.handleTimeout(now: now) }
    if let due = answerer.deadline, due <= now { answerer.handleTimeout(now: now) }
    for side in Side.allCases { drain(side, handle) }
    return true
  }

  /// Steps until `isDone`, nothing is pending, or `limit` of virtual time has passed.
  ///
  /// - Returns: whether `isDone` was reached.
  package mutating func run(
    limit: Interval, until isDone: (borrowing TwoPeers) -> Bool, handle: (Side, Connection.Event) -> Void
  ) -> Bool {
    let end = now + limit
    while !isDone(self) {
      guard now < end, step(handle) else { return isDone(self) }
    }
    return true
  }

  private func socket(of side: Side, at address: SocketAddress) -> SocketID? {
    guard !unplugged.contains(address) else { return nil }
    return sockets[side]?.first { $0.value == address }?.key
  }

  private mutating func drain(_ side: Side, _ handle: (Side, Connection.Event) -> Void) {
    switch side {
    case .offerer:
      Self.drain(
        &offerer, side: side, sockets: sockets[side] ?? [:], unplugged: unplugged, network: &network, batch: &batch,
        now: now, readsAtOnce: readsAtOnce, handle)
    case .answerer:
      Self.drain(
        &answerer, side: side, sockets: sockets[side] ?? [:], unplugged: unplugged, network: &network, batch: &batch,
        now: now, readsAtOnce: readsAtOnce, handle)
    }
  }

  private static func drain(
    _ peer: inout Connection, side: Side, sockets: [SocketID: SocketAddress], unplugged: Set<SocketAddress>,
    network: inout VirtualNetwork,
    batch: inout TransmitBatch, now: Instant, readsAtOnce: Bool, _ handle: (Side, Connection.Event) -> Void
  ) {
    while let event = peer.pollEvent(now: now) {
      if readsAtOnce, case .message(_, _, let payload) = event {
        peer.releaseReceived(cost: Connection.receiveCost(payloadBytes: payload.count), now: now)
      }
      handle(side, event)
    }
    var hasMore = true
    while hasMore {
      hasMore = peer.pollTransmit(into: &batch, now: now)
      for datagram in batch.datagrams {
        guard let address = sockets[datagram.route.socket], !unplugged.contains(address) else { continue }
        let bytes = batch.bytes(of: datagram.range).copyBytes()
        network.send(.init(from: address, to: datagram.route.remote, bytes: bytes), now: now)
      }
      batch.removeAll()
    }
  }
}
