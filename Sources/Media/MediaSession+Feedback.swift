// MediaSession+Feedback.swift — RTCP's way up: reports, goodbyes, and what the peer asks for (RFC 3550 §6.4…6.6,
// RFC 4585 §6, RFC 5104 §4.3.1).
//
// Only what names a source that we know is taken: a peer that speaks of others changes nothing.

import RTP
package import Wire

extension MediaSession {
  package mutating func handleRTCP(_ packet: RawSpan, now: Instant) {
    guard phase == .running else { return }
    counts.rtcpPacketsReceived += 1
    schedule.rtcpPassed(packet.byteCount)
    do throws(Malformed) {
      // Browsers send feedback alone without asking (RFC 5506), so no report need come first.
      var compound = try RTCPCompound(packet, form: .reducedSize)
      while !compound.isAtEnd { readNext(of: &compound, now: now) }
    } catch {
      counts.malformedRTCP += 1
    }
  }

  @_lifetime(compound: copy compound)
  private mutating func readNext(of compound: inout RTCPCompound, now: Instant) {
    do throws(Malformed) {
      guard let packet = try compound.next() else { return }
      switch packet {
      case .senderReport(let report):
        handle(report, now: now)
        handle(report.blocks, now: now)
      case .receiverReport(let report): handle(report.blocks, now: now)
      case .goodbye(let goodbye): handle(goodbye)
      case .nack(let nack): handle(nack, now: now)
      case .pictureLossIndication(let request):
        guard let index = sender(request.media) else { return }
        sections[index].counts.plisReceived += 1
        sections[index].keyframeRequests.request()
        tellKeyframeRequest(index, now: now)
      case .fullIntraRequest(let request): handle(request, now: now)
      case .receiverEstimatedMaximumBitrate(let estimate):
        // One that is about none of our streams is not about us.
        guard (0..<estimate.sourceCount).contains(where: { sender(estimate.source($0)) != nil }) else { return }
        counts.bandwidthEstimate = estimate.bitrate
        emit(.bandwidthEstimate(bitsPerSecond: estimate.bitrate))
      case .transportFeedback(let feedback): handle(feedback)
      case .sourceDescription, .application, .other: break
      }
    } catch {
      counts.malformedRTCP += 1
    }
  }

  // MARK: Reports

  private mutating func handle(_ report: borrowing RTCPSenderReport, now: Instant) {
    guard let index = receiverIndex[report.ssrc] else { return }
    receivers[index].lastSenderReport = (report.info.ntp.middle, now)
    guard receivers[index].isMedia else { return }
    emit(
      .senderReport(
        RemoteSenderReport(
          section: sections[receivers[index].section].section.id, ssrc: report.ssrc, ntpTime: report.info.ntp,
          rtpTimestamp: report.info.rtpTimestamp, packetCount: report.info.packetCount,
          octetCount: report.info.octetCount)))
  }

  private mutating func handle(_ blocks: borrowing RTCPReportBlocks, now: Instant) {
    for number in 0..<blocks.count {
      let block = blocks.block(number)
      guard let index = sender(block.ssrc, orRetransmission: true), let send = sections[index].send else { continue }
      let isMedia = block.ssrc == send.ssrc
      guard (isMedia ? send.media : send.retransmission).packets > 0 else { continue }
      if isMedia {
        sections[index].send?.media.isAcknowledged = true
      } else {
        sections[index].send?.retransmission.isAcknowledged = true
      }
      let sample = NTPInterval.roundTrip(
        arrival: wallClock.ntpTime(at: now), lastSenderReport: block.lastSenderReport,
        delay: block.delaySinceLastSenderReport)
      if let sample { roundTrip.reported(sample) }
      guard isMedia else { continue }
      if let sample, sample <= RoundTrip.maximum { sections[index].counts.roundTrip = sample }
      sections[index].counts.remotePacketsLost = Int(block.cumulativeLost)
      sections[index].counts.remoteFractionLost = block.fractionLost
      if let rate = send.latest?.clockRate, rate > 0 {
        sections[index].counts.remoteJitter = Interval(
          nanoseconds: Int64(block.jitter) * 1_000_000_000 / Int64(rate))
      }
    }
  }

