// LongPathTests.swift — what each congestion controller makes of a long path: a bottleneck with a rate, a queue and random
// loss, on simulated time, so that goodput is the same on every machine.

import DequeModule
import SCTP
import Testing
import Wire

/// One bulk transfer over a bottleneck.
struct BulkPath: ~Copyable {
  struct Flight {
    var arrival: Instant
    var packet: [UInt8]
  }

  /// Bits a second, one-way delay, bytes of queue, lost packets of a million.
  let rate: Int64 = 100_000_000
  let delay = Interval.milliseconds(50)
  let queue = 1_250_000
  var lossPerMillion: UInt64 = 0
  /// UDP, IP and DTLS around each SCTP packet.
  static let overhead = 65

  var a: SCTPAssociation
  var b: SCTPAssociation
  var now = Instant(nanoseconds: 1_000_000_000)
  private var random: RandomSource
  private var toB = Deque<Flight>()
  private var toA = Deque<Flight>()
  private var linkFreeAt = Instant(nanoseconds: 0)
  var delivered = 0
  var dropped = 0
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2_048, alignment: 64)

  init(_ control: CongestionControl, seed: UInt64 = 1) {
    var configuration = SCTPConfiguration()
    configuration.congestionControl = control
    a = SCTPAssociation(configuration: configuration, random: .seeded(state: seed))
    b = SCTPAssociation(configuration: configuration, random: .seeded(state: seed + 1))
    random = .seeded(state: seed + 2)
  }

  deinit { buffer.deallocate() }

  private static func packet(
    from association: inout SCTPAssociation, _ buffer: UnsafeMutableRawBufferPointer, now: Instant
  ) -> [UInt8]? {
    var out = OutputRawSpan(buffer: buffer, initializedCount: 0)
    let written = association.pollTransmit(into: &out, now: now)
    let count = out.finalize(for: buffer)
    return written ? Array(buffer[0..<count]) : nil
  }

  private mutating func drain() {
    while let packet = Self.packet(from: &a, buffer, now: now) {
      let bytes = packet.count + Self.overhead
      guard random.next() % 1_000_000 >= lossPerMillion else { continue }
      let wait = max(linkFreeAt, now) - now
      guard wait.nanoseconds * rate / 8_000_000_000 + Int64(bytes) <= Int64(queue) else {
        dropped += 1
        continue
      }
      linkFreeAt = max(linkFreeAt, now) + Interval(nanoseconds: Int64(bytes) * 8_000_000_000 / rate)
      toB.append(Flight(arrival: linkFreeAt + delay, packet: packet))
    }
    while let packet = Self.packet(from: &b, buffer, now: now) {
      toA.append(Flight(arrival: now + delay, packet: packet))
    }
  }

  /// Runs for a while with a sender that always has something to send; answers the goodput in Mbit/s.
  mutating func run(for time: Interval, sends: Bool = true) throws -> Double {
    let end = now + time
    let before = delivered
    while now < end {
      if sends, a.state == .established {
        while a.sendRoom >= 16_384 {
          try a.send(
            OutgoingMessage(stream: 1, payloadProtocol: .binary, payload: [UInt8](repeating: 1, count: 16_384)),
            now: now)
        }
      }
      drain()
      while let message = b.pollMessage() {
        delivered += message.payload.count
        b.releaseReceived(message.payload.count, now: now)
      }
      drain()
      var due = earliest(a.deadline, b.deadline)
      due = earliest(due, toA.first?.arrival)
      due = earliest(due, toB.first?.arrival)
      guard let due else { break }
      // A loop wakes up a little late, and finds what has come meanwhile.
      now = max(now, due) + .microseconds(50)
      while let first = toB.first, first.arrival <= now {
        toB.removeFirst()
        b.handle(first.packet.rawSpan, now: now)
      }
      while let first = toA.first, first.arrival <= now {
        toA.removeFirst()
        a.handle(first.packet.rawSpan, now: now)
      }
      if let due = a.deadline, due <= now { a.handleTimeout(now: now) }
      if let due = b.deadline, due <= now { b.handleTimeout(now: now) }
    }
    return Double(delivered - before) * 8e9 / Double(time.nanoseconds) / 1e6
  }

  mutating func connect() throws {
    a.connect(now: now)
    b.connect(now: now)
    _ = try run(for: .seconds(1), sends: false)
  }
}

@Suite struct LongPathTests {
  struct Expectation: CustomTestStringConvertible {
    var control: CongestionControl
    var lossPerMillion: UInt64
    /// Goodput after the first three seconds, of the 92.5 Mbit/s that headers leave.
    var megabits: Double
    var testDescription: String { "\(control), \(lossPerMillion) of a million lost" }
  }

  @Test(
    "100 Mbit/s, 50 ms each way, a queue of one product, after three seconds",
    arguments: [
      Expectation(control: .bbr, lossPerMillion: 0, megabits: 88),
      Expectation(control: .bbr, lossPerMillion: 1_000, megabits: 80),
      Expectation(control: .bbr, lossPerMillion: 10_000, megabits: 75),
      Expectation(control: .cubic, lossPerMillion: 0, megabits: 85),
      Expectation(control: .newReno, lossPerMillion: 0, megabits: 75),
    ])
  func goodput(expected: Expectation) throws {
    var path = BulkPath(expected.control)
    path.lossPerMillion = expected.lossPerMillion
    try path.connect()
    _ = try path.run(for: .seconds(3))
    let goodput = try path.run(for: .seconds(6))
    let statistics = path.a.statistics
    print(
      "\(expected.testDescription): \(Int(goodput)) Mbit/s,", "\(statistics.chunksRetransmitted) chunks sent again,",
      "\(path.dropped) packets dropped, timer \(statistics.timeouts) times")
    #expect(goodput >= expected.megabits)
    #expect(statistics.timeouts == 0, "loss is found without the timer")
  }
}
