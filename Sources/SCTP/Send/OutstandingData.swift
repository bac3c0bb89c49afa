// OutstandingData.swift — chunks that have been sent and not cumulatively acknowledged (RFC 9260 §6.2.1, §6.3, §7.2.4).
//
// A ring indexed by distance from the cumulative TSN; a chunk names a range of its message's payload and holds no
// bytes. Work per SACK is linear in what it newly acknowledges plus its blocks: ranges that an earlier SACK named are
// stepped over, and the search for lost chunks passes each chunk once per epoch.
//
// Invariants: `flightBytes` is the sum of the lengths of chunks `.inFlight`, `lostCount` their number `.lost`;
// `acknowledgedRanges` are exactly the chunks `.acknowledged`, sorted and disjoint.

import Wire

struct OutstandingChunk {
  enum Status: UInt8 {
    case inFlight
    /// Deemed lost, waits for its retransmission.
    case lost
    /// Named in a gap block.
    case acknowledged
    /// Given up with its message; the peer will be told to skip it.
    case abandoned
  }

  var sentAt: Instant
  /// The message's number in the send queue, and the range of its payload.
  var message: Int
  var offset: UInt32
  var length: UInt16
  var transmissions: UInt16
  /// The packet it last went out in; packets are numbered as they are sent.
  var packet: UInt32
  var flags: DataFlags
  var status: Status
  /// Fast retransmission happens once (§7.2.4); then only the timer helps.
  var wasFastRetransmitted = false

  static let vacant = OutstandingChunk(
    sentAt: Instant(nanoseconds: 0), message: 0, offset: 0, length: 0, transmissions: 0, packet: 0, flags: [],
    status: .abandoned)
}

struct OutstandingData: ~Copyable {
  private(set) var chunks = Ring(vacant: OutstandingChunk.vacant, minimumCapacity: 64)
  /// The last TSN before the ring's first chunk.
  private(set) var cumulativeTSN: TSN
  private(set) var flightBytes = 0
  private(set) var lostCount = 0
  private var acknowledgedRanges: [Range<Int>] = []
  private var spareRanges: [Range<Int>] = []
  /// Where the search for lost chunks goes on: all before have been judged.
  private var lossScan = 0
  /// No chunk before this one is `.lost`.
  private(set) var firstMaybeLost = 0
  private var largestAcknowledgedPacket: UInt32 = 0
  private var nextPacket: UInt32 = 1
  /// Chunks before this one are abandoned, all of them: Advanced.Peer.Ack.Point (RFC 3758 §3.5).
  private(set) var advancedEnd = 0
  /// Only a chunk sent from here on measures the path: one sample a round trip (RFC 6298 §3).
  private var measureFrom = 0

  /// So many chunks may be outstanding: half of what our receiver tracks, 19 MB of full packets.
  static let maximumChunks = 16_384
  /// A chunk is lost when one sent three packets later has arrived: §7.2.4's three reports, counted in packets because
  /// one SACK may answer many (as RFC 9002 §6.1.1).
  static let reorderingThreshold: UInt32 = 3

  init(initialTSN: TSN) { cumulativeTSN = initialTSN.reversed(by: 1) }

  var nextTSN: TSN { cumulativeTSN.advanced(by: UInt32(chunks.count) + 1) }
  func tsn(of number: Int) -> TSN { cumulativeTSN.advanced(by: UInt32(number - chunks.first) + 1) }
  var isEmpty: Bool { chunks.isEmpty }
  var hasRoom: Bool { chunks.count < Self.maximumChunks }
  var needsForwardTSN: Bool { advancedEnd > chunks.first }

  // MARK: Sending

  /// The number of the packet that is being written.
  var packet: UInt32 { nextPacket }
  /// The packet is complete. One that stayed empty keeps its number for the next: a gap would look like reordering.
  mutating func endPacket() { nextPacket &+= 1 }

  mutating func append(
    message: Int, offset: Int, length: Int, flags: DataFlags, packet: UInt32, now: Instant
  ) {
    flightBytes += length
    chunks.append(
      OutstandingChunk(
        sentAt: now, message: message, offset: UInt32(truncatingIfNeeded: offset), length: UInt16(length),
        transmissions: 1, packet: packet, flags: flags, status: .inFlight))
  }

  /// A TSN that is never sent: it stands for the unsent rest of an abandoned message, so that the peer is told to
  /// skip the message even when all that was sent of it has arrived.
  mutating func appendPlaceholder(message: Int, now: Instant) {
    chunks.append(
      OutstandingChunk(
        sentAt: now, message: message, offset: 0, length: 0, transmissions: 0, packet: 0, flags: .end,
        status: .abandoned))
  }

