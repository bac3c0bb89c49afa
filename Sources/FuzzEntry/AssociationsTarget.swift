// AssociationsTarget.swift — two associations and the network between them, driven by commands read from the input.
//
// The commands send, lose, repeat, reorder and corrupt packets, let time pass, let the applications read or dawdle, and
// reset streams. After each the invariants are checked; at the end the network heals, and everything reliable that was
// taken must have arrived, unless an association gave up, as it may after long silence.
//
// Streams have fixed kinds: 0 and 1 are ordered, 2 unordered, 3 ordered and given up early, 4 unordered and given up.

internal import SCTP
internal import Wire

/// Runs the input's commands.
public func fuzzAssociations(_ input: RawSpan) {
  var reader = ByteReader(input)
  do throws(Malformed) {
    var world = AssociationWorld(seed: UInt64(try reader.readUInt8()), flavour: try reader.readUInt8())
    world.begin()
    // Whatever comes later repeats what these have tried; it keeps a run short.
    var commands = 0
    while !reader.isAtEnd, commands < 2_000 {
      commands += 1
      let command = try reader.readUInt8()
      world.perform(command, operand: reader.isAtEnd ? 0 : try reader.readUInt8())
      world.check()
    }
    world.heal()
  } catch {
    return  // fewer than two bytes
  }
}

private struct AssociationWorld: ~Copyable {
  private var left: AssociationEnd
  private var right: AssociationEnd
  private var now = Instant(nanoseconds: 1_000_000_000)

  init(seed: UInt64, flavour: UInt8) {
    var configuration = SCTPConfiguration()
    configuration.offersZeroChecksum = false  // without DTLS nothing else finds a corrupted packet
    configuration.maximumPacketSize = flavour & 1 == 0 ? 1188 : 512
    configuration.receiveWindow = flavour & 2 == 0 ? 131_072 : 16_384
    configuration.maximumReceiveWindow = 262_144
    configuration.sendBufferLimit = flavour & 4 == 0 ? 131_072 : 8_192
    configuration.maximumIncomingMessageSize = 16_384
    configuration.maximumOutgoingMessageSize = 16_384
    left = AssociationEnd(configuration, seed: seed &* 2)
    right = AssociationEnd(configuration, seed: seed &* 2 &+ 1)
  }

  mutating func begin() {
    left.association.connect(now: now)
    right.association.connect(now: now)
    drain()
  }

  /// The lowest bit of a command names the side that acts, or that a packet comes from.
  mutating func perform(_ command: UInt8, operand: UInt8) {
    let isRight = command & 1 == 1
    switch command >> 1 & 0xf {
    case 0, 1: advance(by: .milliseconds(Int64(operand)))
    case 2: advance(by: .milliseconds(Int64(operand) * 20))
    case 3, 4, 5: if isRight { right.send(operand, now: now) } else { left.send(operand, now: now) }
    case 6, 7, 8: deliver(fromRight: isRight, count: 1 + Int(operand & 7))
    case 9: if isRight { right.drop() } else { left.drop() }
    case 10: if isRight { right.duplicate() } else { left.duplicate() }
    case 11: if isRight { right.reorder(operand) } else { left.reorder(operand) }
    case 12: if isRight { right.corrupt(operand) } else { left.corrupt(operand) }
    case 13: if isRight { right.read(now: now) } else { left.read(now: now) }
    case 14:
      if isRight {
        right.reset(stream: UInt16(operand % 5), now: now)
      } else {
        left.reset(stream: UInt16(operand % 5), now: now)
      }
    default: deliver(fromRight: !isRight, count: 100)
    }
    drain()
  }

  /// Whatever is due on the way is done when it is due.
  private mutating func advance(by interval: Interval) {
    let end = now + interval
    var wakeUps = 0
    while let next = earliest(left.association.deadline, right.association.deadline), next <= end {
      now = max(now, next)
      left.wakeUp(now: now)
      right.wakeUp(now: now)
      drain()
      wakeUps += 1
      precondition(wakeUps < 20_000, "timers do not spin")
    }
    now = end
  }

