// EnvelopeTests.swift — messages in and out, hostile ones above all, and the pages of both reference profiles.

import Signaling
import Testing
import Wire

import Swarm

@Suite struct EnvelopeTests {
  private let start = Instant(nanoseconds: 0)

  /// A machine with one open channel, drained. `page`: the peer has not shown the `swarm` member.
  private func node(page: Bool = false) -> Node {
    let node = Node("peer_me")
    node.machine.channelOpened("peer_x", lane: .main, isExtended: !page, now: start)
    _ = drain(node)
    return node
  }

  private func drain(_ node: Node, now: Instant = Instant(nanoseconds: 0)) -> [JSONValue] {
    var sent: [JSONValue] = []
    while let event = node.machine.pollEvent() { node.react(to: event, now: now) }
    while let message = node.machine.pollSend() {
      if case .text(let text) = message.content, let value = try? JSONValue(parsing: text) { sent.append(value) }
    }
    return sent
  }

  private func receive(_ node: Node, _ text: String) -> [JSONValue] {
    node.machine.handle(.text(text), from: "peer_x", lane: .main, now: start)
    return drain(node)
  }

  private func envelope(_ type: String, _ payload: JSONValue = [:], _ change: [String: JSONValue] = [:]) -> String {
    let fields: [String: JSONValue] = [
      "protocolVersion": 1, "type": .string(type), "peerId": "peer_x", "timestamp": 5, "payload": payload,
    ]
    return JSONValue.object(fields.merging(change) { $1 }).text
  }

  @Test(
    "hostile messages are dropped and counted",
    arguments: [
      ("spoofed sender", ["peerId": "peer_y"], Rejection.spoofedSender),
      ("no sender", ["peerId": nil], .spoofedSender),
      ("version as text", ["protocolVersion": "1"], .badVersion),
      ("another version", ["protocolVersion": 2], .badVersion),
      ("no type", ["type": nil], .badType),
      ("empty type", ["type": ""], .badType),
      ("endless type", ["type": .string(String(repeating: "t", count: 129))], .badType),
      ("time as text", ["timestamp": "5"], .badTimestamp),
      ("no time", ["timestamp": nil], .badTimestamp),
      ("payload as list", ["payload": []], .badPayload),
      ("stated size too large", ["payloadSize": 65_537], .payloadTooLarge),
      ("stated size nonsense", ["payloadSize": -1], .badPayload),
      (
        "payload too large, size denied", ["payload": ["x": .string(String(repeating: "x", count: 66_000))]],
        .payloadTooLarge
      ),
      ("frame too large", ["payload": ["x": .string(String(repeating: "x", count: 140_000))]], .frameTooLarge),
    ] as [(String, [String: JSONValue], Rejection)])
  func hostile(name: String, change: [String: JSONValue], reason: Rejection) {
    let node = node()
    _ = receive(node, envelope("greeting", [:], change))
    #expect(node.machine.rejections == [reason: 1], "\(name)")
    #expect(node.machine.peers["peer_x"]?.counters.rejected == 1)
    #expect(node.messages.isEmpty)
  }

  @Test(
    "text that is no message",
    arguments: [
      ("", Rejection.notJSON), ("{", .notJSON), ("{\"type\":", .notJSON), ("null", .notAnObject), ("[]", .notAnObject),
      ("\"type\"", .notAnObject), ("{}", .badType), (String(repeating: "[", count: 60_000), .notJSON),
      (
        "{\"type\":\"t\",\"protocolVersion\":1,\"peerId\":\"peer_x\",\"timestamp\":1,\"payload\":{\"a\":"
          + String(repeating: "[", count: 500) + String(repeating: "]", count: 500) + "}}", .notJSON
      ),
    ])
  func rubbish(text: String, reason: Rejection) {
    let node = node()
    _ = receive(node, text)
    #expect(node.machine.rejections == [reason: 1])
  }

  @Test("a size in UTF-16 units is not one in bytes")
  func unitsAreNotBytes() {
    let node = node()
    _ = receive(node, envelope("greeting", ["x": .string(String(repeating: "語", count: 60_000))]))
    #expect(node.messages.count == 1)
    #expect(node.machine.rejections.isEmpty)
  }

  @Test(
    "no clock of others freezes ours",
    arguments: [
      1e308, -1, 9_007_199_254_740_992, 9.3e18, 0.5, 1.768e12,
    ] as [Double])
  func clockPoisoning(clock: Double) throws {
    let node = node()
    let before = node.machine.clock.value
    _ = receive(node, envelope("greeting", [:], ["timestamp": .double(clock)]))
    #expect(node.messages.count == 1, "the message itself counts")
    let after = node.machine.clock.value
    #expect(after == (clock == 1.768e12 ? 1_768_000_000_001 : before + 1))

    // Nor does an entry's clock.
    let entry: JSONValue = ["id": "goal", "value": 1, "clock": .double(clock), "peerId": "peer_x", "updatedAt": 0]
    _ = receive(node, envelope("goal-update", entry))
    let isPlausible = clock == 1.768e12
    #expect((node.machine.knowledge.entries["goal"] != nil) == isPlausible)
    let written = try node.machine.share("goal", 2, now: start)
    #expect(written.clock == (isPlausible ? 1_768_000_000_001 : 1))
  }

