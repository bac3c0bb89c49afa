// PeerConnection+Gathering.swift — the search for candidates (RFC 8445 §5.1.1, W3C "gather"), at first and after each ICE
// restart: which servers are asked, and what happens when the addresses of this machine change. The sockets themselves are
// in PeerConnection+HostSockets.swift.
//
// Host candidates are there at once. Servers are asked in the background, so that one that is slow, or whose name is, holds
// up nothing but the word that no more candidates follow.

import ICE
import Logging
import MDNS
package import Net
import Peer
import STUN
import TLS
package import Wire

/// A stream socket for a TURN server, kept for the next search.
struct ServerStream {
  let endpoint: ICEServerEndpoint
  let isV4: Bool
  let name: String
  let socket: EventLoopSocket
}

extension PeerConnection {
  /// Opens sockets on the addresses that have none yet, and asks the servers.
  func gather() throws(PeerConnectionError) {
    if registration == nil { joinLoop() }
    let addresses: [IPAddress]
    do { addresses = try configuration.hostAddresses() } catch { throw .system("\(error)") }
    openSockets(on: ICEAddressOrder.preferred(addresses))
    askServers()
  }

  private func joinLoop() {
    let registration = loop.register(self)
    self.registration = registration
    exchange.onWork { registration.touchFromAnyThread() }
    outbox.onWork { registration.touchFromAnyThread() }
    do { _ = try registration.watchInterfaces() } catch {
      configuration.logger.info("changes of this machine's addresses go unnoticed: \(error)")
    }
  }

  func announce(_ candidate: ICECandidate) { announce(machine.signalled(candidate)) }

  func announce(_ text: String) {
    candidateContinuation.yield(
      ICECandidateInit(
        candidate: text, sdpMid: machine.mid, sdpMLineIndex: machine.mediaIndex,
        usernameFragment: machine.localCredentials.usernameFragment))
  }

  // MARK: Servers

  /// Asks every server; those known by address at once, the others when their names are resolved.
  private func askServers() {
    gatheringRound += 1
    let round = gatheringRound
    var unresolved: [ICEServerEndpoint] = []
    for endpoint in endpoints where configuration.iceTransportPolicy == .all || endpoint.url.scheme.isRelay {
      if let address = endpoint.url.literalAddress {
        ask(endpoint, at: address)
      } else {
        unresolved.append(endpoint)
      }
    }
    guard !unresolved.isEmpty else { return machine.endOfServers(now: loop.now) }
    namesPending = Set(unresolved.map(\.url.host)).count
    for host in Set(unresolved.map(\.url.host)) {
      let asking = unresolved.filter { $0.url.host == host }
      Task { await resolve(host, for: asking, round: round) }
    }
  }

  private func resolve(_ host: String, for endpoints: [ICEServerEndpoint], round: Int) async {
    var addresses: [IPAddress] = []
    do { addresses = try await loop.resolve(host) } catch {
      configuration.logger.info("ICE server \(host): \(error)")
    }
    guard round == gatheringRound, !machine.hasEnded else { return }
    // One of each family: the others are the same server, or its twins.
    let chosen = [addresses.first { $0.isV4 }, addresses.first { !$0.isV4 }].compactMap { $0 }
    for endpoint in endpoints {
      for ip in chosen { ask(endpoint, at: SocketAddress(ip: ip, port: endpoint.url.port)) }
    }
    namesPending -= 1
    if namesPending == 0 { machine.endOfServers(now: loop.now) }
    takeEvents(now: loop.now)
    touch()
  }

  private func ask(_ endpoint: ICEServerEndpoint, at server: SocketAddress) {
    let name = ServerName(endpoint.url.host)
    guard endpoint.url.scheme.isRelay else {
      let isSecure = endpoint.url.scheme.isSecure
      for base in sockets where canReach(server, from: base.address) {
        // DTLS does not say for whom it is, so that only one of those who share a port could talk with the server.
        if base.isShared, isSecure { continue }
        machine.discover(
          base: base.address, route: Route(socket: base.socket.id, remote: server),
          secure: isSecure ? name : nil, now: loop.now)
      }
      return
    }
    let credential = STUNCredential(username: endpoint.username, password: endpoint.credential)
    switch (endpoint.url.transport, endpoint.url.scheme.isSecure) {
    case (.udp, let isSecure):
      guard let base = bestBase(toward: server), let socket = relaySocket(beside: base.socket.id) else { return }
      var request = RelayRequest(
        route: Route(socket: socket.id, remote: server), transport: isSecure ? .dtls : .udp,
        credential: credential, serverName: name)
      if configuration.iceTransportPolicy == .all, !base.isShared { request.base = base.address }
      machine.allocate(request, now: loop.now)
    case (.tcp, let isSecure):
      guard let stream = stream(for: endpoint, to: server, name: endpoint.url.host) else { return }
      machine.allocate(
        RelayRequest(
          route: Route(socket: stream.socket.id, remote: server), transport: isSecure ? .tls : .tcp,
          credential: credential, serverName: name), now: loop.now)
    }
  }

  private func canReach(_ server: SocketAddress, from base: SocketAddress) -> Bool {
    base.ip.isV4 == server.ip.isV4 && base.ip.isLinkLocal == server.ip.isLinkLocal
      && (!base.ip.isLoopback || server.ip.isLoopback)
  }

  /// The socket from whose address the system would send there itself; an allocation on each would be many for nothing.
  private func bestBase(toward server: SocketAddress) -> HostSocket? {
    let usual = SourceAddress.toward(server)
    return sockets.first { $0.address.ip == usual } ?? sockets.first { canReach(server, from: $0.address) }
  }

