// Agent+Responses.swift — the peer's answers to our requests (RFC 8445 §7.2.5, RFC 8489 §6.3.3, §6.3.4).

import STUN
import Wire

extension ICEAgent {
  mutating func handleResponse(_ message: borrowing STUNMessage, route: Route, now: Instant) throws(Malformed) {
    // The answer must come back on the route of the question (§7.2.5.2.1); else it is dropped, and the true one may
    // still come.
    guard let at = transactions.firstIndex(where: { $0.id == message.header.id }), transactions[at].route == route
    else {
      statistics.unexpectedResponses += 1
      return
    }
    guard let remote, message.verifiesIntegrity(key: remote.key) else {
      statistics.unauthenticated += 1
      return
    }
    var mapped: SocketAddress?
    var errorCode: UInt16?
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      case .xorMappedAddress(let address): mapped = address
      case .errorCode(let code, reason: _): errorCode = code
      default: break
      }
    }
    // An answer with an attribute we must but cannot understand ends its transaction as a failure (§6.3.3, §6.3.4).
    let isUnderstood = message.unknownRequiredTypes.isEmpty
    let transaction = transactions.remove(at: at)
    statistics.responsesReceived += 1
    if message.header.messageClass == .successResponse, isUnderstood, let mapped {
      handleSuccess(transaction, mapped: mapped, now: now)
    } else {
      handleError(transaction, code: isUnderstood ? errorCode : nil)
    }
  }

  private mutating func handleSuccess(_ transaction: CheckTransaction, mapped: SocketAddress, now: Instant) {
    guard let index = checkList.index(of: transaction.route) else { return }
    checkList[index].confirmedAt = now
    checkList[index].counters.responsesReceived += 1
    if let roundTrip = transaction.roundTrip(now: now) {
      checkList[index].roundTrip = roundTrip
      checkList[index].counters.totalRoundTrip = checkList[index].counters.totalRoundTrip + roundTrip
      checkList[index].counters.roundTripMeasurements += 1
    } else {
      checkList[index].roundTripBound = now - transaction.sentAt
    }
    if consent?.route == transaction.route { consent?.answered(now: now) }
    guard transaction.purpose != .consent || transaction.nominates, transaction.route != selected else { return }

    checkList.conclude(index, .succeeded)
    if firstValidAt == nil, transaction.route != selected { firstValidAt = now }
    transactions.removeAll { $0.route == transaction.route && $0.purpose == .check }
    discoverLocal(index, mapped: mapped)
    if transaction.nominates, role == .controlling {
      select(index, now: now)
    } else if checkList[index].isNominatedByPeer, role == .controlled {
      accept(nomination: index, number: checkList[index].nominationByPeer, now: now)
    }
  }

  /// The peer saw our packets come from `mapped`: the valid pair's local candidate (RFC 8445 §7.2.5.3.1). It is never
  /// paired with other remotes; its base already is.
  private mutating func discoverLocal(_ index: Int, mapped: SocketAddress) {
    guard checkList[index].local.socketAddress != mapped else { return }
    let transport = checkList[index].local.transport
    if let known = locals.first(where: { $0.address.withoutZone == mapped && $0.candidate.transport == transport }) {
      checkList[index].local = known.candidate
      return
    }
    if let known = reflexives.first(where: {
      $0.candidate.socketAddress == mapped && $0.candidate.transport == transport
    }) {
      checkList[index].local = known.candidate
      return
    }
    guard let base = local(for: checkList[index].route) else { return }
    checkList[index].local = ICECandidate(
      foundation: nextPeerReflexiveFoundation(), transport: transport, priority: checkList[index].checkPriority,
      address: .ip(mapped), kind: .peerReflexive, relatedAddress: base.address.withoutZone,
      tcpType: base.candidate.tcpType)
  }

  private mutating func handleError(_ transaction: CheckTransaction, code: UInt16?) {
    switch (code, transaction.purpose) {
    case (Self.roleConflictCode, _): handleRoleConflict(transaction)
    case (Self.forbiddenCode, .consent):
      // The peer takes its consent back (RFC 7675 §5.1): sending stops at once.
      if consent?.route == transaction.route { loseConsent() }
    case (_, .consent): break  // not an answer that renews consent
    case (_, .check), (_, .nomination): fail(transaction)
    }
  }

  /// RFC 8445 §7.2.5.1. One conflict makes one switch: answers to requests of an earlier role make none.
  private mutating func handleRoleConflict(_ transaction: CheckTransaction) {
    roleConflicts += 1
    guard roleConflicts <= ICELimits.roleConflicts else {
      if transaction.purpose != .consent { fail(transaction) }
      return
    }
    if role == transaction.role, !isRemoteLite {
      tieBreaker = random.next()
      switchRole(to: role == .controlling ? .controlled : .controlling)
    }
    guard transaction.purpose == .check, let index = checkList.index(of: transaction.route),
      checkList[index].state != .succeeded
    else { return }
    supersedeChecks(on: transaction.route)
    checkList.trigger(index)
  }

  mutating func switchRole(to new: Role) {
    role = new
    statistics.roleSwitches += 1
    checkList.updatePriorities(role: new)
    // What the old role had begun no longer counts.
    transactions.removeAll { $0.purpose == .nomination }
  }

  /// A check or a nomination has come to nothing.
  mutating func fail(_ transaction: CheckTransaction) {
    guard let index = checkList.index(of: transaction.route), selected != transaction.route else { return }
    switch transaction.purpose {
    case .nomination: checkList.conclude(index, .failed)
    case .check:
      // The failure of a superseded check says nothing about the newer one.
      let isLatest = !transactions.contains { $0.route == transaction.route && $0.deadline != nil }
      if checkList[index].state == .inProgress, isLatest { checkList.conclude(index, .failed) }
    case .consent: break
    }
  }

  private static let roleConflictCode: UInt16 = 487
  private static let forbiddenCode: UInt16 = 403
}
