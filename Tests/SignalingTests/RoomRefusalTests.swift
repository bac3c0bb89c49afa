// RoomRefusalTests.swift — each error string of the protocol, in the order of the checks, and each close code.

import Signaling
import Testing
import Wire

@Suite struct RoomRefusalTests {
  static let swarm = "reploid-swarm-x"

  @Test("what is not JSON gets an error; a bound room's member is closed with 1003, others stay")
  func malformed() {
    let world = RoomWorld()
    let stranger = world.connect()
    let open = world.joined("aaa")
    let bound = world.joined("peer_b", room: Self.swarm, token: RoomWorld.token)
    for text in ["", "{", "hello", "{\"type\":\"join\"", "null"] {
      world.send(stranger, text: text)
      #expect(world.takeError(stranger) == "Invalid message format")
      world.send(open, text: text)
      #expect(world.takeError(open) == "Invalid message format")
    }
    for text in ["[]", "1", "\"join\"", "true"] {
      world.send(open, text: text)
      #expect(world.takeError(open) == "Message must be a JSON object")
    }
    world.send(bound, text: "null")
    #expect(world.takeError(bound) == "Message must be a JSON object")
    #expect(world.closes.isEmpty)
    world.send(bound, text: "{")
    #expect(world.takeError(bound) == "Invalid JSON payload")
    #expect(world.closes == [bound: RoomClose(code: 1003, reason: "Invalid JSON payload")])
  }

  @Test("invalid UTF-8 closes with 1007, binary with 1003, size with 1009")
  func frames() {
    let world = RoomWorld()
    let ids = [world.connect(), world.connect(), world.connect()]
    world.send(ids[0], bytes: [0x22, 0xFF, 0x22])
    world.sendBinary(ids[1])
    #expect(world.takeError(ids[1]) == "Binary frames are not supported")
    world.send(ids[2], bytes: Array(repeating: 0x20, count: 65_537))
    #expect(world.takeError(ids[2]) == "Message exceeds max size")
    #expect(ids.map { world.closes[$0]?.code } == [1007, 1003, 1009])
  }

  @Test("a message of exactly the limit is taken")
  func largestMessage() {
    let world = RoomWorld()
    let a = world.joined("aaa")
    let b = world.joined("bbb")
    _ = world.take(a)
    let frame = #"{"type":"broadcast","peerId":"bbb","data":""}"#
    let data = String(repeating: "x", count: 65_536 - frame.utf8.count)
    world.send(b, text: frame.replacing("\"\"", with: "\"\(data)\""))
    #expect(world.take(a).first?["data"] == .string(data))
    #expect(world.closes.isEmpty)
  }

  @Test("unknown and server-side types are refused by name, cleaned of what a terminal would obey")
  func unsupportedType() {
    let world = RoomWorld()
    let a = world.connect()
    for (type, shown): (JSONValue, String) in [
      ("dance", "dance"), ("joined", "joined"), ("peer-left", "peer-left"), ("", "unknown"), (" ", "unknown"),
      (7, "unknown"), (nil, "unknown"), ("a\u{1b}[31mb\r\n\u{202E}", "a[31mb"),
      (.string(String(repeating: "é", count: 500)), String(repeating: "é", count: 64)),
    ] {
      world.send(a, ["type": type])
      #expect(world.takeError(a) == "Unsupported message type: \(shown)")
    }
    world.send(a, [:])
    #expect(world.takeError(a) == "Unsupported message type: unknown")
  }

