// PeerConnection+HostSockets.swift — the sockets of a connection on this machine's addresses, and the host candidates that
// they are (RFC 8445 §5.1.1.1; over TCP RFC 6544 §4, §5).
//
// Invariant: each address has at most one `HostSocket`, whose sockets open and close together.

import ICE
import Logging
import MDNS
import Net
import Peer
import Wire

/// What a connection has on one of this machine's addresses.
struct HostSocket {
  let socket: EventLoopSocket
  /// Other connections have the socket, too.
  let isShared: Bool
  /// For TURN servers, where the other is shared: what comes from a server does not say for whom it is.
  var relaySocket: EventLoopSocket?
  /// Where connections begin, or are accepted.
  var streams: [EventLoopSocket] = []
  /// Stands for the address where that is hidden.
  var hiddenName: DNSName?

  var address: SocketAddress { socket.localAddress }
  var ids: [SocketID] { ([socket, relaySocket].compactMap { $0 } + streams).map(\.id) }
}

extension PeerConnection {
  /// Opens sockets on the addresses that have none yet.
  func openSockets(on addresses: [IPAddress]) {
    guard let registration else { return }
    let first = sockets.count
    for address in addresses where !sockets.contains(where: { $0.address.ip == address }) {
      do {
        let socket = try open(address, registration)
        sockets.append(HostSocket(socket: socket, isShared: configuration.sharedPort != nil))
      } catch {
        // An address may vanish between the listing and the bind; the others still serve.
        configuration.logger.debug("no socket on \(address): \(error)")
      }
    }
    guard configuration.iceTransportPolicy == .all else { return }
    // The better ones first: a peer that gets them one by one need not wait for them.
    for index in first..<sockets.count { addHostCandidate(index) }
    for index in first..<sockets.count { addStreamCandidates(index) }
  }

  private func open(_ address: IPAddress, _ registration: EventLoopRegistration) throws(NetError) -> EventLoopSocket {
    guard let port = configuration.sharedPort else {
      return try registration.openSocket(SocketAddress(ip: address, port: 0), portRange: configuration.portRange)
    }
    let shared = try port.assumeIsolated { port in port.socket(on: address) }.get()
    let newest = machine.localCredentials.usernameFragment
    let socket = try registration.join(shared, fragment: newest)
    let current = machine.ice.localCredentials.usernameFragment
    if current != newest { try registration.addFragment(current, on: socket.id) }
    return socket
  }

  /// After an ICE restart: the shared port is to know our new name, and to forget those that nobody uses any more.
  func renameOnSharedPort() {
    guard let registration else { return }
    let newest = machine.localCredentials.usernameFragment
    let used = [newest, machine.ice.localCredentials.usernameFragment]
    for socket in sockets where socket.isShared {
      for old in sharedFragments where !used.contains(old) { registration.removeFragment(old, on: socket.socket.id) }
      do { try registration.addFragment(newest, on: socket.socket.id) } catch {
        configuration.logger.info("the restart does without \(socket.address): \(error)")
      }
    }
    sharedFragments = used
  }

  /// Where requests to TURN servers leave, on the address of a host socket.
  func relaySocket(beside base: SocketID) -> EventLoopSocket? {
    guard let registration, let index = sockets.firstIndex(where: { $0.socket.id == base }) else { return nil }
    guard sockets[index].isShared else { return sockets[index].socket }
    if let known = sockets[index].relaySocket { return known }
    let ip = sockets[index].address.ip
    do {
      sockets[index].relaySocket = try registration.openSocket(
        SocketAddress(ip: ip, port: 0), portRange: configuration.portRange)
    } catch {
      configuration.logger.info("no socket for relays on \(ip): \(error)")
    }
    return sockets[index].relaySocket
  }

  private func addHostCandidate(_ index: Int) {
    guard let told = told(index) else { return }
    let (socket, address) = (sockets[index].socket, sockets[index].address)
    let candidate = machine.addLocalCandidate(address, socket: socket.id, hiddenAs: told.name, now: loop.now)
    announce(candidate)
    announce(told.extra, of: socket)
  }

  private func addStreamCandidates(_ index: Int) {
    let types: [ICECandidate.TCPType] =
      switch configuration.tcpCandidates {
      case .none: []
      case .active: [.active]
      case .activeAndPassive: [.active, .passive]
      }
    guard let registration, !types.isEmpty, let told = told(index) else { return }
    for type in types {
      do {
        let socket = try registration.openStreamSocket(
          local: SocketAddress(ip: sockets[index].address.ip, port: 0), framing: .rfc4571,
          role: type == .active ? .active : .passive, portRange: configuration.portRange)
        sockets[index].streams.append(socket)
        let candidate = machine.addTCPCandidate(
          socket.localAddress, type: type, socket: socket.id, hiddenAs: told.name, now: loop.now)
        announce(candidate)
        // A NAT that maps addresses lets connections out in any case.
        if type == .passive { announce(told.extra, of: socket) }
      } catch {
        configuration.logger.debug("no TCP on \(sockets[index].address.ip): \(error)")
      }
    }
  }

  /// Another address by which this socket is known outside.
  private func announce(_ extra: IPAddress?, of socket: EventLoopSocket) {
    guard let extra else { return }
    let base = socket.localAddress
    let mapped = SocketAddress(ip: extra, port: base.port)
    let added = machine.addReflexiveCandidate(mapped, base: base, socket: socket.id, now: loop.now)
    if let added { announce(added) }
  }

  /// What peers are told instead of an address, if anything, and beside it; nil: they may not be told of it at all.
  private func told(_ index: Int) -> (name: String?, extra: IPAddress?)? {
    let ip = sockets[index].address.ip
    switch rewriter.name(of: ip) {
    case .asItIs:
      // Loopback tells nobody where this machine is.
      guard configuration.hidesHostAddresses, !ip.isLoopback else { return (nil, nil) }
      if sockets[index].hiddenName == nil { sockets[index].hiddenName = LocalNames.on(loop).claim(ip) }
      guard let name = sockets[index].hiddenName else { return nil }  // better no candidate than the address
      return (name.description, nil)
    case .replaced(let other): return ("\(other)", nil)
    case .added(let other): return (nil, other)
    }
  }

  /// The address is gone.
  func close(_ gone: HostSocket, now: Instant) {
    if let name = gone.hiddenName { LocalNames.on(loop).giveUp(name) }
    for id in gone.ids {
      registration?.closeSocket(id)
      machine.socketClosed(id, now: now)
    }
  }

  /// Gives back what outlives sockets.
  func giveUpNames() {
    for socket in sockets { if let name = socket.hiddenName { LocalNames.on(loop).giveUp(name) } }
  }
}
