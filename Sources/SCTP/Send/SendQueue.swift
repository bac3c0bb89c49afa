// SendQueue.swift — messages from the moment they are handed over until the peer has acknowledged all of them.
//
// A message keeps its place (an index) as long as any of its chunks is outstanding; those that have unsent bytes are also
// linked, oldest first, in the list of their stream. Which stream goes next is the scheduler's to say. Without interleaving
// (RFC 8260) a message that has begun keeps every other waiting.
//
// Invariants: `bufferedTotal` is the sum of all bytes never yet sent, and each stream's `buffered` its share; the scheduler
// knows every stream whose list is not empty, and its current stream is one of them.

import Wire

/// One message on its way.
struct QueuedMessage {
  var payload: [UInt8]
  var payloadProtocol: UInt32
  var stream: UInt16
  var isOrdered: Bool
  var isAbandoned = false
  /// SSN or MID; given when the first fragment is sent, so that a message given up before leaves no hole.
  var number: UInt32 = 0
  /// How many of its bytes have been sent at least once, and in how many fragments.
  var sentBytes = 0
  var sentFragments: UInt32 = 0
  /// Its chunks that are not cumulatively acknowledged.
  var outstandingChunks: Int32 = 0
  /// Retransmissions allowed for each chunk; nil: no limit.
  var maximumRetransmits: UInt16?
  /// When it is given up; nil: never.
  var expiry: Instant?
  /// The number (in the ring of outstanding chunks) of its first chunk, and that after its last one so far.
  var firstChunk = 0
  var endChunk = 0
  /// Counts the messages of the association.
  var arrival: UInt64
  /// The next one in the stream's list.
  var next: Int32 = -1

  var isFullySent: Bool { sentBytes == payload.count }

  static let vacant = QueuedMessage(payload: [], payloadProtocol: 0, stream: 0, isOrdered: false, arrival: 0)
}

struct OutgoingStream {
  /// Bytes never yet sent.
  var buffered = 0
  /// Messages queued or not yet acknowledged.
  var messages: Int32 = 0
  /// The numbers of the next messages: with DATA only the first is used, as SSN.
  var nextOrdered: UInt32 = 0
  var nextUnordered: UInt32 = 0
  var isResetting = false
  var weight: UInt16 = SendQueue.standardWeight
  /// The list of its messages with unsent bytes.
  var first: Int32 = -1
  var last: Int32 = -1
  /// The scheduler knows it. So it may, for a while, when its last message was given up before its turn.
  var isScheduled = false
  /// Where the scheduler's last service ended.
  var tag: UInt64 = 0
}

struct SendQueue: ~Copyable {
  private(set) var messages: [QueuedMessage] = []
  private var vacancies: [Int32] = []
  private var streams = StreamTable(initial: OutgoingStream())
  private var scheduler: StreamScheduler
  private var arrivals: UInt64 = 0
  private(set) var bufferedTotal = 0
  /// Messages queued or unacknowledged.
  private(set) var messageCount = 0
  /// Some stream that waits for its reset has run dry; the association looks which.
  var hasDrainedResettingStream = false
  /// Fragments of several messages may alternate (RFC 8260).
  var interleaves = false

  /// Messages queued or unacknowledged, whatever their size: bounds the bookkeeping beside the bytes (about 100 bytes
  /// each). A limit of 1 MiB is reached first by messages of 32 bytes or more.
  static let maximumMessages = 32_768
  /// RFC 8831 §6.4: a normal priority.
  static let standardWeight: UInt16 = 256

  init(scheduling: StreamScheduling) { scheduler = StreamScheduler(policy: scheduling) }

  func stream(_ id: UInt16) -> OutgoingStream { streams[id] }

