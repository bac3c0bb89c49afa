// Agent+LocalCandidates.swift — this side's candidates come and go (RFC 8445 §5.1, RFC 6544 §4, §5).
//
// The owner opens sockets, asks servers and connects; here candidates get their priority and foundation. Candidates
// added earlier are preferred among those of their kind.

package import Wire

extension ICEAgent {
  /// Adds a host candidate of UDP. The caller's order is the local preference (RFC 8445 §5.1.2.1); `ICEAddressOrder`
  /// knows a good one.
  ///
  /// - Returns: the candidate to signal to the peer.
  package mutating func addLocalCandidate(_ address: SocketAddress, socket: SocketID) -> ICECandidate {
    if let known = locals.first(where: { $0.address == address && $0.socket == socket }) { return known.candidate }
    let candidate = makeCandidate(
      .host, address: address, base: address.ip, localPreference: UInt16(65_535 - nextPreference()))
    add(candidate, address: address, socket: socket)
    return candidate
  }

  /// Adds a host candidate of TCP (RFC 6544 §4). What is sent on its routes goes through a connection to the remote
  /// address, which the owner opens with the first datagram (`active`, `so`) or has accepted (`passive`, `so`).
  ///
  /// - Returns: the candidate to signal; an active one with the port 9 that RFC 6544 §4.5 prescribes.
  package mutating func addTCPCandidate(
    _ address: SocketAddress, type: ICECandidate.TCPType, socket: SocketID
  ) -> ICECandidate {
    if let known = locals.first(where: { $0.address == address && $0.socket == socket }) { return known.candidate }
    let other = UInt16(8_191 - min(nextPreference(), 8_191))
    let signalled = type == .active ? SocketAddress(ip: address.ip, port: 9) : address
    let candidate = makeCandidate(
      .host, address: signalled, base: address.ip,
      localPreference: ICECandidate.streamPreference(.host, type, other: other), tcpType: type)
    add(candidate, address: address, socket: socket)
    return candidate
  }

  /// Adds what a server saw as the address of one of our host candidates, or what an administrator says that a 1:1 NAT
  /// makes of it. It is signalled, never paired: checks leave from its base.
  ///
  /// - Parameters:
  ///   - base: the address of the host candidate, which has been added.
  ///   - server: who saw it; candidates that different servers saw have different foundations.
  /// - Returns: the candidate to signal, or nil when it tells the peer nothing new (RFC 8445 §5.1.3) or the base is gone.
  package mutating func addReflexiveCandidate(
    _ mapped: SocketAddress, base: SocketAddress, socket: SocketID, server: SocketAddress? = nil
  ) -> ICECandidate? {
    guard !configuration.isLite, mapped.port != 0, !mapped.ip.isUnspecified,
      let host = locals.first(where: { $0.address == base && $0.socket == socket }), host.candidate.kind == .host
    else { return nil }
    let transport = host.candidate.transport
    guard mapped != base.withoutZone,
      !locals.contains(where: { $0.candidate.transport == transport && $0.candidate.socketAddress == mapped }),
      !reflexives.contains(where: { $0.candidate.transport == transport && $0.candidate.socketAddress == mapped })
    else { return nil }
    var preference = UInt16(truncatingIfNeeded: host.candidate.priority >> 8)
    if let type = host.candidate.tcpType {
      preference = ICECandidate.streamPreference(.serverReflexive, type, other: preference & 8_191)
    }
    let candidate = makeCandidate(
      .serverReflexive, address: mapped, base: base.ip, localPreference: preference, tcpType: host.candidate.tcpType,
      related: base.withoutZone, server: server?.ip)
    reflexives.append(ReflexiveCandidate(candidate: candidate, socket: socket))
    return candidate
  }

  /// Adds an allocation on a TURN server. `socket` stands for the allocation: what is sent on its routes goes through it.
  ///
  /// - Parameters:
  ///   - mapped: how the server sees us; told to the peer as the related address (RFC 8839 §5.1).
  ///   - transport: how we talk to the server.
  /// - Returns: the candidate to signal to the peer.
  package mutating func addRelayedCandidate(
    _ relayed: SocketAddress, mapped: SocketAddress?, socket: SocketID, server: SocketAddress? = nil,
    transport: ICERelayTransport = .udp
  ) -> ICECandidate {
    if let known = locals.first(where: { $0.address == relayed && $0.socket == socket }) { return known.candidate }
    let preference = UInt16(3 - transport.rawValue) << 14 | UInt16(16_383 - min(nextPreference(), 16_383))
    let candidate = makeCandidate(
      .relayed, address: relayed, base: relayed.ip, localPreference: preference, related: mapped, server: server?.ip)
    add(candidate, address: relayed, socket: socket)
    return candidate
  }

