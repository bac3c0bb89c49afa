// SharedSocketTests.swift — one port for many: who gets what, what strangers leave behind, and turns while it is full.

import Synchronization
import Testing
import Wire

@testable import Net

@Suite("Shared socket", .timeLimit(.minutes(1)))
struct SharedSocketTests {
  /// Stands in for the STUN parser: byte 0 is the class, bytes 4 to 7 the transaction, and what follows the fragment.
  static func classify(_ datagram: RawSpan) -> SharedDatagramKind {
    guard datagram.byteCount >= 8 else { return .other }
    let transaction = SharedTransaction(high: datagram.uint32(at: 4), low: 0)
    switch datagram.byte(at: 0) {
    case 0:
      let fragment = String(decoding: datagram.extracting(8..<datagram.byteCount).copyBytes(), as: UTF8.self)
      return .request(localFragment: fragment.isEmpty ? nil : fragment, transaction: transaction)
    case 1: return .response(transaction)
    default: return .other
    }
  }

  static func request(_ number: UInt8, for fragment: String = "") -> [UInt8] {
    [0, 0, 0, 0, 0, 0, 0, number] + Array(fragment.utf8)
  }
  static func response(_ number: UInt8) -> [UInt8] { [1, 0, 0, 0, 0, 0, 0, number] }
  static func data(_ number: UInt8) -> [UInt8] { [0x80, number] }

  struct World: Sendable {
    let loop: EventLoop
    let shared: SharedSocket
    let peers = [Peer(), Peer(), Peer()]
    let received = [Collector(), Collector(), Collector()]
    var address: SocketAddress { shared.socket.localAddress }

    init() async throws {
      let loop = try EventLoop(name: "shared")
      self.loop = loop
      shared = try await onLoop(loop) { try loop.openSharedSocket(.anyPortV4, classify: SharedSocketTests.classify) }
      let (shared, peers, received) = (shared, peers, received)
      try await onLoop(loop) {
        for (index, peer) in peers.enumerated() {
          try peer.join(loop)
          peer.socket = try peer.registration?.join(shared, fragment: "peer\(index)")
          peer.onDatagram = { _, bytes, _ in received[index].add(bytes.copyBytes()) }
        }
      }
    }

    var statistics: SharedSocketStatistics {
      get async throws {
        let shared = shared
        return try await onLoop(loop) { shared.statistics ?? SharedSocketStatistics() }
      }
    }
  }

  /// A socket outside, whose sends are there when the call returns.
  struct Outside: @unchecked Sendable {
    let socket: UDPSocket
    init() throws { socket = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4) }