  mutating func append(_ message: consuming OutgoingMessage, now: Instant) {
    arrivals &+= 1
    var queued = QueuedMessage(
      payload: message.payload, payloadProtocol: message.payloadProtocol.rawValue, stream: message.stream,
      isOrdered: message.isOrdered, arrival: arrivals)
    switch message.reliability {
    case .reliable: break
    case .maximumRetransmits(let count): queued.maximumRetransmits = count
    case .maximumLifetime(let milliseconds): queued.expiry = now + .milliseconds(Int64(milliseconds))
    }
    streams[queued.stream].weight = max(1, message.priority)
    enter(queued)
  }

  private mutating func enter(_ message: consuming QueuedMessage) {
    let size = message.payload.count
    let id = message.stream
    let arrival = message.arrival
    bufferedTotal += size
    messageCount += 1
    let place: Int32
    if let vacancy = vacancies.popLast() {
      place = vacancy
      messages[Int(place)] = message
    } else {
      place = Int32(messages.count)
      messages.append(message)
    }
    streams[id].buffered += size
    streams[id].messages += 1
    if streams[id].first < 0 {
      streams[id].first = place
      if !streams[id].isScheduled {
        streams[id].isScheduled = true
        scheduler.activate(id, lastTag: streams[id].tag, arrival: arrival)
      }
    } else {
      messages[Int(streams[id].last)].next = place
    }
    streams[id].last = place
  }

  var hasUnsent: Bool { !scheduler.isEmpty }

  /// The message whose turn it is.
  var next: Int? {
    // Not by `map`: its closure would hold a copy of the queue, for every packet.
    guard let stream = scheduler.current else { return nil }
    return Int(streams[stream].first)
  }

  // MARK: Reading and noting what happens to a message

  @inline(__always)
  subscript(message: Int) -> QueuedMessage {
    _read { yield messages[message] }
    _modify { yield &messages[message] }
  }

  /// The first fragment of the message goes out: it gets its number in the stream.
  mutating func begin(_ message: Int, chunk: Int) {
    messages[message].firstChunk = chunk
    let stream = messages[message].stream
    if messages[message].isOrdered {
      messages[message].number = streams[stream].nextOrdered
      streams[stream].nextOrdered &+= 1
    } else if interleaves {
      messages[message].number = streams[stream].nextUnordered
      streams[stream].nextUnordered &+= 1
    }
  }

  /// `count` bytes of the message whose turn it is have been put into the chunk before `endChunk`.
  mutating func noteSent(_ message: Int, _ count: Int, endChunk: Int) {
    messages[message].sentBytes += count
    messages[message].sentFragments &+= 1
    messages[message].outstandingChunks += 1
    messages[message].endChunk = endChunk
    bufferedTotal -= count
    let stream = messages[message].stream
    streams[stream].buffered -= count
    let isFinished = messages[message].isFullySent
    if isFinished { unlinkFirst(of: stream) }
    let following = streams[stream].first
    streams[stream].tag = scheduler.served(
      count, weight: streams[stream].weight, arrival: following < 0 ? nil : messages[Int(following)].arrival,
      mayChange: isFinished || interleaves)
    if following < 0 { streams[stream].isScheduled = false }
    passOverEmptyStreams()
  }

  private mutating func passOverEmptyStreams() {
    while let stream = scheduler.current, streams[stream].first < 0 {
      streams[stream].isScheduled = false
      scheduler.drop()
    }
  }

  private mutating func unlinkFirst(of stream: UInt16) {
    let place = Int(streams[stream].first)
    streams[stream].first = messages[place].next
    messages[place].next = -1
    if streams[stream].first < 0 { streams[stream].last = -1 }
  }

  /// Gives a message up: what was not sent of it never will be.
  mutating func abandon(_ message: Int) {
    let stream = messages[message].stream
    let unsent = messages[message].payload.count - messages[message].sentBytes
    let isQueued = unsent > 0
    bufferedTotal -= unsent
    streams[stream].buffered -= unsent
    messages[message].isAbandoned = true
    messages[message].payload = []
    messages[message].sentBytes = 0
    guard isQueued else { return }
    precondition(Int(streams[stream].first) == message, "what waits behind another message has no chunk that is lost")
    unlinkFirst(of: stream)
    passOverEmptyStreams()
  }

