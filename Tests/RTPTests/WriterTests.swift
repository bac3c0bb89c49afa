// WriterTests.swift — what the RTP writer refuses, and that it fills a buffer to the last byte.

import RTP
import TestSupport
import Testing
import Wire

@Suite struct WriterTests {
  private let header = WrittenPackets.header

  private func write(
    capacity: Int = 300_000, sources: [UInt32] = [], _ extensions: [RTPExtension] = [], payload: [UInt8] = [],
    padding: Int = 0, header: RTPHeader = WrittenPackets.header
  ) -> Result<[UInt8], RTPEncodingError> {
    do throws(RTPEncodingError) {
      return .success(
        try WrittenPackets.packet(capacity: capacity) { (out) throws(RTPEncodingError) in
          try RTPWriter.write(
            header, contributingSources: sources, extensions: extensions, payload: payload.rawSpan, padding: padding,
            into: &out)
        }.bytes)
    } catch { return .failure(error) }
  }

  @Test("a buffer of exactly the promised size is filled; one byte less is too little")
  func room() throws {
    let cases: [([UInt32], [RTPExtension], Int, Int)] = [
      ([], [], 0, 0), ([], [], 9, 0), ([1, 2], [], 9, 255), ([], WrittenPackets.elements, 0, 0),
      ([7], [RTPExtension(id: 15, value: [])], 1, 1),
      ([], [RTPExtension(id: 14, value: Array(repeating: 1, count: 16))], 0, 3),
      ([], [RTPExtension(id: 1, value: Array(repeating: 1, count: 17))], 5, 0),
    ]
    for (sources, extensions, payload, padding) in cases {
      let count = RTPWriter.byteCount(
        contributingSources: sources.count, extensions: extensions, payload: payload, padding: padding)
      let bytes = Array(repeating: UInt8(9), count: payload)
      #expect(
        try write(capacity: count, sources: sources, extensions, payload: bytes, padding: padding).get().count == count)
      for less in 0..<count {
        #expect(
          write(capacity: less, sources: sources, extensions, payload: bytes, padding: padding) == .failure(.noRoom))
      }
    }
  }

  @Test("what has no place in the fields is refused")
  func refusals() throws {
    var wide = header
    wide.payloadType = 128
    #expect(write(header: wide) == .failure(.badValue))
    #expect(write(sources: Array(repeating: 1, count: 16)) == .failure(.tooLong))
    #expect(write([RTPExtension(id: 0, value: [1])]) == .failure(.badValue))
    #expect(write([RTPExtension(id: 1, value: Array(repeating: 0, count: 256))]) == .failure(.tooLong))
    #expect(write(padding: 256) == .failure(.badValue))
    #expect(write(padding: -1) == .failure(.badValue))
    let long = Array(repeating: RTPExtension(id: 1, value: Array(repeating: 0, count: 255)), count: 1020)
    // 1,020 × 257 bytes are 65,535 words exactly, and one more element is too many.
    #expect(try write(long).get().count == 12 + 4 + 262_140)
    #expect(write(long + [RTPExtension(id: 1, value: [])]) == .failure(.tooLong))
  }

  @Test("the form is one byte whenever it can be")
  func form() {
    #expect(RTPWriter.form(for: WrittenPackets.elements) == .oneByte)
    #expect(RTPWriter.form(for: [RTPExtension(id: 14, value: Array(repeating: 0, count: 16))]) == .oneByte)
    #expect(RTPWriter.form(for: [RTPExtension(id: 15, value: [1])]) == .twoByte)
    #expect(RTPWriter.form(for: [RTPExtension(id: 1, value: [])]) == .twoByte)
    #expect(RTPWriter.form(for: [RTPExtension(id: 1, value: Array(repeating: 0, count: 17))]) == .twoByte)
  }

  @Test("piece by piece makes the same packet as all at once")
  func pieces() throws {
    let time = AbsoluteSendTime(NTPTime(unixNanoseconds: 1_700_000_000_123_456_789))
    let pieces = try WrittenPackets.packet { (out) throws(RTPEncodingError) in
      var writer = try RTPWriter(header, into: &out)
      try writer.element(1, Array("0".utf8).rawSpan, into: &out)
      try writer.element(2, Array("q".utf8).rawSpan, into: &out)
      try writer.element(3, uint16: 0xabcd, into: &out)
      try writer.element(4, time, into: &out)
      try writer.element(5, ([0xaa] as [UInt8]).rawSpan, into: &out)
      try writer.element(6, ([7] as [UInt8]).rawSpan, into: &out)
      try writer.finish(Array("payload".utf8).rawSpan, into: &out)
    }
    #expect(pieces.bytes == (try WrittenPackets.all().first { $0.name == "rtp: one-byte form" }?.bytes))
  }

  @Test("after the payload nothing more is written")
  func order() {
    let empty: [UInt8] = []
    func refusal(_ more: (inout RTPWriter, inout OutputRawSpan) throws(RTPEncodingError) -> Void) -> RTPEncodingError? {
      do throws(RTPEncodingError) {
        _ = try WrittenPackets.packet { (out) throws(RTPEncodingError) in
          var writer = try RTPWriter(header, into: &out)
          try writer.finish(empty.rawSpan, into: &out)
          try more(&writer, &out)
        }
        return nil
      } catch { return error }
    }
    #expect(refusal { (_, _) throws(RTPEncodingError) in } == nil)
    #expect(
      refusal { (writer, out) throws(RTPEncodingError) in try writer.finish(empty.rawSpan, into: &out) }
        == .badOrder)
    #expect(
      refusal { (writer, out) throws(RTPEncodingError) in try writer.element(1, uint16: 1, into: &out) } == .badOrder)
  }

  @Test("a packet is repeated as RTX without its padding, and comes back")
  func retransmission() throws {
    for packet in try WrittenPackets.all() where !isRTCP(packet.bytes.rawSpan) {
      let original = try OwnedPacket(packet.bytes)
      let repeated = try wrap(packet.bytes, payloadType: 97, ssrc: 99, sequenceNumber: 5)
      let parts = try OwnedPacket(repeated)
      #expect(parts.header.payloadType == 97 && parts.header.ssrc == 99 && parts.header.sequenceNumber == 5)
      #expect(parts.header.timestamp == original.header.timestamp && parts.header.marker == original.header.marker)
      #expect(parts.padding == 0)
      #expect(RTX.originalNumber(repeated) == original.header.sequenceNumber)
      let back = try OwnedPacket(
        try unwrap(repeated, payloadType: original.header.payloadType, ssrc: original.header.ssrc))
      var expected = original
      expected.padding = 0
      #expect(back == expected)
    }
  }

  @Test("padding alone repeats no packet")
  func paddingOnly() throws {
    for payload in [[], [1]] as [[UInt8]] {
      let probe = try write(payload: payload, padding: 200).get()
      #expect(RTX.originalNumber(probe) == nil)
      #expect(throws: RTPEncodingError.badValue) { try unwrap(probe, payloadType: 96, ssrc: 1) }
    }
  }
}
