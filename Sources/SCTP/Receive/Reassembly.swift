// Reassembly.swift — makes messages of fragments (RFC 9260 §6.9; RFC 8260 §2.2), and hands them on in order.
//
// DATA: the fragments of a message have consecutive TSNs. So at the cumulative TSN at most one message is incomplete: it
// grows in `assembly`, which becomes the delivered payload, and a fragment that arrives in order is copied once.
// Fragments beyond a gap are held in runs. I-DATA: fragments say where they belong, whatever their TSN.
//
// A message that is complete beyond a gap is delivered at once when its stream allows, because another stream's loss is
// none of its business.
//
// Invariant: `heldBytes` is the sum of all fragments, assemblies and waiting messages held here.

import Wire

/// What a peer must not do with fragments; the association is aborted.
package enum ReassemblyViolation: Error, Equatable, Sendable {
  /// A message began inside a message, went on without having begun, changed its stream, or has a fragment twice.
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
  private let maximumMessageSize: Int
  private var order: DeliveryOrder
  /// DATA beyond a gap.
  private var runs = FragmentRuns()
  /// I-DATA.
  private var interleaved = InterleavedMessages()

  /// The message of DATA at the cumulative TSN; its first fragment's header says where it belongs.
  private var assembly: [UInt8] = []
  private var assemblyHeader: DataHeader?
  /// After FORWARD-TSN the rest of a skipped message may still come; it is dropped until a message begins.
  private var skipsToBegin = false
  /// How long the last fragmented message was: the next is likely to need as much room.
  private var expectedSize = 0

  /// What holding something costs beside its bytes, counted against the window: places, headers, the buffers' own
  /// bookkeeping. Without it a window full of single bytes would cost a hundred times what it says.
  package static let holdingCost = 128

  /// - Parameter firstNumber: where the numbers of messages begin; other than 0 only for tests.
  package init(maximumMessageSize: Int, firstNumber: UInt32 = 0) {
    self.maximumMessageSize = maximumMessageSize
    order = DeliveryOrder(firstNumber: firstNumber)
  }

  package var heldBytes: Int { assembly.count + runs.byteCount + interleaved.byteCount + order.waitingBytes }
  /// Runs, incomplete messages and waiting messages: each costs `holdingCost`.
  package var heldCount: Int { runs.count + interleaved.count + interleaved.runCount + order.waitingCount }
  /// Bytes of incomplete messages of I-DATA: what only the peer can make whole.
  package var interleavedBytes: Int { interleaved.byteCount }
  package var incompleteMessages: Int { interleaved.count }

  package var deliveredBytes: Int { order.delivered.byteCount }
  package var deliveredCount: Int { order.delivered.count }
  package mutating func popMessage() -> IncomingMessage? { order.delivered.popFirst() }

  // MARK: DATA

  /// Takes the chunk with the next TSN.
  package mutating func takeInOrder(_ header: DataHeader, _ payload: RawSpan) throws(ReassemblyViolation) {
    guard header.flags.isSuperset(of: .whole), assemblyHeader == nil else {
      return try extend(header, ends: header.flags.contains(.end), payload)
    }
    skipsToBegin = false
    guard payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
    complete(header, payload.copyBytes())
  }

  /// Takes a chunk beyond a gap.
  ///
  /// - Parameter base: the cumulative TSN.
  package mutating func takeBeyondGap(
    _ header: DataHeader, _ payload: RawSpan, base: TSN
  ) throws(ReassemblyViolation) {
    if header.flags.isSuperset(of: .whole) {
      guard payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
      try runs.checkWhole(header)
      complete(header, payload.copyBytes())
    } else if let whole = try runs.insert(header, payload, base: base, maximumMessageSize: maximumMessageSize) {
      complete(whole.header, whole.bytes)
    }
  }

  /// The cumulative TSN has moved on through `last`, over chunks that had arrived before.
  package mutating func advance(from first: TSN, through last: TSN) throws(ReassemblyViolation) {
    var tsn = first
    while !tsn.isAfter(last) {
      if runs.isEmpty, assemblyHeader == nil { return }
      if let run = runs.take(startingAt: tsn) {
        try extend(run.header, ends: run.ends, run.bytes)
        tsn = run.last.advanced(by: 1)
      } else {
        // It belonged to a message that was complete beyond the gap; so the one before it must have ended.
        guard assemblyHeader == nil else { throw .inconsistentFragment }
        tsn = tsn.advanced(by: 1)
      }
    }
  }

  /// Adds a fragment to the message at the cumulative TSN.
  private mutating func extend(
    _ header: DataHeader, ends: Bool, _ payload: RawSpan
  ) throws(ReassemblyViolation) {
    guard try prepare(header, byteCount: payload.byteCount) else { return }
    if assembly.isEmpty { assembly.reserveCapacity(max(expectedSize, 2 * payload.byteCount)) }
    assembly.append(bytes: payload)
    if ends { completeAssembly() }
  }

  /// The same with a run of fragments, whose buffer is taken over where it begins the message.
  private mutating func extend(
    _ header: DataHeader, ends: Bool, _ bytes: consuming [UInt8]
  ) throws(ReassemblyViolation) {
    guard try prepare(header, byteCount: bytes.count) else { return }
    if assembly.isEmpty { assembly = bytes } else { assembly.append(bytes: bytes.rawSpan) }
    if ends { completeAssembly() }
  }

  /// Whether a fragment is to be added to `assembly`; the alternative is a rest that nobody waits for.
  private mutating func prepare(_ header: DataHeader, byteCount: Int) throws(ReassemblyViolation) -> Bool {
    if let first = assemblyHeader {
      guard header.belongs(to: first), !header.flags.contains(.begin) else { throw .inconsistentFragment }
    } else if header.flags.contains(.begin) {
      skipsToBegin = false
      assemblyHeader = header
    } else {
      guard skipsToBegin else { throw .inconsistentFragment }
      return false
    }
    guard assembly.count + byteCount <= maximumMessageSize else { throw .messageTooLong }
    return true
  }

  private mutating func completeAssembly() {
    guard let first = assemblyHeader else { return }
    expectedSize = assembly.count
    // Room was reserved after the last message's size; a much shorter one must not keep it.
    if assembly.capacity > 2 * assembly.count { assembly = assembly.rawSpan.copyBytes() }
    var message: [UInt8] = []
    swap(&message, &assembly)
    assemblyHeader = nil
    complete(first, message)
  }

  private mutating func complete(_ header: DataHeader, _ payload: consuming [UInt8]) {
    let message = IncomingMessage(
      stream: header.stream, payloadProtocol: PayloadProtocol(rawValue: header.payloadProtocol), payload: payload)
    if header.flags.contains(.unordered) {
      order.deliverUnordered(message)
    } else if let number = order.number(header.ssn, stream: header.stream) {
      order.take(number, message)
    }
    // Else it is behind its turn: only a peer that numbers wrongly gets here.
  }

  // MARK: I-DATA

  /// Whether a fragment finds a place.
  package func canTake(_ header: InterleavedDataHeader) -> Bool {
    header.flags.isSuperset(of: .whole) || interleaved.canTake(header)
  }

  /// Takes a chunk for which `canTake` holds.
  package mutating func take(
    _ header: InterleavedDataHeader, _ payload: RawSpan, isInOrder: Bool
  ) throws(ReassemblyViolation) {
    let isUnordered = header.flags.contains(.unordered)
    // The rest of an ordered message that was skipped.
    if !isUnordered, order.isBehind(header.mid, stream: header.stream) { return }
    if header.flags.isSuperset(of: .whole) {
      guard payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
      guard !interleaved.isHeld(InterleavedMessages.Key(header)) else { throw .inconsistentFragment }
      return complete(header, header.payloadProtocol, payload.copyBytes())
    }
    // Fragments leave in order: one whose predecessors have all come or were skipped, and are not here, is the rest of
    // an unordered message that was skipped.
    if isInOrder, !header.flags.contains(.begin), !interleaved.isHeld(InterleavedMessages.Key(header)) { return }
    if let whole = try interleaved.insert(header, payload, maximumMessageSize: maximumMessageSize) {
      complete(header, whole.payloadProtocol, whole.payload)
    }
  }

  private mutating func complete(
    _ header: InterleavedDataHeader, _ payloadProtocol: UInt32, _ payload: consuming [UInt8]
  ) {
    let message = IncomingMessage(
      stream: header.stream, payloadProtocol: PayloadProtocol(rawValue: payloadProtocol), payload: payload)
    if header.flags.contains(.unordered) {
      order.deliverUnordered(message)
    } else {
      order.take(header.mid.rawValue, message)
    }
  }

  /// No chunk before the highest that has come is missing, so that no hole in a message will close any more.
  @inline(__always)
  package mutating func gapsHaveClosed() {
    if interleaved.runCount > 0 { interleaved.dropHoles() }
  }

  // MARK: Skipping and resetting

  /// The peer will not send what is missing up to the chunk's TSN (RFC 3758 §3.6).
  package mutating func skip(from cumulative: TSN, _ chunk: borrowing ForwardTSNChunk) {
    assembly = []
    assemblyHeader = nil
    skipsToBegin = true
    runs.skip(from: cumulative, to: chunk.newCumulativeTSN)
    for i in 0..<chunk.skippedCount {
      let entry = chunk.skipped(i)
      if let number = order.number(entry.ssn, stream: entry.stream) { order.skip(stream: entry.stream, to: number) }
    }
  }

  /// RFC 8260 §2.3.1. Where a stream is named twice, the largest counts, because smaller ones are behind it then.
  package mutating func skip(_ chunk: borrowing InterleavedForwardTSNChunk) {
    for i in 0..<chunk.skippedCount {
      let entry = chunk.skipped(i)
      interleaved.skip(stream: entry.stream, isUnordered: entry.isUnordered, to: entry.mid)
      if !entry.isUnordered { order.skip(stream: entry.stream, to: entry.mid.rawValue) }
    }
  }

  /// The peer has reset these streams of its own, or all when the list is empty: they begin at 0 again (RFC 6525 §5.2.2).
  package mutating func reset(_ list: [UInt16]) {
    order.reset(list)
    interleaved.reset(list)
  }

  /// Lets go of everything that is not whole and in its turn.
  mutating func discardIncomplete() {
    assembly = []
    assemblyHeader = nil
    runs.removeAll()
    interleaved.removeAll()
    order.discardWaiting()
  }

  /// What `heldBytes` must be; for tests.
  package func countHeldBytes() -> Int {
    assembly.count + runs.countBytes() + interleaved.countHeld().bytes + order.countWaiting().bytes
  }

  /// Whether every counter is the sum that it stands for; for tests.
  package var isConsistent: Bool {
    heldBytes == countHeldBytes() && interleaved.runCount == interleaved.countHeld().runs
      && order.waitingCount == order.countWaiting().messages
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
