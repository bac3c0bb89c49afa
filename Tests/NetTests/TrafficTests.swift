// TrafficTests.swift — datagrams from loop to loop: order, back-pressure, fairness, and a printed throughput.

import Synchronization
import Testing
import Wire

import Net

@Suite("Traffic", .serialized, .timeLimit(.minutes(2)))
struct TrafficTests {
  struct Pair {
    let loops: [EventLoop]
    let sender = Peer()
    let receiver = Peer()
    let receiverAddress: SocketAddress

    init(_ address: SocketAddress, options: UDPSocketOptions = .init()) async throws {
      loops = [try EventLoop(name: "sender"), try EventLoop(name: "receiver")]
      let (sender, receiver, loops) = (sender, receiver, loops)
      try await onLoop(loops[0]) { try sender.join(loops[0], address, options: options) }
      receiverAddress = try await onLoop(loops[1]) {
        try receiver.join(loops[1], address, options: options)
        return try #require(receiver.socket).localAddress
      }
    }
    func end() { for loop in loops { loop.shutdown() } }
  }

  @Test("goes from loop to loop in order", arguments: UDPSocketTests.Setting.all)
  func loopToLoop(setting: UDPSocketTests.Setting) async throws {
    let pair = try await Pair(setting.address, options: setting.options)
    let (sender, receiver, address) = (pair.sender, pair.receiver, pair.receiverAddress)
    let done = Signal()
    let count = 1_000
    let numbers = Mutex<[Int?]>([])
    try await onLoop(pair.loops[1]) {
      receiver.onDatagram = { _, bytes, _ in
        let received = numbers.withLock { numbers in
          numbers.append(number(of: bytes))
          return numbers.count
        }
        if received == count { done.fire() }
      }
    }
    try await onLoop(pair.loops[0]) {
      for index in 0..<count { sender.send(numbered(index, count: index % 10 == 0 ? 300 : 1_200), to: address) }
    }
    #expect(await done.wait())
    #expect(numbers.withLock { $0 } == Array(0..<count))
    pair.end()
  }

  @Test("a full socket holds its owner back, keeps what was drained, and goes on when it can")
  func backPressure() async throws {
    let pair = try await Pair(.anyPortV4)
    let (sender, receiver, address) = (pair.sender, pair.receiver, pair.receiverAddress)
    let done = Signal()
    let count = 1_000
    let numbers = Mutex<[Int?]>([])
    try await onLoop(pair.loops[1]) {
      receiver.onDatagram = { _, bytes, _ in
        let received = numbers.withLock { numbers in
          numbers.append(number(of: bytes))
          return numbers.count
        }
        if received == count { done.fire() }
      }
    }
    let loop = pair.loops[0]
    let (blockedSocket, id) = try await onLoop(loop) {
      let id = try #require(sender.socket).id
      let socket = try #require(loop.isolatedCore.socket(id)).socket
      // Full at once, and still full the first two times that it says it is writable.
      socket.simulatedFullBuffers = 3
      for index in 0..<count { sender.send(numbered(index, count: 1_200), to: address) }
      return (Unchecked(socket), id)
    }
    #expect(await done.wait())
    #expect(numbers.withLock { $0 } == Array(0..<count), "nothing is lost, repeated or overtaken")
    try await onLoop(loop) {
      #expect(blockedSocket.value.statistics.timesBlocked == 3)
      #expect(sender.registration?.isBlocked == false)
      #expect(loop.statistics.droppedUnsent == 0)
      #expect(loop.isolatedCore.socket(id)?.unsent.isEmpty == true)
    }
    pair.end()
  }

