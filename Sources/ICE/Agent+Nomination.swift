// Agent+Nomination.swift — how one of the working pairs becomes the one in use (RFC 8445 §8.1), and how another takes its
// place.
//
// Regular nomination: the controlling side checks, chooses, and repeats the check with USE-CANDIDATE. When both sides want
// renomination (draft-thatcher-ice-renomination), each nomination has a number and the largest wins; then better pairs
// are checked on after the first nomination, and when the pair in use falls silent, all are.

import DequeModule
import Wire

extension ICEAgent {
  // MARK: Controlling

  /// Nominates when no better pair can still come to work, or when waiting for one has taken long enough.
  mutating func nominateIfDue(now: Instant) {
    guard let best = nominee else { return }
    let isPatienceOver = acceptanceDue.map { $0 <= now } ?? true
    guard isPatienceOver || !checkList.hasHope(betterThan: best) else { return }
    begin(.nomination, best, now: now)
  }

  /// The pair that would be nominated next.
  private var nominee: CandidatePair? {
    let isNominating = transactions.contains { $0.purpose == .nomination }
    guard role == .controlling, checkingSince != nil, !isNominating else { return nil }
    guard let selected else { return checkList.bestValid }
    guard usesRenomination, let firstValidAt, let current = checkList.pair(selected) else { return nil }
    // Of those that worked before nobody knows whether they still do.
    return checkList.bestValid { pair in
      guard pair.route != selected, (pair.confirmedAt ?? firstValidAt) >= firstValidAt else { return false }
      return reopenedAt != nil || pair.priority > current.priority
    }
  }

  /// When the best of the working pairs is good enough; nil when there is nothing to wait for.
  var acceptanceDue: Instant? {
    guard let firstValidAt, nominee != nil else { return nil }
    return firstValidAt + configuration.acceptanceDelay
  }

  // MARK: Controlled

  /// The peer has nominated a pair that works. Of numbered nominations the latest counts. Without numbers a second choice
  /// counts when it is better by priority, as RFC 8445 §8.1.1 asks of those who meet aggressive nomination, or when the
  /// first has gone silent.
  mutating func accept(nomination index: Int, number: UInt32?, now: Instant) {
    if let number, configuration.renomination {
      guard nominationFollowed.map({ number > $0 }) ?? true else { return }
      nominationFollowed = number
      guard selected != checkList[index].route else { return }
    } else if let selected {
      guard selected != checkList[index].route, let current = checkList.pair(selected) else { return }
      guard checkList[index].priority > current.priority || consent?.isDisconnected == true else { return }
    }
    select(index, now: now)
  }

  // MARK: Both

  mutating func select(_ index: Int, now: Instant) {
    let summary = checkList[index].summary
    let priority = checkList[index].priority
    selected = summary.route
    reopenedAt = nil
    firstValidAt = nil
    // The search is over (§8.1.2): what is under way stops, also its repetitions. Only what might be better goes on.
    let goesOn = usesRenomination
    for pair in checkList.pairs where pair.isAlive && pair.counters.requestsReceived > 0 { noteWayIn(pair.route) }
    checkList.removeAll { $0.state != .succeeded && !(goesOn && $0.isAlive && $0.priority > priority) }
    let alive = Set(checkList.pairs.filter(\.isAlive).map(\.route))
    transactions.removeAll { $0.purpose == .nomination || $0.purpose == .check && !alive.contains($0.route) }
    followSendRoute(now: now)
    updateState()
    events.append(.selectedPairChanged(summary))
  }

  /// Whether a pair of this priority would be better than the one in use, and both sides would go over to it.
  func isImprovement(_ priority: UInt64) -> Bool {
    guard usesRenomination, let selected, let current = checkList.pair(selected) else { return false }
    return priority > current.priority
  }

  /// The same of a route that a check came in on, whose source the peer values so.
  func isImprovement(on route: Route, remotePriority: UInt32) -> Bool {
    if let known = checkList.pair(route) { return isImprovement(known.priority) }
    guard let own = local(for: route)?.candidate.priority else { return false }
    return isImprovement(
      role == .controlling
        ? ICECandidate.pairPriority(controlling: own, controlled: remotePriority)
        : ICECandidate.pairPriority(controlling: remotePriority, controlled: own))
  }

  /// The pair in use is lost or silent: everything that once seemed possible is tried again.
  mutating func searchAgain(now: Instant) {
    reopenedAt = now
    firstValidAt = nil
    checkList.reviveFailed()
    for local in locals {
      for remote in remotes { addPair(local, remote) }
    }
  }

  /// Silence alone begins a search only when the other side will follow.
  mutating func searchAgainIfSilent(now: Instant) {
    guard usesRenomination, selected != nil, let consent else { return }
    if consent.isDisconnected, reopenedAt == nil {
      searchAgain(now: now)
      for index in checkList.pairs.indices
      where checkList[index].state == .succeeded && checkList[index].route != selected {
        checkList.trigger(index)
      }
    } else if !consent.isDisconnected, reopenedAt != nil {
      reopenedAt = nil
    }
  }
}
