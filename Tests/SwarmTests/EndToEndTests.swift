// EndToEndTests.swift — whole peers in one process: a signalling server on a free port, WebRTC over loopback UDP.
//
// Nothing sleeps: every wait is for an event, and gives up after `patience`.

import Digest
import Glibc
import Signaling
import SignalingTransport
import Synchronization
import Testing
import WebRTC
import Wire

@testable import Swarm

/// A server, and peers in one room of it.
private actor Room {
  let server: SignalingServer
  let url: String
  private(set) var peers: [SwarmPeer] = []

  init() async throws {
    server = SignalingServer(configuration: .init(port: 0))
    url = try await server.start().url
  }

  func join(_ name: String, capabilities: [String] = []) async throws -> (SwarmPeer, EventLog) {
    var configuration = SwarmConfiguration(room: "reploid-swarm-test")
    configuration.signalingURL = url
    configuration.peerID = name
    configuration.capabilities = capabilities
    configuration.webRTC.loopback = .only
    configuration.webRTC.iceServers = []
    let peer = SwarmPeer(configuration)
    let log = EventLog(peer)
    peers.append(peer)
    try await peer.start()
    return (peer, log)
  }

  func close() async {
    for peer in peers { await peer.disconnect() }
    await server.shutdown()
  }
}

/// Reads a peer's events and lets tests wait for one.
private final class EventLog: Sendable {
  private struct State {
    var events: [SwarmEvent] = []
    var waiters:
      [(id: Int, condition: @Sendable ([SwarmEvent]) -> Bool, continuation: CheckedContinuation<Bool, Never>)] =
        []
    var nextWaiter = 0
  }

  private let state = Mutex(State())

  init(_ peer: SwarmPeer) {
    Task { for await event in peer.events { add(event) } }
  }

  private func add(_ event: SwarmEvent) {
    let due = state.withLock { state in
      state.events.append(event)
      let events = state.events
      let due = state.waiters.filter { $0.condition(events) }.map(\.continuation)
      state.waiters.removeAll { $0.condition(events) }
      return due
    }
    for waiter in due { waiter.resume(returning: true) }
  }

  var all: [SwarmEvent] { state.withLock { $0.events } }

  /// Whether the events so far, or with those to come in time, fulfil `condition`.
  func wait(until condition: @escaping @Sendable ([SwarmEvent]) -> Bool) async -> Bool {
    await withCheckedContinuation { continuation in
      let id = state.withLock { state -> Int? in
        if condition(state.events) { return nil }
        state.nextWaiter += 1
        state.waiters.append((state.nextWaiter, condition, continuation))
        return state.nextWaiter
      }
      guard let id else { return continuation.resume(returning: true) }
      Task {
        try await Task.sleep(for: patience)
        let late = state.withLock { state in
          let late = state.waiters.first { $0.id == id }?.continuation
          state.waiters.removeAll { $0.id == id }
          return late
        }
        late?.resume(returning: false)
      }
    }
  }

  func waitForPeers(_ count: Int) async -> Bool {
    await wait { events in
      var connected: Set<PeerID> = []
      for event in events {
        switch event {
        case .peerConnected(let peer): connected.insert(peer)
        case .peerDisconnected(let peer): connected.remove(peer)
        default: break
        }
      }
      return connected.count == count
    }
  }
}

extension EventLog {
  fileprivate func waitForArtifact(_ id: String) async -> Bool {
    await wait {
      $0.contains { if case .artifactReceived(let received) = $0 { received.artifact.id == id } else { false } }
    }
  }
}

private let patience = Duration.seconds(20)

/// Bytes that repeat in no power of two, made quickly.
private func testContent(_ count: Int) -> [UInt8] {
  var random = RandomSource.seeded(state: 5)
  let block = random.bytes(100_003)
  var content: [UInt8] = []
  content.reserveCapacity(count + block.count)
  while content.count < count { content.append(contentsOf: block) }
  content.removeLast(content.count - count)
  return content
}