  @Test("no series of messages pushes the clock out of reach")
  func clockCreep() {
    let node = node()
    for step in 1...5_000 {
      let next = node.machine.clock.ceiling(wallMilliseconds: 1_767_225_600_000)
      node.machine.handle(
        .text(envelope("g", [:], ["timestamp": .integer(Int(next) - step % 2)])), from: "peer_x", lane: .main,
        now: start)
    }
    #expect(node.machine.clock.value < 1_767_225_600_000 + SwarmLimits.maximumClockLead + 10_000)
  }

  @Test("our own kind must keep to envelopes, and a stranger sends nothing")
  func dialects() {
    let node = node()
    _ = receive(node, #"{"type":"sync-request"}"#)
    #expect(node.machine.rejections == [.wrongDialect: 1])
    node.machine.handle(.text(envelope("greeting")), from: "peer_q", lane: .main, now: start)
    #expect(node.machine.rejections[.unsolicited] == 1)
  }

  @Test("users cannot send what the swarm itself speaks", arguments: MessageType.allCases)
  func reserved(type: MessageType) {
    let node = node()
    #expect(throws: SwarmError.reservedType(type.rawValue)) { try node.machine.send(type.rawValue, [:], to: "peer_x") }
    #expect(throws: SwarmError.reservedType(type.rawValue)) { try node.machine.broadcast(type.rawValue, [:]) }
  }

  @Test func sending() throws {
    let node = node()
    #expect(try node.machine.send("greeting", ["text": "hi \u{1F600}"], to: "peer_x"))
    #expect(try !node.machine.send("greeting", [:], to: "peer_q"))
    #expect(try node.machine.broadcast("greeting", 7) == 1)
    #expect(throws: SwarmError.payloadTooLarge) {
      try node.machine.send("greeting", ["x": .string(String(repeating: "x", count: 65_530))], to: "peer_x")
    }
    let sent = drain(node)
    #expect(sent.count == 2)
    #expect(sent[0]["payload"] == ["text": "hi \u{1F600}"])
    #expect(sent[0]["payloadSize"] == 16)  // {"text":"hi 😀"}: two units for the emoji
    #expect(sent[0]["peerId"] == "peer_me")
    #expect(sent[1]["payload"] == ["value": 7])
    let clocks = sent.compactMap { $0["timestamp"]?.intValue }
    #expect(clocks[1] == clocks[0] + 1)
    node.machine.channelClosed("peer_x", lane: .main, now: start)
    #expect(try !node.machine.send("greeting", [:], to: "peer_x"))
    #expect(try node.machine.broadcast("greeting", [:]) == 0)
  }

  // MARK: Pages

  @Test("a page of profile B: ping, sync, artifact in chunks")
  func envelopedPage() throws {
    let node = node(page: true)
    let pong = receive(node, envelope("ping", ["ts": 123]))
    #expect(pong.count == 1 && pong[0]["type"] == "pong" && pong[0]["payload"]?["ts"] == 123)
    let sync = receive(node, envelope("sync-request"))
    #expect(sync.map { $0["type"] } == ["sync-response"])

    let text = String(repeating: "\u{1F600}\"\\\u{1}line\n", count: 15_000)
    node.files["/notes.txt"] = Array(text.utf8)
    try node.machine.offer(describe("/notes.txt", Array(text.utf8), name: "notes.txt"))
    _ = drain(node)
    var chunks = receive(node, envelope("artifact-request", ["id": "/notes.txt"]))
    #expect(chunks.count == SwarmLimits.maximumTextUnacknowledged)
    var gathered: [Int: String] = [:]
    var rounds = 0
    while !chunks.isEmpty, rounds < 100 {
      rounds += 1
      var next: [JSONValue] = []
      for chunk in chunks {
        let payload = try #require(chunk["payload"])
        #expect(payload.text.utf16.count <= 60_000)
        let sequence = try #require(payload["seq"]?.intValue)
        gathered[sequence] = payload["data"]?.stringValue
        let transfer = try #require(payload["transferId"])
        next += receive(node, envelope("artifact-ack", ["transferId": transfer, "seq": .integer(sequence)]))
      }
      chunks = next
    }
    #expect(gathered.sorted { $0.key < $1.key }.map(\.value).joined() == text)
    #expect(node.uploadsEnded == 1)
    // What a page cannot take, or what is not there, is answered with silence.
    #expect(receive(node, envelope("artifact-request", ["id": "/none"])).isEmpty)
  }

