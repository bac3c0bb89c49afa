// SoakTraffic.swift — what a soak sends, and what may come out at the other side.
//
// A lane is one stream in one of its two orders. Every message tells its lane, the life of its sender (which ends with a
// restart) and its number in the lane; length and bytes follow from these, so that the receiver can check every byte.

import SCTP

struct Lane: Hashable {
  enum Promise { case reliable, retransmits, lifetime }

  let stream: UInt16
  let isOrdered: Bool
  let promise: Promise

  /// Stream 8 carries both orders at once.
  static let all: [Lane] = [
    Lane(stream: 0, isOrdered: true, promise: .reliable), Lane(stream: 1, isOrdered: true, promise: .reliable),
    Lane(stream: 2, isOrdered: true, promise: .reliable), Lane(stream: 3, isOrdered: false, promise: .reliable),
    Lane(stream: 4, isOrdered: true, promise: .retransmits), Lane(stream: 5, isOrdered: true, promise: .lifetime),
    Lane(stream: 6, isOrdered: false, promise: .retransmits), Lane(stream: 7, isOrdered: false, promise: .lifetime),
    Lane(stream: 8, isOrdered: true, promise: .reliable), Lane(stream: 8, isOrdered: false, promise: .reliable),
  ]
}

/// The beginning of every message.
struct SoakHeader: Hashable {
  var lane: Int
  var life: UInt8
  var number: UInt32

  static let byteCount = 6

  init(lane: Int, life: UInt8, number: UInt32) {
    self.lane = lane
    self.life = life
    self.number = number
  }

  init?(_ payload: [UInt8]) {
    guard payload.count >= Self.byteCount, payload[0] < Lane.all.count else { return nil }
    lane = Int(payload[0])
    life = payload[1]
    number = payload[2...5].reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Most messages are small, some have many fragments; a lane's sizes differ from the next one's.
  func length(largest: Int) -> Int {
    let mixed = number &* 2_654_435_761 &+ UInt32(lane) &* 40_503 &+ UInt32(life) &* 97
    let choice = mixed >> 24
    let rest = Int(mixed & 0xff_ffff)
    switch choice {
    case 0..<120: return Self.byteCount + rest % 60
    case 120..<190: return Self.byteCount + rest % 1_500
    case 190..<250: return Self.byteCount + rest % min(8_000, largest - Self.byteCount)
    default: return Self.byteCount + rest % (largest - Self.byteCount)
    }
  }

  func payload(largest: Int) -> [UInt8] {
    let count = length(largest: largest)
    let salt = Int(number) &* 7 &+ lane &* 13 &+ Int(life) &* 29
    var bytes = [UInt8](repeating: 0, count: count)
    for index in 0..<count { bytes[index] = UInt8(truncatingIfNeeded: ((index &* 31) ^ (index >> 8)) &+ salt) }
    bytes[0] = UInt8(lane)
    bytes[1] = life
    for index in 0..<4 { bytes[2 + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index)) }
    return bytes
  }
}

/// What one side's application has handed over, and what its peer's has got of it, in one life of the sender.
struct SoakTraffic {
  /// Messages taken, by lane.
  private(set) var sent = [UInt32](repeating: 0, count: Lane.all.count)
  let life: UInt8
  let largest: Int

  /// What this receiver has got: in an ordered lane the next number.
  private var next: [UInt32]
  /// In a lane that may skip: all that came.
  private var seen: [Set<UInt32>]
  /// What receivers before a restart have got; in an ordered lane the next number.
  private var nextBefore = [UInt32](repeating: 0, count: Lane.all.count)
  private var seenBefore = [Set<UInt32>](repeating: [], count: Lane.all.count)
  /// The receiver is new: its first message of an ordered lane need not be the first.
  private var isFirst = [Bool](repeating: false, count: Lane.all.count)

  private(set) var delivered = 0

  init(life: UInt8, largest: Int) {
    self.life = life
    self.largest = largest
    next = [UInt32](repeating: 0, count: Lane.all.count)
    seen = [Set<UInt32>](repeating: [], count: Lane.all.count)
  }

  /// The next message for a lane.
  func header(lane: Int) -> SoakHeader { SoakHeader(lane: lane, life: life, number: sent[lane]) }

  mutating func noteSent(lane: Int) { sent[lane] += 1 }

  /// The receiver has lost its memory.
  mutating func receiverRestarted() {
    for lane in Lane.all.indices {
      nextBefore[lane] = max(nextBefore[lane], next[lane])
      seenBefore[lane].formUnion(seen[lane])
      seen[lane] = []
      next[lane] = 0
      isFirst[lane] = true
    }
  }

  /// Checks what has come out at the other side; the text says what is wrong.
  mutating func receive(_ message: IncomingMessage, _ header: SoakHeader) throws(SoakFailure) {
    let lane = Lane.all[header.lane]
    let name = "stream \(message.stream), message \(header.number)"
    guard message.stream == lane.stream else { throw SoakFailure("\(name): it belongs to stream \(lane.stream)") }
    guard message.payloadProtocol == .binary else { throw SoakFailure("\(name): another payload protocol") }
    guard header.number < sent[header.lane] else { throw SoakFailure("\(name): it was never sent") }
    guard message.payload == header.payload(largest: largest) else { throw SoakFailure("\(name): its bytes differ") }
    delivered += 1
    guard lane.isOrdered else {
      guard seen[header.lane].insert(header.number).inserted else { throw SoakFailure("\(name): delivered twice") }
      return
    }
    if isFirst[header.lane] {
      isFirst[header.lane] = false
      guard lane.promise != .reliable || header.number <= nextBefore[header.lane] else {
        throw SoakFailure("\(name): after the restart \(nextBefore[header.lane]) is missing")
      }
    } else if lane.promise == .reliable {
      guard header.number == next[header.lane] else {
        throw SoakFailure("\(name): it is the turn of \(next[header.lane])")
      }
    } else {
      guard header.number >= next[header.lane] else { throw SoakFailure("\(name): delivered late or twice") }
    }
    next[header.lane] = header.number + 1
  }

  /// Whether of a stream's reliable messages exactly those have come out that were sent then.
  func isComplete(stream: UInt16, sentThen: [UInt32]) -> Bool {
    Lane.all.indices.allSatisfy { lane in
      Lane.all[lane].stream != stream || Lane.all[lane].promise != .reliable || got(lane) == Int(sentThen[lane])
    }
  }

  /// How much has come out of a lane.
  private func got(_ lane: Int) -> Int {
    Lane.all[lane].isOrdered ? Int(max(next[lane], nextBefore[lane])) : seen[lane].union(seenBefore[lane]).count
  }

  /// What reliable lanes still owe; nil when nothing.
  ///
  /// - Parameter isLossless: nothing was lost or late, so that nothing may have been given up.
  func missing(isLossless: Bool) -> String? {
    for (index, lane) in Lane.all.enumerated() where lane.promise == .reliable || isLossless {
      // Even without loss a lifetime passes while others are sent.
      if lane.promise == .lifetime { continue }
      if got(index) < Int(sent[index]) { return "stream \(lane.stream): \(got(index)) of \(sent[index]) messages" }
    }
    return nil
  }
}

package struct SoakFailure: Error, CustomStringConvertible {
  package let description: String
  init(_ description: String) { self.description = description }
}
