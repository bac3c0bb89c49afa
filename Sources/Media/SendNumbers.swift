// SendNumbers.swift — sees to it that no number of a stream is used for two packets (RFC 3711 §9.1).
//
// Numbers are the application's: it may send what it receives from elsewhere, in that order and with those gaps. One
// that has been sent, or is too old for that to be known, is refused. A source that begins anew, seen by two consecutive
// numbers, goes on behind the highest number by an offset, so that the peer sees one unbroken stream.
//
// Invariant: `highest - 2047 ... highest` have a bit each in `window`, set when the number was used.

struct SendNumbers {
  private var highest: Int?
  private var window = [UInt64](repeating: 0, count: SequenceTracker.windowSize / 64)
  private var offset: UInt16 = 0
  private var afterRefused: UInt16?

  /// The number that the packet leaves with; nil when it must not leave.
  mutating func use(_ sequenceNumber: UInt16) -> UInt16? {
    guard let highest else {
      advance(from: Int(sequenceNumber) + Self.firstCycle - 1, to: Int(sequenceNumber) + Self.firstCycle)
      return sequenceNumber
    }
    let wire = sequenceNumber &+ offset
    let distance = Int(Int16(truncatingIfNeeded: Int(wire) &- highest))
    if distance > 0 {
      afterRefused = nil
      advance(from: highest, to: highest + distance)
      return wire
    }
    if distance > -SequenceTracker.windowSize {
      // A repeated number says nothing of a new source: it is what a duplicated packet looks like.
      guard mark(highest + distance) else { return nil }
      return wire
    }
    guard sequenceNumber == afterRefused else {
      afterRefused = sequenceNumber &+ 1
      return nil
    }
    afterRefused = nil
    let next = UInt16(truncatingIfNeeded: highest + 1)
    offset = next &- sequenceNumber
    advance(from: highest, to: highest + 1)
    return next
  }

  private mutating func advance(from old: Int, to number: Int) {
    if number - old >= SequenceTracker.windowSize {
      for index in window.indices { window[index] = 0 }
    } else {
      for skipped in (old + 1)...number { window[skipped >> 6 & Self.wordMask] &= ~(1 << (skipped & 63)) }
    }
    highest = number
    _ = mark(number)
  }

  private mutating func mark(_ number: Int) -> Bool {
    let bit: UInt64 = 1 << (number & 63)
    let word = number >> 6 & Self.wordMask
    guard window[word] & bit == 0 else { return false }
    window[word] |= bit
    return true
  }

  private static let wordMask = SequenceTracker.windowSize / 64 - 1
  private static let firstCycle = 1 << 16
}
