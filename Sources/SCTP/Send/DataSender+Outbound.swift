// DataSender+Outbound.swift — what goes into the next packet (RFC 9260 §6.1, RFC 8260 §2.2.2).

package import Wire

extension DataSender {
  /// Whether a packet written now would carry data (unless all of it has just expired). Asked for each packet; when only the
  /// pace forbids it, `deadline` says when to come back.
  package mutating func isReady(now: Instant) -> Bool {
    let hasUnsent = queue.hasUnsent && outstanding.hasRoom
    guard outstanding.lostCount > 0 || hasUnsent || isProbeDue else {
      if outstanding.flightBytes < congestion.window {
        outstanding.packets.noteApplicationLimited(flightBytes: outstanding.flightBytes)
      }
      pacer.standDown()
      return false
    }
    if outstanding.flightBytes == 0 || isProbeDue { return true }
    if outstanding.lostCount > 0, maySendFastRetransmit { return true }
    guard outstanding.flightBytes < congestion.window, peerHasRoom else { return false }
    return pacer.admits(now: now, rate: pacingRate, packetSize: maximumFragment)
  }

  private var pacingRate: Int? {
    guard let smoothed = roundTrip.smoothed, smoothed >= Pacer.shortestRoundTrip else { return nil }
    return congestion.pacingRate(smoothedRoundTrip: smoothed)
  }

  private var peerHasRoom: Bool {
    if outstanding.lostCount > 0 { return outstanding.flightBytes < peerWindow }
    guard let next = queue.next else { return false }
    let rest = queue[next].payload.count - queue[next].sentBytes
    return outstanding.flightBytes + min(rest, maximumFragment) <= peerWindow
  }

  /// Writes chunks of data up to `limit`, which counts from the buffer's beginning. `isReady` has been asked.
  ///
  /// - Returns: whether any was written.
  package mutating func writeData(limit: Int, into out: inout OutputRawSpan, now: Instant) -> Bool {
    let start = out.byteCount
    let wasEmpty = outstanding.isEmpty
    outstanding.packets.begin(flightBytes: outstanding.flightBytes, now: now)
    var written = writeLost(limit: limit, into: &out, now: now)
    if outstanding.lostCount == 0 { written += writeNew(limit: limit, into: &out, now: now) }
    if isProbeDue, written == 0 { written = writeProbe(limit: limit, into: &out) }
    outstanding.packets.finish(flightBytes: outstanding.flightBytes)
    isProbeDue = false
    guard out.byteCount > start else { return false }
    pacer.noteSent(written, now: now, rate: pacingRate)
    maySendFastRetransmit = false
    wantsImmediateAnswer = false
    lastSentAt = now
    if retransmissionDeadline == nil { retransmissionDeadline = now + roundTrip.timeout }
    if wasEmpty || probeDeadline == nil { scheduleProbe(now: now) }
    return true
  }

  private mutating func writeLost(limit: Int, into out: inout OutputRawSpan, now: Instant) -> Int {
    var written = 0
    while let number = outstanding.nextLost() {
      let chunk = outstanding.chunks[number]
      let length = Int(chunk.length)
      if mayAbandon, let expiry = queue[Int(chunk.message)].expiry, expiry <= now {
        abandon(Int(chunk.message), now: now)
        continue
      }
      guard out.byteCount + dataHeaderByteCount + (length + 3) & ~3 <= limit else { return written }
      if outstanding.flightBytes > 0 {
        guard outstanding.flightBytes + length <= peerWindow,
          maySendFastRetransmit || outstanding.flightBytes < congestion.window
        else { return written }
      }
      repeatChunk(number, into: &out)
      written += length
    }
    return written
  }

  /// Repeats the last chunk in flight that may still be repeated (RFC 7496 §3.1); its answer shows what else has been
  /// lost (RFC 8985 §7.3).
  private mutating func writeProbe(limit: Int, into out: inout OutputRawSpan) -> Int {
    var number = outstanding.chunks.end - 1
    while number >= outstanding.chunks.first, !mayRepeat(outstanding.chunks[number]) { number -= 1 }
    guard number >= outstanding.chunks.first else { return 0 }
    let length = Int(outstanding.chunks[number].length)
    guard out.byteCount + dataHeaderByteCount + (length + 3) & ~3 <= limit else { return 0 }
    repeatChunk(number, into: &out)
    return length
  }

