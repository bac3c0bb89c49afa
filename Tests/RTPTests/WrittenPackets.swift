// WrittenPackets.swift — packets that our writers make, one of everything. Vectors/rtp/written.txt holds them with what other
// implementations read from them.

import RTP
import Wire

struct WrittenPacket: Sendable {
  var name: String
  var bytes: [UInt8]
}

enum WrittenPackets {
  static func all() throws(RTPEncodingError) -> [WrittenPacket] { try rtp() + compounds() + feedback() }

  static func packet(
    capacity: Int = 1500, _ name: String = "", _ body: (inout OutputRawSpan) throws(RTPEncodingError) -> Void
  ) throws(RTPEncodingError) -> WrittenPacket {
    WrittenPacket(name: name, bytes: try collectBytes(capacity: capacity, body))
  }

  /// Feedback by itself.
  static func reduced(
    _ name: String, _ body: (RTCPWriter, inout OutputRawSpan) throws(RTPEncodingError) -> Void
  ) throws(RTPEncodingError) -> WrittenPacket {
    try packet(name) { (out) throws(RTPEncodingError) in try body(.reducedSize(), &out) }
  }

  static let header = RTPHeader(
    marker: true, payloadType: 96, sequenceNumber: 0xfffe, timestamp: 0x8000_0000, ssrc: 0x1234_5678)
  static let elements = [
    RTPExtension(id: 1, text: "0"), RTPExtension(id: 2, text: "q"), RTPExtension(id: 3, transportSequence: 0xabcd),
    RTPExtension(id: 4, AbsoluteSendTime(NTPTime(unixNanoseconds: 1_700_000_000_123_456_789))),
    RTPExtension(id: 5, AudioLevel(isVoice: true, level: 42)),
    RTPExtension(id: 6, VideoOrientation(isFlipped: true, quarterTurns: 3)),
  ]

  private static func rtp() throws(RTPEncodingError) -> [WrittenPacket] {
    let payload = Array("payload".utf8)
    let mixed = [RTPExtension(id: 1, value: []), RTPExtension(id: 200, value: Array(1...20))]
    let bare = try packet("rtp: bare") { (out) throws(RTPEncodingError) in
      try RTPWriter.write(header, payload: payload.rawSpan, into: &out)
    }
    let oneByte = try packet("rtp: one-byte form") { (out) throws(RTPEncodingError) in
      try RTPWriter.write(header, extensions: elements, payload: payload.rawSpan, into: &out)
    }
    let twoByte = try packet("rtp: two-byte form") { (out) throws(RTPEncodingError) in
      try RTPWriter.write(header, extensions: mixed, payload: payload.rawSpan, into: &out)
    }
    let full = try packet("rtp: sources, extension, padding") { (out) throws(RTPEncodingError) in
      try RTPWriter.write(
        header, contributingSources: [1, 2, 3], extensions: [elements[2]], payload: payload.rawSpan, padding: 5,
        into: &out)
    }
    let rtx = try packet("rtx: of the one-byte form") { (out) throws(RTPEncodingError) in
      do throws(Malformed) {
        let original = try RTPPacketView(oneByte.bytes.rawSpan)
        do throws(RTPEncodingError) {
          try RTX.wrap(original, payloadType: 97, ssrc: 0x8765_4321, sequenceNumber: 7, into: &out)
        } catch { preconditionFailure("there is room: \(error)") }
      } catch { preconditionFailure("it was written just now: \(error)") }
    }
    return [bare, oneByte, twoByte, full, rtx]
  }

  static let info = RTCPSenderInfo(
    ntp: NTPTime(unixNanoseconds: 1_700_000_000_500_000_000), rtpTimestamp: 0xfedc_ba98, packetCount: 77,
    octetCount: 88_000)
  static func block(_ ssrc: UInt32) -> RTCPReportBlock {
    RTCPReportBlock(
      ssrc: ssrc, fractionLost: 25, cumulativeLost: -3, extendedHighestSequence: 0x0003_0010, jitter: 450,
      lastSenderReport: 0xcafe_0001, delaySinceLastSenderReport: 32_768)
  }
  static let cname = Array("a canonical name".utf8)

