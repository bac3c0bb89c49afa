// LossTests.swift — connections through heavy loss, and role conflicts in all orders, over many seeds.

import Foundation
import Testing
import Wire

@testable import ICE

@Suite struct LossTests {
  /// `ICE_SEEDS=100000 swift test --filter LossTests` looks further.
  private static let seeds = UInt64(ProcessInfo.processInfo.environment["ICE_SEEDS"] ?? "") ?? 1_000

  @Test("30 % loss each way keeps no two agents apart: a thousand seeds", arguments: 0..<8 as Range<UInt64>)
  func thirtyPercent(part: UInt64) throws {
    for seed in stride(from: part + 1, through: Self.seeds, by: 8) {
      var world = World(seed: seed)
      world.lossPerMille = 300
      world.duplicatePerMille = 20
      world.jitter = .milliseconds(30)
      try world.connectSimply()
      let done = world.run(for: .seconds(40), until: bothCompleted)
      let isSamePair = selectedAddresses(world.left) == selectedAddresses(world.right).reversed()
      if !done || !isSamePair { Issue.record("seed \(seed): \(world.left.state), \(world.right.state)") }
    }
  }

  @Test("role conflicts in all orders, with all tie-breakers, with and without loss")
  func roleConflicts() throws {
    let roles: [ICEAgent.Role] = [.controlling, .controlled]
    for (left, right) in roles.flatMap({ left in roles.map { (left, $0) } }) {
      for (mine, theirs) in [(UInt64(1), UInt64(2)), (2, 1), (5, 5), (0, 0), (.max, .max)] {
        for loss in [UInt64(0), 300] {
          for seed in 1...10 as ClosedRange<UInt64> {
            var world = World(seed: seed, left: left, right: right)
            world.left.tieBreaker = mine
            world.right.tieBreaker = theirs
            world.lossPerMille = loss
            world.jitter = .milliseconds(Int64(seed % 3) * 15)
            try world.connectSimply()
            let done = world.run(for: .seconds(60), until: bothCompleted)
            let story = "\(left)/\(right), \(mine)/\(theirs), loss \(loss), seed \(seed)"
            #expect(done, "\(story)")
            #expect(world.left.role != world.right.role, "\(story)")
            let isSamePair = selectedAddresses(world.left) == selectedAddresses(world.right).reversed()
            #expect(isSamePair, "\(story)")
            if left != right { #expect(world.left.role == left, "\(story)") }
          }
        }
      }
    }
  }

  @Test("ten thousand forged requests, of every kind and from anywhere, leave nothing behind")
  func forgedRequests() throws {
    var world = World(seed: 1)
    try world.connectSimply()
    let done = world.run(for: .seconds(1), until: bothCompleted)
    #expect(done)
    let selected = world.left.selectedPair
    let sent = world.sent.count
    var random = RandomSource.seeded(state: 7)
    for number in 0..<10_000 as Range<UInt64> {
      var forged = ForgedRequest.genuine(
        from: world.right, to: world.left, useCandidate: number.isMultiple(of: 2), id: number)
      switch number % 5 {
      case 0: forged.password = nil
      case 1: forged.password = "guess \(number)"
      case 2: forged.username = "\(world.left.localCredentials.usernameFragment):\(number)"
      case 3: forged.username = "\(number):\(world.right.localCredentials.usernameFragment)"
      default: forged.unknownAttribute = true
      }
      if number % 5 == 4 { forged.password = "guess" }
      let source = SocketAddress(
        ip: .v4(UInt32(truncatingIfNeeded: random.next()) | 1), port: UInt16(number & 0x7fff) + 1)
      world.inject(try forged.bytes(), to: .left, route: Route(socket: world.socket(.left), remote: source))
      world.drain()
    }
    #expect(world.left.statistics.unauthenticated == 10_000)
    #expect(world.sent.count == sent)
    #expect(world.left.checkList.pairs.count == 1)
    #expect(world.left.transactions.count <= 1)
    #expect(world.left.outbox.isEmpty)
    #expect(world.left.earlyChecks.isEmpty)
    #expect(world.left.selectedPair == selected)
  }

  @Test("before anything is known of the peer a forger finds as little")
  func forgedRequestsEarly() throws {
    var world = World(seed: 2)
    try world.addLocal(.left, "10.0.0.1:1")
    world.left.start(now: world.now)
    for port in 1...10_000 as ClosedRange<UInt16> {
      let forged = ForgedRequest(
        username: "\(world.left.localCredentials.usernameFragment):x", password: "guess", controlling: 1)
      let source = SocketAddress(ip: .v4(0xCB00_7105), port: port)
      world.inject(try forged.bytes(), to: .left, route: Route(socket: world.socket(.left), remote: source))
      world.drain()
    }
    #expect(world.sent.isEmpty)
    #expect(world.left.earlyChecks.isEmpty)
    #expect(world.left.checkList.pairs.isEmpty)
  }
}