  private mutating func handle(_ goodbye: borrowing RTCPGoodbye) {
    for number in 0..<goodbye.sourceCount {
      guard let index = receiverIndex[goodbye.source(number)], !receivers[index].hasEnded else { continue }
      receivers[index].hasEnded = true
      receivers[index].requester.removeAll()
      _ = receivers[index].requester.takeAbandoned()  // what is missing of an ended stream is no loss to act on
      guard receivers[index].isMedia else { continue }
      emit(.bye(section: sections[receivers[index].section].section.id, ssrc: receivers[index].ssrc))
    }
  }

  // MARK: Requests

  private mutating func handle(_ nack: borrowing RTCPNack, now: Instant) {
    guard let index = sender(nack.media) else { return }
    sections[index].counts.nacksReceived += 1
    // Two pairs for each packet kept are all that can be of use; a packet's length bounds them anyway.
    let spacing = max(Self.minimumRepeatSpacing, roundTrip.estimate)
    var list = nack.sequenceNumbers
    while let number = list.next() {
      if sections[index].send?.requestRepeat(number, spacing: spacing, now: now) != true {
        sections[index].counts.retransmissionsRefused += 1
      }
    }
  }

  private mutating func handle(_ request: borrowing RTCPFullIntraRequest, now: Instant) {
    for number in 0..<request.entryCount {
      let entry = request.entry(number)
      guard let index = sender(entry.ssrc),
        sections[index].send?.isNewFIR(entry.sequenceNumber, from: request.sender) == true
      else { continue }
      sections[index].counts.firsReceived += 1
      sections[index].keyframeRequests.request()
      tellKeyframeRequest(index, now: now)
    }
  }

  private mutating func handle(_ feedback: borrowing RTCPTransportFeedback) {
    guard departures.isRecent(feedback.baseSequenceNumber) else { return }
    counts.transportFeedbackReceived += 1
    var summary = TransportFeedbackSummary()
    var first: (sentAt: Instant, ticks: Int)?
    var ticks = 0
    var statuses = feedback.statuses
    // The draft's count may be 65,535 for a few bytes; what we have sent bounds it.
    var told = 0
    while told < TransportDepartures.windowSize, let status = statuses.next() {
      told += 1
      guard let delta = status.delta else {
        if departures.lose(status.sequenceNumber) { summary.lostPackets += 1 }
        continue
      }
      ticks += Int(delta)
      guard let sent = departures.acknowledge(status.sequenceNumber) else { continue }
      summary.receivedPackets += 1
      summary.receivedBytes += sent.byteCount
      if sent.wasLost { counts.transportPacketsLost -= 1 }
      let start = first ?? (sent.sentAt, ticks)
      first = start
      let arrivalSpan = RTCPTransportFeedback.deltaUnit * Int64(ticks - start.ticks)
      summary.delayGrowth = arrivalSpan - (sent.sentAt - start.sentAt)
    }
    counts.transportPacketsAcknowledged += summary.receivedPackets
    counts.transportPacketsLost += summary.lostPackets
    guard summary.receivedPackets > 0 || summary.lostPackets > 0 else { return }
    emit(.transportFeedback(summary))
  }

  // MARK: Sources

  /// The section that sends with this SSRC.
  private func sender(_ ssrc: UInt32, orRetransmission: Bool = false) -> Int? {
    sections.firstIndex { state in
      guard state.section.sends, let send = state.send else { return false }
      return send.ssrc == ssrc || (orRetransmission && send.rtxSSRC == ssrc)
    }
  }

  /// Not closer than this, however short the round trip is measured.
  private static let minimumRepeatSpacing = Interval.milliseconds(10)
}
