// RenominationTests.swift — another pair takes the place of the nominated one; lite agents; statistics; ownership.

import STUN
import Testing
import Wire

@testable import ICE

@Suite struct RenominationTests {
  /// Two addresses each, the first pair the better one, which does not work yet.
  private func secondBest(seed: UInt64, renomination: Bool) throws -> World {
    var world = World(seed: seed)
    world.isBlocked = { $0.source.ip.isV4 }
    let l = [try world.addLocal(.left, "10.0.0.1:1"), try world.addLocal(.left, "[2001:db8::1]:1")]
    let r = [try world.addLocal(.right, "10.0.0.2:2"), try world.addLocal(.right, "[2001:db8::2]:2")]
    world.exchangeCredentials(renomination: renomination)
    for candidate in r { world.left.addRemoteCandidate(candidate, now: world.now) }
    for candidate in l { world.right.addRemoteCandidate(candidate, now: world.now) }
    world.start()
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.route.remote == SocketAddress("[2001:db8::2]:2"))
    return world
  }

  @Test("a better pair that comes to work later takes over, on both sides", arguments: 1...20 as ClosedRange<UInt64>)
  func betterPair(seed: UInt64) throws {
    var world = try secondBest(seed: seed, renomination: true)
    world.lossPerMille = 100
    world.isBlocked = { _ in false }
    let both = world.run(for: .seconds(35)) {
      $0.left.selectedPair?.route.remote == SocketAddress("10.0.0.2:2")
        && $0.right.selectedPair?.route.remote == SocketAddress("10.0.0.1:1")
    }
    #expect(both, "seed \(seed)")
    let count = world.leftEvents.count { if case .selectedPairChanged = $0 { true } else { false } }
    #expect(count == 2)
    world.lossPerMille = 0
    world.run(for: .seconds(60))
    #expect(world.left.state == .completed && world.right.state == .completed)
  }

  @Test("without the peer's agreement the first nomination stays")
  func notWanted() throws {
    var world = try secondBest(seed: 1, renomination: false)
    world.isBlocked = { _ in false }
    world.run(for: .seconds(60))
    #expect(world.left.selectedPair?.route.remote == SocketAddress("[2001:db8::2]:2"))
  }

  /// Chromium, controlled, sends on a pair of its own choice until its check on the nominated one has succeeded.
  @Test("what the peer may send on, because its checks are answered there, is a way in; other addresses are not")
  func wayInBesideTheSelectedPair() throws {
    var world = try secondBest(seed: 1, renomination: false)
    let other = Route(socket: world.socket(.left), remote: try address("10.0.0.2:2"))
    let elsewhere = Route(socket: world.socket(.left), remote: try address("203.0.113.66:666"))
    let isWayInBefore = world.left.isValidated(other)
    #expect(!isWayInBefore)
    var forged = ForgedRequest.genuine(from: world.right, to: world.left)
    forged.password = "guessed"
    world.inject(try forged.bytes(), to: .left, route: other)
    let isWayInForForgery = world.left.isValidated(other)
    #expect(!isWayInForForgery)
    let check = try ForgedRequest.genuine(from: world.right, to: world.left).bytes()
    world.inject(check, to: .left, route: other)
    world.inject(check, to: .left, route: elsewhere)
    let (isWayIn, isElsewhereWayIn) = (world.left.isValidated(other), world.left.isValidated(elsewhere))
    #expect(isWayIn && !isElsewhereWayIn)
    let all = Set(world.left.validatedRoutes.map(\.remote))
    #expect(all == [SocketAddress("10.0.0.2:2"), SocketAddress("[2001:db8::2]:2")])
    #expect(world.left.selectedPair?.route.remote == SocketAddress("[2001:db8::2]:2"))
  }

  @Test("a better candidate that comes late is looked at")
  func lateCandidate() throws {
    var world = World(seed: 2)
    let r = try world.addLocal(.right, "10.0.0.2:2")
    let relay = try world.addRelay(.left, "198.51.100.1:5000")
    world.exchangeCredentials(renomination: true)
    world.left.addRemoteCandidate(r, now: world.now)
    world.right.addRemoteCandidate(relay, now: world.now)
    world.start()
    let done = world.run(for: .seconds(2), until: bothCompleted)
    #expect(done)
    #expect(world.left.selectedPair?.local.kind == .relayed)
    let host = try world.addLocal(.left, "10.0.0.1:1")
    world.right.addRemoteCandidate(host, now: world.now)
    let direct = world.run(for: .seconds(2)) {
      $0.left.selectedPair?.local.kind == .host && $0.right.selectedPair?.remote.kind == .host
    }
    #expect(direct)
  }

  @Test(
    "a pair that falls silent gives way to one that works, long before consent ends",
    arguments: 1...10 as ClosedRange<UInt64>)
  func silence(seed: UInt64) throws {
    var world = try secondBest(seed: seed, renomination: true)
    world.isBlocked = { !$0.source.ip.isV4 }
    let cut = world.now
    let over = world.run(for: .seconds(29)) {
      $0.left.selectedPair?.route.remote == SocketAddress("10.0.0.2:2")
        && $0.right.selectedPair?.route.remote == SocketAddress("10.0.0.1:1")
    }
    #expect(over, "seed \(seed)")
    let passed = world.now - cut
    #expect(passed < .seconds(13), "seed \(seed)")
    world.run(for: .seconds(120))
    #expect(world.left.state == .completed && world.right.state == .completed)
  }

  @Test("an older nomination, repeated or overtaken, moves nothing back")
  func olderNomination() throws {
    var world = try secondBest(seed: 3, renomination: true)
    let first = try #require(try world.requests(by: .left).last { try Seen($0.bytes).useCandidate })
    world.isBlocked = { _ in false }
    let both = world.run(for: .seconds(35)) {
      $0.right.selectedPair?.route.remote == SocketAddress("10.0.0.1:1")
    }
    #expect(both)
    let old = Route(socket: world.socket(.right, 1), remote: first.source)
    world.inject(first.bytes, to: .right, route: old)
    world.run(for: .seconds(10))
    #expect(world.right.selectedPair?.route.remote == SocketAddress("10.0.0.1:1"))
  }

  @Test("the numbers of libwebrtc and of older Pion are understood, and a short one is malformed")
  func attribute() throws {
    for (type, bytes) in [
      (UInt16(0xc001), [UInt8](arrayLiteral: 0, 0, 0, 7)), (0x0030, [0, 0, 0, 7]), (0xc001, [0, 7]),
    ] {
      let datagram = try collectBytes(capacity: 100) { (out) throws(STUNEncodingError) in
        let writer = try STUNWriter(STUNHeader(.request, id: TransactionID(high: 1, low: 1)), into: &out)
        try writer.attribute(STUNAttributeType(rawValue: type), bytes.rawSpan, into: &out)
      }
      var number: UInt32?
      do throws(Malformed) {
        let message = try STUNMessage(datagram.rawSpan)
        var attributes = message.attributes
        if case .nomination(let value)? = try attributes.next() { number = value }
        #expect(message.unknownRequiredTypes.isEmpty)
      } catch {
        #expect(bytes.count == 2)
      }
      #expect(number == (bytes.count == 4 ? 7 : nil))
    }
  }
}

