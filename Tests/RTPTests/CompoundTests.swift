// CompoundTests.swift — RTCP datagrams: which are taken, that no packet sees beyond its length, and that what is written fits.

import RTP
import TestSupport
import Testing
import Wire

@Suite struct CompoundTests {
  private func error(_ bytes: [UInt8], _ form: RTCPForm = .reducedSize) -> Malformed? {
    do {
      _ = try summary(ofRTCP: bytes, form: form)
      return nil
    } catch { return error as? Malformed }
  }

  private let emptyReport: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 1]
  private let loss: [UInt8] = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]

  @Test("a compound begins with a report; a reduced size datagram with anything (RFC 3550 A.2, RFC 5506)")
  func first() {
    #expect(error(emptyReport + loss, .compound) == nil)
    #expect(error(loss, .compound) == .badValue)
    #expect(error(loss + emptyReport, .compound) == .badValue)
    #expect(error(loss, .reducedSize) == nil)
  }

  @Test("R3: lengths that do not add up to the datagram are refused")
  func lengths() {
    #expect(error([]) == .truncated)
    #expect(error([0x80, 201, 0]) == .truncated)
    #expect(error([0x80, 201, 0, 1]) == .badLength)
    #expect(error([0x80, 201, 0xff, 0xff, 0, 0, 0, 1]) == .badLength)
    #expect(error(emptyReport + [0x81]) == .truncated)
    #expect(error(emptyReport + [0x81, 206, 0, 2, 0, 0, 0, 1]) == .badLength)
    #expect(error(emptyReport + [0x41, 206, 0, 0]) == .badValue)
    #expect(error([0xc0, 201, 0, 1, 0, 0, 0, 1]) == .badValue)
  }

  @Test("R3: only the last packet is padded, by no more than it has")
  func padding() throws {
    func padded(_ count: UInt8) -> [UInt8] { [0xa1, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, count] }
    #expect(try summary(ofRTCP: emptyReport + padded(4)) == "rr 1 []; pli 1 2")
    #expect(error(padded(4) + emptyReport) == .badLength)
    #expect(error(padded(0)) == .badLength)
    #expect(error(padded(13)) == .badLength)
    #expect(error(padded(255)) == .badLength)
    #expect(error(padded(5)) == .truncated)  // the packet itself is one byte short then
    #expect(error([0xa0, 201, 0, 0]) == .badLength)
    // A last packet that is nothing but padding says what a packet without a body says.
    #expect(try summary(ofRTCP: [0xa0, 203, 0, 1, 0, 0, 0, 4]) == "bye [] -")
  }

  @Test("counts that their packet does not hold are refused")
  func counts() {
    for bytes in [
      [0x81, 200, 0, 6] + Array(repeating: 0, count: 24),  // one block claimed, none there
      [0x80, 200, 0, 5] + Array(repeating: 0, count: 20),  // sender information cut
      [0x82, 201, 0, 7] + Array(repeating: 0, count: 28),  // two blocks claimed, one there
      [0x80, 201, 0, 0],
      [0x81, 202, 0, 0],  // a chunk without a source
      [0x81, 202, 0, 1, 0, 0, 0, 1],  // without an end of its items
      [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 3, 65, 66],  // an item beyond the end
      [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, 65, 66],  // an item up to the end, and no zero
      [0x82, 202, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0],  // a second chunk that is not there
      [0x82, 203, 0, 1, 0, 0, 0, 1],  // two sources claimed
      [0x81, 203, 0, 2, 0, 0, 0, 1, 4, 65, 66, 67],  // a reason beyond the end
      [0x81, 204, 0, 1, 0, 0, 0, 1],  // APP without a name
      [0x81, 205, 0, 1, 0, 0, 0, 1], [0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],  // NACK of nothing
      [0x81, 206, 0, 1, 0, 0, 0, 1],  // PLI without a media source
      [0x84, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],  // FIR of nothing
      [0x84, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],  // half an entry
      [0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0x52, 0x45, 0x4d, 0x42],  // REMB that ends with its name
      [0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0x52, 0x45, 0x4d, 0x42, 1, 0, 0, 9],  // and without its source
    ] as [[UInt8]] {
      #expect(error(bytes) != nil, "\(hex(bytes))")
    }
  }

  @Test("a malformed packet does not take those behind it along")
  func goesOn() throws {
    let bytes: [UInt8] = emptyReport + [0x82, 203, 0, 1, 0, 0, 0, 1] + loss
    var compound = try RTCPCompound(bytes.rawSpan, form: .compound)
    var told: [String] = []
    while !compound.isAtEnd {
      do throws(Malformed) {
        switch try compound.next() {
        case .receiverReport: told.append("rr")
        case .pictureLossIndication: told.append("pli")
        default: told.append("?")
        }
      } catch { told.append("\(error)") }
    }
    #expect(told == ["rr", "truncated", "pli"])
  }

  @Test("application layer feedback that is no REMB, and types that nobody knows, are others")
  func others() throws {
    let feedback: [UInt8] = [0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]
    #expect(try summary(ofRTCP: feedback) == "other 206 15 000000010000000001020304")
    #expect(try summary(ofRTCP: [0x9f, 192, 0, 0]) == "other 192 31 ")
    #expect(try summary(ofRTCP: [0x80, 0, 0, 0]) == "other 0 0 ")
  }

  @Test("cut at every byte, a datagram is refused", arguments: try WrittenPackets.all())
  func truncations(packet: WrittenPacket) throws {
    guard isRTCP(packet.bytes.rawSpan) else { return }
    let whole = try summary(ofRTCP: packet.bytes)
    for count in 0..<packet.bytes.count {
      let cut = Array(packet.bytes.prefix(count))
      // Between two packets of a compound the cut leaves a valid one.
      guard let told = try? summary(ofRTCP: cut) else { continue }
      #expect(whole.hasPrefix(told + "; "), "\(packet.name) cut to \(count)")
    }
    // And each with its last packet shortened together with its length: the packet does not see what is behind it.
    for count in stride(from: 4, to: packet.bytes.count, by: 4) {
      var cut = Array(packet.bytes.prefix(count))
      shorten(&cut)
      _ = error(cut)
    }
  }

  /// Makes the last packet's length one that ends with the bytes.
  private func shorten(_ bytes: inout [UInt8]) {
    var at = 0
    while at + 4 <= bytes.count {
      let next = at + 4 * (Int(bytes.rawSpan.uint16(at: at + 2)) + 1)
      if next >= bytes.count {
        let words = (bytes.count - at) / 4 - 1
        (bytes[at + 2], bytes[at + 3]) = (UInt8(words >> 8), UInt8(words & 0xff))
        return
      }
      at = next
    }
  }

  @Test(
    "changed at random, a datagram is refused or read, and its lists have ends",
    arguments: 1...20 as ClosedRange<UInt64>)
  func mutations(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    let seeds = try WrittenPackets.all().map(\.bytes).filter { isRTCP($0.rawSpan) }
    var taken = 0
    for _ in 0..<500 {
      var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
      for _ in 0...Int(random.next() % 3) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if error(bytes) == nil { taken += 1 }
    }
    #expect(taken > 50, "seed \(seed)")
  }

  @Test("what is written takes the bytes that were foretold, and a buffer without them is left alone")
  func byteCounts() throws {
    for blocks in [0, 1, 31, 32, 62, 63] {
      for (info, name) in [(nil, 0), (WrittenPackets.info, 1), (nil, 2), (WrittenPackets.info, 255)] {
        let report = RTCPReport(
          ssrc: 1, senderInfo: info, blocks: Array(repeating: WrittenPackets.block(5), count: blocks))
        let count = RTCPByteCount.compound(isSender: info != nil, blocks: blocks, cname: name)
        let cname = Array(repeating: UInt8(0x61), count: name)
        let written = try WrittenPackets.packet(capacity: count) { (out) throws(RTPEncodingError) in
          _ = try RTCPWriter(report, cname: cname, into: &out)
        }
        #expect(written.bytes.count == count)
        _ = collectBytes(capacity: count - 4) { out in
          do throws(RTPEncodingError) {
            _ = try RTCPWriter(report, cname: cname, into: &out)
            Issue.record("there is no room")
          } catch { #expect(error == .noRoom) }
          let written = out.byteCount
          #expect(written == 0)
        }
      }
    }
    func expect(_ count: Int, _ body: (RTCPWriter, inout OutputRawSpan) throws(RTPEncodingError) -> Void) throws {
      let written = try WrittenPackets.packet(capacity: count) { (out) throws(RTPEncodingError) in
        try body(.reducedSize(), &out)
      }
      #expect(written.bytes.count == count)
      #expect(error(written.bytes) == nil)
      #expect(throws: RTPEncodingError.noRoom) {
        _ = try WrittenPackets.packet(capacity: count - 1) { (out) throws(RTPEncodingError) in
          try body(.reducedSize(), &out)
        }
      }
    }
    for reason in [nil, 0, 1, 3, 4, 255] {
      let text = reason.map { Array(repeating: UInt8(0x62), count: $0) }
      try expect(RTCPByteCount.goodbye(sources: 2, reason: reason)) { (writer, out) throws(RTPEncodingError) in
        try writer.goodbye([1, 2], reason: text, into: &out)
      }
    }
    try expect(RTCPByteCount.nack(pairs: 3)) { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 1, media: 2, RTCPNackPair.pairs([1, 100, 200]), into: &out)
    }
    try expect(RTCPByteCount.pictureLossIndication) { (writer, out) throws(RTPEncodingError) in
      try writer.pictureLossIndication(sender: 1, media: 2, into: &out)
    }
    try expect(RTCPByteCount.fullIntraRequest(entries: 1)) { (writer, out) throws(RTPEncodingError) in
      try writer.fullIntraRequest(sender: 1, [RTCPFullIntraEntry(ssrc: 1, sequenceNumber: 2)], into: &out)
    }
    try expect(RTCPByteCount.maximumBitrate(sources: 255)) { (writer, out) throws(RTPEncodingError) in
      try writer.maximumBitrate(sender: 1, bitrate: 1, sources: Array(0..<255), into: &out)
    }
    try expect(RTCPByteCount.application(data: 8)) { (writer, out) throws(RTPEncodingError) in
      try writer.application(subtype: 31, ssrc: 1, name: 2, data: [UInt8](repeating: 0, count: 8).rawSpan, into: &out)
    }
  }

  @Test("what has no place in the fields is refused")
  func refusals() {
    let (empty, byte): ([UInt8], [UInt8]) = ([], [1])
    func refusal(_ body: (RTCPWriter, inout OutputRawSpan) throws(RTPEncodingError) -> Void) -> RTPEncodingError? {
      do throws(RTPEncodingError) {
        _ = try WrittenPackets.packet(capacity: 300_000) { (out) throws(RTPEncodingError) in
          try body(.reducedSize(), &out)
        }
        return nil
      } catch { return error }
    }
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in try w.nack(sender: 1, media: 2, [], into: &out) } == .badValue)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in try w.fullIntraRequest(sender: 1, [], into: &out) } == .badValue)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in try w.goodbye(Array(0..<32), into: &out) } == .tooLong)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in
        try w.goodbye([], reason: Array(repeating: 1, count: 256), into: &out)
      } == .tooLong)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in
        try w.maximumBitrate(sender: 1, bitrate: 1, sources: Array(0..<256), into: &out)
      } == .tooLong)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in
        try w.application(subtype: 32, ssrc: 1, name: 2, data: empty.rawSpan, into: &out)
      } == .tooLong)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in
        try w.application(subtype: 1, ssrc: 1, name: 2, data: byte.rawSpan, into: &out)
      } == .badValue)
    #expect(
      refusal { (w, out) throws(RTPEncodingError) in
        try w.sourceDescription([RTCPDescription(ssrc: 1, items: [RTCPTextItem(type: 0, value: [])])], into: &out)
      } == .badValue)
  }
}
