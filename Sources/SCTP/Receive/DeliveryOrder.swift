// DeliveryOrder.swift — puts ordered messages in order (RFC 9260 §6.6, RFC 8260 §2.2), and holds what can be delivered.
//
// DATA numbers the messages of a stream with 16 bits and I-DATA with 32; here all have 32, and a number of 16 bits is
// the nearest one from the next expected on. A number behind the next is one that was delivered or skipped.
//
// Invariant: what waits in a stream is after its next number, by less than half of the circle; so the order among
// waiting messages is the same wherever on the circle they are.

import DequeModule

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

/// Whole messages of one stream that wait for an earlier one: a binary heap, so that skipping costs by what is removed.
private struct WaitingMessages {
  struct Element {
    var number: UInt32
    var message: IncomingMessage
  }

  private var heap: [Element] = []

  var isEmpty: Bool { heap.isEmpty }
  var count: Int { heap.count }
  var first: UInt32? { heap.first?.number }
  var byteCount: Int { heap.reduce(0) { $0 + $1.message.payload.count } }

  mutating func insert(_ number: UInt32, _ message: consuming IncomingMessage) {
    heap.append(Element(number: number, message: message))
    var place = heap.count - 1
    while place > 0, isBefore(place, (place - 1) / 2) {
      heap.swapAt(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  mutating func removeFirst() -> IncomingMessage {
    heap.swapAt(0, heap.count - 1)
    let first = heap.removeLast()
    var place = 0
    while true {
      var least = 2 * place + 1
      guard least < heap.count else { return first.message }
      if least + 1 < heap.count, isBefore(least + 1, least) { least += 1 }
      guard isBefore(least, place) else { return first.message }
      heap.swapAt(least, place)
      place = least
    }
  }

  private func isBefore(_ a: Int, _ b: Int) -> Bool {
    Int32(bitPattern: heap[a].number &- heap[b].number) < 0
  }
}

struct DeliveryOrder {
  private struct Stream {
    /// The number of the ordered message that is delivered next.
    var next: UInt32 = 0
    var hasWaiting = false
  }

  /// Where the numbers of every stream begin: 0, but for tests of what happens at their end.
  private let firstNumber: UInt32
  private var streams: StreamTable<Stream>
  private var waiting: [UInt16: WaitingMessages] = [:]
  private(set) var waitingCount = 0
  private(set) var waitingBytes = 0
  var delivered = MessageQueue()

  init(firstNumber: UInt32) {
    self.firstNumber = firstNumber
    streams = StreamTable(initial: Stream(next: firstNumber))
  }

  // MARK: Numbers

  /// The number on the circle of 2^32 that `ssn` stands for; nil: it is behind.
  func number(_ ssn: SSN, stream: UInt16) -> UInt32? {
    let next = streams[stream].next
    let ahead = ssn.rawValue &- UInt16(truncatingIfNeeded: next)
    return ahead < 0x8000 ? next &+ UInt32(ahead) : nil
  }

  /// Whether the ordered message was delivered or skipped.
  func isBehind(_ mid: MID, stream: UInt16) -> Bool { mid.rawValue &- streams[stream].next >= 0x8000_0000 }

  // MARK: Messages

  mutating func deliverUnordered(_ message: consuming IncomingMessage) { delivered.append(message) }

  /// Delivers an ordered message that is whole, or keeps it for its turn.
  mutating func take(_ number: UInt32, _ message: consuming IncomingMessage) {
    let stream = message.stream
    let state = streams[stream]
    if number == state.next {
      streams[stream].next = number &+ 1
      delivered.append(message)
      if state.hasWaiting { deliverWaiting(stream) }
    } else if number &- state.next < 0x8000_0000 {
      waitingCount += 1
      waitingBytes += message.payload.count
      waiting[stream, default: WaitingMessages()].insert(number, message)
      if !state.hasWaiting { streams[stream].hasWaiting = true }
    }
    // Else it is behind its turn: only a peer that numbers wrongly gets here.
  }

  /// Delivers what has its turn now; a message that comes twice under one number comes to nothing the second time.
  private mutating func deliverWaiting(_ stream: UInt16) {
    var next = streams[stream].next
    while let first = waiting[stream]?.first, Int32(bitPattern: first &- next) <= 0 {
      guard let message = waiting[stream]?.removeFirst() else { break }
      waitingCount -= 1
      waitingBytes -= message.payload.count
      guard first == next else { continue }
      next &+= 1
      delivered.append(message)
    }
    streams[stream].next = next
    endWaiting(stream)
  }

  private mutating func endWaiting(_ stream: UInt16) {
    guard waiting[stream]?.isEmpty ?? true else { return }
    waiting.removeValue(forKey: stream)
    streams[stream].hasWaiting = false
  }

  // MARK: Skipping and resetting

  /// No message up to `number` need be waited for; those that are whole are delivered, in order (RFC 3758 §3.6).
  mutating func skip(stream: UInt16, to number: UInt32) {
    let state = streams[stream]
    guard number &- state.next < 0x8000_0000 else { return }
    if state.hasWaiting {
      var last: UInt32?
      while let first = waiting[stream]?.first, Int32(bitPattern: first &- number) <= 0 {
        guard let message = waiting[stream]?.removeFirst() else { break }
        waitingCount -= 1
        waitingBytes -= message.payload.count
        if first != last { delivered.append(message) }
        last = first
      }
    }
    streams[stream].next = number &+ 1
    if state.hasWaiting { deliverWaiting(stream) }
  }

  /// The peer has reset these streams, or all when the list is empty: their numbers begin anew (RFC 6525 §5.2.2).
  mutating func reset(_ list: [UInt16]) {
    guard !list.isEmpty else {
      waiting.removeAll()
      waitingCount = 0
      waitingBytes = 0
      streams.updateAll { [firstNumber] _, stream in stream = Stream(next: firstNumber) }
      return
    }
    for stream in list {
      if let messages = waiting.removeValue(forKey: stream) {
        waitingCount -= messages.count
        waitingBytes -= messages.byteCount
      }
      // A stream that was never used has no entry, and needs none.
      let state = streams[stream]
      if state.next != firstNumber || state.hasWaiting { streams[stream] = Stream(next: firstNumber) }
    }
  }

  mutating func discardWaiting() {
    waiting.removeAll()
    waitingCount = 0
    waitingBytes = 0
    streams.removeAll()
  }

  /// What `waitingBytes` and `waitingCount` must be; for tests.
  func countWaiting() -> (bytes: Int, messages: Int) {
    waiting.values.reduce((0, 0)) { ($0.0 + $1.byteCount, $0.1 + $1.count) }
  }
}