  mutating func noteRetransmitted(_ number: Int, packet: UInt32, now: Instant) {
    assert(chunks[number].status == .lost)
    chunks[number].status = .inFlight
    chunks[number].sentAt = now
    chunks[number].packet = packet
    if chunks[number].transmissions < .max { chunks[number].transmissions += 1 }
    flightBytes += Int(chunks[number].length)
    lostCount -= 1
  }

  /// The first chunk that waits for retransmission, or nil.
  mutating func nextLost() -> Int? {
    guard lostCount > 0 else { return nil }
    firstMaybeLost = max(firstMaybeLost, chunks.first)
    while firstMaybeLost < chunks.end {
      if chunks[firstMaybeLost].status == .lost { return firstMaybeLost }
      firstMaybeLost += 1
    }
    return nil
  }

  /// Gives up all chunks of a message.
  mutating func abandon(_ range: Range<Int>) {
    for number in range.clamped(to: chunks.first..<chunks.end) {
      switch chunks[number].status {
      case .inFlight: flightBytes -= Int(chunks[number].length)
      case .lost: lostCount -= 1
      case .acknowledged, .abandoned: break
      }
      chunks[number].status = .abandoned
    }
    advance()
  }

  /// Moves Advanced.Peer.Ack.Point over what is abandoned.
  private mutating func advance() {
    advancedEnd = max(advancedEnd, chunks.first)
    while advancedEnd < chunks.end, chunks[advancedEnd].status == .abandoned { advancedEnd += 1 }
  }

  // MARK: Acknowledgements

  struct Acknowledgement {
    var bytes = 0
    var movedCumulative = false
    var roundTrip: Interval?
    /// Chunks found lost now.
    var newlyLost: Range<Int>?
  }

  /// Whether a SACK can be believed: it names nothing that was never sent, and its blocks are ordered (§6.2.1). Asked
  /// before anything is changed.
  func isPlausible(_ sack: borrowing SackChunk) -> Bool {
    let moved = sack.cumulativeTSN.distance(from: cumulativeTSN)
    guard moved <= UInt32(chunks.count) else { return false }
    var previous = 0
    for i in 0..<sack.gapBlockCount {
      let block = sack.gapBlock(i)
      guard Int(block.start) > previous, block.end >= block.start, Int(moved) + Int(block.end) <= chunks.count else {
        return false
      }
      previous = Int(block.end)
    }
    return true
  }

  /// - Parameter minimumAge: an acknowledgement of a retransmitted chunk that comes sooner is for the transmission before.
  mutating func acknowledge(_ sack: borrowing SackChunk, now: Instant, minimumAge: Interval) -> Acknowledgement {
    var result = Acknowledgement()
    moveCumulative(to: sack.cumulativeTSN, now: now, minimumAge: minimumAge, &result)
    if sack.gapBlockCount > 0 { applyGapBlocks(sack, now: now, minimumAge: minimumAge, &result) }
    result.newlyLost = findLost()
    return result
  }

  /// The cumulative TSN of a SHUTDOWN acknowledges too (§9.2).
  mutating func acknowledge(cumulative tsn: TSN, now: Instant) -> Acknowledgement {
    var result = Acknowledgement()
    moveCumulative(to: tsn, now: now, minimumAge: .zero, &result)
    return result
  }

  private mutating func moveCumulative(
    to tsn: TSN, now: Instant, minimumAge: Interval, _ result: inout Acknowledgement
  ) {
    var steps = tsn.distance(from: cumulativeTSN)
    guard steps > 0 else { return }
    result.movedCumulative = true
    while steps > 0 {
      noteArrived(chunks.first, now: now, minimumAge: minimumAge, &result)
      chunks.removeFirst()
      steps -= 1
    }
    cumulativeTSN = tsn
    let first = chunks.first
    if let earliest = acknowledgedRanges.first, earliest.lowerBound < first {
      let passed = acknowledgedRanges.prefix { $0.upperBound <= first }.count
      acknowledgedRanges.removeFirst(passed)
      if let cut = acknowledgedRanges.first, cut.lowerBound < first { acknowledgedRanges[0] = first..<cut.upperBound }
    }
    lossScan = max(lossScan, first)
    advance()
  }

