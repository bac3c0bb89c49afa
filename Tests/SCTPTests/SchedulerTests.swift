// SchedulerTests.swift — whose turn it is among streams (RFC 8260 §3), seen in the order in which bytes leave.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite struct SchedulerTests {
  private func configuration(_ scheduling: StreamScheduling) -> SCTPConfiguration {
    var configuration = SCTPConfiguration()
    configuration.scheduling = scheduling
    configuration.offersInterleaving = false
    return configuration
  }

  /// Sends 20 messages of 500 bytes on each of two streams, the first stream's before the second's; answers the streams in
  /// the order of arrival.
  private func order(_ scheduling: StreamScheduling, priorities: [UInt16]) throws -> [UInt16] {
    var world = World.connected(a: configuration(scheduling), b: configuration(scheduling))
    for (index, priority) in priorities.enumerated() {
      for _ in 0..<20 {
        var message = OutgoingMessage(UInt16(index + 1), pattern(500))
        message.priority = priority
        try world.a.association.send(message, now: world.now)
      }
    }
    world.run(for: .seconds(5))
    return world.b.messages.map(\.stream)
  }

  @Test("first come, first served")
  func firstCome() throws {
    #expect(
      try order(.firstComeFirstServed, priorities: [256, 1_024]) == Array(repeating: 1, count: 20)
        + Array(repeating: 2, count: 20))
  }

  @Test("round robin takes one message of each, whatever the priorities")
  func roundRobin() throws {
    let streams = try order(.roundRobin, priorities: [128, 1_024])
    #expect(streams.count == 40)
    for pair in 0..<20 { #expect(Set(streams[2 * pair..<2 * pair + 2]) == [1, 2]) }
  }

  @Test("weighted fair: four times the priority, four times the bytes")
  func weighted() throws {
    let streams = try order(.weightedFair, priorities: [128, 512])
    #expect(streams.count == 40)
    // As long as both have something to send: 20 of the second against 5 of the first.
    let last = try #require(streams.lastIndex(of: 2))
    let slower = streams[...last].filter { $0 == 1 }.count
    #expect((4...7).contains(slower), "\(streams)")
  }

  @Test("with interleaving a large message of low priority does not keep a small one waiting")
  func interleaved() throws {
    var world = World.interleaving()
    var large = OutgoingMessage(1, pattern(200_000))
    large.priority = 128
    try world.a.association.send(large, now: world.now)
    world.run(for: .milliseconds(15))
    var small = OutgoingMessage(2, pattern(100))
    small.priority = 1_024
    try world.a.association.send(small, now: world.now)
    world.run(for: .seconds(5))
    #expect(world.b.messages.map(\.stream) == [2, 1])
    #expect(world.b.messages.last?.payload == pattern(200_000))
  }
}
