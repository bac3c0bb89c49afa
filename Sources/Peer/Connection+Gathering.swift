// Connection+Gathering.swift — candidates from servers: what `Gathering` finds becomes a candidate of ICE, what comes
// through a relay goes the usual way up.

import ICE
import TURN
package import Wire

extension Connection {
  // MARK: Asking

  /// Asks a STUN server what the socket that is bound to `base` looks like from there.
  ///
  /// - Parameter secure: the name that the server's certificate must have, over DTLS; nil: no DTLS.
  package mutating func discover(base: SocketAddress, route: Route, secure: ServerName? = nil, now: Instant) {
    gathering.discover(base: base, route: route, secure: secure, now: now)
    advance(now: now)
  }

  /// Asks a TURN server for an allocation. On success its address becomes a candidate.
  package mutating func allocate(_ request: RelayRequest, now: Instant) {
    gathering.allocate(request, now: now)
    advance(now: now)
  }

  /// No other server will be asked for this generation: candidates end once all that were have answered, or are given up.
  package mutating func endOfServers(now: Instant) {
    areServersComplete = true
    advance(now: now)
  }

  /// A socket of this host is gone, with its candidates and what was allocated through it.
  package mutating func socketClosed(_ socket: SocketID, now: Instant) {
    gathering.socketClosed(socket, now: now)
    removeLocalCandidates(socket: socket, now: now)
  }

  // MARK: Inside

  /// Carries what was found to ICE and to the application.
  mutating func takeGathered(now: Instant) {
    // Adding a candidate leads back here, before the candidate itself is told: its end must not overtake it.
    guard !isTakingGathered else { return }
    isTakingGathered = true
    defer { isTakingGathered = false }
    while let event = gathering.pollEvent() {
      switch event {
      case .reflexive(let mapped, let base, let socket, let server):
        let isLate = negotiation.newestGeneration.isComplete
        let candidate = addReflexiveCandidate(mapped, base: base, socket: socket, server: server, now: now)
        if let candidate, !isLate { events.append(.localCandidate(candidate)) }
      case .relayed(let relayed, let mapped, let socket, let request):
        let isLate = negotiation.newestGeneration.isComplete
        setOverhead(Gathering.overhead(of: request.transport), of: socket)
        // The base of a relayed candidate is told to the peer, and where only relays are wanted that is too much.
        let candidate = addRelayedCandidate(
          relayed, mapped: configuration.hidesMappedAddresses ? Self.nowhere : mapped, socket: socket,
          server: request.route.remote, transport: request.transport, now: now)
        if !isLate { events.append(.localCandidate(candidate)) }
        guard let base = request.base else { break }
        let reflexive = addReflexiveCandidate(
          mapped, base: base, socket: request.route.socket, server: request.route.remote, now: now)
        if let reflexive, !isLate { events.append(.localCandidate(reflexive)) }
      case .relayLost(let socket, let why):
        events.append(.serverFailed("a relay is lost: \(why)"))
        removeLocalCandidates(socket: socket, now: now)
      case .failed(let server, let why): events.append(.serverFailed("\(server): \(why)"))
      case .redirected(let request): events.append(.relayRedirected(request))
      }
    }
    if areServersComplete, !negotiation.newestGeneration.isComplete, !gathering.isPending {
      endOfLocalCandidates(now: now)
      events.append(.localCandidatesEnded)
    }
  }

  /// Takes a datagram that comes from a server.
  ///
  /// - Returns: false when it does not.
  mutating func takeFromServer(_ datagram: RawSpan, route: Route, now: Instant) -> Bool {
    if let relay = gathering.secureRelay(of: route) {
      relay.link.open(datagram, now: now) { message in
        guard case .payload(let peer, let range) = relay.client.handle(message, now: now) else { return }
        handleFromPeer(message.extracting(range), route: Route(socket: relay.socket, remote: peer), now: now)
      }
      gathering.settle(now: now)
      advance(now: now)
      return true
    }
    switch gathering.handle(datagram, route: route, now: now) {
    case .notForUs: return false
    case .consumed: advance(now: now)
    case .payload(let inner, let range):
      handleFromPeer(datagram.extracting(range), route: inner, now: now)
    }
    return true
  }

  /// Once everything has been said: gives the allocations back.
  mutating func releaseRelays(into batch: inout TransmitBatch, now: Instant) -> Bool {
    guard gathering.isInUse else { return false }
    if !hasReleasedRelays {
      hasReleasedRelays = true
      gathering.close(now: now)
    }
    return gathering.pollTransmit(into: &batch, now: now)
  }

  // MARK: Down

  /// Appends what `write` writes for `route`: as it is, or wrapped for the relay that the route leads through.
  static func append(
    to route: Route, by relay: Relay?, into batch: inout TransmitBatch, maximum: Int, now: Instant,
    _ write: (inout OutputRawSpan) -> Bool
  ) -> Bool {
    guard let relay else { return batch.append(maximum: maximum) { out in write(&out) ? route : nil } }
    return relay.transmit(to: route.remote, into: &batch, maximum: maximum, now: now, write)
  }

  /// Appends an agent's next message, where some routes lead through relays: which one is known only afterwards, so these
  /// small messages take a detour.
  static func transmitCheck(
    of agent: inout ICEAgent, through scratch: inout ScratchBuffer, _ gathering: borrowing Gathering,
    into batch: inout TransmitBatch, now: Instant
  ) -> Bool {
    var route: Route?
    let isWritten: Void? = scratch.withBytes { out in
      route = agent.pollTransmit(into: &out, now: now)
      return route != nil
    } read: { message in
      guard let route else { return }
      let relay = gathering.relay(route.socket)
      // Without its relay it is lost, as on any other way.
      guard relay != nil || !route.socket.isVirtual else { return }
      _ = append(to: route, by: relay, into: &batch, maximum: message.byteCount, now: now) { out in
        out.writeBytes(message)
        return true
      }
    }
    return isWritten != nil
  }

  private static let nowhere = SocketAddress(ip: .v4(0), port: 0)
}