@Suite struct LiteTests {
  private func lite() -> ICEConfiguration {
    var configuration = ICEConfiguration()
    configuration.isLite = true
    return configuration
  }

  private func world(seed: UInt64) throws -> World {
    var world = World(seed: seed, left: .controlling, right: .controlled, leftConfiguration: lite())
    let l = try world.addLocal(.left, "192.0.2.1:1")
    let r = try world.addLocal(.right, "10.0.0.2:2")
    world.exchangeCredentials()
    world.left.addRemoteCandidate(r, now: world.now)
    world.right.addRemoteCandidate(l, now: world.now)
    world.start()
    return world
  }

  @Test("a lite agent answers and never asks; the full one controls", arguments: 1...50 as ClosedRange<UInt64>)
  func connects(seed: UInt64) throws {
    var world = try world(seed: seed)
    world.lossPerMille = 200
    #expect(world.left.role == .controlled)
    #expect(world.right.role == .controlling)
    let done = world.run(for: .seconds(40), until: bothCompleted)
    #expect(done, "seed \(seed)")
    world.lossPerMille = 0
    world.run(for: .seconds(120))
    #expect(world.left.state == .completed && world.right.state == .completed)
    #expect(try world.requests(by: .left).isEmpty)
    world.left.setRole(.controlling)
    #expect(world.left.role == .controlled)
  }

