// DataSender+Abandon.swift — giving messages up, and telling the peer not to wait (RFC 3758 §3.5, RFC 7496, RFC 8260 §2.3).

import Wire

extension DataSender {
  /// Gives up the messages of lost chunks whose retransmissions or lifetime are used up.
  mutating func giveUpExhausted(_ range: Range<Int>, now: Instant) {
    guard mayAbandon else { return }
    var number = range.lowerBound
    while number < range.upperBound {
      let chunk = outstanding.chunks[number]
      number += 1
      guard chunk.status == .lost,
        isExhausted(Int(chunk.message), transmissions: Int(chunk.transmissions), now: now)
      else { continue }
      abandon(Int(chunk.message), now: now)
    }
  }

  private func isExhausted(_ message: Int, transmissions: Int, now: Instant) -> Bool {
    if let limit = queue[message].maximumRetransmits { return transmissions > Int(limit) }
    if let expiry = queue[message].expiry { return expiry <= now }
    return false
  }

  mutating func abandon(_ message: Int, now: Instant) {
    let wasBegun = queue[message].sentBytes > 0
    let wasComplete = queue[message].isFullySent
    let chunks = queue[message].firstChunk..<max(queue[message].firstChunk, queue[message].endChunk)
    queue.abandon(message)
    statistics.messagesAbandoned += 1
    guard wasBegun else { return queue.releaseIfFinished(message) }
    var end = chunks.upperBound
    if !wasComplete {
      outstanding.appendPlaceholder(message: message)
      queue.noteOutstanding(message)
      end = outstanding.chunks.end
    }
    outstanding.abandon(message, in: chunks.lowerBound..<end)
    if outstanding.needsForwardTSN { forwardTSNDue = true }
    if retransmissionDeadline == nil, !outstanding.isEmpty { retransmissionDeadline = now + roundTrip.timeout }
  }

  // MARK: FORWARD-TSN

  /// A SACK shows that the peer has not skipped yet: the FORWARD-TSN is repeated, but once a round trip at most (RFC 3758
  /// §3.5 C4). One that skips further is no repetition and does not wait: only T3 would think of it again.
  mutating func considerForwardTSN(now: Instant) {
    let isRepetition = outstanding.advancedEnd <= forwardTSNEnd
    if isRepetition, let sent = forwardTSNSentAt, now - sent < (roundTrip.smoothed ?? roundTrip.timeout) { return }
    forwardTSNDue = true
  }

  package var isForwardTSNDue: Bool { forwardTSNDue && outstanding.needsForwardTSN }

  /// Writes the FORWARD-TSN or I-FORWARD-TSN that is due, if it fits.
  mutating func writeForwardTSN(room: Int, into out: inout OutputRawSpan, now: Instant) {
    guard forwardTSNDue, outstanding.needsForwardTSN else { return }
    let entryByteCount =
      queue.interleaves
      ? InterleavedForwardTSNChunk.byteCount(skipped: 1) - InterleavedForwardTSNChunk.byteCount(skipped: 0) : 4
    let entries = min(
      Self.maximumSkippedStreams, (room - ForwardTSNChunk.byteCount(skipped: 0)) / entryByteCount)
    guard entries > 0 else { return }
    var skipped: [SkippedMessage] = []
    var number = outstanding.chunks.first
    while number < outstanding.advancedEnd {
      let message = Int(outstanding.chunks[number].message)
      let isUnordered = !queue[message].isOrdered
      if queue.interleaves || !isUnordered {
        let entry = SkippedMessage(
          stream: queue[message].stream, isUnordered: isUnordered, mid: MID(rawValue: queue[message].number))
        if let known = skipped.firstIndex(where: { $0.stream == entry.stream && $0.isUnordered == isUnordered }) {
          if entry.mid.isAfter(skipped[known].mid) { skipped[known] = entry }
        } else if skipped.count < entries {
          skipped.append(entry)
        } else {
          break
        }
      }
      number += 1
    }
    guard number > outstanding.chunks.first else { return }
    write(newCumulativeTSN: outstanding.tsn(of: number - 1), skipped, into: &out)
    forwardTSNDue = false
    forwardTSNSentAt = now
    forwardTSNEnd = number
    if retransmissionDeadline == nil { retransmissionDeadline = now + roundTrip.timeout }
  }

  private func write(newCumulativeTSN: TSN, _ skipped: [SkippedMessage], into out: inout OutputRawSpan) {
    if queue.interleaves {
      InterleavedForwardTSNChunk.write(newCumulativeTSN: newCumulativeTSN, skipped: skipped, into: &out)
    } else {
      let streams = skipped.map {
        SkippedStream(stream: $0.stream, ssn: SSN(rawValue: UInt16(truncatingIfNeeded: $0.mid.rawValue)))
      }
      ForwardTSNChunk.write(newCumulativeTSN: newCumulativeTSN, skipped: streams, into: &out)
    }
  }

  /// Streams in one FORWARD-TSN, so that it fits beside other chunks; more are skipped by the next one.
  static let maximumSkippedStreams = 128
}
