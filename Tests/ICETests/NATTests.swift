// NATTests.swift — which kinds of NAT can be crossed, and how: the matrix that theory allows, no more and no less.

import Testing
import Wire

@testable import ICE

@Suite struct NATTests {
  /// A symmetric NAT shows each remote address another port, so only who does not look at ports lets its packets in.
  private func isOpen(_ a: NATKind, _ b: NATKind) -> Bool {
    if a == .blocked || b == .blocked { return false }
    if a == .symmetric { return b != .portRestricted && b != .symmetric }
    if b == .symmetric { return a != .portRestricted && a != .symmetric }
    return true
  }

  @Test("without relays exactly those pairs connect that can", arguments: NATKind.allCases, NATKind.allCases)
  func direct(left: NATKind, right: NATKind) {
    var world = NATWorld(left, right, relays: false)
    let done = world.run(for: .seconds(60)) { $0.left.state == .completed && $0.right.state == .completed }
    #expect(done == isOpen(left, right))
    if !done {
      let failed = world.run(for: .seconds(60)) { $0.left.state == .failed && $0.right.state == .failed }
      #expect(failed)
    }
  }

  @Test(
    "with relays every pair connects, through a relay only if it must", arguments: NATKind.allCases, NATKind.allCases)
  func relayed(left: NATKind, right: NATKind) {
    for seed in 1...3 as ClosedRange<UInt64> {
      var world = NATWorld(left, right, relays: true, seed: seed)
      world.lossPerMille = seed == 1 ? 0 : 100
      let start = world.now
      let done = world.run(for: .seconds(60)) { $0.left.state == .completed && $0.right.state == .completed }
      #expect(done, "seed \(seed)")
      let passed = world.now - start
      if seed == 1 { #expect(passed < .seconds(1)) }
      // A relay may have been the first to work; what is better takes over.
      _ = world.run(for: .seconds(40)) { Self.isDirect($0) }
      #expect(Self.isDirect(world) == isOpen(left, right), "seed \(seed)")
      #expect(world.left.state == .completed && world.right.state == .completed)
    }
  }

  private static func isDirect(_ world: borrowing NATWorld) -> Bool {
    guard let left = world.left.selectedPair, let right = world.right.selectedPair else { return false }
    return left.local.kind != .relayed && left.remote.kind != .relayed && left.route.socket == NATWorld.hostSocket
      && right.local.kind != .relayed && right.remote.kind != .relayed && right.route.socket == NATWorld.hostSocket
  }
}
