// AttackTests.swift — what has gone wrong in other agents, each named as in the list of attacks.

import STUN
import TestSupport
import Testing
import Wire

import ICE

@Suite struct ICEAttackTests {
  @Test("I1: a thousand candidates of a victim get few and slow checks, and these end")
  func voiceHammer() throws {
    var world = World(seed: 1)
    try world.addLocal(.left, "10.0.0.1:1000")
    world.exchangeCredentials()
    for port in 0..<1_000 {
      let candidate = ICECandidate(
        foundation: "1", priority: 2_130_706_431, address: .ip(try address("203.0.113.9:\(10_000 + port)")), kind: .host
      )
      world.left.addRemoteCandidate(candidate, now: world.now)
    }
    #expect(world.left.checkList.pairs.count == 100)
    #expect(world.left.statistics.ignoredCandidates == 900)
    world.start()
    world.run(for: .seconds(1_000))
    let times = world.sent.map(\.at)
    let gaps = zip(times, times.dropFirst()).map { $1 - $0 }
    #expect(gaps.allSatisfy { $0 >= .milliseconds(5) })
    let perAddress = Dictionary(grouping: world.sent, by: \.destination).mapValues(\.count)
    #expect(perAddress.count == 100)
    #expect(perAddress.values.allSatisfy { $0 == 7 })
    #expect(world.left.state == .failed)
  }

