// StreamScheduler.swift — whose turn it is among the streams that have something to send (RFC 8260 §3).
//
// Start-time fair queuing: every stream carries a start tag, the smallest is served, and what is served moves the tag on by
// its bytes over the stream's weight. First come, first served and round robin are the same machine with other tags.
// The stream that is being served stands outside the heap, so that a single busy stream costs nothing.

import HeapModule

struct StreamScheduler {
  private struct Entry: Comparable {
    var tag: UInt64
    /// Equal tags go in the order in which they were entered.
    var turn: UInt64
    var stream: UInt16
    static func < (a: Entry, b: Entry) -> Bool { a.tag != b.tag ? a.tag < b.tag : a.turn < b.turn }
  }

  private let policy: StreamScheduling
  private var waiting = Heap<Entry>()
  /// Whose turn it is.
  private(set) var current: UInt16?
  private var currentTag: UInt64 = 0
  private var turns: UInt64 = 0

  /// One byte of a stream with weight 1 moves a tag by so much: fine enough for one byte over the largest weight.
  private static let scale: UInt64 = 1 << 16

  init(policy: StreamScheduling) { self.policy = policy }

  var isEmpty: Bool { current == nil }

  /// A stream has something to send again.
  ///
  /// - Parameters:
  ///   - lastTag: where the stream's last service ended.
  ///   - arrival: the number of its first message, for first come, first served.
  mutating func activate(_ stream: UInt16, lastTag: UInt64, arrival: UInt64) {
    let tag: UInt64 =
      switch policy {
      case .firstComeFirstServed: arrival
      case .roundRobin: currentTag &+ 1
      case .weightedFair: max(lastTag, currentTag)
      }
    guard current != nil else {
      current = stream
      currentTag = tag
      return
    }
    waiting.insert(makeEntry(tag, stream))
  }

  /// The current stream has been served.
  ///
  /// - Parameters:
  ///   - arrival: the number of its next message; nil when it has none.
  ///   - mayChange: false while a message must not be interrupted.
  /// - Returns: the stream's tag, to be given back at its next activation.
  mutating func served(_ byteCount: Int, weight: UInt16, arrival: UInt64?, mayChange: Bool) -> UInt64 {
    guard let stream = current else { return 0 }
    let tag: UInt64 =
      switch policy {
      case .firstComeFirstServed: arrival ?? currentTag
      case .roundRobin: mayChange ? currentTag &+ 1 : currentTag
      case .weightedFair: currentTag &+ UInt64(byteCount) &* Self.scale / UInt64(max(1, weight))
      }
    guard arrival != nil else {
      takeNext()
      return tag
    }
    if mayChange, let first = waiting.min, first.tag <= tag {
      waiting.insert(makeEntry(tag, stream))
      takeNext()
    } else {
      currentTag = tag
    }
    return tag
  }

  /// The current stream has nothing to send any more, although it was not served.
  mutating func drop() { takeNext() }

  private mutating func takeNext() {
    let next = waiting.popMin()
    current = next?.stream
    // When nothing waits the tag stays: the virtual time does not go back.
    if let next { currentTag = next.tag }
  }

  private mutating func makeEntry(_ tag: UInt64, _ stream: UInt16) -> Entry {
    turns &+= 1
    return Entry(tag: tag, turn: turns, stream: stream)
  }

  mutating func removeAll() {
    waiting = Heap()
    current = nil
  }
}
