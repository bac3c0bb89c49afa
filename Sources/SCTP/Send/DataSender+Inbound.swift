// DataSender+Inbound.swift — what SACKs and the passing of time mean for what was sent (RFC 9260 §6.2.1, §6.3; RFC 8985).

import Wire

extension DataSender {
  // MARK: Acknowledgements

  /// - Returns: whether the SACK was believed and told something new; nil when it was not believed.
  mutating func handle(_ sack: borrowing SackChunk, now: Instant) -> Bool? {
    // An old SACK that was overtaken (§6.2.1 D i).
    guard !outstanding.cumulativeTSN.isAfter(sack.cumulativeTSN) else { return false }
    guard outstanding.isPlausible(sack) else { return nil }
    let flightBefore = outstanding.flightBytes
    let result = outstanding.acknowledge(
      sack, now: now, minimumRoundTrip: roundTrip.smallest, releasingFrom: &queue)
    peerWindow = Int(sack.receiverWindow)
    heardSinceTimeout = true
    settle(result, flightBefore: flightBefore, now: now)
    return result.movedCumulative || result.sample.acknowledged > 0
  }

  /// SHUTDOWN carries a cumulative TSN too; one that was never sent is not believed.
  mutating func handle(cumulative tsn: TSN, now: Instant) -> Bool {
    guard !outstanding.cumulativeTSN.isAfter(tsn) else { return true }
    guard tsn.isBefore(outstanding.nextTSN) else { return false }
    let flightBefore = outstanding.flightBytes
    let result = outstanding.acknowledge(
      cumulative: tsn, now: now, minimumRoundTrip: roundTrip.smallest, releasingFrom: &queue)
    settle(result, flightBefore: flightBefore, now: now)
    return true
  }

  private mutating func settle(_ result: OutstandingData.Acknowledgement, flightBefore: Int, now: Instant) {
    let isProgress = result.movedCumulative || result.sample.acknowledged > 0
    if let measured = result.roundTrip { roundTrip.sample(measured) }
    if let measured = result.sample.roundTrip {
      latestRoundTrip = measured
      roundTrip.note(measured, now: now)
    }
    if isProgress {
      roundTrip.noteProgress()
      hasProbed = false
    }
    if isRecovering, outstanding.chunks.first >= recoveryEnd { isRecovering = false }
    let lost = findLost(now: now)
    var sample = result.sample
    sample.lost = lost
    if sample.acknowledged > 0 || lost > 0 {
      congestion.acknowledged(
        CongestionEvent(
          now: now, sample: sample, flightBefore: flightBefore, flightAfter: outstanding.flightBytes,
          smoothedRoundTrip: roundTrip.smoothed, isRecovering: isRecovering,
          isWindowLimited: isWindowLimited(flightBefore: flightBefore, now: now)))
    }
    if outstanding.needsForwardTSN { considerForwardTSN(now: now) } else { forwardTSNDue = false }
    if outstanding.isEmpty {
      retransmissionDeadline = nil
    } else if isProgress || retransmissionDeadline == nil {
      retransmissionDeadline = now + roundTrip.timeout
    }
    if isProgress { scheduleProbe(now: now) }
  }

  /// Whether the congestion window was the limit during the last round trip: a window that was not used must not grow. With
  /// a pace the window is rarely full at the moment when a SACK arrives.
  private func isWindowLimited(flightBefore: Int, now: Instant) -> Bool {
    if flightBefore + maximumFragment > congestion.window { return true }
    guard let limitedAt = windowLimitedAt, let smoothed = roundTrip.smoothed else { return false }
    return now - limitedAt <= smoothed
  }

  /// Marks what is lost by now, and answers it.
  ///
  /// - Returns: how many bytes.
  private mutating func findLost(now: Instant) -> Int {
    let report = outstanding.findLost(
      now: now, latest: latestRoundTrip, minimum: roundTrip.smallest, smoothed: roundTrip.smoothed,
      isRecovering: isRecovering)
    lossDeadline = report.deadline
    guard let lost = report.chunks else { return 0 }
    let beginsRecovery = !isRecovering
    if beginsRecovery {
      isRecovering = true
      recoveryEnd = outstanding.chunks.end
      maySendFastRetransmit = true
      statistics.fastRetransmits += 1
      outstanding.reordering.noteRecovery()
    }
    congestion.lost(
      LossEvent(
        now: now, byteCount: report.byteCount, beginsRecovery: beginsRecovery, flightWhenSent: report.flightWhenSent,
        lostSince: report.lostSince))
    probeDeadline = nil
    giveUpExhausted(lost, now: now)
    return report.byteCount
  }

  // MARK: Timers

  /// What the expiry of T3-rtx means for the association (§6.3.3, §8.1).
  package enum Expiry: Sendable {
    case none
    /// To be counted against the limit.
    case counts
    /// A probe of a closed window, and the peer does answer: it may go on for ever (§6.1 A).
    case probe
  }

  mutating func handleTimeout(now: Instant) -> Expiry {
    pacer.handleTimeout(now: now)
    if let due = lossDeadline, due <= now { _ = findLost(now: now) }
    if let due = probeDeadline, due <= now {
      probeDeadline = nil
      if outstanding.flightBytes > 0 {
        isProbeDue = true
        hasProbed = true
        wantsImmediateAnswer = true
        statistics.probes += 1
      }
    }
    guard let due = retransmissionDeadline, due <= now else { return .none }
    let isProbe = peerWindow == 0 && heardSinceTimeout
    heardSinceTimeout = false
    statistics.timeouts += 1
    let wasInFlight = outstanding.flightBytes > 0
    outstanding.markAllLost()
    if wasInFlight, !isProbe { congestion.timedOut() }
    isRecovering = false
    maySendFastRetransmit = false
    isProbeDue = false
    probeDeadline = nil
    lossDeadline = nil
    wantsImmediateAnswer = true
    pacer.standDown()
    giveUpExhausted(outstanding.chunks.first..<outstanding.chunks.end, now: now)
    roundTrip.backOff()
    if outstanding.needsForwardTSN { forwardTSNDue = true }
    retransmissionDeadline = outstanding.isEmpty ? nil : now + roundTrip.timeout
    return isProbe ? .probe : .counts
  }

  /// RFC 8985 §7.2: when nothing has come for two round trips, the last packet may be lost, which no later one shows.
  mutating func scheduleProbe(now: Instant) {
    probeDeadline = nil
    guard let smoothed = roundTrip.smoothed, !isRecovering, !hasProbed, outstanding.lostCount == 0,
      outstanding.flightBytes > 0, let timer = retransmissionDeadline
    else { return }
    var wait = max(smoothed * 2, Self.shortestProbe)
    if outstanding.packets.ring.count == 1 { wait = wait + Self.longestAcknowledgementDelay }
    guard now + wait < timer else { return }
    probeDeadline = now + wait
  }

  /// Less would probe what a busy machine answers late.
  private static let shortestProbe = Interval.milliseconds(10)
  /// A peer may hold the answer to a lone packet back so long (RFC 9260 §6.2).
  private static let longestAcknowledgementDelay = Interval.milliseconds(200)
}

extension TSN {
  func isBefore(_ other: TSN) -> Bool { other.isAfter(self) }
}
