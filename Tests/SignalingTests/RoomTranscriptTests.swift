// RoomTranscriptTests.swift — golden transcripts: what each side is sent, member for member and in order (WIRE §2, §4).

import Signaling
import Testing
import Wire

@Suite struct RoomTranscriptTests {
  static let epoch = JSONValue.integer(RoomWorld.epoch)

  @Test("a bare client's life: welcome, joined before peer-joined, offer, answer, candidate, announce, leave")
  func bareClients() {
    let world = RoomWorld()
    let a = world.connectUnread()
    #expect(
      world.take(a) == [["type": "welcome", "timestamp": Self.epoch, "path": "/signaling", "localOnly": true]])
    world.join(a, "reploid-a", metadata: ["capabilities": ["swift"], "goals": []])
    #expect(
      world.take(a) == [
        ["type": "joined", "peerId": "reploid-a", "roomId": "room", "peers": [], "timestamp": Self.epoch]
      ])

    let b = world.connect()
    _ = world.takeOrder()
    world.join(b, "reploid-b", metadata: ["goals": ["win"]])
    #expect(world.takeOrder() == [b, a], "joined goes out before peer-joined")
    #expect(
      world.take(b) == [
        [
          "type": "joined", "peerId": "reploid-b", "roomId": "room", "peers": ["reploid-a"],
          "members": ["reploid-a": ["metadata": ["capabilities": ["swift"], "goals": []]]], "timestamp": Self.epoch,
        ]
      ])
    #expect(
      world.take(a) == [
        ["type": "peer-joined", "peerId": "reploid-b", "metadata": ["goals": ["win"]], "timestamp": Self.epoch]
      ])

    world.advance(.milliseconds(1_500))
    let offer: JSONValue = ["type": "offer", "sdp": "v=0\r\n", "swarm": ["v": 1, "features": ["binary"]]]
    world.send(
      b, ["type": "offer", "peerId": "reploid-b", "targetPeer": "reploid-a", "offer": offer, "unknown": [1, 2]])
    #expect(
      world.take(a) == [
        [
          "type": "offer", "peerId": "reploid-b", "targetPeer": "reploid-a", "offer": offer, "unknown": [1, 2],
          "timestamp": .integer(RoomWorld.epoch + 1_500),
        ]
      ])
    world.send(a, ["type": "answer", "peerId": "reploid-a", "targetPeer": "reploid-b", "answer": ["type": "answer"]])
    world.send(
      a, ["type": "ice-candidate", "peerId": "reploid-a", "targetPeer": "reploid-b", "candidate": ["candidate": ""]])
    #expect(world.take(b).map { $0["type"] } == ["answer", "ice-candidate"])
    #expect(world.take(a) == [])

    world.send(a, ["type": "announce", "peerId": "reploid-a", "roomId": "room", "metadata": ["goals": [1], "x": nil]])
    #expect(
      world.take(b) == [
        [
          "type": "peer-announced", "peerId": "reploid-a",
          "metadata": ["capabilities": ["swift"], "goals": [1], "x": nil],
          "timestamp": .integer(RoomWorld.epoch + 1_500),
        ]
      ])
    world.send(a, ["type": "broadcast", "peerId": "reploid-a", "roomId": "room", "data": ["hello"]])
    #expect(
      world.take(b) == [
        [
          "type": "broadcast", "peerId": "reploid-a", "data": ["hello"],
          "timestamp": .integer(RoomWorld.epoch + 1_500),
        ]
      ])
    world.send(a, ["type": "heartbeat", "peerId": "reploid-a", "roomId": "room"])
    world.send(a, ["type": "leave", "peerId": "reploid-a", "roomId": "room"])
    #expect(world.take(a) == [])
    #expect(
      world.take(b) == [
        ["type": "peer-left", "peerId": "reploid-a", "timestamp": .integer(RoomWorld.epoch + 1_500)]
      ])
    #expect(world.closes.isEmpty)
  }

  @Test("in a bound room messages are rebuilt and metadata is flattened")
  func boundRoom() {
    let world = RoomWorld()
    let a = world.joined("peer_a", room: "reploid-swarm-x", token: RoomWorld.token)
    let metadata: JSONValue = [
      " host ": "mac", "n": 1.5, "b": true, "none": nil, "list": [" a ", "", 2, nil, ["x", [1, nil]], ["k": 1]],
      "nested": ["deep": 1],
    ]
    let b = world.joined("peer_b", room: "reploid-swarm-x", token: RoomWorld.token, metadata: metadata)
    #expect(
      world.take(a) == [
        [
          "type": "peer-joined", "peerId": "peer_b", "timestamp": Self.epoch,
          "metadata": [
            "host": "mac", "n": 1.5, "b": true, "none": nil, "list": ["a", "2", "null", "x,1,", "[object Object]"],
            "nested": "[object Object]",
          ],
        ]
      ])
    world.send(
      b,
      [
        "type": "ice-candidate", "peerId": "peer_b", "targetPeer": "peer_a", "roomId": "reploid-swarm-x",
        "candidate": ["candidate": "candidate:1", "extra": ["kept"]], "unknown": 1,
      ])
    #expect(
      world.take(a) == [
        [
          "type": "ice-candidate", "peerId": "peer_b", "targetPeer": "peer_a", "timestamp": Self.epoch,
          "candidate": ["candidate": "candidate:1", "extra": ["kept"]],
        ]
      ])
    #expect(world.take(b) == [])
  }

  @Test("at most 16 members of metadata are shown, with names of at most 64 characters")
  func metadataBounds() {
    let world = RoomWorld()
    let a = world.joined("peer_a", room: "reploid-swarm-x", token: RoomWorld.token)
    var metadata: [String: JSONValue] = [:]
    for number in 10..<40 { metadata["k\(number)"] = .strings((0..<30).map { "v\($0)" }) }
    metadata["a" + String(repeating: "z", count: 100)] = 1
    _ = world.joined("peer_b", room: "reploid-swarm-x", token: RoomWorld.token, metadata: .object(metadata))
    let shown = world.take(a).first?["metadata"]?.objectValue ?? [:]
    #expect(shown.count == 16)
    #expect(shown["a" + String(repeating: "z", count: 63)] == 1)
    #expect(shown["k10"]?.arrayValue?.count == 16)
  }

  @Test("the server's goodbye reaches members, and every socket is closed with 1001")
  func shutdown() {
    let world = RoomWorld()
    let member = world.joined("aaa")
    let other = world.joined("bbb")
    let stranger = world.connect()
    _ = world.take(member)
    world.shutDown()
    #expect(world.take(member) == [["type": "server-shutdown", "timestamp": Self.epoch]])
    #expect(world.take(other) == [["type": "server-shutdown", "timestamp": Self.epoch]])
    #expect(world.take(stranger) == [])
    #expect(world.closes == [member: .goingAway, other: .goingAway, stranger: .goingAway])
    #expect(world.summary.peerCount == 0 && world.deadline == nil)
  }

  @Test("relay-message: each allowed type passes whole, everything else is refused")
  func relay() {
    let world = RoomWorld()
    let a = world.joined("peer_a", room: "reploid-swarm-x", token: RoomWorld.token)
    let b = world.joined("peer_b", room: "reploid-swarm-x", token: RoomWorld.token)
    _ = world.take(a)
    func relay(_ envelope: JSONValue) {
      world.send(b, ["type": "relay-message", "peerId": "peer_b", "targetPeer": "peer_a", "envelope": envelope])
    }
    for type in [
      "reploid:peer-advertisement", "reploid:generation-request", "reploid:generation-update",
      "reploid:generation-result", "reploid:generation-error", "reploid:receipt", "ping", "pong",
    ] {
      let envelope: JSONValue = [
        "protocolVersion": 1, "type": .string(type), "peerId": "peer_b", "timestamp": 4, "payload": ["x": [1]], "y": 2,
      ]
      relay(envelope)
      #expect(
        world.take(a) == [
          [
            "type": "relay-message", "peerId": "peer_b", "targetPeer": "peer_a", "envelope": envelope,
            "timestamp": Self.epoch,
          ]
        ])
    }
    relay(["protocolVersion": "1", "type": "ping", "peerId": "peer_b", "timestamp": 1.5])
    #expect(world.take(a).count == 1)
    for bad: JSONValue in [
      ["protocolVersion": 1, "type": "sync-request", "peerId": "peer_b", "timestamp": 4],
      ["protocolVersion": 1, "type": "raft:request-vote", "peerId": "peer_b", "timestamp": 4],
      ["protocolVersion": 2, "type": "ping", "peerId": "peer_b", "timestamp": 4],
      ["type": "ping", "peerId": "peer_b", "timestamp": 4],
      ["protocolVersion": 1, "type": "ping", "peerId": "peer_a", "timestamp": 4],
      ["protocolVersion": 1, "type": "ping", "peerId": "peer_b", "timestamp": "4"],
      ["protocolVersion": 1, "type": "ping", "peerId": "peer_b", "timestamp": 4, "payload": [1]],
    ] {
      relay(bad)
      #expect(world.takeError(b) == "relay envelope is invalid", "\(bad)")
    }
    relay("text")
    #expect(world.takeError(b) == "envelope payload is required")
    #expect(world.take(a) == [])
  }

  @Test("statistics name rooms and peers")
  func summary() {
    let world = RoomWorld()
    let a = world.joined("aaa", room: "one")
    _ = world.joined("bbb", room: "one")
    _ = world.joined("ccc", room: "two")
    _ = world.connect()
    #expect(
      world.summary.rooms == [.init(roomID: "one", peers: ["aaa", "bbb"]), .init(roomID: "two", peers: ["ccc"])])
    #expect(world.summary.peerCount == 3 && world.summary.connectionCount == 4)
    let json = world.summary.json
    #expect(json["totalRooms"] == 2 && json["totalPeers"] == 3)
    #expect(json["rooms"]?[0] == ["roomId": "one", "peerCount": 2, "peers": ["aaa", "bbb"]])
    world.disconnect(a)
    #expect(world.summary.rooms.first?.peers == ["bbb"])
  }
}
