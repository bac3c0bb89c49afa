// RoomLifeTests.swift — time, rates, moving between rooms, and two connections that want one id.

import Signaling
import Testing
import Wire

@Suite struct RoomLifeTests {
  static let swarm = "reploid-swarm-x"

  // MARK: Time

  @Test("a socket that never joins is closed with 4002 after 15 s")
  func neverJoined() {
    let world = RoomWorld()
    let id = world.connect()
    world.advance(.milliseconds(14_900))
    world.send(id, ["type": "heartbeat", "peerId": "x"])  // not a sign of life: it is refused
    #expect(world.closes.isEmpty)
    world.advance(.milliseconds(400))
    #expect(world.closes == [id: RoomClose(code: 4002, reason: "Join timeout")])
    #expect(world.deadline == nil)
  }

  @Test("connect and close is no abuse")
  func probe() {
    let world = RoomWorld()
    let id = world.connect()
    world.disconnect(id)
    world.advance(.seconds(100))
    #expect(world.closes.isEmpty && world.summary.connectionCount == 0)
  }

  @Test("a silent peer is removed after 60 s: peer-left to the others, 4001 to itself; a heartbeat keeps it")
  func stale() {
    let world = RoomWorld()
    let silent = world.joined("silent")
    let alive = world.joined("alive")
    for _ in 0..<2 {
      world.advance(.seconds(29))
      world.send(alive, ["type": "heartbeat", "peerId": "alive", "roomId": "room"])
    }
    #expect(world.closes.isEmpty)
    world.advance(.milliseconds(2_300))
    #expect(world.closes == [silent: RoomClose(code: 4001, reason: "Peer timeout")])
    #expect(world.take(alive).map { $0["type"] } == ["peer-left"])
    #expect(world.summary.peerCount == 1)
    world.advance(.seconds(60))
    #expect(world.closes[alive]?.code == 4001)
  }

  @Test("a peer's patience may be shorter than a newcomer's")
  func shortPatience() {
    var limits = RoomLimits()
    limits.peerTimeout = .seconds(2)
    let world = RoomWorld(limits: limits)
    let id = world.joined("aaa")
    world.advance(.milliseconds(2_300))
    #expect(world.closes == [id: .peerTimeout])
  }

  @Test("refused messages and messages from others keep nobody alive (X5)")
  func notAlive() {
    let world = RoomWorld()
    let silent = world.joined("silent")
    let noisy = world.joined("noisy")
    for _ in 0..<7 {
      world.advance(.seconds(10))
      world.send(silent, ["type": "heartbeat", "peerId": "noisy"])
      world.send(noisy, ["type": "offer", "peerId": "noisy", "targetPeer": "silent", "offer": ["sdp": "x"]])
    }
    #expect(world.closes == [silent: .peerTimeout])
  }

  @Test("who left a room may stay connected and join again, under another id, but not for ever")
  func leaveAndStay() {
    let world = RoomWorld()
    let id = world.joined("aaa")
    world.send(id, ["type": "leave", "peerId": "aaa"])
    world.send(id, ["type": "heartbeat", "peerId": "aaa"])
    #expect(world.takeError(id) == "Join is required before signaling")
    world.advance(.seconds(50))
    world.join(id, "bbb")
    #expect(world.take(id).first?["type"] == "joined")
    world.send(id, ["type": "leave", "peerId": "bbb"])
    world.advance(.seconds(61))
    #expect(world.closes[id]?.code == 4002)
  }

  // MARK: Rates

  @Test("512 messages in a second pass, the 513th closes with 1008; the next second starts anew")
  func messageRate() {
    let world = RoomWorld()
    let id = world.joined("aaa")
    world.advance(.seconds(1))
    for _ in 0..<2 {
      for _ in 0..<512 { world.send(id, ["type": "heartbeat", "peerId": "aaa"]) }
      #expect(world.closes.isEmpty && world.take(id) == [])
      world.advance(.seconds(1))
    }
    for _ in 0..<512 { world.send(id, text: "{") }
    #expect(world.take(id).count == 512)
    world.send(id, text: "{")
    #expect(world.takeError(id) == "Rate limit exceeded")
    #expect(world.closes == [id: .rateLimit])
    world.send(id, ["type": "heartbeat", "peerId": "aaa"])
    #expect(world.take(id) == [])
  }