  /// All that this side has to signal, in the order of preference within each kind.
  package var localCandidates: [ICECandidate] { locals.map(\.candidate) + reflexives.map(\.candidate) }

  /// Begins with the candidates of another agent, whose sockets go on: the next generation after an ICE restart.
  package mutating func adoptLocalCandidates(of other: borrowing ICEAgent) {
    foundations = other.foundations
    localsAdded = other.localsAdded
    locals = other.locals.map { $0.renamed(localCredentials.usernameFragment) }
    reflexives = other.reflexives.map { $0.renamed(localCredentials.usernameFragment) }
  }

  /// The socket is gone: its interface has vanished, or the server has ended the allocation. When the pair in use goes
  /// with it, the search begins again among the candidates that are left.
  package mutating func removeLocalCandidates(socket: SocketID, now: Instant) {
    reflexives.removeAll { $0.socket == socket }
    guard locals.contains(where: { $0.socket == socket }) else { return }
    locals.removeAll { $0.socket == socket }
    forget(now: now) { $0.socket == socket }
    checkList.removeAll { $0.route.socket == socket }
    settle(now: now)
  }

  /// The connection that carried this route has ended, or could not be opened (RFC 6544 §7.1).
  package mutating func routeClosed(_ route: Route, now: Instant) {
    guard !hasEnded, let index = checkList.index(of: route) else { return }
    checkList.conclude(index, .failed)
    checkList[index].confirmedAt = nil
    forget(now: now) { $0 == route }
    settle(now: now)
  }

  /// What was on its way on these routes is no more; if the pair in use was among them, another is looked for.
  private mutating func forget(now: Instant, _ isGone: (Route) -> Bool) {
    guard !hasEnded else { return }
    transactions.removeAll { isGone($0.route) }
    earlyChecks.removeAll { isGone($0.route) }
    outbox.removeAll { outgoing in
      guard case .response(_, _, let route) = outgoing, isGone(route) else { return false }
      pendingResponses -= 1
      return true
    }
    let wasInUse = consent.map { isGone($0.route) } ?? false
    if wasInUse { consent = nil }
    if let lost = selected, isGone(lost) {
      selected = nil
      searchAgain(now: now)
    } else if wasInUse, reopenedAt == nil {
      reopenedAt = now
    }
  }

  // MARK: Parts

  private mutating func add(_ candidate: ICECandidate, address: SocketAddress, socket: SocketID) {
    let preference = UInt16(truncatingIfNeeded: candidate.priority >> 8)
    let local = LocalCandidate(
      candidate: candidate, address: address, socket: socket,
      peerReflexivePriority: ICECandidate.priority(
        .peerReflexive, localPreference: preference, isStream: candidate.transport == .tcp))
    locals.append(local)
    guard remote != nil, !hasEnded else { return }
    for remote in remotes { addPair(local, remote) }
  }

  private mutating func makeCandidate(
    _ kind: ICECandidate.Kind, address: SocketAddress, base: IPAddress, localPreference: UInt16,
    tcpType: ICECandidate.TCPType? = nil, related: SocketAddress? = nil, server: IPAddress? = nil
  ) -> ICECandidate {
    let transport: ICECandidate.Transport = tcpType == nil ? .udp : .tcp
    return ICECandidate(
      foundation: foundation(FoundationKey(kind: kind, base: base, transport: transport, server: server)),
      transport: transport,
      priority: ICECandidate.priority(kind, localPreference: localPreference, isStream: tcpType != nil),
      address: .ip(address.withoutZone), kind: kind, relatedAddress: related, tcpType: tcpType,
      usernameFragment: localCredentials.usernameFragment)
  }

  private mutating func foundation(_ key: FoundationKey) -> String {
    if let index = foundations.firstIndex(of: key) { return String(index + 1) }
    foundations.append(key)
    return String(foundations.count)
  }

  private mutating func nextPreference() -> Int {
    defer { localsAdded += 1 }
    return min(localsAdded, 65_535)
  }
}
