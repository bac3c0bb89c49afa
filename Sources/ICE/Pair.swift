// Pair.swift — a local and a remote candidate that are checked together (RFC 8445 §6.1.2).
//
// A pair is known by its route: the socket of the local base and the remote address. Pairs that differ only in a
// reflexive local candidate send the same packets, so RFC 8445 §6.1.2.4 prunes them; here they cannot exist.

import Wire

struct CandidatePair: Sendable {
  /// RFC 8445 §6.1.2.6 without Frozen: freezing spares checks when many components share a foundation; with one
  /// component it would only hold back pairs that may work, so every new pair is Waiting.
  enum State: Sendable { case waiting, inProgress, succeeded, failed }

  let route: Route
  /// The host candidate; after success the one whose address the peer saw.
  var local: ICECandidate
  var remote: ICECandidate
  var priority: UInt64
  /// What our PRIORITY attribute says: the priority of a peer-reflexive candidate with this base (§7.1.1).
  let checkPriority: UInt32
  /// The priority of the host candidate, which `local` may no longer be.
  private let localPriority: UInt32
  var state = State.waiting
  /// The peer has nominated this pair, which has yet to succeed (§7.3.1.5).
  var isNominatedByPeer = false
  var roundTrip: Interval?
  /// When the peer last answered on this route.
  var confirmedAt: Instant?
  /// Counts up with each pair made: the age of peer-reflexive pairs.
  var serial = 0

  init(route: Route, local: LocalCandidate, remote: ICECandidate, role: ICEAgent.Role) {
    self.route = route
    self.local = local.candidate
    self.remote = remote
    checkPriority = local.peerReflexivePriority
    localPriority = local.candidate.priority
    priority = 0
    updatePriority(role: role)
  }

  /// Roles may switch, and a signalled candidate may replace a peer-reflexive one.
  mutating func updatePriority(role: ICEAgent.Role) {
    priority =
      role == .controlling
      ? ICECandidate.pairPriority(controlling: localPriority, controlled: remote.priority)
      : ICECandidate.pairPriority(controlling: remote.priority, controlled: localPriority)
  }

  var isAlive: Bool { state == .waiting || state == .inProgress }
  var isPeerReflexive: Bool { remote.kind == .peerReflexive }

  var summary: ICEPairSummary {
    ICEPairSummary(local: local, remote: remote, route: route, roundTrip: roundTrip)
  }
}

/// A host candidate with the socket behind it.
struct LocalCandidate: Sendable {
  let candidate: ICECandidate
  /// With its zone.
  let address: SocketAddress
  let socket: SocketID
  let peerReflexivePriority: UInt32

  /// The route to a signalled remote address, or nil when the two can make no pair (RFC 8445 §6.1.2.2).
  func route(to remote: SocketAddress) -> Route? {
    guard address.ip.isV4 == remote.ip.isV4 else { return nil }
    // A loopback socket reaches nothing else, and no candidate list shall aim checks at our own host's services
    // through another socket.
    guard address.ip.isLoopback == remote.ip.isLoopback else { return nil }
    guard case .v6(let high, let low, _) = remote.ip else { return Route(socket: socket, remote: remote) }
    guard address.ip.isLinkLocal == remote.ip.isLinkLocal else { return nil }
    // The remote address of a link-local pair lies on our socket's link.
    guard remote.ip.isLinkLocal, case .v6(_, _, let zone) = address.ip else {
      return Route(socket: socket, remote: remote)
    }
    return Route(socket: socket, remote: SocketAddress(ip: .v6(high, low, zone: zone), port: remote.port))
  }
}
