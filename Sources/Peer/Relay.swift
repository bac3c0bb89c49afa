// Relay.swift — one allocation on a TURN server as a socket: what is sent to `Route(socket, peer)` goes through it, and
// what it brings comes from there (RFC 8656 §2). An allocation that is lost is asked for again.

import DTLS
package import ICE
package import STUN
import TURN
package import Wire

/// What is needed to get a relayed candidate from one server over one of our sockets.
package struct RelayRequest: Hashable, Sendable {
  /// Our socket, and the server. A socket that carries streams has framing, and TLS if wanted, of its own.
  package var route: Route
  package var transport: ICERelayTransport
  package var credential: STUNCredential
  /// Whose certificate the server must show over DTLS.
  package var serverName: ServerName
  /// The address of the socket, when what the server sees of it is to be a candidate, too (RFC 8445 §5.1.1.2).
  package var base: SocketAddress?
  /// How often a server has sent us on to another one.
  package var redirections = 0

  package init(
    route: Route, transport: ICERelayTransport, credential: STUNCredential, serverName: ServerName
  ) {
    self.route = route
    self.transport = transport
    self.credential = credential
    self.serverName = serverName
  }

  var isStream: Bool { transport == .tcp || transport == .tls }
}

final class Relay {
  enum State {
    /// Begins then.
    case waiting(until: Instant)
    case active
    /// Lost, or refused after it was lost; asked for again then.
    case resting(until: Instant)
    case closed
  }

  let request: RelayRequest
  /// Names the allocation: no kernel has such a socket.
  let socket: SocketID
  var state: State
  var link: ServerLink
  var client: TURNClient
  /// Whether the search for candidates still waits for it.
  var isPending = true
  var isAllocated = false
  /// When the first answer is no longer waited for.
  let giveUpAt: Instant
  private var losses = 0

  init(
    _ request: RelayRequest, socket: SocketID, startingAt start: Instant, maximumDatagramSize: Int, random: RandomSource
  ) throws(DTLSError) {
    self.request = request
    self.socket = socket
    state = .waiting(until: start)
    link = try ServerLink(
      route: request.route, secure: request.transport == .dtls ? request.serverName : nil,
      maximumDatagramSize: maximumDatagramSize + TURNClient.maximumOverhead + ServerLink.maximumOverhead)
    client = TURNClient(configuration: Self.configuration(for: request), random: random)
    giveUpAt = start + Gathering.patience
  }

  private static func configuration(for request: RelayRequest) -> TURNConfiguration {
    TURNConfiguration(
      transport: request.isStream ? .stream : .datagram, credential: request.credential,
      // As browsers do: over IPv6 an IPv6 address is asked for; over IPv4 nothing, because old servers refuse the wish.
      family: request.route.remote.ip.isV4 ? nil : .v6)
  }

  func start(now: Instant) {
    state = .active
    link.start(now: now)
    client.start(now: now)
  }

  /// Rests before the next attempt: a second at first, then twice as long each time.
  func rest(now: Instant) {
    isAllocated = false
    state = .resting(until: now + Self.firstRest * (1 << Int64(min(losses, Self.longestRestDoublings))))
    losses += 1
  }

  /// Begins anew, under the same name.
  func restart(maximumDatagramSize: Int, random: RandomSource, now: Instant) throws(DTLSError) {
    link = try ServerLink(
      route: request.route, secure: request.transport == .dtls ? request.serverName : nil,
      maximumDatagramSize: maximumDatagramSize + TURNClient.maximumOverhead + ServerLink.maximumOverhead)
    client = TURNClient(configuration: Self.configuration(for: request), random: random)
    start(now: now)
  }

  var deadline: Instant? {
    switch state {
    case .waiting(let until), .resting(let until): return until
    case .active:
      let due = earliest(link.deadline, link.isReady ? client.deadline : nil)
      return isPending ? earliest(due, giveUpAt) : due
    case .closed: return client.isFinished ? nil : client.deadline
    }
  }

  /// Asks the server to let this peer through. No server relays to its own loopback, and asking would cost the others
  /// that are asked for in the same request.
  func permit(_ peer: SocketAddress, now: Instant) {
    guard peer.ip.isLoopback == client.relayedAddress?.ip.isLoopback, !peer.ip.isLinkLocal else { return }
    client.prepare(peer: peer, now: now)
  }

  // MARK: Payload

  /// Appends a datagram for `peer`, which `write` writes: at most `maximum` bytes, in place behind the header.
  ///
  /// - Returns: whether one was appended.
  func transmit(
    to peer: SocketAddress, into batch: inout TransmitBatch, maximum: Int, now: Instant,
    _ write: (inout OutputRawSpan) -> Bool
  ) -> Bool {
    link.transmit(into: &batch, maximum: maximum + TURNClient.maximumOverhead) { out in
      guard client.writeHeader(to: peer, into: &out, now: now), write(&out) else { return false }
      client.finishPayload(headerAt: 0, into: &out)
      return true
    }
  }

  /// Appends the next control message to the server.
  func transmitControl(into batch: inout TransmitBatch, now: Instant) -> Bool {
    if link.transmitHandshake(into: &batch) { return true }
    switch state {
    case .waiting, .resting: return false
    case .active, .closed:
      return link.transmit(into: &batch, maximum: TURNClient.maximumMessageSize) { out in
        client.pollTransmit(into: &out, now: now)
      }
    }
  }

  private static let firstRest = Interval.seconds(1)
  private static let longestRestDoublings = 6  // a minute: the server, or the way to it, is gone for longer
}
