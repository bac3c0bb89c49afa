// SendStream.swift — what one section sends: its queue, what it keeps for NACKs, and the counts of its reports.
//
// Invariants: `queuedBytes` is the sum over `queue`; a number in `repeats` has `isQueued` set in the history while it is
// kept there.

internal import DequeModule
import RTP
import Wire

/// The packets and payload octets of one of our SSRCs, modulo 2^32 (RFC 3550 §6.4.1).
struct SentCount {
  var packets: UInt32 = 0
  var octets: UInt32 = 0
  /// Reports that have gone since its last packet: after two it is no sender any more (§6.4).
  var reportsSincePacket = 2
  /// The peer has reported on it, so it knows to which section it belongs.
  var isAcknowledged = false

  var isActive: Bool { reportsSincePacket < 2 }

  mutating func sent(payload: Int) {
    packets &+= 1
    octets &+= UInt32(truncatingIfNeeded: payload)
    reportsSincePacket = 0
  }
}

struct SendStream {
  struct Queued {
    var packet: OutgoingRTP
    var sequenceNumber: UInt16
    /// The most it may have when it is written.
    var byteCount: Int
  }

  let ssrc: UInt32
  private(set) var rtxSSRC: UInt32?
  var numbers = SendNumbers()
  private(set) var queue = Deque<Queued>()
  private(set) var queuedBytes = 0
  var history: History
  var repeats = Deque<UInt16>()
  var budget = RetransmissionBudget()
  var rtxSequence: UInt16
  var media = SentCount()
  var retransmission = SentCount()
  /// The newest packet, from which reports extrapolate.
  private(set) var latest: (sequenceNumber: UInt16, timestamp: UInt32, sentAt: Instant, clockRate: UInt32)?
  /// FIR's sequence number for each SSRC that has sent one (RFC 5104 §4.3.1.1).
  private var firSequences: [(sender: UInt32, sequence: UInt8)] = []

  init(ssrc: UInt32, rtxSSRC: UInt32?, limits: MediaLimits, random: inout RandomSource) {
    self.ssrc = ssrc
    self.rtxSSRC = rtxSSRC
    history = History(limits: limits)
    // Below 2^15: the first wrap then is far from the beginning, where SRTP's rollover counter could be guessed wrong.
    rtxSequence = UInt16.random(in: 0..<1 << 15, using: &random)
  }

  mutating func enqueue(_ queued: Queued) {
    queuedBytes += queued.byteCount
    queue.append(queued)
  }

  mutating func dequeue() -> Queued? {
    guard let queued = queue.popFirst() else { return nil }
    queuedBytes -= queued.byteCount
    return queued
  }

  /// Drops what waits; the numbers stay used.
  mutating func removeQueued() {
    queue.removeAll(keepingCapacity: true)
    queuedBytes = 0
    repeats.removeAll(keepingCapacity: true)
  }

  mutating func sent(_ sent: borrowing SentPacket, clockRate: UInt32, now: Instant) {
    media.sent(payload: sent.packet.payload.count)
    if let latest, Int16(bitPattern: sent.sequenceNumber &- latest.sequenceNumber) < 0 { return }
    latest = (sent.sequenceNumber, sent.packet.timestamp, now, clockRate)
  }

  /// - Parameter isSeparate: it went on the retransmission stream.
  mutating func sentAgain(_ number: UInt16, payload: Int, isSeparate: Bool, now: Instant) {
    if isSeparate { retransmission.sent(payload: payload + 2) } else { media.sent(payload: payload) }
    _ = history.withPacket(number) { $0.lastSentAt = now }
  }

  /// Its numbers go on, so that none is used twice if the old one comes back.
  mutating func changeRTX(to ssrc: UInt32?) {
    rtxSSRC = ssrc
    retransmission = SentCount()
  }

  mutating func takeRTXSequence() -> UInt16 {
    defer { rtxSequence &+= 1 }
    return rtxSequence
  }

  /// The peer asks for a packet. Not taken when it is no longer kept, waits already, or went within `spacing`.
  mutating func requestRepeat(_ number: UInt16, spacing: Interval, now: Instant) -> Bool {
    guard repeats.count < Self.maximumRepeats else { return false }
    let isTaken = history.withPacket(number) { sent in
      guard !sent.isQueued, now - sent.lastSentAt >= spacing else { return false }
      sent.isQueued = true
      return true
    }
    guard isTaken == true else { return false }
    repeats.append(number)
    return true
  }

  /// What the stream's RTP clock shows now. A relayed stream's clock is not ours: it is taken to have run at its nominal
  /// rate since the newest packet left.
  func rtpTimestamp(at now: Instant) -> UInt32? {
    guard let latest else { return nil }
    return latest.timestamp &+ RTPClock.ticks(in: now - latest.sentAt, clockRate: latest.clockRate)
  }

  /// False for a repetition of the sender's latest FIR.
  mutating func isNewFIR(_ sequence: UInt8, from sender: UInt32) -> Bool {
    if let index = firSequences.firstIndex(where: { $0.sender == sender }) {
      guard firSequences[index].sequence != sequence else { return false }
      firSequences[index].sequence = sequence
      return true
    }
    // A peer has one SSRC for each section; the oldest gives way.
    if firSequences.count == Self.maximumFIRSenders { firSequences.removeFirst() }
    firSequences.append((sender, sequence))
    return true
  }

  private static let maximumFIRSenders = 8
  /// Two NACKs of the longest list that we would send ourselves.
  private static let maximumRepeats = 512
}
