// RTCPWriter.swift — writes the RTCP packets of one datagram in place, one after another (RFC 3550 §6.1, RFC 5506 §3.4).
//
// Invariants: whatever has been written is a valid datagram: a compound begins with a report and a CNAME, because the
// writer does; every length is right; nothing is padded, so anything may follow. A packet that does not fit throws and
// writes nothing.

internal import Wire

/// What a compound begins with: an SR when there is something to say of the sender, otherwise an RR.
package struct RTCPReport: Hashable, Sendable {
  package var ssrc: UInt32
  package var senderInfo: RTCPSenderInfo?
  /// Those beyond 31 go to further RRs (§6.1).
  package var blocks: [RTCPReportBlock]

  package init(ssrc: UInt32, senderInfo: RTCPSenderInfo?, blocks: [RTCPReportBlock]) {
    self.ssrc = ssrc
    self.senderInfo = senderInfo
    self.blocks = blocks
  }
}

/// What an SDES says of one source.
package struct RTCPDescription: Hashable, Sendable {
  package var ssrc: UInt32
  /// `RTCPDescriptionType` and the text of at most 255 bytes.
  package var items: [RTCPTextItem]

  package init(ssrc: UInt32, items: [RTCPTextItem]) {
    self.ssrc = ssrc
    self.items = items
  }

  /// SSRC, items, and zeros to the next word: at least one.
  var byteCount: Int { (4 + items.reduce(0) { sum, item in sum + 2 + item.value.count } + 4) & ~3 }
}

package struct RTCPTextItem: Hashable, Sendable {
  package var type: UInt8
  package var value: [UInt8]

  package init(type: UInt8, value: [UInt8]) {
    self.type = type
    self.value = value
  }
}

/// How many bytes packets take, headers included; for asking before writing.
package enum RTCPByteCount {
  /// The beginning of a compound: report and CNAME.
  package static func compound(isSender: Bool, blocks: Int, cname: Int) -> Int {
    let further = max(0, (blocks + RTCPHeader.maximumCount - 1) / RTCPHeader.maximumCount - 1)
    return 8 * (1 + further) + (isSender ? RTCPSenderInfo.byteCount : 0) + RTCPReportBlock.byteCount * blocks
      + RTCPHeader.byteCount + (4 + 2 + cname + 4) & ~3
  }
  package static func goodbye(sources: Int, reason: Int? = nil) -> Int {
    RTCPHeader.byteCount + 4 * sources + (reason.map { ($0 + 1 + 3) & ~3 } ?? 0)
  }
  package static func application(data: Int) -> Int { 12 + data }
  package static func nack(pairs: Int) -> Int { 12 + 4 * pairs }
  package static let pictureLossIndication = 12
  package static func fullIntraRequest(entries: Int) -> Int { 12 + RTCPFullIntraEntry.byteCount * entries }
  package static func maximumBitrate(sources: Int) -> Int { 20 + 4 * sources }
}