  @Test("I8: a lite agent stops 30 s after the peer's last check, and hears no earlier that it is silent than it must")
  func consent() throws {
    var world = try world(seed: 1)
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let cut = world.now
    world.isBlocked = { _ in true }
    let silent = world.run(for: .seconds(20)) { $0.left.state == .disconnected }
    #expect(silent)
    let failed = world.run(for: .seconds(31)) { $0.left.state == .failed }
    #expect(failed)
    let passed = world.now - cut
    #expect(passed <= .seconds(30))
    #expect(world.left.sendRoute == nil)
  }

  @Test("a route that no authentic nomination has named is none, for a lite agent, too")
  func noRouteWithoutNomination() throws {
    var world = World(seed: 2, leftConfiguration: lite())
    try world.addLocal(.left, "192.0.2.1:1")
    world.exchangeCredentials()
    world.start()
    let route = Route(socket: world.socket(.left), remote: try address("203.0.113.9:9"))
    world.inject(try ForgedRequest.genuine(from: world.right, to: world.left).bytes(), to: .left, route: route)
    var forged = ForgedRequest.genuine(from: world.right, to: world.left, useCandidate: true)
    forged.password = "guessed"
    world.inject(try forged.bytes(), to: .left, route: route)
    #expect(world.left.sendRoute == nil)
    let isValidated = world.left.isValidated(route)
    #expect(!isValidated)
  }

  @Test("two lite agents never send")
  func bothLite() throws {
    var world = World(seed: 3, configuration: lite())
    try world.connectSimply()
    let failed = world.run(for: .seconds(60)) { $0.left.state == .failed && $0.right.state == .failed }
    #expect(failed)
    #expect(world.sent.isEmpty)
  }
}

@Suite struct PairStatisticsTests {
  @Test("what W3C wants to know of a pair")
  func counts() throws {
    var world = World(seed: 1)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    world.run(for: .seconds(60))
    let all = world.left.pairStatistics
    let pair = try #require(all.first { $0.isNominated })
    #expect(pair.state == .succeeded)
    #expect(pair.counters.requestsSent == world.left.statistics.requestsSent)
    #expect(pair.counters.responsesReceived == world.left.statistics.responsesReceived)
    #expect(pair.counters.consentRequestsSent == world.left.statistics.consentRequestsSent)
    #expect(pair.counters.requestsReceived > 9)
    #expect(pair.currentRoundTrip == .milliseconds(40))
    #expect(pair.counters.totalRoundTrip == .milliseconds(40) * Int64(pair.counters.roundTripMeasurements))
    #expect(pair.priority == world.right.pairStatistics.first { $0.isNominated }?.priority)
    #expect(pair.priority == 9_151_314_442_783_293_438)
  }

  @Test("of two agents on one socket each knows its own messages")
  func owns() throws {
    var world = World(seed: 2)
    try world.connectSimply()
    let other = ICEAgent(role: .controlled, random: .seeded(state: 99))
    let request = try #require(try world.requests(by: .left).first)
    let isRights = world.right.owns(request.bytes.rawSpan)
    let isLefts = world.left.owns(request.bytes.rawSpan)
    let isOthers = other.owns(request.bytes.rawSpan)
    #expect(isRights && !isLefts && !isOthers)
    let answer = try forgedAnswer(to: request.bytes, password: nil, error: 400)
    let answerIsLefts = world.left.owns(answer.rawSpan)
    let answerIsRights = world.right.owns(answer.rawSpan)
    #expect(answerIsLefts && !answerIsRights)
    let junkIsLefts = world.left.owns([0, 1, 2].rawSpan)
    #expect(!junkIsLefts)
  }
}