  private func stream(for endpoint: ICEServerEndpoint, to server: SocketAddress, name: String) -> ServerStream? {
    if let known = streams.first(where: { $0.endpoint == endpoint && $0.isV4 == server.ip.isV4 && $0.name == name }) {
      return known
    }
    do {
      let local = SocketAddress(ip: server.ip.isV4 ? .v4(0) : .v6(0, 0, zone: 0), port: 0)
      let security = endpoint.url.scheme.isSecure ? try TLSClient(serverName: name) : nil
      guard
        let socket = try registration?.openStreamSocket(
          local: local, framing: .turn, role: .active, security: security)
      else { return nil }
      streams.append(ServerStream(endpoint: endpoint, isV4: server.ip.isV4, name: name, socket: socket))
      return streams.last
    } catch {
      configuration.logger.info("ICE server \(endpoint.url): \(error)")
      return nil
    }
  }

  /// A server reached by TLS has sent us to another one: a socket that expects that one's name.
  func follow(_ redirected: RelayRequest) {
    let known = streams.first { $0.socket.id == redirected.route.socket }
    guard let known,
      let stream = stream(for: known.endpoint, to: redirected.route.remote, name: redirected.serverName.text)
    else { return }
    var request = redirected
    request.route.socket = stream.socket.id
    machine.allocate(request, now: loop.now)
  }

  // MARK: Changes

  package nonisolated func routeClosed(_ route: Route, error: NetError?, now: Instant) {
    assumeIsolated { connection in
      if let error { connection.configuration.logger.debug("the connection with \(route.remote) has ended: \(error)") }
      connection.machine.routeClosed(route, now: now)
      connection.takeEvents(now: now)
      connection.touch()
    }
  }

  package nonisolated func interfacesChanged(_ addresses: [InterfaceAddress], now: Instant) {
    assumeIsolated { connection in connection.follow(addresses, now: now) }
  }

  /// Sockets on addresses that are gone are closed. When an address has come, or the one in use has gone, another search
  /// is due, and with it an exchange of descriptions.
  private func follow(_ addresses: [InterfaceAddress], now: Instant) {
    guard !machine.hasEnded else { return }
    let wanted = configuration.hostAddresses(among: addresses)
    let hasNew = wanted.contains { address in !sockets.contains { $0.address.ip == address } }
    let inUse = machine.ice.selectedPair?.route.socket
    var lostRoute = false
    for gone in sockets where !addresses.contains(where: { $0.address == gone.address.ip }) {
      lostRoute = lostRoute || inUse.map { gone.ids.contains($0) || $0.isVirtual } == true
      close(gone, now: now)
      configuration.logger.info("the address \(gone.address.ip) is gone")
    }
    configuration.sharedPort?.assumeIsolated { port in
      port.keepOnly { ip in addresses.contains { $0.address == ip } }
    }
    sockets.removeAll { gone in !addresses.contains { $0.address == gone.address.ip } }
    if hasNew || lostRoute { restartICE() }
    takeEvents(now: now)
    touch()
  }

  /// Has the next offer carry new ICE credentials, so that another search for a route begins with it; what is sent goes on
  /// over the present one as long as that works. `negotiationNeeded` asks for the offer. Without effect before the first
  /// negotiation.
  public func restartICE() {
    machine.restartICE()
    if machine.needsNegotiation { negotiationContinuation.yield() }
  }

  /// After a local description with new credentials: its candidates again, and the addresses and servers of now.
  func regather() {
    renameOnSharedPort()
    for candidate in machine.localCandidates { announce(candidate) }
    do { try gather() } catch {
      configuration.logger.info("this machine's addresses are unknown: \(error)")
      machine.endOfServers(now: loop.now)
    }
  }

  // MARK: Names

  /// Looks up a candidate's `.local` name. Other names are left alone: a peer must not have us ask DNS (RFC 8839 §5.1).
  ///
  /// - Returns: whether the candidate is dealt with.
  func resolveName(of text: String, usernameFragment: String?) -> Bool {
    let candidate: ICECandidate
    do { candidate = try ICECandidate(parsing: text) } catch { return false }  // the machine says what is wrong with it
    guard case .name(let host, let port) = candidate.address else { return false }
    guard candidate.tcpType != .active else { return true }  // it is the peer that connects from there
    guard configuration.resolvesLocalNames, let name = DNSName(host), name.isLocal,
      namesLookedUp < Self.maximumNames
    else { return true }
    namesLookedUp += 1
    Task {
      guard let ip = await LocalNames.on(loop).resolve(name).first, !machine.hasEnded else { return }
      var resolved = candidate
      resolved.address = .ip(SocketAddress(ip: ip, port: port))
      do { try machine.addRemoteCandidate(resolved.sdpText, usernameFragment: usernameFragment, now: loop.now) } catch {
        configuration.logger.debug("\(host), which is \(ip), is no candidate: \(error)")
      }
      takeEvents(now: loop.now)
      touch()
    }
    return true
  }

  /// The candidates with names that a description carries; the machine takes care of the others.
  func resolveNames(in description: SessionDescription) {
    for line in description.sdp.split(whereSeparator: \.isNewline) where line.hasPrefix("a=candidate:") {
      _ = resolveName(of: String(line), usernameFragment: nil)
    }
  }

  /// Names of one peer that are looked up; a browser has as many as interfaces.
  private static let maximumNames = 32
}
