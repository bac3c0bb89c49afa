// UDPSocketTests.swift — sockets by themselves, without a loop: what one thread sends, it receives.

import CPosix
import Glibc
import Testing
import Wire

@testable import Net

@Suite("UDP socket")
struct UDPSocketTests {
  struct Setting: CustomTestStringConvertible, Sendable {
    var address: SocketAddress
    var segments: Bool
    var joins: Bool
    var testDescription: String {
      "\(address.ip.isV4 ? "IPv4" : "IPv6"), \(segments ? "GSO" : "no GSO"), \(joins ? "GRO" : "no GRO")"
    }
    var options: UDPSocketOptions {
      var options = UDPSocketOptions()
      options.segmentsSends = segments
      options.joinsReceives = joins
      return options
    }
    static let all = [SocketAddress.anyPortV4, .anyPortV6].flatMap { address in
      [true, false].flatMap { segments in
        [true, false].map { Setting(address: address, segments: segments, joins: $0) }
      }
    }
  }

  @Test("sizes of every kind arrive apart, intact and in order", arguments: Setting.all)
  func mixedSizes(setting: Setting) throws {
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: setting.address, options: setting.options)
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: setting.address, options: setting.options)
    // Two runs with a short end, single ones, a run that ends because a longer one follows, and the longest there is.
    let sizes =
      Array(repeating: 1_200, count: 100) + [700] + Array(repeating: 900, count: 20) + [4, 1_500, 33]
      + Array(repeating: 64, count: 200) + [65, 65_488, 1_200]
    #expect(sender.segmentsSends == setting.segments)
    #expect(receiver.joinsReceives == setting.joins)

    let received = try exchange(sizes, from: sender, to: receiver)
    #expect(received.numbers == Array(sizes.indices))
    #expect(received.sizes == sizes)
    #expect(received.remotes == [sender.localAddress])
    #expect(sender.statistics.datagramsSent == UInt64(sizes.count))
    #expect(receiver.statistics.datagramsReceived == UInt64(sizes.count))
    #expect(receiver.statistics.bytesReceived == UInt64(sizes.reduce(0, +)))
    #expect(sender.segmentsSends == setting.segments, "nothing here is a reason to stop segmenting")
    if setting.segments { #expect(sender.statistics.sendCalls <= 2) }
  }

  @Test("a kernel that refuses segmentation gets datagrams one by one, for good")
  func refusedSegmentation() throws {
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: .anyPortV4)
    #expect(sender.segmentsSends)
    // Without checksums Linux does not segment: a true refusal.
    var on: Int32 = 1
    #expect(setsockopt(sender.descriptor, SOL_SOCKET, SO_NO_CHECK, &on, socklen_t(MemoryLayout<Int32>.size)) == 0)

    let sizes = Array(repeating: 1_000, count: 150)
    let received = try exchange(sizes, from: sender, to: receiver)
    #expect(received.numbers == Array(sizes.indices))
    #expect(!sender.segmentsSends)
    #expect(sender.statistics.datagramsSent == 150)
    let callsBefore = sender.statistics.sendCalls
    _ = try exchange(Array(repeating: 1_000, count: 60), from: sender, to: receiver)
    #expect(sender.statistics.sendCalls == callsBefore + 1, "it is not tried again")
  }

  @Test("an address that cannot be sent to costs its own datagrams only")
  func badDestinations() throws {
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: .anyPortV4)
    var batch = TransmitBatch(capacity: 1 << 17)
    let bad = [
      SocketAddress(ip: .loopbackV4, port: 0),  // EINVAL
      SocketAddress(ip: .loopbackV6, port: 9),  // the wrong family for this socket
      SocketAddress(ip: .v4(0xffff_ffff), port: 9),  // EACCES: broadcast was not asked for
    ]
    for remote in bad {
      for _ in 0..<3 { append(numbered(7, count: 100), to: remote, from: sender, in: &batch) }
      for _ in 0..<3 { append(numbered(8, count: 100), to: receiver.localAddress, from: sender, in: &batch) }
    }
    var arena = SendArena()
    let sent = sender.send(batch, 0..<batch.datagrams.count, through: &arena)
    #expect(sent == 18)
    #expect(receive(from: receiver, until: 9).numbers == Array(repeating: 8, count: 9))
    #expect(sender.statistics.datagramsSent == 9)
    let statistics = sender.statistics
    #expect(statistics.droppedOther + statistics.droppedUnreachable == 9)
    #expect(sender.segmentsSends, "a bad address says nothing about segmentation")
  }

  @Test("a datagram larger than UDP carries is dropped and counted")
  func tooLarge() throws {
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: .anyPortV4)
    let received = try exchange([100, 65_520, 101], from: sender, to: receiver, expecting: 2)
    #expect(received.sizes == [100, 101])
    #expect(sender.statistics.droppedTooLarge == 1)
  }

  @Test("where the device carries less, what is too long is lost, whether in a run or not, and the rest arrives")
  func deviceWithSmallMTU() throws {
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: SocketAddress(ip: .loopbackV6, port: 0))
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: SocketAddress(ip: .loopbackV6, port: 0))
    // The socket's own limit stands in for the device's.
    let ipv6MTU: Int32 = 24
    var mtu: Int32 = 1_280
    let size = socklen_t(MemoryLayout<Int32>.size)
    #expect(setsockopt(sender.descriptor, Int32(IPPROTO_IPV6), ipv6MTU, &mtu, size) == 0)
    let sizes = [1_232] + Array(repeating: 1_300, count: 5) + [50, 1_300, 1_233, 1_232, 1_232]
    let received = try exchange(sizes, from: sender, to: receiver, expecting: 4)
    #expect(received.sizes == [1_232, 50, 1_232, 1_232])
    #expect(sender.statistics.droppedTooLarge == 7)
    #expect(sender.segmentsSends, "that says nothing about segmentation")
  }

  @Test("a full buffer stops a send where it is")
  func blocked() throws {
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: .anyPortV4)
    var batch = TransmitBatch(capacity: 1 << 17)
    for index in 0..<10 { append(numbered(index, count: 50), to: receiver.localAddress, from: sender, in: &batch) }
    var arena = SendArena()
    sender.simulatedFullBuffers = 1
    let first = sender.send(batch, 0..<10, through: &arena)
    #expect(first == 0)
    #expect(sender.statistics.timesBlocked == 1)
    let second = sender.send(batch, first..<10, through: &arena)
    #expect(second == 10)
    #expect(receive(from: receiver, until: 10).numbers == Array(0..<10))
  }

  @Test("an empty datagram is passed over")
  func emptyDatagram() throws {
    let receiver = try UDPSocket(id: SocketID(rawValue: 2), binding: .anyPortV4)
    let sender = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    var name = sockaddr_in6()
    let length = receiver.localAddress.write(to: &name)
    let sent = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sendto(sender.descriptor, nil, 0, 0, $0, length) }
    }
    #expect(sent == 0)
    let received = try exchange([20], from: sender, to: receiver)
    #expect(received.sizes == [20])
    #expect(receiver.statistics.receivedUnusable == 1)
  }

  @Test("several MiB of buffer are asked for, and what was granted is told")
  func buffers() throws {
    let socket = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    #expect(socket.receiveBufferSize > 212_992, "more than the default")
    #expect(socket.sendBufferSize > 212_992)
    var small = UDPSocketOptions()
    small.receiveBufferSize = 100_000
    #expect(try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4, options: small).receiveBufferSize == 200_000)
  }

  @Test("a port is chosen, or taken as given; one that is taken is an error")
  func ports() throws {
    let socket = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    #expect(socket.localAddress.port != 0)
    let error = #expect(throws: NetError.self) {
      _ = try UDPSocket(id: SocketID(rawValue: 2), binding: socket.localAddress)
    }
    #expect(error?.operation == "bind")
    #expect(error?.code == EADDRINUSE)
    // IPv6 sockets leave the IPv4 port alone.
    let other = SocketAddress(ip: .loopbackV6, port: socket.localAddress.port)
    #expect(try UDPSocket(id: SocketID(rawValue: 2), binding: other).localAddress == other)
  }
}

