// StoryTests.swift — trickle, early checks, reflexive candidates, roles, nomination, consent and patience as stories.

import STUN
import Testing
import Wire

import ICE

@Suite struct TrickleTests {
  @Test("candidates that come one by one, both ways, before and after the start")
  func trickle() throws {
    var world = World(seed: 1)
    world.exchangeCredentials()
    world.start()
    #expect(world.left.state == .checking)
    world.run(for: .seconds(1))
    let unreachable = ICECandidate(
      foundation: "9", priority: 2_130_706_431, address: .ip(try address("10.9.9.9:9")), kind: .host)
    world.left.addRemoteCandidate(unreachable, now: world.now)
    world.run(for: .seconds(1))
    let l = try world.addLocal(.left, "10.0.0.1:1000")
    world.right.addRemoteCandidate(l, now: world.now)
    world.run(for: .seconds(1))
    let r = try world.addLocal(.right, "10.0.0.2:2000")
    world.left.addRemoteCandidate(r, now: world.now)
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
  }

  @Test("candidates may come before the credentials; those of another generation then fall away")
  func candidatesBeforeCredentials() throws {
    var world = World(seed: 2)
    try world.addLocal(.left, "10.0.0.1:1000")
    let r = try world.addLocal(.right, "10.0.0.2:2000")
    var old = r
    old.usernameFragment = "older"
    old.address = .ip(try address("10.0.0.3:1"))
    world.left.start(now: world.now)
    world.left.addRemoteCandidate(old, now: world.now)
    world.left.addRemoteCandidate(r, now: world.now)
    #expect(world.left.state == .new)
    let isIdle = world.left.deadline == nil
    #expect(isIdle)
    world.left.setRemoteCredentials(world.right.localCredentials)
    let deadline = world.left.deadline
    let due = try #require(deadline)
    #expect(due <= world.now)
    world.left.handleTimeout(now: world.now)
    world.drain()
    #expect(world.sent.map(\.destination) == [try address("10.0.0.2:2000")])
    #expect(world.left.statistics.ignoredCandidates == 1)
  }

  @Test("checks that come before the peer's credentials are answered at once and returned later")
  func earlyChecks() throws {
    var world = World(seed: 3)
    let l = try world.addLocal(.left, "10.0.0.1:1000")
    try world.addLocal(.right, "10.0.0.2:2000")
    world.right.setRemoteCredentials(world.left.localCredentials)
    world.right.addRemoteCandidate(l, now: world.now)
    world.start()
    world.run(for: .seconds(1))
    #expect(world.right.state == .connected)
    #expect(world.left.state == .new)
    #expect(world.left.earlyChecks.count == 1)
    // Neither a candidate nor another check is needed.
    world.left.setRemoteCredentials(world.right.localCredentials)
    let done = world.run(for: .milliseconds(200), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.remote.kind == .peerReflexive)
  }

  @Test("early checks are kept up to a bound, and only those of the true peer count")
  func earlyChecksAreBounded() throws {
    var world = World(seed: 4)
    try world.addLocal(.left, "10.0.0.1:1000")
    world.left.start(now: world.now)
    for port in 0..<1_000 {
      var request = ForgedRequest.genuine(from: world.right, to: world.left, id: UInt64(port))
      if port.isMultiple(of: 2) { request.username = "\(world.left.localCredentials.usernameFragment):other" }
      let route = Route(socket: world.socket(.left), remote: try address("10.0.0.2:\(2_000 + port)"))
      world.inject(try request.bytes(), to: .left, route: route)
      world.drain()
    }
    #expect(world.left.earlyChecks.count == 16)
    world.left.setRemoteCredentials(world.right.localCredentials)
    world.run(for: .seconds(1))
    #expect(world.left.checkList.pairs.count == 8)
  }

  @Test("a nomination among the early checks is kept")
  func earlyNomination() throws {
    var world = World(seed: 5, left: .controlled, right: .controlling)
    let l = try world.addLocal(.left, "10.0.0.1:1000")
    try world.addLocal(.right, "10.0.0.2:2000")
    world.right.setRemoteCredentials(world.left.localCredentials)
    world.right.addRemoteCandidate(l, now: world.now)
    world.start()
    let done = world.run(for: .seconds(1)) { $0.right.state == .completed }
    #expect(done)
    world.left.setRemoteCredentials(world.right.localCredentials)
    let both = world.run(for: .milliseconds(200), until: bothCompleted)
    #expect(both)
  }
}

