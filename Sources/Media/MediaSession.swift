// MediaSession.swift — the RTP session of one bundle (RFC 3550, 8843): between plaintext RTP and RTCP, which SRTP protects
// below, and the application above. Packets in, packets out: no codec, no jitter buffer, no bandwidth estimation.
//
// Invariants:
// - `receiverIndex[s]` is the place of the one stream with SSRC `s` in `receivers`; each has a section that receives.
// - An SSRC that nobody announced never takes the place of one that is in use.
// - No two packets leave with one SSRC and sequence number unless all their bytes are the same (RFC 3711 §9.1).
// - Work for one packet is bounded by the session's bounds, not by what the packet says.

internal import DequeModule
import RTP
package import Wire

package struct MediaSession: ~Copyable {
  enum Phase { case idle, running, closed }

  /// What the peer's description says of one of its SSRCs.
  struct Announcement {
    var section: Int
    var role: ReceiveStream.Role
  }

  private let isLentByAddress = LentByAddress()
  let limits: MediaLimits
  let cname: [UInt8]
  let wallClock: WallClock
  var random: RandomSource
  var phase = Phase.idle
  var counts = MediaSessionStatistics()

  var sections: [SectionState] = []
  /// From `MediaSection.id` to the place in `sections`.
  var sectionIndex: [Int: Int] = [:]
  /// Of the whole bundle: one identifier means the same in all its sections (RFC 8843 §7.1.3).
  var extensionIDs = MediaExtensionIDs()
  var announced: [UInt32: Announcement] = [:]
  /// The only section that receives a payload type; nil for several, or none.
  var payloadTypeOwner = [Int?](repeating: nil, count: 128)

  var receivers: [ReceiveStream] = []
  var receiverIndex: [UInt32: Int] = [:]

  var schedule = ReportSchedule()
  var roundTrip = RoundTrip()
  var usesTransportCC = false
  var arrivals = TransportArrivals()
  var departures = TransportDepartures()
  var feedbackCount: UInt8 = 0
  /// The stream that feedback about the transport names, because it must name one.
  var latestSSRC: UInt32 = 0
  /// Built when a report is due, and sent in as many packets as they need.
  var reports = Deque<RTCPReport>()
  /// Feedback is due, and waits to be polled.
  var isFeedbackDue = false
  var goodbyes: [UInt32] = []
  /// Where the next search for something to send begins.
  var turn = 0
  /// Reused for each NACK.
  var numbers: [UInt16] = []
  var events = Deque<MediaEvent>()

  /// - Parameters:
  ///   - cname: names this endpoint in SDES (RFC 7022), the same as in `a=ssrc:… cname:`; at most 255 bytes count.
  ///   - wallClock: what sender reports tell.
  package init(
    limits: MediaLimits = MediaLimits(), cname: String, random: RandomSource, wallClock: WallClock = WallClock()
  ) {
    self.limits = limits
    self.cname = Array(cname.utf8.prefix(255))
    self.random = random
    self.wallClock = wallClock
  }

  // MARK: In

  /// The keys of SRTP exist: packets may go.
  package mutating func start(now: Instant) {
    guard phase == .idle else { return }
    phase = .running
    schedule.start(now: now, random: &random)
  }

  package mutating func handleTimeout(now: Instant) {
    guard phase == .running else { return }
    schedule.handleTimeout(now: now, random: &random)
    abandonRequests(now: now)
    if let due = feedbackDeadline, due <= now { isFeedbackDue = true }
    for index in sections.indices { tellKeyframeRequest(index, now: now) }
  }

  /// Asks for a picture that depends on no other, by PLI or FIR, whichever was negotiated. At most one in 300 ms goes for
  /// each stream; what is asked for in between goes then.
  /// - Parameter ssrc: one of the section's streams; nil for all of them.
  /// - Returns: whether there is a stream to ask for and a way to ask.
  @discardableResult
  package mutating func requestKeyframe(_ section: Int, ssrc: UInt32? = nil, now: Instant) -> Bool {
    guard phase == .running, let section = sectionIndex[section] else { return false }
    var found = false
    for index in receivers.indices where receivers[index].section == section && canAskForKeyframe(index) {
      if let ssrc, receivers[index].ssrc != ssrc { continue }
      receivers[index].keyframe.request()
      found = true
    }
    return found
  }

  /// Says BYE for all our sources. Nothing else is sent or received from then on.
  package mutating func close(now: Instant) {
    guard phase != .closed else { return }
    if phase == .running {
      for section in sections { endSources(of: section) }
      // The source of our reports has been heard even if it never sent anything.
      if let reporter, !goodbyes.contains(reporter) { goodbyes.append(reporter) }
    }
    phase = .closed
    schedule.stop()
    reports.removeAll()
    for index in sections.indices { sections[index].send?.removeQueued() }
  }

  // MARK: Out

  package mutating func pollEvent() -> MediaEvent? { events.popFirst() }

  package var deadline: Instant? {
    guard phase == .running else { return nil }
    var due = schedule.next
    if !isFeedbackDue { due = earliest(due, feedbackDeadline) }
    for index in sections.indices { due = earliest(due, sections[index].keyframeRequests.deadline) }
    return due
  }

  /// Of the bundle.
  package var statistics: MediaSessionStatistics {
    var result = counts
    result.roundTrip = roundTrip.value
    return result
  }

  /// Of one section; all zero when there is none with this id.
  package func statistics(of section: Int) -> MediaStatistics {
    guard let index = sectionIndex[section] else { return MediaStatistics() }
    var result = sections[index].counts
    for stream in receivers where stream.section == index {
      result.streams += 1
      result.packetsLost += stream.tracker.lost + stream.tracker.lostBefore
      result.fractionLost = max(result.fractionLost, stream.fractionLost)
      if stream.isMedia { result.jitter = max(result.jitter, stream.jitter.interval) }
    }
    result.queuedPackets = sections[index].send?.queue.count ?? 0
    return result
  }

  // MARK: Parts

  /// The SSRC that our reports come from when no section sends.
  var reporter: UInt32? { sections.first?.section.localSSRC }

  mutating func emit(_ event: MediaEvent) {
    guard events.count < limits.maximumEvents else {
      counts.overflowedEvents += 1
      return
    }
    events.append(event)
  }

  /// Our SSRCs of a section that the peer has heard of end.
  mutating func endSources(of state: SectionState) {
    guard phase == .running, let send = state.send else { return }
    if send.media.packets > 0 { goodbyes.append(send.ssrc) }
    if send.retransmission.packets > 0, let rtx = send.rtxSSRC { goodbyes.append(rtx) }
  }

  /// The earliest moment at which feedback may go that is wanted.
  private var feedbackDeadline: Instant? {
    var due = usesTransportCC ? arrivals.deadline : nil
    // By index: a stream that is copied retains what it holds.
    for index in receivers.indices {
      due = earliest(due, earliest(receivers[index].requester.deadline, receivers[index].keyframe.deadline))
    }
    return due.map { schedule.feedbackTime(for: $0) }
  }

  mutating func abandonRequests(now: Instant) {
    for index in receivers.indices {
      receivers[index].requester.expire(now: now)
      let count = receivers[index].requester.takeAbandoned()
      guard count > 0 else { continue }
      let section = receivers[index].section
      sections[section].counts.packetsAbandoned += count
      emit(.packetsAbandoned(section: sections[section].section.id, ssrc: receivers[index].ssrc, count: count))
    }
  }

  mutating func tellKeyframeRequest(_ index: Int, now: Instant) {
    guard sections[index].keyframeRequests.take(now: now) else { return }
    emit(.keyframeRequested(section: sections[index].section.id))
  }

  private func canAskForKeyframe(_ index: Int) -> Bool {
    let stream = receivers[index]
    guard stream.isMedia, stream.tracker.isValid, !stream.hasEnded else { return false }
    guard let format = sections[stream.section].formats[Int(stream.payloadType)] else { return false }
    return format.hasPLI || format.hasFIR
  }
}