  /// A chunk stands for the unsent rest of a message that was given up.
  mutating func noteOutstanding(_ message: Int) { messages[message].outstandingChunks += 1 }

  /// One chunk of the message has been acknowledged cumulatively; the last one frees its place.
  mutating func noteSettled(_ message: Int) {
    messages[message].outstandingChunks -= 1
    releaseIfFinished(message)
  }

  /// Frees the place of a message of which nothing is unsent or outstanding.
  mutating func releaseIfFinished(_ message: Int) {
    guard messages[message].outstandingChunks == 0, messages[message].isFullySent else { return }
    let stream = messages[message].stream
    streams[stream].messages -= 1
    if streams[stream].messages == 0, streams[stream].isResetting { hasDrainedResettingStream = true }
    messages[message] = .vacant
    vacancies.append(Int32(message))
    messageCount -= 1
  }

  // MARK: Streams

  /// - Returns: whether the stream was not resetting before.
  mutating func beginReset(_ stream: UInt16) -> Bool {
    guard !streams[stream].isResetting else { return false }
    streams[stream].isResetting = true
    if streams[stream].messages == 0 { hasDrainedResettingStream = true }
    return true
  }

  mutating func endReset(_ stream: UInt16, performed: Bool) {
    streams[stream].isResetting = false
    guard performed else { return }
    streams[stream].nextOrdered = 0
    streams[stream].nextUnordered = 0
    streams[stream].weight = Self.standardWeight
  }

  // MARK: Whole tables

  /// Makes all messages as if none had been sent: the peer knows of none.
  ///
  /// - Parameter keepsResets: false when the peer has restarted, which has reset all streams (RFC 9260 §5.2.4.1).
  mutating func rewind(keepsResets: Bool) { rebuild(keepsResets) { !$0.isAbandoned } }

  /// Lets go of messages for streams that the peer, as it turns out, does not have. Nothing has been sent yet.
  mutating func dropMessages(fromStream limit: UInt16) { rebuild(true) { $0.stream < limit } }

  private mutating func rebuild(_ keepsResets: Bool, keeping isKept: (QueuedMessage) -> Bool) {
    var kept: [QueuedMessage] = []
    for message in messages where message.arrival != 0 && isKept(message) { kept.append(message) }
    kept.sort { $0.arrival < $1.arrival }
    var weights: [(UInt16, UInt16)] = []
    var resetting: [UInt16] = []
    streams.updateAll { id, stream in
      if stream.weight != Self.standardWeight { weights.append((id, stream.weight)) }
      if keepsResets, stream.isResetting { resetting.append(id) }
    }
    removeAll()
    for (id, weight) in weights { streams[id].weight = weight }
    for id in resetting { streams[id].isResetting = true }
    for var message in kept {
      message.sentBytes = 0
      message.sentFragments = 0
      message.outstandingChunks = 0
      message.next = -1
      enter(message)
    }
    // What a stream waited for may be gone.
    if resetting.contains(where: { streams[$0].messages == 0 }) { hasDrainedResettingStream = true }
  }

  mutating func removeAll() {
    messages.removeAll()
    vacancies.removeAll()
    streams.removeAll()
    scheduler.removeAll()
    bufferedTotal = 0
    messageCount = 0
  }

  /// Checks the invariants; for tests.
  func isConsistent() -> Bool {
    var unsent = 0
    var count = 0
    var byStream: [UInt16: (bytes: Int, messages: Int32)] = [:]
    for message in messages where message.arrival != 0 {
      let rest = message.payload.count - message.sentBytes
      unsent += rest
      count += 1
      byStream[message.stream, default: (0, 0)].bytes += rest
      byStream[message.stream, default: (0, 0)].messages += 1
    }
    return unsent == bufferedTotal && count == messageCount && (unsent > 0) == hasUnsent
      && byStream.allSatisfy {
        streams[$0.key].buffered == $0.value.bytes && streams[$0.key].messages == $0.value.messages
      }
  }
}
