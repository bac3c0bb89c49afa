// ReceiveStream.swift — what is known of one source of the peer's (RFC 3550 §6.4, A.1, A.3, A.8; RFC 4585 §6.2.1).

import RTP
import Wire

struct ReceiveStream {
  enum Role: Equatable {
    case media
    /// Repeats packets of another source (RFC 4588), which may not be known yet.
    case retransmission(of: UInt32?)
  }

  let ssrc: UInt32
  /// Index of its section.
  var section: Int
  var role: Role
  /// Named by the description: keeps its place whatever comes.
  var isAnnounced: Bool
  var rid: String?
  var tracker: SequenceTracker
  var jitter = Jitter()
  var requester: NACKRequester
  var keyframe = Coalescer(interval: ReceiveStream.keyframeInterval)
  var firSequence: UInt8 = 0
  /// Of the latest packet: tells how a keyframe is asked for.
  var payloadType: UInt8 = 0
  var lastPacketAt: Instant
  /// A report tells only of sources heard since the one before (RFC 3550 §6.4).
  var isHeardSinceReport = false
  var hasEnded = false
  /// The first packet of a source on probation; goes up with the second.
  var held: IncomingRTP?
  /// LSR, and when it came.
  var lastSenderReport: (middle: UInt32, receivedAt: Instant)?
  var fractionLost: UInt8 = 0

  init(ssrc: UInt32, section: Int, role: Role, isAnnounced: Bool, isValid: Bool, limits: MediaLimits, now: Instant) {
    self.ssrc = ssrc
    self.section = section
    self.role = role
    self.isAnnounced = isAnnounced
    tracker = SequenceTracker(isAnnounced: isValid)
    requester = NACKRequester(limits: limits)
    lastPacketAt = now
  }

  var isMedia: Bool { role == .media }

  /// Whether a newcomer may have its place: nobody would miss it.
  func isExpendable(now: Instant) -> Bool {
    hasEnded || !tracker.isValid || (!isAnnounced && now - lastPacketAt > Self.idleAfter)
  }

  /// An encoder answers a request within a few frames; more of them only make it send more of its largest pictures.
  private static let keyframeInterval = Interval.milliseconds(300)
  /// RFC 3550 §6.3.5 takes a source for gone after five intervals of reports; a browser's are one second with video.
  private static let idleAfter = Interval.seconds(5)
}
