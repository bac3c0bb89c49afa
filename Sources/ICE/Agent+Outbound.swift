// Agent+Outbound.swift — which checks go out when, and how they and the answers are written (RFC 8445 §6.1.4.2, §7.1).

import DequeModule
import STUN
package import Wire

/// What waits to be written.
enum Outgoing: Sendable {
  enum Response: Sendable {
    case success
    case roleConflict
    case unknownAttributes([STUNAttributeType])
  }
  case response(Response, id: TransactionID, route: Route)
  /// The transaction may have ended by the time its turn comes; then nothing is sent.
  case request(TransactionID)
}

extension ICEAgent {
  // MARK: Checks

  /// Starts the checks that are due: triggered ones first, then by priority.
  mutating func scheduleChecks(now: Instant) {
    guard checkingSince != nil, !configuration.isLite else { return }
    while checkList.hasTriggered, pacing.takeTriggered(now: now) {
      guard let index = checkList.popTriggered() else { break }
      beginCheck(index, now: now)
    }
    guard checkList.hasWaiting, pacing.takeOrdinary(now: now) else { return }
    if let index = checkList.popTriggered() ?? checkList.highestWaiting { beginCheck(index, now: now) }
  }

  private mutating func beginCheck(_ index: Int, now: Instant) {
    checkList[index].state = .inProgress
    begin(.check, checkList[index], now: now)
  }

  mutating func begin(_ purpose: CheckTransaction.Purpose, _ pair: CandidatePair, now: Instant) {
    if purpose == .consent { limitTransactions(ICELimits.consentTransactions) { $0.purpose == .consent } }
    // RFC 8445 §14.3: the more checks are under way, the longer each waits before it is repeated.
    let share = configuration.pacing * Int64(checkList.aliveCount)
    // A consent check says again what a nomination under way says: on a lossy path the more often the better.
    let pending = transactions.first { $0.purpose == .nomination && $0.route == pair.route }
    let number = purpose == .nomination ? nextNomination() : purpose == .consent ? pending?.nomination : nil
    let transaction = CheckTransaction(
      id: .random(using: &random), route: pair.route, purpose: purpose, role: role, tieBreaker: tieBreaker,
      priority: pair.checkPriority, nominates: purpose == .nomination || purpose == .consent && pending != nil,
      nomination: number, rto: max(configuration.minimumRTO, share), isStream: pair.isStream, now: now)
    transactions.append(transaction)
    outbox.append(.request(transaction.id))
    statistics.requestsSent += 1
    if purpose == .consent { statistics.consentRequestsSent += 1 }
    guard let index = checkList.index(of: pair.route) else { return }
    checkList[index].counters.requestsSent += 1
    if purpose == .consent { checkList[index].counters.consentRequestsSent += 1 }
  }

  private mutating func nextNomination() -> UInt32? {
    guard usesRenomination else { return nil }
    nominationsSent += 1
    return nominationsSent
  }

  /// A new check on this route is coming; the earlier ones are not repeated, but an answer to them counts (§7.3.1.4).
  mutating func supersedeChecks(on route: Route) {
    for index in transactions.indices
    where transactions[index].route == route && transactions[index].purpose == .check {
      transactions[index].supersede()
    }
    limitTransactions(ICELimits.supersededTransactions) { $0.purpose == .check && $0.deadline == nil }
  }

  /// Forgets the oldest of a kind so that another fits.
  private mutating func limitTransactions(_ limit: Int, _ isOfKind: (CheckTransaction) -> Bool) {
    var excess = transactions.count(where: isOfKind) - limit + 1
    transactions.removeAll { transaction in
      guard excess > 0, isOfKind(transaction) else { return false }
      excess -= 1
      return true
    }
  }

  mutating func expireTransactions(now: Instant) {
    var failed: [CheckTransaction] = []
    for index in transactions.indices {
      switch transactions[index].expire(now: now) {
      case .notDue: break
      case .retransmit:
        outbox.append(.request(transactions[index].id))
        statistics.retransmissions += 1
        if let pair = checkList.index(of: transactions[index].route) {
          checkList[pair].counters.retransmissionsSent += 1
        }
      case .failed: failed.append(transactions[index])
      }
    }
    for transaction in failed {
      transactions.removeAll { $0.id == transaction.id }
      fail(transaction)
    }
  }

  // MARK: Writing

  /// Writes the next message; `out` must have room for `maximumMessageSize` bytes.
  ///
  /// - Returns: where it goes, or nil when there is nothing to send.
  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> Route? {
    precondition(out.freeCapacity >= Self.maximumMessageSize, "the caller makes room before it polls")
    while let next = outbox.popFirst() {
      do throws(STUNEncodingError) {
        switch next {
        case .response(let kind, let id, let route):
          pendingResponses -= 1
          statistics.responsesSent += 1
          try write(kind, id: id, route: route, into: &out)
          return route
        case .request(let id):
          guard let transaction = transactions.first(where: { $0.id == id }), let remote else { continue }
          try write(transaction, remote, into: &out)
          return transaction.route
        }
      } catch {
        // Cannot happen: credentials are bounded when they are taken, lists of unknown types when they are read.
        assertionFailure("a message of ours exceeds maximumMessageSize: \(error)")
        return nil
      }
    }
    return nil
  }

  private func write(
    _ transaction: CheckTransaction, _ remote: RemoteCredentials, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    let writer = try STUNWriter(STUNHeader(.request, id: transaction.id), into: &out)
    try writer.username(remote.outgoingUsername, into: &out)
    switch transaction.role {
    case .controlling: try writer.iceControlling(tieBreaker: transaction.tieBreaker, into: &out)
    case .controlled: try writer.iceControlled(tieBreaker: transaction.tieBreaker, into: &out)
    }
    try writer.priority(transaction.priority, into: &out)
    if transaction.nominates { try writer.useCandidate(into: &out) }
    if let number = transaction.nomination { try writer.nomination(number, into: &out) }
    try writer.messageIntegrity(key: remote.key, into: &out)
    try writer.fingerprint(into: &out)
  }

  private func write(
    _ kind: Outgoing.Response, id: TransactionID, route: Route, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    let messageClass: STUNClass = if case .success = kind { .successResponse } else { .errorResponse }
    let writer = try STUNWriter(STUNHeader(messageClass, id: id), into: &out)
    // Reason texts are left out: they help nobody here, and an answer shall not exceed its question.
    switch kind {
    case .success: try writer.xorMappedAddress(route.remote, into: &out)
    case .roleConflict: try writer.errorCode(487, into: &out)
    case .unknownAttributes(let types):
      try writer.errorCode(420, into: &out)
      try writer.unknownAttributes(types, into: &out)
    }
    try writer.messageIntegrity(key: localKey, into: &out)
    try writer.fingerprint(into: &out)
  }
}