@Suite("Addresses")
struct AddressTests {
  @Test(
    "survive the kernel's structures",
    arguments: [
      "192.0.2.7:65535", "0.0.0.0:0", "[2001:db8::17]:5000", "[fe80::1%3]:1", "[::1]:443",
    ])
  func roundTrip(text: String) throws {
    let address = try #require(SocketAddress(text))
    var slot = sockaddr_in6()
    let length = address.write(to: &slot)
    #expect(length == (address.ip.isV4 ? 16 : 28))
    #expect(SocketAddress(reading: &slot) == address)
    #expect(slot.sin6_port == address.port.bigEndian)
  }

  @Test("another family is refused")
  func unknownFamily() {
    var slot = sockaddr_in6()
    slot.sin6_family = sa_family_t(AF_UNIX)
    #expect(SocketAddress(reading: &slot) == nil)
  }

  @Test("the host's include loopback, flagged")
  func interfaces() throws {
    let addresses = try NetworkInterfaces.addresses()
    let loopback = try #require(addresses.first { $0.address == .loopbackV4 })
    #expect(loopback.isLoopback)
    #expect(loopback.index != 0)
    #expect(!loopback.isLinkLocal)
    for address in addresses {
      #expect(address.isLoopback == address.address.isLoopback || address.isLoopback)
      if case .v6(_, _, let zone) = address.address, address.isLinkLocal { #expect(zone == address.index) }
    }
  }
}

@Suite("Deadline heap")
struct DeadlineHeapTests {
  @Test("yields what a sorted list would, through every kind of change", arguments: 1...20 as ClosedRange<UInt64>)
  func matchesModel(seed: UInt64) {
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var heap = DeadlineHeap()
    var model: [Int: Instant] = [:]
    for _ in 0..<5_000 {
      switch random(10) {
      case 0..<6:
        let slot = random(300)
        let deadline = Instant(nanoseconds: Int64(random(1_000)))
        heap.update(slot, to: deadline)
        model[slot] = deadline
      case 6..<8:
        let slot = random(300)
        heap.update(slot, to: nil)
        model[slot] = nil
      default:
        let now = Instant(nanoseconds: Int64(random(500)))
        let due = heap.popDue(now: now)
        let least = model.values.min().flatMap { $0 <= now ? $0 : nil }
        #expect(due.flatMap { model[$0] } == least, "seed \(seed)")
        if let due { model[due] = nil }
      }
      #expect(heap.count == model.count)
      #expect(heap.earliest == model.values.min())
    }
  }
}

// MARK: -

private struct Received {
  var numbers: [Int?] = []
  var sizes: [Int] = []
  var remotes: Set<SocketAddress> = []
}

private func append(
  _ bytes: [UInt8], to remote: SocketAddress, from socket: UDPSocket, in batch: inout TransmitBatch
) {
  _ = batch.append(maximum: bytes.count) { out in
    out.writeBytes(bytes)
    return Route(socket: socket.id, remote: remote)
  }
}

/// Sends numbered datagrams of these sizes in one batch, and receives them.
private func exchange(
  _ sizes: [Int], from sender: UDPSocket, to receiver: UDPSocket, expecting count: Int? = nil
) throws -> Received {
  var batch = TransmitBatch(capacity: 1 << 20)
  for (index, size) in sizes.enumerated() {
    append(numbered(index, count: size), to: receiver.localAddress, from: sender, in: &batch)
  }
  var arena = SendArena()
  let sent = sender.send(batch, 0..<sizes.count, through: &arena)
  #expect(sent == sizes.count)
  return receive(from: receiver, until: count ?? sizes.count)
}

/// Loopback delivers within the send call, so what was sent is there; an empty socket ends the wait.
private func receive(from socket: UDPSocket, until count: Int) -> Received {
  var batch = ReceiveBatch()
  var received = Received()
  while received.sizes.count < count {
    _ = socket.receive(into: &batch)
    guard !batch.isEmpty else { return received }
    let before = received.sizes.count
    batch.forEach { bytes, route in
      received.numbers.append(number(of: bytes))
      received.sizes.append(bytes.byteCount)
      received.remotes.insert(route.remote)
    }
    let datagramCount = batch.datagramCount
    #expect(received.sizes.count - before == datagramCount)
  }
  return received
}
