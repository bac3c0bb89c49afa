// LongPathTests.swift — what each congestion controller makes of a long path: a bottleneck with a rate, a queue and random
// loss, on simulated time, so that goodput is the same on every machine.

import DequeModule
@testable import SCTP
import SCTPTestSupport
import Testing
import Wire

/// One bulk transfer over a bottleneck.
struct BulkPath: ~Copyable {
  struct Flight {
    var arrival: Instant
    var packet: [UInt8]
  }

  /// Bits a second, one-way delay, bytes of queue, lost packets of a million.
  var rate: Int64 = 100_000_000
  var delay = Interval.milliseconds(50)
  var queue = 1_250_000
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
  var largestQueue = Interval.zero
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
      if wait > largestQueue { largestQueue = wait }
      linkFreeAt = max(linkFreeAt, now) + Interval(nanoseconds: Int64(bytes) * 8_000_000_000 / rate)
      toB.append(Flight(arrival: linkFreeAt + delay, packet: packet))
    }
    while let packet = Self.packet(from: &b, buffer, now: now) { toA.append(Flight(arrival: now + delay, packet: packet)) }
  }

  /// Runs for a while with a sender that always has something to send; answers the goodput in Mbit/s.
  mutating func run(for time: Interval, sends: Bool = true) throws -> Double {
    let end = now + time
    let before = delivered
    while now < end {
      if sends, a.state == .established {
        while a.sendRoom >= 16_384 {
          try a.send(
            OutgoingMessage(stream: 1, payloadProtocol: .binary, payload: [UInt8](repeating: 1, count: 16_384)), now: now)
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
  @Test("probe", arguments: [CongestionControl.bbr, .cubic, .newReno], [0, 1_000, 10_000] as [UInt64])
  func probe(control: CongestionControl, loss: UInt64) throws {
    var path = BulkPath(control)
    path.lossPerMillion = loss
    try path.connect()
    var text = ""
    for _ in 0..<20 {
      let rate = try path.run(for: .seconds(1))
      text += " \(Int(rate))"
      if case .bbr(let c) = path.a.sender.congestion, loss == 10_000 { print("  \(Int(rate)) \(c.phase) bw \(c.maximumBandwidth*8/1_000_000) lo \((c.shortTermBandwidth ?? 0)*8/1_000_000) win \(c.window/1000) long \((c.longTermInflight ?? 0)/1000) short \((c.shortTermInflight ?? 0)/1000) rtt \((c.minimumRoundTrip?.nanoseconds ?? 0)/1000) extra \(c.extraAcknowledged/1000) flight \(path.a.sender.outstanding.flightBytes/1000) full \(c.isPipeFull) pace \((c.pacingRate ?? 0)*8/1_000_000) lost \(path.a.sender.outstanding.lostCount)") }
    }
    let s = path.a.statistics
    print("\(control) \(loss):\(text) | dropped \(path.dropped) timeouts \(s.timeouts) rtx \(s.chunksRetransmitted) sent \(s.chunksSent) queue \(path.largestQueue.nanoseconds / 1_000_000) ms window \(s.congestionWindow) flight \(s.bytesInFlight) peer \(s.peerReceiverWindow) rtt \(s.smoothedRoundTrip?.nanoseconds ?? 0)")
  }
}
