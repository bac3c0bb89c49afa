// AssociationSoakTests.swift — the soak's first seeds with every assertion compiled in; `make soak` runs thousands without.

import Simulation
import Testing

@Suite struct AssociationSoakTests {
  @Test("whatever happens on the way, what is promised arrives once and in order", arguments: 0..<8 as Range<UInt64>)
  func soak(part: UInt64) throws {
    var messages = 0
    for seed in (part * 25 + 1)...(part * 25 + 25) {
      do {
        messages += try soakAssociations(seed: seed).messages
      } catch {
        Issue.record("seed \(seed): \(error)")
      }
    }
    #expect(messages > 1_000)
  }
}
