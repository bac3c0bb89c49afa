// ReceiverTables.swift — the receiver of FORWARD-TSN and I-FORWARD-TSN (RFC 3758 §3.6, RFC 8260 §2.3), row by row.
//
// The groups are those of nplab's PR-SCTP suite: no loss to repair, and loss of ordered, of unordered, and of both kinds
// of messages; the rows are ours. A last test walks through every loss and several orders of four messages.

import SCTP
import SCTPTestSupport
import Testing
import Wire

enum ReceiverTable {
  static let plain: [SkipScenario] = [
    // FORWARD-TSN before any data, and between messages.
    SkipScenario("A", "f1", ""),
    SkipScenario("AB", "f1 2", "B"),
    SkipScenario("AB", "1 f2", "A"),
    SkipScenario("ABC", "1 f2 3", "AC"),
    SkipScenario("ABC", "f2 3", "C"),
    // Repeated, and going on.
    SkipScenario("ABCD", "f1 f1 f2 f2 3 4", "CD"),
    SkipScenario("ABCD", "1 f2 f3 4", "AD"),
    // One that has been overtaken says nothing new.
    SkipScenario("ABC", "1 2 f1 3", "ABC"),
    SkipScenario("ABC", "f2 f1 3", "C"),
    // Data that comes after it was skipped.
    SkipScenario("AB", "f1 1 2", "B"),
    SkipScenario("AABB", "f2 2 1 3 4", "B"),
  ]

  static let ordered: [SkipScenario] = [
    SkipScenario("AABBCC", "1 3 4 f2", "B"),
    SkipScenario("AABBCC", "2 3 4 f2", "B"),
    SkipScenario("AABBCC", "3 4 5 6 f2", "BC"),
    SkipScenario("AABBCC", "5 6 3 4 f2", "BC"),
    SkipScenario("AABBCC", "1 2 5 6 f4", "AC"),
    SkipScenario("AABBCC", "1 2 3 5 6 f4", "AC"),
    SkipScenario("AABBCC", "1 2 4 5 6 f4", "AC"),
    SkipScenario("AABBCC", "5 6 f4", "C"),
    SkipScenario("AABBCC", "5 f4 6", "C"),
    SkipScenario("AABBCC", "6 f4 5", "C"),
    SkipScenario("AABBCC", "1 5 6 f2 f4", "C"),
    SkipScenario("AABBCC", "1 5 6 f2 3 4", "BC"),
    SkipScenario("AABBCC", "f2 6 5 4 3", "BC"),
    SkipScenario("AAABBB", "1 3 4 5 6 f3", "B"),
    SkipScenario("AAABBB", "2 5 f3 4 6", "B"),
    SkipScenario("AAAAB", "1 2 4 5 f4", "B"),
    // Waiting on one stream, while another goes on.
    SkipScenario("ANBO", "2 4 3 f1", "NOB"),
    SkipScenario("AANNBB", "3 4 5 6 f2", "NB"),
    SkipScenario("AANNBB", "1 2 5 6 f4", "AB"),
    SkipScenario("ABCDEF", "6 5 3 f2 4", "CDEF"),
  ]

  static let unordered: [SkipScenario] = [
    SkipScenario("a", "f1", ""),
    SkipScenario("ab", "2 f1", "b"),
    SkipScenario("aabb", "1 3 4 f2", "b"),
    SkipScenario("aabb", "2 3 4 f2", "b"),
    SkipScenario("aabb", "4 3 f2", "b"),
    SkipScenario("aabbcc", "5 6 f4", "c"),
    SkipScenario("aabbcc", "1 2 5 6 f4", "ac"),
    SkipScenario("aabbcc", "5 6 1 2 f4", "ca"),
    SkipScenario("aabbcc", "3 5 6 f2 4", "cb"),
    SkipScenario("aabbcc", "6 f4 5", "c"),
    SkipScenario("aaabbb", "1 3 4 5 6 f3", "b"),
    SkipScenario("aaabbb", "2 f3 6 4 5", "b"),
    SkipScenario("abcd", "4 2 f3", "db"),
    SkipScenario("ab", "f1 1 2", "b"),
  ]

