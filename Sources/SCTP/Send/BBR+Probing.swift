// BBR+Probing.swift — the cycle in which BBR looks for more bandwidth, and the pauses in which it looks for the shortest
// round trip (draft-ietf-ccwg-bbr §5.3.3, §5.3.4).
//
// Down: slower than the path, until the queue is gone. Cruise: as fast as the path. Refill: a round to fill it without a
// queue, so that what follows is judged fairly. Up: faster, until loss or a rate that does not rise says that it is full.

import Wire

extension BBR {
  var isProbingBandwidth: Bool {
    switch phase {
    case .probeDown, .probeCruise, .probeRefill, .probeUp: true
    case .startup, .drain, .probeRTT: false
    }
  }

  // MARK: The cycle

  mutating func updateProbing(_ event: CongestionEvent) {
    guard isPipeFull else { return }
    adaptUpperBounds(event)
    switch phase {
    case .probeDown:
      if isTimeToProbe(now: event.now) {
        startProbeRefill()
      } else if event.flightAfter <= min(inflightWithHeadroom, inflight(gain: Gain.neutral)) {
        startProbeCruise()
      }
    case .probeCruise:
      if isTimeToProbe(now: event.now) { startProbeRefill() }
    case .probeRefill:
      if isRoundStart {
        isProbeSampling = true
        startProbeUp(event)
      }
    case .probeUp:
      if isTimeToGoDown(event) { startProbeDown(now: event.now) }
    case .startup, .drain, .probeRTT: break
    }
  }

  mutating func startProbeDown(now: Instant) {
    startLossRound()
    latestBandwidth = 0
    latestInflight = 0
    probeUpBytesPerPacket = .max
    // §5.3.3.3: a random wait, so that flows do not probe in step.
    roundsSinceProbe = Int(random.next() % 2)
    // Beside a long queue each probe gains little, and the next round trip probe takes it away: twice as often.
    probeWait = .milliseconds((2_000 + Int64(random.next() % 1_000)) / (isCrowded ? 2 : 1))
    cycleStart = now
    ackPhase = .probeStopping
    startRound()
    phase = .probeDown
    pacingGain = Gain.downPacing
    windowGain = Gain.window
  }

  private mutating func startProbeCruise() {
    phase = .probeCruise
    pacingGain = Gain.neutral
    windowGain = Gain.window
  }

  private mutating func startProbeRefill() {
    shortTermBandwidth = nil
    shortTermInflight = nil
    probeUpRounds = 0
    probeUpAcknowledged = 0
    ackPhase = .refilling
    startRound()
    phase = .probeRefill
    pacingGain = Gain.neutral
    windowGain = Gain.window
  }

  private mutating func startProbeUp(_ event: CongestionEvent) {
    ackPhase = .probeStarting
    startRound()
    resetFullBandwidth(to: event.sample.rate ?? 0)
    cycleStart = event.now
    phase = .probeUp
    pacingGain = Gain.upPacing
    windowGain = Gain.upWindow
    raiseSlope()
  }

  private func isTimeToProbe(now: Instant) -> Bool {
    if now - cycleStart > probeWait { return true }
    let rounds = min(inflight(gain: Gain.neutral) / packetSize, Constant.maximumRoundsBetweenProbes)
    return roundsSinceProbe >= rounds
  }

  private mutating func isTimeToGoDown(_ event: CongestionEvent) -> Bool {
    if let bound = longTermInflight, event.isWindowLimited, window >= bound {
      // The bound itself holds the rate down: it has to rise before a flat rate means a full pipe.
      resetFullBandwidth(to: event.sample.rate ?? fullBandwidth)
      return false
    }
    return isPipeFullNow
  }

  // MARK: How much may be in flight

  private mutating func adaptUpperBounds(_ event: CongestionEvent) {
    let sample = event.sample
    if ackPhase == .probeStarting, isRoundStart { ackPhase = .probeFeedback }
    if ackPhase == .probeStopping, isRoundStart {
      ackPhase = .idle
      if isProbingBandwidth, !sample.isApplicationLimited { advanceMaximumBandwidthFilter() }
    }
    guard sample.priorDelivered != nil else { return }
    if isTooHigh(lost: sample.lostSince, of: sample.flightWhenSent) {
      if isProbeSampling {
        handleInflightTooHigh(
          sample.flightWhenSent, isApplicationLimited: sample.isApplicationLimited, now: event.now)
      }
      return
    }
    guard let bound = longTermInflight else { return }
    if sample.flightWhenSent > bound { longTermInflight = sample.flightWhenSent }
    if phase == .probeUp { raiseLongTermInflight(event) }
  }

  /// §5.3.3.6: the bound is where the loss was, but not less than most of what the path carries.
  mutating func handleInflightTooHigh(_ inflightThen: Int, isApplicationLimited: Bool, now: Instant) {
    isProbeSampling = false
    if !isApplicationLimited {
      let target = min(inflight(gain: Gain.neutral), window)
      let bound = queue.exists ? inflightThen * Constant.betaPercent / 100 : inflightThen
      longTermInflight = max(bound, target * Constant.betaPercent / 100)
    }
    if phase == .probeUp { startProbeDown(now: now) }
  }

  /// In each round of Up the bound rises by twice as much as in the one before.
  private mutating func raiseLongTermInflight(_ event: CongestionEvent) {
    guard let bound = longTermInflight, event.isWindowLimited, window >= bound else { return }
    probeUpAcknowledged += event.sample.acknowledged
    if probeUpAcknowledged >= probeUpBytesPerPacket {
      let packets = probeUpAcknowledged / probeUpBytesPerPacket
      probeUpAcknowledged -= packets * probeUpBytesPerPacket
      longTermInflight = min(bound + packets * packetSize, CongestionController.maximumWindow)
    }
    if isRoundStart { raiseSlope() }
  }

  private mutating func raiseSlope() {
    let growth = 1 << min(probeUpRounds, 30)
    probeUpRounds = min(probeUpRounds + 1, 30)
    probeUpBytesPerPacket = max(window / growth, packetSize)
  }

  // MARK: The round trip

  mutating func checkProbeRTT(_ event: CongestionEvent) {
    if phase != .probeRTT, !isRestartingFromIdle, isPipeFull, isProbeRTTDue {
      phase = .probeRTT
      pacingGain = Gain.neutral
      windowGain = Gain.probeRTTWindow
      probeRTTDone = nil
      ackPhase = .probeStopping
      startRound()
    }
    guard phase == .probeRTT else { return }
    if probeRTTDone == nil, event.flightAfter <= probeRTTWindow {
      probeRTTDone = event.now + Constant.probeRTTDuration
      probeRTTRoundDone = false
      startRound()
    } else if probeRTTDone != nil {
      if isRoundStart { probeRTTRoundDone = true }
      if probeRTTRoundDone { finishProbeRTTIfDone(now: event.now) }
    }
  }

  mutating func finishProbeRTTIfDone(now: Instant) {
    guard let done = probeRTTDone, done <= now else { return }
    shortTermBandwidth = nil
    shortTermInflight = nil
    startProbeDown(now: now)
    startProbeCruise()
  }
}