  private mutating func deliver(fromRight: Bool, count: Int) {
    for _ in 0..<count {
      guard let packet = fromRight ? right.takePacket() : left.takePacket() else { return }
      if fromRight { left.association.handle(packet, now: now) } else { right.association.handle(packet, now: now) }
    }
  }

  private mutating func drain() {
    left.drain(from: right.sent, now: now)
    right.drain(from: left.sent, now: now)
  }

  func check() {
    left.check()
    right.check()
  }

  /// From here on nothing is lost and everybody reads at once.
  mutating func heal() {
    for _ in 0..<20_000 {
      left.read(now: now)
      right.read(now: now)
      drain()
      if left.hasPackets || right.hasPackets {
        deliver(fromRight: false, count: .max)
        deliver(fromRight: true, count: .max)
        drain()
        check()
        continue
      }
      if left.isDone || right.isDone || left.association.isQuiet && right.association.isQuiet { break }
      guard let next = earliest(left.association.deadline, right.association.deadline) else {
        preconditionFailure("an association with something to do has a timer")
      }
      now = max(now, next)
      left.wakeUp(now: now)
      right.wakeUp(now: now)
    }
    if left.isDone || right.isDone { return }
    precondition(left.association.isQuiet && right.association.isQuiet, "a network without loss lets everything end")
    right.received.checkAll(arrivedOf: left.sent)
    left.received.checkAll(arrivedOf: right.sent)
  }
}

/// How many messages went into each stream, in the order of their numbers.
private struct SentCounts {
  var counts: [UInt32] = [0, 0, 0, 0, 0]
}

/// What came out of each stream, checked message by message.
private struct Received {
  private var next: [UInt32] = [0, 0, 0, 0, 0]
  private var unordered: [Set<UInt32>] = [[], []]

  mutating func take(_ message: IncomingMessage, of sent: SentCounts) {
    let stream = Int(message.stream)
    precondition(stream < sent.counts.count, "nothing comes out of a stream into which nothing went")
    precondition(message.payload.count >= 4, "messages arrive whole")
    let number = message.payload.rawSpan.uint32(at: 0)
    precondition(
      message.payload == payload(number: number, stream: stream, length: message.payload.count), "bytes arrive as sent")
    precondition(message.payload.count == length(number: number, stream: stream), "messages arrive whole")
    precondition(number < sent.counts[stream], "nothing arrives that was not sent")
    switch stream {
    case 0, 1: precondition(number == next[stream], "an ordered reliable stream is a prefix of what was sent")
    case 3: precondition(number >= next[stream], "an ordered stream never goes back")
    default:
      precondition(unordered[stream == 2 ? 0 : 1].insert(number).inserted, "nothing arrives twice")
    }
    next[stream] = max(next[stream], number + 1)
  }

  func checkAll(arrivedOf sent: SentCounts) {
    precondition(next[0] == sent.counts[0] && next[1] == sent.counts[1], "everything ordered has arrived")
    precondition(unordered[0].count == Int(sent.counts[2]), "everything unordered has arrived")
  }
}

/// A length that only a message's number and stream decide, so that the receiver knows it too: 4 … 10,000 bytes.
private func length(number: UInt32, stream: Int) -> Int {
  let mixed = (number &* 2_654_435_761 &+ UInt32(stream) &* 40_503) >> 8
  return mixed % 8 == 0 ? 4 + Int(mixed % 10_000) : 4 + Int(mixed % 400)
}

private func payload(number: UInt32, stream: Int, length: Int) -> [UInt8] {
  var payload = [UInt8](repeating: UInt8(truncatingIfNeeded: Int(number) &+ stream), count: length)
  for index in 0..<4 { payload[index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index)) }
  return payload
}