@Suite struct ReflexiveTests {
  @Test("a side whose candidates are withheld is found by its checks; its candidate then takes their place")
  func peerReflexiveRemote() throws {
    var world = World(seed: 1)
    let l = try world.addLocal(.left, "10.0.0.1:1000")
    let r = try world.addLocal(.right, "10.0.0.2:2000")
    world.exchangeCredentials()
    world.right.addRemoteCandidate(l, now: world.now)
    world.start()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let remote = try #require(world.left.selectedPair?.remote)
    #expect(remote.kind == .peerReflexive)
    #expect(remote.socketAddress == SocketAddress("10.0.0.2:2000"))
    #expect(remote.priority == ICECandidate.priority(.peerReflexive))
    world.left.addRemoteCandidate(r, now: world.now)
    #expect(world.left.checkList.pairs.count == 1)
  }

  @Test("a signalled candidate that a check ran ahead of replaces the peer-reflexive one")
  func candidateAfterCheck() throws {
    var world = World(seed: 2)
    let l = try world.addLocal(.left, "10.0.0.1:1000")
    let r = try world.addLocal(.right, "10.0.0.2:2000")
    world.exchangeCredentials()
    world.right.addRemoteCandidate(l, now: world.now)
    world.start()
    let learnt = world.run(for: .seconds(1)) { !$0.left.checkList.pairs.isEmpty }
    #expect(learnt)
    let before = world.left.checkList.pairs[0].priority
    world.left.addRemoteCandidate(r, now: world.now)
    #expect(world.left.checkList.pairs.count == 1)
    #expect(world.left.checkList.pairs[0].remote == r)
    #expect(world.left.checkList.pairs[0].priority > before)
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.remote.kind == .host)
  }

  @Test("behind a NAT the local candidate is the address that the peer sees")
  func peerReflexiveLocal() throws {
    var world = World(seed: 3)
    let inside = try address("192.168.1.5:1000")
    let outside = try address("203.0.113.1:4000")
    world.translations[inside] = outside
    let l = try world.addLocal(.left, "192.168.1.5:1000")
    let r = try world.addLocal(.right, "198.51.100.2:2000")
    world.exchangeCredentials()
    world.left.addRemoteCandidate(r, now: world.now)
    world.right.addRemoteCandidate(l, now: world.now)  // leads nowhere
    world.start()
    let done = world.run(for: .seconds(5), until: bothCompleted)
    #expect(done)
    let local = try #require(world.left.selectedPair?.local)
    #expect(local.kind == .peerReflexive)
    #expect(local.socketAddress == outside)
    #expect(local.relatedAddress == inside)
    #expect(world.left.selectedPair?.route.remote == SocketAddress("198.51.100.2:2000"))
    #expect(world.right.selectedPair?.remote.kind == .peerReflexive)
    #expect(world.right.selectedPair?.route.remote == outside)
  }

  @Test("link-local addresses pair among themselves, on the zone of our own socket")
  func linkLocal() throws {
    var world = World(seed: 4)
    world.delay = .zero
    let l = try world.addLocal(.left, "[fe80::1%2]:1000")
    #expect(l.sdpText.contains(" fe80::1 1000 "))
    let r = try world.addLocal(.right, "[fe80::2%7]:2000")
    let global = try world.addLocal(.right, "[2001:db8::2]:2000")
    let v4 = try world.addLocal(.right, "10.0.0.2:2000")
    for candidate in [r, global, v4] { world.left.addRemoteCandidate(candidate, now: world.now) }
    world.exchangeCredentials()
    let routes = world.left.checkList.pairs.map(\.route.remote)
    #expect(routes == [try address("[fe80::2%2]:2000")])
  }
}

@Suite struct RoleTests {
  @Test(
    "both sides start in the same role and still agree", arguments: [ICEAgent.Role.controlling, .controlled],
    1...50 as ClosedRange<UInt64>)
  func conflict(role: ICEAgent.Role, seed: UInt64) throws {
    var world = World(seed: seed, left: role, right: role)
    world.lossPerMille = 100
    world.jitter = .milliseconds(25)
    try world.connectSimply()
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done, "seed \(seed)")
    #expect(world.left.role != world.right.role, "seed \(seed)")
    let left = selectedAddresses(world.left)
    #expect(left == selectedAddresses(world.right).reversed(), "seed \(seed)")
    // The larger tie-breaker controls; but chance may have replaced it.
    #expect(world.left.statistics.roleSwitches + world.right.statistics.roleSwitches >= 1)
  }

  @Test("even equal tie-breakers end in two roles", arguments: [ICEAgent.Role.controlling, .controlled])
  func equalTieBreakers(role: ICEAgent.Role) throws {
    var world = World(seed: 1, left: role, right: role)
    world.left.tieBreaker = 5
    world.right.tieBreaker = 5
    try world.connectSimply()
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done)
    #expect(world.left.role != world.right.role)
  }

  @Test("the role can be set until checks start")
  func setRole() throws {
    var world = World(seed: 2, left: .controlled, right: .controlled)
    world.left.setRole(.controlling)
    try world.connectSimply()
    world.left.setRole(.controlled)
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    #expect(world.left.role == .controlling)
    #expect(world.left.statistics.roleSwitches == 0)
  }
}

