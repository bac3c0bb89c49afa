// StreamAbuseTests.swift — connections that say nothing, too little, too slowly or too much, and those that do not read.

import Glibc
import Testing
import Wire

@testable import Net

@Suite("Stream socket, abused", .serialized, .timeLimit(.minutes(1)))
struct StreamAbuseTests {
  @Test("one that is accepted and says nothing is closed at its deadline, unannounced")
  func silent() async throws {
    var configuration = EventLoopConfiguration()
    configuration.streams.firstFrame = .milliseconds(20)
    let world = try await StreamWorld(configuration)
    let closed = Closures()
    try await onLoop(world.loop) { world.passive.onRouteClosed = { _, route, error in closed.add(route, error) } }
    let raw = try RawStream(to: world.address)
    #expect(raw.isClosedByPeer())
    let statistics = try await world.statistics().passive
    #expect(statistics.connections == 0)
    #expect(statistics.brokenConnections == 1)
    #expect(closed.all.isEmpty, "the owner has never heard of it")
    world.end()
  }

  @Test("a frame that does not end is closed at its deadline, which no further byte moves")
  func slowLoris() async throws {
    var configuration = EventLoopConfiguration()
    configuration.streams.frame = .milliseconds(60)
    let world = try await StreamWorld(configuration)
    let closed = Closures()
    let received = Collector()
    try await onLoop(world.loop) {
      world.passive.onRouteClosed = { _, route, error in closed.add(route, error) }
      world.passive.onDatagram = { _, bytes, _ in received.add(bytes.copyBytes()) }
    }
    let raw = try RawStream(to: world.address)
    raw.send(framed(stunMessage()) + [0xff, 0xff])
    #expect(await received.wait(for: 1))
    // A byte whenever the loop has seen the one before: far more often than the deadline is long.
    var bytes = 0
    while closed.all.isEmpty, bytes < 100_000 {
      raw.send([0])
      bytes += 1
      _ = try await onLoop(world.loop) { true }
    }
    #expect(bytes < 65_535, "closed before the frame could be whole")
    #expect(await closed.wait(for: 1))
    #expect(closed.all.first?.error?.code == ETIMEDOUT)
    #expect(received.all.count == 1)
    let statistics = try await world.statistics().passive
    #expect(statistics.brokenConnections == 1)
    world.end()
  }

  @Test("one that speaks something else is closed at once", arguments: [StreamFraming.rfc4571, .turn])
  func foreign(framing: StreamFraming) async throws {
    let world = try await StreamWorld(framing: framing)
    for text in [
      "GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}",
    ] {
      let raw = try RawStream(to: world.address)
      raw.send(Array(text.utf8))
      #expect(raw.isClosedByPeer(), "\(text)")
    }
    let statistics = try await world.statistics().passive
    #expect(statistics.connections == 0)
    #expect(statistics.brokenConnections == 3)
    #expect(statistics.datagramsReceived == 0)
    world.end()
  }

