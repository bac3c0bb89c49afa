// OutstandingData+Loss.swift — which packets are lost, judged by time (RFC 8985, adapted to SCTP).
//
// A packet is lost when one that left later has arrived and the time in which it could still have come, a round trip and
// some allowance for reordering, has passed. Packets are judged in the order in which they left, so the search stops at
// the first one that may still come: each packet is looked at once. A retransmission is a packet like any other, so that
// its loss is found as well, without waiting for the timer (RFC 9260 §7.2.4 would wait).

import Wire

/// How much reordering the path has shown (RFC 8985 §6.2 step 4).
struct ReorderingWindow {
  /// The allowance for reordering, in quarters of the smallest round trip.
  private(set) var quarters: Int64 = 1
  private(set) var hasSeenReordering = false
  private var lossEventsUntilReset = 0

  /// RFC 8985 §6.2: after so many recoveries without a spurious one the allowance begins anew.
  private static let persistence = 16
  /// RFC 8985 §6.2: a larger allowance than one round trip would leave loss to the timer.
  private static let maximumQuarters: Int64 = 4

  mutating func noteReordering() { hasSeenReordering = true }

  mutating func noteSpuriousLoss() {
    hasSeenReordering = true
    quarters = min(quarters + 1, Self.maximumQuarters)
    lossEventsUntilReset = Self.persistence
  }

  mutating func noteRecovery() {
    guard lossEventsUntilReset > 0 else { return }
    lossEventsUntilReset -= 1
    if lossEventsUntilReset == 0 { quarters = 1 }
  }

  /// What a packet may be late by. As long as nothing was ever reordered, three later packets, or a recovery under way, are
  /// proof enough (§6.2 step 4): the classic rule of RFC 9260 §7.2.4.
  func allowance(minimumRoundTrip: Interval?, smoothed: Interval?, isEvident: Bool) -> Interval {
    if !hasSeenReordering, isEvident { return .zero }
    guard let minimumRoundTrip else { return .zero }
    return min(minimumRoundTrip * quarters / 4, smoothed ?? minimumRoundTrip)
  }
}

extension OutstandingData {
  /// RFC 9260 §7.2.4, RFC 8985's DupThresh: so many later packets make a loss evident.
  private static let evidentDistance = 3

  /// What the search for lost packets has found.
  struct LossReport {
    /// Lost chunks lie in this range.
    var chunks: Range<Int>?
    var byteCount = 0
    /// Of the oldest lost packet: what was in flight with it, and what has been lost since.
    var flightWhenSent = 0
    var lostSince = 0
    /// When the next packet will be lost if it does not arrive before.
    var deadline: Instant?
  }

  /// Marks what is lost by now.
  mutating func findLost(
    now: Instant, latest roundTrip: Interval?, minimum: Interval?, smoothed: Interval?, isRecovering: Bool
  ) -> LossReport {
    var report = LossReport()
    guard let roundTrip else { return report }
    while !packets.ring.isEmpty, packets.ring.first < packets.newestArrived {
      let number = packets.ring.first
      let packet = packets.ring[number]
      let isEvident = isRecovering || packets.newestArrived - number >= Self.evidentDistance
      let allowance = reordering.allowance(minimumRoundTrip: minimum, smoothed: smoothed, isEvident: isEvident)
      let due = packet.sentAt + roundTrip + allowance
      guard due <= now else {
        report.deadline = due
        break
      }
      if report.byteCount == 0 { report.flightWhenSent = packet.flightBytes }
      markPacketLost(number, packet, &report)
      report.lostSince = packets.lost - packet.lost
    }
    return report
  }

  /// The ring's first packet is lost, and leaves the ring with its last chunk.
  private mutating func markPacketLost(_ packet: Int, _ record: SentPacket, _ report: inout LossReport) {
    var chunk = record.newestChunk
    // A chunk that a probe has repeated belongs to the probe's packet now, and leads into that one's list.
    while chunk >= chunks.first, chunks[chunk].packet == packet {
      let previous = chunks[chunk].previousInPacket
      markLost(chunk, of: packet, &report)
      chunk = previous
    }
    guard packets.ring.first == packet, !packets.ring.isEmpty else { return }
    for chunk in chunks.first..<chunks.end { markLost(chunk, of: packet, &report) }
  }

  private mutating func markLost(_ chunk: Int, of packet: Int, _ report: inout LossReport) {
    guard chunks[chunk].packet == packet, chunks[chunk].status == .inFlight else { return }
    markLost(chunk)
    report.byteCount += Int(chunks[chunk].length)
    report.chunks = min(report.chunks?.lowerBound ?? chunk, chunk)..<max(report.chunks?.upperBound ?? 0, chunk + 1)
  }
}
