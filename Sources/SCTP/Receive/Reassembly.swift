// Reassembly.swift — makes messages of fragments, and puts ordered messages in order (RFC 9260 §6.5, §6.6, §6.9).
//
// The fragments of a message have consecutive TSNs. So at the cumulative TSN at most one message is incomplete: it
// grows in `assembly`, which becomes the delivered payload, and a fragment that arrives in order is copied once.
// Fragments beyond a gap are held by TSN. A message that is complete beyond a gap is delivered at once when its stream
// allows, because another stream's loss is none of its business.
//
// Invariant: `heldBytes` is the sum of all fragments, assemblies and waiting messages held here.

import Wire

/// What a peer must not do with fragments; the association is aborted.
package enum ReassemblyViolation: Error, Equatable, Sendable {
  /// A message began inside a message, went on without having begun, or changed its stream.
  case inconsistentFragment
  case messageTooLong

  package var description: String {
    switch self {
    case .inconsistentFragment: "fragments contradict each other"
    case .messageTooLong: "message longer than announced"
    }
  }
}

package struct Reassembly: ~Copyable {
  private struct Stream {
    var nextSSN = SSN(rawValue: 0)
    var isUsed = false
    /// Complete ordered messages that wait for an earlier one.
    var waiting: Int32 = 0
  }

  private struct Fragment {
    var header: DataHeader
    var payload: [UInt8]
    /// Valid in the last fragment of a run that belongs together: where the run begins; and the reverse.
    var runStart: TSN
    var runEnd: TSN
  }

  private struct StreamPosition: Hashable {
    var stream: UInt16
    var ssn: SSN
  }

  private let maximumMessageSize: Int
  private var streams = StreamTable(initial: Stream())
  /// Messages in delivery order.
  package var delivered = MessageQueue()

  /// The message at the cumulative TSN; its first fragment's header says where it belongs.
  private var assembly: [UInt8] = []
  private var assemblyHeader: DataHeader?
  /// After FORWARD-TSN the rest of a skipped message may still come; it is dropped until a message begins.
  private var skipsToBegin = false
  /// How long the last fragmented message was: the next is likely to need as much room.
  private var expectedSize = 0

  private var held: [TSN: Fragment] = [:]
  private var waiting: [StreamPosition: IncomingMessage] = [:]
  package private(set) var heldBytes = 0

  /// Fragments and messages held beyond a gap or for their turn: a window of 1 MiB full of 128-byte messages. It
  /// bounds what bookkeeping can cost beside the bytes.
  package static let maximumHeld = 8_192

  package init(maximumMessageSize: Int) { self.maximumMessageSize = maximumMessageSize }

  package var canHoldMore: Bool { held.count + waiting.count < Self.maximumHeld }

  // MARK: Data

  /// Takes the chunk with the next TSN.
  package mutating func takeInOrder(_ header: DataHeader, _ payload: RawSpan) throws(ReassemblyViolation) {
    if header.flags.isSuperset(of: .whole), assemblyHeader == nil {
      skipsToBegin = false
      guard payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
      heldBytes += payload.byteCount
      complete(header, payload.copyBytes())
      return
    }
    heldBytes += payload.byteCount
    try extend(header, payload)
  }

  /// Takes a chunk beyond a gap; `canHoldMore` has been asked.
  package mutating func takeBeyondGap(_ header: DataHeader, _ payload: RawSpan) throws(ReassemblyViolation) {
    guard payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
    var start = header.tsn
    var end = header.tsn
    let before = header.tsn.reversed(by: 1)
    let after = header.tsn.advanced(by: 1)
    if !held.isEmpty {
      if let left = held[before] {
        guard follows(header, left.header) else { throw .inconsistentFragment }
        if !header.flags.contains(.begin) { start = left.runStart }
      }
      if let right = held[after] {
        guard follows(right.header, header) else { throw .inconsistentFragment }
        if !header.flags.contains(.end) { end = right.runEnd }
      }
    }
    heldBytes += payload.byteCount
    if header.flags.isSuperset(of: .whole) {
      complete(header, payload.copyBytes())
      return
    }
    held[header.tsn] = Fragment(header: header, payload: payload.copyBytes(), runStart: start, runEnd: end)
    held[start]?.runEnd = end
    held[end]?.runStart = start
    guard let first = held[start]?.header, first.flags.contains(.begin), held[end]?.header.flags.contains(.end) == true
    else { return }
    var message: [UInt8] = []
    var size = 0
    for step in 0...end.distance(from: start) { size += held[start.advanced(by: step)]?.payload.count ?? 0 }
    guard size <= maximumMessageSize else { throw .messageTooLong }
    message.reserveCapacity(size)
    for step in 0...end.distance(from: start) {
      if let fragment = held.removeValue(forKey: start.advanced(by: step)) { message += fragment.payload }
    }
    complete(first, message)
  }

  /// The cumulative TSN has moved on to `tsn`, which had arrived before.
  package mutating func advance(to tsn: TSN) throws(ReassemblyViolation) {
    guard let fragment = held.isEmpty ? nil : held.removeValue(forKey: tsn) else {
      // It belonged to a message that was complete beyond the gap; so the one before it must have ended.
      if assemblyHeader != nil { throw .inconsistentFragment }
      return
    }
    try extend(fragment.header, fragment.payload.rawSpan)
  }

  /// Adds a fragment to the message at the cumulative TSN.
  private mutating func extend(_ header: DataHeader, _ payload: RawSpan) throws(ReassemblyViolation) {
    if let first = assemblyHeader {
      guard belongs(header, to: first), !header.flags.contains(.begin) else { throw .inconsistentFragment }
    } else if header.flags.contains(.begin) {
      skipsToBegin = false
      assemblyHeader = header
      assembly.reserveCapacity(max(expectedSize, 2 * payload.byteCount))
    } else {
      guard skipsToBegin else { throw .inconsistentFragment }
      heldBytes -= payload.byteCount
      return
    }
    guard assembly.count + payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
    assembly.append(bytes: payload)
    guard header.flags.contains(.end), let first = assemblyHeader else { return }
    expectedSize = assembly.count
    // Room was reserved after the last message's size; a much shorter one must not keep it.
    if assembly.capacity > 2 * assembly.count { assembly = assembly.rawSpan.copyBytes() }
    var message: [UInt8] = []
    swap(&message, &assembly)
    assemblyHeader = nil
    complete(first, message)
  }

  private func belongs(_ header: DataHeader, to first: DataHeader) -> Bool {
    header.stream == first.stream && header.flags.contains(.unordered) == first.flags.contains(.unordered)
      && (first.flags.contains(.unordered) || header.ssn == first.ssn)
  }

  /// Whether `right`, one TSN after `left`, can be: either the message goes on, or one ends and one begins.
  private func follows(_ right: DataHeader, _ left: DataHeader) -> Bool {
    guard left.flags.contains(.end) == right.flags.contains(.begin) else { return false }
    return left.flags.contains(.end) || belongs(right, to: left)
  }

  /// Delivers a whole message, or keeps it until its turn.
  private mutating func complete(_ header: DataHeader, _ payload: [UInt8]) {
    let message = IncomingMessage(
      stream: header.stream, payloadProtocol: PayloadProtocol(rawValue: header.payloadProtocol), payload: payload)
    if header.flags.contains(.unordered) {
      streams[header.stream].isUsed = true
      return deliver(message)
    }
    let expected = streams[header.stream].nextSSN
    if header.ssn == expected {
      streams[header.stream].nextSSN = expected.next
      streams[header.stream].isUsed = true
      let waits = streams[header.stream].waiting > 0
      deliver(message)
      if waits { deliverWaiting(header.stream) }
    } else if header.ssn.isAfter(expected), waiting.updateValue(message, forKey: position(header)) == nil {
      streams[header.stream].waiting += 1
      streams[header.stream].isUsed = true
    } else {
      // Behind its turn, or twice in one place: only a peer that numbers wrongly gets here.
      heldBytes -= payload.count
    }
  }

  private func position(_ header: DataHeader) -> StreamPosition {
    StreamPosition(stream: header.stream, ssn: header.ssn)
  }

  private mutating func deliver(_ message: consuming IncomingMessage) {
    heldBytes -= message.payload.count
    delivered.append(message)
  }

  private mutating func deliverWaiting(_ stream: UInt16) {
    while streams[stream].waiting > 0 {
      let ssn = streams[stream].nextSSN
      guard let message = waiting.removeValue(forKey: StreamPosition(stream: stream, ssn: ssn)) else { return }
      streams[stream].waiting -= 1
      streams[stream].nextSSN = ssn.next
      deliver(message)
    }
  }

  // MARK: Skipping and resetting

  /// The peer will not send what is missing up to `tsn` (RFC 3758 §3.6).
  package mutating func skip(to tsn: TSN, _ chunk: borrowing ForwardTSNChunk) {
    if assemblyHeader != nil {
      heldBytes -= assembly.count
      assembly = []
      assemblyHeader = nil
    }
    skipsToBegin = true
    if !held.isEmpty {
      for key in held.keys where key.isBeforeOrEqual(tsn) {
        heldBytes -= held.removeValue(forKey: key)?.payload.count ?? 0
      }
      repairRuns(after: tsn)
    }
    guard chunk.skippedCount > 0 else { return }
    var skipped: [UInt16: SSN] = [:]
    var someWait = false
    for i in 0..<chunk.skippedCount {
      let entry = chunk.skipped(i)
      guard !streams[entry.stream].nextSSN.isAfter(entry.ssn) else { continue }
      // Named twice: the furthest counts.
      if let earlier = skipped[entry.stream], earlier.isAfter(entry.ssn) { continue }
      skipped[entry.stream] = entry.ssn
      if streams[entry.stream].waiting > 0 { someWait = true }
    }
    if someWait { deliverSkipped(skipped) }
    for (stream, ssn) in skipped {
      streams[stream].nextSSN = ssn.next
      streams[stream].isUsed = true
      deliverWaiting(stream)
    }
  }

  /// Messages that waited for skipped ones are delivered, in order; one pass over what waits, however long the list is.
  private mutating func deliverSkipped(_ skipped: [UInt16: SSN]) {
    let due = waiting.keys.filter { key in skipped[key.stream].map { !key.ssn.isAfter($0) } ?? false }
    let ordered = due.sorted { a, b in a.stream != b.stream ? a.stream < b.stream : b.ssn.isAfter(a.ssn) }
    for key in ordered {
      guard let message = waiting.removeValue(forKey: key) else { continue }
      streams[key.stream].waiting -= 1
      deliver(message)
    }
  }

  /// A run that lost its first fragments to `skip` begins later now.
  private mutating func repairRuns(after tsn: TSN) {
    let first = tsn.advanced(by: 1)
    guard let end = held[first]?.runEnd ?? runEnd(from: first) else { return }
    held[end]?.runStart = first
    held[first]?.runEnd = end
  }

  private func runEnd(from first: TSN) -> TSN? {
    guard held[first] != nil else { return nil }
    var end = first
    while let next = held[end.advanced(by: 1)], !next.header.flags.contains(.begin) { end = end.advanced(by: 1) }
    return end
  }

  /// The peer has reset these streams of its own, or all when the list is empty: they begin at 0 again (RFC 6525 §5.2.2).
  package mutating func reset(_ list: [UInt16]) {
    if list.isEmpty {
      streams.updateAll { _, stream in stream = Stream() }
      for message in waiting.values { heldBytes -= message.payload.count }
      waiting.removeAll()
      return
    }
    for stream in list {
      if streams[stream].waiting > 0 {
        for key in waiting.keys.filter({ $0.stream == stream }) {
          heldBytes -= waiting.removeValue(forKey: key)?.payload.count ?? 0
        }
      }
      if streams[stream].isUsed { streams[stream] = Stream() }
    }
  }

  /// Lets go of everything that is not whole and in its turn.
  mutating func discardIncomplete() {
    assembly = []
    assemblyHeader = nil
    held.removeAll()
    waiting.removeAll()
    streams.removeAll()
    heldBytes = 0
  }

  /// What `heldBytes` must be; for tests.
  package func countHeldBytes() -> Int {
    assembly.count + held.values.reduce(0) { $0 + $1.payload.count }
      + waiting.values.reduce(0) { $0 + $1.payload.count }
  }
}

extension [UInt8] {
  /// Appends a copy of `source` in one move.
  mutating func append(bytes source: RawSpan) {
    unsafe source.withUnsafeBytes { bytes in
      unsafe bytes.withMemoryRebound(to: UInt8.self) { unsafe append(contentsOf: $0) }
    }
  }
}
