// RTCPReports.swift — SR and RR: how much was sent, and how it arrived (RFC 3550 §6.4).
//
//   SR:     |  SSRC of sender  | NTP timestamp, 64 | RTP timestamp | packet count | octet count | report blocks … |
//   RR:     |  SSRC of sender  | report blocks … |
//   block:  |  SSRC_n  | fraction lost, 8 | cumulative lost, 24, signed | extended highest sequence | jitter | LSR | DLSR |
//
// What a profile appends to the blocks is ignored (§6.4.3).

internal import Wire

/// How one source's packets arrived.
package struct RTCPReportBlock: Hashable, Sendable {
  package var ssrc: UInt32
  /// Since the last report, in 1/256.
  package var fractionLost: UInt8
  /// Since the beginning; less than none when packets came twice. Clamped to 24 bits when written.
  package var cumulativeLost: Int32
  /// The count of wraps above, the sequence number below.
  package var extendedHighestSequence: UInt32
  /// In units of the RTP timestamp.
  package var jitter: UInt32
  /// `NTPTime.middle` of the last sender report from this source; zero when none came.
  package var lastSenderReport: UInt32
  /// `NTPInterval` since that report.
  package var delaySinceLastSenderReport: UInt32

  package static let byteCount = 24
  package static let cumulativeLostRange: ClosedRange<Int32> = -0x80_0000...0x7f_ffff

  package init(
    ssrc: UInt32, fractionLost: UInt8, cumulativeLost: Int32, extendedHighestSequence: UInt32, jitter: UInt32,
    lastSenderReport: UInt32, delaySinceLastSenderReport: UInt32
  ) {
    self.ssrc = ssrc
    self.fractionLost = fractionLost
    self.cumulativeLost = cumulativeLost
    self.extendedHighestSequence = extendedHighestSequence
    self.jitter = jitter
    self.lastSenderReport = lastSenderReport
    self.delaySinceLastSenderReport = delaySinceLastSenderReport
  }

  fileprivate init(_ body: RawSpan, at offset: Int) {
    ssrc = body.uint32(at: offset)
    let lost = body.uint32(at: offset + 4)
    fractionLost = UInt8(lost >> 24)
    cumulativeLost = Int32(bitPattern: lost << 8) >> 8
    extendedHighestSequence = body.uint32(at: offset + 8)
    jitter = body.uint32(at: offset + 12)
    lastSenderReport = body.uint32(at: offset + 16)
    delaySinceLastSenderReport = body.uint32(at: offset + 20)
  }

  @_lifetime(out: copy out)
  func write(into out: inout OutputRawSpan) {
    let range = Self.cumulativeLostRange
    let lost = UInt32(bitPattern: min(max(cumulativeLost, range.lowerBound), range.upperBound)) & 0xff_ffff
    out.writeUInt32(ssrc)
    out.writeUInt32(UInt32(fractionLost) << 24 | lost)
    out.writeUInt32(extendedHighestSequence)
    out.writeUInt32(jitter)
    out.writeUInt32(lastSenderReport)
    out.writeUInt32(delaySinceLastSenderReport)
  }
}

/// The blocks of a report, 0 … 31.
package struct RTCPReportBlocks: ~Escapable {
  package let count: Int
  private let list: RawSpan

  @_lifetime(copy list)
  fileprivate init(_ list: RawSpan, count: Int) throws(Malformed) {
    guard list.byteCount >= RTCPReportBlock.byteCount * count else { throw .truncated }
    self.list = list
    self.count = count
  }

  /// The block at `index`, which must be less than `count`.
  package func block(_ index: Int) -> RTCPReportBlock {
    precondition(index >= 0 && index < count, "the caller asks for a block that there is")
    return RTCPReportBlock(list, at: RTCPReportBlock.byteCount * index)
  }
}

/// What a sender says of itself.
package struct RTCPSenderInfo: Hashable, Sendable {
  package var ntp: NTPTime
  /// The same moment in the stream's clock.
  package var rtpTimestamp: UInt32
  package var packetCount: UInt32
  /// Of payload.
  package var octetCount: UInt32

  package static let byteCount = 20

  package init(ntp: NTPTime, rtpTimestamp: UInt32, packetCount: UInt32, octetCount: UInt32) {
    self.ntp = ntp
    self.rtpTimestamp = rtpTimestamp
    self.packetCount = packetCount
    self.octetCount = octetCount
  }
}

package struct RTCPSenderReport: ~Escapable {
  package let ssrc: UInt32
  package let info: RTCPSenderInfo
  package let blocks: RTCPReportBlocks

  @_lifetime(copy body)
  init(_ body: RawSpan, blocks: Int) throws(Malformed) {
    var reader = ByteReader(body)
    ssrc = try reader.readUInt32()
    info = RTCPSenderInfo(
      ntp: NTPTime(rawValue: try reader.readUInt64()), rtpTimestamp: try reader.readUInt32(),
      packetCount: try reader.readUInt32(), octetCount: try reader.readUInt32())
    self.blocks = try RTCPReportBlocks(reader.readRemaining(), count: blocks)
  }
}

package struct RTCPReceiverReport: ~Escapable {
  package let ssrc: UInt32
  package let blocks: RTCPReportBlocks

  @_lifetime(copy body)
  init(_ body: RawSpan, blocks: Int) throws(Malformed) {
    var reader = ByteReader(body)
    ssrc = try reader.readUInt32()
    self.blocks = try RTCPReportBlocks(reader.readRemaining(), count: blocks)
  }
}