  @Test("while blocked, a participant is not drained, but its timeouts and datagrams arrive")
  func blockedParticipant() async throws {
    let pair = try await Pair(.anyPortV4)
    let (sender, receiver, address) = (pair.sender, pair.receiver, pair.receiverAddress)
    let (timedOut, arrived, flushed) = (Signal(), Signal(), Signal())
    let loop = pair.loops[0]
    let senderAddress = try await onLoop(loop) {
      let socket = try #require(sender.socket)
      let bound = try #require(loop.isolatedCore.socket(socket.id)).socket
      bound.simulatedFullBuffers = Int.max
      sender.send(numbered(1, count: 100), to: address)
      return socket.localAddress
    }
    #expect(try await eventually(loop) { sender.registration?.isBlocked == true })
    let drains = try await onLoop(loop) {
      sender.deadline = loop.now + .milliseconds(1)
      sender.onTimeout = { _, _ in timedOut.fire() }
      sender.onDatagram = { _, _, _ in arrived.fire() }
      sender.send(numbered(2, count: 100), to: address)
      return sender.drains
    }
    try await onLoop(pair.loops[1]) {
      receiver.send(numbered(9, count: 10), to: senderAddress)
      receiver.onDatagram = { _, bytes, _ in if number(of: bytes) == 2 { flushed.fire() } }
    }
    #expect(await timedOut.wait())
    #expect(await arrived.wait())
    try await onLoop(loop) {
      #expect(sender.drains == drains)
      #expect(sender.outbox.count == 1)
      let id = try #require(sender.socket).id
      loop.isolatedCore.socket(id)?.socket.simulatedFullBuffers = 0
    }
    #expect(await flushed.wait())
    pair.end()
  }

  @Test("closing a blocked socket lets its owner go on with its others")
  func closeBlockedSocket() async throws {
    let pair = try await Pair(.anyPortV4)
    let (sender, receiver, address) = (pair.sender, pair.receiver, pair.receiverAddress)
    let arrived = Signal()
    let loop = pair.loops[0]
    try await onLoop(pair.loops[1]) {
      receiver.onDatagram = { _, bytes, _ in if number(of: bytes) == 2 { arrived.fire() } }
    }
    let blocked = try await onLoop(loop) {
      let first = try #require(sender.socket)
      loop.isolatedCore.socket(first.id)?.socket.simulatedFullBuffers = Int.max
      sender.send(numbered(1, count: 100), to: address)
      return first
    }
    #expect(try await eventually(loop) { sender.registration?.isBlocked == true })
    try await onLoop(loop) {
      sender.socket = try sender.registration?.openSocket(.anyPortV4)
      sender.send(numbered(2, count: 100), to: address)
      sender.registration?.closeSocket(blocked.id)
      #expect(sender.registration?.isBlocked == false)
    }
    #expect(await arrived.wait())
    pair.end()
  }

  @Test("one that always has more to send takes turns with the others")
  func fairness() async throws {
    let loop = try EventLoop(name: "fair")
    let (greedy, modest) = (Endless(), Peer())
    let sink = try UDPSocket(id: SocketID(rawValue: 1), binding: .anyPortV4)
    let address = sink.localAddress
    let fired = Signal()
    try await onLoop(loop) {
      try greedy.join(loop, to: address)
      try modest.join(loop, .anyPortV4)
      modest.deadline = loop.now + .milliseconds(2)
      modest.onTimeout = { _, _ in fired.fire() }
    }
    #expect(await fired.wait(), "timeouts come through")
    // Jobs and drains of others do, too; and in each turn the greedy one gets no more than its rounds.
    let before = try await onLoop(loop) { (loop.statistics.turns, greedy.drains) }
    for _ in 0..<20 {
      let drains = try await onLoop(loop) {
        modest.registration?.touch()
        return modest.drains
      }
      #expect(try await eventually(loop) { modest.drains > drains })
    }
    let after = try await onLoop(loop) { (loop.statistics.turns, greedy.drains) }
    let turns = Int(after.0 - before.0)
    #expect(turns > 0)
    #expect(after.1 - before.1 <= turns * EventLoopConfiguration().roundsPerTurn)
    try await onLoop(loop) { greedy.registration?.leave() }
    loop.shutdown()
  }

