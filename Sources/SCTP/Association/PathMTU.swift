// PathMTU.swift — how long a packet the path carries, found out with probes (RFC 8899, with RFC 9260 §8.3 and RFC 4820).
//
//   idle → searching → complete ⇄ verifying        complete → searching, every ten minutes below the ceiling
//             ↑───────── black hole ────────┘
//
// A probe is a HEARTBEAT, padded by a PAD chunk, which those that do not know it skip in silence; its answer bears a nonce
// that only we know. Every size of a short table is probed in one go, because there are few sizes that real links
// have: the longest that is answered is in use after one round trip. (RFC 8899 §4.1 has one probe at a time.) The base
// size needs no confirmation: where that does not pass, no session of ours comes up. There is no state ERROR either.
//
// A link may begin to swallow long packets at any time. No chunk is ever longer than the base size allows, so that
// what is lost can always be sent again in short packets; long ones must then prove themselves anew.

package import Wire

package struct PathMTU: Sendable {
  package enum Phase: Sendable { case idle, searching, verifying, complete }

  package struct Probe: Sendable, Equatable {
    package var size: Int
    package var nonce: UInt64
  }

  private struct Candidate {
    var probe: Probe
    var isDue = true
  }

  package private(set) var phase = Phase.idle
  /// How long a packet may be now.
  package private(set) var size: Int
  package private(set) var deadline: Instant?
  /// What every path carries, and what we would use at most.
  private let base: Int
  private let ceiling: Int
  /// The sizes that are being asked about, in ascending order; all are longer than what is in use, unless verifying.
  private var candidates: [Candidate] = []
  private var round = 0
  private var verifiedAt: Instant?
  /// Whether a probe is to be written.
  package private(set) var hasProbeDue = false

  /// Packets of SCTP that just fit links of 1,380 to 1,500 bytes, behind IPv4 or IPv6, UDP and DTLS.
  static let sizes = [1_312, 1_352, 1_392, 1_412, 1_432]
  /// RFC 8899 §5.1.2, MAX_PROBES.
  static let maximumProbes = 3
  /// RFC 8899 §5.1.1, PMTU_RAISE_TIMER.
  static let raiseInterval = Interval.seconds(600)
  /// Loss that is not ours to explain is common; so often it is asked at most whether long packets are to blame.
  static let verifyInterval = Interval.seconds(1)

  package init(base: Int, ceiling: Int) {
    self.base = base
    self.ceiling = max(base, ceiling & ~3)
    size = base
  }

  // MARK: In

  /// The association is up, or up again with a peer that knows nothing.
  ///
  /// - Parameter patience: how long an answer is waited for.
  package mutating func start(now: Instant, patience: Interval) {
    size = base
    verifiedAt = nil
    search(now: now, patience: patience)
  }

  package mutating func stop() {
    phase = .idle
    candidates = []
    hasProbeDue = false
    deadline = nil
  }

  /// A HEARTBEAT of ours was answered.
  ///
  /// - Returns: whether it was a probe.
  package mutating func handleAnswer(nonce: UInt64, now: Instant) -> Bool {
    guard let index = candidates.firstIndex(where: { $0.probe.nonce == nonce && nonce != 0 }) else { return false }
    size = candidates[index].probe.size
    verifiedAt = now
    candidates.removeFirst(index + 1)
    hasProbeDue = candidates.contains(where: \.isDue)
    if candidates.isEmpty { complete(now: now) }
    return true
  }

  package mutating func handleTimeout(now: Instant, patience: Interval) {
    guard let due = deadline, due <= now else { return }
    guard phase != .complete else { return search(now: now, patience: patience) }
    guard round < Self.maximumProbes else {
      if phase == .searching { return complete(now: now) }
      return fallBack(now: now, patience: patience)
    }
    round += 1
    for index in candidates.indices { candidates[index].isDue = true }
    hasProbeDue = true
    deadline = now + patience
  }

  /// T3-rtx has expired. Whatever the reason was, from now on only short packets, until the path has shown again that it
  /// carries others.
  package mutating func noteTimeout(now: Instant, patience: Interval) {
    if size > base { fallBack(now: now, patience: patience) }
  }

  /// Something was lost while other packets came through: is it the long ones?
  package mutating func noteLoss(now: Instant, patience: Interval) {
    guard size > base, phase == .complete else { return }
    if let verifiedAt, now - verifiedAt < Self.verifyInterval { return }
    verifiedAt = now
    begin(.verifying, [size], now: now, patience: patience)
  }

  // MARK: Out

  /// The next probe to write.
  package mutating func pollProbe(random: inout RandomSource) -> Probe? {
    guard hasProbeDue else { return nil }
    guard let index = candidates.firstIndex(where: \.isDue) else {
      hasProbeDue = false
      return nil
    }
    candidates[index].isDue = false
    hasProbeDue = candidates.contains(where: \.isDue)
    // A repeated probe has the same nonce: a late answer is an answer.
    if candidates[index].probe.nonce == 0 { candidates[index].probe.nonce = random.next() | 1 }
    return candidates[index].probe
  }

  // MARK: Between

  private mutating func search(now: Instant, patience: Interval) {
    var sizes = Self.sizes.filter { $0 > size && $0 < ceiling }
    if ceiling > size { sizes.append(ceiling) }
    guard !sizes.isEmpty else { return complete(now: now) }
    begin(.searching, sizes, now: now, patience: patience)
  }

  private mutating func begin(_ phase: Phase, _ sizes: [Int], now: Instant, patience: Interval) {
    self.phase = phase
    candidates = sizes.map { Candidate(probe: Probe(size: $0, nonce: 0)) }
    round = 1
    hasProbeDue = true
    deadline = now + patience
  }

  private mutating func complete(now: Instant) {
    phase = .complete
    candidates = []
    hasProbeDue = false
    deadline = size < ceiling ? now + Self.raiseInterval : nil
  }

  private mutating func fallBack(now: Instant, patience: Interval) {
    size = base
    search(now: now, patience: patience)
  }
}

extension SCTPAssociation {
  /// The path's kind has become known before anything was sent on it: nothing longer than this is tried.
  package mutating func limitProbes(to size: Int) {
    guard state == .closed else { return }
    pathMTU = PathMTU(
      base: configuration.maximumPacketSize, ceiling: min(size, configuration.maximumProbedPacketSize))
  }

  /// How long a probe's answer is waited for: three round trips, as far as they are known.
  var probePatience: Interval {
    guard let smoothed = sender.roundTrip.smoothed else { return sender.roundTrip.timeout }
    return max(smoothed * 3, .milliseconds(200))
  }

  /// Tells of losses that have been found since it was last asked.
  mutating func noteLosses(now: Instant) {
    guard sender.statistics.fastRetransmits != lossesNoted else { return }
    lossesNoted = sender.statistics.fastRetransmits
    pathMTU.noteLoss(now: now, patience: probePatience)
  }

  /// How long a packet with data may be now. What was lost, and what is sent to find out what was, goes in short packets:
  /// long ones may be why.
  var packetSize: Int {
    sender.outstanding.lostCount > 0 || sender.isProbeDue ? configuration.maximumPacketSize : pathMTU.size
  }

  func writeProbe(_ probe: PathMTU.Probe, into out: inout OutputRawSpan, now: Instant) {
    writeHeartbeat(nonce: probe.nonce, into: &out, now: now)
    let padding = probe.size - PacketHeader.byteCount - Self.heartbeatByteCount
    out.writeUInt32(UInt32(ChunkType.padding) << 24 | UInt32(padding))
    for _ in 0..<(padding / 4 - 1) { out.writeUInt32(0) }
  }
}
