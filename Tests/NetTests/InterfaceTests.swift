// InterfaceTests.swift — which addresses there are, which of them serve, and word of their changes.

import CPosix
import Glibc
import Testing
import Wire

@testable import Net

@Suite("Interfaces", .timeLimit(.minutes(1)))
struct InterfaceTests {
  private static func address(
    _ text: String, _ name: String = "eth0", _ change: (inout InterfaceAddress) -> Void = { _ in }
  ) -> InterfaceAddress {
    var address = InterfaceAddress(
      name: name, index: name == "eth0" ? 2 : name == "lo" ? 1 : 3, address: IPAddress(text) ?? .v4(0),
      isLoopback: name == "lo", isPointToPoint: false)
    change(&address)
    return address
  }

  @Test("tentative, site-local, mapped and link-local addresses are passed over; temporary ones stand for their prefix")
  func choice() {
    let all = [
      Self.address("127.0.0.1", "lo"), Self.address("192.0.2.1"), Self.address("169.254.3.4"),
      Self.address("2001:db8::1"), Self.address("2001:db8::aaaa") { $0.isTemporary = true },
      Self.address("2001:db8::bbbb") { ($0.isTemporary, $0.isDeprecated) = (true, true) },
      Self.address("2001:db8:0:1::1"), Self.address("2001:db8:0:1::2") { $0.isTentative = true },
      Self.address("fe80::1%2"), Self.address("fec0::1"), Self.address("::ffff:192.0.2.1"), Self.address("::192.0.2.1"),
      Self.address("172.17.0.1", "docker0") { $0.isVirtual = true },
    ]
    let filter = InterfaceFilter()
    #expect(
      filter.choose(from: all).map(\.address.description)
        == ["192.0.2.1", "2001:db8::aaaa", "2001:db8:0:1::1"])
    var generous = filter
    generous.includesVirtual = true
    generous.includesLinkLocal = true
    generous.loopback = .included
    #expect(
      generous.choose(from: all).map(\.address.description)
        == [
          "192.0.2.1", "169.254.3.4", "2001:db8::aaaa", "2001:db8:0:1::1", "fe80::1%2", "172.17.0.1", "127.0.0.1",
        ])
    var inner = filter
    inner.loopback = .only
    #expect(inner.choose(from: all).map(\.name) == ["lo"])
  }

  @Test("what is all there is serves: a deprecated address, a virtual interface, loopback")
  func leftovers() {
    var filter = InterfaceFilter()
    #expect(filter.choose(from: [Self.address("172.17.0.1", "docker0") { $0.isVirtual = true }]).count == 1)
    #expect(filter.choose(from: [Self.address("2001:db8::1") { $0.isDeprecated = true }]).count == 1)
    #expect(filter.choose(from: [Self.address("127.0.0.1", "lo")]).isEmpty)
    filter.loopback = .whenAlone
    #expect(filter.choose(from: [Self.address("127.0.0.1", "lo")]).count == 1)
    #expect(filter.choose(from: [Self.address("127.0.0.1", "lo"), Self.address("192.0.2.1")]).count == 1)
  }

  @Test("what rtnetlink says is read, and what is cut is no trouble")
  func netlink() {
    // struct ifinfomsg of interface 3, with IFLA_IFNAME and IFLA_LINKINFO { IFLA_INFO_KIND "tun" }.
    let link: [UInt8] =
      [0, 0, 0, 0, 3, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + [8, 0, 3, 0, 120, 49, 0, 0]
      + [12, 0, 18, 0, 8, 0, 1, 0, 116, 117, 110, 0]
    var details = InterfaceDetails()
    for count in 0..<link.count { details.takeLink(Array(link[..<count]).rawSpan) }
    #expect(details.kinds.isEmpty)
    details.takeLink(link.rawSpan)
    #expect(details.kinds == [3: "tun"])
    // struct ifaddrmsg of 2001:db8::1 at interface 3, with IFA_ADDRESS and IFA_FLAGS.
    let address: [UInt8] =
      [10, 64, 0x80, 0, 3, 0, 0, 0] + [20, 0, 1, 0, 0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1]
      + [8, 0, 8, 0, 0x21, 1, 0, 0]
    for count in 0..<address.count { details.takeAddress(Array(address[..<count]).rawSpan) }
    details.takeAddress(address.rawSpan)
    #expect(
      details.addressFlags == [.init(index: 3, address: .v6(0x2001_0db8_0000_0000, 1, zone: 0)): 0x121])
  }

  @Test("the kernel's answer covers every address that getifaddrs has")
  func everyAddressHasFlags() throws {
    let details = InterfaceDetails.read()
    try #require(!details.addressFlags.isEmpty)
    for entry in try NetworkInterfaces.addresses() {
      var plain = entry.address
      if case .v6(let high, let low, _) = plain { plain = .v6(high, low, zone: 0) }
      #expect(details.addressFlags[.init(index: entry.index, address: plain)] != nil, "\(entry)")
    }
  }

  @Test("a change is told once it has settled, to those who watch", .enabled(if: geteuid() == 0))
  func changes() async throws {
    let loop = try EventLoop(name: "watch")
    let (watcher, former) = (Peer(), Peer())
    let told = Gathered<[InterfaceAddress]>()
    // A network of the loop's thread alone, in which nothing else changes.
    let isAlone = try await onLoop(loop) { hasOwnNetwork() }
    guard isAlone else { return loop.shutdown() }
    let before = try await onLoop(loop) {
      try watcher.join(loop)
      try former.join(loop)
      watcher.onInterfaces = { _, addresses in told.add(addresses) }
      former.onInterfaces = { _, _ in Issue.record("told one who has stopped watching") }
      _ = try former.registration?.watchInterfaces()
      let before = try watcher.registration?.watchInterfaces()
      former.registration?.stopWatchingInterfaces()
      // Several changes at once, made from within that network.
      #expect(system("ip link set lo up && ip addr add 192.0.2.77/32 dev lo && ip addr add 192.0.2.78/32 dev lo") == 0)
      return before
    }
    #expect(before == [])
    #expect(await told.wait(for: 1))
    let addresses = Set(told.all[0].map(\.address.description))
    #expect(addresses.isSuperset(of: ["127.0.0.1", "192.0.2.77", "192.0.2.78"]))
    try await onLoop(loop) { #expect(system("ip addr del 192.0.2.77/32 dev lo") == 0) }
    #expect(await told.wait(for: 2))
    #expect(!told.all[1].map(\.address.description).contains("192.0.2.77"))
    #expect(told.all.count == 2)
    try await onLoop(loop) {
      watcher.registration?.leave()
      #expect(loop.isolatedCore.interfaceMonitor == nil)
    }
    loop.shutdown()
  }
}