  @Test("an unacknowledged chunk is sent three times more, a second apart")
  func chunkResend() throws {
    let node = node(page: true)
    node.files["/a"] = Array("hello".utf8)
    try node.machine.offer(describe("/a", Array("hello".utf8)))
    _ = drain(node)
    #expect(receive(node, envelope("artifact-request", ["id": "/a"])).count == 1)
    var now = start
    var resends = 0
    while !node.machine.textUploads.isEmpty, resends < 10 {
      let due = node.machine.deadline
      now = try #require(due)
      node.machine.handleTimeout(now: now)
      resends += drain(node, now: now).count(where: { $0["type"] == "artifact-chunk" })
    }
    #expect(resends == 3)
    #expect(now - start == .seconds(4))
  }

  @Test("a page of profile A: told what we can do, answered in its own form, and twice where it waits")
  func barePage() throws {
    let node = Node("peer_me", capabilities: ["swift"])
    node.machine.channelOpened("peer_x", lane: .main, isExtended: false, now: start)
    let first = drain(node)
    #expect(first.count == 1 && first[0]["protocolVersion"] == 1 && first[0]["type"] == "sync-request")

    let told = receive(node, #"{"type":"sync-response","data":{"state":{},"artifacts":[],"capabilities":["web"]}}"#)
    #expect(told.count == 1 && told[0]["protocolVersion"] == nil)
    #expect(told[0]["data"]?["capabilities"] == ["swift"])
    #expect(node.machine.peers["peer_x"]?.capabilities == ["web"])

    node.worker = { _ in .done("built") }
    let replies = receive(
      node, #"{"type":"task-delegation","task":{"id":"t1","name":"compile","requirements":["swift"]}}"#)
    #expect(replies.compactMap { $0["type"]?.stringValue } == ["task-accepted", "task-complete", "task-complete-t1"])
    #expect(replies.allSatisfy { $0["taskId"] == "t1" })
    #expect(replies[2]["result"] == "built")

    let votes = receive(node, #"{"type":"consensus-request","proposal":{"id":"p1","type":"goal-change"}}"#)
    #expect(votes.compactMap { $0["type"]?.stringValue } == ["consensus-vote", "consensus-vote-p1"])
    #expect(votes[1]["vote"] == true)

    node.files["/a.txt"] = Array("text".utf8)
    try node.machine.offer(describe("/a.txt", Array("text".utf8)))
    let shared = receive(node, #"{"type":"artifact-request","artifactId":"/a.txt"}"#)
    #expect(shared.count == 1 && shared[0]["knowledge"]?["content"] == "text")
    node.machine.handle(.binary([1, 2, 3]), from: "peer_x", lane: .main, now: start)
    #expect(node.machine.rejections == [.unexpectedBinary: 1])
  }

  @Test("a quiet peer is asked for a sign of life, and reported when it gives none")
  func silence() throws {
    let node = node()
    var pings = 0
    while node.silent.isEmpty, pings < 100 {
      let due = node.machine.deadline
      let now = try #require(due)
      node.machine.handleTimeout(now: now)
      pings += drain(node, now: now).count(where: { $0["type"] == "ping" })
      #expect(now <= start + SwarmLimits.silenceLimit)
    }
    #expect(node.silent == ["peer_x"])
    #expect(pings >= 3)
  }

  @Test func roundTrip() {
    let a = Node("peer_a")
    let b = Node("peer_b")
    let world = World.mesh(a, b)
    #expect(world.run { a.machine.peers["peer_b"]?.roundTrip != nil })
    let roundTrip = a.machine.peers["peer_b"]?.roundTrip ?? .zero
    #expect(roundTrip >= .microseconds(400) && roundTrip <= .milliseconds(40))
  }

  @Test func rosterBound() {
    let node = Node("peer_me")
    for index in 0..<(SwarmLimits.maximumPeers + 5) {
      node.machine.channelOpened("peer_\(index)", lane: .main, isExtended: true, now: start)
    }
    #expect(node.machine.peers.count == SwarmLimits.maximumPeers)
    #expect(node.machine.rejections == [.tableFull: 5])
  }

  @Test func capabilityBounds() {
    let node = Node("peer_me", capabilities: (0..<500).map { "\($0)" } + [String(repeating: "c", count: 200)])
    #expect(node.machine.capabilities.count == SwarmLimits.maximumCapabilities)
    let other = self.node()
    _ = receive(other, envelope("sync-response", ["capabilities": .strings((0..<500).map { "\($0)" })]))
    #expect(other.machine.peers["peer_x"]?.capabilities.count == SwarmLimits.maximumCapabilities)
  }
}
