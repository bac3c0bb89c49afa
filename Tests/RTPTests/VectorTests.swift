// VectorTests.swift — what others wrote, read by us, and what we wrote, read by others (Vectors/rtp).

import RTP
import TestSupport
import Testing
import Wire

@Suite struct VectorTests {
  @Test("aiortc's packets say to us what they say to aiortc", arguments: try VectorRecord.read("rtp/aiortc.txt"))
  func fromAiortc(record: VectorRecord) throws {
    let packet = try #require(record.bytes("bytes"))
    let expected = try #require(record.values["parsed"])
    let isRTCP = isRTCP(packet.rawSpan)
    #expect(isRTCP == record.name.hasPrefix("rtcp"))
    if isRTCP {
      #expect(try summary(ofRTCP: packet) == expected)
    } else {
      #expect(try inOrder(namedSummary(ofRTP: packet)) == inOrder(expected))
    }
    if let original = record.values["original"] {
      #expect(RTX.originalNumber(packet) == 4242)
      let unwrapped = try unwrap(packet, payloadType: 96, ssrc: 0xcafe_babe)
      #expect(try inOrder(namedSummary(ofRTP: unwrapped)) == inOrder(original))
      // And wrapped again, it is what aiortc made of it.
      #expect(try wrap(unwrapped, payloadType: 97, ssrc: 0x0bad_f00d, sequenceNumber: 9) == packet)
    }
  }

  @Test("Pion's packets say to us what they say to Pion", arguments: try VectorRecord.read("rtp/pion.txt"))
  func fromPion(record: VectorRecord) throws {
    let packet = try #require(record.bytes("bytes"))
    let expected = try #require(record.values["parsed"])
    let said = isRTCP(packet.rawSpan) ? try summary(ofRTCP: packet) : try summary(ofRTP: packet)
    #expect(said == expected)
  }

  @Test("what others wrote without padding, we write alike")
  func rewritten() throws {
    var count = 0
    for record in try VectorRecord.read("rtp/aiortc.txt") + VectorRecord.read("rtp/pion.txt") {
      let packet = try #require(record.bytes("bytes"))
      guard !isRTCP(packet.rawSpan) else { continue }
      let parts = try OwnedPacket(packet)
      guard parts.padding == 0 else { continue }
      #expect(try parts.written() == packet, "\(record.name)")
      count += 1
    }
    #expect(count >= 6)
  }

  @Test("our packets are those that others have read")
  func ours() throws {
    let records = try VectorRecord.read("rtp/written.txt")
    let packets = try WrittenPackets.all()
    #expect(records.map(\.name) == packets.map(\.name))
    for (record, packet) in zip(records, packets) {
      #expect(record.bytes("bytes") == packet.bytes, "\(packet.name)")
      let parsed = isRTCP(packet.bytes.rawSpan) ? try summary(ofRTCP: packet.bytes) : try summary(ofRTP: packet.bytes)
      let read = record.values.filter { key, _ in ["aiortc", "pion", "tshark"].contains(key) }
      #expect(read["tshark"] != nil, "\(packet.name) has no witness")
      for (witness, value) in read { #expect(value == parsed, "\(packet.name) as \(witness) reads it") }
    }
  }

  /// aiortc's summary lists elements in an order of its own.
  private func inOrder(_ summary: String) -> String {
    guard let start = summary.firstRange(of: "ext=[")?.upperBound, let end = summary[start...].firstIndex(of: "]")
    else { return summary }
    let elements = summary[start..<end].split(separator: ",").sorted().joined(separator: ",")
    return summary[..<start] + elements + summary[end...]
  }
}

extension RTX {
  /// Nil when the bytes are not a retransmission.
  static func originalNumber(_ bytes: [UInt8]) -> UInt16? {
    do throws(Malformed) {
      return try originalSequenceNumber(of: try RTPPacketView(bytes.rawSpan))
    } catch { return nil }
  }
}

func wrap(_ bytes: [UInt8], payloadType: UInt8, ssrc: UInt32, sequenceNumber: UInt16) throws -> [UInt8] {
  let view = try RTPPacketView(bytes.rawSpan)
  return try collectBytes(capacity: RTX.byteCount(wrapping: view)) { out in
    try RTX.wrap(view, payloadType: payloadType, ssrc: ssrc, sequenceNumber: sequenceNumber, into: &out)
  }
}

func unwrap(_ bytes: [UInt8], payloadType: UInt8, ssrc: UInt32) throws -> [UInt8] {
  let view = try RTPPacketView(bytes.rawSpan)
  return try collectBytes(capacity: bytes.count) { out in
    try RTX.unwrap(view, payloadType: payloadType, ssrc: ssrc, into: &out)
  }
}

/// A packet's parts, to keep and to write again.
struct OwnedPacket: Equatable {
  var header: RTPHeader
  var contributingSources: [UInt32]
  var profile: UInt16?
  var extensions: [RTPExtension] = []
  var payload: [UInt8]
  var padding: Int

  init(_ bytes: [UInt8]) throws(Malformed) {
    let view = try RTPPacketView(bytes.rawSpan)
    header = view.header
    contributingSources = view.contributingSources
    profile = view.extensionProfile
    payload = view.payload.copyBytes()
    padding = view.paddingCount
    var elements = view.extensions
    while let element = elements.next() {
      extensions.append(RTPExtension(id: element.id, value: element.value.copyBytes()))
    }
  }

  func written() throws(RTPEncodingError) -> [UInt8] {
    let count = RTPWriter.byteCount(
      contributingSources: contributingSources.count, extensions: extensions, payload: payload.count, padding: padding)
    return try collectBytes(capacity: count) { (out) throws(RTPEncodingError) in
      try RTPWriter.write(
        header, contributingSources: contributingSources, extensions: extensions, payload: payload.rawSpan,
        padding: padding, into: &out)
    }
  }
}
