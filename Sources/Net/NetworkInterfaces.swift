// NetworkInterfaces.swift — the addresses this host has now, from which host candidates are made (RFC 8445 §5.1.1.1).

package import Wire
import CPosix
import Glibc

/// One address of an interface that is up.
package struct InterfaceAddress: Hashable, Sendable {
  /// The interface's name, for example `eth0`.
  package var name: String
  /// The interface's index, which is also the zone of its link-local addresses.
  package var index: UInt32
  /// The address; a link-local IPv6 address carries its zone.
  package var address: IPAddress
  /// Whether the interface is a loopback interface; its addresses reach this host only.
  package var isLoopback: Bool
  /// Whether the interface connects two ends only, as most tunnels do.
  package var isPointToPoint: Bool
  /// Whether the interface is made of software for this host's own use, as a bridge of containers: peers elsewhere rarely
  /// reach its addresses. Tunnels (VPNs) count too.
  package var isVirtual = false
  /// Whether this IPv6 address is a temporary one, which does not tell where a host has been (RFC 8981).
  package var isTemporary = false
  /// Whether no new communication should begin from the address (RFC 4862 §5.5.4).
  package var isDeprecated = false
  /// Whether the address cannot be used yet, or not at all, because another host may have it (RFC 4862 §5.4).
  package var isTentative = false

  package var isLinkLocal: Bool { address.isLinkLocal }

  package init(name: String, index: UInt32, address: IPAddress, isLoopback: Bool, isPointToPoint: Bool) {
    self.name = name
    self.index = index
    self.address = address
    self.isLoopback = isLoopback
    self.isPointToPoint = isPointToPoint
  }
}

package enum NetworkInterfaces {
  /// The IPv4 and IPv6 addresses of all interfaces that are up, in the system's order. Nothing else is left out: which
  /// of them become candidates is the caller's policy.
  package static func addresses() throws(NetError) -> [InterfaceAddress] {
    var first: UnsafeMutablePointer<ifaddrs>? = nil
    guard unsafe getifaddrs(&first) == 0 else { throw .current("getifaddrs") }
    defer { unsafe freeifaddrs(first) }

    var found: [InterfaceAddress] = []
    var next = unsafe first
    while let entry = unsafe next, found.count < maximumAddresses {
      unsafe next = entry.pointee.ifa_next
      let flags = unsafe Int32(truncatingIfNeeded: entry.pointee.ifa_flags)
      guard flags & upFlag != 0, let name = unsafe address(of: entry) else { continue }
      found.append(
        InterfaceAddress(
          name: unsafe String(cString: entry.pointee.ifa_name),
          index: unsafe if_nametoindex(entry.pointee.ifa_name),
          address: name,
          isLoopback: flags & loopbackFlag != 0,
          isPointToPoint: flags & pointToPointFlag != 0))
    }
    return found
  }

  private static func address(of entry: UnsafeMutablePointer<ifaddrs>) -> IPAddress? {
    guard let name = unsafe entry.pointee.ifa_addr else { return nil }
    // Only as many bytes as the family has may be read: copy them into a slot that holds either family.
    let size: Int
    switch Int32(unsafe name.pointee.sa_family) {
    case AF_INET: size = MemoryLayout<sockaddr_in>.size
    case AF_INET6: size = MemoryLayout<sockaddr_in6>.size
    default: return nil
    }
    var slot = sockaddr_in6()
    unsafe withUnsafeMutableBytes(of: &slot) { bytes in
      unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: name, count: size))
    }
    return unsafe SocketAddress(reading: &slot)?.ip
  }

  private static let upFlag = Int32(IFF_UP)
  private static let loopbackFlag = Int32(IFF_LOOPBACK)
  private static let pointToPointFlag = Int32(IFF_POINTOPOINT)
  /// A container host may have thousands of addresses; nobody can check that many candidates.
  private static let maximumAddresses = 1_024
}
