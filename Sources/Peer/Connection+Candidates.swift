// Connection+Candidates.swift — candidates of both sides, each for the ICE agent of its generation (RFC 8838, RFC 8839 §4.4).
//
// This side's candidates belong to the newest credentials, and the agent of older ones learns of them, too; the peer's name
// their generation by its user name fragment.

package import ICE
import SDP
package import Wire

extension Connection {
  // MARK: This side

  /// Takes a UDP socket of this host as a candidate.
  ///
  /// - Parameter name: stands for the address in what is signalled, for those who hide it behind mDNS.
  package mutating func addLocalCandidate(
    _ address: SocketAddress, socket: SocketID, hiddenAs name: String? = nil, now: Instant
  ) -> ICECandidate {
    if let name { hiddenHosts[address] = name }
    return addCandidate(now: now) { agent in agent.addLocalCandidate(address, socket: socket) }!
  }

  /// Takes a TCP socket, or a place where connections begin, as a candidate (RFC 6544).
  package mutating func addTCPCandidate(
    _ address: SocketAddress, type: ICECandidate.TCPType, socket: SocketID, hiddenAs name: String? = nil, now: Instant
  ) -> ICECandidate {
    if let name { hiddenHosts[address] = name }
    return addCandidate(now: now) { agent in agent.addTCPCandidate(address, type: type, socket: socket) }!
  }

  /// Takes what a STUN or TURN server, or an administrator, says a host candidate looks like from outside.
  ///
  /// - Returns: nil when it tells nothing new.
  package mutating func addReflexiveCandidate(
    _ mapped: SocketAddress, base: SocketAddress, socket: SocketID, server: SocketAddress? = nil, now: Instant
  ) -> ICECandidate? {
    addCandidate(now: now) { agent in
      agent.addReflexiveCandidate(mapped, base: base, socket: socket, server: server)
    }
  }

  /// Takes an allocation on a TURN server, known as `socket`.
  package mutating func addRelayedCandidate(
    _ relayed: SocketAddress, mapped: SocketAddress?, socket: SocketID, server: SocketAddress? = nil,
    transport: ICERelayTransport = .udp, now: Instant
  ) -> ICECandidate {
    addCandidate(now: now) { agent in
      agent.addRelayedCandidate(relayed, mapped: mapped, socket: socket, server: server, transport: transport)
    }!
  }

  /// No more will be found for the newest credentials.
  package mutating func endOfLocalCandidates(now: Instant) {
    if negotiation.nextGeneration != nil {
      negotiation.nextGeneration?.isComplete = true
    } else {
      negotiation.generation.isComplete = true
    }
    advance(now: now)
  }

  /// The socket, or the allocation, is gone.
  package mutating func removeLocalCandidates(socket: SocketID, now: Instant) {
    ice.removeLocalCandidates(socket: socket, now: now)
    restarting?.removeLocalCandidates(socket: socket, now: now)
    overheads[socket] = nil
    advance(now: now)
  }

  /// The connection behind a route of TCP has ended.
  package mutating func routeClosed(_ route: Route, now: Instant) {
    if gathering.routeClosed(route, now: now) { return advance(now: now) }
    ice.routeClosed(route, now: now)
    restarting?.routeClosed(route, now: now)
    advance(now: now)
  }

  /// Both agents learn of it: the old one may go over to it meanwhile. The newest one's is to be signalled.
  private mutating func addCandidate(
    now: Instant, _ add: (inout ICEAgent) -> ICECandidate?
  ) -> ICECandidate? {
    var candidate = add(&ice)
    if isRestarting { candidate = add(&restarting!) }
    if let candidate {
      let text = signalled(candidate)
      if negotiation.nextGeneration != nil {
        negotiation.nextGeneration?.add(text)
      } else {
        negotiation.generation.add(text)
      }
    }
    advance(now: now)
    return candidate
  }

  /// The text of a candidate as the peer may see it: without the addresses that are hidden.
  package func signalled(_ candidate: ICECandidate) -> String {
    var candidate = candidate
    if candidate.kind == .host, let address = candidate.socketAddress {
      // An active candidate is signalled with another port than it has.
      let name = hiddenHosts.first { $0.key.withoutZone == address || $0.key.ip == address.ip && address.port == 9 }
      if let name { candidate.address = .name(name.value, port: address.port) }
    } else if !hiddenHosts.isEmpty, let related = candidate.relatedAddress {
      candidate.relatedAddress = SocketAddress(ip: related.ip.isV4 ? .v4(0) : .v6(0, 0, zone: 0), port: 0)
    }
    return candidate.sdpText
  }

  // MARK: The other side

  /// Takes a candidate of the peer. One that names another generation is ignored.
  package mutating func addRemoteCandidate(
    _ text: String, usernameFragment: String? = nil, now: Instant
  ) throws(NegotiationError) {
    try checkOpen()
    guard let remote = negotiation.remote else { throw .invalidState("the remote description is not set yet") }
    let candidate: ICECandidate
    do { candidate = try ICECandidate(parsing: text) } catch { throw .invalidCandidate("\(error)") }
    let generation = candidate.usernameFragment ?? usernameFragment
    handOver(candidate, generation: generation ?? remote.transport.credentials.usernameFragment, now: now)
    advance(now: now)
  }

  /// The peer has no more candidates for the credentials of its description.
  package mutating func endOfRemoteCandidates(now: Instant) {
    if isRestartChecking {
      restarting?.endOfRemoteCandidates(now: now)
    } else {
      ice.endOfRemoteCandidates(now: now)
    }
    advance(now: now)
  }

  /// Whether the peer takes candidates one by one; nil before its description is set. Who does not wants a description
  /// with all of them (RFC 8838 §16, half trickle).
  package var remoteSupportsTrickle: Bool? { negotiation.remote?.transport.supportsTrickle }

  mutating func handOver(_ candidate: ICECandidate, generation: String, now: Instant) {
    var candidate = candidate
    candidate.usernameFragment = nil
    if candidate.transport == .udp, let address = candidate.socketAddress { gathering.permit(address, now: now) }
    if restarting?.remoteCredentials?.usernameFragment == generation {
      restarting?.addRemoteCandidate(candidate, now: now)
    } else if ice.remoteCredentials?.usernameFragment == generation {
      ice.addRemoteCandidate(candidate, now: now)
    }
  }
}

extension LocalGeneration {
  /// Once each: a socket that is added again is known.
  fileprivate mutating func add(_ text: String) {
    if !candidates.contains(text) { candidates.append(text) }
  }
}