  private func mayRepeat(_ chunk: OutstandingChunk) -> Bool {
    guard chunk.status == .inFlight else { return false }
    guard mayAbandon, let limit = queue[Int(chunk.message)].maximumRetransmits else { return true }
    return chunk.transmissions <= limit
  }

  private mutating func repeatChunk(_ number: Int, into out: inout OutputRawSpan) {
    outstanding.noteRetransmitted(number)
    let chunk = outstanding.chunks[number]
    var flags = chunk.flags
    if wantsImmediateAnswer { flags.insert(.immediate) }
    write(chunk, flags: flags, tsn: outstanding.tsn(of: number), into: &out)
    statistics.chunksRetransmitted += 1
  }

  private mutating func writeNew(limit: Int, into out: inout OutputRawSpan, now: Instant) -> Int {
    if outstanding.isEmpty, let last = lastSentAt {
      congestion.resumes(after: now - last, timeout: roundTrip.timeout, now: now)
    }
    var written = 0
    while outstanding.hasRoom, let message = queue.next {
      if mayAbandon, let expiry = queue[message].expiry, expiry <= now {
        abandon(message, now: now)
        continue
      }
      let offset = queue[message].sentBytes
      let remaining = queue[message].payload.count - offset
      let room = limit - out.byteCount - dataHeaderByteCount
      var length = remaining
      if remaining > min(room, maximumFragment) {
        guard remaining > maximumFragment, room >= Self.minimumFragment else { break }
        // A packet longer than the base size takes two fragments, each of which fits one of the base size.
        length = room <= maximumFragment ? room : (room - dataHeaderByteCount + 7) / 8 * 4
      }
      if outstanding.flightBytes > 0 {
        guard outstanding.flightBytes + length <= peerWindow,
          outstanding.flightBytes < congestion.window || isProbeDue && written == 0
        else { break }
      }
      var flags: DataFlags = queue[message].isOrdered ? [] : .unordered
      if offset == 0 {
        flags.insert(.begin)
        queue.begin(message, chunk: outstanding.chunks.end)
      }
      if length == remaining {
        flags.insert(.end)
        statistics.messagesSent += 1
      }
      let tsn = outstanding.nextTSN
      let fragment = queue[message].sentFragments
      outstanding.append(
        message: message, offset: offset, length: length, fragment: fragment, flags: flags)
      write(
        outstanding.chunks[outstanding.chunks.end - 1], flags: wantsImmediateAnswer ? flags.union(.immediate) : flags,
        tsn: tsn, into: &out)
      queue.noteSent(message, length, endChunk: outstanding.chunks.end)
      statistics.chunksSent += 1
      written += length
    }
    return written
  }

  private func write(_ chunk: OutstandingChunk, flags: DataFlags, tsn: TSN, into out: inout OutputRawSpan) {
    let message = Int(chunk.message)
    let offset = Int(chunk.offset)
    let length = Int(chunk.length)
    if queue.interleaves {
      InterleavedDataHeader(
        flags: flags, tsn: tsn, stream: queue[message].stream, mid: MID(rawValue: queue[message].number),
        fragment: chunk.fragment, payloadProtocol: queue[message].payloadProtocol
      ).write(userDataCount: length, into: &out)
    } else {
      DataHeader(
        flags: flags, tsn: tsn, stream: queue[message].stream,
        ssn: SSN(rawValue: UInt16(truncatingIfNeeded: queue[message].number)),
        payloadProtocol: queue[message].payloadProtocol
      ).write(userDataCount: length, into: &out)
    }
    let payload = queue[message].payload
    out.writeBytes(payload.rawSpan.extracting(offset..<(offset + length)))
    out.writePadding(after: length)
  }

  /// A message is split to fill a packet up only when this much of it fits: smaller fragments cost more than they carry.
  static let minimumFragment = 256
}
