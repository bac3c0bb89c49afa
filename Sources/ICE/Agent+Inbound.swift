// Agent+Inbound.swift — the peer's requests (RFC 8445 §7.3, RFC 8489 §6.3).
//
// The order is that of RFC 8489: well-formed, authentic, understood, and only then does a message mean anything.

import DequeModule
import STUN
package import Wire

/// A check that came before the peer's credentials, kept for the check in return.
struct EarlyCheck: Sendable {
  let route: Route
  var priority: UInt32
  var useCandidate: Bool
  /// The number of the nomination, when the peer counts them.
  var nomination: UInt32?
  let username: [UInt8]
}

extension ICEAgent {
  /// Takes a datagram whose first byte is 0…3.
  package mutating func handle(_ datagram: RawSpan, route: Route, now: Instant) {
    guard !hasEnded else { return }
    do throws(Malformed) {
      let message = try STUNMessage(datagram)
      guard message.header.method == .binding else {
        statistics.ignoredMessages += 1
        return
      }
      switch message.header.messageClass {
      case .request: try handleRequest(message, route: route, now: now)
      case .successResponse, .errorResponse: try handleResponse(message, route: route, now: now)
      // A Binding indication is a keepalive: nothing to do, nothing to answer (RFC 8445 §11).
      case .indication: statistics.ignoredMessages += 1
      }
    } catch {
      statistics.malformed += 1
    }
    settle(now: now)
  }

  /// Whether this message is for this agent and no other that shares its sockets: a request that names its user name
  /// fragment, or an answer to a request of its own. Says nothing about authenticity.
  package func owns(_ datagram: RawSpan) -> Bool {
    guard !hasEnded else { return false }
    do throws(Malformed) {
      let (header, _) = try STUNHeader.read(from: datagram)
      switch header.messageClass {
      case .successResponse, .errorResponse: return transactions.contains { $0.id == header.id }
      case .request, .indication: break
      }
      var attributes = try STUNMessage(datagram).attributes
      while let attribute = try attributes.next() {
        if case .username(let name) = attribute { return isAddressedToUs(name) }
      }
    } catch {
      return false
    }
    return false
  }

