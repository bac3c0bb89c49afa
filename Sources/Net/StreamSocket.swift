// StreamSocket.swift — TCP connections that are addressed like a UDP socket: a datagram sent to `Route(socket, remote)`
// goes into the connection with `remote`, framed, and what that connection brings is handed up as datagrams.
//
// Invariants: `connections[remote]` is not closed; `silent` counts those of them that were accepted and have brought no
// datagram; both have bounds.

import CPosix
import Glibc
package import Wire

/// How datagrams are told apart in a stream.
package enum StreamFraming: Hashable, Sendable {
  /// A length of two bytes before each datagram (RFC 4571), as ICE candidates over TCP have it (RFC 6544 §3).
  case rfc4571
  /// STUN messages and ChannelData, which say themselves how long they are; ChannelData is padded to four bytes
  /// (RFC 8656 §12.5). What is sent must be one of the two.
  case turn
}

/// Who begins the connections of a stream socket.
package enum StreamRole: Hashable, Sendable {
  /// The first datagram for a remote address connects to it.
  case active
  /// Others connect; datagrams for an address that has not are dropped.
  case passive
}

/// What a stream socket has done so far, all its connections together.
package struct StreamSocketStatistics: Hashable, Sendable {
  /// Connections that stand or are being made.
  package var connections = 0
  package var datagramsSent: UInt64 = 0
  package var datagramsReceived: UInt64 = 0
  /// Bytes of datagrams, without framing and TLS.
  package var bytesSent: UInt64 = 0
  package var bytesReceived: UInt64 = 0
  /// Datagrams that a connection's buffer had no room for.
  package var droppedNoRoom: UInt64 = 0
  /// Datagrams for an address that a passive socket has no connection with, or that an active one may not add.
  package var droppedWithoutConnection: UInt64 = 0
  /// Datagrams that cannot be framed: longer than 65,535 bytes, or neither STUN nor ChannelData in a TURN stream.
  package var droppedUnframable: UInt64 = 0
  /// Connections that others began and that were closed because there are too many, or too many that have said nothing.
  package var refusedConnections: UInt64 = 0
  /// Connections closed because their bytes are no frames of ours, or come too slowly.
  package var brokenConnections: UInt64 = 0
}

/// How long connections may take, and how many a stream socket may have.
package struct StreamLimits: Hashable, Sendable {
  /// What ICE tries over TCP answers within seconds, or another pair has won.
  package var connect = Interval.seconds(10)
  /// From the connection to the end of the TLS handshake.
  package var handshake = Interval.seconds(10)
  /// From being accepted to the first datagram: ICE and TURN both begin with a request, at once.
  package var firstFrame = Interval.seconds(10)
  /// From a datagram's first byte to its last. It does not begin anew with each byte, and outlasts no consent (RFC 7675).
  package var frame = Interval.seconds(30)
  /// More pairs than ICE checks on one candidate; each may hold a few hundred KiB.
  package var connections = 64
  /// Accepted ones that have brought nothing; the oldest makes room for the next.
  package var silentConnections = 16

  package init() {}
}

final class StreamSocket: LoopSource {
  let id: SocketID
  /// The owner's slot.
  let owner: Int
  let framing: StreamFraming
  let role: StreamRole
  let security: (any StreamSecurity)?
  let limits: StreamLimits
  private(set) var localAddress: SocketAddress
  var statistics = StreamSocketStatistics()

  private let listener: Descriptor?
  private var source: SourceID?
  private var isPaused = false
  private var connections: [SocketAddress: StreamConnection] = [:]
  var silent = 0
  /// Those that this send has written to, and that are to be flushed.
  private var written: [StreamConnection] = []

  init(
    id: SocketID, owner: Int, local: SocketAddress, framing: StreamFraming, role: StreamRole,
    security: (any StreamSecurity)?, limits: StreamLimits
  ) throws(NetError) {
    self.id = id
    self.owner = owner
    self.framing = framing
    self.role = role
    self.security = security
    self.limits = limits
    guard role == .passive else {
      localAddress = local
      listener = nil
      return
    }
    guard security == nil else { throw NetError("listen", code: EOPNOTSUPP, detail: "TLS as a server") }
    let socket = try Self.makeSocket(boundTo: local)
    guard listen(socket.rawValue, Self.backlog) == 0 else { throw .current("listen", "TCP \(local)") }
    localAddress = try SocketCalls.boundAddress(of: socket.rawValue)
    listener = consume socket
  }

