// UDPSocket.swift — one bound, non-blocking UDP socket. It is used from one thread only.
//
// Receiving goes through a `ReceiveBatch`, sending (`+Outbound`) through a `SendArena`; both belong to the event loop and
// are lent for a call. Nothing on these paths throws: what the network or the kernel refuses is counted.

package import Wire
import CPosix
import Glibc

/// What a socket asks the kernel for.
package struct UDPSocketOptions: Hashable, Sendable {
  /// Bytes asked for with SO_RCVBUF. Linux grants up to net.core.rmem_max, or all of it to a privileged process. Its own
  /// default of 208 KiB holds 2 ms of a gigabit.
  package var receiveBufferSize = 4 << 20
  /// Bytes asked for with SO_SNDBUF.
  package var sendBufferSize = 4 << 20
  /// Whether runs of equal datagrams may be handed over as one (UDP_SEGMENT).
  package var segmentsSends = true
  /// Whether the kernel may join what it receives (UDP_GRO).
  package var joinsReceives = true
  /// Whether datagrams may be cut on their way. What is never cut tells its sender how much the path carries (RFC 8899).
  package var fragments = false
  /// Whether other sockets, of other programs too, may be bound to the same port.
  package var sharesPort = false
  /// Makes the socket one for multicast.
  package var multicast: MulticastOptions?

  package init() {}
}

/// What a socket has done so far.
package struct UDPSocketStatistics: Hashable, Sendable {
  package var datagramsSent: UInt64 = 0
  package var bytesSent: UInt64 = 0
  package var sendCalls: UInt64 = 0
  package var datagramsReceived: UInt64 = 0
  package var bytesReceived: UInt64 = 0
  package var receiveCalls: UInt64 = 0
  /// Sends that stopped because the socket's buffer was full.
  package var timesBlocked: UInt64 = 0
  /// Datagrams not sent because they exceed the path's MTU (EMSGSIZE).
  package var droppedTooLarge: UInt64 = 0
  /// Datagrams not sent because an earlier one was refused by the other host (ICMP) or has no way to go.
  package var droppedUnreachable: UInt64 = 0
  /// Datagrams not sent because the device's queue or the kernel's memory is full (ENOBUFS, ENOMEM).
  package var droppedNoBuffers: UInt64 = 0
  /// Datagrams not sent for any other reason: a firewall's rule, an address that this socket cannot name.
  package var droppedOther: UInt64 = 0
  /// Messages that arrived and were not handed on: empty or cut.
  package var receivedUnusable: UInt64 = 0
  /// Errors that a receive call reported.
  package var receiveErrors: UInt64 = 0
}