    func send(_ datagrams: [[UInt8]], to address: SocketAddress) {
      var batch = TransmitBatch(capacity: 1 << 17)
      for bytes in datagrams {
        _ = batch.append(maximum: bytes.count) { out in
          out.writeBytes(bytes)
          return Route(socket: socket.id, remote: address)
        }
      }
      var arena = SendArena()
      let sent = socket.send(batch, 0..<datagrams.count, through: &arena)
      #expect(sent == datagrams.count)
    }
  }

  @Test("requests go by fragment, also when they came as one run; then addresses belong to who sends to them")
  func dispatch() async throws {
    let world = try await World()
    let outside = try [Outside(), Outside(), Outside()]
    // One run of equal sizes, for three participants, from one address.
    outside[0].send((0..<9).map { Self.request(UInt8($0), for: "peer\($0 % 3)") }, to: world.address)
    for index in 0..<3 {
      #expect(await world.received[index].wait(for: 3))
      #expect(world.received[index].all == [0, 3, 6].map { Self.request(UInt8($0 + index), for: "peer\(index)") })
    }
    #expect(try await world.statistics.addresses == 0, "nothing is learnt from what arrives")
    // Data from an address that nobody has sent to is nobody's.
    outside[1].send([Self.data(1)], to: world.address)
    #expect(try await eventually(world.loop) { world.shared.statistics?.droppedUnknown == 1 })
    try await onLoop(world.loop) {
      for (index, peer) in world.peers.enumerated() { peer.send(Self.data(9), to: outside[index].socket.localAddress) }
    }
    #expect(try await eventually(world.loop) { world.shared.statistics?.addresses == 3 })
    for index in 0..<3 { outside[index].send([Self.data(UInt8(index)), Self.data(7)], to: world.address) }
    for index in 0..<3 {
      #expect(await world.received[index].wait(for: 5))
      #expect(world.received[index].all.suffix(2) == [Self.data(UInt8(index)), Self.data(7)])
    }
    world.loop.shutdown()
  }

  @Test("responses go to who asked, whosever the address is; the first keeps the address")
  func responses() async throws {
    let world = try await World()
    let server = try Outside()
    let address = server.socket.localAddress
    for index in 0..<3 {
      try await onLoop(world.loop) { world.peers[index].send(Self.request(UInt8(index)), to: address) }
      #expect(try await eventually(world.loop) { world.peers[index].outbox.isEmpty })
    }
    #expect(try await world.statistics.addresses == 1)
    server.send([2, 1, 0].map { Self.response($0) } + [Self.data(5)], to: world.address)
    for index in 0..<3 { #expect(await world.received[index].wait(for: 1)) }
    #expect(await world.received[0].wait(for: 2))
    #expect(world.received[0].all == [Self.response(0), Self.data(5)])
    #expect(world.received[1].all == [Self.response(1)])
    #expect(world.received[2].all == [Self.response(2)])
    world.loop.shutdown()
  }

  @Test("a flood from unknown addresses leaves no trace, and what is wanted still arrives")
  func flood() async throws {
    let world = try await World()
    let strangers = try (0..<20).map { _ in try Outside() }
    for round in 0..<50 {
      for stranger in strangers {
        stranger.send(
          [Self.request(1, for: "nobody"), Self.data(2), Self.response(UInt8(round)), Self.request(3, for: "peer1")],
          to: world.address)
      }
      // Bounded by the receive buffer, not by luck: one round at a time.
      #expect(await world.received[1].wait(for: (round + 1) * strangers.count))
    }
    let statistics = try await world.statistics
    #expect(statistics.addresses == 0)
    #expect(statistics.droppedUnknown == 3_000)
    #expect(world.received[0].all.isEmpty)
    world.loop.shutdown()
  }

  @Test("one who leaves takes its fragments and addresses along; the others go on")
  func leaving() async throws {
    let world = try await World()
    let outside = try Outside()
    try await onLoop(world.loop) {
      world.peers[0].send(Self.request(1), to: outside.socket.localAddress)
      try world.peers[0].registration?.addFragment("second", on: world.shared.socket.id)
      #expect(throws: NetError.self) {
        try world.peers[1].registration?.addFragment("second", on: world.shared.socket.id)
      }
    }
    outside.send([Self.request(1, for: "second")], to: world.address)
    #expect(await world.received[0].wait(for: 1))
    try await onLoop(world.loop) {
      world.peers[0].registration?.leave()
      let next = Peer()
      try next.join(world.loop)
      #expect(
        next.registration?.slot == world.peers[0].registration?.slot, "its slot has a new tenant, who is not served")
      next.onDatagram = { _, _, _ in Issue.record("a datagram for one who has left") }
    }
    outside.send(
      [Self.request(1, for: "second"), Self.request(1, for: "peer0"), Self.data(1), Self.response(1)], to: world.address
    )
    outside.send([Self.request(1, for: "peer2")], to: world.address)
    #expect(await world.received[2].wait(for: 1))
    let statistics = try await world.statistics
    #expect(statistics.participants == 2)
    #expect(statistics.addresses == 0)
    #expect(statistics.droppedUnknown == 4)
    try await onLoop(world.loop) {
      world.shared.close()
      #expect(world.shared.statistics == nil)
      #expect(world.peers[1].registration?.isBlocked == false)
    }
    world.loop.shutdown()
  }

  @Test("while the socket is full nobody is drained; then those who waited come first, in their order")
  func blocked() async throws {
    let world = try await World()
    let outside = try Outside()
    let order = Mutex<[Int]>([])
    try await onLoop(world.loop) {
      let bound = try #require(world.loop.isolatedCore.socket(world.shared.socket.id))
      bound.socket.simulatedFullBuffers = 2
      for (index, peer) in world.peers.enumerated() {
        peer.onDrain = { peer in if !peer.outbox.isEmpty { order.withLock { $0.append(index) } } }
        peer.send(Self.data(UInt8(index)), to: outside.socket.localAddress)
        peer.send(Self.data(UInt8(index)), to: outside.socket.localAddress)
      }
    }
    #expect(try await eventually(world.loop) { world.peers.allSatisfy { $0.outbox.isEmpty } })
    #expect(order.withLock { $0 } == [0, 1, 2], "each is drained once: the blocked ones only when there is room")
    try await onLoop(world.loop) {
      #expect(world.loop.statistics.droppedUnsent == 0)
      #expect(world.peers[0].registration?.isBlocked == false)
    }
    var batch = ReceiveBatch()
    var arrived: [UInt8] = []
    while outside.socket.receive(into: &batch) || !batch.isEmpty {
      batch.forEach { bytes, _ in arrived.append(bytes.byte(at: 1)) }
    }
    #expect(arrived == [0, 0, 1, 1, 2, 2])
    world.loop.shutdown()
  }

  @Test("a participant's addresses are bounded: the longest unused goes")
  func boundedAddresses() throws {
    let directory = SharedDirectory(classify: { _ in .other })
    try directory.add(3, fragment: "a")
    var batch = TransmitBatch(capacity: 1 << 16)
    for port in 1...1_000 as ClosedRange<UInt16> {
      _ = batch.append(maximum: 1) { out in
        out.append(0x80, as: UInt8.self)
        return Route(socket: SocketID(rawValue: 0), remote: SocketAddress(ip: .loopbackV4, port: port))
      }
    }
    for index in 0..<1_000 {
      let isMember = directory.note(index..<(index + 1), of: batch, by: 3, now: Instant(nanoseconds: Int64(index)))
      #expect(isMember)
    }
    let isMember = directory.note(0..<1, of: batch, by: 4, now: Instant(nanoseconds: 0))
    #expect(!isMember)
    #expect(directory.statistics.addresses == 128)
    let bytes: [UInt8] = [0x80]
    let newest = directory.owner(of: bytes.rawSpan, from: SocketAddress(ip: .loopbackV4, port: 1_000))
    let oldest = directory.owner(of: bytes.rawSpan, from: SocketAddress(ip: .loopbackV4, port: 1))
    #expect(newest == 3)
    #expect(oldest == nil)
  }
}