private func temporaryPath(_ name: String) -> String {
  var random = RandomSource.system
  return "/tmp/swarm-test-\(String(random.next(), radix: 36))-\(name)"
}

@Suite(.timeLimit(.minutes(2))) struct EndToEndTests {
  @Test("three peers: mesh, messages, a task, knowledge, a file, a vote, statistics, leaving")
  func wholeSwarm() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a")
    let (b, bLog) = try await room.join("peer_b", capabilities: ["swift-build"])
    let (c, cLog) = try await room.join("peer_c")
    for log in [aLog, bLog, cLog] { try #require(await log.waitForPeers(2)) }

    // Messages.
    let (greetings, sink) = AsyncStream<(PeerID, JSONValue)>.makeStream()
    await b.registerMessageHandler("greeting") { sink.yield(($0, $1)) }
    #expect(try await a.sendToPeer("peer_b", "greeting", ["text": "hello"]))
    #expect(try await !a.sendToPeer("peer_x", "greeting"))
    #expect(try await c.broadcast("greeting", ["text": "to all"]) == 2)
    var received: [PeerID: JSONValue] = [:]
    for await (peer, payload) in greetings {
      received[peer] = payload
      if received.count == 2 { break }
    }
    #expect(received == ["peer_a": ["text": "hello"], "peer_c": ["text": "to all"]])

    // A task.
    await b.registerTaskHandler("compile") { task in
      ["built": task.data["target"] ?? nil, "for": .string(task.delegator)]
    }
    let result = try await a.delegateTask("compile", requirements: ["swift-build"], data: ["target": "Core"])
    #expect(result == ["built": "Core", "for": "peer_a"])
    await #expect(throws: DelegationError.noCapablePeer) {
      try await b.delegateTask("compile", requirements: ["swift-build"])
    }
    await #expect(throws: DelegationError.declined(reason: "No handler for fly")) {
      try await a.delegateTask("fly", requirements: ["swift-build"])
    }
    try await c.updateCapabilities(["fly"])
    await c.registerTaskHandler("fly") { _ in throw DelegationError.failed("no wings") }
    #expect(
      await a.eventuallyCapable("peer_c", ["fly"], aLog))
    await #expect(throws: DelegationError.self) { try await a.delegateTask("fly", requirements: ["fly"]) }

    // Knowledge.
    try await c.shareKnowledge("goal", ["text": "port the tests"])
    #expect(
      await aLog.wait {
        $0.contains { if case .knowledgeChanged(let entry) = $0 { entry.id == "goal" } else { false } }
      })
    #expect(await a.knowledge["goal"]?.value == ["text": "port the tests"])
    #expect(await a.knowledge["goal"]?.peerID == "peer_c")

    // A file, to a file and into memory.
    let content = testContent(3_000_001)
    let announced = try await a.announceArtifact(content, id: "/data/model.bin", name: "model.bin")
    #expect(announced.sha256 == SHA256.hash(content.rawSpan))
    for log in [bLog, cLog] {
      #expect(await log.wait { $0.contains { if case .artifactOffered = $0 { true } else { false } } })
    }
    let inMemory = try await b.requestArtifact("/data/model.bin")
    #expect(inMemory.bytes == content)
    let path = temporaryPath("model.bin")
    let inFile = try await c.requestArtifact("/data/model.bin", to: .file(path))
    #expect(inFile.path == path)
    defer { unlink(path) }
    let again = try await c.announceArtifact(file: path, id: "/copy")
    #expect(again.sha256 == announced.sha256)
    #expect(again.size == 3_000_001)
    await #expect(throws: ArtifactError.unknownArtifact) { try await b.requestArtifact("/data/other.bin") }

    // Votes.
    await b.registerVoter { $0.content["version"] == 2 }
    await c.registerVoter { _ in false }
    let accepted = try await a.requestConsensus("release", ["version": 2])
    #expect(accepted.isAccepted && accepted.yes == 2 && accepted.electorate == 3)
    let refused = try await a.requestConsensus("release", ["version": 3])
    #expect(!refused.isAccepted && !refused.isTimedOut)

    // Statistics.
    let stats = await a.stats()
    #expect(stats.peers.map(\.id) == ["peer_b", "peer_c"])
    #expect(stats.peers.allSatisfy { $0.isConnected && $0.isExtended && $0.state == "connected" })
    #expect(stats.peers.allSatisfy { $0.candidatePair != nil && $0.roundTrip != nil && $0.bytesOut > 3_000_000 })
    #expect(stats.peers[0].counters.tasksDelegated == 1)
    #expect(stats.rejections.keys.allSatisfy { $0 == "late" })  // the votes that were not needed any more

    // Leaving.
    await c.disconnect()
    #expect(await aLog.wait { $0.contains { if case .peerDisconnected("peer_c") = $0 { true } else { false } } })
    #expect(await aLog.wait { $0.contains { if case .peerLeft("peer_c") = $0 { true } else { false } } })
    #expect(try await a.broadcast("greeting") == 1)
    await #expect(throws: SwarmError.notConnected) { try await c.broadcast("greeting") }
    await room.close()
  }

  @Test("what comes before a newcomer reaches it: knowledge, offers, capabilities")
  func newcomer() async throws {
    let room = try await Room()
    let (a, _) = try await room.join("peer_a", capabilities: ["swift"])
    try await a.shareKnowledge("goal", 1)
    _ = try await a.announceArtifact(Array("content".utf8), id: "notes.txt", name: "notes.txt")
    await a.registerTaskHandler("answer") { _ in 42 }
    let (b, bLog) = try await room.join("peer_b")
    try #require(await bLog.waitForPeers(1))
    // All of it is there at the moment the peer counts as connected.
    #expect(try await b.delegateTask("answer", requirements: ["swift"]) == 42)
    #expect(await b.knowledge["goal"]?.value == 1)
    #expect(try await b.requestArtifact("notes.txt").bytes == Array("content".utf8))
    await room.close()
  }

  @Test("a large file passes in bounded memory, is offered automatically, and replaces a file only when complete")
  func largeFile() async throws {
    let room = try await Room()
    let (a, _) = try await room.join("peer_a")
    let (b, bLog) = try await room.join("peer_b")
    try #require(await bLog.waitForPeers(1))
    let folder = temporaryPath("folder")
    try #require(mkdir(folder, 0o755) == 0)
    let first = folder + "/model.bin"
    await b.registerArtifactHandler { _, artifact in artifact.id == "/first" ? .file(first) : .folder(folder) }
    _ = try await a.announceArtifact(testContent(16 << 20), id: "/first", name: "anything")
    #expect(await bLog.waitForArtifact("/first"))
    // What came is offered on from its file, under the name that it has now, and replaces itself.
    let announced = try await a.announceArtifact(testContent(5_000_001), id: "/second", name: "model.bin")
    #expect(await bLog.waitForArtifact("/second"))
    let copied = try await b.announceArtifact(file: first)
    #expect(copied.id == "model.bin")
    #expect(copied.sha256 == announced.sha256)
    // No part of a transfer is left behind.
    #expect(rename(first, first + ".moved") == 0 && unlink(first + ".moved") == 0)
    #expect(rmdir(folder) == 0)
    await room.close()
  }

  @Test("both dial at once: one link remains")
  func glare() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a")
    let (b, bLog) = try await room.join("peer_b")
    // The server lets only the newcomer dial; here the other one dials too, at the same time.
    await a.dialForTest("peer_b")
    try #require(await aLog.waitForPeers(1))
    try #require(await bLog.waitForPeers(1))
    #expect(try await a.sendToPeer("peer_b", "hello"))
    #expect(try await b.sendToPeer("peer_a", "hello"))
    for log in [aLog, bLog] {
      #expect(await log.wait { $0.contains { if case .message(_, "hello", _) = $0 { true } else { false } } })
    }
    await room.close()
  }

  @Test("the server goes: links stay, and work goes on")
  func serverGoes() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a")
    let (b, bLog) = try await room.join("peer_b")
    try #require(await aLog.waitForPeers(1))
    try #require(await bLog.waitForPeers(1))
    await room.server.shutdown()
    for log in [aLog, bLog] {
      #expect(await log.wait { $0.contains { if case .signalingLost = $0 { true } else { false } } })
    }
    #expect(await !a.stats().isSignalingConnected)
    #expect(try await a.sendToPeer("peer_b", "hello"))
    #expect(await bLog.wait { $0.contains { if case .message("peer_a", "hello", _) = $0 { true } else { false } } })
    #expect(try await b.requestConsensus("goal-change").yes == 2)
    await room.close()
  }

  @Test("a link that breaks is made again by the one that made it")
  func redial() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a")
    let (b, bLog) = try await room.join("peer_b")
    try #require(await aLog.waitForPeers(1))
    try #require(await bLog.waitForPeers(1))
    await a.breakForTest("peer_b")
    #expect(await bLog.wait { $0.contains { if case .peerDisconnected = $0 { true } else { false } } })
    #expect(await bLog.waitForPeers(1))
    #expect(await aLog.waitForPeers(1))
    #expect(try await a.broadcast("hello") == 1)
    #expect(try await b.broadcast("hello") == 1)
    await room.close()
  }

  @Test("an id that joins anew replaces its old link")
  func comesAgain() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a")
    let (b, _) = try await room.join("peer_b")
    try #require(await aLog.waitForPeers(1))
    await b.disconnect()
    #expect(await aLog.waitForPeers(0))
    let (_, again) = try await room.join("peer_b")
    #expect(await again.waitForPeers(1))
    #expect(await aLog.waitForPeers(1))
    #expect(try await a.broadcast("hello") == 1)
    await room.close()
  }

  @Test("rubbish from signalling harms nobody")
  func rubbish() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a")
    let client = SignalingClient()
    try await client.connect(url: room.url)
    try await client.send(.join(.init(peerID: "peer_evil", roomID: "reploid-swarm-test")))
    let payloads: [JSONValue] = [
      nil, [:], "offer", ["type": "offer"], ["type": "offer", "sdp": "v=0"], ["type": "answer", "sdp": ""],
      ["type": "offer", "sdp": .string(String(repeating: "a=x\r\n", count: 5_000)), "swarm": ["v": 1, "offer": "1"]],
    ]
    for payload in payloads {
      try await client.send(.iceCandidate(.init(peerID: "peer_evil", targetPeer: "peer_a", payload: payload)))
      try await client.send(.offer(.init(peerID: "peer_evil", targetPeer: "peer_a", payload: payload)))
      try await client.send(.answer(.init(peerID: "peer_evil", targetPeer: "peer_a", payload: payload)))
    }
    #expect(await aLog.wait { $0.contains { if case .connectionFailed("peer_evil", _) = $0 { true } else { false } } })
    let (b, bLog) = try await room.join("peer_b")
    #expect(await bLog.wait { $0.contains { if case .peerConnected("peer_a") = $0 { true } else { false } } })
    #expect(try await b.sendToPeer("peer_a", "hello"))
    #expect(await aLog.wait { $0.contains { if case .message("peer_b", "hello", _) = $0 { true } else { false } } })
    await client.close()
    await room.close()
    _ = a
  }

  @Test("a page of profile B: one channel, envelopes, and our answer to its ping")
  func page() async throws {
    let room = try await Room()
    let (a, aLog) = try await room.join("peer_a", capabilities: ["swift"])
    let client = SignalingClient()
    try await client.connect(url: room.url)
    try await client.send(.join(.init(peerID: "peer_page", roomID: "reploid-swarm-test")))
    var configuration = PeerConnectionConfiguration()
    configuration.loopback = .only
    configuration.iceServers = []
    let connection = try PeerConnection(configuration: configuration)
    let channel = try await connection.createDataChannel("reploid", .init(maxRetransmits: 3))
    let offer = try await connection.createOffer()
    try await connection.setLocalDescription(offer)
    var candidates = connection.localCandidates.makeAsyncIterator()
    for await message in client.messages {
      switch message {
      case .joined:
        let payload: JSONValue = ["type": "offer", "sdp": .string(offer.sdp)]
        try await client.send(.offer(.init(peerID: "peer_page", targetPeer: "peer_a", payload: payload)))
        while let candidate = await candidates.next() {
          try await client.send(
            .iceCandidate(.init(peerID: "peer_page", targetPeer: "peer_a", payload: candidate.json)))
          if candidate.isEndOfCandidates { break }
        }
      case .answer(let answer):
        try await connection.setRemoteDescription(#require(SessionDescription(answer.payload)))
      case .iceCandidate(let candidate):
        try await connection.addICECandidate(#require(ICECandidateInit(candidate.payload)))
      default: break
      }
      if case .iceCandidate = message { break }
    }
    try await channel.waitUntilOpen()
    let ping: JSONValue = [
      "protocolVersion": 1, "type": "ping", "peerId": "peer_page", "timestamp": 1, "payload": ["ts": 77],
    ]
    try await channel.send(ping.text)
    var types: [String] = []
    for await message in channel.messages {
      guard case .text(let text) = message else { break }
      let envelope = try JSONValue(parsing: text)
      #expect(envelope["protocolVersion"] == 1 && envelope["peerId"] == "peer_a")
      types.append(envelope["type"]?.stringValue ?? "")
      if types.last == "pong" {
        #expect(envelope["payload"]?["ts"] == 77)
        break
      }
    }
    #expect(types == ["sync-request", "pong"])
    #expect(await aLog.waitForPeers(1))
    let stats = await a.stats()
    #expect(stats.peers.map(\.isExtended) == [false])
    #expect(try await a.sendToPeer("peer_page", "reflection-share"))
    // Nothing of ours opens a second channel.
    await a.disconnect()
    var extra = 0
    for await _ in connection.incomingChannels { extra += 1 }
    #expect(extra == 0)
    await client.close()
    await connection.close()
    await room.close()
  }

  @Test func serverAbsent() async throws {
    var configuration = SwarmConfiguration()
    configuration.signalingURL = "ws://127.0.0.1:1/signaling"
    let peer = SwarmPeer(configuration)
    await #expect(throws: SwarmError.self) { try await peer.start() }
    await #expect(throws: SwarmError.notConnected) { try await peer.broadcast("x") }
  }

  @Test("a file that climbs, cannot be written, or is not there")
  func files() async throws {
    let room = try await Room()
    let (a, _) = try await room.join("peer_a")
    let (b, bLog) = try await room.join("peer_b")
    try #require(await bLog.waitForPeers(1))
    await #expect(throws: ArtifactError.unsafePath) { try await a.announceArtifact([1], id: "../x", name: "x") }
    await #expect(throws: ArtifactError.self) { try await a.announceArtifact(file: "/nonexistent/file") }
    _ = try await a.announceArtifact([1, 2, 3], id: "x", name: "x")
    #expect(await bLog.wait { $0.contains { if case .artifactOffered = $0 { true } else { false } } })
    await #expect(throws: ArtifactError.self) { try await b.requestArtifact("x", to: .folder("/nonexistent")) }
    #expect(try await b.requestArtifact("x").bytes == [1, 2, 3])
    await room.close()
  }
}

extension SwarmPeer {
  fileprivate func dialForTest(_ peer: PeerID) {
    roomMembers.insert(peer)
    waitingDials.append(peer)
    startDials()
  }

  /// The connection goes without a word to the swarm above it.
  fileprivate func breakForTest(_ peer: PeerID) async { await links[peer]?.connection.close() }

  fileprivate func eventuallyCapable(_ peer: PeerID, _ capabilities: [String], _ log: EventLog) async -> Bool {
    await log.wait {
      $0.contains { if case .capabilitiesChanged(peer, capabilities) = $0 { true } else { false } }
    }
  }
}
