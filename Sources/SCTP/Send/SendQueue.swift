// SendQueue.swift — messages from the moment they are handed over until the peer has acknowledged all of them.
//
// First in, first out: without interleaving (RFC 8260) a message in transmission keeps every other waiting, and its
// fragments have consecutive TSNs. So a message owns a run of TSNs, and what is acknowledged leaves at the front.
//
// Invariant: `bufferedTotal` is the sum of all bytes never yet sent, and each stream's `buffered` its share.

import Wire

/// One message on its way.
struct QueuedMessage {
  var payload: [UInt8]
  var payloadProtocol: UInt32
  var stream: UInt16
  /// Given when the first fragment is sent, so that a message given up before leaves no hole.
  var ssn = SSN(rawValue: 0)
  var isOrdered: Bool
  var isAbandoned = false
  /// How many of its bytes have been sent at least once.
  var sentBytes = 0
  /// Retransmissions allowed for each chunk; nil: no limit.
  var maximumRetransmits: UInt16?
  /// When it is given up; nil: never.
  var expiry: Instant?
  /// The numbers (in the ring of outstanding chunks) of its chunks.
  var firstChunk = 0
  var endChunk = 0

  var isFullySent: Bool { sentBytes == payload.count }

  static let vacant = QueuedMessage(payload: [], payloadProtocol: 0, stream: 0, isOrdered: false)
}

struct OutgoingStream {
  /// Bytes never yet sent.
  var buffered = 0
  /// Messages queued or not yet acknowledged.
  var messages: Int32 = 0
  var nextSSN = SSN(rawValue: 0)
  var isResetting = false
}

struct SendQueue: ~Copyable {
  var messages = Ring(vacant: QueuedMessage.vacant)
  /// The first message that has unsent bytes.
  private(set) var next = 0
  private var streams = StreamTable(initial: OutgoingStream())
  private(set) var bufferedTotal = 0
  /// Some stream that waits for its reset has run dry; the association looks which.
  var hasDrainedResettingStream = false

  /// Messages queued or unacknowledged, whatever their size: bounds the bookkeeping beside the bytes (about 100 bytes
  /// each). A limit of 1 MiB is reached first by messages of 32 bytes or more.
  static let maximumMessages = 32_768

  func stream(_ id: UInt16) -> OutgoingStream { streams[id] }

  mutating func append(_ message: consuming OutgoingMessage, now: Instant) {
    var queued = QueuedMessage(
      payload: message.payload, payloadProtocol: message.payloadProtocol.rawValue, stream: message.stream,
      isOrdered: message.isOrdered)
    switch message.reliability {
    case .reliable: break
    case .maximumRetransmits(let count): queued.maximumRetransmits = count
    case .maximumLifetime(let milliseconds): queued.expiry = now + .milliseconds(Int64(milliseconds))
    }
    let size = queued.payload.count
    bufferedTotal += size
    streams[queued.stream].buffered += size
    streams[queued.stream].messages += 1
    messages.append(queued)
  }

  var hasUnsent: Bool { next < messages.end }

  /// `count` bytes of the message `next` have been put into a chunk.
  mutating func noteSent(_ count: Int) {
    messages[next].sentBytes += count
    bufferedTotal -= count
    streams[messages[next].stream].buffered -= count
    if messages[next].isFullySent { next += 1 }
  }

  /// The stream's next number, for a message whose first fragment goes out.
  mutating func takeSSN(_ stream: UInt16) -> SSN {
    let ssn = streams[stream].nextSSN
    streams[stream].nextSSN = ssn.next
    return ssn
  }

  /// Gives a message up: what was not sent of it never will be.
  mutating func abandon(_ number: Int) {
    let unsent = messages[number].payload.count - messages[number].sentBytes
    bufferedTotal -= unsent
    streams[messages[number].stream].buffered -= unsent
    messages[number].isAbandoned = true
    messages[number].payload = []
    messages[number].sentBytes = 0
    if number == next { next += 1 }
  }

  /// Removes the messages at the front whose chunks all lie before `chunk`.
  mutating func removeFinished(before chunk: Int) {
    while !messages.isEmpty, messages.first < next, messages[messages.first].endChunk <= chunk {
      let stream = messages[messages.first].stream
      streams[stream].messages -= 1
      if streams[stream].messages == 0, streams[stream].isResetting { hasDrainedResettingStream = true }
      messages.removeFirst()
    }
  }

  /// - Returns: whether the stream was not resetting before.
  mutating func beginReset(_ stream: UInt16) -> Bool {
    guard !streams[stream].isResetting else { return false }
    streams[stream].isResetting = true
    if streams[stream].messages == 0 { hasDrainedResettingStream = true }
    return true
  }

  mutating func endReset(_ stream: UInt16, performed: Bool) {
    streams[stream].isResetting = false
    if performed { streams[stream].nextSSN = SSN(rawValue: 0) }
  }

  /// Makes all messages as if none had been sent: the peer has restarted and knows nothing (RFC 9260 §5.2.4.1).
  mutating func rewind() {
    var kept: [QueuedMessage] = []
    while !messages.isEmpty {
      var message = messages[messages.first]
      messages.removeFirst()
      guard !message.isAbandoned else { continue }
      message.sentBytes = 0
      kept.append(message)
    }
    streams.removeAll()
    bufferedTotal = 0
    next = messages.end
    for message in kept {
      bufferedTotal += message.payload.count
      streams[message.stream].buffered += message.payload.count
      streams[message.stream].messages += 1
      messages.append(message)
    }
  }

  /// Lets go of messages for streams that the peer, as it turns out, does not have. Nothing has been sent yet.
  mutating func dropMessages(fromStream limit: UInt16) {
    var kept: [QueuedMessage] = []
    while !messages.isEmpty {
      let message = messages[messages.first]
      messages.removeFirst()
      if message.stream < limit {
        kept.append(message)
      } else {
        bufferedTotal -= message.payload.count
        streams[message.stream].buffered -= message.payload.count
        streams[message.stream].messages -= 1
      }
    }
    next = messages.end
    for message in kept { messages.append(message) }
  }

  mutating func removeAll() {
    messages.removeAll()
    next = messages.end
    streams.removeAll()
    bufferedTotal = 0
  }

  /// Checks the invariants; for tests.
  func isConsistent() -> Bool {
    var unsent = 0
    var byStream: [UInt16: (bytes: Int, messages: Int32)] = [:]
    for number in messages.first..<messages.end {
      let rest = messages[number].payload.count - messages[number].sentBytes
      unsent += rest
      byStream[messages[number].stream, default: (0, 0)].bytes += rest
      byStream[messages[number].stream, default: (0, 0)].messages += 1
    }
    return unsent == bufferedTotal
      && byStream.allSatisfy {
        streams[$0.key].buffered == $0.value.bytes && streams[$0.key].messages == $0.value.messages
      }
  }
}
