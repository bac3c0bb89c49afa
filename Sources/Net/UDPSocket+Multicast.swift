// UDPSocket+Multicast.swift — sockets for multicast DNS (RFC 6762): one for each interface.

import CPosix
import Glibc
package import Wire

/// How a socket takes part in multicast.
package struct MulticastOptions: Hashable, Sendable {
  /// The index of the interface that it sends through and joins at.
  package var interface: UInt32
  /// The groups whose datagrams it receives, of the socket's family; others' do not reach it.
  package var groups: [IPAddress] = []
  /// The hops that a datagram may take; 255 is what mDNS wants (RFC 6762 §11).
  package var hopLimit: UInt8 = 255
  /// Whether this host's own sockets hear what it sends.
  package var loopsBack = true

  package init(interface: UInt32, groups: [IPAddress] = []) {
    self.interface = interface
    self.groups = groups
  }
}

/// Where multicast DNS happens (RFC 6762 §3).
package enum MulticastDNS {
  package static let port: UInt16 = 5353
  package static let groupV4 = IPAddress.v4(0xe000_00fb)  // 224.0.0.251
  package static let groupV6 = IPAddress.v6(0xff02_0000_0000_0000, 0xfb, zone: 0)

  package static func group(isV4: Bool) -> IPAddress { isV4 ? groupV4 : groupV6 }

  /// What queries are sent to, through a socket that was opened for `interface`.
  package static func destination(isV4: Bool, interface: UInt32) -> SocketAddress {
    guard case .v6(let high, let low, _) = group(isV4: isV4) else { return SocketAddress(ip: groupV4, port: port) }
    return SocketAddress(ip: .v6(high, low, zone: interface), port: port)
  }
}

extension UDPSocket {
  static func prepare(_ descriptor: Int32, _ family: Int32, for multicast: MulticastOptions) throws(NetError) {
    let isV4 = family == AF_INET
    let level = Int32(isV4 ? IPPROTO_IP : Int(IPPROTO_IPV6))
    let interface = Int32(bitPattern: multicast.interface)
    let chosen = swarm_multicast_interface(descriptor, isV4 ? 1 : 0, interface)
    guard chosen == 0 else { throw NetError("setsockopt(MULTICAST_IF)", code: -chosen) }
    try SocketCalls.set(
      descriptor, level, Int32(isV4 ? SWARM_IP_MULTICAST_TTL : SWARM_IPV6_MULTICAST_HOPS), Int32(multicast.hopLimit),
      "setsockopt(MULTICAST_TTL)")
    try SocketCalls.set(
      descriptor, level, Int32(isV4 ? SWARM_IP_MULTICAST_LOOP : SWARM_IPV6_MULTICAST_LOOP), multicast.loopsBack ? 1 : 0,
      "setsockopt(MULTICAST_LOOP)")
    // Otherwise a socket bound to any address hears every group that anybody on this host has joined.
    _ = SocketCalls.trySet(
      descriptor, level, Int32(isV4 ? SWARM_IP_MULTICAST_ALL : SWARM_IPV6_MULTICAST_ALL), 0)
    for group in multicast.groups {
      var name = sockaddr_in6()
      _ = unsafe SocketAddress(ip: group, port: 0).write(to: &name)
      let joined = unsafe swarm_multicast_join(descriptor, &name, interface)
      guard joined == 0 else { throw NetError("join", code: -joined, detail: "\(group) at interface \(interface)") }
    }
  }
}

extension EventLoopRegistration {
  /// A socket that sends one-shot queries (RFC 6762 §5.1) through an interface. It has a port of its own, so answers come
  /// to it alone.
  package func openMulticastQuerier(interface: UInt32, isV4: Bool) throws(NetError) -> EventLoopSocket {
    try openSocket(
      SocketAddress(ip: .unspecified(isV4: isV4), port: 0),
      options: .multicast(MulticastOptions(interface: interface)))
  }

  /// A socket that hears what is sent to the group at an interface, and answers from its port, which it shares with the
  /// host's other responders.
  package func openMulticastResponder(interface: UInt32, isV4: Bool) throws(NetError) -> EventLoopSocket {
    var options = UDPSocketOptions.multicast(
      MulticastOptions(interface: interface, groups: [MulticastDNS.group(isV4: isV4)]))
    options.sharesPort = true
    return try openSocket(SocketAddress(ip: .unspecified(isV4: isV4), port: MulticastDNS.port), options: options)
  }
}

extension UDPSocketOptions {
  /// Small buffers, and datagrams that may be cut: names are looked up rarely.
  static func multicast(_ multicast: MulticastOptions) -> UDPSocketOptions {
    var options = UDPSocketOptions()
    options.receiveBufferSize = 256 << 10
    options.sendBufferSize = 64 << 10
    options.segmentsSends = false
    options.joinsReceives = false
    options.fragments = true
    options.multicast = multicast
    return options
  }
}

extension IPAddress {
  static func unspecified(isV4: Bool) -> IPAddress { isV4 ? .v4(0) : .v6(0, 0, zone: 0) }
}