  /// A TCP socket of `address`'s family; bound, unless the kernel is to choose both address and port.
  static func makeSocket(boundTo address: SocketAddress) throws(NetError) -> Descriptor {
    let family = address.ip.isV4 ? AF_INET : AF_INET6
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let made = try Descriptor(socket(family, type, Int32(IPPROTO_TCP)), "socket")
    if family == AF_INET6 {
      try SocketCalls.set(made.rawValue, Int32(IPPROTO_IPV6), Int32(IPV6_V6ONLY), 1, "setsockopt(IPV6_V6ONLY)")
    }
    guard !address.ip.isUnspecified || address.port != 0 else { return made }
    // A port whose last connections wait to be forgotten (TIME_WAIT) can be taken again; one that is listened at cannot.
    if address.port != 0 { _ = SocketCalls.trySet(made.rawValue, SOL_SOCKET, SO_REUSEADDR, 1) }
    try SocketCalls.bind(made.rawValue, to: address, "TCP")
    return made
  }

  /// Listens from now on.
  func begin(in core: LoopCore) throws(NetError) {
    guard let listener = descriptorOfListener else { return }
    let source = core.addSource(self)
    do throws(NetError) {
      try core.poller.add(listener, token: source.token)
      self.source = source
    } catch {
      core.removeSource(source)
      throw error
    }
  }

  private var descriptorOfListener: Int32? {
    switch listener {
    case .some(let listener): listener.rawValue
    case .none: nil
    }
  }

  var connectionCount: Int { connections.count }

  func connection(with remote: SocketAddress) -> StreamConnection? { connections[remote] }

  /// Closes everything, and tells nobody.
  func closeAll(in core: LoopCore) {
    if let source, let listener = descriptorOfListener {
      if !isPaused { core.poller.remove(listener) }
      core.removeSource(source)
      self.source = nil
      // Connections and calls that are under way still hold this object, and with it the descriptor.
      _ = shutdown(listener, Int32(SHUT_RDWR))
    }
    for connection in Array(connections.values) { connection.close(in: core) }
  }

  func forget(_ connection: StreamConnection) {
    connections[connection.remote] = nil
    statistics.connections = connections.count
  }

  // MARK: Accepting

  func handleReady(_ event: Poller.Event, in core: LoopCore) {
    guard let listener = descriptorOfListener else { return }
    for _ in 0..<Self.maximumAcceptsPerTurn {
      var name = sockaddr_in6()
      let result = unsafe swarm_accept(listener, &name)
      switch -result {
      case EAGAIN: return
      case EINTR, ECONNABORTED: continue
      case 1...:
        // No descriptors, or no memory: the queue stays full, and would be reported again at once, for ever.
        core.poller.remove(listener)
        isPaused = true
        if let source { core.setDeadline(core.now + Self.acceptPause, of: source) }
        return
      default:
        do throws(NetError) {
          let descriptor = try Descriptor(result, "accept")
          if let remote = unsafe SocketAddress(reading: &name) { try admit(descriptor, from: remote, in: core) }
        } catch {
          statistics.refusedConnections += 1
        }
      }
    }
  }

  func handleTimeout(in core: LoopCore) {
    guard isPaused, let source, let listener = descriptorOfListener else { return }
    isPaused = false
    do throws(NetError) {
      try core.poller.add(listener, token: source.token)
    } catch {
      isPaused = true
      core.setDeadline(core.now + Self.acceptPause, of: source)
    }
  }

  private func admit(
    _ descriptor: consuming Descriptor, from remote: SocketAddress, in core: LoopCore
  ) throws(NetError) {
    if silent >= limits.silentConnections {
      let oldest = connections.values.lazy.filter(\.isSilent).min { $0.began < $1.began }
      oldest?.close(in: core)
      statistics.refusedConnections += 1
    }
    guard connections.count < limits.connections, connections[remote] == nil else {
      throw NetError("accept", code: ECONNREFUSED)
    }
    let connection = try StreamConnection(accepting: descriptor, from: remote, of: self, in: core)
    connections[remote] = connection
    statistics.connections = connections.count
  }

  // MARK: Sending

