// WitnessTests.swift — our SCTP and Debian's libusrsctp, the SCTP of Firefox and of old Chromium, packet by packet over a
// lossy network: what either sends the other gets, streams are reset and used again, and both end as agreed.

import CUsrsctp
import Foundation
import SCTP
import Testing
import Wire

@Suite(.serialized) struct WitnessTests {
  /// Nil when the library is there. A clean machine has it: Scripts/setup installs it for the gate.
  private static let whyNot: String? = witness_load().map { String(cString: $0) }
  private static let isGate = ProcessInfo.processInfo.environment["CI"] == "true"

  /// What the stories have exercised.
  private struct Counts {
    var runs = 0, messages = 0, packets = 0, resets = 0, restarts = 0, interleaved = 0, shutdowns = 0, aborts = 0
  }

  @Test("five hundred stories with libusrsctp, each from its seed")
  func stories() throws {
    if let why = Self.whyNot {
      print("witness: skipped, no libusrsctp: \(why)")
      #expect(!Self.isGate, "the gate needs libusrsctp2: \(why)")
      return
    }
    let environment = ProcessInfo.processInfo.environment
    let first = environment["WITNESS_SEED"].flatMap { UInt64($0) }
    let seeds = first.map { $0...$0 } ?? 1...UInt64(environment["WITNESS_SEEDS"] ?? "500")!
    var counts = Counts()
    for seed in seeds {
      do {
        try Self.tell(seed, &counts)
      } catch {
        Issue.record("seed \(seed): \(error); WITNESS_SEED=\(seed) repeats it")
      }
    }
    print(
      "witness: \(counts.runs) runs with libusrsctp, \(counts.messages) messages, \(counts.packets) packets, "
        + "\(counts.interleaved) runs interleaved, \(counts.resets) resets, \(counts.restarts) restarts, "
        + "\(counts.shutdowns) shutdowns, \(counts.aborts) aborts")
    #expect(counts.runs == seeds.count)
  }

  private static func tell(_ seed: UInt64, _ counts: inout Counts) throws {
    var dice = RandomSource.seeded(state: seed &* 7_919)
    var configuration = SCTPConfiguration()
    configuration.congestionControl = CongestionControl.allCases[Int(dice.next() % 3)]
    configuration.receiveWindow = [40_000, 262_144, 2 << 20][Int(dice.next() % 3)]
    configuration.maximumInitRetransmits = 100
    configuration.maximumRetransmits = 100
    let interleaves = dice.next() % 2 == 0
    configuration.offersInterleaving = interleaves || dice.next() % 2 == 0
    var world = try WitnessWorld(
      seed: seed, configuration: configuration, interleaves: interleaves, listensOnly: dice.next() % 3 == 0)
    world.conditions.delay = .milliseconds(Int64(1 + dice.next() % 60))
    world.conditions.jitter = .milliseconds(Int64([0, 0, 5, 30][Int(dice.next() % 4)]))
    world.conditions.lossPerMille = [0, 5, 20, 50, 100][Int(dice.next() % 5)]
    world.conditions.duplicatePerMille = [0, 0, 20][Int(dice.next() % 3)]
    try world.run("up") { $0.ourEvents.contains(.established) && $0.theirEvents.contains { $0.kind == WITNESS_UP } }

    try talk(&world, &dice)
    try world.run("settled") { isSettled($0) }
    for round in 0..<Int(dice.next() % 3) {
      if dice.next() % 2 == 0 { try reset(&world, stream: round % 2, &counts) }
      if dice.next() % 4 == 0 { try restart(&world, ours: dice.next() % 2 == 0, &counts) }
      try talk(&world, &dice)
      try world.run("settled again") { isSettled($0) }
    }
    try end(&world, &dice, &counts)
    counts.runs += 1
    counts.messages += world.fromUs.delivered + world.fromThem.delivered
    counts.packets += world.packets
    if interleaves { counts.interleaved += 1 }
  }

  private static func isSettled(_ world: borrowing WitnessWorld) -> Bool {
    world.ours.isQuiet && world.fromUs.missing == nil && world.fromThem.missing == nil
  }

