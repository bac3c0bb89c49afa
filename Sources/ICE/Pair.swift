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
  /// The base; after success the candidate whose address the peer saw.
  var local: ICECandidate
  var remote: ICECandidate
  var priority: UInt64
  /// What our PRIORITY attribute says: the priority of a peer-reflexive candidate with this base (§7.1.1).
  let checkPriority: UInt32
  /// The priority of the base, which `local` may no longer be.
  private let localPriority: UInt32
  var state = State.waiting
  /// The peer has nominated this pair, which has yet to succeed (§7.3.1.5).
  var isNominatedByPeer = false
  /// Which nomination that was, when the peer counts them.
  var nominationByPeer: UInt32?
  /// A connection carries it: what is sent arrives, or the connection ends.
  let isStream: Bool
  /// Whether a check of ours can open the route; one that waits for the peer's connection can not.
  let canBeginChecks: Bool
  var counters = ICEPairCounters()
  var roundTrip: Interval?
  /// Not shorter than the round trip: from the first request of a repeated one to the answer.
  var roundTripBound: Interval?
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
    isStream = local.isStream
    canBeginChecks = local.candidate.tcpType != .passive
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
