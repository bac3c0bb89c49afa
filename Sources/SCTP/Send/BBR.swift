// BBR.swift — the third version of BBR (draft-ietf-ccwg-bbr): a model of the path, its bandwidth and its round trip, says
// how fast to send and how much may be in flight. Loss bounds the model, it does not halve the window.
//
// This file: the model and what follows from it. BBR+Probing.swift: the phases in which the model is kept up to date.
// Names are the draft's. Rates in bytes a second; "long-term" bounds come from probing, "short-term" ones from loss since.
//
// Departures from the draft:
// - Loss below the bound of 2 % does not lower the short-term bounds, or a path that loses 1 % at random would be slowed by
//   2 % each round; and the bound is judged with what chance may do to it.
// - While a queue stands (StandingQueue.swift), every loss is an overflow's and counts, and the long-term bound then leaves
//   what CUBIC would leave. Otherwise CUBIC beside us yields at each overflow until nothing is left for it.
// - In a long queue that somebody else keeps up without overflow the window is three products instead of two, probes come
//   twice as often and ProbeRTT lets go of less: a model of the path without its queue would find less each time.
// - Up goes on while a round brings an eighth more, not a quarter: beside others no more can be had.
// - A round trip within a sixteenth of the smallest one counts as having seen it again, which spares the pauses of ProbeRTT
//   when the queue is empty anyway.
// - The window is not saved and restored around recovery, because the model bounds it throughout.

import Wire

