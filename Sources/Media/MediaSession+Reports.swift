// MediaSession+Reports.swift — RTCP's way down: reports at their times, feedback as soon as it is due, and BYE (RFC 3550
// §6.4…6.6; RFC 4585 §3.5).
//
// All sections are one RTP session. Each source of ours that sends has its SR; what there is to report of the peer's
// sources is said once, by the first of ours, not by each of them (RFC 8108 §5.3 allows it in spirit, browsers report
// once as well).

internal import DequeModule
import RTP
import Wire

extension MediaSession {
  /// Writes one RTCP packet if there is one to go.
  @_lifetime(out: copy out)
  mutating func writeRTCP(into out: inout OutputRawSpan, now: Instant) -> Bool {
    if phase == .running, schedule.isDue {
      makeReports(now: now)
      schedule.reportSent()
    }
    if !reports.isEmpty { return writeReports(into: &out) }
    if !goodbyes.isEmpty { return writeGoodbyes(into: &out) }
    guard phase == .running else { return false }
    return writeFeedback(into: &out, now: now)
  }

  // MARK: Reports

  private mutating func makeReports(now: Instant) {
    guard let reporter else { return }
    var blocks: [RTCPReportBlock] = []
    for index in receivers.indices where receivers[index].isHeardSinceReport && receivers[index].tracker.isValid {
      blocks.append(makeBlock(index, now: now))
    }
    // Those that did not fit last time are stale.
    reports.removeAll(keepingCapacity: true)
    var rest = blocks[...]
    for index in sections.indices { makeSenderReports(index, blocks: &rest, now: now) }
    let source = reports.first?.ssrc ?? reporter
    while !rest.isEmpty || reports.isEmpty {
      let some = Array(rest.prefix(Self.maximumBlocks))
      rest = rest.dropFirst(Self.maximumBlocks)
      reports.append(RTCPReport(ssrc: source, senderInfo: nil, blocks: some))
    }
  }

  private mutating func makeBlock(_ index: Int, now: Instant) -> RTCPReportBlock {
    let (fraction, cumulative) = receivers[index].tracker.reportLoss()
    receivers[index].fractionLost = fraction
    receivers[index].isHeardSinceReport = false
    let report = receivers[index].lastSenderReport
    return RTCPReportBlock(
      ssrc: receivers[index].ssrc, fractionLost: fraction, cumulativeLost: Int32(clamping: cumulative),
      extendedHighestSequence: receivers[index].tracker.extendedHighest, jitter: receivers[index].jitter.ticks,
      lastSenderReport: report?.middle ?? 0,
      delaySinceLastSenderReport: report.map { NTPInterval(now - $0.receivedAt).rawValue } ?? 0)
  }

  private mutating func makeSenderReports(_ index: Int, blocks: inout ArraySlice<RTCPReportBlock>, now: Instant) {
    guard let send = sections[index].send, let timestamp = send.rtpTimestamp(at: now) else { return }
    let ntp = wallClock.ntpTime(at: now)
    if send.media.isActive {
      let info = RTCPSenderInfo(
        ntp: ntp, rtpTimestamp: timestamp, packetCount: send.media.packets, octetCount: send.media.octets)
      reports.append(RTCPReport(ssrc: send.ssrc, senderInfo: info, blocks: Array(blocks.prefix(Self.maximumBlocks))))
      blocks = blocks.dropFirst(Self.maximumBlocks)
    }
    if let rtx = send.rtxSSRC, send.retransmission.isActive {
      // The timestamps of a retransmission stream are the original's (RFC 4588 §4).
      let info = RTCPSenderInfo(
        ntp: ntp, rtpTimestamp: timestamp, packetCount: send.retransmission.packets,
        octetCount: send.retransmission.octets)
      reports.append(RTCPReport(ssrc: rtx, senderInfo: info, blocks: []))
    }
    sections[index].send?.media.reportsSincePacket += 1
    sections[index].send?.retransmission.reportsSincePacket += 1
  }

  /// As many reports as fit one packet, each with its CNAME.
  @_lifetime(out: copy out)
  private mutating func writeReports(into out: inout OutputRawSpan) -> Bool {
    let start = out.byteCount
    while let report = reports.first {
      let needed = RTCPByteCount.compound(
        isSender: report.senderInfo != nil, blocks: report.blocks.count, cname: cname.count)
      guard out.byteCount == start || out.byteCount - start + needed <= limits.maximumRTCPSize else { break }
      guard begin(report, into: &out) != nil else { break }
      reports.removeFirst()
    }
    if out.byteCount == start { reports.removeAll() }
    return out.byteCount > start
  }

  // MARK: BYE

  @_lifetime(out: copy out)
  private mutating func writeGoodbyes(into out: inout OutputRawSpan) -> Bool {
    let sources = Array(goodbyes.prefix(Self.maximumBlocks))
    goodbyes.removeFirst(sources.count)
    guard let writer = begin(RTCPReport(ssrc: sources[0], senderInfo: nil, blocks: []), into: &out) else {
      return false
    }
    do throws(RTPEncodingError) {
      try writer.goodbye(sources, into: &out)
    } catch {
      assertionFailure("\(Self.maximumBlocks) sources fit: \(error)")
    }
    return true
  }

  // MARK: Feedback

