// Agent+RemoteCandidates.swift — the peer's credentials and candidates in, pairs out (RFC 8445 §6.1.2, RFC 8838 §9, §10).

package import Wire

extension ICEAgent {
  /// Takes the credentials that the peer signalled. They stay for the agent's life: an ICE restart is a new agent.
  ///
  /// - Parameters:
  ///   - isLite: the peer only answers checks, so that we control (RFC 8445 §6.1.1).
  ///   - supportsRenomination: the peer follows later nominations (`a=ice-options:renomination`).
  package mutating func setRemoteCredentials(
    _ credentials: ICECredentials, isLite: Bool = false, supportsRenomination: Bool = false
  ) {
    guard remote == nil, credentials.isWellFormed, !hasEnded else { return }
    remote = RemoteCredentials(credentials, local: localCredentials)
    isRemoteLite = isLite
    usesRenomination = supportsRenomination && configuration.renomination
    if isLite, !configuration.isLite, role == .controlled { assignRole(.controlling) }
    // Candidates that came first and name another generation are none of this one.
    let early = remotes
    remotes = early.filter { isOfThisGeneration($0) }
    statistics.ignoredCandidates += early.count - remotes.count
    for candidate in remotes { addPairs(with: candidate) }
  }

  package var hasRemoteCredentials: Bool { remote != nil }
  package var remoteCredentials: ICECredentials? { remote?.credentials }

  /// Takes a candidate that the peer signalled. One that cannot be used is counted and otherwise ignored.
  package mutating func addRemoteCandidate(_ candidate: ICECandidate, now: Instant) {
    guard !hasEnded else { return }
    guard isUsable(candidate), remotes.count < ICELimits.remoteCandidates,
      !remotes.contains(where: { $0.address == candidate.address && $0.transport == candidate.transport })
    else {
      statistics.ignoredCandidates += 1
      return
    }
    lastCandidateAt = now
    // The peer will connect from this one: its check brings the address that counts.
    guard candidate.tcpType != .active else {
      settle(now: now)
      return
    }
    remotes.append(candidate)
    if remote != nil { addPairs(with: candidate) }
    settle(now: now)
  }

  /// The peer has no more candidates to signal (RFC 8838 §14). That alone fails nothing: its checks may still open a
  /// route, so patience decides, and it runs with and without this word (RFC 8863 §4).
  package mutating func endOfRemoteCandidates(now: Instant) { settle(now: now) }

  private func isUsable(_ candidate: ICECandidate) -> Bool {
    guard candidate.component == 1, isOfThisGeneration(candidate), let address = candidate.socketAddress else {
      return false
    }
    switch candidate.transport {
    case .udp: break
    case .tcp: guard candidate.tcpType != nil else { return false }
    case .other: return false
    }
    return address.port != 0 && !address.ip.isUnspecified && !address.ip.isMulticast && !address.ip.isIPv4Mapped
  }

  private func isOfThisGeneration(_ candidate: ICECandidate) -> Bool {
    guard let remote, let fragment = candidate.usernameFragment else { return true }
    return fragment == remote.credentials.usernameFragment
  }

  private mutating func addPairs(with candidate: ICECandidate) {
    for local in locals { addPair(local, candidate) }
  }

  mutating func addPair(_ local: LocalCandidate, _ candidate: ICECandidate) {
    // A lite agent checks nothing: its pairs come into being with the peer's checks.
    guard !configuration.isLite, let route = local.route(to: candidate) else { return }
    let pair = CandidatePair(route: route, local: local, remote: candidate, role: role)
    guard let index = checkList.index(of: route) else {
      if isSearching || isImprovement(pair.priority) { insert(pair) }
      return
    }
    // The peer's check came before its candidate: now its kind and priority are known (RFC 8445 §7.3.1.3).
    if checkList[index].isPeerReflexive {
      checkList[index].remote = candidate
      checkList[index].updatePriority(role: role)
    }
  }

  /// The pair for a check that came in on `route`, made if it is new; nil when there is no room or no such socket.
  mutating func learnPair(_ route: Route, priority: UInt32) -> Int? {
    if let index = checkList.index(of: route) { return index }
    guard let local = local(for: route) else { return nil }
    let address = route.remote.withoutZone
    let candidate =
      remotes.first { $0.socketAddress == address && $0.transport == local.candidate.transport }
      ?? ICECandidate(
        foundation: nextPeerReflexiveFoundation(), transport: local.candidate.transport, priority: priority,
        address: .ip(address), kind: .peerReflexive, tcpType: local.oppositeTCPType)
    insert(CandidatePair(route: route, local: local, remote: candidate, role: role))
    return checkList.index(of: route)
  }

  func local(for route: Route) -> LocalCandidate? {
    locals.first { $0.socket == route.socket && $0.address.ip.isV4 == route.remote.ip.isV4 }
  }

  /// Differs from every other foundation (RFC 8445 §7.3.1.3).
  mutating func nextPeerReflexiveFoundation() -> String {
    peerReflexiveCount += 1
    return "prflx\(peerReflexiveCount)"
  }

  private mutating func insert(_ pair: CandidatePair) {
    switch checkList.insert(pair, inUse: sendRoute) {
    case .inserted: break
    case .replaced(let route):
      transactions.removeAll { $0.route == route }
      statistics.droppedPairs += 1
    case .refused: statistics.droppedPairs += 1
    }
  }
}

extension IPAddress {
  /// ::ffff:0:0/96 would leave as IPv4, past the family rules.
  fileprivate var isIPv4Mapped: Bool {
    if case .v6(0, let low, _) = self { low >> 32 == 0xffff } else { false }
  }
}