  private mutating func handleRequest(_ message: borrowing STUNMessage, route: Route, now: Instant) throws(Malformed) {
    var priority: UInt32?
    var useCandidate = false
    var nomination: UInt32?
    var claim: (role: Role, tieBreaker: UInt64)?
    var username: [UInt8]?
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      case .username(let name):
        // Looked at before anything costs time: most forgeries end here.
        guard isAddressedToUs(name) else {
          statistics.unauthenticated += 1
          return
        }
        username = name.copyBytes()
      case .priority(let value): priority = value
      case .useCandidate: useCandidate = true
      case .nomination(let number): nomination = number
      case .iceControlling(let tieBreaker): claim = (.controlling, tieBreaker)
      case .iceControlled(let tieBreaker): claim = (.controlled, tieBreaker)
      default: break
      }
    }
    guard let username, message.verifiesIntegrity(key: localKey) else {
      statistics.unauthenticated += 1
      return
    }
    statistics.requestsReceived += 1
    guard let local = local(for: route) else {
      statistics.ignoredMessages += 1
      return
    }
    guard message.unknownRequiredTypes.isEmpty else {
      respond(.unknownAttributes(message.unknownRequiredTypes), to: message.header.id, route: route)
      return
    }
    guard !isInConflict(claim) else {
      respond(.roleConflict, to: message.header.id, route: route)
      return
    }
    respond(.success, to: message.header.id, route: route)
    let check = EarlyCheck(
      // PRIORITY is mandatory in a check but absent from some consent checks.
      route: route, priority: priority ?? local.peerReflexivePriority,
      // Whoever counts nominations nominates with any of them.
      useCandidate: useCandidate || nomination != nil && configuration.renomination, nomination: nomination,
      username: username)
    if checkingSince == nil {
      remember(check)
    } else {
      learn(from: check, now: now)
    }
  }

  /// USERNAME is ours, a colon, the peer's (RFC 8445 §7.3); the latter is compared once it is known.
  private func isAddressedToUs(_ username: RawSpan) -> Bool {
    if let remote { return username.equals(remote.incomingUsername.rawSpan) }
    let expected = Array("\(localCredentials.usernameFragment):".utf8)
    guard username.byteCount > expected.count else { return false }
    return username.extracting(0..<expected.count).equals(expected.rawSpan)
  }

  /// Whether the peer must give way (RFC 8445 §7.3.1.1). When we must, switches our role and says no.
  private mutating func isInConflict(_ claim: (role: Role, tieBreaker: UInt64)?) -> Bool {
    // Between a lite and a full agent there is nothing to settle: the full one controls.
    guard let claim, claim.role == role, !configuration.isLite, !isRemoteLite else { return false }
    // The larger tie-breaker makes the controlling side; on equality the receiver of the request wins.
    let isOursLarger = tieBreaker >= claim.tieBreaker
    switch role {
    case .controlling:
      if isOursLarger { return true }
      switchRole(to: .controlled)
    case .controlled:
      if !isOursLarger { return true }
      switchRole(to: .controlling)
    }
    return false
  }

  // MARK: Early checks

  private mutating func remember(_ check: EarlyCheck) {
    if let index = earlyChecks.firstIndex(where: { $0.route == check.route && $0.username == check.username }) {
      earlyChecks[index].priority = check.priority
      if check.useCandidate { earlyChecks[index].useCandidate = true }
      if let number = check.nomination { earlyChecks[index].nomination = number }
    } else if earlyChecks.count < ICELimits.earlyChecks {
      earlyChecks.append(check)
    }
  }

  mutating func handleEarlyChecks(now: Instant) {
    let checks = earlyChecks
    earlyChecks.removeAll()
    for check in checks where check.username == remote?.incomingUsername { learn(from: check, now: now) }
  }

  // MARK: What a check tells

  /// The way in is open; so the way out may be: check it now (RFC 8445 §7.3.1.3–7.3.1.5).
  private mutating func learn(from check: EarlyCheck, now: Instant) {
    let nominates = check.useCandidate && role == .controlled
    if consent?.route == check.route { consent?.heard(now: now) }
    if let index = checkList.index(of: check.route) { checkList[index].counters.requestsReceived += 1 }
    if configuration.isLite { return followAsLite(check, now: now) }
    // Once concluded, only a nomination is news, or a pair that would be better or takes the place of a silent one.
    guard isSearching || nominates || isImprovement(on: check.route, remotePriority: check.priority) else {
      return noteWayIn(check.route)
    }
    guard let index = learnPair(check.route, priority: check.priority) else { return }
    if checkList[index].state == .succeeded, !isStale(checkList[index], now: now) {
      if nominates { accept(nomination: index, number: check.nomination, now: now) }
      return
    }
    // The selected pair is renewed by consent checks alone.
    guard check.route != selected else { return }
    if nominates {
      checkList[index].isNominatedByPeer = true
      checkList[index].nominationByPeer = check.nomination
    }
    supersedeChecks(on: check.route)
    checkList.trigger(index)
  }

  /// An authentic check from an address that the peer has signalled: anybody else who repeats it is somewhere else.
  func isFromKnownCandidate(_ route: Route) -> Bool {
    let address = route.remote.withoutZone
    return remotes.contains { $0.socketAddress == address }
  }

  mutating func noteWayIn(_ route: Route) {
    guard !waysIn.contains(route), isFromKnownCandidate(route) else { return }
    if waysIn.count == ICELimits.waysIn { waysIn.removeFirst() }
    waysIn.append(route)
  }

  /// A lite agent checks nothing itself: the peer's nomination is what makes a route (RFC 8445 §7.3.2).
  private mutating func followAsLite(_ check: EarlyCheck, now: Instant) {
    guard check.useCandidate, let index = learnPair(check.route, priority: check.priority) else { return }
    checkList.conclude(index, .succeeded)
    checkList[index].confirmedAt = now
    accept(nomination: index, number: check.nomination, now: now)
  }

  // MARK: Answers

  private mutating func respond(_ kind: Outgoing.Response, to id: TransactionID, route: Route) {
    guard pendingResponses < ICELimits.pendingResponses else { return }
    pendingResponses += 1
    if let index = checkList.index(of: route) { checkList[index].counters.responsesSent += 1 }
    outbox.append(.response(kind, id: id, route: route))
  }
}