  /// Walks blocks and known ranges side by side. Between blocks, what was acknowledged before has been dropped by the
  /// peer (it may, §6.2): it counts as in flight again. Beyond the last block nothing is said: a peer may cap its list.
  private mutating func applyGapBlocks(
    _ sack: borrowing SackChunk, now: Instant, minimumAge: Interval, _ result: inout Acknowledgement
  ) {
    let known = acknowledgedRanges
    spareRanges.removeAll(keepingCapacity: true)
    let first = chunks.first
    var position = first
    var j = 0
    for i in 0..<sack.gapBlockCount {
      let block = sack.gapBlock(i)
      let lower = first + Int(block.start) - 1
      let upper = first + Int(block.end)
      while position < lower {
        while j < known.count, known[j].upperBound <= position { j += 1 }
        guard j < known.count, known[j].lowerBound < lower else {
          position = lower
          break
        }
        let start = max(position, known[j].lowerBound)
        let end = min(lower, known[j].upperBound)
        for number in start..<end { noteReneged(number) }
        position = end
      }
      while position < upper {
        while j < known.count, known[j].upperBound <= position { j += 1 }
        if j < known.count, known[j].lowerBound <= position {
          position = min(upper, known[j].upperBound)
        } else {
          let end = j < known.count ? min(upper, known[j].lowerBound) : upper
          for number in position..<end {
            noteArrived(number, now: now, minimumAge: minimumAge, &result)
          }
          position = end
        }
      }
      appendRange(lower..<upper)
    }
    while j < known.count {
      if known[j].upperBound > position { appendRange(max(position, known[j].lowerBound)..<known[j].upperBound) }
      j += 1
    }
    swap(&acknowledgedRanges, &spareRanges)
  }

  private mutating func appendRange(_ range: Range<Int>) {
    if let last = spareRanges.last, last.upperBound == range.lowerBound {
      spareRanges[spareRanges.count - 1] = last.lowerBound..<range.upperBound
    } else {
      spareRanges.append(range)
    }
  }

  private mutating func noteArrived(
    _ number: Int, now: Instant, minimumAge: Interval, _ result: inout Acknowledgement
  ) {
    let chunk = chunks[number]
    switch chunk.status {
    case .inFlight:
      flightBytes -= Int(chunk.length)
      result.bytes += Int(chunk.length)
      let age = now - chunk.sentAt
      if chunk.transmissions == 1 {
        if number >= measureFrom {
          result.roundTrip = age
          measureFrom = chunks.end
        }
        noteArrived(packet: chunk.packet)
      } else if age >= minimumAge {
        noteArrived(packet: chunk.packet)
      }
      chunks[number].status = .acknowledged
    case .lost:
      lostCount -= 1
      result.bytes += Int(chunk.length)
      chunks[number].status = .acknowledged
    case .acknowledged, .abandoned: break
    }
  }

  private mutating func noteArrived(packet: UInt32) {
    if packet &- largestAcknowledgedPacket < 0x8000_0000 { largestAcknowledgedPacket = packet }
  }

  private mutating func noteReneged(_ number: Int) {
    guard chunks[number].status == .acknowledged else { return }
    chunks[number].status = .inFlight
    flightBytes += Int(chunks[number].length)
  }

  // MARK: Loss

  private mutating func findLost() -> Range<Int>? {
    var found: Range<Int>?
    while lossScan < chunks.end {
      let chunk = chunks[lossScan]
      if chunk.status == .inFlight, !chunk.wasFastRetransmitted {
        let later = largestAcknowledgedPacket &- chunk.packet
        guard later >= Self.reorderingThreshold, later < 0x8000_0000 else { break }
        markLost(lossScan)
        chunks[lossScan].wasFastRetransmitted = true
        found = (found?.lowerBound ?? lossScan)..<(lossScan + 1)
      }
      lossScan += 1
    }
    return found
  }

  /// The retransmission timer has expired: everything in flight is deemed lost (§6.3.3), and a new epoch of fast
  /// retransmission begins. A first chunk that is marked acknowledged cannot be, or the peer's cumulative TSN would
  /// have passed it: then the peer has dropped what it had, and no mark is believed any more.
  mutating func markAllLost() {
    if !chunks.isEmpty, chunks[chunks.first].status == .acknowledged {
      for range in acknowledgedRanges { for number in range { noteReneged(number) } }
      acknowledgedRanges.removeAll(keepingCapacity: true)
    }
    for number in chunks.first..<chunks.end {
      if chunks[number].status == .inFlight { markLost(number) }
      chunks[number].wasFastRetransmitted = false
    }
    lossScan = chunks.first
  }

  private mutating func markLost(_ number: Int) {
    chunks[number].status = .lost
    flightBytes -= Int(chunks[number].length)
    lostCount += 1
    firstMaybeLost = min(firstMaybeLost, number)
  }

  /// Checks the invariants; for tests.
  func isConsistent() -> Bool {
    var flight = 0
    var lost = 0
    var acknowledged: [Int] = []
    for number in chunks.first..<chunks.end {
      switch chunks[number].status {
      case .inFlight: flight += Int(chunks[number].length)
      case .lost: lost += 1
      case .acknowledged: acknowledged.append(number)
      case .abandoned: break
      }
    }
    let covered = acknowledgedRanges.flatMap { Array($0) }.filter { chunks[$0].status != .abandoned }
    return flight == flightBytes && lost == lostCount && acknowledged == covered
  }
}
