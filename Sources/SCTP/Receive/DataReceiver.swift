// DataReceiver.swift — the receiving half of an association: tracker, reassembly and window, and when to answer.
//
// Memory: the bytes held here and those delivered but not released never exceed `window` plus one message. Data is taken
// within the window; the extra message is for data that comes in order while the owner holds less than half of the
// window: then it is the gaps that fill it, and the message that frees them must still be completed.

import DequeModule
package import Wire

/// Messages in delivery order.
package struct MessageQueue {
  private var messages = Deque<IncomingMessage>()
  package private(set) var byteCount = 0
  package var count: Int { messages.count }

  package init() {}
  mutating func append(_ message: consuming IncomingMessage) {
    byteCount += message.payload.count
    messages.append(message)
  }
  mutating func popFirst() -> IncomingMessage? {
    guard let message = messages.popFirst() else { return nil }
    byteCount -= message.payload.count
    return message
  }
  mutating func removeAll() { self = MessageQueue() }
}

package struct DataReceiver: ~Copyable {
  package enum Outcome: Equatable, Sendable {
    case taken, duplicate, refused
    case violation(ReassemblyViolation)
  }

  package private(set) var tracker: DataTracker
  package var reassembly: Reassembly
  /// Bytes that the owner has taken but not released.
  package private(set) var unreleased = 0
  private let window: Int
  private let maximumMessageSize: Int

  // When to answer (RFC 9260 §6.2).
  private var packetsToAcknowledge = 0
  private var answersAtOnce = false
  package private(set) var deadline: Instant?
  private var advertisedWindow: Int

  /// Messages that the owner has not polled: it polls after every batch of packets, and no batch carries so many.
  static let maximumUndelivered = 65_536
  /// A window that has opened by this part of the whole is told to the peer without being asked; less is silly.
  static let windowUpdateShare = 4

  package init(initialTSN: TSN, window: Int, maximumMessageSize: Int) {
    tracker = DataTracker(cumulativeTSN: initialTSN.reversed(by: 1))
    reassembly = Reassembly(maximumMessageSize: maximumMessageSize)
    self.window = window
    self.maximumMessageSize = maximumMessageSize
    advertisedWindow = window
    // The first data of an association is answered at once, so that the peer can measure the path (a-9-1).
    answersAtOnce = true
  }

  package var usedBytes: Int { reassembly.heldBytes + reassembly.delivered.byteCount + unreleased }
  package var availableWindow: Int { max(0, window - usedBytes) }

  // MARK: In

  package mutating func handle(_ header: DataHeader, _ payload: RawSpan) -> Outcome {
    switch tracker.classify(header.tsn) {
    case .inOrder:
      guard hasRoomInOrder(payload.byteCount), reassembly.delivered.count < Self.maximumUndelivered else {
        return refuse()
      }
      do throws(ReassemblyViolation) {
        try reassembly.takeInOrder(header, payload)
        tracker.acceptInOrder(header.tsn)
        while tracker.advance() { try reassembly.advance(to: tracker.cumulativeTSN) }
      } catch {
        return .violation(error)
      }
    case .beyondGap:
      answersAtOnce = true
      guard usedBytes + payload.byteCount <= window, reassembly.canHoldMore,
        reassembly.delivered.count < Self.maximumUndelivered
      else { return refuse() }
      do throws(ReassemblyViolation) {
        try reassembly.takeBeyondGap(header, payload)
        tracker.acceptBeyondGap(header.tsn)
      } catch {
        return .violation(error)
      }
    case .duplicate:
      answersAtOnce = true
      return .duplicate
    case .tooFarAhead:
      return refuse()
    }
    if header.flags.contains(.immediate) || tracker.hasGap { answersAtOnce = true }
    return .taken
  }

  private func hasRoomInOrder(_ byteCount: Int) -> Bool {
    let used = usedBytes + byteCount
    if used <= window { return true }
    return 2 * (unreleased + reassembly.delivered.byteCount) < window && used <= window + maximumMessageSize
  }

  /// RFC 9260 §6.2: data that found no room is answered at once with the window as it is.
  private mutating func refuse() -> Outcome {
    answersAtOnce = true
    return .refused
  }

  /// A TSN that carried nothing to deliver: on a stream that does not exist (RFC 9260 §6.5).
  package mutating func acknowledgeOnly(_ tsn: TSN) -> Outcome {
    switch tracker.classify(tsn) {
    case .inOrder:
      tracker.acceptInOrder(tsn)
      do throws(ReassemblyViolation) {
        while tracker.advance() { try reassembly.advance(to: tracker.cumulativeTSN) }
      } catch {
        return .violation(error)
      }
      return .taken
    case .beyondGap:
      tracker.acceptBeyondGap(tsn)
      answersAtOnce = true
      return .taken
    case .duplicate: return .duplicate
    case .tooFarAhead: return .refused
    }
  }

  /// Called once for each packet that carried data.
  package mutating func endOfPacket(now: Instant, delay: Interval) {
    packetsToAcknowledge += 1
    if deadline == nil { deadline = now + delay }
  }

  /// RFC 3758 §3.6; a TSN that is not ahead within the window changes nothing.
  package mutating func handle(_ chunk: borrowing ForwardTSNChunk) -> Outcome {
    answersAtOnce = true
    let target = chunk.newCumulativeTSN
    guard target.isAfter(tracker.cumulativeTSN) else { return .duplicate }
    guard target.distance(from: tracker.cumulativeTSN) <= DataTracker.windowSize else { return .refused }
    tracker.skip(to: target)
    reassembly.skip(to: target, chunk)
    do throws(ReassemblyViolation) {
      while tracker.advance() { try reassembly.advance(to: tracker.cumulativeTSN) }
    } catch {
      return .violation(error)
    }
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
    guard let message = reassembly.delivered.popFirst() else { return nil }
    unreleased += message.payload.count
    return message
  }

  /// What the owner needs beside the payload to hold what it has taken counts as held, too.
  package mutating func charge(_ byteCount: Int) { unreleased += max(0, byteCount) }

  /// The owner has consumed these bytes. A window that was nearly shut and has opened well is announced.
  package mutating func release(_ byteCount: Int) {
    unreleased = max(0, unreleased - max(0, byteCount))
    if advertisedWindow < window / Self.windowUpdateShare,
      availableWindow - advertisedWindow >= window / Self.windowUpdateShare
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
    let duplicates = tracker.duplicates.count + blocks.count <= entries ? tracker.duplicates : []
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
