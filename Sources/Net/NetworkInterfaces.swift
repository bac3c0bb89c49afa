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

    let details = InterfaceDetails.read()
    var found: [InterfaceAddress] = []
    var next = unsafe first
    while let entry = unsafe next, found.count < maximumAddresses {
      unsafe next = entry.pointee.ifa_next
      let flags = unsafe Int32(truncatingIfNeeded: entry.pointee.ifa_flags)
      guard flags & upFlag != 0, let name = unsafe address(of: entry) else { continue }
      var address = InterfaceAddress(
        name: unsafe String(cString: entry.pointee.ifa_name),
        index: unsafe if_nametoindex(entry.pointee.ifa_name),
        address: name,
        isLoopback: flags & loopbackFlag != 0,
        isPointToPoint: flags & pointToPointFlag != 0)
      address.take(details)
      found.append(address)
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

extension InterfaceAddress {
  /// Adds what rtnetlink knows.
  fileprivate mutating func take(_ details: InterfaceDetails) {
    isVirtual = Self.virtualNames.contains { name.hasPrefix($0) }
    if let kind = details.kinds[index], Self.virtualKinds.contains(kind) { isVirtual = true }
    var plain = address
    if case .v6(let high, let low, _) = plain { plain = .v6(high, low, zone: 0) }
    guard case .v6 = address, let flags = details.addressFlags[.init(index: index, address: plain)] else { return }
    isTemporary = flags & 0x01 != 0  // IFA_F_TEMPORARY
    isDeprecated = flags & 0x20 != 0  // IFA_F_DEPRECATED
    // IFA_F_TENTATIVE, which an optimistic address (RFC 4429) may be used in spite of, and IFA_F_DADFAILED.
    isTentative = flags & 0x40 != 0 && flags & 0x04 == 0 || flags & 0x08 != 0
  }

  /// A veth is not among the kinds: with an address it is as a rule a container's own way out.
  private static let virtualKinds: Set<String> = [
    "bridge", "tun", "dummy", "wireguard", "vxlan", "geneve", "gre", "sit", "ipip", "ip6tnl", "vti", "ifb", "vcan",
  ]
  private static let virtualNames = [
    "docker", "veth", "br-", "virbr", "lxcbr", "lxdbr", "podman", "cni", "flannel", "cali", "vmnet", "vboxnet", "tun",
    "tap", "wg", "zt", "tailscale",
  ]
}

/// Which of the host's addresses become candidates.
package struct InterfaceFilter: Hashable, Sendable {
  package enum Loopback: Hashable, Sendable { case excluded, included, only, whenAlone }

  package var includesVirtual = false
  package var includesLinkLocal = false
  package var loopback = Loopback.excluded

  package init() {}

  /// Chooses, in the order of `addresses`, as RFC 8445 §5.1.1.1 and RFC 6724 §5 want it: none that is tentative, of a kind
  /// that no peer can reach, or deprecated where there is another; of a prefix with a temporary IPv6 address only that.
  /// Virtual interfaces are used where there is nothing else.
  package func choose(from addresses: [InterfaceAddress]) -> [InterfaceAddress] {
    let able = addresses.filter { address in
      !address.isTentative && !address.address.isUnspecified && !address.address.isMulticast
        && !Self.isUnusable(address.address) && (includesLinkLocal || !address.isLinkLocal)
    }
    let inner = able.filter { $0.isLoopback || $0.address.isLoopback }
    if loopback == .only { return inner }
    let outer = Self.preferred(able.filter { !$0.isLoopback && !$0.address.isLoopback })
    let real = outer.filter { !$0.isVirtual }
    let chosen = includesVirtual || real.isEmpty ? outer : real
    return switch loopback {
    case .included: chosen + inner
    case .whenAlone: chosen.isEmpty ? inner : chosen
    case .excluded, .only: chosen
    }
  }

  private static func preferred(_ addresses: [InterfaceAddress]) -> [InterfaceAddress] {
    addresses.filter { address in
      guard case .v6(let prefix, _, _) = address.address else { return true }
      let others = addresses.lazy.filter { other in
        guard case .v6(let otherPrefix, _, _) = other.address else { return false }
        return other.index == address.index && other != address && !other.isDeprecated
          && (address.isDeprecated || otherPrefix == prefix)
      }
      return address.isDeprecated ? others.isEmpty : address.isTemporary || !others.contains(where: \.isTemporary)
    }
  }

  /// Site-local (fec0::/10), IPv4-compatible and IPv4-mapped addresses, which RFC 8445 §5.1.1.1 excludes.
  private static func isUnusable(_ address: IPAddress) -> Bool {
    guard case .v6(let high, let low, _) = address else { return false }
    return high >> 54 == 0x3fb || high == 0 && (low >> 32 == 0xffff || low >> 32 == 0 && low > 1)
  }
}
