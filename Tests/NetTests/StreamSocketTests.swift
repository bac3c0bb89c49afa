// StreamSocketTests.swift — datagrams over TCP: both framings, both roles, every segmentation, and the ends of connections.

import Glibc
import Synchronization
import Testing
import Wire

@testable import Net

@Suite("Stream socket", .timeLimit(.minutes(1)))
struct StreamSocketTests {
  @Test("datagrams of every size go both ways in order", arguments: [SocketAddress.anyPortV4, .anyPortV6])
  func bothWays(address: SocketAddress) async throws {
    let world = try await StreamWorld(listeningAt: address)
    let datagrams =
      [stunMessage()] + [1, 4, 20, 1_200, 65_535, 65_534, 3].map { [UInt8](repeating: UInt8($0 & 0xff), count: $0) }
      + (0..<300).map { numbered($0, count: 1_200) }
    // What is too much for the buffer would be dropped: a few at a time, each group answered before the next.
    let echoed = Collector(), received = Collector()
    try await onLoop(world.loop) {
      world.passive.onDatagram = { peer, bytes, route in
        received.add(bytes.copyBytes())
        peer.send(bytes.copyBytes(), to: route.remote)
      }
      world.active.onDatagram = { _, bytes, _ in echoed.add(bytes.copyBytes()) }
    }
    for start in stride(from: 0, to: datagrams.count, by: 3) {
      let group = datagrams[start..<min(start + 3, datagrams.count)]
      try await onLoop(world.loop) {
        for datagram in group { world.active.send(datagram, to: world.address) }
      }
      #expect(await echoed.wait(for: group.endIndex))
    }
    #expect(received.all == datagrams)
    #expect(echoed.all == datagrams)
    let (sent, passive) = try await world.statistics()
    #expect(sent.datagramsSent == UInt64(datagrams.count))
    #expect(sent.bytesSent == UInt64(datagrams.reduce(0) { $0 + $1.count }))
    #expect(passive.datagramsReceived == sent.datagramsSent)
    #expect(passive.bytesReceived == sent.bytesSent)
    #expect(sent.connections == 1)
    #expect(passive.connections == 1)
    world.end()
  }

