// MiscellaneousTests.swift — ETSI TS 102 369, group M: chunks of unknown type (RFC 9260 §3.2).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("ETSI M: miscellaneous") struct MiscellaneousTests {
  /// What comes of an unknown chunk with DATA behind it: whether it was reported, and whether the data arrived.
  private func outcome(_ type: UInt8) throws -> (reported: [[UInt8]], delivered: Bool) {
    var tester = try Tester.established()
    let unknown = rawChunk(type, flags: 3, [1, 2, 3, 4])
    tester.hand(unknown, data(tester.tsn(0), [7]))
    let errors = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.error }
    #expect(errors.allSatisfy { $0.value == [0, 6, 0, 12] + unknown })
    let state = tester.state
    #expect(state == .established)
    return (errors.map(\.value), tester.received == [[7]])
  }

  @Test("m-10-1: type 0xEF, bits 11: skipped and reported; the data behind it counts")
  func skipAndReport() throws {
    let (reported, delivered) = try outcome(0xef)
    #expect(reported.count == 1 && delivered)
  }

  @Test("m-10-2: type 0x2F, bits 00: the packet ends there, without a report")
  func stop() throws {
    let (reported, delivered) = try outcome(0x2f)
    #expect(reported.isEmpty && !delivered)
  }

  @Test("m-10-3: type 0x6F, bits 01: the packet ends there, with a report")
  func stopAndReport() throws {
    let (reported, delivered) = try outcome(0x6f)
    #expect(reported.count == 1 && !delivered)
  }

  @Test("m-10-4: type 0xAF, bits 10: skipped without a report; the data behind it counts")
  func skip() throws {
    let (reported, delivered) = try outcome(0xaf)
    #expect(reported.isEmpty && delivered)
  }
}
