// Association+PathChange.swift — the path below has become another one, by an ICE restart or a better pair.
//
// What was measured belongs to the old path: round trip, congestion window, packet size begin anew (RFC 9260 §6.3.1,
// §7.2.1; RFC 8899 §4.4). What was in flight may still arrive, or may not: a probe asks at once, so that traffic resumes
// after one round trip instead of a timeout that has backed off.

package import Wire

extension SCTPAssociation {
  /// Begins anew on another path. Before the association is up it only limits what is probed for.
  ///
  /// - Parameter largestPacket: the longest SCTP packet worth trying there.
  package mutating func pathChanged(largestPacket: Int, now: Instant) {
    guard !isTerminated else { return }
    let isProbing = pathMTU.phase != .idle
    pathMTU = PathMTU(
      base: configuration.maximumPacketSize, ceiling: min(largestPacket, configuration.maximumProbedPacketSize))
    errorCount = 0
    switch state {
    case .closed: return
    case .cookieWait, .cookieEchoed:
      initiationRetransmits = 0
      initiationDue = true
      initiationTimer.start(now: now)
    case .established, .shutdownPending, .shutdownSent, .shutdownReceived, .shutdownAckSent:
      sender.pathChanged(configuration, random: random.split(), now: now)
      if isProbing { pathMTU.start(now: now, patience: probePatience) }
    }
  }
}

extension DataSender {
  mutating func pathChanged(_ configuration: SCTPConfiguration, random: RandomSource, now: Instant) {
    let wasSilent = roundTrip.hasBackedOff
    roundTrip = RoundTripEstimator(configuration)
    latestRoundTrip = nil
    congestion = CongestionController(configuration.congestionControl, packetSize: maximumFragment, random: random)
    pathPacketSize = packetSize
    pacer.standDown()
    probeDeadline = nil
    guard !outstanding.isEmpty else { return }
    if wasSilent {
      // A timeout has said already that the old path was dead.
      outstanding.markAllLost()
      isRecovering = false
      maySendFastRetransmit = false
      isProbeDue = false
      lossDeadline = nil
      giveUpExhausted(outstanding.chunks.first..<outstanding.chunks.end, now: now)
      if outstanding.needsForwardTSN { forwardTSNDue = true }
    } else if outstanding.flightBytes > 0 {
      isProbeDue = true
      hasProbed = true
    }
    wantsImmediateAnswer = true
    retransmissionDeadline = outstanding.isEmpty ? nil : now + roundTrip.timeout
  }
}