  @Test("routes name the ends of the connection")
  func routes() async throws {
    let world = try await StreamWorld()
    let seen = Collector()
    let remotes = Mutex<[Route]>([])
    try await onLoop(world.loop) {
      world.passive.onDatagram = { _, bytes, route in
        remotes.withLock { $0.append(route) }
        seen.add(bytes.copyBytes())
      }
      world.active.send(stunMessage(), to: world.address)
    }
    #expect(await seen.wait(for: 1))
    try await onLoop(world.loop) {
      let activeRoute = Route(socket: try #require(world.active.socket).id, remote: world.address)
      let local = try #require(world.active.registration?.localAddress(of: activeRoute))
      let passiveID = try #require(world.passive.socket).id
      #expect(remotes.withLock { $0 } == [Route(socket: passiveID, remote: local)])
      #expect(world.passive.registration?.localAddress(of: Route(socket: passiveID, remote: local)) == world.address)
      #expect(world.active.registration?.localAddress(of: Route(socket: passiveID, remote: local)) == nil)
    }
    world.end()
  }

  @Test("frames are found however the stream is cut", arguments: [StreamFraming.rfc4571, .turn])
  func everySegmentation(framing: StreamFraming) throws {
    let datagrams = [
      stunMessage(1), channelData([7]), channelData([1, 2, 3, 4]), stunMessage(2), channelData([9, 9]),
    ]
    let bytes = datagrams.flatMap { framed($0, framing) }
    for cut in 1...bytes.count {
      var batch = ReceiveBatch(slotCapacity: 1)
      var incomplete: [UInt8] = []
      var found: [[UInt8]] = []
      for start in stride(from: 0, to: bytes.count, by: cut) {
        batch.beginStream(socket: SocketID(rawValue: 1), with: incomplete)
        _ = batch.appendStream { out in
          out.writeBytes(Array(bytes[start..<min(start + cut, bytes.count)]))
          return true
        }
        let outcome = batch.takeFrames(framing, from: .anyPortV4, isFirst: found.isEmpty)
        #expect(outcome == .all)
        batch.forEach { datagram, _ in found.append(datagram.copyBytes()) }
        batch.endStream(into: &incomplete)
      }
      #expect(found == datagrams, "cut every \(cut) bytes")
      #expect(incomplete.isEmpty)
    }
  }

  @Test("a stream that cannot be ours is known by its first bytes", arguments: [StreamFraming.rfc4571, .turn])
  func foreignStreams(framing: StreamFraming) {
    let foreign = [
      "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
      "SSH-2.0-x\r\n",
    ]
    for text in foreign {
      let bytes = Array(text.utf8)
      #expect(next(framing, bytes, isFirst: true) == .malformed, "\(text)")
    }
    // Nor may ChannelData come before anything else, nor a message shorter than a header.
    let channel = framed(channelData([1]), framing)
    #expect(next(framing, channel, isFirst: true) == .malformed)
    #expect(next(framing, channel, isFirst: false) != .malformed)
    #expect(next(.rfc4571, ([0, 19] as [UInt8]), isFirst: true) == .malformed)
    // Every prefix of what is right is awaited.
    let right = framed(stunMessage(), framing)
    for count in 0..<right.count {
      #expect(next(framing, Array(right[..<count]), isFirst: true) == .incomplete)
    }
  }

  @Test("in a TURN stream, lengths that STUN does not have end it")
  func turnLengths() {
    let odd: [UInt8] = [0x00, 0x01, 0x00, 0x05]
    #expect(next(.turn, odd, isFirst: false) == .malformed)
    let huge: [UInt8] = [0x00, 0x01, 0xff, 0xfc]
    #expect(next(.turn, huge, isFirst: false) == .malformed)
    for first in [0x50, 0x80, 0xff] as [UInt8] {
      #expect(next(.turn, ([first, 0, 0, 0] as [UInt8]), isFirst: false) == .malformed)
    }
  }

  @Test("in a TURN stream, ChannelData is padded, and the padding is not handed up")
  func turnPadding() async throws {
    let listener = try RawListener()
    let world = try await ActiveWorld(framing: .turn)
    let received = Collector()
    let messages = [stunMessage(1), channelData([1]), channelData([1, 2, 3, 4]), channelData([1, 2, 3])]
    try await onLoop(world.loop) {
      world.active.onDatagram = { _, bytes, _ in received.add(bytes.copyBytes()) }
      for message in messages { world.active.send(message, to: listener.address) }
      // Neither could be told from what follows it.
      world.active.send(Array(stunMessage().dropLast()), to: listener.address)
      world.active.send([0x80, 1, 2, 3], to: listener.address)
    }
    let raw = try listener.accept()
    let wire = messages.flatMap { framed($0, .turn) }
    #expect(raw.receive(exactly: wire.count) == wire)
    raw.send(wire)
    #expect(await received.wait(for: messages.count))
    #expect(received.all == messages)
    let statistics = try await world.statistics()
    #expect(statistics.droppedUnframable == 2)
    world.end()
  }

  // MARK: Ends

  @Test("a refused connection is told, and the next datagram tries again")
  func refused() async throws {
    let world = try await ActiveWorld()
    let closed = Closures()
    let listener = try RawListener()
    let address = listener.address
    let unused = try RawListener().address  // closed again at once
    try await onLoop(world.loop) {
      world.active.onRouteClosed = { _, route, error in closed.add(route, error) }
      world.active.send(stunMessage(), to: unused)
    }
    #expect(await closed.wait(for: 1))
    #expect(closed.all.first?.route.remote == unused)
    #expect(closed.all.first?.error?.code == ECONNREFUSED)
    #expect(closed.all.first?.error?.description.contains("\(unused)") == true)
    try await onLoop(world.loop) {
      world.active.send(stunMessage(), to: unused)
      world.active.send(stunMessage(2), to: address)
    }
    #expect(await closed.wait(for: 2))
    let raw = try listener.accept()
    #expect(raw.receive(exactly: 22) == framed(stunMessage(2)))
    world.end()
  }

  @Test("the other side's end is told: in order between datagrams, an error within one")
  func closedByPeer() async throws {
    for cut in [false, true] {
      let world = try await ActiveWorld()
      let listener = try RawListener()
      let closed = Closures()
      let received = Collector()
      try await onLoop(world.loop) {
        world.active.onRouteClosed = { _, route, error in closed.add(route, error) }
        world.active.onDatagram = { _, bytes, _ in received.add(bytes.copyBytes()) }
        world.active.send(stunMessage(), to: listener.address)
      }
      let raw = try listener.accept()
      _ = raw.receive(exactly: 22)
      raw.send(framed(stunMessage(5)) + (cut ? [0, 9, 1] : []))
      raw.shut()
      #expect(await closed.wait(for: 1))
      #expect(received.all == [stunMessage(5)])
      #expect(closed.all.first?.error?.code == (cut ? ECONNRESET : nil))
      // And again: a new connection, for a new datagram.
      try await onLoop(world.loop) { world.active.send(stunMessage(6), to: listener.address) }
      #expect(try listener.accept().receive(exactly: 22) == framed(stunMessage(6)))
      world.end()
    }
  }

  @Test("closing a route closes that connection, tells the peer only, and leaves the others")
  func closeRoute() async throws {
    let world = try await ActiveWorld()
    let listeners = try [RawListener(), RawListener()]
    let closed = Closures()
    try await onLoop(world.loop) {
      world.active.onRouteClosed = { _, route, error in closed.add(route, error) }
      for listener in listeners { world.active.send(stunMessage(), to: listener.address) }
    }
    let raws = try listeners.map { try $0.accept() }
    for raw in raws { #expect(raw.receive(exactly: 22).count == 22) }
    try await onLoop(world.loop) {
      let id = try #require(world.active.socket).id
      world.active.registration?.closeRoute(Route(socket: id, remote: listeners[0].address))
      world.active.send(numbered(1, count: 30), to: listeners[1].address)
    }
    #expect(raws[0].isClosedByPeer())
    #expect(raws[1].receive(exactly: 32) == framed(numbered(1, count: 30)))
    #expect(closed.all.isEmpty)
    world.end()
  }

  @Test("leaving, or closing the socket, from within a callback closes every connection")
  func leavingInside() async throws {
    for leaves in [true, false] {
      let world = try await StreamWorld()
      let raws = try (0..<3).map { _ in try RawStream(to: world.address) }
      let received = Collector()
      try await onLoop(world.loop) {
        world.passive.onDatagram = { peer, bytes, _ in
          received.add(bytes.copyBytes())
          guard received.all.count == 1 else { return }
          if leaves {
            peer.registration?.leave()
          } else if let id = peer.socket?.id {
            peer.registration?.closeSocket(id)
          }
        }
      }
      // More datagrams than one batch has places for: those after the first batch are not delivered any more.
      raws[0].send((0..<200).flatMap { framed(stunMessage($0)) })
      for raw in raws { #expect(raw.isClosedByPeer()) }
      #expect(received.all.count <= ReceiveBatch.streamSlotCapacity)
      #expect(throws: NetError.self) { try RawStream(to: world.address) }
      world.end()
    }
  }

  @Test("a passive socket connects to nobody")
  func passiveDoesNotConnect() async throws {
    let world = try await StreamWorld()
    let listener = try RawListener()
    try await onLoop(world.loop) { world.passive.send(stunMessage(), to: listener.address) }
    #expect(
      try await eventually(world.loop) {
        let id = try #require(world.passive.socket).id
        return world.passive.registration?.streamStatistics(of: id)?.droppedWithoutConnection == 1
      })
    world.end()
  }

  @Test("ports come from the range, for listeners too")
  func portRange() async throws {
    let loop = try EventLoop(name: "ports")
    let peer = Peer()
    try await onLoop(loop) {
      try peer.join(loop)
      let registration = try #require(peer.registration)
      let first = try registration.openStreamSocket(
        local: .anyPortV4, framing: .rfc4571, role: .passive, portRange: 42_800...42_899)
      #expect((42_800...42_899).contains(first.localAddress.port))
      let taken = first.localAddress.port
      let error = #expect(throws: NetError.self) {
        try registration.openStreamSocket(
          local: .anyPortV4, framing: .rfc4571, role: .passive, portRange: taken...taken)
      }
      #expect(error?.code == EADDRINUSE)
      #expect(error?.description.contains("127.0.0.1") == true)
      // What a failed call has taken it gives back.
      let next = try registration.openStreamSocket(local: .anyPortV4, framing: .rfc4571, role: .active)
      #expect(next.localAddress.port == 0)
    }
    loop.shutdown()
  }
}

private func next(_ framing: StreamFraming, _ bytes: [UInt8], isFirst: Bool) -> StreamFrame.Next {
  StreamFrame.next(framing, in: bytes.rawSpan, isFirst: isFirst)
}