  @Test("datagrams for a socket that is closed are dropped and counted")
  func closedSocket() async throws {
    let pair = try await Pair(.anyPortV4)
    let (sender, address, loop) = (pair.sender, pair.receiverAddress, pair.loops[0])
    try await onLoop(loop) {
      sender.send(numbered(1, count: 100), to: address)
      sender.registration?.closeSocket(try #require(sender.socket).id)
    }
    #expect(try await eventually(loop) { loop.statistics.droppedWithoutSocket == 1 })
    pair.end()
  }

  @Test("a datagram goes there and back between two sleeping loops")
  func roundTrip() async throws {
    let pair = try await Pair(.anyPortV4)
    let (sender, receiver, address) = (pair.sender, pair.receiver, pair.receiverAddress)
    let done = Signal()
    let rounds = 5_000
    let times = Mutex<[Interval]>([])
    try await onLoop(pair.loops[1]) {
      receiver.onDatagram = { peer, bytes, route in peer.send(bytes.copyBytes(), to: route.remote) }
    }
    try await onLoop(pair.loops[0]) {
      var start = MonotonicClock.now()
      var round = 0
      sender.onDatagram = { peer, bytes, _ in
        #expect(number(of: bytes) == round)
        let now = MonotonicClock.now()
        times.withLock { $0.append(now - start) }
        start = now
        round += 1
        if round == rounds { done.fire() } else { peer.send(numbered(round, count: 64), to: address) }
      }
      sender.send(numbered(0, count: 64), to: address)
    }
    #expect(await done.wait())
    let sorted = times.withLock { $0.sorted() }
    try #require(sorted.count == rounds)
    print(
      "round trip of 64 bytes between two loops: p50 \(sorted[rounds / 2].nanoseconds / 1_000) µs, "
        + "p99 \(sorted[rounds * 99 / 100].nanoseconds / 1_000) µs")
    pair.end()
  }

  @Test("throughput of 1,200-byte datagrams, with GSO and GRO, and without", arguments: [true, false])
  func throughput(offload: Bool) async throws {
    let options = UDPSocketTests.Setting(address: .anyPortV4, segments: offload, joins: offload).options
    let loops = [try EventLoop(name: "source"), try EventLoop(name: "sink")]
    let (source, sink) = (Endless(), Counting())
    let address = try await onLoop(loops[1]) { try sink.join(loops[1], options: options) }
    let start = MonotonicClock.now()
    sink.enough = offload ? 2_000_000 : 300_000
    try await onLoop(loops[0]) { try source.join(loops[0], to: address, options: options) }
    #expect(await sink.done.wait(seconds: 60))
    let elapsed = MonotonicClock.now() - start
    let sent = try await onLoop(loops[0]) {
      source.registration?.leave()
      return source.datagrams
    }
    let received = sink.enough
    let gigabits = Double(received) * 1_200 * 8 / Double(elapsed.nanoseconds)
    print(
      "loop to loop, \(offload ? "GSO + GRO" : "sendmmsg"): \(Double(Int(gigabits * 100)) / 100) Gbit/s received, "
        + "\(received * 100 / max(sent, 1)) % of what was sent")
    for loop in loops { loop.shutdown() }
    // A debug build on a shared machine is no benchmark; this only catches a path that has lost its batches.
    #expect(gigabits > 0.2)
  }
}

// MARK: -

private struct Unchecked<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

/// Always has more to send.
private final class Endless: EventLoopParticipant, @unchecked Sendable {
  var registration: EventLoopRegistration?
  var route = Route(socket: SocketID(rawValue: 0), remote: .anyPortV4)
  let payload = numbered(0, count: 1_200)
  var drains = 0
  var datagrams = 0

  func join(_ loop: EventLoop, to address: SocketAddress, options: UDPSocketOptions = .init()) throws {
    let registration = loop.register(self)
    self.registration = registration
    route = Route(socket: try registration.openSocket(.anyPortV4, options: options).id, remote: address)
  }
  func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {}
  func timeout(now: Instant) {}
  var deadline: Instant? { nil }
  func drain(into batch: inout TransmitBatch, now: Instant) -> Bool {
    drains += 1
    while batch.hasRoom(for: payload.count) {
      _ = batch.append(maximum: payload.count) { out in
        out.writeBytes(payload)
        return route
      }
      datagrams += 1
    }
    return true
  }
}

private final class Counting: EventLoopParticipant, @unchecked Sendable {
  let done = Signal()
  var enough = 0
  private var received = 0
  private var registration: EventLoopRegistration?

  func join(_ loop: EventLoop, options: UDPSocketOptions) throws -> SocketAddress {
    let registration = loop.register(self)
    self.registration = registration
    return try registration.openSocket(.anyPortV4, options: options).localAddress
  }
  func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {
    let before = received
    batch.forEach { bytes, _ in if bytes.byteCount == 1_200 { received += 1 } }
    if before < enough, received >= enough { done.fire() }
  }
  func timeout(now: Instant) {}
  var deadline: Instant? { nil }
  func drain(into batch: inout TransmitBatch, now: Instant) -> Bool { false }
}