package struct BBR: Sendable {
  enum Phase: Sendable { case startup, drain, probeDown, probeCruise, probeRefill, probeUp, probeRTT }
  /// What the acknowledgements that come in now were sent for (§5.3.3).
  enum AckPhase: Sendable { case idle, refilling, probeStarting, probeFeedback, probeStopping }

  var packetSize: Int
  var random: RandomSource

  // What the owner asks for.
  var window: Int
  private(set) var pacingRate: Int?

  // The model.
  var phase = Phase.startup
  var pacingGain = Gain.startupPacing
  var windowGain = Gain.window
  /// The largest rate of this and of the last cycle of probing.
  var maximumRates = (previous: 0, current: 0)
  var shortTermBandwidth: Int?
  var shortTermInflight: Int?
  var longTermInflight: Int?
  private(set) var minimumRoundTrip: Interval?
  private var minimumRoundTripAt = Instant(nanoseconds: 0)
  private var probedRoundTrip: (value: Interval, at: Instant)?
  private(set) var isProbeRTTDue = false
  private(set) var extraAcknowledged = 0

  // Rounds (§5.5.1).
  private(set) var roundCount = 0
  var isRoundStart = false
  private var nextRoundDelivered = 0
  private(set) var delivered = 0

  // Congestion signals of the current round (§5.5.10).
  private var isLossRoundStart = false
  private var lossRoundDelivered = 0
  private var lostInRound = 0
  var latestBandwidth = 0
  var latestInflight = 0
  private var lossEventsInRound = 0

  // Is the pipe full? (§5.3.1.2)
  var isPipeFull = false
  var isPipeFullNow = false
  var fullBandwidth = 0
  private var fullBandwidthCount = 0

  // Aggregation of acknowledgements (§5.5.9): the largest excess of the last rounds, two buckets of five.
  private var aggregationStart: Instant?
  private var aggregationDelivered = 0
  private var excess = (previous: 0, current: 0, since: 0)

  // Probing for bandwidth (§5.3.3).
  var ackPhase = AckPhase.idle
  var probeWait = Interval.seconds(2)
  var roundsSinceProbe = 0
  var cycleStart = Instant(nanoseconds: 0)
  var isProbeSampling = false
  var probeUpRounds = 0
  var probeUpBytesPerPacket = Int.max
  var probeUpAcknowledged = 0

  // Probing for the round trip (§5.3.4).
  var probeRTTDone: Instant?
  var probeRTTRoundDone = false
  private(set) var isRestartingFromIdle = false

  var queue = StandingQueue()

  enum Gain {
    // Hundredths.
    static let startupPacing = 277
    static let drainPacing = 50
    static let downPacing = 90
    static let upPacing = 125
    static let neutral = 100
    static let window = 200
    static let upWindow = 225
    static let crowdedWindow = 300
    static let probeRTTWindow = 50
    static let crowdedProbeRTTWindow = 80
  }
  enum Constant {
    /// §2.7: a higher loss rate than this says that too much is in flight (2 %).
    static let lossThresholdPerMille = 20
    /// §2.7: what is kept of a bound when loss shows that it was too high (0.7), and left free for others (0.15).
    static let betaPercent = 70
    static let headroomPercent = 85
    /// The model is followed slightly below the measured rate, so that queues drain (1 %).
    static let pacingMarginPercent = 99
    static let startupFullLossEvents = 6
    static let minimumRoundTripFilter = Interval.seconds(10)
    static let probeRTTInterval = Interval.seconds(5)
    static let probeRTTDuration = Interval.milliseconds(200)
    static let excessRounds = 5
    static let quantumTime = Interval.milliseconds(1)
    static let maximumQuantum = 65_536
    /// §5.3.3.8: against Reno-style flows on paths of a small product, probe at least as often as they would.
    static let maximumRoundsBetweenProbes = 63
  }

  init(packetSize: Int, random: RandomSource) {
    self.packetSize = packetSize
    self.random = random
    window = CongestionController.initialPackets * packetSize
  }

  var minimumWindow: Int { CongestionController.minimumPackets * packetSize }
  var maximumBandwidth: Int { max(maximumRates.previous, maximumRates.current) }
  var bandwidth: Int { min(maximumBandwidth, shortTermBandwidth ?? .max) }

  // MARK: Events

  mutating func acknowledged(_ event: CongestionEvent) {
    delivered += event.sample.acknowledged
    updateLatestSignals(event.sample)
    updateRound(event.sample)
    queue.note(event.sample.roundTrip, isRoundStart: isRoundStart, now: event.now)
    updateMaximumBandwidth(event.sample)
    if isLossRoundStart {
      adaptLowerBounds()
      startLossRound()
    }
    updateAggregation(event)
    checkPipe(event)
    checkDrain(event)
    updateProbing(event)
    updateMinimumRoundTrip(event)
    checkProbeRTT(event)
    if isLossRoundStart {
      latestBandwidth = event.sample.rate ?? 0
      latestInflight = event.sample.delivered
    }
    if isRoundStart { lossEventsInRound = 0 }
    if event.flightAfter > 0 { isRestartingFromIdle = false }
    setPacingRate(smoothed: event.smoothedRoundTrip)
    setWindow(event)
  }

  mutating func lost(_ event: LossEvent) {
    lostInRound += event.byteCount
    lossEventsInRound += 1
    guard isProbeSampling, isTooHigh(lost: event.lostSince, of: event.flightWhenSent) else { return }
    handleInflightTooHigh(event.flightWhenSent, isApplicationLimited: false, now: event.now)
  }

  mutating func timedOut() {
    lostInRound += window
    window = packetSize
  }

  mutating func resumes(now: Instant) {
    isRestartingFromIdle = true
    aggregationStart = nil
    if isProbingBandwidth { setPacingRate(gain: Gain.neutral) }
    if phase == .probeRTT { finishProbeRTTIfDone(now: now) }
  }

  /// Whether more than 2 % is lost, beyond what chance may do to 1 %: by two standard deviations, or a window of a few
  /// hundred packets would see too much in every tenth round.
  func isTooHigh(lost: Int, of inflight: Int) -> Bool {
    if queue.exists { return lost > 0 }
    // In thousandths of packets.
    let seen = lost * 1_000 / packetSize
    let allowed = inflight * Constant.lossThresholdPerMille / packetSize
    return seen > allowed && (seen - allowed) * (seen - allowed) > 4 * allowed * 1_000
  }

  /// Somebody else keeps up a long queue that has not overflowed yet. Then twice the product, which knows of no queue, is
  /// less than a round trip's worth, and each measurement would find less than the one before.
  var isCrowded: Bool { isProbingBandwidth && longTermInflight == nil && queue.exists }

  // MARK: The model

  private mutating func updateLatestSignals(_ sample: DeliverySample) {
    isLossRoundStart = false
    latestBandwidth = max(latestBandwidth, sample.rate ?? 0)
    latestInflight = max(latestInflight, sample.delivered)
    guard let prior = sample.priorDelivered, prior >= lossRoundDelivered else { return }
    isLossRoundStart = true
  }

  mutating func startLossRound() {
    lossRoundDelivered = delivered
    lostInRound = 0
  }

  private mutating func updateRound(_ sample: DeliverySample) {
    isRoundStart = false
    guard let prior = sample.priorDelivered, prior >= nextRoundDelivered else { return }
    startRound()
    roundCount += 1
    roundsSinceProbe += 1
    isRoundStart = true
  }

  mutating func startRound() { nextRoundDelivered = delivered }

  private mutating func updateMaximumBandwidth(_ sample: DeliverySample) {
    guard let rate = sample.rate, rate >= maximumBandwidth || !sample.isApplicationLimited else { return }
    maximumRates.current = max(maximumRates.current, rate)
  }

  /// A cycle of probing has ended: what was measured two cycles ago is forgotten (§5.5.6).
  mutating func advanceMaximumBandwidthFilter() {
    guard maximumRates.current > 0 else { return }
    maximumRates = (previous: maximumRates.current, current: 0)
  }

  /// §5.5.10.3: outside of probing, a round with too much loss says that the path has less room than the model thinks.
  private mutating func adaptLowerBounds() {
    guard !isProbingForMore, isTooHigh(lost: lostInRound, of: delivered - lossRoundDelivered + lostInRound) else {
      return
    }
    shortTermBandwidth = max(
      latestBandwidth, (shortTermBandwidth ?? maximumBandwidth) * Constant.betaPercent / 100)
    shortTermInflight = max(latestInflight, (shortTermInflight ?? window) * Constant.betaPercent / 100)
  }

  private var isProbingForMore: Bool { phase == .startup || phase == .probeRefill || phase == .probeUp }

  private mutating func updateAggregation(_ event: CongestionEvent) {
    if roundCount - excess.since >= (isPipeFull ? Constant.excessRounds : 1) {
      excess = (previous: excess.current, current: 0, since: roundCount)
    }
    let start = aggregationStart ?? event.now
    let expected = Rate.bytes(bandwidth, over: event.now - start)
    if aggregationStart == nil || aggregationDelivered <= expected {
      aggregationStart = event.now
      aggregationDelivered = 0
    }
    let expectedNow = aggregationStart == event.now ? 0 : expected
    aggregationDelivered += event.sample.acknowledged
    excess.current = max(excess.current, min(aggregationDelivered - expectedNow, window))
    extraAcknowledged = max(excess.previous, excess.current)
  }

  /// The smallest round trip of the last ten seconds, and whether five have passed without seeing it (§5.5.8). A round trip
  /// near it counts as having seen it: the queue is as good as empty.
  private mutating func updateMinimumRoundTrip(_ event: CongestionEvent) {
    isProbeRTTDue = probedRoundTrip.map { event.now - $0.at > Constant.probeRTTInterval } ?? false
    guard let roundTrip = event.sample.roundTrip, roundTrip > .zero else { return }
    if let known = probedRoundTrip, !isProbeRTTDue, roundTrip > known.value {
      if roundTrip <= known.value + known.value / 16 { probedRoundTrip?.at = event.now }
    } else {
      probedRoundTrip = (value: roundTrip, at: event.now)
    }
    guard let probed = probedRoundTrip else { return }
    let isOld = event.now - minimumRoundTripAt > Constant.minimumRoundTripFilter
    guard let known = minimumRoundTrip, known < probed.value, !isOld else {
      minimumRoundTrip = probed.value
      minimumRoundTripAt = probed.at
      return
    }
  }

  // MARK: Startup and Drain (§5.3.1, §5.3.2)

  private mutating func checkPipe(_ event: CongestionEvent) {
    checkFullBandwidth(event.sample)
    if phase == .startup, !isPipeFull, isRoundStart, event.isRecovering,
      lossEventsInRound >= Constant.startupFullLossEvents,
      isTooHigh(lost: event.sample.lostSince, of: event.sample.flightWhenSent)
    {
      isPipeFull = true
      longTermInflight = max(inflight(gain: Gain.neutral), latestInflight)
    }
    guard phase == .startup, isPipeFull else { return }
    phase = .drain
    pacingGain = Gain.drainPacing
    windowGain = Gain.window
  }

  /// The pipe is full when three rounds in a row have not brought a quarter more (§5.3.1.2).
  private mutating func checkFullBandwidth(_ sample: DeliverySample) {
    guard !isPipeFullNow, isRoundStart, !sample.isApplicationLimited, let rate = sample.rate else { return }
    let growth = phase == .startup ? fullBandwidth / 4 : fullBandwidth / 8
    if rate >= fullBandwidth + growth {
      resetFullBandwidth(to: rate)
      return
    }
    fullBandwidthCount += 1
    guard fullBandwidthCount >= 3 else { return }
    isPipeFullNow = true
    isPipeFull = true
  }

  mutating func resetFullBandwidth(to rate: Int) {
    fullBandwidth = rate
    fullBandwidthCount = 0
    isPipeFullNow = false
  }

  private mutating func checkDrain(_ event: CongestionEvent) {
    if phase == .drain, event.flightAfter <= inflight(gain: Gain.neutral) { startProbeDown(now: event.now) }
  }

  // MARK: What follows from the model (§5.6)

  /// The path's product times a gain, enlarged so that the sender's own bursts do not starve it.
  func inflight(gain: Int) -> Int {
    guard let minimumRoundTrip else { return CongestionController.initialPackets * packetSize }
    let product = Rate.bytes(bandwidth, over: minimumRoundTrip)
    let wanted = product > CongestionController.maximumWindow ? product : product * gain / 100
    return max(wanted, 3 * quantum, minimumWindow) + (phase == .probeUp ? 2 * packetSize : 0)
  }

  /// What is sent at once at the current pace.
  private var quantum: Int {
    guard let pacingRate else { return 2 * packetSize }
    return max(min(Rate.bytes(pacingRate, over: Constant.quantumTime), Constant.maximumQuantum), 2 * packetSize)
  }

  private mutating func setPacingRate(smoothed: Interval?) {
    // §5.6.2: the pace begins with the first window over the first round trip, and Startup only raises it. What is measured
    // at first may be a message of one byte.
    if pacingRate == nil, let roundTrip = smoothed, roundTrip > .zero {
      pacingRate = Rate.of(window, over: roundTrip) / 100 * Gain.startupPacing
    }
    if bandwidth > 0 { setPacingRate(gain: pacingGain) }
  }

  private mutating func setPacingRate(gain: Int) {
    let rate = min(bandwidth, .max / 1_000) * gain / 100 * Constant.pacingMarginPercent / 100
    if isPipeFull || rate > pacingRate ?? 0 { pacingRate = rate }
  }

  private mutating func setWindow(_ event: CongestionEvent) {
    let limit = inflight(gain: isCrowded ? Gain.crowdedWindow : windowGain) + extraAcknowledged
    if isPipeFull {
      window = min(window + event.sample.acknowledged, limit)
    } else if window < limit || delivered < CongestionController.initialPackets * packetSize {
      window += event.sample.acknowledged
    }
    window = max(window, minimumWindow)
    if phase == .probeRTT { window = min(window, probeRTTWindow) }
    window = min(window, modelBound, CongestionController.maximumWindow)
  }

  var probeRTTWindow: Int {
    // What somebody else keeps up does not go away when we do.
    let gain = longTermInflight == nil && queue.exists ? Gain.crowdedProbeRTTWindow : Gain.probeRTTWindow
    return max(inflight(gain: gain), minimumWindow)
  }

  /// §5.6.4.7: the bounds that loss has drawn.
  private var modelBound: Int {
    var bound = Int.max
    if let longTermInflight {
      switch phase {
      case .probeDown, .probeRefill, .probeUp: bound = longTermInflight
      case .probeCruise, .probeRTT: bound = inflightWithHeadroom
      case .startup, .drain: break
      }
    }
    return max(min(bound, shortTermInflight ?? .max), minimumWindow)
  }

  /// §5.3.3.5: room is left for others to grow into.
  var inflightWithHeadroom: Int {
    guard let longTermInflight else { return .max }
    return max(longTermInflight * Constant.headroomPercent / 100, minimumWindow)
  }
}