package struct RTCPWriter: Sendable {
  private init() {}

  /// Packets by themselves, which a peer takes that agreed to `a=rtcp-rsize`.
  package static func reducedSize() -> RTCPWriter { RTCPWriter() }

  /// Begins a compound with the report and the sender's CNAME.
  @_lifetime(out: copy out)
  package init(_ report: RTCPReport, cname: [UInt8], into out: inout OutputRawSpan) throws(RTPEncodingError) {
    guard cname.count <= 255 else { throw .tooLong }
    let blocks = report.blocks
    let needed = RTCPByteCount.compound(
      isSender: report.senderInfo != nil, blocks: blocks.count, cname: cname.count)
    guard out.freeCapacity >= needed else { throw .noRoom }
    var start = 0
    repeat {
      let end = min(blocks.count, start + RTCPHeader.maximumCount)
      try writeReport(
        report.ssrc, start == 0 ? report.senderInfo : nil, blocks: blocks[start..<end], into: &out)
      start = end
    } while start < blocks.count
    let item = RTCPTextItem(type: RTCPDescriptionType.cname, value: cname)
    try sourceDescription([RTCPDescription(ssrc: report.ssrc, items: [item])], into: &out)
  }

  @_lifetime(out: copy out)
  private func writeReport(
    _ ssrc: UInt32, _ info: RTCPSenderInfo?, blocks: ArraySlice<RTCPReportBlock>, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    let body = 4 + (info == nil ? 0 : RTCPSenderInfo.byteCount) + RTCPReportBlock.byteCount * blocks.count
    let type = info == nil ? RTCPType.receiverReport : RTCPType.senderReport
    try begin(type, count: blocks.count, body: body, into: &out)
    out.writeUInt32(ssrc)
    if let info {
      out.writeUInt64(info.ntp.rawValue)
      out.writeUInt32(info.rtpTimestamp)
      out.writeUInt32(info.packetCount)
      out.writeUInt32(info.octetCount)
    }
    for block in blocks { block.write(into: &out) }
  }

  /// SDES of at most 31 sources.
  @_lifetime(out: copy out)
  package func sourceDescription(
    _ descriptions: [RTCPDescription], into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    for description in descriptions {
      for item in description.items {
        guard item.type != 0 else { throw .badValue }
        guard item.value.count <= 255 else { throw .tooLong }
      }
    }
    let body = descriptions.reduce(0) { sum, description in sum + description.byteCount }
    try begin(RTCPType.sourceDescription, count: descriptions.count, body: body, into: &out)
    for description in descriptions {
      let start = out.byteCount
      out.writeUInt32(description.ssrc)
      for item in description.items {
        out.writeUInt8(item.type)
        out.writeUInt8(UInt8(item.value.count))
        out.writeBytes(item.value)
      }
      out.writeZeros(description.byteCount - (out.byteCount - start))
    }
  }

  /// BYE of at most 31 sources.
  @_lifetime(out: copy out)
  package func goodbye(
    _ sources: [UInt32], reason: [UInt8]? = nil, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    let length = reason?.count
    guard length ?? 0 <= 255 else { throw .tooLong }
    let body = RTCPByteCount.goodbye(sources: sources.count, reason: length) - RTCPHeader.byteCount
    try begin(RTCPType.goodbye, count: sources.count, body: body, into: &out)
    for source in sources { out.writeUInt32(source) }
    guard let reason else { return }
    out.writeUInt8(UInt8(reason.count))
    out.writeBytes(reason)
    out.writePadding(after: 1 + reason.count)
  }

  /// APP, whose data fills whole words.
  @_lifetime(out: copy out)
  package func application(
    subtype: UInt8, ssrc: UInt32, name: UInt32, data: RawSpan, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard data.byteCount & 3 == 0 else { throw .badValue }
    try begin(RTCPType.application, count: Int(subtype), body: 8 + data.byteCount, into: &out)
    out.writeUInt32(ssrc)
    out.writeUInt32(name)
    out.writeBytes(data)
  }

  /// At least one pair; see `RTCPNackPair.pairs`.
  @_lifetime(out: copy out)
  package func nack(
    sender: UInt32, media: UInt32, _ pairs: [RTCPNackPair], into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard !pairs.isEmpty else { throw .badValue }
    try beginFeedback(
      RTCPType.transportFeedback, RTCPFeedbackFormat.nack, sender: sender, media: media, information: 4 * pairs.count,
      into: &out)
    for pair in pairs { out.writeUInt32(UInt32(pair.packetID) << 16 | UInt32(pair.followingLost)) }
  }

  @_lifetime(out: copy out)
  package func transportFeedback(
    _ feedback: RTCPTransportFeedbackBuilder, sender: UInt32, media: UInt32, feedbackCount: UInt8,
    into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    try begin(
      RTCPType.transportFeedback, count: Int(RTCPFeedbackFormat.transportWide),
      body: feedback.byteCount - RTCPHeader.byteCount, into: &out)
    feedback.writeBody(sender: sender, media: media, feedbackCount: feedbackCount, into: &out)
  }

  @_lifetime(out: copy out)
  package func pictureLossIndication(
    sender: UInt32, media: UInt32, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    try beginFeedback(
      RTCPType.payloadFeedback, RTCPFeedbackFormat.pictureLoss, sender: sender, media: media, information: 0, into: &out
    )
  }

  /// At least one entry.
  @_lifetime(out: copy out)
  package func fullIntraRequest(
    sender: UInt32, _ entries: [RTCPFullIntraEntry], into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard !entries.isEmpty else { throw .badValue }
    try beginFeedback(
      RTCPType.payloadFeedback, RTCPFeedbackFormat.fullIntraRequest, sender: sender, media: 0,
      information: RTCPFullIntraEntry.byteCount * entries.count, into: &out)
    for entry in entries {
      out.writeUInt32(entry.ssrc)
      out.writeUInt32(UInt32(entry.sequenceNumber) << 24)
    }
  }

  /// REMB for at most 255 sources. The bitrate, in bit/s, is rounded down to 18 significant bits.
  @_lifetime(out: copy out)
  package func maximumBitrate(
    sender: UInt32, bitrate: UInt64, sources: [UInt32], into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard sources.count <= 255 else { throw .tooLong }
    try beginFeedback(
      RTCPType.payloadFeedback, RTCPFeedbackFormat.applicationLayer, sender: sender, media: 0,
      information: 8 + 4 * sources.count, into: &out)
    let (exponent, mantissa) = RTCPMaximumBitrate.parts(of: bitrate)
    out.writeUInt32(RTCPMaximumBitrate.name)
    out.writeUInt32(UInt32(sources.count) << 24 | exponent << 18 | mantissa)
    for source in sources { out.writeUInt32(source) }
  }

  // MARK: Headers

  @_lifetime(out: copy out)
  private func beginFeedback(
    _ type: UInt8, _ format: UInt8, sender: UInt32, media: UInt32, information: Int, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    try begin(type, count: Int(format), body: 8 + information, into: &out)
    out.writeUInt32(sender)
    out.writeUInt32(media)
  }

  /// Writes the common header, once it is known that the whole packet fits.
  @_lifetime(out: copy out)
  private func begin(_ type: UInt8, count: Int, body: Int, into out: inout OutputRawSpan) throws(RTPEncodingError) {
    guard count <= RTCPHeader.maximumCount, body <= 4 * 0xffff else { throw .tooLong }
    guard out.freeCapacity >= RTCPHeader.byteCount + body else { throw .noRoom }
    let first = UInt32(RTPHeader.version) << 6 | UInt32(count)
    out.writeUInt32(first << 24 | UInt32(type) << 16 | UInt32(body / 4))
  }
}