  /// Messages of all kinds and sizes, both ways.
  private static func talk(_ world: inout WitnessWorld, _ dice: inout RandomSource) throws {
    for _ in 0..<(3 + dice.next() % 12) {
      for _ in 0...(dice.next() % 4) {
        let size = [4, 100, 1_150, 4_000, 30_000, 120_000][min(Int(dice.next() % 6), Int(dice.next() % 8))]
        let stream = Int(dice.next() % UInt64(Ledger.streams))
        if dice.next() % 2 == 0 {
          world.sendOurs(stream: stream, size: size)
        } else {
          world.sendTheirs(stream: stream, size: size)
        }
      }
      try world.run(for: .milliseconds(Int64(dice.next() % 60)))
    }
  }

  /// Each resets a stream of its own; both are told, and the stream begins again.
  private static func reset(_ world: inout WitnessWorld, stream: Int, _ counts: inout Counts) throws {
    world.ourEvents.removeAll()
    world.theirEvents.removeAll()
    let number = UInt16(stream)
    world.ours.resetStreams([number], now: world.now)
    try world.run("reset by us") {
      $0.ourEvents.contains(.outgoingStreamsReset([number]))
        && $0.theirEvents.contains { $0.kind == WITNESS_INCOMING_RESET && $0.stream == number }
    }
    counts.resets += 1
    // It does not repeat a FORWARD-TSN that was lost when no data follows; until then no reset can be performed.
    guard areTheyDrained(&world) else { return }
    let status = witness_reset(world.theirs, number)
    guard status == 0 else { throw WitnessFailure("they cannot reset: \(status)") }
    try world.run("reset by them") {
      $0.ourEvents.contains(.incomingStreamsReset([number]))
        && $0.theirEvents.contains { $0.kind == WITNESS_OUTGOING_RESET && $0.stream == number }
    }
    counts.resets += 1
  }

  /// Whether libusrsctp has nothing under way, after some patience: it may count a message that it gave up for ever.
  private static func areTheyDrained(_ world: inout WitnessWorld) -> Bool {
    do {
      try world.run(within: .seconds(20), "drained") { witness_is_drained($0.theirs) }
      return true
    } catch {
      return false
    }
  }

  private static func restart(_ world: inout WitnessWorld, ours: Bool, _ counts: inout Counts) throws {
    // libusrsctp 0.9.5 falls silent for ever when a message was half sent as its peer restarted.
    guard areTheyDrained(&world) else { return }
    world.ourEvents.removeAll()
    world.theirEvents.removeAll()
    if ours {
      world.restartOurs()
      try world.run("restarted by us") {
        $0.ourEvents.contains(.established) && $0.theirEvents.contains { $0.kind == WITNESS_RESTARTED }
      }
    } else {
      try world.restartTheirs()
      try world.run("restarted by them") {
        $0.ourEvents.contains(.restarted) && $0.theirEvents.contains { $0.kind == WITNESS_UP }
      }
    }
    counts.restarts += 1
  }

  private static func end(_ world: inout WitnessWorld, _ dice: inout RandomSource, _ counts: inout Counts) throws {
    world.theirEvents.removeAll()
    switch dice.next() % 4 {
    case 0:
      for stream in 0..<3 { world.sendOurs(stream: stream, size: 5_000) }
      world.ours.shutdown(now: world.now)
      try world.run("shut down by us") { hasEnded($0) }
      counts.shutdowns += 1
    case 1:
      for stream in 0..<3 { world.sendTheirs(stream: stream, size: 5_000) }
      witness_shut_down(world.theirs)
      try world.run("shut down by them") { hasEnded($0) }
      counts.shutdowns += 1
    case 2:
      world.conditions.lossPerMille = 0
      world.ours.abort(reason: "told enough", now: world.now)
      try world.run("aborted by us") { $0.theirEvents.contains { $0.kind == WITNESS_LOST } }
      counts.aborts += 1
    default: break
    }
  }

  private static func hasEnded(_ world: borrowing WitnessWorld) -> Bool {
    // Once a side has sent its last word, it answers whatever comes late with an ABORT, and that may overtake the word.
    let weEnded =
      world.ourEvents.contains(.closed(.shutdown)) || world.ourEvents.contains(.closed(.abortedByPeer(cause: nil)))
    return weEnded && world.theirEvents.contains { $0.kind == WITNESS_SHUT_DOWN || $0.kind == WITNESS_LOST }
      && world.fromUs.missing == nil && world.fromThem.missing == nil
  }
}