@Suite struct NominationTests {
  /// Two addresses each; the first pair, the better one, is as slow as `extra` says.
  private func twoPaths(
    seed: UInt64, extra: Interval, isBlocked: @escaping (Datagram) -> Bool = { _ in false }
  ) throws -> World {
    var world = World(seed: seed)
    world.isBlocked = isBlocked
    let l = [try world.addLocal(.left, "10.0.0.1:1"), try world.addLocal(.left, "[2001:db8::1]:1")]
    let r = [try world.addLocal(.right, "10.0.0.2:2"), try world.addLocal(.right, "[2001:db8::2]:2")]
    world.extraDelay = { $0.source.ip.isV4 ? extra : .zero }
    world.exchangeCredentials()
    for candidate in r { world.left.addRemoteCandidate(candidate, now: world.now) }
    for candidate in l { world.right.addRemoteCandidate(candidate, now: world.now) }
    world.start()
    return world
  }

  @Test("a better pair that is a little slower is waited for")
  func waitsForBetter() throws {
    var world = try twoPaths(seed: 1, extra: .milliseconds(50))
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.route.remote == SocketAddress("10.0.0.2:2"))
  }

  @Test("a better pair that does not answer is not waited for longer than the acceptance delay")
  func acceptsSecondBest() throws {
    var world = try twoPaths(seed: 2, extra: .seconds(60))
    let start = world.now
    let valid = world.run(for: .seconds(2)) { $0.left.sendRoute != nil }
    #expect(valid)
    #expect(world.left.sendRoute?.remote == SocketAddress("[2001:db8::2]:2"))
    #expect(world.left.state == .connected)
    let validAt = world.now
    let nominated = world.run(for: .seconds(2)) { ((try? $0.isNominated(by: .left)) ?? false) }
    #expect(nominated)
    let waited = world.now - validAt
    #expect(waited == .milliseconds(100))
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    let total = world.now - start
    #expect(total < .milliseconds(300))
    // The search is over: nothing goes to the other address any more.
    let before = world.sent.count
    world.run(for: .seconds(60))
    let late = try world.sent[before...].filter {
      try $0.destination.ip.isV4 && Seen($0.bytes).messageClass == .request
    }
    #expect(late.isEmpty)
  }

  @Test("a nomination that is never answered fails its pair, and the next one is tried")
  func nominationFails() throws {
    // By then the next pair was confirmed too long ago to be sent on, so it is checked again first.
    var world = try twoPaths(seed: 3, extra: .zero) { datagram in
      datagram.source.ip.isV4 && (try? Seen(datagram.bytes).useCandidate) == true
    }
    let done = world.run(for: .seconds(60), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.route.remote == SocketAddress("[2001:db8::2]:2"))
    #expect(world.right.selectedPair?.route.remote == SocketAddress("[2001:db8::1]:1"))
  }

  @Test("the controlled side follows a second nomination to a better pair, not to a worse one")
  func secondNomination() throws {
    // The better pair does not work at first.
    var world = try twoPaths(seed: 4, extra: .zero) { $0.source.ip.isV4 && $0.from == .left }
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    #expect(world.right.selectedPair?.route.remote == SocketAddress("[2001:db8::1]:1"))
    world.isBlocked = { _ in false }
    let better = Route(socket: world.socket(.right), remote: try address("10.0.0.1:1"))
    let nomination = ForgedRequest.genuine(from: world.left, to: world.right, useCandidate: true)
    world.inject(try nomination.bytes(), to: .right, route: better)
    world.run(for: .seconds(1))
    #expect(world.right.selectedPair?.route == better)
    let worse = Route(socket: world.socket(.right, 1), remote: try address("[2001:db8::1]:1"))
    world.inject(try nomination.bytes(), to: .right, route: worse)
    world.run(for: .seconds(1))
    #expect(world.right.selectedPair?.route == better)
    let isStillAWayIn = world.right.isValidated(worse)
    #expect(isStillAWayIn)
  }
}

