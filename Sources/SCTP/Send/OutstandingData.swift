// OutstandingData.swift — chunks that have been sent and not cumulatively acknowledged (RFC 9260 §6.2.1, §6.3, §7.2.4).
//
// A ring indexed by distance from the cumulative TSN; a chunk names a range of its message's payload and holds no
// bytes. Work per SACK is linear in what it newly acknowledges plus its blocks: ranges that an earlier SACK named are
// stepped over. Which chunks are lost is found by time, in OutstandingData+Loss.swift.
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

  /// The message's place in the send queue, and the range of its payload.
  var message: Int32
  var offset: UInt32
  /// Its place among the message's fragments (RFC 8260's FSN).
  var fragment: UInt32
  var length: UInt16
  var transmissions: UInt16
  /// The packet it last went out in.
  var packet: Int
  /// The chunk that was put into that packet before this one; -1: none.
  var previousInPacket: Int
  var flags: DataFlags
  var status: Status

  static let vacant = OutstandingChunk(
    message: 0, offset: 0, fragment: 0, length: 0, transmissions: 0, packet: -1, previousInPacket: -1, flags: [],
    status: .abandoned)
}

struct OutstandingData: ~Copyable {
  private(set) var chunks = Ring(vacant: OutstandingChunk.vacant, minimumCapacity: 64)
  var packets = SentPackets()
  /// The last TSN before the ring's first chunk.
  private(set) var cumulativeTSN: TSN
  private(set) var flightBytes = 0
  private(set) var lostCount = 0
  private var acknowledgedRanges: [Range<Int>] = []
  private var spareRanges: [Range<Int>] = []
  /// No chunk before this one is `.lost`.
  private var firstMaybeLost = 0
  /// Chunks before this one are abandoned, all of them: Advanced.Peer.Ack.Point (RFC 3758 §3.5).
  private(set) var advancedEnd = 0
  /// Only a packet sent from here on measures the retransmission timeout: one sample a round trip (RFC 6298 §3).
  private var measureFrom = 0
  var reordering = ReorderingWindow()

  /// So many chunks may be outstanding: what a receiver may track, and the largest window full of chunks of 512 bytes.
  static let maximumChunks = 32_768

  init(initialTSN: TSN) { cumulativeTSN = initialTSN.reversed(by: 1) }

  var nextTSN: TSN { cumulativeTSN.advanced(by: UInt32(chunks.count) + 1) }
  func tsn(of number: Int) -> TSN { cumulativeTSN.advanced(by: UInt32(number - chunks.first) + 1) }
  var isEmpty: Bool { chunks.isEmpty }
  var hasRoom: Bool { chunks.count < Self.maximumChunks }
  var needsForwardTSN: Bool { advancedEnd > chunks.first }

  // MARK: Sending

  mutating func append(message: Int, offset: Int, length: Int, fragment: UInt32, flags: DataFlags) {
    flightBytes += length
    chunks.append(
      OutstandingChunk(
        message: Int32(message), offset: UInt32(truncatingIfNeeded: offset), fragment: fragment, length: UInt16(length),
        transmissions: 1, packet: packets.next, previousInPacket: packets.add(chunk: chunks.end), flags: flags,
        status: .inFlight))
  }

  /// A TSN that is never sent: it stands for the unsent rest of an abandoned message, so that the peer is told to
  /// skip the message even when all that was sent of it has arrived.
  mutating func appendPlaceholder(message: Int) {
    var placeholder = OutstandingChunk.vacant
    placeholder.message = Int32(message)
    placeholder.flags = .end
    chunks.append(placeholder)
  }

