// UDPPortTests.swift — many connections on one UDP port.

import Net
import Testing
import WebRTC

@Suite("Shared port", .timeLimit(.minutes(1))) struct UDPPortTests {
  /// The ports of UDP in a description's candidates.
  private static func ports(_ description: SessionDescription?) -> Set<String> {
    let lines = (description?.sdp ?? "").split(separator: "\r\n").filter { $0.contains(" udp ") }
    return Set(lines.map { String($0.split(separator: " ")[5]) })
  }

  private static func open(_ count: Int, on port: UDPPort) async throws -> [(
    pair: Pair, near: DataChannel, far: DataChannel
  )] {
    var shared = Pair.loopbackOnly
    shared.sharedPort = port
    var all: [(pair: Pair, near: DataChannel, far: DataChannel)] = []
    for number in 0..<count {
      let pair = Pair(
        offerer: try PeerConnection(configuration: Pair.loopbackOnly),
        answerer: try PeerConnection(configuration: shared))
      let (near, far) = try await pair.open("number \(number)")
      all.append((pair, near, far))
    }
    return all
  }

  /// Sends there and back; what arrives must be what was sent on this connection.
  private static func talk(_ near: DataChannel, _ far: DataChannel, _ text: String) async throws {
    try await near.send(text)
    for await message in far.messages {
      #expect(message == .text(text))
      break
    }
    try await far.send("\(text) back")
    for await message in near.messages {
      #expect(message == .text("\(text) back"))
      break
    }
  }

  @Test("20 connections share a port; each gets its own messages, and one that closes leaves the others alone")
  func twenty() async throws {
    let port = try await UDPPort(loopback: .only)
    let all = try await Self.open(20, on: port)
    #expect(await port.connectionCount == 20)
    for (pair, _, _) in all {
      #expect(Self.ports(await pair.answerer.localDescription) == ["\(port.number)"])
      #expect(await pair.offerer.selectedCandidatePair?.remote.address.hasSuffix(":\(port.number)") == true)
    }
    try await withThrowingTaskGroup { group in
      for (number, one) in all.enumerated() {
        group.addTask { try await Self.talk(one.near, one.far, "message of \(number)") }
      }
      try await group.waitForAll()
    }
    await all[7].pair.answerer.close()
    await all[7].near.waitUntilClosed()
    #expect(await port.connectionCount == 19)
    for (number, one) in all.enumerated() where number != 7 {
      try await Self.talk(one.near, one.far, "still \(number)")
    }
    for one in all { await one.pair.close() }
    #expect(await port.connectionCount == 0)
    await port.close()
  }

  @Test("an ICE restart on a shared port finds the way anew, again and again")
  func restarts() async throws {
    let port = try await UDPPort(loopback: .only)
    let all = try await Self.open(3, on: port)
    for (pair, near, far) in all {
      var pairs = pair.offerer.selectedPairs.makeAsyncIterator()
      _ = await pairs.next()
      // More often than names are kept for.
      for round in 0..<10 {
        await pair.offerer.restartICE()
        try await pair.negotiate()
        _ = await pairs.next()
        try await Self.talk(near, far, "round \(round)")
      }
    }
    for one in all { await one.pair.close() }
    await port.close()
  }

  @Test("a port is opened once, on every address, and is free again afterwards")
  func opening() async throws {
    let loop = try EventLoop(name: "port")
    let first = try await UDPPort(eventLoop: loop, loopback: .only)
    await #expect(throws: PeerConnectionError.self) { try await UDPPort(first.number, loopback: .only) }
    var configuration = Pair.loopbackOnly
    configuration.sharedPort = first
    configuration.eventLoop = try EventLoop(name: "other")
    #expect(throws: PeerConnectionError.self) { try PeerConnection(configuration: configuration) }
    configuration.eventLoop = loop
    let connection = try PeerConnection(configuration: configuration)
    await connection.close()
    await first.close()
    let second = try await UDPPort(first.number, eventLoop: loop, loopback: .only)
    #expect(second.number == first.number)
    await second.close()
  }
}
