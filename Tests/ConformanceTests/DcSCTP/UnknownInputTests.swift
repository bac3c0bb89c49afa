// UnknownInputTests.swift — dcSCTP's scenarios of input that is not understood. The four actions are with ETSI's group M, the
// bombs with the attacks (C19, C25).

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP unknown input") struct UnknownInputTests {
  @Test("the echo of an unknown chunk is cut so that it fits any packet", arguments: [0, 1, 100, 252, 1_000, 60_000])
  func echoIsCut(length: Int) throws {
    var tester = try Tester.established()
    tester.hand(rawChunk(0xc8, pattern(length)))
    let sent = try tester.sent()
    #expect(sent.map(\.types) == [[ChunkType.error]] && sent[0].byteCount < 512)
    let echo = sent[0].chunks[0].value.dropFirst(4)
    #expect(echo.starts(with: rawChunk(0xc8, pattern(length)).prefix(min(length + 4, ErrorCause.maximumInformation))))
  }

  @Test(
    "ERROR while up changes nothing, whatever it says", arguments: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99])
  func errorWhileUp(cause: UInt8) throws {
    var tester = try Tester.established()
    tester.hand(rawChunk(ChunkType.error, [0, cause, 0, 12] + pattern(8)), data(tester.tsn(0), [1]))
    let state = tester.state
    #expect(state == .established && tester.received == [[1]] && tester.unit.events.isEmpty)
  }

  @Test(
    "ABORT counts even when its causes cannot be read",
    arguments: [[], [0], [0, 12, 0, 3], [0, 12, 255, 255]] as [[UInt8]])
  func unreadableAbort(causes: [UInt8]) throws {
    var tester = try Tester.established()
    tester.hand(rawChunk(ChunkType.abort, causes))
    #expect(tester.unit.events == [.closed(.abortedByPeer(cause: nil))])
  }

  @Test(
    "chunks that belong to extensions we do not speak are unknown: AUTH, ASCONF, ASCONF-ACK, NR-SACK, PKTDROP, ECNE, CWR",
    arguments: [0x0f, 0xc1, 0x80, 0x10, 0x81, 0x0c, 0x0d] as [UInt8])
  func foreignExtensions(type: UInt8) throws {
    var tester = try Tester.established()
    tester.hand(rawChunk(type, pattern(20)), data(tester.tsn(0), [1]))
    let action = UnknownTypeAction(chunkType: type)
    let errors = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.error }
    #expect(errors.count == (action.reports ? 1 : 0))
    #expect(tester.received == (action.stops ? [] : [[1]]))
  }

  @Test("a packet without a chunk, or shorter than its header, is dropped", arguments: 0...15)
  func shortPackets(length: Int) throws {
    var tester = try Tester.established()
    let before = tester.unit.association.statistics.packetsDropped
    let packet = collectBytes(capacity: 64) { out in
      out.writeBytes(craft(tag: 0, rawChunk(ChunkType.cookieAck)).rawSpan.extracting(first: length))
      if length >= 12 { PacketChecksum.patch(&out, packetAt: 0) }
    }
    tester.deliver(packet)
    let (after, state) = (tester.unit.association.statistics.packetsDropped, tester.state)
    #expect(after == before + 1 && state == .established)
  }

  @Test("the wrong port is not ours")
  func wrongPort() throws {
    var tester = try Tester.established()
    for (source, destination) in [(5000, 5001), (5001, 5000), (0, 0)] as [(UInt16, UInt16)] {
      let tag = tester.unit.association.localTag
      tester.deliver(
        collectBytes(capacity: 256) { out in
          PacketHeader(sourcePort: source, destinationPort: destination, verificationTag: tag).write(into: &out)
          out.writeBytes(data(TSN(rawValue: Tester.initialTSN), [1]))
          PacketChecksum.patch(&out, packetAt: 0)
        })
    }
    #expect(tester.received.isEmpty)
  }
}
