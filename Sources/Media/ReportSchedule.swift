// ReportSchedule.swift — when the next report goes (RFC 3550 §6.2, §6.3; RFC 4585 §3.4, §3.5).
//
// The session has two members, whose number never changes, so there is nothing to reconsider. AVPF without a least
// interval of its own (trr-int 0) allows reports as often as their share of the bandwidth does; they are of no use more
// than once a second.

import Wire

struct ReportSchedule {
  /// With video: what a sender adapts to is told once a second.
  static let videoInterval = Interval.milliseconds(1_000)
  static let audioInterval = Interval.milliseconds(2_500)
  /// The longest interval, whatever the jitter: peers take a session without reports for dead.
  static let maximumInterval = Interval.milliseconds(5_000)
  /// Early feedback is never closer than this; what becomes due meanwhile goes together. In a session of two nobody
  /// else could answer first, so there is no other delay (RFC 4585 §3.5.2, T_dither_max 0).
  static let feedbackSpacing = Interval.milliseconds(10)

  private(set) var next: Instant?
  /// Reached, and not yet sent.
  private(set) var isDue = false
  var hasVideo = false
  private var earliestFeedback: Instant?
  /// Of RTCP packets both ways, with 28 bytes of UDP and IP (§6.3.3), times sixteen.
  private var averageSize = 16 * 128
  /// Bytes of RTP both ways since the last report, and when that was.
  private var mediaBytes = 0
  private var measuredFrom: Instant?

  /// The first report comes after half an interval (§6.2), so that a late joiner soon is heard of.
  mutating func start(now: Instant, random: inout RandomSource) {
    measuredFrom = now
    next = now + interval(now: now, random: &random) / 2
  }

  mutating func stop() {
    next = nil
    isDue = false
  }

  mutating func mediaPassed(_ byteCount: Int) { mediaBytes &+= byteCount }

  mutating func rtcpPassed(_ byteCount: Int) {
    averageSize += byteCount + 28 - averageSize / 16
  }

  mutating func handleTimeout(now: Instant, random: inout RandomSource) {
    guard let due = next, due <= now else { return }
    isDue = true
    next = now + interval(now: now, random: &random)
    measuredFrom = now
    mediaBytes = 0
  }

  mutating func reportSent() { isDue = false }

  func mayGiveFeedback(now: Instant) -> Bool { earliestFeedback.map { $0 <= now } ?? true }

  /// When feedback that is wanted at `due` may go.
  func feedbackTime(for due: Instant) -> Instant { max(due, earliestFeedback ?? due) }

  mutating func feedbackSent(now: Instant) { earliestFeedback = now + Self.feedbackSpacing }

  /// Half to one and a half times what both members may use of 5 % of the bandwidth, or the usual interval if that is
  /// longer.
  private func interval(now: Instant, random: inout RandomSource) -> Interval {
    var interval = hasVideo ? Self.videoInterval : Self.audioInterval
    if let measuredFrom, mediaBytes > 0 {
      let elapsed = max(1, (now - measuredFrom).nanoseconds / 1_000_000)
      let share = max(1, Int64(clamping: mediaBytes) / 20)  // bytes of RTCP while `elapsed` ms passed
      let needed = Int64(2 * averageSize / 16).multipliedReportingOverflow(by: elapsed)
      let milliseconds = needed.overflow ? Self.maximumInterval.nanoseconds / 1_000_000 : needed.partialValue / share
      interval = max(interval, .milliseconds(min(milliseconds, Self.maximumInterval.nanoseconds / 1_000_000)))
    }
    let jittered = interval * Int64.random(in: 500...1_500, using: &random) / 1_000
    return min(jittered, Self.maximumInterval)
  }
}