  @Test("I2: requests from ten thousand ports fill a small table and provoke few checks")
  func peerReflexiveFlood() throws {
    var world = World(seed: 2)
    try world.addLocal(.left, "10.0.0.1:1000")
    world.exchangeCredentials()
    world.start()
    for port in 0..<10_000 {
      world.now = world.now + .microseconds(100)
      let bytes = try ForgedRequest.genuine(from: world.right, to: world.left, id: UInt64(port)).bytes()
      let source = try address("203.0.113.9:\(10_000 + port)")
      world.inject(bytes, to: .left, route: Route(socket: world.socket(.left), remote: source))
      world.drain()
      #expect(world.left.checkList.pairs.count <= 16)
    }
    // A burst of 5, then two per Ta of 50 ms, for one second.
    let checks = world.left.statistics.requestsSent
    #expect(checks <= 5 + 2 * 20)
    #expect(world.left.transactions.count <= 64)
    // The genuine peer still gets through.
    let candidate = try world.addLocal(.right, "10.0.0.2:2000")
    world.left.addRemoteCandidate(candidate, now: world.now)
    let own = try #require(world.left.locals.first?.candidate)
    world.right.addRemoteCandidate(own, now: world.now)
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done)
  }

  @Test("I2: the selected pair is unharmed, and nothing is sent to the flooders but answers")
  func peerReflexiveFloodAfterwards() throws {
    var world = World(seed: 3)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let selected = world.left.selectedPair
    let before = world.left.statistics
    for port in 0..<10_000 {
      let bytes = try ForgedRequest.genuine(
        from: world.right, to: world.left, useCandidate: true, id: UInt64(port)
      ).bytes()
      let source = try address("203.0.113.9:\(10_000 + port)")
      world.inject(bytes, to: .left, route: Route(socket: world.socket(.left), remote: source))
      world.drain()
    }
    #expect(world.left.selectedPair == selected)
    #expect(world.left.statistics.requestsSent == before.requestsSent)
    #expect(world.left.statistics.responsesSent == before.responsesSent + 10_000)
  }

  @Test("I2: nominations of ten thousand ports neither move the controlled side nor grow its table")
  func nominationFlood() throws {
    var world = World(seed: 4)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let selected = world.right.selectedPair
    for port in 0..<10_000 {
      let bytes = try ForgedRequest.genuine(
        from: world.left, to: world.right, useCandidate: true, id: UInt64(port)
      ).bytes()
      let source = try address("203.0.113.9:\(10_000 + port)")
      world.inject(bytes, to: .right, route: Route(socket: world.socket(.right), remote: source))
      world.drain()
    }
    world.run(for: .seconds(60))
    #expect(world.right.selectedPair?.route == selected?.route)
    #expect(world.right.checkList.pairs.count <= 17)
    #expect(world.right.state == .completed)
  }

  @Test("I3: an answer to nothing, from nowhere, makes no candidate")
  func unaskedAnswer() throws {
    var world = World(seed: 5)
    try world.addLocal(.left, "10.0.0.1:1000")
    world.exchangeCredentials()
    world.start()
    let request = try ForgedRequest.genuine(from: world.right, to: world.left).bytes()
    let answer = try forgedAnswer(
      to: request, password: world.right.localCredentials.password, mapped: try address("10.0.0.1:1000"))
    let route = Route(socket: world.socket(.left), remote: try address("203.0.113.9:9"))
    world.inject(answer, to: .left, route: route)
    world.drain()
    #expect(world.left.checkList.pairs.isEmpty)
    #expect(world.left.statistics.unexpectedResponses == 1)
    #expect(world.left.sendRoute == nil)
  }

  @Test("I4: an answer from another address than was asked is dropped, and the true one still counts")
  func asymmetricAnswer() throws {
    var world = World(seed: 6)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    let request = try #require(try world.requests(by: .left).first)
    let answer = try forgedAnswer(
      to: request.bytes, password: world.right.localCredentials.password, mapped: try address("10.0.0.1:1000"))
    let socket = world.socket(.left)
    for wrong in ["10.0.0.2:2001", "10.0.0.3:2000"] {
      world.inject(answer, to: .left, route: Route(socket: socket, remote: try address(wrong)))
    }
    let otherSocket = Route(socket: SocketID(rawValue: 999), remote: request.destination)
    world.inject(answer, to: .left, route: otherSocket)
    #expect(world.left.sendRoute == nil)
    #expect(world.left.statistics.unexpectedResponses == 3)
    world.inject(answer, to: .left, route: Route(socket: socket, remote: request.destination))
    #expect(world.left.sendRoute?.remote == request.destination)
  }

  @Test("I5: connected agents are quiet but for consent", arguments: [UInt64](1...10))
  func quietWhenConnected(seed: UInt64) throws {
    var world = World(seed: seed)
    for (index, text) in ["10.0.0.1:1", "10.0.1.1:2", "[2001:db8::1]:3"].enumerated() {
      let candidate = try world.addLocal(.left, text)
      world.right.addRemoteCandidate(candidate, now: world.now)
      let other = ["10.0.0.2:4", "10.0.1.2:5", "[2001:db8::2]:6"][index]
      let theirs = try world.addLocal(.right, other)
      world.left.addRemoteCandidate(theirs, now: world.now)
    }
    world.exchangeCredentials()
    world.start()
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    world.run(for: .seconds(1))
    let before = world.sent.count
    world.run(for: .seconds(60))
    // Each side asks every 4 to 6 s and answers the other.
    let packets = world.sent.count - before
    #expect((36...64).contains(packets))
    #expect(world.left.state == .completed)
  }

  @Test("I6: roles cannot be flipped without the password")
  func forgedRoleConflict() throws {
    var world = World(seed: 7)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    let request = try #require(try world.requests(by: .left).first)
    let route = Route(socket: world.socket(.left), remote: request.destination)
    for password in [nil, "wrong", world.left.localCredentials.password] {
      world.inject(try forgedAnswer(to: request.bytes, password: password, error: 487), to: .left, route: route)
      var conflict = ForgedRequest.genuine(from: world.right, to: world.left)
      conflict.controlled = nil
      conflict.controlling = .max
      conflict.password = password == world.left.localCredentials.password ? "wrong too" : password
      world.inject(try conflict.bytes(), to: .left, route: route)
    }
    #expect(world.left.role == .controlling)
    #expect(world.left.statistics.roleSwitches == 0)
    #expect(world.left.statistics.unauthenticated == 6)
  }

  @Test("I6: one check flips the role once, and a peer that always says 487 is given up on")
  func endlessRoleConflict() throws {
    var world = World(seed: 8)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    let password = world.right.localCredentials.password
    let route = Route(socket: world.socket(.left), remote: try address("10.0.0.2:2000"))
    var answered = 0
    for _ in 0..<100 {
      let requests = try world.requests(by: .left)
      for request in requests.dropFirst(answered) {
        let answer = try forgedAnswer(to: request.bytes, password: password, error: 487)
        world.inject(answer, to: .left, route: route)
        world.inject(answer, to: .left, route: route)  // its repetition counts for nothing
      }
      answered = requests.count
      world.now = world.now + .milliseconds(60)
      world.left.handleTimeout(now: world.now)
      world.drain()
    }
    #expect(world.left.statistics.roleSwitches <= 8)
    #expect(answered <= 10)
  }

  @Test("I6: with equal tie-breakers the receiver keeps its role")
  func equalTieBreakers() throws {
    var world = World(seed: 9, left: .controlling, right: .controlling)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    var request = ForgedRequest.genuine(from: world.right, to: world.left)
    request.controlling = world.left.tieBreaker
    let route = Route(socket: world.socket(.left), remote: try address("10.0.0.2:2000"))
    world.inject(try request.bytes(), to: .left, route: route)
    world.drain()
    let answers = try world.sent(by: .left).map { try Seen($0.bytes) }.filter { $0.messageClass == .errorResponse }
    #expect(answers.map(\.errorCode) == [487])
    #expect(world.left.role == .controlling)
  }

  @Test("I7: a nomination without the password, for another user or behind the code nominates nothing")
  func forgedNomination() throws {
    var world = World(seed: 10)
    // The controlling side never learns that its checks succeed, so it nominates nothing itself.
    try world.connectSimply()
    world.isBlocked = { $0.from == .right && $0.bytes[0] == 1 }
    world.run(for: .milliseconds(100))
    #expect(world.right.state == .connected)
    let route = Route(socket: world.socket(.right), remote: try address("10.0.0.1:1000"))
    var forgeries: [ForgedRequest] = []
    var forgery = ForgedRequest.genuine(from: world.left, to: world.right, useCandidate: true)
    forgery.password = "guessed"
    forgeries.append(forgery)
    forgery.password = nil
    forgeries.append(forgery)
    forgery.password = world.right.localCredentials.password
    forgery.username = "someone:else"
    forgeries.append(forgery)
    forgery.username = "\(world.right.localCredentials.usernameFragment):else"
    forgeries.append(forgery)
    forgery = .genuine(from: world.left, to: world.right)
    forgery.useCandidateAfterIntegrity = true
    forgeries.append(forgery)
    for forgery in forgeries { world.inject(try forgery.bytes(), to: .right, route: route) }
    world.drain()
    #expect(world.right.state == .connected)
    #expect(world.right.selectedPair == nil)
    #expect(world.right.statistics.unauthenticated == 4)
    // The genuine one does.
    let genuine = ForgedRequest.genuine(from: world.left, to: world.right, useCandidate: true)
    world.inject(try genuine.bytes(), to: .right, route: route)
    #expect(world.right.state == .completed)
  }

  @Test("I7: a nomination replayed from another address moves nothing there")
  func replayedNomination() throws {
    var world = World(seed: 11)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let nomination = try #require(try world.requests(by: .left).first { try Seen($0.bytes).useCandidate })
    let route = Route(socket: world.socket(.right), remote: try address("203.0.113.66:666"))
    world.inject(nomination.bytes, to: .right, route: route)
    world.run(for: .seconds(100))
    #expect(world.right.selectedPair?.route.remote == SocketAddress("10.0.0.1:1000"))
    let isValidated = world.right.isValidated(route)
    #expect(!isValidated)
  }

  @Test("I8: without consent sending stops at 30 s, and late answers do not revive it")
  func consentExpires() throws {
    var world = World(seed: 12)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let cut = world.now
    world.isBlocked = { _ in true }
    let failed = world.run(for: .seconds(31)) { $0.left.state == .failed && $0.right.state == .failed }
    #expect(failed)
    let passed = world.now - cut
    #expect(passed >= .seconds(29) && passed <= .seconds(30))
    #expect(world.left.sendRoute == nil)
    #expect(world.left.deadline == nil)
    let swallowed = try world.requests(by: .left).suffix(3)
    let count = world.sent.count
    world.isBlocked = { _ in false }
    for request in swallowed {
      let answer = try forgedAnswer(
        to: request.bytes, password: world.right.localCredentials.password, mapped: request.source)
      world.inject(answer, to: .left, route: Route(socket: world.socket(.left), remote: request.destination))
    }
    world.run(for: .seconds(60))
    #expect(world.left.state == .failed)
    #expect(world.left.sendRoute == nil)
    #expect(world.sent.count == count)
    let states = world.leftEvents.compactMap { if case .stateChanged(let state) = $0 { state } else { nil } }
    #expect(states.suffix(3) == [.completed, .disconnected, .failed])
  }

  @Test("I8: a peer that answers 403 takes its consent back at once")
  func consentRevoked() throws {
    var world = World(seed: 13)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let before = try world.requests(by: .left).count
    world.isBlocked = { $0.from == .right }
    world.run(for: .seconds(8)) { $0.left.statistics.consentRequestsSent > 0 }
    let check = try #require(try world.requests(by: .left).dropFirst(before).first)
    let route = Route(socket: world.socket(.left), remote: check.destination)
    world.inject(try forgedAnswer(to: check.bytes, password: nil, error: 403), to: .left, route: route)
    #expect(world.left.state != .failed)
    let password = world.right.localCredentials.password
    world.inject(try forgedAnswer(to: check.bytes, password: password, error: 403), to: .left, route: route)
    #expect(world.left.state == .failed)
  }

  @Test("I9: transaction ids do not repeat, and come from the system's generator")
  func transactionIDs() {
    var random = RandomSource.system
    var seen: Set<TransactionID> = []
    for _ in 0..<10_000 { seen.insert(.random(using: &random)) }
    #expect(seen.count == 10_000)
    #expect(Set(seen.map(\.high)).count > 9_900)
    #expect(Set(seen.map(\.low)).count == 10_000)
  }

  @Test("I10: messages with a fingerprint but no integrity change nothing and get no answer")
  func unsignedMessages() throws {
    var world = World(seed: 14)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    let request = try #require(try world.requests(by: .left).first)
    let route = Route(socket: world.socket(.left), remote: request.destination)
    let count = world.sent.count
    world.inject(
      try forgedAnswer(to: request.bytes, password: nil, mapped: request.source), to: .left, route: route)
    var unsigned = ForgedRequest.genuine(from: world.right, to: world.left)
    unsigned.password = nil
    world.inject(try unsigned.bytes(), to: .left, route: route)
    world.drain()
    #expect(world.left.sendRoute == nil)
    #expect(world.left.statistics.unauthenticated == 2)
    #expect(world.sent.count == count)
  }

  @Test(
    "I12: names and addresses that lead nowhere are not resolved, not paired, not an error",
    arguments: [
      "candidate:1 1 udp 1 4e1f0c9f-1b2a-4c3d-8e5f-000000000000.local 5000 typ host",
      "candidate:1 1 udp 1 host.example.org 5000 typ host", "candidate:1 1 udp 1 x.invalid 5000 typ host",
      "candidate:1 1 udp 1 0.0.0.0 5000 typ host", "candidate:1 1 udp 1 :: 5000 typ host",
      "candidate:1 1 udp 1 224.0.0.1 5000 typ host", "candidate:1 1 udp 1 ff02::1 5000 typ host",
      "candidate:1 1 udp 1 ::ffff:10.0.0.9 5000 typ host", "candidate:1 1 tcp 1 10.0.0.9 9 typ host tcptype active",
      "candidate:1 2 udp 1 10.0.0.9 5000 typ host", "candidate:1 1 sctp 1 10.0.0.9 5000 typ host",
      "candidate:1 1 udp 1 10.0.0.9 5000 typ host ufrag older", "candidate:1 1 udp 1 127.0.0.1 53 typ host",
      "candidate:1 1 udp 1 fe80::1 5000 typ host",
    ])
  func unusableCandidates(text: String) throws {
    var world = World(seed: 15)
    try world.addLocal(.left, "10.0.0.1:1000")
    try world.addLocal(.left, "[2001:db8::1]:1000")
    world.exchangeCredentials()
    world.left.addRemoteCandidate(try ICECandidate(parsing: text), now: world.now)
    world.start()
    world.run(for: .seconds(10))
    #expect(world.left.checkList.pairs.isEmpty)
    #expect(world.sent.isEmpty)
  }

  @Test("I14: credentials stay for an agent's life, so a restart can not wedge it half way")
  func credentialsStay() throws {
    var world = World(seed: 16)
    try world.connectSimply()
    var random = RandomSource.seeded(state: 1)
    world.left.setRemoteCredentials(.random(using: &random))
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    world.left.close()
    world.right.close()
    #expect(world.left.state == .closed)
    #expect(world.left.deadline == nil)
    #expect(world.left.sendRoute == nil)
    world.left.start(now: world.now)
    world.left.endOfRemoteCandidates(now: world.now)
    world.left.handleTimeout(now: world.now)
    world.run(for: .seconds(60))
    #expect(world.left.state == .closed)
  }

  @Test("S1: no answer is larger than three times its question; junk gets none")
  func amplification() throws {
    var world = World(seed: 17)
    try world.addLocal(.left, "[2001:db8::1]:1000")
    world.exchangeCredentials()
    let route = Route(socket: world.socket(.left), remote: try address("[2001:db8::2]:1"))
    var small = ForgedRequest.genuine(from: world.right, to: world.left)
    small.priority = nil
    small.controlled = nil
    var odd = small
    odd.unknownAttribute = true
    var conflict = small
    conflict.controlling = 0
    for request in [small, odd, conflict] {
      let bytes = try request.bytes()
      world.inject(bytes, to: .left, route: route)
      let answers = world.left.transmissions(now: world.now)
      #expect(answers.count == 1)
      #expect(answers.allSatisfy { $0.bytes.count <= bytes.count * 3 })
    }
    for messageClass in [STUNClass.indication, .successResponse, .errorResponse] {
      let bytes = try collectBytes(capacity: 100) { (out) throws(STUNEncodingError) in
        _ = try STUNWriter(STUNHeader(messageClass, id: TransactionID(high: 1, low: 1)), into: &out)
      }
      world.inject(bytes, to: .left, route: route)
    }
    world.inject([0, 1, 2, 3], to: .left, route: route)
    world.inject([], to: .left, route: route)
    #expect(world.left.transmissions(now: world.now).isEmpty)
  }

  @Test("a request that must but cannot be understood is answered with 420 when it is authentic")
  func unknownAttribute() throws {
    var world = World(seed: 18)
    try world.addLocal(.left, "10.0.0.1:1000")
    world.exchangeCredentials()
    var request = ForgedRequest.genuine(from: world.right, to: world.left)
    request.unknownAttribute = true
    let route = Route(socket: world.socket(.left), remote: try address("10.0.0.2:2000"))
    world.inject(try request.bytes(), to: .left, route: route)
    let answer = try #require(world.left.transmissions(now: world.now).first)
    let seen = try Seen(answer.bytes)
    #expect(seen.errorCode == 420)
    #expect(seen.unknown == [0x7f, 0xfe])
    request.password = "wrong"
    world.inject(try request.bytes(), to: .left, route: route)
    #expect(world.left.transmissions(now: world.now).isEmpty)
  }

  @Test("every vector, whole and cut at every length, neither traps the agent nor makes it talk")
  func hostileDatagrams() throws {
    var world = World(seed: 19)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    let count = world.sent.count
    let route = Route(socket: world.socket(.left), remote: try address("10.0.0.2:2000"))
    var vectors = try VectorRecord.read("rfc/stun-rfc5769-rfc8489.txt").compactMap { $0.bytes("message") }
    vectors.append(try ForgedRequest.genuine(from: world.right, to: world.left).bytes())
    let genuine = try #require(vectors.last)
    for vector in vectors {
      for length in 0...vector.count where vector != genuine || length < vector.count {
        world.inject(Array(vector[..<length]), to: .left, route: route)
      }
    }
    world.drain()
    #expect(world.sent.count == count)
    #expect(world.left.sendRoute == nil)
  }

  @Test("a link that flips bits delays agents but confuses none", arguments: 1...50 as ClosedRange<UInt64>)
  func corruption(seed: UInt64) throws {
    var world = World(seed: seed)
    world.corruptPerMille = 300
    world.jitter = .milliseconds(20)
    try world.connectSimply()
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done, "seed \(seed)")
    #expect(world.left.statistics.roleSwitches == 0, "seed \(seed)")
  }
}