  /// Sends `core.transmitBatch.datagrams[range]`, all of which are routed through this socket.
  func send(_ range: Range<Int>, in core: LoopCore) {
    for datagram in core.transmitBatch.datagrams[range] {
      guard let connection = connections[datagram.route.remote] ?? connect(to: datagram.route.remote, in: core) else {
        statistics.droppedWithoutConnection += 1
        continue
      }
      if connection.append(datagram.range, of: core.transmitBatch) { written.append(connection) }
    }
    for connection in written { connection.flush(in: core) }
    written.removeAll(keepingCapacity: true)
  }

  private func connect(to remote: SocketAddress, in core: LoopCore) -> StreamConnection? {
    guard role == .active, connections.count < limits.connections, remote.ip.isV4 == localAddress.ip.isV4 else {
      return nil
    }
    do throws(NetError) {
      let connection = try StreamConnection(connectingTo: remote, of: self, in: core)
      connections[remote] = connection
      statistics.connections = connections.count
      return connection
    } catch {
      // There is no socket to be had, as when all descriptors are in use: as if the network had lost the datagram.
      return nil
    }
  }

  private static let backlog: Int32 = 64  // as many as may stand
  private static let maximumAcceptsPerTurn = 16  // others on the loop wait meanwhile
  private static let acceptPause = Interval.milliseconds(100)
}

// MARK: -

extension LoopCore {
  func openStreamSocket(
    local: SocketAddress, framing: StreamFraming, role: StreamRole, security: (any StreamSecurity)?,
    portRange: ClosedRange<UInt16>?, for registration: EventLoopRegistration
  ) throws(NetError) -> EventLoopSocket {
    guard isCurrent(registration) else { throw NetError("socket", code: ECANCELED) }
    let (address, id) = try withNewSlot { (index, id) throws(NetError) in
      let stream = try PortRange.bind(local, in: role == .passive ? portRange : nil) { local throws(NetError) in
        try StreamSocket(
          id: id, owner: registration.slot, local: local, framing: framing, role: role, security: security,
          limits: configuration.streams)
      }
      try stream.begin(in: self)
      sockets[index].stream = stream
      return stream.localAddress
    }
    members[registration.slot].sockets.append(id)
    return EventLoopSocket(
      id: id, localAddress: address, receiveBufferSize: ReceiveBatch.streamReadSize,
      sendBufferSize: StreamConnection.maximumUnsent)
  }

  /// Tells the owner of a stream socket that a connection has ended.
  func reportClosed(_ route: Route, error: NetError?, to owner: Int) {
    touch(owner)
    let participant = members[owner].participant
    participant?.routeClosed(route, error: error, now: now)
  }
}

extension EventLoopRegistration {
  /// Opens a stream socket, whose datagrams go to this participant as those of a UDP socket do.
  ///
  /// Connections are made by the first datagram for a remote address, without waiting; datagrams are kept until it
  /// stands. What does not fit a connection's bounded buffer is dropped and counted. `routeClosed` tells when one ends.
  ///
  /// - Parameters:
  ///   - local: the address to listen at or to connect from; port 0 lets the kernel choose. An active socket with port 0
  ///     has one for each connection, and says 0.
  ///   - security: TLS, as the side that connects.
  ///   - portRange: where a passive socket's port is to be from, if `local` has port 0.
  package func openStreamSocket(
    local: SocketAddress, framing: StreamFraming, role: StreamRole, security: (any StreamSecurity)? = nil,
    portRange: ClosedRange<UInt16>? = nil
  ) throws(NetError) -> EventLoopSocket {
    try loop.isolatedCore.openStreamSocket(
      local: local, framing: framing, role: role, security: security, portRange: portRange, for: self)
  }

  /// Closes one connection of a stream socket of this participant, after what it takes at once. `routeClosed` is not
  /// called. The next datagram for it makes an active socket connect anew.
  package func closeRoute(_ route: Route) { connection(route)?.close(in: loop.isolatedCore) }

  /// The address that a connection has on this side; nil when there is none yet.
  package func localAddress(of route: Route) -> SocketAddress? { connection(route)?.localAddress }

  package func streamStatistics(of id: SocketID) -> StreamSocketStatistics? {
    loop.isolatedCore.stream(id)?.statistics
  }

  private func connection(_ route: Route) -> StreamConnection? {
    let core = loop.isolatedCore
    guard core.isCurrent(self), let stream = core.stream(route.socket), stream.owner == slot else { return nil }
    return stream.connection(with: route.remote)
  }
}