/// One association, what its application did, and the packets on their way to the other.
private struct AssociationEnd: ~Copyable {
  var association: SCTPAssociation
  private(set) var sent = SentCounts()
  private(set) var received = Received()
  private let configuration: SCTPConfiguration
  private var packets: [[UInt8]] = []
  private var unreadBytes = 0
  private(set) var isDone = false

  init(_ configuration: SCTPConfiguration, seed: UInt64) {
    self.configuration = configuration
    association = SCTPAssociation(configuration: configuration, random: .seeded(state: seed))
  }

  var hasPackets: Bool { !packets.isEmpty }

  mutating func send(_ operand: UInt8, now: Instant) {
    let stream = Int(operand % 5)
    let number = sent.counts[stream]
    let reliability: Reliability =
      switch (stream, operand & 0x80 == 0) {
      case (3...4, true): .maximumRetransmits(UInt16(operand >> 5 & 3))
      case (3...4, false): .maximumLifetime(milliseconds: UInt16(operand))
      default: .reliable
      }
    let message = OutgoingMessage(
      stream: UInt16(stream), payloadProtocol: .binary,
      payload: payload(number: number, stream: stream, length: length(number: number, stream: stream)),
      isOrdered: stream != 2 && stream != 4, reliability: reliability)
    do throws(SCTPSendError) {
      try association.send(message, now: now)
      sent.counts[stream] += 1
    } catch {
      precondition(error != .messageTooLarge && error != .messageEmpty && error != .noSuchStream, "\(error)")
    }
  }

  mutating func reset(stream: UInt16, now: Instant) { association.resetStreams([stream], now: now) }

  /// The application takes what has arrived off the window.
  mutating func read(now: Instant) {
    association.releaseReceived(unreadBytes, now: now)
    unreadBytes = 0
  }

  mutating func wakeUp(now: Instant) {
    guard let deadline = association.deadline, deadline <= now else { return }
    association.handleTimeout(now: now)
    if let next = association.deadline { precondition(next > now, "a timer that was due has moved") }
  }

  mutating func drain(from peer: SentCounts, now: Instant) {
    var written = 0
    while let packet = association.nextPacket(now: now) {
      precondition(packet.count <= configuration.maximumPacketSize, "packets keep their size")
      written += 1
      precondition(written < 10_000, "what is due at one moment is bounded")
      // A longer queue is a link that loses.
      if packets.count < 256 { packets.append(packet) }
    }
    while let message = association.pollMessage() {
      unreadBytes += message.payload.count
      received.take(message, of: peer)
    }
    while let event = association.pollEvent() {
      if case .closed(let reason) = event {
        isDone = true
        switch reason {
        case .connectTimedOut, .retransmissionLimit, .abortedByPeer: break
        default: preconditionFailure("nobody ended the association: \(reason)")
        }
      }
    }
  }

  func check() {
    precondition(association.isConsistent, "counters are the sums they stand for")
    let buffered = (0..<5 as Range<UInt16>).reduce(0) { $0 + association.bufferedAmount(stream: $1) }
    precondition(buffered == association.bufferedTotal, "the total is the sum over the streams")
    precondition(
      association.heldBytes <= configuration.maximumReceiveWindow + configuration.maximumIncomingMessageSize,
      "what a peer can make us hold is bounded")
  }

  // MARK: The link

  mutating func takePacket() -> [UInt8]? { packets.isEmpty ? nil : packets.removeFirst() }
  mutating func drop() { _ = takePacket() }
  mutating func duplicate() { if let first = packets.first { packets.append(first) } }

  mutating func reorder(_ operand: UInt8) {
    guard !packets.isEmpty else { return }
    packets.append(packets.remove(at: Int(operand) % packets.count))
  }

  /// One byte of the first packet changes; the checksum knows.
  mutating func corrupt(_ operand: UInt8) {
    guard !packets.isEmpty else { return }
    packets[0][Int(operand) % packets[0].count] ^= 0x41
  }
}