  @Test("a ping flood closes with 1008 (W9)")
  func pingFlood() {
    let world = RoomWorld()
    let id = world.joined("aaa")
    for _ in 0..<32 {
      world.sendPing(id)
      world.pong(id)
    }
    #expect(world.closes.isEmpty)
    world.sendPing(id)
    #expect(world.closes == [id: .rateLimit])
  }

  @Test("a sender pays for what others are sent, may overdraw once, and is in credit again after a while (X2)")
  func fanOut() {
    var limits = RoomLimits()
    limits.fanOutBurst = 10_000
    limits.fanOutBytesPerSecond = 1_000
    let world = RoomWorld(limits: limits)
    let sender = world.joined("sender")
    let others = (0..<9).map { world.joined("other\($0)") }
    _ = world.take(sender)
    let message: JSONValue = [
      "type": "broadcast", "peerId": "sender", "data": .string(String(repeating: "x", count: 1_500)),
    ]
    world.send(sender, message)  // 9 × about 1,580 bytes
    #expect(world.take(sender) == [])
    world.send(sender, message)
    #expect(world.takeError(sender) == "Sending to others too fast")
    world.advance(.seconds(3))
    world.send(sender, message)
    #expect(world.takeError(sender) == "Sending to others too fast")
    world.advance(.seconds(2))
    world.send(sender, message)
    #expect(world.take(sender) == [])
    for other in others { #expect(world.take(other).count { $0["type"] == "broadcast" } == 2) }
    #expect(world.closes.isEmpty)
  }

  @Test("a newcomer can dial a full room at once")
  func dialEverybody() {
    let world = RoomWorld()
    let members = (0..<255).map { world.joined("member\($0)") }
    let newcomer = world.joined("newcomer")
    for member in members { _ = world.take(member) }
    var sent = 0
    for number in members.indices {
      for (type, payload, size) in [("offer", "offer", 1_200), ("ice-candidate", "candidate", 200)] {
        if sent > 0, sent.isMultiple(of: 500) { world.advance(.seconds(1)) }  // the message rate, not the budget
        sent += 1
        world.send(
          newcomer,
          [
            "type": .string(type), "peerId": "newcomer", "targetPeer": .string("member\(number)"),
            payload: ["sdp": .string(String(repeating: "x", count: size))],
          ])
      }
    }
    #expect(world.take(newcomer) == [])
    for member in members { #expect(world.take(member).map { $0["type"] } == ["offer", "ice-candidate"]) }
  }

  @Test("offers to a peer that does not react are bounded; a reaction or time lifts the bound (X3)")
  func offerSpam() {
    let world = RoomWorld()
    let a = world.joined("aaa")
    let b = world.joined("bbb")
    func offer() {
      world.send(a, ["type": "offer", "peerId": "aaa", "targetPeer": "bbb", "offer": ["sdp": "x"]])
    }
    _ = world.take(a)
    for _ in 0..<16 { offer() }
    #expect(world.take(a) == [] && world.take(b).count == 16)
    offer()
    #expect(world.takeError(a) == "Too many unanswered offers to this peer")
    world.send(b, ["type": "answer", "peerId": "bbb", "targetPeer": "aaa", "answer": ["sdp": "x"]])
    _ = world.take(a)
    for _ in 0..<16 { offer() }
    #expect(world.take(a) == [])
    offer()
    #expect(world.takeError(a) != nil)
    for _ in 0..<2 {
      world.advance(.seconds(30))
      world.send(a, ["type": "heartbeat", "peerId": "aaa"])
      world.send(b, ["type": "heartbeat", "peerId": "bbb"])
    }
    offer()
    #expect(world.take(a) == [])
  }

  // MARK: Rooms

  @Test("joining again in the same room disturbs nobody; new metadata is announced (B-9)")
  func rejoin() {
    let world = RoomWorld()
    let a = world.joined("aaa", metadata: ["v": 1])
    let b = world.joined("bbb")
    _ = world.take(a)
    world.join(a, "aaa", metadata: ["v": 1])
    #expect(world.take(a).map { $0["type"] } == ["joined"])
    #expect(world.take(b) == [])
    world.join(a, "aaa", metadata: ["v": 2])
    #expect(world.take(b).map { $0["type"] } == ["peer-announced"])
    #expect(world.summary.rooms.first?.peers == ["aaa", "bbb"])
  }

  @Test("moving to another room says peer-left in the old one first (B-9)")
  func move() {
    let world = RoomWorld()
    let a = world.joined("aaa", room: "one")
    let old = world.joined("old", room: "one")
    let new = world.joined("new", room: "two")
    _ = (world.take(a), world.takeOrder())
    world.join(a, "aaa", room: "two")
    #expect(world.takeOrder() == [old, a, new])
    #expect(world.take(old).map { $0["type"] } == ["peer-left"])
    #expect(world.take(a).first?["peers"] == ["new"])
    #expect(world.take(new).map { $0["type"] } == ["peer-joined"])
    world.join(a, "zzz", room: "two")
    #expect(world.takeError(a) == "Connection is already bound to a different peerId")
  }

  @Test("an empty bound room keeps its name for ten minutes (B-15), an open one is forgotten at once")
  func binding() {
    let world = RoomWorld()
    let owner = world.joined("peer_a", room: Self.swarm, token: RoomWorld.token)
    world.disconnect(owner)
    let thief = world.connect()
    func steal() { world.join(thief, "peer_b", room: Self.swarm, token: RoomWorld.otherToken) }
    steal()
    #expect(world.takeError(thief) == "Unauthorized room access")
    world.disconnect(thief)
    world.advance(.seconds(599))
    let late = world.connect()
    world.join(late, "peer_b", room: Self.swarm, token: RoomWorld.otherToken)
    #expect(world.takeError(late) == "Unauthorized room access")
    world.disconnect(late)
    world.advance(.seconds(2))
    #expect(world.deadline == nil, "nothing is remembered")
    _ = world.joined("peer_b", room: Self.swarm, token: RoomWorld.otherToken)
    #expect(world.summary.rooms.first?.peers == ["peer_b"])

    world.disconnect(world.joined("aaa", room: "open"))
    let other = world.connect()
    world.join(other, "bbb", room: "open", token: RoomWorld.token)
    #expect(world.take(other).first?["type"] == "joined")
  }

  @Test("remembered names give way to new rooms, the oldest first")
  func bindingEviction() {
    var limits = RoomLimits()
    limits.rooms = 2
    let world = RoomWorld(limits: limits)
    for name in ["old", "new"] {
      world.disconnect(world.joined("peer_a", room: "reploid-swarm-\(name)", token: RoomWorld.token))
      world.advance(.seconds(1))
    }
    _ = world.joined("peer_b", room: "third")
    let thief = world.connect()
    world.join(thief, "peer_c", room: "reploid-swarm-new", token: RoomWorld.otherToken)
    #expect(world.takeError(thief) == "Unauthorized room access")
    world.join(thief, "peer_c", room: "reploid-swarm-old", token: RoomWorld.otherToken)
    #expect(world.take(thief).first?["type"] == "joined")
  }

  // MARK: One id, two connections

  @Test("an id in use is refused when its holder answers a ping (B-2)")
  func takenID() {
    let world = RoomWorld()
    let holder = world.joined("aaa")
    let newcomer = world.connect()
    world.join(newcomer, "aaa")
    #expect(world.take(newcomer) == [] && world.pings == [holder])
    let third = world.connect()
    world.join(third, "aaa")
    #expect(world.takeError(third) == "peerId is already connected")
    world.pong(holder)
    #expect(world.takeError(newcomer) == "peerId is already connected")
    #expect(world.take(holder) == [] && world.closes.isEmpty && world.deadline != nil)
    world.join(newcomer, "bbb")
    #expect(world.take(newcomer).first?["peers"] == ["aaa"])
  }

  @Test("an id whose holder is dead passes on after a second; the others see it leave and come (A-8, B-2)")
  func deadHolder() {
    let world = RoomWorld()
    let holder = world.joined("aaa")
    let witness = world.joined("witness")
    let newcomer = world.connect()
    _ = world.take(holder)
    world.join(newcomer, "aaa", metadata: ["new": true])
    world.advance(.milliseconds(999))
    #expect(world.take(newcomer) == [])
    world.advance(.milliseconds(1))
    #expect(world.closes == [holder: RoomClose(code: 4000, reason: "Peer session replaced")])
    #expect(world.take(newcomer).first?["peers"] == ["witness"])
    #expect(world.take(witness).map { $0["type"] } == ["peer-left", "peer-joined"])
    world.disconnect(holder)  // the late end of the old socket changes nothing
    world.send(witness, ["type": "offer", "peerId": "witness", "targetPeer": "aaa", "offer": ["sdp": "x"]])
    #expect(world.take(newcomer).map { $0["type"] } == ["offer"])
    #expect(world.summary.rooms.first?.peers == ["witness", "aaa"])
  }

  @Test("the holder of a wanted id leaves, closes or speaks before the second is over")
  func holderActs() {
    let world = RoomWorld()
    let holder = world.joined("aaa")
    let newcomer = world.connect()
    world.join(newcomer, "aaa")
    world.disconnect(holder)
    #expect(world.take(newcomer).first?["type"] == "joined")

    let second = world.connect()
    world.join(second, "aaa")
    world.send(newcomer, ["type": "leave", "peerId": "aaa"])
    #expect(world.takeError(second) == "peerId is already connected", "whoever speaks lives")
    world.join(second, "aaa")
    #expect(world.take(second).first?["type"] == "joined")

    let third = world.connect()
    world.join(third, "aaa")
    world.disconnect(third)  // the question is withdrawn
    world.advance(.seconds(2))
    #expect(world.closes.isEmpty)
  }

  @Test("an outsider without the token cannot have a holder's life questioned")
  func noProbeWithoutToken() {
    let world = RoomWorld()
    _ = world.joined("peer_a", room: Self.swarm, token: RoomWorld.token)
    let outsider = world.connect()
    world.join(outsider, "peer_a", room: Self.swarm, token: RoomWorld.otherToken)
    #expect(world.takeError(outsider) == "Unauthorized room access")
    #expect(world.pings.isEmpty)
  }

  @Test("random operations keep the tables consistent", arguments: 1...40 as ClosedRange<UInt64>)
  func randomOperations(seed: UInt64) {
    var random = RandomSource.seeded(state: seed)
    var limits = RoomLimits()
    limits.rooms = 3
    limits.peers = 6
    limits.peersPerRoom = 3
    limits.connections = 8
    let world = RoomWorld(limits: limits)
    var ids: [RoomWorld.ID] = []
    for _ in 0..<600 {
      let id = ids.randomElement(using: &random)
      let peer = "peer\(Int.random(in: 0..<5, using: &random))"
      let room = ["one", "two", "reploid-swarm-a", "reploid-swarm-b"].randomElement(using: &random) ?? ""
      switch (Int.random(in: 0..<12, using: &random), id) {
      case (0, _), (_, nil): ids.append(world.connectUnread())
      case (1, let id?):
        world.disconnect(id)
        ids.removeAll { $0 == id }
      case (2...5, let id?):
        let token =
          room.hasPrefix("reploid") ? [RoomWorld.token, RoomWorld.otherToken].randomElement(using: &random) : nil
        world.join(id, peer, room: room, token: token)
      case (6, let id?): world.send(id, ["type": "leave", "peerId": .string(peer)])
      case (7, let id?): world.pong(id)
      case (8, _): world.advance(.milliseconds(Int64.random(in: 0..<20_000, using: &random)))
      case (_, let id?):
        let target = JSONValue.string("peer\(Int.random(in: 0..<5, using: &random))")
        world.send(id, ["type": "offer", "peerId": .string(peer), "targetPeer": target, "offer": ["sdp": "x"]])
      }
      ids.removeAll { world.closes[$0] != nil }
      let summary = world.summary
      let named = summary.rooms.flatMap(\.peers)
      #expect(Set(named).count == named.count && named.count == summary.peerCount, "seed \(seed)")
      #expect(summary.peerCount <= 6 && summary.rooms.count <= 3 && summary.rooms.allSatisfy { $0.peers.count <= 3 })
      #expect(summary.connectionCount == ids.count, "seed \(seed)")
    }
  }
}
