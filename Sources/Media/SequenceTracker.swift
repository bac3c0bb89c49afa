// SequenceTracker.swift — which numbers of a stream have come, which are new, and how many are missing (RFC 3550 A.1, A.3).
//
// Numbers are extended: the 16 bits of the packet and, above them, how often they have wrapped. One that was lost and
// comes again on its own stream counts as received, as RFC 3550 §6.4.1 counts late packets and duplicates; one that
// comes on a retransmission stream does not (RFC 4588 §4 keeps statistics of both streams apart).
//
// Invariants: `highest - 2047 ... highest` have a bit each in `window`, set when the number has come; no bit is set for
// any other number.

/// What a packet's number says of it.
enum SequenceVerdict: Equatable {
  /// Never seen; `missing` are the numbers skipped between the highest before and this one.
  case new(number: Int, missing: Range<Int>)
  /// Fills a gap.
  case late(number: Int)
  /// The first of a source that has begun anew far away.
  case restarted(number: Int)
  case duplicate
  /// The source is not valid before a second packet in sequence.
  case onProbation
  /// Too far ahead or behind to be of this run.
  case jumped
}

struct SequenceTracker {
  /// How far back a number is still known to have come or not. It is also A.1's MAX_MISORDER: that names 100, for two
  /// seconds of audio; a retransmission of video comes later.
  static let windowSize = 2_048
  /// A.1's MAX_DROPOUT.
  static let maximumDropout = 3_000
  /// A.1's MIN_SEQUENTIAL.
  static let minimumSequential = 2

  private(set) var isValid: Bool
  private(set) var highest = 0
  /// Packets that have come, duplicates included.
  private(set) var received = 0
  /// Lost in runs that a restart has ended.
  private(set) var lostBefore = 0
  private var base = 0
  private var hasBegun = false
  private var sequential = 0
  private var afterJump: UInt16?
  private var expectedAtReport = 0
  private var receivedAtReport = 0
  private var window = [UInt64](repeating: 0, count: windowSize / 64)

  /// - Parameter isAnnounced: the source is known by other means, and valid from its first packet.
  init(isAnnounced: Bool) { isValid = isAnnounced }

  /// RFC 3550 §6.4.1's extended highest sequence number received.
  var extendedHighest: UInt32 { UInt32(truncatingIfNeeded: highest &- Self.firstCycle) }
  var expected: Int { hasBegun && isValid ? highest - base + 1 : 0 }
  /// Negative when duplicates came.
  var lost: Int { expected - received }

  mutating func receive(_ sequenceNumber: UInt16) -> SequenceVerdict {
    guard hasBegun else {
      begin(at: sequenceNumber)
      guard isValid else {
        sequential = 1
        return .onProbation
      }
      return accept(highest, missing: highest..<highest)
    }
    guard isValid else { return receiveOnProbation(sequenceNumber) }

    let distance = Int(Int16(truncatingIfNeeded: Int(sequenceNumber) &- highest))
    let number = highest + distance
    if distance > 0, distance < Self.maximumDropout {
      afterJump = nil
      let missing = (highest + 1)..<number
      advance(to: number)
      return accept(number, missing: missing)
    }
    if distance <= 0, distance > -Self.windowSize {
      received += 1
      guard mark(number) else { return .duplicate }
      return .late(number: number)
    }
    // Two in a row: the other side has begun anew. One: a stray packet.
    guard sequenceNumber == afterJump else {
      afterJump = sequenceNumber &+ 1
      return .jumped
    }
    lostBefore += lost
    begin(at: sequenceNumber)
    received = 1
    _ = mark(highest)
    return .restarted(number: highest)
  }

  /// A packet came on the retransmission stream. It is not counted as received.
  mutating func recover(_ sequenceNumber: UInt16) -> SequenceVerdict {
    guard hasBegun, isValid else { return .onProbation }
    let distance = Int(Int16(truncatingIfNeeded: Int(sequenceNumber) &- highest))
    let number = highest + distance
    if distance > 0, distance < Self.maximumDropout {
      let missing = (highest + 1)..<number
      advance(to: number)
      _ = mark(number)
      return .new(number: number, missing: missing)
    }
    guard distance <= 0, distance > -Self.windowSize else { return .jumped }
    return mark(number) ? .late(number: number) : .duplicate
  }

  /// The loss since the last call, and since the beginning (A.3).
  mutating func reportLoss() -> (fraction: UInt8, cumulative: Int) {
    let expectedNow = expected
    let expectedSince = expectedNow - expectedAtReport
    let lostSince = expectedSince - (received - receivedAtReport)
    expectedAtReport = expectedNow
    receivedAtReport = received
    let fraction = expectedSince > 0 && lostSince > 0 ? UInt8(min(255, lostSince << 8 / expectedSince)) : 0
    return (fraction, lost)
  }

  // MARK: Steps

  private mutating func receiveOnProbation(_ sequenceNumber: UInt16) -> SequenceVerdict {
    let isNext = sequenceNumber == UInt16(truncatingIfNeeded: highest &+ 1)
    guard isNext else {
      begin(at: sequenceNumber)
      sequential = 1
      return .onProbation
    }
    sequential += 1
    guard sequential >= Self.minimumSequential else {
      advance(to: highest + 1)
      return .onProbation
    }
    // The packets of the probation are delivered too, so they count.
    isValid = true
    received = sequential - 1
    base = highest - (sequential - 2)
    advance(to: highest + 1)
    return accept(highest, missing: highest..<highest)
  }

  private mutating func begin(at sequenceNumber: UInt16) {
    hasBegun = true
    highest = Self.firstCycle + Int(sequenceNumber)
    base = highest
    received = 0
    afterJump = nil
    expectedAtReport = 0
    receivedAtReport = 0
    for index in window.indices { window[index] = 0 }
    if !isValid { _ = mark(highest) }
  }

  private mutating func accept(_ number: Int, missing: Range<Int>) -> SequenceVerdict {
    received += 1
    _ = mark(number)
    return .new(number: number, missing: missing)
  }

  /// Moves the window: its new places are free.
  private mutating func advance(to number: Int) {
    if number - highest >= Self.windowSize {
      for index in window.indices { window[index] = 0 }
    } else {
      for skipped in (highest + 1)...number { window[skipped >> 6 & Self.wordMask] &= ~(1 << (skipped & 63)) }
    }
    highest = number
  }

  /// False when the number was marked already.
  private mutating func mark(_ number: Int) -> Bool {
    let bit: UInt64 = 1 << (number & 63)
    let word = number >> 6 & Self.wordMask
    guard window[word] & bit == 0 else { return false }
    window[word] |= bit
    return true
  }

  private static let wordMask = windowSize / 64 - 1
  /// Where extended numbers begin, so that one before the first is not negative. A multiple of the window.
  private static let firstCycle = 1 << 16
}