  /// What is due of NACK, keyframe requests and transport-wide feedback, in one packet.
  @_lifetime(out: copy out)
  private mutating func writeFeedback(into out: inout OutputRawSpan, now: Instant) -> Bool {
    guard schedule.mayGiveFeedback(now: now) else { return false }
    isFeedbackDue = false
    abandonRequests(now: now)
    var feedback = FeedbackPacket(end: out.byteCount + limits.maximumRTCPSize)
    for index in receivers.indices {
      requestPackets(index, in: &feedback, into: &out, now: now)
      requestKeyframe(of: index, in: &feedback, into: &out, now: now)
    }
    if usesTransportCC, arrivals.isDue(now: now) { tellArrivals(in: &feedback, into: &out) }
    guard feedback.hasBegun else { return false }
    schedule.feedbackSent(now: now)
    return true
  }

  /// A packet that only begins once there is something to write.
  private struct FeedbackPacket {
    let end: Int
    var writer: RTCPWriter?
    var hasBegun: Bool { writer != nil }
  }

  private var usesReducedSize: Bool { sections.allSatisfy { $0.section.usesReducedSize } }

  /// How many bytes the packet may still take.
  private func room(in feedback: FeedbackPacket, at offset: Int) -> Int {
    guard !feedback.hasBegun, !usesReducedSize else { return feedback.end - offset }
    return feedback.end - offset - RTCPByteCount.compound(isSender: false, blocks: 0, cname: cname.count)
  }

  @_lifetime(out: copy out)
  private func open(_ feedback: inout FeedbackPacket, into out: inout OutputRawSpan) -> RTCPWriter? {
    if feedback.writer == nil {
      if usesReducedSize {
        feedback.writer = .reducedSize()
      } else if let reporter {
        // The minimal compound of RFC 4585 §3.1: the blocks of a report belong to its own time.
        feedback.writer = begin(RTCPReport(ssrc: reporter, senderInfo: nil, blocks: []), into: &out)
      }
    }
    return feedback.writer
  }

  @_lifetime(out: copy out)
  private mutating func requestPackets(
    _ index: Int, in feedback: inout FeedbackPacket, into out: inout OutputRawSpan, now: Instant
  ) {
    let room = room(in: feedback, at: out.byteCount)
    numbers.removeAll(keepingCapacity: true)
    receivers[index].requester.takeDue(
      now: now, roundTrip: roundTrip.estimate, maximum: (room - RTCPByteCount.nack(pairs: 0)) / 4, into: &numbers)
    guard !numbers.isEmpty, let writer = open(&feedback, into: &out) else { return }
    let section = receivers[index].section
    do throws(RTPEncodingError) {
      try writer.nack(
        sender: sections[section].section.localSSRC, media: receivers[index].ssrc, RTCPNackPair.pairs(numbers),
        into: &out)
      sections[section].counts.nacksSent += 1
      sections[section].counts.packetsRequested += numbers.count
    } catch {
      assertionFailure("there was room: \(error)")
    }
  }

  @_lifetime(out: copy out)
  private mutating func requestKeyframe(
    of index: Int, in feedback: inout FeedbackPacket, into out: inout OutputRawSpan, now: Instant
  ) {
    guard receivers[index].keyframe.isDue(now: now),
      room(in: feedback, at: out.byteCount) >= RTCPByteCount.fullIntraRequest(entries: 1),
      let writer = open(&feedback, into: &out)
    else { return }
    _ = receivers[index].keyframe.take(now: now)
    let section = receivers[index].section
    let sender = sections[section].section.localSSRC
    do throws(RTPEncodingError) {
      if sections[section].formats[Int(receivers[index].payloadType)]?.hasPLI == true {
        try writer.pictureLossIndication(sender: sender, media: receivers[index].ssrc, into: &out)
        sections[section].counts.plisSent += 1
      } else {
        receivers[index].firSequence &+= 1
        let entry = RTCPFullIntraEntry(ssrc: receivers[index].ssrc, sequenceNumber: receivers[index].firSequence)
        try writer.fullIntraRequest(sender: sender, [entry], into: &out)
        sections[section].counts.firsSent += 1
      }
    } catch {
      assertionFailure("there was room: \(error)")
    }
  }

  /// One feedback packet from the first number that was not told; what does not fit follows in the next.
  @_lifetime(out: copy out)
  private mutating func tellArrivals(in feedback: inout FeedbackPacket, into out: inout OutputRawSpan) {
    let room = room(in: feedback, at: out.byteCount)
    guard let reporter, room >= Self.leastFeedback, let writer = open(&feedback, into: &out) else { return }
    var builder: RTCPTransportFeedbackBuilder?
    var told = arrivals.end
    for number in arrivals.base..<arrivals.end {
      guard let arrival = arrivals.arrival(of: number) else { continue }
      let sequence = UInt16(truncatingIfNeeded: number)
      if builder == nil {
        builder = RTCPTransportFeedbackBuilder(sequenceNumber: sequence, arrival: arrival, maximumByteCount: room)
      } else if builder?.add(sequenceNumber: sequence, arrival: arrival) == false {
        told = number
        break
      }
    }
    arrivals.told(upTo: told)
    guard let builder else { return }
    do throws(RTPEncodingError) {
      try writer.transportFeedback(
        builder, sender: reporter, media: latestSSRC, feedbackCount: feedbackCount, into: &out)
      feedbackCount &+= 1
      counts.transportFeedbackSent += 1
    } catch {
      assertionFailure("there was room: \(error)")
    }
  }

  /// Begins a compound.
  @_lifetime(out: copy out)
  private func begin(_ report: RTCPReport, into out: inout OutputRawSpan) -> RTCPWriter? {
    do throws(RTPEncodingError) {
      return try RTCPWriter(report, cname: cname, into: &out)
    } catch {
      assertionFailure("a report and a name fit the least packet: \(error)")
      return nil
    }
  }

  /// RC has five bits.
  private static let maximumBlocks = 31
  /// Less than this is not worth a feedback of its own.
  private static let leastFeedback = 128
}
