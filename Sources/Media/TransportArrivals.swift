// TransportArrivals.swift — when packets arrived, by their transport-wide number, until the peer has been told
// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//
// Invariants: `base ..< end` are the numbers not yet told of, at most `windowSize`; a slot holds the arrival of the number
// that is congruent to it, if that number has come.

import Wire

struct TransportArrivals {
  /// Numbers before it are forgotten; 100 ms of 80 Mbit/s.
  static let windowSize = 1_024
  /// How long arrivals are collected (the draft leaves it open; estimators want several a round trip).
  static let interval = Interval.milliseconds(80)
  /// So many at once are told without waiting for the interval.
  static let early = 256

  private var arrivals: [Instant?] = []
  private var numbers: [Int] = []
  private(set) var base = 0
  private(set) var end = 0
  private var isFirst = true
  private(set) var deadline: Instant?

  mutating func receive(_ sequence: UInt16, now: Instant) {
    if isFirst {
      isFirst = false
      arrivals = [Instant?](repeating: nil, count: Self.windowSize)
      numbers = [Int](repeating: -1, count: Self.windowSize)
      base = Int(sequence) + 1 << 16
      end = base
    }
    let distance = Int(Int16(truncatingIfNeeded: Int(sequence) &- end))
    let number = end + distance
    if distance >= 0 {
      end = number + 1
      base = max(base, end - Self.windowSize)
    } else {
      // Too old, or the second of two: a retransmission with the bytes of the first carries its number too.
      guard number >= end - Self.windowSize, numbers[number & Self.mask] != number else { return }
      base = min(base, number)
    }
    arrivals[number & Self.mask] = now
    numbers[number & Self.mask] = number
    if deadline == nil { deadline = now + Self.interval }
    if end - base >= Self.early { deadline = min(deadline ?? now, now) }
  }

  var isEmpty: Bool { base == end }
  func isDue(now: Instant) -> Bool { deadline.map { $0 <= now } ?? false }

  /// When `number`, one of `base ..< end`, arrived.
  func arrival(of number: Int) -> Instant? {
    numbers[number & Self.mask] == number ? arrivals[number & Self.mask] : nil
  }

  /// Everything below `number` has been told.
  mutating func told(upTo number: Int) {
    base = max(base, min(number, end))
    if isEmpty { deadline = nil }
  }

  private static let mask = windowSize - 1
}

/// What was sent under which transport-wide number, until the peer says what became of it.
struct TransportDepartures {
  enum Fate { case unknown, lost, received }

  struct Departure {
    var number = -1
    var sentAt = Instant(nanoseconds: 0)
    var byteCount = 0
    var fate = Fate.unknown
    var wasLost: Bool { fate == .lost }
  }
  /// Feedback on older packets counts for nothing.
  static let windowSize = 2_048

  private var departures: [Departure] = []
  private(set) var next: Int

  /// - Parameter first: the first number; by default that of the wire's zero.
  init(first: Int = 1 << 16) { next = first }

  /// The number that the next packet gets.
  mutating func send(byteCount: Int, now: Instant) -> UInt16 {
    if departures.isEmpty { departures = [Departure](repeating: Departure(), count: Self.windowSize) }
    departures[next & Self.mask] = Departure(number: next, sentAt: now, byteCount: byteCount)
    defer { next += 1 }
    return UInt16(truncatingIfNeeded: next)
  }

  /// Whether it is one of the last 2,048 that were sent.
  func isRecent(_ sequence: UInt16) -> Bool { slot(of: sequence) != nil }

  private func slot(of sequence: UInt16) -> Int? {
    let number = next + Int(Int16(truncatingIfNeeded: Int(sequence) &- next))
    return !departures.isEmpty && departures[number & Self.mask].number == number ? number & Self.mask : nil
  }

  /// What was sent under a number, the first time that its arrival is told.
  mutating func acknowledge(_ sequence: UInt16) -> Departure? {
    guard let slot = slot(of: sequence), departures[slot].fate != .received else { return nil }
    defer { departures[slot].fate = .received }
    return departures[slot]
  }

  /// True the first time that a packet is told not to have arrived. It may arrive yet.
  mutating func lose(_ sequence: UInt16) -> Bool {
    guard let slot = slot(of: sequence), departures[slot].fate == .unknown else { return false }
    departures[slot].fate = .lost
    return true
  }

  private static let mask = windowSize - 1
}
