// ReassemblyTests.swift — dcSCTP's scenarios of putting messages together, and those of sctp-tests about fragments that do not
// fit. All orders of six fragments are in SCTPTests; here are the losses, the counting, and the far ends of the numbers.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP reassembly") struct ReassemblyTests {
  private static func permutations(_ n: Int) -> [[Int]] {
    n == 0
      ? [[]]
      : permutations(n - 1).flatMap { shorter in
        (0...shorter.count).map { Array(shorter[..<$0]) + [n - 1] + Array(shorter[$0...]) }
      }
  }

  @Test("four fragments in all orders, beyond a gap that closes last", arguments: [true, false])
  func beyondGap(ordered: Bool) throws {
    for order in Self.permutations(4) {
      var tester = try Tester.established()
      let extra: DataFlags = ordered ? [] : .unordered
      for index in order {
        let flags: DataFlags = index == 0 ? .begin : index == 3 ? .end : []
        tester.hand(
          data(tester.tsn(UInt32(1 + index)), [UInt8(index)], ssn: ordered ? 1 : 0, flags: flags.union(extra)))
        let consistent = tester.unit.association.isConsistent
        #expect(consistent)
      }
      // An unordered message does not wait for the one before.
      #expect(tester.received == (ordered ? [] : [[0, 1, 2, 3]]))
      tester.hand(data(tester.tsn(0), [9], flags: extra.union(.whole)))
      #expect(tester.received == (ordered ? [[9], [0, 1, 2, 3]] : [[0, 1, 2, 3], [9]]))
      let held = tester.unit.association.heldBytes
      #expect(held == 0)
    }
  }

  @Test("several ordered streams do not wait for each other")
  func streamsAreApart() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(1), [1], stream: 1, ssn: 1))
    tester.hand(data(tester.tsn(2), [2], stream: 2, ssn: 0))
    tester.hand(data(tester.tsn(3), [3], stream: 3, ssn: 1))
    #expect(tester.received == [[2]])
    tester.hand(data(tester.tsn(0), [4], stream: 3, ssn: 0))
    #expect(tester.received == [[2], [4], [3]])
  }

  @Test("the bytes held are what is held, through gaps, skips, resets and the end")
  func accounting() throws {
    var tester = try Tester.established()
    func held() -> Int { tester.unit.association.heldBytes }
    tester.hand(data(tester.tsn(1), pattern(100), ssn: 1, flags: .begin))
    tester.hand(data(tester.tsn(4), pattern(10), ssn: 3))
    var bytes = held()
    #expect(bytes == 110)
    tester.hand(data(tester.tsn(1), pattern(100), ssn: 1, flags: .begin))  // again
    bytes = held()
    #expect(bytes == 110)
    tester.hand(forwardTSN(tester.tsn(2), [(1, 1)]))
    bytes = held()
    #expect(bytes == 10)
    tester.hand(forwardTSN(tester.tsn(2), [(1, 1)]))
    bytes = held()
    #expect(bytes == 10)
    tester.hand(resetRequest(Tester.initialTSN, lastTSN: tester.tsn(2), [1]))
    bytes = held()
    let consistent = tester.unit.association.isConsistent
    #expect(bytes == 0 && consistent)
    tester.hand(data(tester.tsn(3), pattern(5), ssn: 0))
    #expect(tester.received == [pattern(5)])
    tester.hand(rawChunk(ChunkType.abort))
    bytes = held()
    #expect(bytes == 0)
  }

  @Test("the SSN wraps: 65,535 is followed by 0")
  func ssnWraps() throws {
    var tester = try Tester.established()
    tester.hand(forwardTSN(tester.tsn(0), [(1, 32_000)]))
    tester.hand(forwardTSN(tester.tsn(1), [(1, 64_000)]))
    tester.hand(forwardTSN(tester.tsn(2), [(1, 65_534)]))
    tester.hand(data(tester.tsn(4), [2], ssn: 0))
    #expect(tester.received.isEmpty)
    tester.hand(data(tester.tsn(3), [1], ssn: 65_535))
    #expect(tester.received == [[1], [2]])
  }

  @Test("the TSN wraps inside a message")
  func tsnWraps() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    tester.hand(
      initChunk(tag: Tester.tag, tsn: 0xffff_fffe, parameters: Tester.cookie, type: ChunkType.initiationAck))
    tester.hand(rawChunk(ChunkType.cookieAck))
    for (offset, index) in [(3, 3), (0, 0), (2, 2), (1, 1)] as [(UInt32, UInt8)] {
      let flags: DataFlags = index == 0 ? .begin : index == 3 ? .end : []
      tester.hand(data(TSN(rawValue: 0xffff_fffe &+ offset), [index], flags: flags))
    }
    #expect(tester.received == [[0, 1, 2, 3]])
    let reached = tester.unit.association.receivedTSN.rawValue
    #expect(reached == 1)
  }

  struct Contradiction: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var chunks: [Piece]
    struct Piece: Sendable {
      var flags: DataFlags
      var stream: UInt16 = 1
      var ssn: UInt16 = 0
    }
  }

  static let contradictions: [Contradiction] = [
    Contradiction(testDescription: "B twice", chunks: [.init(flags: .begin), .init(flags: .begin)]),
    Contradiction(testDescription: "starts in the middle", chunks: [.init(flags: [])]),
    Contradiction(testDescription: "starts with E", chunks: [.init(flags: .end)]),
    Contradiction(testDescription: "SSN changes", chunks: [.init(flags: .begin), .init(flags: .end, ssn: 1)]),
    Contradiction(testDescription: "stream changes", chunks: [.init(flags: .begin), .init(flags: .end, stream: 2)]),
    Contradiction(
      testDescription: "order changes", chunks: [.init(flags: .begin), .init(flags: [.end, .unordered])]),
    Contradiction(
      testDescription: "whole message inside another", chunks: [.init(flags: .begin), .init(flags: .whole)]),
    Contradiction(testDescription: "goes on after E", chunks: [.init(flags: .whole), .init(flags: .end)]),
  ]

  @Test("fragments that contradict each other end the association with ABORT", arguments: contradictions)
  func contradiction(row: Contradiction) throws {
    var tester = try Tester.established()
    for (index, piece) in row.chunks.enumerated() {
      tester.hand(
        data(tester.tsn(UInt32(index)), [UInt8(index)], stream: piece.stream, ssn: piece.ssn, flags: piece.flags))
    }
    let types = try tester.types()
    #expect(types.last == [ChunkType.abort])
    #expect(tester.received.allSatisfy { $0.count == 1 })
    guard case .closed(.protocolViolation) = tester.unit.events.last else {
      Issue.record("not a protocol violation")
      return
    }
  }

  @Test("a message that is never finished is dropped with the association, and delivers nothing")
  func neverFinished() throws {
    var tester = try Tester.established()
    tester.hand(data(tester.tsn(0), pattern(1_000), flags: .begin), data(tester.tsn(1), pattern(1_000), flags: []))
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    tester.hand(rawChunk(ChunkType.shutdownComplete))
    let held = tester.unit.association.heldBytes
    #expect(held == 0 && tester.received.isEmpty && tester.unit.events == [.closed(.shutdown)])
  }

  @Test("DATA before COOKIE-ECHO, and between COOKIE-ECHO and its answer, is not taken")
  func dataTooEarly() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    tester.hand(data(tester.tsn(0), [1]))
    tester.hand(Tester.initAck())
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.received.isEmpty)
    tester.hand(rawChunk(ChunkType.cookieAck))
    tester.hand(data(tester.tsn(0), [1]))
    #expect(tester.received == [[1]])
  }
}
