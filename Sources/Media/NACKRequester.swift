// NACKRequester.swift — asks for the packets of one stream that are missing (RFC 4585 §6.2.1).
//
// A gap waits a moment, because most are packets that overtook each other; then it is asked for at once, and again each
// round trip, a bounded number of times and not for longer than it can be of use.
//
// Invariants: `wanted` is in order of number, without repetition, and never longer than its bound; `nextDue` is no later
// than the earliest `due` in it.

internal import DequeModule
import Wire

struct NACKRequester {
  private struct Wanted {
    let number: Int
    let missedAt: Instant
    var due: Instant
    var requests = 0
    var requestedAt: Instant
  }

  /// How long a packet may be overtaken before it counts as lost.
  static let patience = Interval.milliseconds(10)
  /// Requests for one packet are never closer than this, however short the round trip is measured.
  static let minimumRepetition = Interval.milliseconds(20)

  private let limits: MediaLimits
  private var wanted = Deque<Wanted>()
  private var nextDue: Instant?
  /// Given up, and not yet told.
  private(set) var abandoned = 0

  init(limits: MediaLimits) { self.limits = limits }

  var isEmpty: Bool { wanted.isEmpty }
  var count: Int { wanted.count }
  var deadline: Instant? { nextDue }

  /// Numbers above all that are wanted already are missing.
  mutating func missed(_ numbers: Range<Int>, now: Instant) {
    guard !numbers.isEmpty else { return }
    // Of more than the bound the newest are of most use.
    let kept = numbers.suffix(limits.maximumRequestedPackets)
    abandoned += numbers.count - kept.count
    while wanted.count + kept.count > limits.maximumRequestedPackets {
      wanted.removeFirst()
      abandoned += 1
    }
    let due = now + Self.patience
    for number in kept { wanted.append(Wanted(number: number, missedAt: now, due: due, requestedAt: now)) }
    nextDue = earliest(nextDue, due)
  }

  /// A number has come.
  /// - Returns: how often it was asked for, and the time since the only request when there was one: of several it is not
  ///   known which was answered.
  mutating func arrived(_ number: Int, now: Instant) -> (requests: Int, roundTrip: Interval?) {
    let index = position(of: number)
    guard index < wanted.count, wanted[index].number == number else { return (0, nil) }
    let found = wanted.remove(at: index)
    if wanted.isEmpty { nextDue = nil }
    return (found.requests, found.requests == 1 ? now - found.requestedAt : nil)
  }

  func isWanted(_ sequenceNumber: UInt16) -> Bool {
    wanted.contains { UInt16(truncatingIfNeeded: $0.number) == sequenceNumber }
  }

  /// Gives up what is too old or was asked for too often.
  mutating func expire(now: Instant) {
    guard let nextDue, nextDue <= now else { return }
    let before = wanted.count
    wanted.removeAll { one in
      now - one.missedAt > limits.requestAge || (one.due <= now && one.requests >= limits.maximumRequests)
    }
    abandoned += before - wanted.count
    findNextDue()
  }

  /// Appends the numbers that are due, in order, and at most `maximum`; they count as asked for.
  mutating func takeDue(now: Instant, roundTrip: Interval, maximum: Int, into numbers: inout [UInt16]) {
    guard let nextDue, nextDue <= now, maximum > 0 else { return }
    let repetition = max(Self.minimumRepetition, roundTrip + roundTrip / 4)
    var taken = 0
    for index in wanted.indices where wanted[index].due <= now && taken < maximum {
      taken += 1
      numbers.append(UInt16(truncatingIfNeeded: wanted[index].number))
      wanted[index].requests += 1
      wanted[index].requestedAt = now
      wanted[index].due = now + repetition
    }
    findNextDue()
  }

  mutating func takeAbandoned() -> Int {
    defer { abandoned = 0 }
    return abandoned
  }

  /// The source has begun anew.
  mutating func removeAll() {
    abandoned += wanted.count
    wanted.removeAll(keepingCapacity: true)
    nextDue = nil
  }

  private mutating func findNextDue() {
    nextDue = nil
    for one in wanted { nextDue = earliest(nextDue, one.due) }
  }

  /// Where the number is, or would be.
  private func position(of number: Int) -> Int {
    var (low, high) = (0, wanted.count)
    while low < high {
      let middle = (low + high) / 2
      if wanted[middle].number < number { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
