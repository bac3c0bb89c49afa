// WitnessWorld.swift — one association of ours and one socket of libusrsctp, with a seeded network between them under a
// simulated clock, and a ledger of what each has sent and got.

import CUsrsctp
import CVirtualClock
import SCTP
import TestSupport
import Wire

/// Why a story went wrong.
struct WitnessFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// What one side has sent on each stream, and what of it has come out at the other.
struct Ledger {
  /// Streams have fixed kinds: 0 and 1 ordered, 2 unordered, 3 ordered with few retransmissions, 4 unordered with a
  /// lifetime.
  static let streams = 5
  static func isOrdered(_ stream: Int) -> Bool { stream != 2 && stream != 4 }
  static func isReliable(_ stream: Int) -> Bool { stream < 3 }

  private(set) var sent = [[[UInt8]]](repeating: [], count: streams)
  private var next = [Int](repeating: 0, count: streams)
  private var seen = [Set<Int>](repeating: [], count: streams)
  private(set) var delivered = 0

  func payload(stream: Int, size: Int) -> [UInt8] {
    let number = sent[stream].count
    var payload = (0..<max(size, 4)).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) &+ number &* 7 &+ stream) }
    payload[0] = UInt8(stream)
    payload[1] = UInt8(truncatingIfNeeded: number >> 8)
    payload[2] = UInt8(truncatingIfNeeded: number)
    return payload
  }

  mutating func noteSent(stream: Int, _ payload: [UInt8]) { sent[stream].append(payload) }

  mutating func receive(stream: Int, _ payload: [UInt8]) throws {
    guard payload.count >= 4, stream < Self.streams, payload[0] == stream else {
      throw WitnessFailure("a message on stream \(stream) that was never sent")
    }
    let number = Int(payload[1]) << 8 | Int(payload[2])
    guard number < sent[stream].count, payload == sent[stream][number] else {
      throw WitnessFailure("stream \(stream), message \(number): its bytes differ")
    }
    guard seen[stream].insert(number).inserted else {
      throw WitnessFailure("stream \(stream), message \(number): delivered twice")
    }
    if Self.isOrdered(stream) {
      let isInTurn = Self.isReliable(stream) ? number == next[stream] : number >= next[stream]
      guard isInTurn else { throw WitnessFailure("stream \(stream): \(number) came in the turn of \(next[stream])") }
      next[stream] = number + 1
    }
    delivered += 1
  }

  /// What has not come of what was promised; nil when nothing is missing.
  var missing: String? {
    for stream in 0..<Self.streams where Self.isReliable(stream) && seen[stream].count < sent[stream].count {
      return "stream \(stream): \(seen[stream].count) of \(sent[stream].count)"
    }
    return nil
  }
}

struct WitnessWorld: ~Copyable {
  struct Conditions {
    var delay = Interval.milliseconds(10)
    var jitter = Interval.zero
    var lossPerMille: UInt64 = 0
    var duplicatePerMille: UInt64 = 0
  }

  private struct Flight {
    var arrival: Instant
    var isForUs: Bool
    var packet: [UInt8]
  }

  var ours: SCTPAssociation
  private(set) var theirs: OpaquePointer
  let configuration: SCTPConfiguration
  private let interleaves: Bool
  /// With DATA, libusrsctp 0.9.5 lets a FORWARD-TSN spoil unordered fragments beyond it, and aborts when their rest comes:
  /// in one story either something is given up, or unordered messages have several fragments.
  private let givesUp: Bool
  var conditions = Conditions()
  private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
  private var elapsed = Instant(nanoseconds: 1_000_000_000_000)
  private var inFlight: [Flight] = []
  private var random: RandomSource
  private(set) var packets = 0

  var fromUs = Ledger()
  var fromThem = Ledger()
  var ourEvents: [SCTPAssociation.Event] = []
  var theirEvents: [(kind: witness_kind, stream: UInt16)] = []

  static let streams: UInt16 = 16

  /// - Parameter listensOnly: they wait for us; otherwise both connect at the same time, as in WebRTC.
  init(seed: UInt64, configuration: SCTPConfiguration, interleaves: Bool, listensOnly: Bool) throws {
    random = .seeded(state: seed)
    self.configuration = configuration
    self.interleaves = interleaves
    givesUp = interleaves || seed % 4 < 2
    ours = SCTPAssociation(configuration: configuration, random: .seeded(state: random.next()))
    virtual_clock_set(now.nanoseconds)
    guard let socket = witness_open(Self.streams, interleaves, listensOnly) else { throw WitnessFailure("no socket") }
    theirs = socket
    ours.connect(now: now)
  }

  deinit {
    witness_free(theirs)
    virtual_clock_clear()
  }

  // MARK: Restarts

  mutating func restartOurs() {
    ours = SCTPAssociation(configuration: configuration, random: .seeded(state: random.next()))
    ours.connect(now: now)
  }

  mutating func restartTheirs() throws {
    witness_free(theirs)  // its ABORT never leaves, as when power fails
    guard let socket = witness_open(Self.streams, interleaves, false) else { throw WitnessFailure("no socket") }
    theirs = socket
  }

  // MARK: Sending

  mutating func sendOurs(stream: Int, size: Int) {
    let isWhole = givesUp && !interleaves && !Ledger.isOrdered(stream)
    let payload = fromUs.payload(stream: stream, size: isWhole ? min(size, Self.oneFragment) : size)
    let reliability: Reliability =
      switch stream {
      case _ where !givesUp: .reliable
      case 3: .maximumRetransmits(UInt16(random.next() % 3))
      case 4: .maximumLifetime(milliseconds: UInt16(random.next() % 400))
      default: .reliable
      }
    do throws(SCTPSendError) {
      try ours.send(
        OutgoingMessage(
          stream: UInt16(stream), payloadProtocol: .binary, payload: payload, isOrdered: Ledger.isOrdered(stream),
          reliability: reliability), now: now)
    } catch {
      return
    }
    fromUs.noteSent(stream: stream, payload)
  }

