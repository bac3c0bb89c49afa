// OutgoingStream.swift — where the numbering of one outgoing SSRC stands, and which packets went out lately.

/// Follows libsrtp's estimate of the packet index, so that the index can end and a repeat be held against its first.
struct OutgoingStream {
  /// What is known of a packet before it is protected.
  enum Verdict: Equatable { case new(UInt64), repeated(UInt64), tooOld, exhausted }

  /// Packets back from the highest index that can be told apart; libsrtp's window has the same length.
  private let window: Int
  /// The highest index so far; nil before the first RTP packet.
  private(set) var highest: UInt64?
  /// The rollover counter that the next packet shall have, when it does not follow from the last one.
  private var pendingCounter: UInt32?
  /// The start of the tag with which each of the last `window` packets went out; 0 for none. Memory is taken with the
  /// first RTP packet: who only sends reports needs none.
  private var tags: [UInt32] = []

  init(window: Int) { self.window = window }

  /// RFC 3711 §3.3.1, but with rollover counter 0 until the index has passed 2^15, as libsrtp does it.
  func verdict(on sequenceNumber: UInt16) -> Verdict {
    if let pendingCounter { return .new(UInt64(pendingCounter) << 16 | UInt64(sequenceNumber)) }
    guard let highest else { return .new(UInt64(sequenceNumber)) }
    var counter = highest >> 16
    if highest > 0x8000 {
      let distance = Int(sequenceNumber) - Int(UInt16(truncatingIfNeeded: highest))
      if distance > 0x8000, UInt16(truncatingIfNeeded: highest) < 0x8000 {
        counter -= 1
      } else if distance < -0x8000, UInt16(truncatingIfNeeded: highest) >= 0x8000 {
        counter += 1
      }
    }
    guard counter <= UInt64(UInt32.max) else { return .exhausted }
    let index = counter << 16 | UInt64(sequenceNumber)
    if index > highest { return .new(index) }
    guard highest - index < UInt64(window) else { return .tooOld }
    return tags[slot(index)] == 0 ? .new(index) : .repeated(index)
  }

  /// Whether this tag is the one that the packet had the first time. With the same key, index and SSRC that is so when the
  /// packets are the same.
  func matches(_ tag: UInt32, at index: UInt64) -> Bool { tags[slot(index)] == max(1, tag) }

  mutating func note(_ tag: UInt32, at index: UInt64) {
    pendingCounter = nil
    if tags.isEmpty { tags = Array(repeating: 0, count: window) }
    if let highest, index > highest {
      let skipped = min(index - highest - 1, UInt64(window))
      var gap = index - skipped
      while gap < index {
        tags[slot(gap)] = 0
        gap += 1
      }
    }
    tags[slot(index)] = max(1, tag)
    highest = max(highest ?? 0, index)
  }

  /// The next packet has this rollover counter, higher than before.
  mutating func jump(to counter: UInt32) { pendingCounter = counter }

  private func slot(_ index: UInt64) -> Int { Int(index % UInt64(window)) }
}
