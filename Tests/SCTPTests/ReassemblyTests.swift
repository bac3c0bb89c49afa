// ReassemblyTests.swift — fragments in every order.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct ReassemblyTests {
  private func permutations(_ n: Int) -> [[Int]] {
    guard n > 0 else { return [[]] }
    return permutations(n - 1).flatMap { shorter in
      (0...shorter.count).map { place in
        var longer = shorter
        longer.insert(n - 1, at: place)
        return longer
      }
    }
  }

  @Test("two messages of three fragments, in all 720 orders, each fragment twice", arguments: [true, false])
  func everyOrder(ordered: Bool) {
    var world = World.connected()
    let extra: DataFlags = ordered ? [] : .unordered
    for order in permutations(6) {
      world.b.messages.removeAll()
      let first = world.tsn(1)
      let ssn = world.b.association.statistics.messagesReceived
      for index in order {
        let flags: [DataFlags] = [.begin, [], .end]
        let chunk = data(
          first.advanced(by: UInt32(index)), [UInt8](repeating: UInt8(index), count: 1 + index),
          ssn: UInt16(truncatingIfNeeded: Int(ssn) + index / 3), flags: flags[index % 3].union(extra))
        world.inject(chunk, chunk)
        let consistent = world.b.association.isConsistent
        #expect(consistent)
      }
      let messages = world.b.messages.map(\.payload)
      let expected: [[UInt8]] = [[0, 1, 1, 2, 2, 2], [3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5]]
      // Unordered messages come when they are complete.
      #expect(ordered ? messages == expected : Set(messages) == Set(expected) && messages.count == 2, "\(order)")
      let held = world.b.association.heldBytes
      #expect(held == 0)
    }
  }
}
