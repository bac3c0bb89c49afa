// DataTracker.swift — which TSNs have arrived (RFC 9260 §6.2): the cumulative one, what lies beyond it, duplicates.
//
// Invariants: a bit is set only for a TSN in (cumulativeTSN, highestTSN]; highestTSN is within `windowSize` of
// cumulativeTSN. So the work of any packet is bounded by the bitmap, whatever numbers it carries.

import Wire

package struct DataTracker: Sendable {
  package enum Arrival: Sendable {
    /// The very next one.
    case inOrder
    /// New, and beyond a gap.
    case beyondGap
    case duplicate
    /// So far ahead that it is not tracked.
    case tooFarAhead
  }

  /// The highest TSN below which all have arrived or were skipped.
  package private(set) var cumulativeTSN: TSN
  /// The highest TSN that has arrived.
  package private(set) var highestTSN: TSN
  package private(set) var duplicates: [TSN] = []
  /// One bit for each TSN on the circle modulo `windowSize`; empty until the first gap.
  private var bitmap: [UInt64] = []

  /// How far beyond the cumulative TSN data is tracked: twice the full packets of a window of 16 MiB, in 4 KiB of bits,
  /// and within the 16 bits of a gap block.
  package static let windowSize: UInt32 = 32_768
  /// Duplicates named in one SACK: enough to show the sender that it repeats itself (RFC 9260 §6.2 allows any number).
  package static let maximumDuplicates = 16
  /// Gap blocks in one SACK: what fits a packet of 1,188 bytes, with some duplicates. More holes than this are told in
  /// later ones, when the first have closed.
  package static let maximumGapBlocks = 280

  package init(cumulativeTSN: TSN) {
    self.cumulativeTSN = cumulativeTSN
    highestTSN = cumulativeTSN
  }

  @inline(__always)
  package var hasGap: Bool { highestTSN != cumulativeTSN }

  /// What accepting `tsn` would mean; changes nothing but the list of duplicates.
  package mutating func classify(_ tsn: TSN) -> Arrival {
    let ahead = tsn.distance(from: cumulativeTSN)
    if ahead == 1, !hasGap { return .inOrder }
    if ahead == 0 || ahead >= 0x8000_0000 {
      noteDuplicate(tsn)
      return .duplicate
    }
    if ahead > Self.windowSize { return .tooFarAhead }
    if hasGap, isSet(tsn) {
      noteDuplicate(tsn)
      return .duplicate
    }
    return ahead == 1 ? .inOrder : .beyondGap
  }

  /// Takes a TSN that is `.inOrder`; the caller then calls `advance`.
  @inline(__always)
  package mutating func acceptInOrder(_ tsn: TSN) {
    cumulativeTSN = tsn
    if !tsn.isBeforeOrEqual(highestTSN) { highestTSN = tsn }
  }

  /// Takes a TSN that is `.beyondGap`.
  package mutating func acceptBeyondGap(_ tsn: TSN) {
    if bitmap.isEmpty { bitmap = [UInt64](repeating: 0, count: Int(Self.windowSize) / 64) }
    let bit = Int(tsn.rawValue & (Self.windowSize - 1))
    bitmap[bit / 64] |= 1 << UInt64(bit % 64)
    if tsn.isAfter(highestTSN) { highestTSN = tsn }
  }

  /// Moves the cumulative TSN on over all that have arrived already; false: the next one has not.
  package mutating func advance() -> Bool {
    guard hasGap else { return false }
    let span = highestTSN.distance(from: cumulativeTSN)
    let arrived = nextOffset(from: 1, through: span, set: false) - 1
    guard arrived > 0 else { return false }
    pass(arrived)
    return true
  }

  /// Forgets the gap up to `tsn`, which is at most `windowSize` ahead (RFC 3758 §3.6).
  package mutating func skip(to tsn: TSN) {
    pass(tsn.distance(from: cumulativeTSN))
    if cumulativeTSN.isAfter(highestTSN) { highestTSN = cumulativeTSN }
  }

  /// Moves the cumulative TSN on by `count`, at most `windowSize`, and clears the bits on the way; a word at a time.
  private mutating func pass(_ count: UInt32) {
    let target = cumulativeTSN.advanced(by: count)
    guard !bitmap.isEmpty else {
      cumulativeTSN = target
      return
    }
    while cumulativeTSN != target {
      let bit = Int(cumulativeTSN.advanced(by: 1).rawValue & (Self.windowSize - 1))
      let width = min(64 - bit % 64, Int(target.distance(from: cumulativeTSN)))
      let mask = (UInt64.max >> UInt64(64 - width)) << UInt64(bit % 64)
      bitmap[bit / 64] &= ~mask
      cumulativeTSN = cumulativeTSN.advanced(by: UInt32(width))
    }
  }

  package mutating func forgetDuplicates() { duplicates.removeAll(keepingCapacity: true) }

  /// The first runs beyond the cumulative TSN, at most `limit`.
  package func gapBlocks(limit: Int) -> [GapBlock] {
    guard hasGap, limit > 0 else { return [] }
    var blocks: [GapBlock] = []
    blocks.reserveCapacity(min(limit, Self.maximumGapBlocks))
    let span = highestTSN.distance(from: cumulativeTSN)
    var offset: UInt32 = 1
    while offset <= span, blocks.count < min(limit, Self.maximumGapBlocks) {
      offset = nextOffset(from: offset, through: span, set: true)
      guard offset <= span else { break }
      let end = nextOffset(from: offset, through: span, set: false) - 1
      blocks.append(GapBlock(start: UInt16(offset), end: UInt16(end)))
      offset = end + 1
    }
    return blocks
  }

  /// The first offset from `start` whose bit is as asked, or `last + 1`; a word of 64 at a time.
  private func nextOffset(from start: UInt32, through last: UInt32, set: Bool) -> UInt32 {
    var offset = start
    while offset <= last {
      let bit = Int(cumulativeTSN.advanced(by: offset).rawValue & (Self.windowSize - 1))
      let word = (set ? bitmap[bit / 64] : ~bitmap[bit / 64]) >> UInt64(bit % 64)
      if word != 0 { return min(offset + UInt32(word.trailingZeroBitCount), last + 1) }
      offset += UInt32(64 - bit % 64)
    }
    return last + 1
  }

  private func isSet(_ tsn: TSN) -> Bool {
    guard !bitmap.isEmpty else { return false }
    let bit = Int(tsn.rawValue & (Self.windowSize - 1))
    return bitmap[bit / 64] >> UInt64(bit % 64) & 1 != 0
  }

  private mutating func noteDuplicate(_ tsn: TSN) {
    if duplicates.count < Self.maximumDuplicates { duplicates.append(tsn) }
  }
}

extension TSN {
  @inline(__always)
  func isBeforeOrEqual(_ other: TSN) -> Bool { other.rawValue &- rawValue < 0x8000_0000 }
}