  /// Fits every packet of ours.
  private static let oneFragment = 1_000

  mutating func sendTheirs(stream: Int, size: Int) {
    let payload = fromThem.payload(stream: stream, size: size)
    // With I-DATA libusrsctp 0.9.5 may give nothing up: its I-FORWARD-TSN names, beside the message given up, every
    // message of which some fragment lies before the new cumulative TSN, even reliable ones that are half sent.
    let (policy, value) =
      switch stream {
      case _ where interleaves: (WITNESS_RELIABLE, UInt32(0))
      case 3: (WITNESS_RETRANSMITS, UInt32(random.next() % 3))
      case 4: (WITNESS_LIFETIME, UInt32(random.next() % 400))
      default: (WITNESS_RELIABLE, UInt32(0))
      }
    let status = witness_send(
      theirs, UInt16(stream), PayloadProtocol.binary.rawValue, Ledger.isOrdered(stream), policy, value, payload,
      payload.count)
    if status == 0 { fromThem.noteSent(stream: stream, payload) }
  }

  // MARK: Time

  /// They tell no deadline: they are asked every so often.
  private static let tick = Interval.milliseconds(10)

  /// To the next moment at which something may be due; false when that is later than `limit`.
  mutating func step(limit: Instant) throws -> Bool {
    try flush()
    var due = now + Self.tick
    if let deadline = ours.deadline { due = min(due, max(deadline, now)) }
    if let first = inFlight.first { due = min(due, max(first.arrival, now)) }
    guard due <= limit else { return false }
    now = due
    virtual_clock_set(now.nanoseconds)
    while let first = inFlight.first, first.arrival <= now {
      inFlight.removeFirst()
      if first.isForUs {
        ours.handle(first.packet.rawSpan, now: now)
      } else {
        witness_input(theirs, first.packet, first.packet.count)
      }
    }
    if let deadline = ours.deadline, deadline <= now { ours.handleTimeout(now: now) }
    let milliseconds = (now - elapsed).nanoseconds / 1_000_000
    if milliseconds > 0 {
      witness_elapse(UInt32(milliseconds))
      elapsed = elapsed + .milliseconds(milliseconds)
    }
    try flush()
    return true
  }

  mutating func run(for time: Interval) throws {
    let end = now + time
    while try step(limit: end) {}
  }

  /// Runs until `isDone`.
  mutating func run(
    within limit: Interval = .seconds(300), _ what: String, until isDone: (borrowing WitnessWorld) -> Bool
  ) throws {
    let end = now + limit
    while !isDone(self) {
      guard try step(limit: end) else {
        throw WitnessFailure(
          "never \(what): ours \(ours.state), quiet \(ours.isQuiet), from us \(fromUs.missing ?? "all"), "
            + "from them \(fromThem.missing ?? "all"), our events \(ourEvents), theirs \(theirEvents)")
      }
    }
  }

  // MARK: Packets

  private mutating func flush() throws {
    var hasMoved = true
    while hasMoved {
      hasMoved = false
      while let packet = nextOfOurs() {
        carry(packet, isForUs: false)
        hasMoved = true
      }
      try collect()
      while let packet = nextOfTheirs() {
        carry(packet, isForUs: true)
        hasMoved = true
      }
    }
  }

  private mutating func nextOfOurs() -> [UInt8]? {
    var isWritten = false
    let packet = collectBytes(capacity: 2_048) { out in isWritten = ours.pollTransmit(into: &out, now: now) }
    return isWritten ? packet : nil
  }

  private func nextOfTheirs() -> [UInt8]? {
    var packet = [UInt8](repeating: 0, count: 2_048)
    let count = witness_output(theirs, &packet, packet.count)
    return count > 0 ? Array(packet[..<count]) : nil
  }

  private mutating func carry(_ packet: [UInt8], isForUs: Bool) {
    packets += 1
    if chance(conditions.lossPerMille) { return }
    for _ in 0...(chance(conditions.duplicatePerMille) ? 1 : 0) {
      var arrival = now + conditions.delay
      if conditions.jitter > .zero {
        arrival = arrival + Interval(nanoseconds: Int64(random.next() % UInt64(conditions.jitter.nanoseconds)))
      }
      var place = inFlight.count
      while place > 0, inFlight[place - 1].arrival > arrival { place -= 1 }
      inFlight.insert(Flight(arrival: arrival, isForUs: isForUs, packet: packet), at: place)
    }
  }

  private mutating func chance(_ perMille: UInt64) -> Bool { perMille > 0 && random.next() % 1_000 < perMille }

  private mutating func collect() throws {
    while let message = ours.pollMessage() {
      ours.releaseReceived(message.payload.count, now: now)
      try fromThem.receive(stream: Int(message.stream), message.payload)
    }
    while let event = ours.pollEvent() { ourEvents.append(event) }
    while true {
      let news = witness_poll(theirs)
      switch news.kind {
      case WITNESS_NOTHING: return
      case WITNESS_MESSAGE:
        guard news.protocol == PayloadProtocol.binary.rawValue else { throw WitnessFailure("another protocol") }
        let payload = [UInt8](UnsafeBufferPointer(start: news.bytes, count: news.count))
        try fromUs.receive(stream: Int(news.stream), payload)
      default: theirEvents.append((news.kind, news.stream))
      }
    }
  }
}
