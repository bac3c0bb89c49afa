// InterleavedMessages.swift — messages of which some fragments have arrived, by I-DATA (RFC 8260 §2.2).
//
// A message is named by stream, U bit and MID; its fragments count from 0, and say so. What has arrived without a hole
// from 0 on grows in one buffer, which becomes the delivered payload. Fragments beyond a hole of their message lie in
// runs, sorted by number, that grow on the right; they move over when the hole has closed.
//
// Invariants: `byteCount` and `runCount` are sums over the messages; runs of a message do not touch its beginning nor,
// where one lies left of the other, overlap; no message here is whole.

import Wire

struct InterleavedMessages {
  struct Key: Hashable {
    var rawValue: UInt64

    init(stream: UInt16, isUnordered: Bool, mid: MID) {
      rawValue = UInt64(stream) << 33 | (isUnordered ? 1 << 32 : 0) | UInt64(mid.rawValue)
    }
    init(_ header: InterleavedDataHeader) {
      self.init(stream: header.stream, isUnordered: header.flags.contains(.unordered), mid: header.mid)
    }
    fileprivate init(free: Void) { rawValue = .max }

    var mid: MID { MID(rawValue: UInt32(truncatingIfNeeded: rawValue)) }
    var stream: UInt16 { UInt16(truncatingIfNeeded: rawValue >> 33) }
    /// Stream and U bit.
    var sequence: UInt64 { rawValue >> 32 }
    /// Of no message: there are 16 bits of stream above the U bit, and no more.
    fileprivate static let free = Key(free: ())
  }

  private struct Run {
    var first: UInt32
    var last: UInt32
    var bytes: [UInt8]
  }

  private struct Message: Vacatable {
    var payloadProtocol: UInt32 = 0
    /// How many fragments have arrived without a hole from the first on.
    var next: UInt32 = 0
    /// The number of the last fragment, once it has arrived.
    var last: UInt32?
    var size = 0
    var beginning: [UInt8] = []
    var runs: [Run] = []
    var isVacant = false

    static var vacant: Message {
      var message = Message()
      message.isVacant = true
      return message
    }
  }

  private var messages = SlotPool<Message>()
  /// The key of each place, for passing over all quickly; free places have `Key.free`.
  private var keys: [Key] = []
  private var places: [Key: Int32] = [:]
  /// The message that the last fragment was of: the next mostly is, too.
  private var latest: (key: Key, place: Int)?
  /// How long the last message of several fragments was: the next is likely to need as much room.
  private var expectedSize = 0

  private(set) var byteCount = 0
  private(set) var runCount = 0
  var count: Int { messages.count }

  /// Messages that may be incomplete at once: 16 MiB full of messages of 2 KiB. Each skipped message costs a pass over
  /// the keys, 8 bytes each.
  static let maximumMessages = 8_192
  /// Holes in one message: more than a message of 262,144 bytes has in fragments of 256 bytes, each second one lost.
  static let maximumRuns = 512
  /// Room for a whole message is made ahead only while all incomplete ones together need no more: else messages of which
  /// a byte each has come could take any amount of it.
  private static let maximumAhead = 2 << 20

  // MARK: In

  func isHeld(_ key: Key) -> Bool { place(of: key) != nil }

  /// Whether a fragment finds a place: in a message that is known, or beside fewer than `maximumMessages`; and where it
  /// opens a new hole, beside fewer than `maximumRuns`.
  func canTake(_ header: InterleavedDataHeader) -> Bool {
    guard let place = place(of: Key(header)) else { return count < Self.maximumMessages }
    if header.fragment == messages[place].next || messages[place].runs.count < Self.maximumRuns { return true }
    let position = position(of: header.fragment, in: messages[place].runs)
    return position > 0 && messages[place].runs[position - 1].last &+ 1 == header.fragment
  }

  /// Takes a fragment that is not a whole message.
  ///
  /// - Returns: the payload and its protocol, when its message is whole now.
  mutating func insert(
    _ header: InterleavedDataHeader, _ payload: RawSpan, maximumMessageSize: Int
  ) throws(ReassemblyViolation) -> (payloadProtocol: UInt32, payload: [UInt8])? {
    let key = Key(header)
    let place = place(of: key) ?? add(key)
    latest = (key, place)
    let fragment = header.fragment
    guard header.flags.contains(.begin) == (fragment == 0) else { throw .inconsistentFragment }
    if let last = messages[place].last, fragment > last { throw .inconsistentFragment }
    guard fragment >= messages[place].next else { throw .inconsistentFragment }
    guard messages[place].size + payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
    if header.flags.contains(.end) {
      let highest = messages[place].runs.last?.last ?? 0
      guard messages[place].last == nil, highest <= fragment else { throw .inconsistentFragment }
      messages[place].last = fragment
    }
    if fragment == 0 { messages[place].payloadProtocol = header.payloadProtocol }

    if fragment != messages[place].next {
      try insertBeyondHole(fragment, payload, place)
      messages[place].size += payload.byteCount
      byteCount += payload.byteCount
      return nil
    }
    if fragment == 0, count * expectedSize <= Self.maximumAhead {
      messages[place].beginning.reserveCapacity(max(expectedSize, 2 * payload.byteCount))
    }
    messages[place].beginning.append(bytes: payload)
    messages[place].next = fragment &+ 1
    messages[place].size += payload.byteCount
    byteCount += payload.byteCount
    if !messages[place].runs.isEmpty { try closeHole(place) }
    guard let last = messages[place].last, messages[place].next == last &+ 1 else { return nil }
    var message = remove(place, key)
    expectedSize = message.size
    // Room was made after the last message's size; a much shorter one must not keep it.
    if message.beginning.capacity > 2 * message.size { message.beginning = message.beginning.rawSpan.copyBytes() }
    return (message.payloadProtocol, message.beginning)
  }

