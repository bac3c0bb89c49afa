// ThroughputTests.swift — what a packet costs on its way up and down. Allocations are held to a bound; the times are printed
// and mean something only against each other.

import CVirtualClock
import Media
import RTP
import Testing
import Wire

@Suite(.serialized) struct MediaThroughputTests {
  private static let rounds = 20_000
  private static let warmUp = 4_000
  /// What `sending` allows for itself: nothing when optimised, a little for reports apart; unoptimised two for each packet.
  #if DEBUG
    private static let sendingBound = 3.0
  #else
    private static let sendingBound = 0.1
  #endif

  @Test("a packet received costs one allocation, for its payload; reports and feedback next to nothing")
  func receiving() throws {
    var side = receiver(of: [video()], announcing: [SSRC.video])
    var packet = try rtp(
      0, ssrc: SSRC.video, mid: "v",
      extensions: [RTPExtension(id: 2, value: [1, 2, 3]), RTPExtension(id: 3, transportSequence: 0)],
      payload: [UInt8](repeating: 7, count: 1_100))
    // Where the transport-wide number stands: after 12 bytes, 4 of the extension's head, 2 of mid, 4 of time and a head.
    let at = 12 + 4 + 2 + 4 + 1
    let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 2_048, alignment: 16)
    defer { storage.deallocate() }
    var now = Instant(nanoseconds: 1_000_000_000)
    var delivered = 0
    var allocations: UInt64 = 0
    var began = ContinuousClock.now
    for index in 0..<(Self.warmUp + Self.rounds) {
      if index == Self.warmUp {
        allocations = thread_allocations()
        began = ContinuousClock.now
      }
      let (high, low) = (UInt8(truncatingIfNeeded: index >> 8), UInt8(truncatingIfNeeded: index))
      (packet[2], packet[3], packet[at], packet[at + 1]) = (high, low, high, low)
      side.session.handleRTP(packet.rawSpan, now: now)
      // As the loop does: a batch, then what is due, then what came of it.
      guard index % 8 == 7 else { continue }
      now = now + .milliseconds(4)
      side.session.handleTimeout(now: now)
      while poll(&side.session, storage, now: now) {}
      while let event = side.session.pollEvent() { if case .packet = event { delivered += 1 } }
    }
    let time = ContinuousClock.now - began
    let each = Double(thread_allocations() - allocations) / Double(Self.rounds)
    #expect(delivered == Self.warmUp + Self.rounds)
    #expect(side.session.statistics.transportFeedbackSent > 50)
    #expect(!allocations_are_counted() || each < 1.5)
    print("received: \(Int(time / .nanoseconds(Self.rounds))) ns, \(each) allocations for each packet of 1,100 bytes")
  }

  @Test("a packet sent costs no allocation when optimised, though it is kept for NACKs")
  func sending() throws {
    var side = sender()
    let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 2_048, alignment: 16)
    defer { storage.deallocate() }
    let payload = [UInt8](repeating: 7, count: 1_100)
    var now = Instant(nanoseconds: 1_000_000_000)
    var sent = 0
    var allocations: UInt64 = 0
    var began = ContinuousClock.now
    for index in 0..<(Self.warmUp + Self.rounds) {
      if index == Self.warmUp {
        allocations = thread_allocations()
        began = ContinuousClock.now
      }
      let packet = OutgoingRTP(
        payloadType: 96, sequenceNumber: UInt16(truncatingIfNeeded: index), timestamp: UInt32(index), payload: payload)
      try side.session.send(packet, on: 0, now: now)
      guard index % 8 == 7 else { continue }
      now = now + .milliseconds(4)
      side.session.handleTimeout(now: now)
      while poll(&side.session, storage, now: now) { sent += 1 }
    }
    let time = ContinuousClock.now - began
    let each = Double(thread_allocations() - allocations) / Double(Self.rounds)
    #expect(sent >= Self.warmUp + Self.rounds)
    #expect(!allocations_are_counted() || each < Self.sendingBound)
    print("sent: \(Int(time / .nanoseconds(Self.rounds))) ns, \(each) allocations for each packet of 1,100 bytes")
  }

  private func poll(_ session: inout MediaSession, _ storage: UnsafeMutableRawBufferPointer, now: Instant) -> Bool {
    var out = OutputRawSpan(buffer: storage, initializedCount: 0)
    let kind = session.pollTransmit(into: &out, now: now)
    _ = out.finalize(for: storage)
    return kind != nil
  }
}
