// Agent.swift — an ICE agent for one component (RFC 8445) over UDP, TCP (RFC 6544) and relays, full or lite, with trickle
// (RFC 8838), consent (RFC 7675), patience (RFC 8863) and renomination (draft-thatcher-ice-renomination).
//
// In: local and remote candidates, credentials, STUN datagrams, the time. Out: STUN messages with their route, events.
// Every in ends in `settle(now:)`, which starts what is due; every out only hands over what was decided.
//
// Invariants: `selected` is a succeeded pair of the list; each in-progress pair has exactly one repeating transaction;
// nothing but `.closed` leaves the states failed and closed; a message without valid MESSAGE-INTEGRITY changes nothing.
//
// Departures from RFC 8445, on purpose: no Frozen pairs (see Pair.swift); requests without valid credentials are dropped
// and not answered with 400 or 401, because no ICE peer can use such an answer and a forger shall get none; a response
// from another address than was asked is dropped and does not fail the pair, because the asker may be off the path; two
// lite agents never connect, because neither asks the other for its consent; when the pair in use is lost, the search
// begins again without a restart.

import DequeModule
package import Wire

package struct ICEAgent: ~Copyable {
  package enum Role: Hashable, Sendable { case controlling, controlled }

  package enum State: Hashable, Sendable {
    case new, checking
    /// A route works; the pair to stay with is not nominated yet.
    case connected
    /// A pair is nominated and works.
    case completed
    /// The route in use has not answered for some seconds, or is gone, and no other is found yet.
    case disconnected
    /// No route was found, or consent was lost. Only a new agent, with new credentials, helps.
    case failed
    case closed
  }

  package enum Event: Hashable, Sendable {
    case stateChanged(State)
    case selectedPairChanged(ICEPairSummary)
  }

  /// No message is longer: header, a user name of 508 bytes, and the attributes of a check.
  package static let maximumMessageSize = 640

  private let isLentByAddress = LentByAddress()
  package let localCredentials: ICECredentials
  package internal(set) var role: Role
  package internal(set) var state = State.new
  package internal(set) var statistics = ICEStatistics()

  let configuration: ICEConfiguration
  let localKey: [UInt8]
  var random: RandomSource
  var tieBreaker: UInt64
  var remote: RemoteCredentials?
  var isRemoteLite = false
  /// Both sides want it: a later nomination takes the place of an earlier one.
  var usesRenomination = false
  var locals: [LocalCandidate] = []
  var reflexives: [ReflexiveCandidate] = []
  var foundations: [FoundationKey] = []
  var localsAdded = 0
  var remotes: [ICECandidate] = []
  var checkList: CheckList
  var transactions: [CheckTransaction] = []
  var pacing: Pacing
  /// Checks of the peer's that came before its credentials, answered but not yet returned.
  var earlyChecks: [EarlyCheck] = []
  var consent: Consent?
  var selected: Route?
  /// Routes between known candidates that are not in use, but on which the peer's checks were answered.
  var waysIn: [Route] = []
  var startedAt: Instant?
  /// Set once checks may go out: started, and the peer's credentials known.
  var checkingSince: Instant?
  var lastCandidateAt: Instant?
  /// When the first pair worked that may be nominated now.
  var firstValidAt: Instant?
  /// When the route in use was lost or fell silent, and the search for another began; nil while there is no need.
  var reopenedAt: Instant?
  /// The number of our last nomination, and of the peer's last one that we followed.
  var nominationsSent: UInt32 = 0
  var nominationFollowed: UInt32?
  var roleConflicts = 0
  var peerReflexiveCount = 0
  var pendingResponses = 0
  var outbox = Deque<Outgoing>()
  /// Drained after each call, which adds three at most.
  var events = Deque<Event>()

  package init(role: Role, configuration: ICEConfiguration = .init(), random: RandomSource) {
    var random = random
    // A lite agent never controls a full one (RFC 8445 §6.1.1).
    self.role = configuration.isLite ? .controlled : role
    self.configuration = configuration
    localCredentials = ICECredentials.random(using: &random)
    localKey = Array(localCredentials.password.utf8)
    tieBreaker = random.next()
    checkList = CheckList(
      maximumPairs: configuration.maximumPairs, maximumPeerReflexive: configuration.maximumPeerReflexivePairs)
    pacing = Pacing(interval: configuration.pacing, burst: configuration.triggeredBurst)
    self.random = random
  }

  // MARK: In

  /// Checks may go out from now on, as soon as the peer's credentials and a candidate are known.
  package mutating func start(now: Instant) {
    guard !hasEnded else { return }
    if startedAt == nil { startedAt = now }
    settle(now: now)
  }

  /// Takes the role that signalling assigns. Without effect once checks have started; then only a role conflict
  /// changes it.
  package mutating func setRole(_ role: Role) {
    guard checkingSince == nil, !configuration.isLite, !isRemoteLite else { return }
    assignRole(role)
  }

  mutating func assignRole(_ role: Role) {
    self.role = role
    checkList.updatePriorities(role: role)
  }

  package mutating func handleTimeout(now: Instant) {
    guard !hasEnded else { return }
    checkConsent(now: now)
    expireTransactions(now: now)
    settle(now: now)
  }

  /// Ends the agent. Nothing is sent any more and nothing that arrives counts.
  package mutating func close() {
    guard state != .closed else { return }
    end(in: .closed)
  }

  // MARK: Out

  package mutating func pollEvent() -> Event? { events.popFirst() }

  /// When `handleTimeout` is wanted at the latest; nil: never.
  package var deadline: Instant? {
    guard !hasEnded else { return nil }
    guard let checkingSince else {
      // The credentials came in a call that did not know the time.
      return remote != nil ? startedAt : nil
    }
    var due = consent?.deadline
    for transaction in transactions { due = earliest(due, transaction.deadline) }
    if checkList.hasTriggered {
      due = earliest(due, earliest(pacing.triggeredDue ?? checkingSince, pacing.ordinaryDue ?? checkingSince))
    } else if checkList.hasWaiting {
      due = earliest(due, pacing.ordinaryDue ?? checkingSince)
    }
    due = earliest(due, acceptanceDue)
    if checkList.isExhausted { due = earliest(due, patienceEnds) }
    return due
  }

  /// Where to send: the selected pair's route, before nomination the best one that works; nil when there is none.
  package var sendRoute: Route? {
    guard !hasEnded else { return nil }
    return selected ?? checkList.bestValid?.route
  }

  package var selectedPair: ICEPairSummary? { selected.flatMap { checkList.pair($0)?.summary } }

  /// How long an answer over this route takes at most, as far as checks have shown: what was measured last, or, where each
  /// answer came after a repeated request, the time since the first.
  package func roundTripBound(of route: Route) -> Interval? {
    checkList.index(of: route).flatMap { checkList[$0].roundTrip ?? checkList[$0].roundTripBound }
  }

  /// Whether a check on this route has succeeded, so that other protocols may be fed from it. Once a pair is selected, a
  /// check of the peer's is enough: it may send on any pair on which we answer until ours has come to work for it, too.
  package func isValidated(_ route: Route) -> Bool {
    guard !hasEnded else { return false }
    return route == selected || checkList.pair(route)?.state == .succeeded
      || selected != nil && waysIn.contains(route)
  }

  /// Every route of which `isValidated` holds.
  package var validatedRoutes: [Route] {
    let candidates = (selected.map { [$0] } ?? []) + checkList.pairs.map(\.route) + waysIn
    var routes: [Route] = []
    for route in candidates where isValidated(route) && !routes.contains(route) { routes.append(route) }
    return routes
  }

  // MARK: Inside

  package var hasEnded: Bool { state == .failed || state == .closed }

  /// Whether any pair that works is welcome.
  var isSearching: Bool { selected == nil || reopenedAt != nil }

  /// Brings everything that follows from the facts up to date; the last step of every in.
  mutating func settle(now: Instant) {
    guard !hasEnded else { return }
    if startedAt != nil, remote != nil, checkingSince == nil {
      checkingSince = now
      handleEarlyChecks(now: now)
    }
    recheckStalePairs(now: now)
    searchAgainIfSilent(now: now)
    nominateIfDue(now: now)
    followSendRoute(now: now)
    scheduleChecks(now: now)
    if checkList.isExhausted, let patienceEnds, patienceEnds <= now {
      end(in: .failed)
    } else {
      updateState()
    }
  }

  /// RFC 8863 §4: the peer's checks may still open a route that ours could not, so wait even without pairs.
  var patienceEnds: Instant? {
    guard let checkingSince else { return nil }
    let searchingSince = max(lastCandidateAt ?? checkingSince, reopenedAt ?? checkingSince)
    return max(checkingSince, searchingSince) + configuration.patience
  }

  func currentState() -> State {
    if hasEnded { return state }
    if let consent {
      if consent.isDisconnected { return .disconnected }
      return selected == nil ? .connected : .completed
    }
    if reopenedAt != nil { return .disconnected }
    return checkingSince == nil ? .new : .checking
  }

  mutating func updateState() {
    let new = currentState()
    guard new != state else { return }
    state = new
    events.append(.stateChanged(new))
  }

  mutating func end(in final: State) {
    state = final
    events.append(.stateChanged(final))
    transactions.removeAll()
    outbox.removeAll()
    pendingResponses = 0
    earlyChecks.removeAll()
    consent = nil
  }
}

/// The peer's credentials, in the forms in which they are used.
struct RemoteCredentials: Sendable {
  let credentials: ICECredentials
  let key: [UInt8]
  /// USERNAME of our requests: theirs, then ours (RFC 8445 §7.1.2).
  let outgoingUsername: [UInt8]
  let incomingUsername: [UInt8]

  init(_ remote: ICECredentials, local: ICECredentials) {
    credentials = remote
    key = Array(remote.password.utf8)
    outgoingUsername = Array("\(remote.usernameFragment):\(local.usernameFragment)".utf8)
    incomingUsername = Array("\(local.usernameFragment):\(remote.usernameFragment)".utf8)
  }
}
