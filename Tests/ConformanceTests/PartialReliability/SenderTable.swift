// SenderTable.swift — the sender of FORWARD-TSN (RFC 3758 §3.5, RFC 7496): limited retransmissions and lifetimes, by what
// is lost; while up and while shutting down.

import SCTP
import SCTPTestSupport
import Testing
import Wire

struct AbandonScenario: Sendable, CustomTestStringConvertible {
  enum Limit: Sendable {
    case retransmits(UInt16)
    case lifetime(UInt16)
  }

  var limit: Limit
  var isOrdered: Bool
  /// Fragments of each of the four messages.
  var fragments: Int
  /// Which of the four messages lose their first fragment, their last one, or all of them, every time.
  var lost: [Int]
  var loses: Loss
  enum Loss: Sendable, CaseIterable { case first, last, all }
  var shutsDown: Bool

  var testDescription: String {
    "\(limit), \(isOrdered ? "ordered" : "unordered"), \(fragments) fragments, \(loses) of \(lost) lost"
      + (shutsDown ? ", shutting down" : "")
  }

  static let all: [AbandonScenario] = {
    var rows: [AbandonScenario] = []
    for limit in [Limit.retransmits(0), .retransmits(2), .lifetime(300)] {
      for isOrdered in [true, false] {
        for (fragments, loses) in [(1, Loss.all), (3, .first), (3, .last), (3, .all)] {
          for lost in [[0], [1, 2], [3], [0, 2], [0, 1, 2, 3]] {
            for shutsDown in [false, true] {
              rows.append(
                AbandonScenario(
                  limit: limit, isOrdered: isOrdered, fragments: fragments, lost: lost, loses: loses,
                  shutsDown: shutsDown))
            }
          }
        }
      }
    }
    return rows
  }()

  private var reliability: Reliability {
    switch limit {
    case .retransmits(let count): .maximumRetransmits(count)
    case .lifetime(let milliseconds): .maximumLifetime(milliseconds: milliseconds)
    }
  }

  private func payload(_ index: Int) -> [UInt8] {
    [UInt8](repeating: UInt8(index), count: fragments == 1 ? 1_000 : 3_000)
  }

  /// Whether the network drops a packet: a chunk of a victim is in it.
  static func drops(_ packet: [UInt8], lost: [Int], loses: Loss) -> Bool {
    do {
      for chunk in try chunks(of: packet) where chunk.type == ChunkType.data {
        guard let index = chunk.value.dropFirst(12).first, lost.contains(Int(index)) else { continue }
        switch loses {
        case .all: return true
        case .first: if chunk.flags & 2 != 0 { return true }
        case .last: if chunk.flags & 1 != 0 { return true }
        }
      }
    } catch {
      Issue.record("an unreadable packet was sent")
    }
    return false
  }

  func run() throws {
    var world = World.connected(a: .plain, b: .plain)
    // One message a packet, or the loss of one would take another along.
    let (lost, loses) = (lost, loses)
    world.filter = { from, packet in from != .a || !Self.drops(packet, lost: lost, loses: loses) }
    for index in 0..<4 {
      try world.a.association.send(OutgoingMessage(1, payload(index), ordered: isOrdered, reliability), now: world.now)
      world.run(for: .milliseconds(1))
    }
    if shutsDown { world.a.association.shutdown(now: world.now) }
    world.run(for: .seconds(60))
    // The others arrive, and nothing is left on either side.
    let arrived = world.b.messages.map { Int($0.payload[0]) }
    let expected = (0..<4).filter { !lost.contains($0) }
    #expect(isOrdered ? arrived == expected : Set(arrived) == Set(expected) && arrived.count == expected.count)
    let (quiet, held) = (world.a.association.isQuiet, world.b.association.heldBytes)
    #expect(quiet && held == 0)
    if shutsDown {
      #expect(world.a.events == [.closed(.shutdown)] && world.b.events == [.closed(.shutdown)])
    }
    try checkForwardTSN(world)
    guard case .retransmits(let count) = limit, loses == .all || fragments == 1 else { return }
    // Each lost chunk went out once and then `count` times more, never oftener.
    var transmissions: [TSN: Int] = [:]
    for entry in world.log where entry.from == .a && Self.drops(entry.packet, lost: lost, loses: .all) {
      for header in try dataHeaders(of: entry.packet) { transmissions[header.tsn, default: 0] += 1 }
    }
    #expect(transmissions.values.allSatisfy { $0 <= Int(count) + 1 })
    #expect(transmissions.values.contains(Int(count) + 1))
  }

  /// What was announced as skipped: only what is lost, each stream once, and its number only for ordered messages.
  private func checkForwardTSN(_ world: borrowing World) throws {
    var seen = 0
    for entry in world.log where entry.from == .a {
      for chunk in try chunks(of: entry.packet) where chunk.type == ChunkType.forwardTSN {
        seen += 1
        #expect(chunk.value.count == (isOrdered ? 8 : 4))
        guard isOrdered else { continue }
        #expect(chunk.uint16(at: 4) == 1 && lost.contains(Int(chunk.uint16(at: 6))))
      }
    }
    #expect(seen > 0)
    let abandoned = world.a.association.statistics.messagesAbandoned
    #expect(Int(abandoned) == lost.count)
  }
}

@Suite("FORWARD-TSN sender") struct ForwardTSNSenderTests {
  @Test("what is given up is skipped, and everything else arrives", arguments: AbandonScenario.all)
  func abandon(row: AbandonScenario) throws { try row.run() }

  @Test("a FORWARD-TSN that is lost is sent again until it is acknowledged")
  func lostForwardTSN() throws {
    var world = World.connected(a: .plain, b: .plain)
    var left = 3
    world.filter = { from, packet in
      guard from == .a else { return true }
      if AbandonScenario.drops(packet, lost: [0], loses: .all) { return false }
      if packet[12] == ChunkType.forwardTSN, left > 0 {
        left -= 1
        return false
      }
      return true
    }
    try world.a.association.send(OutgoingMessage(1, [0], .maximumRetransmits(0)), now: world.now)
    world.run(for: .seconds(30))
    let quiet = world.a.association.isQuiet
    #expect(left == 0 && quiet)
    try world.a.association.send(OutgoingMessage(1, [1]), now: world.now)
    world.settle()
    #expect(world.b.messages.map(\.payload) == [[1]])
  }
}