  @Test("an error says which message it is for, and its code")
  func errorMembers() {
    let world = RoomWorld()
    let a = world.connect()
    world.send(a, ["type": "join"])
    #expect(
      world.take(a) == [
        [
          "type": "error", "error": "Missing peerId or roomId", "code": "missing-ids", "for": "join",
          "timestamp": .integer(RoomWorld.epoch),
        ]
      ])
    world.send(a, ["type": "nonsense"])
    #expect(world.take(a).first?["for"] == nil)
  }

  @Test(
    "join is checked in the protocol's order",
    arguments: [
      (#"{"type":"join"}"#, "Missing peerId or roomId"),
      (#"{"type":"join","peerId":"","roomId":"r"}"#, "Missing peerId or roomId"),
      (#"{"type":"join","peerId":7,"roomId":"r"}"#, "Missing peerId or roomId"),
      (#"{"type":"join","peerId":"peer_a"}"#, "Missing peerId or roomId"),
      (#"{"type":"join","peerId":"a b","roomId":"reploid-swarm-?","token":"y"}"#, "peerId is invalid"),
      (#"{"type":"join","peerId":"ab","roomId":"reploid-swarm-x","token":"y"}"#, "peerId is invalid"),
      (#"{"type":"join","peerId":"_ab","roomId":"reploid-swarm-x","token":"y"}"#, "peerId is invalid"),
      (#"{"type":"join","peerId":"a\nb","roomId":"r"}"#, "peerId is invalid"),
      (#"{"type":"join","peerId":"peer_a","roomId":"reploid-swarm-?","token":"y"}"#, "roomId is invalid"),
      (#"{"type":"join","peerId":"peer_a","roomId":"reploid-swarm-","token":"y"}"#, "roomId is invalid"),
      (#"{"type":"join","peerId":"peer_a","roomId":"r\u0007"}"#, "roomId is invalid"),
      (
        #"{"type":"join","peerId":"peer_a","roomId":"reploid-swarm-y","token":"short"}"#,
        "A high-entropy room capability is required"
      ),
      (
        #"{"type":"join","peerId":"peer_a","roomId":"y","token":12345678901234567890123456789012345678}"#,
        "A high-entropy room capability is required"
      ),
      (
        #"{"type":"join","peerId":"peer_a","roomId":"reploid-swarm-x","token":"ffffffff-4f7e-4a53-9b0e-1d2c3b4a5968"}"#,
        "Unauthorized room access"
      ),
      (#"{"type":"join","peerId":"peer_a","roomId":"reploid-swarm-x"}"#, "Unauthorized room access"),
      (
        #"{"type":"join","peerId":"peer_a","roomId":"open","token":"c1f0a6d2-4f7e-4a53-9b0e-1d2c3b4a5968"}"#,
        "Unauthorized room access"
      ),
      (#"{"type":"join","peerId":"peer_a","roomId":"r","metadata":[]}"#, "metadata must be an object"),
      (#"{"type":"join","peerId":"peer_a","roomId":"r","metadata":"x"}"#, "metadata must be an object"),
    ])
  func joinErrors(text: String, error: String) {
    let world = RoomWorld()
    _ = world.joined("peer_bound", room: Self.swarm, token: RoomWorld.token)
    _ = world.joined("peer_open", room: "open")
    let id = world.connect()
    world.send(id, text: text)
    #expect(world.takeError(id) == error)
    #expect(world.closes.isEmpty)
    world.join(id, "peer_a", room: Self.swarm, token: RoomWorld.token)
    #expect(world.take(id).first?["type"] == "joined", "the socket stays usable")
  }

  @Test("the strict policy takes bound rooms of the protocol's names only")
  func strictPolicy() {
    let world = RoomWorld(policy: .capability)
    let id = world.connect()
    world.join(id, "peer_a", room: "room")
    #expect(world.takeError(id) == "roomId is invalid")
    world.join(id, "peer_a", room: Self.swarm)
    #expect(world.takeError(id) == "A high-entropy room capability is required")
    world.join(id, "peer_a", room: Self.swarm, token: "x")
    #expect(world.takeError(id) == "A high-entropy room capability is required")
    world.join(id, "peer_a", room: Self.swarm, token: RoomWorld.token)
    #expect(world.take(id).first?["type"] == "joined")
    let stranger = world.connect()
    world.send(stranger, text: "{")
    #expect(world.takeError(stranger) == "Invalid JSON payload")
    #expect(world.closes[stranger]?.code == 1003)
  }

  @Test("a token that is the room's own name opens the room; it proves nothing")
  func suffixToken() {
    let world = RoomWorld()
    _ = world.joined("peer_a", room: "reploid-swarm-public", token: "public")
    let other = world.connect()
    world.join(other, "peer_b", room: "reploid-swarm-public")
    #expect(world.take(other).first?["peers"] == ["peer_a"])
  }

  @Test("limits: rooms, peers, peers per room, connections")
  func capacity() {
    var limits = RoomLimits()
    limits.rooms = 2
    limits.peers = 4
    limits.peersPerRoom = 2
    limits.connections = 6
    let world = RoomWorld(limits: limits)
    _ = world.joined("aa1", room: "one")
    let second = world.joined("aa2", room: "one")
    let third = world.connect()
    world.join(third, "aa3", room: "one")
    #expect(world.takeError(third) == "Room capacity reached")
    world.join(third, "aa3", room: "two")
    #expect(world.take(third).first?["type"] == "joined")
    let fourth = world.connect()
    world.join(fourth, "aa4", room: "three")
    #expect(world.takeError(fourth) == "Room limit reached")
    world.join(fourth, "aa4", room: "two")
    let fifth = world.connect()
    world.join(fifth, "aa5", room: "two")
    #expect(world.takeError(fifth) == "Peer limit reached")
    world.join(second, "aa2", room: "one")  // a member may join again in a full house
    #expect(world.take(second).last?["type"] == "joined")
    _ = world.connect()
    let seventh = world.connectUnread()
    #expect(world.take(seventh) == [])
    #expect(world.closes == [seventh: .tooManyConnections])
  }

  @Test("everything but join is checked in the protocol's order")
  func memberErrors() {
    let world = RoomWorld()
    let a = world.joined("peer_a")
    _ = world.joined("peer_b")
    _ = world.joined("peer_c", room: "elsewhere")
    _ = world.take(a)
    let stranger = world.connect()
    for type in [
      "leave", "heartbeat", "offer", "answer", "ice-candidate", "relay-message", "announce", "broadcast",
    ] {
      let kind = JSONValue.string(type)
      world.send(stranger, ["type": kind, "peerId": "peer_a", "targetPeer": "peer_b"])
      #expect(world.takeError(stranger) == "Join is required before signaling")
      for id: JSONValue in ["peer_b", 1, nil, "PEER_A"] {
        world.send(a, ["type": kind, "peerId": id, "roomId": "wrong"])
        #expect(world.takeError(a) == "peerId does not match the current connection")
      }
      for room: JSONValue in ["wrong", 1, ""] {
        world.send(a, ["type": kind, "peerId": "peer_a", "roomId": room])
        #expect(world.takeError(a) == "roomId does not match the current connection")
      }
    }
    for (type, payload, error) in [
      ("offer", "offer", "offer payload is required"), ("answer", "answer", "answer payload is required"),
      ("ice-candidate", "candidate", "candidate payload is required"),
    ] {
      var message: JSONValue = ["type": .string(type), "peerId": "peer_a", "roomId": "room"]
      world.send(a, message)
      #expect(world.takeError(a) == "targetPeer is required")
      message["targetPeer"] = "peer_x"
      for empty: JSONValue in [nil, "", false, 0] {
        message[payload] = empty
        world.send(a, message)
        #expect(world.takeError(a) == error)
      }
      message[payload] = ["x": 1]
      world.send(a, message)
      #expect(world.takeError(a) == "Target peer is not available")
      message["targetPeer"] = "peer_c"
      world.send(a, message)
      #expect(world.takeError(a) == "Peers must be in the same room")
    }
    world.send(a, ["type": "broadcast", "peerId": "peer_a"])
    #expect(world.takeError(a) == "data payload is required")
    world.send(a, ["type": "announce", "peerId": "peer_a", "metadata": "x"])
    #expect(world.takeError(a) == "metadata must be an object")
    #expect(world.closes.isEmpty)
  }

  @Test("nobody can speak, leave or announce for somebody else (A-6)")
  func impersonation() {
    let world = RoomWorld()
    let victim = world.joined("victim")
    let witness = world.joined("witness")
    let attacker = world.joined("attacker")
    _ = (world.take(victim), world.take(witness))
    for message: JSONValue in [
      ["type": "leave", "peerId": "victim"],
      ["type": "announce", "peerId": "victim", "metadata": ["x": 1]],
      ["type": "broadcast", "peerId": "victim", "data": 1],
      ["type": "offer", "peerId": "victim", "targetPeer": "witness", "offer": ["sdp": "evil"]],
    ] {
      world.send(attacker, message)
      #expect(world.takeError(attacker) == "peerId does not match the current connection")
    }
    #expect(world.take(victim) == [] && world.take(witness) == [])
  }

  @Test("metadata is bounded, also when it grows by announcing")
  func metadataSize() {
    var limits = RoomLimits()
    limits.metadataByteCount = 100
    let world = RoomWorld(limits: limits)
    let id = world.connect()
    world.join(id, "aaa", metadata: ["x": .string(String(repeating: "x", count: 100))])
    #expect(world.takeError(id) == "metadata is too large")
    world.join(id, "aaa", metadata: ["x": .string(String(repeating: "x", count: 80))])
    #expect(world.take(id).first?["type"] == "joined")
    world.send(id, ["type": "announce", "peerId": "aaa", "metadata": ["y": "yyyyyyyyyyyyyyy"]])
    #expect(world.takeError(id) == "metadata is too large")
  }

  @Test("joined tells of members' metadata only as far as it fits")
  func joinedMetadata() {
    var limits = RoomLimits()
    limits.joinedMetadataByteCount = 250
    let world = RoomWorld(limits: limits)
    for number in 0..<5 {
      _ = world.joined("peer\(number)", metadata: ["x": .string(String(repeating: "x", count: 92))])  // 100 bytes
    }
    let id = world.connect()
    world.join(id, "last")
    let joined = world.take(id).first
    #expect(joined?["peers"]?.arrayValue?.count == 5)
    #expect(joined?["members"]?.objectValue?.keys.sorted() == ["peer0", "peer1"])
  }
}