package final class UDPSocket {
  package let id: SocketID
  /// The address bound to, with the port that the kernel chose if none was asked for.
  package let localAddress: SocketAddress
  /// What the kernel granted, which is twice what is usable: it counts its own bookkeeping.
  package let receiveBufferSize: Int
  package let sendBufferSize: Int
  package let descriptor: Int32
  package internal(set) var statistics = UDPSocketStatistics()

  /// Whether runs are still sent as one; turned off for good when the kernel or the device cannot.
  package internal(set) var segmentsSends: Bool
  /// Whether datagrams may be cut on their way.
  private var fragments: Bool
  /// Whether the kernel took UDP_GRO.
  package let joinsReceives: Bool
  /// The number of send calls that are answered as if the buffer were full. Loopback never fills a send buffer, so tests
  /// of the back-pressure have no other way.
  package var simulatedFullBuffers = 0

  /// Binds a socket to `address`; port 0 lets the kernel choose.
  package init(
    id: SocketID, binding address: SocketAddress, options: UDPSocketOptions = UDPSocketOptions()
  ) throws(NetError) {
    let family = address.ip.isV4 ? AF_INET : AF_INET6
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let descriptor = socket(family, type, Int32(IPPROTO_UDP))
    guard descriptor >= 0 else { throw .current("socket") }
    do throws(NetError) {
      if family == AF_INET6 {
        // IPv4 has sockets of its own: without this, it would arrive here as mapped addresses.
        try SocketCalls.set(descriptor, Int32(IPPROTO_IPV6), Int32(IPV6_V6ONLY), 1, "setsockopt(IPV6_V6ONLY)")
      }
      // Where the kernel does not know the option, datagrams are cut, and only the measuring of the path suffers.
      if !options.fragments { _ = Self.setFragmentation(SWARM_PMTUDISC_PROBE, descriptor, family) }
      if options.sharesPort {
        // Both: other programs may have set either.
        try SocketCalls.set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1, "setsockopt(SO_REUSEADDR)")
        _ = SocketCalls.trySet(descriptor, SOL_SOCKET, Int32(SWARM_SO_REUSEPORT), 1)
      }
      try SocketCalls.bind(descriptor, to: address, "UDP")
      if let multicast = options.multicast { try Self.prepare(descriptor, family, for: multicast) }
      localAddress = try SocketCalls.boundAddress(of: descriptor)
    } catch {
      _ = close(descriptor)
      throw error
    }
    self.id = id
    self.descriptor = descriptor
    fragments = options.fragments
    receiveBufferSize = Self.enlarge(
      descriptor, force: Int32(SWARM_SO_RCVBUFFORCE), SO_RCVBUF, to: options.receiveBufferSize)
    sendBufferSize = Self.enlarge(
      descriptor, force: Int32(SWARM_SO_SNDBUFFORCE), SO_SNDBUF, to: options.sendBufferSize)
    joinsReceives =
      options.joinsReceives
      && SocketCalls.trySet(descriptor, Int32(SWARM_SOL_UDP), Int32(SWARM_UDP_GRO), 1)
    // Size 0 changes nothing: it only asks whether the kernel knows the option (Linux 4.18).
    segmentsSends =
      options.segmentsSends
      && SocketCalls.trySet(descriptor, Int32(SWARM_SOL_UDP), Int32(SWARM_UDP_SEGMENT), 0)
  }

  deinit { _ = close(descriptor) }

  /// Replaces the contents of `batch` by what has arrived, at most one batch full.
  ///
  /// - Returns: whether there may be more.
  package func receive(into batch: inout ReceiveBatch) -> Bool {
    // A receive call may report an error that an earlier send caused; it is gone once reported. The bound only keeps a
    // broken descriptor from holding the loop.
    for _ in 0..<Self.maximumReceiveAttempts {
      statistics.receiveCalls += 1
      let count = batch.fill(from: descriptor, socket: id, dropped: &statistics.receivedUnusable)
      if count >= 0 {
        statistics.datagramsReceived += UInt64(batch.datagramCount)
        statistics.bytesReceived += UInt64(batch.byteCount)
        return Int(count) == batch.slotCapacity
      }
      if count == -EAGAIN { return false }
      if count != -EINTR { statistics.receiveErrors += 1 }
    }
    return true
  }

  // MARK: Setting up

  /// Asks for a buffer of `size` bytes, past the system's limit where that is allowed, and returns what was granted.
  private static func enlarge(_ descriptor: Int32, force: Int32, _ option: Int32, to size: Int) -> Int {
    let size = Int32(clamping: size)
    if !SocketCalls.trySet(descriptor, SOL_SOCKET, force, size) {
      _ = SocketCalls.trySet(descriptor, SOL_SOCKET, option, size)
    }
    var granted: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard unsafe getsockopt(descriptor, SOL_SOCKET, option, &granted, &length) == 0 else { return 0 }
    return Int(granted)
  }

  private static func setFragmentation(_ mode: Int, _ descriptor: Int32, _ family: Int32) -> Bool {
    family == AF_INET
      ? SocketCalls.trySet(descriptor, Int32(IPPROTO_IP), Int32(SWARM_IP_MTU_DISCOVER), Int32(mode))
      : SocketCalls.trySet(descriptor, Int32(IPPROTO_IPV6), Int32(SWARM_IPV6_MTU_DISCOVER), Int32(mode))
  }

  /// From here on the kernel may cut datagrams.
  ///
  /// - Returns: whether that has changed.
  func allowFragmentation() -> Bool {
    guard !fragments else { return false }
    fragments = true
    return Self.setFragmentation(SWARM_PMTUDISC_DONT, descriptor, localAddress.ip.isV4 ? AF_INET : AF_INET6)
  }

  private static let maximumReceiveAttempts = 8
}