  private mutating func insertBeyondHole(
    _ fragment: UInt32, _ payload: RawSpan, _ place: Int
  ) throws(ReassemblyViolation) {
    let position = position(of: fragment, in: messages[place].runs)
    if position < messages[place].runs.count {
      guard messages[place].runs[position].first > fragment else { throw .inconsistentFragment }
    }
    if position > 0 {
      let left = messages[place].runs[position - 1].last
      guard left < fragment else { throw .inconsistentFragment }
      if left + 1 == fragment {
        messages[place].runs[position - 1].bytes.append(bytes: payload)
        messages[place].runs[position - 1].last = fragment
        return
      }
    }
    messages[place].runs.insert(Run(first: fragment, last: fragment, bytes: payload.copyBytes()), at: position)
    runCount += 1
  }

  /// The place of the first run that begins at `fragment` or after it.
  private func position(of fragment: UInt32, in runs: [Run]) -> Int {
    guard let last = runs.last, last.first >= fragment else { return runs.count }
    var low = 0
    var high = runs.count
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].first < fragment { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Moves over the runs that follow the beginning now.
  private mutating func closeHole(_ place: Int) throws(ReassemblyViolation) {
    var moved = 0
    for run in messages[place].runs {
      guard run.first <= messages[place].next else { break }
      guard run.first == messages[place].next else { throw .inconsistentFragment }
      messages[place].beginning.append(bytes: run.bytes.rawSpan)
      messages[place].next = run.last &+ 1
      moved += 1
    }
    guard moved > 0 else { return }
    messages[place].runs.removeFirst(moved)
    runCount -= moved
  }

  // MARK: Out

  /// Lets go of the messages of a stream up to `mid` (RFC 8260 §2.3.1).
  mutating func skip(stream: UInt16, isUnordered: Bool, to mid: MID) {
    guard count > 0 else { return }
    let sequence = Key(stream: stream, isUnordered: isUnordered, mid: mid).sequence
    for place in keys.indices where keys[place].sequence == sequence && !keys[place].mid.isAfter(mid) {
      _ = remove(place, keys[place])
      if count == 0 { return }
    }
  }

  /// Lets go of the messages of streams that were reset; of all when the list is empty.
  mutating func reset(_ list: [UInt16]) {
    guard count > 0 else { return }
    if list.isEmpty { return removeAll() }
    let streams = Set(list)
    for place in keys.indices where keys[place] != .free && streams.contains(keys[place].stream) {
      _ = remove(place, keys[place])
      if count == 0 { return }
    }
  }

  /// Lets go of messages with holes, when no chunk is missing any more: they are what still came of messages that had
  /// been skipped.
  mutating func dropHoles() {
    for place in keys.indices where keys[place] != .free && !messages[place].runs.isEmpty {
      _ = remove(place, keys[place])
      if runCount == 0 { return }
    }
  }

  mutating func removeAll() { self = InterleavedMessages() }

  private mutating func add(_ key: Key) -> Int {
    let place = messages.insert(Message())
    if place < keys.count { keys[place] = key } else { keys.append(key) }
    places[key] = Int32(place)
    return place
  }

  private mutating func remove(_ place: Int, _ key: Key) -> Message {
    let message = messages.remove(place)
    byteCount -= message.size
    runCount -= message.runs.count
    places.removeValue(forKey: key)
    keys[place] = .free
    if messages.places.isEmpty { keys.removeAll() }
    latest = nil
    return message
  }

  private func place(of key: Key) -> Int? {
    if let latest, latest.key == key { return latest.place }
    guard count > 0 else { return nil }
    return places[key].map { Int($0) }
  }

  /// What `byteCount` and `runCount` must be; for tests.
  func countHeld() -> (bytes: Int, runs: Int) {
    messages.places.reduce((0, 0)) { sum, place in
      let runs = messages[place].runs
      let bytes = messages[place].beginning.count + runs.reduce(0) { $0 + $1.bytes.count }
      return (sum.0 + bytes, sum.1 + runs.count)
    }
  }
}
