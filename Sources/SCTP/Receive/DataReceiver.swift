// DataReceiver.swift — the receiving half of an association: tracker, reassembly and window, and when to answer.
//
// Memory: what is held here, with `Reassembly.holdingCost` for each thing held, and what was delivered but not released,
// never exceeds the window plus one message. Data is taken within the window; the extra message is for data that comes in
// order while the owner holds less than half of the window: then it is the gaps that fill it, and the message that frees
// them must still be completed.

package import Wire

package struct DataReceiver: ~Copyable {
  package enum Outcome: Equatable, Sendable {
    case taken, duplicate, refused
    case violation(ReassemblyViolation)
  }

  private let isLentByAddress = LentByAddress()
  package private(set) var tracker: DataTracker
  package var reassembly: Reassembly
  package private(set) var window: ReceiveWindow
  /// Bytes that the owner has taken but not released.
  package private(set) var unreleased = 0
  private let maximumMessageSize: Int

  // When to answer (RFC 9260 §6.2).
  private var packetsToAcknowledge = 0
  private var answersAtOnce = false
  package private(set) var deadline: Instant?
  private var advertisedWindow: Int
  /// Bytes of new chunks since the last packet ended.
  private var arrivedBytes = 0

  /// Messages that the owner has not polled: it polls after every batch of packets, and no batch carries so many.
  package static let maximumUndelivered = 65_536
  /// A window that has opened by this part of the whole is told to the peer without being asked; less is silly.
  static let windowUpdateShare = 4

  /// - Parameter maximumWindow: how far the window may grow; not at all when it is less than `window`.
  /// - Parameter firstNumber: where the numbers of messages begin; other than 0 only for tests.
  package init(
    initialTSN: TSN, window: Int, maximumWindow: Int = 0, maximumMessageSize: Int, firstNumber: UInt32 = 0
  ) {
    tracker = DataTracker(cumulativeTSN: initialTSN.reversed(by: 1))
    reassembly = Reassembly(maximumMessageSize: maximumMessageSize, firstNumber: firstNumber)
    self.window = ReceiveWindow(size: window, maximum: maximumWindow)
    self.maximumMessageSize = maximumMessageSize
    advertisedWindow = window
    // The first data of an association is answered at once, so that the peer can measure the path (a-9-1).
    answersAtOnce = true
  }

  package var usedBytes: Int {
    reassembly.heldBytes + reassembly.heldCount * Reassembly.holdingCost + reassembly.deliveredBytes + unreleased
  }
  package var availableWindow: Int { max(0, window.size - usedBytes) }

  // MARK: In

  package mutating func handle(_ header: DataHeader, _ payload: RawSpan) -> Outcome {
    let arrival = tracker.classify(header.tsn)
    if let outcome = refusal(of: arrival, byteCount: payload.byteCount) { return outcome }
    do throws(ReassemblyViolation) {
      if arrival == .inOrder {
        try reassembly.takeInOrder(header, payload)
      } else {
        try reassembly.takeBeyondGap(header, payload, base: tracker.cumulativeTSN)
      }
      try accept(header.tsn, arrival, isImmediate: header.flags.contains(.immediate))
    } catch {
      return .violation(error)
    }
    arrivedBytes += payload.byteCount
    return .taken
  }

  package mutating func handle(_ header: InterleavedDataHeader, _ payload: RawSpan) -> Outcome {
    let arrival = tracker.classify(header.tsn)
    if let outcome = refusal(of: arrival, byteCount: payload.byteCount) { return outcome }
    guard reassembly.canTake(header) else { return refuse() }
    do throws(ReassemblyViolation) {
      try reassembly.take(header, payload, isInOrder: arrival == .inOrder)
      try accept(header.tsn, arrival, isImmediate: header.flags.contains(.immediate))
    } catch {
      return .violation(error)
    }
    arrivedBytes += payload.byteCount
    // Only the peer can complete what it has interleaved: a window full of beginnings, with no gap to close, would never
    // open.
    if !tracker.hasGap, reassembly.incompleteMessages > 1, 2 * reassembly.interleavedBytes > window.size {
      window.grow()
    }
    return .taken
  }

  /// A TSN that carried nothing to deliver: on a stream that does not exist (RFC 9260 §6.5).
  package mutating func acknowledgeOnly(_ tsn: TSN) -> Outcome {
    let arrival = tracker.classify(tsn)
    switch arrival {
    case .inOrder, .beyondGap: break
    case .duplicate:
      answersAtOnce = true
      return .duplicate
    case .tooFarAhead: return refuse()
    }
    do throws(ReassemblyViolation) {
      try accept(tsn, arrival, isImmediate: false)
    } catch {
      return .violation(error)
    }
    return .taken
  }

  /// What becomes of a chunk that is not taken; nil: it is.
  @inline(__always)
  private mutating func refusal(of arrival: DataTracker.Arrival, byteCount: Int) -> Outcome? {
    switch arrival {
    case .inOrder:
      guard hasRoomInOrder(byteCount), reassembly.deliveredCount < Self.maximumUndelivered else { return refuse() }
      return nil
    case .beyondGap:
      guard usedBytes + byteCount + Reassembly.holdingCost <= window.size,
        reassembly.deliveredCount < Self.maximumUndelivered
      else { return refuse() }
      return nil
    case .duplicate:
      answersAtOnce = true
      return .duplicate
    case .tooFarAhead:
      return refuse()
    }
  }

  private func hasRoomInOrder(_ byteCount: Int) -> Bool {
    let used = usedBytes + byteCount
    if used <= window.size { return true }
    return 2 * (unreleased + reassembly.deliveredBytes) < window.size && used <= window.size + maximumMessageSize
  }

  /// RFC 9260 §6.2: data that found no room is answered at once with the window as it is.
  private mutating func refuse() -> Outcome {
    answersAtOnce = true
    return .refused
  }

  /// Notes the arrival of a chunk that was taken. Gaps, their end too, are told at once.
  @inline(__always)
  private mutating func accept(
    _ tsn: TSN, _ arrival: DataTracker.Arrival, isImmediate: Bool
  ) throws(ReassemblyViolation) {
    if arrival == .inOrder {
      let hadGap = tracker.hasGap
      tracker.acceptInOrder(tsn)
      if hadGap {
        answersAtOnce = true
        try advance()
      }
      if !tracker.hasGap { reassembly.gapsHaveClosed() }
    } else {
      tracker.acceptBeyondGap(tsn)
      answersAtOnce = true
    }
    if isImmediate { answersAtOnce = true }
  }

  private mutating func advance() throws(ReassemblyViolation) {
    let first = tracker.cumulativeTSN.advanced(by: 1)
    if tracker.advance() { try reassembly.advance(from: first, through: tracker.cumulativeTSN) }
  }

  /// Called once for each packet that carried data.
  ///
  /// - Parameter roundTrip: what the sending half has measured, if it has.
  package mutating func endOfPacket(now: Instant, delay: Interval, roundTrip: Interval?) {
    packetsToAcknowledge += 1
    if deadline == nil { deadline = now + delay }
    window.noteArrival(arrivedBytes, waiting: reassembly.heldBytes, now: now, roundTrip: roundTrip)
    arrivedBytes = 0
  }

  /// RFC 3758 §3.6; a TSN that is not ahead within the window changes nothing.
  package mutating func handle(_ chunk: borrowing ForwardTSNChunk) -> Outcome {
    if let outcome = refusal(ofSkipTo: chunk.newCumulativeTSN) { return outcome }
    reassembly.skip(from: tracker.cumulativeTSN, chunk)
    return skip(to: chunk.newCumulativeTSN)
  }

  /// RFC 8260 §2.3.1.
  package mutating func handle(_ chunk: borrowing InterleavedForwardTSNChunk) -> Outcome {
    if let outcome = refusal(ofSkipTo: chunk.newCumulativeTSN) { return outcome }
    reassembly.skip(chunk)
    return skip(to: chunk.newCumulativeTSN)
  }

  private mutating func refusal(ofSkipTo target: TSN) -> Outcome? {
    answersAtOnce = true
    guard target.isAfter(tracker.cumulativeTSN) else { return .duplicate }
    guard target.distance(from: tracker.cumulativeTSN) <= DataTracker.windowSize else { return .refused }
    return nil
  }

  private mutating func skip(to target: TSN) -> Outcome {
    tracker.skip(to: target)
    do throws(ReassemblyViolation) {
      try advance()
    } catch {
      return .violation(error)
    }
    if !tracker.hasGap { reassembly.gapsHaveClosed() }
    return .taken
  }

  package mutating func handleTimeout(now: Instant) {
    if let due = deadline, due <= now {
      deadline = nil
      answersAtOnce = true
      packetsToAcknowledge = max(packetsToAcknowledge, 1)
    }
  }

  /// The association has ended: what is whole can still be polled, the rest is let go.
  mutating func stop() {
    reassembly.discardIncomplete()
    deadline = nil
    packetsToAcknowledge = 0
  }

  package mutating func acknowledgeSoon() {
    answersAtOnce = true
    packetsToAcknowledge = max(packetsToAcknowledge, 1)
  }

  package mutating func popMessage() -> IncomingMessage? {
    guard let message = reassembly.popMessage() else { return nil }
    unreleased += message.payload.count
    return message
  }

  /// What the owner needs beside the payload to hold what it has taken counts as held, too.
  package mutating func charge(_ byteCount: Int) { unreleased += max(0, byteCount) }

  /// The owner has consumed these bytes. A window that was nearly shut and has opened well is announced.
  package mutating func release(_ byteCount: Int, now: Instant) {
    unreleased = max(0, unreleased - max(0, byteCount))
    window.noteConsumption(byteCount, now: now)
    if advertisedWindow < window.size / Self.windowUpdateShare,
      availableWindow - advertisedWindow >= window.size / Self.windowUpdateShare
    {
      acknowledgeSoon()
    }
  }

  // MARK: Out

  /// Whether a SACK is due by itself: asked once a whole batch of packets has been handled.
  package var mustAcknowledge: Bool { packetsToAcknowledge > 0 && (answersAtOnce || packetsToAcknowledge >= 2) }
  /// Whether a packet that goes out anyway should carry a SACK.
  package var mayAcknowledge: Bool { packetsToAcknowledge > 0 }

  /// - Parameter room: bytes left in the packet; at least the SACK without blocks must fit.
  package mutating func writeSack(room: Int, into out: inout OutputRawSpan) {
    let entries = max(0, (room - SackChunk.byteCount(gapBlocks: 0, duplicates: 0)) / 4)
    let blocks = tracker.gapBlocks(limit: entries)
    let left = entries - blocks.count
    let duplicates = tracker.duplicates.count <= left ? tracker.duplicates : Array(tracker.duplicates.prefix(left))
    advertisedWindow = availableWindow
    SackChunk.write(
      cumulativeTSN: tracker.cumulativeTSN, receiverWindow: UInt32(clamping: advertisedWindow), gapBlocks: blocks,
      duplicates: duplicates, into: &out)
    tracker.forgetDuplicates()
    packetsToAcknowledge = 0
    answersAtOnce = false
    deadline = nil
  }
}