  @Test("a flood of silent connections is bounded, and does not keep out one that speaks")
  func flood() async throws {
    let world = try await StreamWorld()
    let received = Collector()
    try await onLoop(world.loop) { world.passive.onDatagram = { _, bytes, _ in received.add(bytes.copyBytes()) } }
    let limits = StreamLimits()
    var raws: [RawStream] = []
    for index in 0..<300 {
      raws.append(try RawStream(to: world.address))
      guard index % 50 == 49 else { continue }
      let speaker = try RawStream(to: world.address)
      speaker.send(framed(stunMessage(index)))
      raws.append(speaker)
      #expect(await received.wait(for: index / 50 + 1))
      let statistics = try await world.statistics().passive
      #expect(statistics.connections <= limits.silentConnections + index / 50 + 1)
    }
    // All but those that are silent still, and those that have spoken.
    #expect(
      try await eventually(world.loop) {
        let id = try #require(world.passive.socket).id
        return world.passive.registration?.streamStatistics(of: id)?.refusedConnections == 306 - 15 - 6
      })
    world.end()
  }

  @Test("connections that speak are bounded too, and those that stand go on")
  func tooMany() async throws {
    var configuration = EventLoopConfiguration()
    configuration.streams.connections = 5
    let world = try await StreamWorld(configuration)
    let received = Collector()
    try await onLoop(world.loop) { world.passive.onDatagram = { _, bytes, _ in received.add(bytes.copyBytes()) } }
    var raws: [RawStream] = []
    for index in 0..<5 {
      let raw = try RawStream(to: world.address)
      raw.send(framed(stunMessage(index)))
      raws.append(raw)
      #expect(await received.wait(for: index + 1))
    }
    #expect(try RawStream(to: world.address).isClosedByPeer())
    raws[0].send(framed(stunMessage(9)))
    #expect(await received.wait(for: 6))
    // The active side has the same bound.
    let listeners = try (0..<6).map { _ in try RawListener() }
    try await onLoop(world.loop) {
      for listener in listeners { world.active.send(stunMessage(), to: listener.address) }
    }
    #expect(
      try await eventually(world.loop) {
        let id = try #require(world.active.socket).id
        return world.active.registration?.streamStatistics(of: id)?.droppedWithoutConnection == 1
      })
    #expect(try await world.statistics().active.connections == 5)
    world.end()
  }

  @Test("what a peer that does not read leaves no room for is dropped and counted; the rest arrives whole, in order")
  func backPressure() async throws {
    let listener = try RawListener()
    let world = try await ActiveWorld()
    let count = 20_000
    try await onLoop(world.loop) {
      world.active.send(stunMessage(), to: listener.address)
      for index in 0..<count { world.active.send(numbered(index, count: 1_200), to: listener.address) }
    }
    let raw = try listener.accept()
    #expect(try await eventually(world.loop) { world.active.outbox.isEmpty })
    let statistics = try await world.statistics()
    #expect(statistics.droppedNoRoom > 0)
    #expect(statistics.datagramsSent + statistics.droppedNoRoom == UInt64(count + 1))
    // All that was taken comes out, once somebody reads.
    #expect(raw.receive(exactly: 22) == framed(stunMessage()))
    var last = -1
    for _ in 1..<statistics.datagramsSent {
      let datagram = Array(raw.receive(exactly: 1_202).dropFirst(2))
      let read = number(of: datagram.rawSpan)
      let found = try #require(read)
      #expect(found > last)
      last = found
    }
    // And there is room again.
    try await onLoop(world.loop) { world.active.send(numbered(7, count: 50), to: listener.address) }
    #expect(raw.receive(exactly: 52) == framed(numbered(7, count: 50)))
    world.end()
  }

  @Test("a connection that cannot be made in time is given up")
  func connectTimeout() async throws {
    // A listener whose queue is full answers nothing.
    let listener = try RawListener()
    _ = listen(listener.descriptor, 0)
    var fillers: [RawStream] = []
    var configuration = EventLoopConfiguration()
    configuration.streams.connect = .milliseconds(30)
    let world = try await ActiveWorld(configuration)
    let closed = Closures()
    try await onLoop(world.loop) { world.active.onRouteClosed = { _, route, error in closed.add(route, error) } }
    fillers.append(try RawStream(to: listener.address))
    // The first may still find a place in the queue; each further one gets its own local port.
    try await onLoop(world.loop) { world.active.send(stunMessage(), to: listener.address) }
    try await onLoop(world.loop) {
      let other = try world.active.registration?.openStreamSocket(
        local: .anyPortV4, framing: .rfc4571, role: .active)
      world.active.socket = other
      world.active.send(stunMessage(), to: listener.address)
    }
    #expect(await closed.wait(for: 1))
    #expect(closed.all.first?.error?.code == ETIMEDOUT)
    world.end()
  }

  @Test("throughput of 1,200-byte datagrams over one connection")
  func throughput() async throws {
    let loops = [try EventLoop(name: "source"), try EventLoop(name: "sink")]
    let source = Peer(), sink = Peer()
    let done = Signal()
    let wanted = 200_000
    let address = try await onLoop(loops[1]) {
      try sink.join(loops[1])
      sink.socket = try sink.registration?.openStreamSocket(local: .anyPortV4, framing: .rfc4571, role: .passive)
      var received = 0
      sink.onDatagram = { _, _, _ in
        received += 1
        if received == wanted { done.fire() }
      }
      return try #require(sink.socket).localAddress
    }
    let payload = numbered(0, count: 1_200)
    let start = MonotonicClock.now()
    try await onLoop(loops[0]) {
      try source.join(loops[0])
      source.socket = try source.registration?.openStreamSocket(local: .anyPortV4, framing: .rfc4571, role: .active)
      source.send(stunMessage(), to: address)
      // Refills as it goes; what does not fit is lost, as over UDP, so it goes on until enough has arrived.
      source.onDrain = { peer in
        for _ in 0..<100 { peer.send(payload, to: address) }
      }
    }
    #expect(await done.wait())
    let elapsed = MonotonicClock.now() - start
    try await onLoop(loops[0]) { source.registration?.leave() }
    let gigabits = Double(wanted) * 1_200 * 8 / Double(elapsed.nanoseconds)
    print("loop to loop over TCP: \(Double(Int(gigabits * 100)) / 100) Gbit/s received")
    for loop in loops { loop.shutdown() }
    #expect(gigabits > 0.05)
  }
}