  private static func compounds() throws(RTPEncodingError) -> [WrittenPacket] {
    let sender = try packet("rtcp: SR of two blocks, SDES") { (out) throws(RTPEncodingError) in
      let report = RTCPReport(ssrc: 1, senderInfo: info, blocks: [block(5), block(6)])
      _ = try RTCPWriter(report, cname: cname, into: &out)
    }
    let receiver = try packet("rtcp: RR, SDES, NACK, PLI") { (out) throws(RTPEncodingError) in
      let writer = try RTCPWriter(RTCPReport(ssrc: 1, senderInfo: nil, blocks: []), cname: cname, into: &out)
      try writer.nack(sender: 1, media: 2, RTCPNackPair.pairs([3, 4, 19, 20, 21]), into: &out)
      try writer.pictureLossIndication(sender: 1, media: 2, into: &out)
    }
    let leaving = try packet("rtcp: RR of one block, SDES, BYE") { (out) throws(RTPEncodingError) in
      let writer = try RTCPWriter(RTCPReport(ssrc: 1, senderInfo: nil, blocks: [block(5)]), cname: [], into: &out)
      try writer.goodbye([1, 9], reason: Array("over".utf8), into: &out)
    }
    let described = try packet("rtcp: RR, SDES, SDES of two sources") { (out) throws(RTPEncodingError) in
      let writer = try RTCPWriter(RTCPReport(ssrc: 1, senderInfo: nil, blocks: []), cname: Array("c".utf8), into: &out)
      let items = [
        RTCPTextItem(type: RTCPDescriptionType.name, value: Array("somebody".utf8)),
        RTCPTextItem(type: RTCPDescriptionType.tool, value: Array("a".utf8)),
      ]
      try writer.sourceDescription(
        [RTCPDescription(ssrc: 3, items: items), RTCPDescription(ssrc: 4, items: [items[1]])], into: &out)
    }
    let crowd = try packet("rtcp: SR of 40 blocks, SDES") { (out) throws(RTPEncodingError) in
      let report = RTCPReport(ssrc: 1, senderInfo: info, blocks: (100..<140).map(block))
      _ = try RTCPWriter(report, cname: cname, into: &out)
    }
    return [sender, receiver, leaving, described, crowd]
  }

  private static func feedback() throws(RTPEncodingError) -> [WrittenPacket] {
    let nack = try reduced("rtcp: NACK across the wrap") { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 1, media: 2, RTCPNackPair.pairs([65_534, 65_535, 0, 14, 15]), into: &out)
    }
    let intra = try reduced("rtcp: FIR of two") { (writer, out) throws(RTPEncodingError) in
      let entries = [
        RTCPFullIntraEntry(ssrc: 2, sequenceNumber: 0), RTCPFullIntraEntry(ssrc: 3, sequenceNumber: 255),
      ]
      try writer.fullIntraRequest(sender: 1, entries, into: &out)
    }
    let remb = try reduced("rtcp: REMB") { (writer, out) throws(RTPEncodingError) in
      try writer.maximumBitrate(sender: 1, bitrate: 1_234_567, sources: [2, 3], into: &out)
    }
    let application = try reduced("rtcp: APP") { (writer, out) throws(RTPEncodingError) in
      try writer.application(
        subtype: 3, ssrc: 1, name: 0x6e61_6d65, data: ([1, 2, 3, 4] as [UInt8]).rawSpan, into: &out)
    }
    var small = RTCPTransportFeedbackBuilder(
      sequenceNumber: 65_530, arrival: Instant(nanoseconds: 5_000_000_000), maximumByteCount: 1200)
    for step in 1...9 where step != 4 {
      _ = small.add(
        sequenceNumber: 65_530 &+ UInt16(step),
        arrival: Instant(nanoseconds: 5_000_000_000 + Int64(step) * 3_000_000))
    }
    var large = RTCPTransportFeedbackBuilder(
      sequenceNumber: 100, arrival: Instant(nanoseconds: 64_000_000 * 3 + 63_999_999), maximumByteCount: 1200)
    _ = large.add(sequenceNumber: 101, arrival: Instant(nanoseconds: 64_000_000 * 3 + 20_000_000))
    _ = large.add(sequenceNumber: 350, arrival: Instant(nanoseconds: 2_000_000_000))
    _ = large.add(sequenceNumber: 352, arrival: Instant(nanoseconds: 2_000_250_000))
    let smallDeltas = try reduced("rtcp: transport-wide, small deltas over the wrap") {
      (writer, out) throws(RTPEncodingError) in
      try writer.transportFeedback(small, sender: 1, media: 2, feedbackCount: 200, into: &out)
    }
    let largeDeltas = try reduced("rtcp: transport-wide, large deltas and a lost run") {
      (writer, out) throws(RTPEncodingError) in
      try writer.transportFeedback(large, sender: 1, media: 2, feedbackCount: 201, into: &out)
    }
    return [nack, intra, remb, application, smallDeltas, largeDeltas]
  }
}