@Suite struct TimerTests {
  @Test("checks to one address follow Rc and Rm, with the same bytes, and then the agent fails")
  func schedule() throws {
    var world = World(seed: 1)
    world.isBlocked = { _ in true }
    let start = world.now
    try world.connectSimply()
    let failed = world.run(for: .seconds(100)) { $0.left.state == .failed && $0.right.state == .failed }
    #expect(failed)
    let passed = world.now - start
    #expect(passed == .milliseconds(39_500))
    let own = world.sent(by: .left)
    let times = own.map { ($0.at - start).nanoseconds / 1_000_000 }
    #expect(times == [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500])
    #expect(Set(own.map(\.bytes)).count == 1)
  }

  @Test("a late wake-up neither bunches nor loses retransmissions")
  func lateWakeUp() throws {
    var world = World(seed: 2)
    world.isBlocked = { _ in true }
    try world.connectSimply()
    world.now = world.now + .seconds(10)
    world.left.handleTimeout(now: world.now)
    let sent = world.left.transmissions(now: world.now)
    #expect(sent.count == 1)
    let deadline = world.left.deadline
    let due = try #require(deadline)
    #expect(due > world.now)
  }

  @Test("without a single candidate an agent has patience for 39.5 s")
  func patience() throws {
    var world = World(seed: 3)
    let start = world.now
    world.exchangeCredentials()
    world.start()
    world.left.endOfRemoteCandidates(now: world.now)
    let failed = world.run(for: .seconds(100)) { $0.left.state == .failed }
    #expect(failed)
    let passed = world.now - start
    #expect(passed == .milliseconds(39_500))
  }

  @Test("patience starts again with a late candidate, and the peer's check saves the connection")
  func patienceIsRewarded() throws {
    var world = World(seed: 4)
    let l = try world.addLocal(.left, "10.0.0.1:1000")
    try world.addLocal(.right, "10.0.0.2:2000")
    world.exchangeCredentials()
    world.start()
    world.run(for: .seconds(30))
    let dead = ICECandidate(
      foundation: "9", priority: 1, address: .ip(try address("10.9.9.9:9")), kind: .host)
    world.left.addRemoteCandidate(dead, now: world.now)
    world.right.addRemoteCandidate(dead, now: world.now)
    world.run(for: .seconds(39))
    #expect(world.left.state == .checking)
    world.right.addRemoteCandidate(l, now: world.now)
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
  }

  @Test("silence for some seconds is a disconnection that heals")
  func disconnectionHeals() throws {
    var world = World(seed: 5)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    world.isBlocked = { _ in true }
    let out = world.run(for: .seconds(12)) { $0.left.state == .disconnected && $0.right.state == .disconnected }
    #expect(out)
    // Sending goes on: consent is not lost yet.
    #expect(world.left.sendRoute != nil)
    world.isBlocked = { _ in false }
    let healed = world.run(for: .seconds(7), until: bothCompleted)
    #expect(healed)
    world.run(for: .seconds(120))
    #expect(world.left.state == .completed)
  }

  @Test("a lossy link stays connected for ten minutes", arguments: 1...20 as ClosedRange<UInt64>)
  func longLife(seed: UInt64) throws {
    var world = World(seed: seed)
    world.lossPerMille = 100
    try world.connectSimply()
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done)
    world.run(for: .seconds(600))
    #expect(world.left.state != .failed && world.right.state != .failed, "seed \(seed)")
    #expect(world.left.transactions.count <= 8)
  }

  @Test("consent checks come every 4 to 6 s, each a new transaction")
  func consentInterval() throws {
    var world = World(seed: 6)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let before = try world.requests(by: .left).count
    world.run(for: .seconds(300))
    let checks = try world.requests(by: .left).dropFirst(before)
    let gaps = zip(checks, checks.dropFirst()).map { $1.at - $0.at }
    #expect(gaps.count > 45)
    #expect(gaps.allSatisfy { $0 >= .seconds(4) && $0 <= .seconds(6) })
    #expect(Set(gaps).count > 30)
    #expect(Set(try checks.map { try Seen($0.bytes).id }).count == checks.count)
    #expect(try checks.allSatisfy { try !Seen($0.bytes).useCandidate })
  }

  @Test("a working pair that is never nominated is kept by consent, and dropped without it")
  func consentBeforeNomination() throws {
    var world = World(seed: 7, left: .controlling, right: .controlled)
    try world.connectSimply()
    world.isBlocked = { (try? Seen($0.bytes).useCandidate) == true }
    world.run(for: .seconds(35))
    #expect(world.left.state == .connected && world.right.state == .connected)
    #expect(world.left.statistics.consentRequestsSent >= 5 && world.right.statistics.consentRequestsSent >= 5)
    world.isBlocked = { _ in true }
    let failed = world.run(for: .seconds(40)) { $0.left.state == .failed && $0.right.state == .failed }
    #expect(failed)
  }
}
