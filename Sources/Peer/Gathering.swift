// Gathering.swift — finds out from servers how else this side can be reached (RFC 8445 §5.1.1.2): what its sockets look
// like from outside (STUN), and addresses that relay to it (TURN). Afterwards it carries what goes through the relays.
//
// In: sockets and servers, datagrams that come from a server, peers, the time. Out: datagrams to servers, events.
//
// Whatever a server says or keeps silent about concerns its own candidates only. Attempts begin 5 ms apart, the least
// that RFC 8445 §14.2 allows for Ta: they go to servers that were chosen, and a NAT with a table takes that much.
// An invariant: each relay has a name (`SocketID.virtual`) of its own, which its next allocation keeps.

import DTLS
import DequeModule
package import ICE
import STUN
import TURN
package import Wire

package struct Gathering: ~Copyable {
  package enum Event: Sendable {
    case reflexive(mapped: SocketAddress, base: SocketAddress, socket: SocketID, server: SocketAddress)
    case relayed(SocketAddress, mapped: SocketAddress, socket: SocketID, request: RelayRequest)
    /// The allocation is gone. It is asked for again; a new one is another `relayed`.
    case relayLost(SocketID, String)
    /// This server gives no candidate, for people.
    case failed(server: SocketAddress, String)
    /// A server reached by TLS wants us to ask another one, under another name: that takes another socket.
    case redirected(RelayRequest)
  }

  /// What a datagram from a socket was.
  package enum Inbound: Hashable, Sendable {
    /// It came from no server, or answers nothing that was asked here.
    case notForUs
    case consumed
    /// A peer's datagram, `range` of the one that came, through the allocation that the route names.
    case payload(Route, range: Range<Int>)
  }

  private let isLentByAddress = LentByAddress()
  /// Whether any server was ever asked: all that a connection without servers pays.
  package private(set) var isInUse = false
  var relays: [Relay] = []
  private var searches: [ReflexiveSearch] = []
  private var peers: [SocketAddress] = []
  private var events = Deque<Event>()
  private var random: RandomSource
  private var nextStart: Instant?
  private var relaysMade: UInt32 = 0
  private var keepsAlive = true
  private let maximumDatagramSize: Int

  /// - Parameter maximumDatagramSize: the longest datagram that a relay is to carry.
  package init(maximumDatagramSize: Int, random: RandomSource) {
    self.maximumDatagramSize = maximumDatagramSize
    self.random = random
  }

  // MARK: In

  /// Asks `server` what the socket that is bound to `base` looks like from there.
  ///
  /// - Parameter secure: the name that the server's certificate must have, over DTLS; nil: no DTLS.
  package mutating func discover(
    base: SocketAddress, route: Route, secure: ServerName? = nil, now: Instant
  ) {
    guard searches.count < Self.maximumSearches,
      !searches.contains(where: { $0.link.route == route && $0.isPending })
    else { return }
    searches.removeAll { $0.link.route == route }
    isInUse = true
    keepsAlive = true
    do throws(DTLSError) {
      searches.append(
        try ReflexiveSearch(base: base, route: route, secure: secure, startingAt: takeStart(now: now)))
    } catch {
      events.append(.failed(server: route.remote, "\(error)"))
    }
    settle(now: now)
  }

  /// Asks for an allocation. One that the same request has made already stays.
  package mutating func allocate(_ request: RelayRequest, now: Instant) {
    guard relays.count < Self.maximumRelays, !relays.contains(where: { $0.request == request }) else { return }
    isInUse = true
    relaysMade += 1
    do throws(DTLSError) {
      relays.append(
        try Relay(
          request, socket: .virtual(relaysMade), startingAt: takeStart(now: now),
          maximumDatagramSize: maximumDatagramSize, random: random.split()))
    } catch {
      events.append(.failed(server: request.route.remote, "\(error)"))
    }
    settle(now: now)
  }

  /// Lets `peer` send to us through every allocation, as far as the families agree.
  package mutating func permit(_ peer: SocketAddress, now: Instant) {
    guard peers.count < Self.maximumPeers, !peers.contains(peer) else { return }
    peers.append(peer)
    for relay in relays where relay.isAllocated { relay.permit(peer, now: now) }
  }

  /// A socket of this host is gone, and with it what was asked and allocated through it.
  package mutating func socketClosed(_ socket: SocketID, now: Instant) {
    searches.removeAll { $0.link.route.socket == socket }
    for relay in relays where relay.request.route.socket == socket && relay.isAllocated {
      events.append(.relayLost(relay.socket, "its socket is closed"))
    }
    relays.removeAll { $0.request.route.socket == socket }
  }

  /// The stream to a server has ended.
  ///
  /// - Returns: whether it was one of ours.
  package mutating func routeClosed(_ route: Route, now: Instant) -> Bool {
    guard let relay = relays.first(where: { $0.request.route == route }) else { return false }
    relay.client.transportClosed()
    settle(now: now)
    return true
  }

  /// A pair works: the bindings of the others need not be kept alive any more.
  package mutating func stopKeepingAlive() {
    guard keepsAlive else { return }
    keepsAlive = false
    for search in searches { search.stopKeepingAlive() }
  }

  /// Gives every allocation back; `pollTransmit` then says so once more.
  package mutating func close(now: Instant) {
    searches.removeAll()
    for relay in relays {
      relay.isPending = false
      relay.isAllocated = false
      relay.client.close(now: now)
      relay.state = .closed
    }
  }

  /// Takes a datagram from `route`. From a server that is reached by DTLS, `inner` gets the messages within; everything
  /// else comes back as the result.
  package mutating func handle(_ datagram: RawSpan, route: Route, now: Instant) -> Inbound {
    for relay in relays where relay.request.route == route && !relay.link.isSecure {
      switch relay.client.handle(datagram, now: now) {
      case .payload(let peer, let range):
        return .payload(Route(socket: relay.socket, remote: peer), range: range)
      case .consumed:
        settle(now: now)
        return .consumed
      case .notForUs: continue
      }
    }
    for search in searches where search.link.route == route && search.handle(datagram, now: now) {
      settle(now: now)
      return .consumed
    }
    return .notForUs
  }

  /// The relay whose DTLS session the datagrams of this route belong to.
  func secureRelay(of route: Route) -> Relay? {
    relays.first { $0.request.route == route && $0.link.isSecure }
  }

  package mutating func handleTimeout(now: Instant) { settle(now: now) }

  // MARK: Out

  package mutating func pollEvent() -> Event? { events.popFirst() }

  /// Whether a server may still give a candidate.
  package var isPending: Bool { searches.contains { $0.isPending } || relays.contains { $0.isPending } }

  package var deadline: Instant? {
    var due: Instant?
    for search in searches { due = earliest(due, search.deadline) }
    for relay in relays { due = earliest(due, relay.deadline) }
    return due
  }

  /// Appends the next message to a server.
  package mutating func pollTransmit(into batch: inout TransmitBatch, now: Instant) -> Bool {
    guard isInUse else { return false }
    for relay in relays where relay.transmitControl(into: &batch, now: now) { return true }
    for search in searches where search.transmit(into: &batch) { return true }
    return false
  }

  /// The allocation that a virtual socket stands for.
  func relay(_ socket: SocketID) -> Relay? { relays.first { $0.socket == socket } }

  /// Room for one datagram of at most `count` bytes, through whatever relay, or for a message to a server.
  package func room(for count: Int) -> Int {
    guard isInUse else { return count }
    return max(count + TURNClient.maximumOverhead, TURNClient.maximumMessageSize) + ServerLink.maximumOverhead
  }

  /// Bytes around each datagram once a channel is bound, which is before paths are probed. A stream has no such bound.
  package static func overhead(of transport: ICERelayTransport) -> Int {
    switch transport {
    case .udp: channelHeader
    case .dtls: channelHeader + ServerLink.maximumOverhead
    case .tcp, .tls: 0
    }
  }

  // MARK: Inside

  private mutating func takeStart(now: Instant) -> Instant {
    let start = max(nextStart ?? now, now)
    nextStart = start + Self.pacing
    return start
  }

  /// Starts what is due, and turns what the clients have to tell into events; the last step of every in.
  mutating func settle(now: Instant) {
    for search in searches {
      search.handleTimeout(random: &random, now: now)
      switch search.pollOutcome(keepsAlive: keepsAlive, now: now) {
      case .found(let mapped):
        events.append(
          .reflexive(
            mapped: mapped, base: search.base, socket: search.link.route.socket, server: search.link.route.remote))
      case .failed(let why): events.append(.failed(server: search.link.route.remote, why))
      case nil: break
      }
    }
    for relay in relays { settle(relay, now: now) }
    relays.removeAll { relay in
      if case .closed = relay.state { relay.client.isFinished } else { false }
    }
  }

  private mutating func settle(_ relay: Relay, now: Instant) {
    switch relay.state {
    case .waiting(let until):
      if until <= now { relay.start(now: now) }
    case .resting(let until):
      if until <= now { restart(relay, now: now) }
    case .active, .closed:
      relay.link.handleTimeout(now: now)
      if let due = relay.client.deadline, due <= now, relay.link.isReady { relay.client.handleTimeout(now: now) }
    }
    while let event = relay.client.pollEvent() { take(event, of: relay, now: now) }
    guard case .active = relay.state else { return }
    if let failure = relay.link.failure {
      conclude(relay, "DTLS: \(failure)", now: now)
    } else if relay.isPending, relay.giveUpAt <= now {
      conclude(relay, "no answer", now: now)
    }
  }

  private mutating func take(_ event: TURNClient.Event, of relay: Relay, now: Instant) {
    switch event {
    case .allocated(let relayed, let mapped):
      relay.isPending = false
      relay.isAllocated = true
      for peer in peers { relay.permit(peer, now: now) }
      events.append(.relayed(relayed, mapped: mapped, socket: relay.socket, request: relay.request))
    case .failed(let error), .lost(let error): conclude(relay, "\(error)", now: now)
    case .redirected(let server, let domain): redirect(relay, to: server, domain: domain, now: now)
    case .permissionRefused: break  // that peer is not reached this way; its pair fails by itself
    }
  }

  /// The relay has failed: for good, if it has never worked; otherwise until it has rested.
  private mutating func conclude(_ relay: Relay, _ why: String, now: Instant) {
    if relay.isAllocated { events.append(.relayLost(relay.socket, why)) }
    if relay.isPending {
      relay.isPending = false
      relay.state = .closed
      relay.client.close(now: now)
      events.append(.failed(server: relay.request.route.remote, why))
    } else if case .active = relay.state {
      relay.rest(now: now)
    }
  }

  private mutating func restart(_ relay: Relay, now: Instant) {
    do throws(DTLSError) {
      try relay.restart(maximumDatagramSize: maximumDatagramSize, random: random.split(), now: now)
    } catch {
      relay.rest(now: now)
    }
  }

  /// RFC 8489 §10: the allocation is to be asked for there, over the same transport and with the same credentials.
  private mutating func redirect(_ relay: Relay, to server: SocketAddress, domain: String?, now: Instant) {
    var request = relay.request
    request.route.remote = server
    request.redirections += 1
    if let domain { request.serverName = ServerName(domain) }
    guard request.redirections <= Self.maximumRedirections, server != relay.request.route.remote,
      server.ip.isV4 == relay.request.route.remote.ip.isV4
    else { return conclude(relay, "it sends us to \(server), which leads nowhere", now: now) }
    relay.isPending = false
    relay.state = .closed
    if request.transport == .tls, request.serverName != relay.request.serverName {
      events.append(.redirected(request))
    } else {
      allocate(request, now: now)
    }
  }

  /// How long a silent server is waited for; the end of candidates waits with it.
  package static let patience = Interval.seconds(10)
  private static let pacing = Interval.milliseconds(5)
  private static let channelHeader = 4
  /// Sockets times servers.
  private static let maximumSearches = 64
  /// Each is state on somebody's server.
  private static let maximumRelays = 16
  /// As many as the agent takes candidates of the peer.
  private static let maximumPeers = 100
  private static let maximumRedirections = 3
}
