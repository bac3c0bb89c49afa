// ReceiveWindow.swift — how large the receiver window is (RFC 9260 §6.2), and when it grows.
//
// A window that is smaller than the path's bandwidth times its delay makes the peer wait once a round trip. What waits here
// behind a hole takes room as well, for at least the round trip in which the hole is filled. So when, in one round trip,
// what the peer has sent and the owner has consumed makes up, with what had to wait, more than half of the window, then the
// window is what limits them, or soon will, and it doubles. An owner that does not read makes nothing grow; nor does a slow
// peer, nor one that leaves holes and fills none.

package import Wire

package struct ReceiveWindow: Sendable {
  /// How many bytes may be held here and by the owner.
  package private(set) var size: Int
  package let maximum: Int

  // The present round.
  private var roundStart: Instant?
  private var received = 0
  private var consumed = 0
  /// Consumed in the round before: behind a hole, a round's data is consumed in the next one.
  private var consumedBefore = 0
  /// The most that waited behind holes.
  private var waited = 0
  private var waitedBefore = 0

  // How long the peer took to send as much as the window: stands in for the round trip while none was measured.
  private var fillStart: Instant?
  private var filled = 0
  private var fillTime: Interval?
  private var round: Interval?

  /// A peer that takes longer than this to fill the window is slow, and not held up by it.
  static let longestRound = Interval.seconds(1)

  /// Holes make a window grow only when as much of it goes through in a round trip.
  private static let leastShare = 8

  package init(size: Int, maximum: Int) {
    self.size = size
    self.maximum = max(size, maximum)
  }

  /// Data of new chunks has arrived.
  ///
  /// - Parameters:
  ///   - waiting: bytes that wait behind holes now.
  ///   - roundTrip: what the sending half has measured, if it has.
  package mutating func noteArrival(_ byteCount: Int, waiting: Int, now: Instant, roundTrip: Interval?) {
    guard size < maximum else { return }
    if roundTrip == nil { measureFilling(byteCount, now: now) }
    round = roundTrip ?? fillTime
    if let roundStart, let round, now - roundStart < round {
      received += byteCount
      waited = max(waited, waiting)
    } else {
      roundStart = now
      received = byteCount
      consumedBefore = consumed
      consumed = 0
      waitedBefore = waited
      waited = waiting
    }
  }

  private mutating func measureFilling(_ byteCount: Int, now: Instant) {
    guard let start = fillStart else {
      fillStart = now
      return
    }
    filled += byteCount
    guard filled >= size else { return }
    let time = now - start
    fillTime = time <= Self.longestRound ? time : nil
    fillStart = now
    filled = 0
  }

  /// The owner has consumed bytes that it had been given.
  package mutating func noteConsumption(_ byteCount: Int, now: Instant) {
    guard size < maximum, let roundStart, let round, now - roundStart < round else { return }
    consumed += byteCount
    let through = min(received, consumed + consumedBefore)
    if through > size / Self.leastShare, through + max(waited, waitedBefore) > size / 2 { grow() }
  }

  /// Doubles the window, within its maximum.
  package mutating func grow() {
    size = size > maximum / 2 ? maximum : 2 * size
    roundStart = nil
    consumed = 0
    consumedBefore = 0
    waited = 0
    waitedBefore = 0
    filled = 0
    fillStart = nil
  }
}