@Suite("Ports and multicast", .timeLimit(.minutes(1)))
struct PortTests {
  @Test("ports come from the range; a full range says so, and other failures are not hidden by it")
  func range() async throws {
    let loop = try EventLoop(name: "ports")
    let peer = Peer()
    try await onLoop(loop) {
      try peer.join(loop)
      let registration = try #require(peer.registration)
      let range: ClosedRange<UInt16> = 42_700...42_703
      let ports = try (0..<4).map { _ in try registration.openSocket(.anyPortV4, portRange: range).localAddress.port }
      #expect(Set(ports) == Set(range))
      let full = #expect(throws: NetError.self) { try registration.openSocket(.anyPortV4, portRange: range) }
      #expect(full?.code == EADDRINUSE)
      #expect(full?.description.contains("127.0.0.1: none of 4 ports in 42700...42703 is free") == true)
      let elsewhere = SocketAddress(ip: .v4(0xc000_0201), port: 0)
      let foreign = #expect(throws: NetError.self) { try registration.openSocket(elsewhere, portRange: range) }
      #expect(foreign?.code == EADDRNOTAVAIL)
      // A port that was asked for is taken as it is.
      let asked = SocketAddress(ip: .loopbackV4, port: 42_710)
      #expect(try registration.openSocket(asked, portRange: range).localAddress == asked)
    }
    loop.shutdown()
  }

  @Test("identifiers of sockets leave the topmost bit free, however often a place is used")
  func identifiers() async throws {
    let loop = try EventLoop(name: "identifiers")
    let peer = Peer()
    try await onLoop(loop) {
      try peer.join(loop)
      let registration = try #require(peer.registration)
      var seen: Set<SocketID> = []
      for _ in 0..<2_048 {
        let id = try registration.openStreamSocket(local: .anyPortV4, framing: .turn, role: .active).id
        #expect(id.rawValue >> 31 == 0)
        #expect(seen.insert(id).inserted)
        #expect(registration.streamStatistics(of: SocketID(rawValue: id.rawValue | 1 << 31)) == nil)
        registration.closeSocket(id)
      }
    }
    loop.shutdown()
  }

  @Test("a query goes to the group, and the answer to whoever asked", arguments: [true, false])
  func multicast(isV4: Bool) async throws {
    let loop = try EventLoop(name: "multicast")
    let (asker, responders) = (Peer(), [Peer(), Peer()])
    let (asked, answered) = (Collector(), Collector())
    let isAble = try await onLoop(loop) {
      // A network of the loop's thread alone, where that is allowed, so that no other responder answers. Loopback carries
      // multicast of IPv4 only.
      var interface = if_nametoindex("lo")
      if hasOwnNetwork() {
        let commands = [
          "ip link set lo up", "ip link add m0 type veth peer name m1", "ip link set m0 up", "ip link set m1 up",
          "ip addr add 192.0.2.1/24 dev m0", "ip -6 addr add fe80::77/64 dev m0 nodad",
        ]
        #expect(system(commands.joined(separator: " && ")) == 0)
        interface = if_nametoindex("m0")
      } else if !isV4 {
        return false
      }
      try asker.join(loop)
      for responder in responders { try responder.join(loop) }
      asker.socket = try asker.registration?.openMulticastQuerier(interface: interface, isV4: isV4)
      for responder in responders {
        responder.socket = try responder.registration?.openMulticastResponder(interface: interface, isV4: isV4)
      }
      for responder in responders {
        responder.onDatagram = { peer, bytes, route in
          asked.add(bytes.copyBytes())
          peer.send([9] + bytes.copyBytes(), to: route.remote)
        }
      }
      asker.onDatagram = { _, bytes, route in
        #expect(route.remote.port == MulticastDNS.port)
        answered.add(bytes.copyBytes())
      }
      asker.send([1, 2, 3], to: MulticastDNS.destination(isV4: isV4, interface: interface))
      return true
    }
    guard isAble else { return loop.shutdown() }
    #expect(await asked.wait(for: 2), "each responder at the port hears it")
    #expect(await answered.wait(for: 2))
    #expect(asked.all == [[1, 2, 3], [1, 2, 3]])
    #expect(answered.all == [[9, 1, 2, 3], [9, 1, 2, 3]])
    loop.shutdown()
  }
}

// MARK: -

@_silgen_name("unshare")
private func unshare(_ flags: CInt) -> CInt

/// Moves the calling thread, and the programs that it starts, into a network without anything but loopback, which is down.
///
/// - Returns: whether this process may.
private func hasOwnNetwork() -> Bool {
  let cloneNewNetwork: CInt = 0x4000_0000
  return unshare(cloneNewNetwork) == 0
}