  static let mixed: [SkipScenario] = [
    SkipScenario("aB", "2 f1", "B"),
    SkipScenario("Ab", "2 f1", "b"),
    SkipScenario("aBc", "3 f2", "c"),
    SkipScenario("AbC", "3 f2", "C"),
    SkipScenario("AbC", "2 3 f1", "bC"),
    SkipScenario("aBc", "3 2 f1", "cB"),
    SkipScenario("aaBB", "1 3 4 f2", "B"),
    SkipScenario("aaBB", "2 3 4 f2", "B"),
    SkipScenario("AAbb", "1 3 4 f2", "b"),
    SkipScenario("AAbb", "2 3 4 f2", "b"),
    SkipScenario("AAbb", "3 4 1 f2", "b"),
    SkipScenario("aaBBcc", "5 6 f4", "c"),
    SkipScenario("aaBBcc", "3 5 6 f4", "c"),
    SkipScenario("aaBBcc", "1 2 5 6 f4", "ac"),
    SkipScenario("aaBBcc", "5 6 3 4 f2", "cB"),
    SkipScenario("AAbbCC", "5 6 f4", "C"),
    SkipScenario("AAbbCC", "5 6 f2 f4", "C"),
    SkipScenario("AAbbCC", "5 6 3 4 f2", "bC"),
    SkipScenario("AAbbCC", "1 2 3 5 6 f4", "AC"),
    SkipScenario("AAbbCC", "1 5 6 f2 4 3", "Cb"),
    SkipScenario("AAbbCC", "6 f4 5", "C"),
    SkipScenario("aaBBccDD", "7 8 f6", "D"),
    SkipScenario("aaBBccDD", "3 4 7 8 f2 f6", "BD"),
    SkipScenario("aaBBccDD", "1 4 7 8 f2 3 f6", "BD"),
    SkipScenario("aaBBccDD", "5 6 7 8 f4", "cD"),
    SkipScenario("AAbbCCdd", "7 8 5 6 f4", "dC"),
    SkipScenario("AAbbCCdd", "1 2 7 8 f6", "Ad"),
    SkipScenario("AAbbCCdd", "3 4 f2 8 7 6 5", "bdC"),
    // Two streams.
    SkipScenario("AAnnBBOO", "3 4 7 8 5 6 f2", "nOB"),
    SkipScenario("aaNNbbOO", "7 8 5 6 f4", "bO"),
    SkipScenario("AnBo", "4 3 2 f1", "onB"),
  ]

  /// Four messages of two fragments; each TSN is lost or not, and the rest comes forwards, backwards or from the middle;
  /// then what is incomplete is given up, from the first to the last.
  static func walk(_ kind: ChunkKind, _ sends: String) throws {
    for mask in 0..<256 {
      let came = (1...8).filter { mask >> ($0 - 1) & 1 == 1 }
      for order in [came, came.reversed(), Array(came.dropFirst(came.count / 2) + came.prefix(came.count / 2))] {
        let complete = stride(from: 2, through: 8, by: 2).filter { came.contains($0) && came.contains($0 - 1) }
        let lost = stride(from: 2, through: 8, by: 2).filter { !complete.contains($0) }
        let steps = order.map(String.init) + lost.map { "f\($0)" }
        let letters = complete.map { Array(sends)[$0 - 1] }
        var scenario = SkipScenario(sends, steps.joined(separator: " "), "")
        // Ordered messages come in their order whatever happens; the place of unordered ones is not looked at here.
        scenario.delivers = String(letters)
        try scenario.run(kind, isSorted: true)
      }
    }
  }
}

@Suite("FORWARD-TSN receiver") struct ForwardTSNReceiverTests {
  @Test("between messages", arguments: ReceiverTable.plain)
  func plain(row: SkipScenario) throws { try row.run(.data) }

  @Test("loss of ordered messages", arguments: ReceiverTable.ordered)
  func ordered(row: SkipScenario) throws { try row.run(.data) }

  @Test("loss of unordered messages", arguments: ReceiverTable.unordered)
  func unordered(row: SkipScenario) throws { try row.run(.data) }

  @Test("loss of ordered and unordered messages", arguments: ReceiverTable.mixed)
  func mixed(row: SkipScenario) throws { try row.run(.data) }

  @Test("every loss of four messages", arguments: ["AABBCCDD", "aabbccdd", "aaBBccDD", "AANNBBOO"])
  func everyLoss(sends: String) throws { try ReceiverTable.walk(.data, sends) }
}

@Suite("I-FORWARD-TSN receiver") struct InterleavedForwardTSNReceiverTests {
  @Test("between messages", arguments: ReceiverTable.plain)
  func plain(row: SkipScenario) throws { try row.run(.interleaved) }

  @Test("loss of ordered messages", arguments: ReceiverTable.ordered)
  func ordered(row: SkipScenario) throws { try row.run(.interleaved) }

  @Test("loss of unordered messages", arguments: ReceiverTable.unordered)
  func unordered(row: SkipScenario) throws { try row.run(.interleaved) }

  @Test("loss of ordered and unordered messages", arguments: ReceiverTable.mixed)
  func mixed(row: SkipScenario) throws { try row.run(.interleaved) }

  @Test("every loss of four messages", arguments: ["AABBCCDD", "aabbccdd", "aaBBccDD", "AANNBBOO"])
  func everyLoss(sends: String) throws { try ReceiverTable.walk(.interleaved, sends) }
}