  /// The chunk goes out again. A probe repeats a chunk that is still in flight.
  mutating func noteRetransmitted(_ number: Int) {
    switch chunks[number].status {
    case .lost:
      lostCount -= 1
      flightBytes += Int(chunks[number].length)
    case .inFlight: packets.noteGone(packet: chunks[number].packet)
    case .acknowledged, .abandoned: preconditionFailure("only what has not arrived is repeated")
    }
    chunks[number].status = .inFlight
    chunks[number].packet = packets.next
    chunks[number].previousInPacket = packets.add(chunk: number)
    if chunks[number].transmissions < .max { chunks[number].transmissions += 1 }
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

  /// Gives up all chunks of a message, which lie in `range`, maybe among others.
  mutating func abandon(_ message: Int, in range: Range<Int>) {
    for number in range.clamped(to: chunks.first..<chunks.end) where chunks[number].message == Int32(message) {
      switch chunks[number].status {
      case .inFlight:
        flightBytes -= Int(chunks[number].length)
        packets.noteGone(packet: chunks[number].packet)
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
    var sample = DeliverySample()
    var movedCumulative = false
    /// A round trip for the retransmission timeout.
    var roundTrip: Interval?
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

  /// - Parameters:
  ///   - minimumRoundTrip: an acknowledgement of a retransmitted chunk that comes sooner is for the transmission before.
  ///   - queue: where messages are let go whose last chunk is acknowledged cumulatively.
  mutating func acknowledge(
    _ sack: borrowing SackChunk, now: Instant, minimumRoundTrip: Interval?, releasingFrom queue: inout SendQueue
  ) -> Acknowledgement {
    var result = Acknowledgement()
    packets.beginSample()
    moveCumulative(to: sack.cumulativeTSN, now: now, minimumRoundTrip, &result, &queue)
    if sack.gapBlockCount > 0 { applyGapBlocks(sack, now: now, minimumRoundTrip, &result) }
    packets.finishSample(now: now, minimumRoundTrip: minimumRoundTrip, &result.sample)
    return result
  }

  /// The cumulative TSN of a SHUTDOWN acknowledges too (§9.2).
  mutating func acknowledge(
    cumulative tsn: TSN, now: Instant, minimumRoundTrip: Interval?, releasingFrom queue: inout SendQueue
  ) -> Acknowledgement {
    var result = Acknowledgement()
    packets.beginSample()
    moveCumulative(to: tsn, now: now, minimumRoundTrip, &result, &queue)
    packets.finishSample(now: now, minimumRoundTrip: minimumRoundTrip, &result.sample)
    return result
  }

  private mutating func moveCumulative(
    to tsn: TSN, now: Instant, _ minimumRoundTrip: Interval?, _ result: inout Acknowledgement,
    _ queue: inout SendQueue
  ) {
    var steps = tsn.distance(from: cumulativeTSN)
    guard steps > 0 else { return }
    result.movedCumulative = true
    while steps > 0 {
      noteArrived(chunks.first, now: now, minimumRoundTrip, &result)
      queue.noteSettled(Int(chunks[chunks.first].message))
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
    advance()
  }

  /// Walks blocks and known ranges side by side. What an earlier SACK has named stays acknowledged although this one does
  /// not name it: a SACK that was overtaken looks like one that takes something back (§6.2 lets a peer do so), and a peer
  /// may cap its list. Only T3 finds out.
  private mutating func applyGapBlocks(
    _ sack: borrowing SackChunk, now: Instant, _ minimumRoundTrip: Interval?, _ result: inout Acknowledgement
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
        appendRange(start..<end)
        position = end
      }
      while position < upper {
        while j < known.count, known[j].upperBound <= position { j += 1 }
        if j < known.count, known[j].lowerBound <= position {
          position = min(upper, known[j].upperBound)
        } else {
          let end = j < known.count ? min(upper, known[j].lowerBound) : upper
          for number in position..<end {
            noteArrived(number, now: now, minimumRoundTrip, &result)
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
    _ number: Int, now: Instant, _ minimumRoundTrip: Interval?, _ result: inout Acknowledgement
  ) {
    let chunk = chunks[number]
    let length = Int(chunk.length)
    switch chunk.status {
    case .inFlight:
      flightBytes -= length
      result.sample.acknowledged += length
      let age = now - packets.ring[chunk.packet].sentAt
      let isFirst = chunk.transmissions == 1
      if isFirst {
        if chunk.packet >= measureFrom {
          result.roundTrip = age
          measureFrom = packets.next
        }
        if chunk.packet < packets.newestArrived { reordering.noteReordering() }
      } else if let minimumRoundTrip, age < minimumRoundTrip {
        // It is the transmission before that has arrived: that one was late, not lost.
        reordering.noteSpuriousLoss()
      }
      packets.noteArrived(
        packet: chunk.packet, byteCount: length, isCertain: isFirst || minimumRoundTrip.map { age >= $0 } ?? true)
      chunks[number].status = .acknowledged
    case .lost:
      // Late, not lost: the network reorders more than was allowed for.
      lostCount -= 1
      result.sample.acknowledged += length
      packets.noteLateArrival(byteCount: length)
      reordering.noteSpuriousLoss()
      chunks[number].status = .acknowledged
    case .acknowledged, .abandoned: break
    }
  }

  /// The peer has dropped what it had acknowledged: it is to be sent again, as if it were lost.
  private mutating func noteReneged(_ number: Int) {
    guard chunks[number].status == .acknowledged else { return }
    chunks[number].status = .lost
    lostCount += 1
    firstMaybeLost = min(firstMaybeLost, number)
  }

  // MARK: Loss

  /// The chunk in flight is deemed lost.
  mutating func markLost(_ number: Int) {
    packets.noteLost(packet: chunks[number].packet, byteCount: Int(chunks[number].length))
    chunks[number].status = .lost
    flightBytes -= Int(chunks[number].length)
    lostCount += 1
    firstMaybeLost = min(firstMaybeLost, number)
  }

  /// The retransmission timer has expired: everything in flight is deemed lost (§6.3.3). A first chunk that is marked
  /// acknowledged cannot be, or the peer's cumulative TSN would have passed it: then the peer has dropped what it had, and
  /// no mark is believed any more.
  mutating func markAllLost() {
    if !chunks.isEmpty, chunks[chunks.first].status == .acknowledged {
      for range in acknowledgedRanges { for number in range { noteReneged(number) } }
      acknowledgedRanges.removeAll(keepingCapacity: true)
    }
    for number in chunks.first..<chunks.end where chunks[number].status == .inFlight { markLost(number) }
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
