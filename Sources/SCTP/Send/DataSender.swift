// DataSender.swift — the sending half of an association: queue, outstanding data, congestion window, timer T3-rtx.
//
// What goes into a packet is decided when the packet is written, never before: retransmissions first, then new data,
// as far as the congestion window and the peer's window allow (RFC 9260 §6.1).

package import Wire

package struct DataSender: ~Copyable {
  var queue = SendQueue()
  var outstanding: OutstandingData
  package var congestion: CongestionController
  package var roundTrip: RoundTripEstimator
  /// What the peer last announced; what is in flight has yet to be taken off.
  package private(set) var peerWindow = 0
  /// T3-rtx; runs exactly while something is outstanding.
  package private(set) var deadline: Instant?

  private var isInFastRecovery = false
  /// Fast recovery ends when everything before this chunk is acknowledged.
  private var recoveryEnd = 0
  /// The first packet of a fast retransmission does not ask the congestion window (§7.2.4).
  private var maySendFastRetransmit = false
  /// The next retransmission asks to be answered at once (RFC 7053), because the timer was already waited for.
  private var wantsImmediateAnswer = false
  private var lastSentAt: Instant?
  private var heardSinceTimeout = false

  /// FORWARD-TSN is due now; and when it was last sent.
  private var forwardTSNDue = false
  private var forwardTSNSentAt: Instant?

  private let maximumFragment: Int
  /// The peer understands FORWARD-TSN; without it nothing can be given up (RFC 3758 §3.3.1).
  private var mayAbandon = false

  package var statistics = Statistics()
  package struct Statistics: Sendable {
    var messagesSent: UInt64 = 0
    var messagesAbandoned: UInt64 = 0
    var chunksSent: UInt64 = 0
    var chunksRetransmitted: UInt64 = 0
    var fastRetransmits: UInt64 = 0
    var timeouts: UInt64 = 0
  }

  /// A message is split to fill a packet up only when this much of it fits: smaller fragments cost more than they carry.
  static let minimumFragment = 256
  /// Streams in one FORWARD-TSN, so that it fits beside other chunks; more are skipped by the next one.
  static let maximumSkippedStreams = 128

  package init(_ configuration: SCTPConfiguration) {
    outstanding = OutstandingData(initialTSN: TSN(rawValue: 0))
    congestion = CongestionController(packetSize: configuration.maximumPacketSize)
    roundTrip = RoundTripEstimator(configuration)
    maximumFragment = configuration.maximumPacketSize - PacketHeader.byteCount - DataHeader.byteCount
  }

  /// The association is up: data may flow. What was queued before stays queued.
  package mutating func start(initialTSN: TSN, peerWindow: Int, mayAbandon: Bool, interleaves: Bool = false) {
    outstanding = OutstandingData(initialTSN: initialTSN)
    self.peerWindow = peerWindow
    self.mayAbandon = mayAbandon
  }

  /// The peer has restarted (§5.2.4.1): nothing that was sent counts.
  mutating func restart(_ configuration: SCTPConfiguration) {
    queue.rewind()
    outstanding = OutstandingData(initialTSN: TSN(rawValue: 0))
    congestion = CongestionController(packetSize: configuration.maximumPacketSize)
    roundTrip = RoundTripEstimator(configuration)
    deadline = nil
    isInFastRecovery = false
    maySendFastRetransmit = false
    forwardTSNDue = false
    lastSentAt = nil
  }

  /// The association has ended: what is queued is let go.
  mutating func stop() {
    queue.removeAll()
    outstanding = OutstandingData(initialTSN: TSN(rawValue: 0))
    deadline = nil
    forwardTSNDue = false
  }

  /// Everything handed over has been acknowledged or given up, and the peer knows.
  package var isDrained: Bool { queue.messages.isEmpty && outstanding.isEmpty }

  // MARK: Acknowledgements

  /// - Returns: whether the SACK was believed and told something new; nil when it was not believed.
  mutating func handle(_ sack: borrowing SackChunk, now: Instant) -> Bool? {
    // An old SACK that was overtaken (§6.2.1 D i).
    guard !outstanding.cumulativeTSN.isAfter(sack.cumulativeTSN) else { return false }
    guard outstanding.isPlausible(sack) else { return nil }
    let flightBefore = outstanding.flightBytes
    let result = outstanding.acknowledge(sack, now: now, minimumAge: (roundTrip.smoothed ?? .zero) / 2)
    peerWindow = Int(sack.receiverWindow)
    heardSinceTimeout = true
    settle(result, flightBefore: flightBefore, now: now)
    return result.movedCumulative || result.bytes > 0
  }

  /// SHUTDOWN carries a cumulative TSN too; one that was never sent is not believed.
  mutating func handle(cumulative tsn: TSN, now: Instant) -> Bool {
    guard !outstanding.cumulativeTSN.isAfter(tsn) else { return true }
    guard tsn.isBefore(outstanding.nextTSN) else { return false }
    let flightBefore = outstanding.flightBytes
    let result = outstanding.acknowledge(cumulative: tsn, now: now)
    settle(result, flightBefore: flightBefore, now: now)
    return true
  }

  private mutating func settle(
    _ result: OutstandingData.Acknowledgement, flightBefore: Int, now: Instant
  ) {
    if let measured = result.roundTrip { roundTrip.sample(measured) }
    if result.bytes > 0 || result.movedCumulative { roundTrip.noteProgress() }
    if isInFastRecovery, outstanding.chunks.first >= recoveryEnd { isInFastRecovery = false }
    if result.movedCumulative {
      if !isInFastRecovery { congestion.acknowledged(result.bytes, flightBefore: flightBefore) }
      queue.removeFinished(before: outstanding.chunks.first)
    }
    if let lost = result.newlyLost {
      statistics.fastRetransmits += 1
      if !isInFastRecovery {
        isInFastRecovery = true
        recoveryEnd = outstanding.chunks.end
        congestion.lostByFastRetransmit()
      }
      maySendFastRetransmit = true
      giveUpExhausted(lost, now: now)
    }
    if outstanding.needsForwardTSN { considerForwardTSN(now: now) } else { forwardTSNDue = false }
    if outstanding.isEmpty {
      deadline = nil
    } else if result.movedCumulative || deadline == nil {
      deadline = now + roundTrip.timeout
    }
  }

  /// A SACK shows that the peer has not skipped yet: the FORWARD-TSN is repeated, but once a round trip at most.
  private mutating func considerForwardTSN(now: Instant) {
    if let sent = forwardTSNSentAt, now - sent < (roundTrip.smoothed ?? roundTrip.timeout) { return }
    forwardTSNDue = true
  }

  // MARK: Timer

  /// What the expiry of T3-rtx means for the association (§6.3.3, §8.1).
  package enum Expiry: Sendable {
    case none
    /// To be counted against the limit.
    case counts
    /// A probe of a closed window, and the peer does answer: it may go on for ever (§6.1 A).
    case probe
  }

  mutating func handleTimeout(now: Instant) -> Expiry {
    guard let due = deadline, due <= now else { return .none }
    let isProbe = peerWindow == 0 && heardSinceTimeout
    heardSinceTimeout = false
    statistics.timeouts += 1
    if outstanding.flightBytes > 0, !isProbe { congestion.lostByTimeout() }
    isInFastRecovery = false
    maySendFastRetransmit = false
    wantsImmediateAnswer = true
    outstanding.markAllLost()
    giveUpExhausted(outstanding.chunks.first..<outstanding.chunks.end, now: now)
    roundTrip.backOff()
    if outstanding.needsForwardTSN { forwardTSNDue = true }
    deadline = outstanding.isEmpty ? nil : now + roundTrip.timeout
    return isProbe ? .probe : .counts
  }

  // MARK: Giving up (RFC 3758 §3.5, RFC 7496)

  /// Gives up the messages of lost chunks whose retransmissions or lifetime are used up.
  private mutating func giveUpExhausted(_ range: Range<Int>, now: Instant) {
    guard mayAbandon else { return }
    var number = range.lowerBound
    while number < range.upperBound {
      let chunk = outstanding.chunks[number]
      number += 1
      guard chunk.status == .lost, isExhausted(chunk.message, transmissions: Int(chunk.transmissions), now: now) else {
        continue
      }
      abandon(chunk.message, now: now)
    }
  }

  private func isExhausted(_ message: Int, transmissions: Int, now: Instant) -> Bool {
    if let limit = queue.messages[message].maximumRetransmits { return transmissions > Int(limit) }
    if let expiry = queue.messages[message].expiry { return expiry <= now }
    return false
  }

  private mutating func abandon(_ number: Int, now: Instant) {
    let wasSent = queue.messages[number].sentBytes > 0
    let wasComplete = queue.messages[number].isFullySent
    queue.abandon(number)
    if wasSent, !wasComplete { outstanding.appendPlaceholder(message: number, now: now) }
    if !wasSent { queue.messages[number].firstChunk = outstanding.chunks.end }
    if !wasComplete { queue.messages[number].endChunk = outstanding.chunks.end }
    outstanding.abandon(queue.messages[number].firstChunk..<queue.messages[number].endChunk)
    queue.removeFinished(before: outstanding.chunks.first)
    statistics.messagesAbandoned += 1
    if outstanding.needsForwardTSN { forwardTSNDue = true }
    if deadline == nil, !outstanding.isEmpty { deadline = now + roundTrip.timeout }
  }

  package var isForwardTSNDue: Bool { forwardTSNDue && outstanding.needsForwardTSN }

  /// Writes the FORWARD-TSN that is due, if it fits.
  mutating func writeForwardTSN(room: Int, into out: inout OutputRawSpan, now: Instant) {
    guard forwardTSNDue, outstanding.needsForwardTSN else { return }
    let entries = min(Self.maximumSkippedStreams, (room - ForwardTSNChunk.byteCount(skipped: 0)) / 4)
    guard entries > 0 else { return }
    var skipped: [SkippedStream] = []
    var number = outstanding.chunks.first
    while number < outstanding.advancedEnd {
      let message = outstanding.chunks[number].message
      if queue.messages[message].isOrdered {
        let entry = SkippedStream(stream: queue.messages[message].stream, ssn: queue.messages[message].ssn)
        if let known = skipped.firstIndex(where: { $0.stream == entry.stream }) {
          skipped[known] = entry
        } else if skipped.count < entries {
          skipped.append(entry)
        } else {
          break
        }
      }
      number = queue.messages[message].endChunk
    }
    guard number > outstanding.chunks.first else { return }
    let end = min(number, outstanding.advancedEnd)
    ForwardTSNChunk.write(newCumulativeTSN: outstanding.tsn(of: end - 1), skipped: skipped, into: &out)
    forwardTSNDue = false
    forwardTSNSentAt = now
    if deadline == nil { deadline = now + roundTrip.timeout }
  }

  // MARK: Writing data

  /// Whether a packet written now would carry data (unless all of it has just expired).
  package var canSend: Bool {
    guard outstanding.lostCount > 0 || queue.hasUnsent && outstanding.hasRoom else { return false }
    if outstanding.flightBytes == 0 { return true }
    if outstanding.lostCount > 0, maySendFastRetransmit { return true }
    return outstanding.flightBytes < congestion.window && peerHasRoom
  }

  private var peerHasRoom: Bool {
    if outstanding.lostCount > 0 { return outstanding.flightBytes < peerWindow }
    guard queue.hasUnsent else { return false }
    let message = queue.messages[queue.next].payload.count - queue.messages[queue.next].sentBytes
    return outstanding.flightBytes + min(message, maximumFragment) <= peerWindow
  }

  /// Writes DATA chunks up to `limit`, which counts from the buffer's beginning.
  ///
  /// - Returns: whether any was written.
  package mutating func writeData(limit: Int, into out: inout OutputRawSpan, now: Instant) -> Bool {
    guard canSend else { return false }
    let start = out.byteCount
    let packet = outstanding.packet
    writeLost(limit: limit, packet: packet, into: &out, now: now)
    if outstanding.lostCount == 0 { writeNew(limit: limit, packet: packet, into: &out, now: now) }
    guard out.byteCount > start else { return false }
    outstanding.endPacket()
    maySendFastRetransmit = false
    wantsImmediateAnswer = false
    lastSentAt = now
    if deadline == nil { deadline = now + roundTrip.timeout }
    return true
  }

  private mutating func writeLost(limit: Int, packet: UInt32, into out: inout OutputRawSpan, now: Instant) {
    while let number = outstanding.nextLost() {
      let chunk = outstanding.chunks[number]
      let length = Int(chunk.length)
      if mayAbandon, let expiry = queue.messages[chunk.message].expiry, expiry <= now {
        abandon(chunk.message, now: now)
        continue
      }
      guard out.byteCount + DataHeader.byteCount + (length + 3) & ~3 <= limit else { return }
      if outstanding.flightBytes > 0 {
        guard outstanding.flightBytes + length <= peerWindow,
          maySendFastRetransmit || outstanding.flightBytes < congestion.window
        else { return }
      }
      outstanding.noteRetransmitted(number, packet: packet, now: now)
      var flags = chunk.flags
      if wantsImmediateAnswer { flags.insert(.immediate) }
      write(chunk, flags: flags, tsn: outstanding.tsn(of: number), into: &out)
      statistics.chunksRetransmitted += 1
    }
  }

  private mutating func writeNew(limit: Int, packet: UInt32, into out: inout OutputRawSpan, now: Instant) {
    if outstanding.isEmpty, let last = lastSentAt { congestion.idled(for: now - last, timeout: roundTrip.timeout) }
    while queue.hasUnsent, outstanding.hasRoom {
      let number = queue.next
      if mayAbandon, let expiry = queue.messages[number].expiry, expiry <= now {
        abandon(number, now: now)
        continue
      }
      let offset = queue.messages[number].sentBytes
      let remaining = queue.messages[number].payload.count - offset
      let room = limit - out.byteCount - DataHeader.byteCount
      var length = remaining
      if remaining > min(room, maximumFragment) {
        guard remaining > maximumFragment, room >= Self.minimumFragment else { return }
        // A packet longer than the base size takes two fragments, each of which fits one of the base size.
        length = room <= maximumFragment ? room : (room - DataHeader.byteCount + 7) / 8 * 4
      }
      if outstanding.flightBytes > 0 {
        guard outstanding.flightBytes + length <= peerWindow, outstanding.flightBytes < congestion.window else {
          return
        }
      }
      var flags: DataFlags = queue.messages[number].isOrdered ? [] : .unordered
      if offset == 0 {
        flags.insert(.begin)
        queue.messages[number].firstChunk = outstanding.chunks.end
        if queue.messages[number].isOrdered {
          queue.messages[number].ssn = queue.takeSSN(queue.messages[number].stream)
        }
      }
      if length == remaining {
        flags.insert(.end)
        queue.messages[number].endChunk = outstanding.chunks.end + 1
        statistics.messagesSent += 1
      }
      let tsn = outstanding.nextTSN
      outstanding.append(message: number, offset: offset, length: length, flags: flags, packet: packet, now: now)
      queue.noteSent(length)
      write(outstanding.chunks[outstanding.chunks.end - 1], flags: flags, tsn: tsn, into: &out)
      statistics.chunksSent += 1
    }
  }

  private func write(_ chunk: OutstandingChunk, flags: DataFlags, tsn: TSN, into out: inout OutputRawSpan) {
    let offset = Int(chunk.offset)
    let length = Int(chunk.length)
    DataHeader(
      flags: flags, tsn: tsn, stream: queue.messages[chunk.message].stream, ssn: queue.messages[chunk.message].ssn,
      payloadProtocol: queue.messages[chunk.message].payloadProtocol
    ).write(userDataCount: length, into: &out)
    let payload = queue.messages[chunk.message].payload
    out.writeBytes(payload.rawSpan.extracting(offset..<(offset + length)))
    out.writePadding(after: length)
  }
}

extension TSN {
  func isBefore(_ other: TSN) -> Bool { other.isAfter(self) }
}
