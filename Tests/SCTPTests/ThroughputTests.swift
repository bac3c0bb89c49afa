// ThroughputTests.swift — two associations back to back in memory: what SCTP alone costs. Prints its figures; they mean
// something in release builds. It fails when the path does not deliver, or resends although nothing is lost.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite(.serialized) struct ThroughputTests {
  #if DEBUG
    static let bytes = 4 << 20
  #else
    static let bytes = 512 << 20
  #endif

  @Test("back to back", arguments: [64, 1_000, 65_536])
  func backToBack(size: Int) throws {
    var a = SCTPAssociation(random: .seeded(state: 1))
    var b = SCTPAssociation(random: .seeded(state: 2))
    let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 2_048, alignment: 64)
    defer { storage.deallocate() }
    var now = Instant(nanoseconds: 0)
    /// Hands at most a batch of packets over.
    func pump(_ from: inout SCTPAssociation, _ to: inout SCTPAssociation) {
      for _ in 0..<64 {
        var out = OutputRawSpan(buffer: storage, initializedCount: 0)
        let written = from.pollTransmit(into: &out, now: now)
        let count = out.finalize(for: storage)
        guard written else { return }
        to.handle(UnsafeRawBufferPointer(rebasing: storage[0..<count]).bytes, now: now)
      }
    }
    a.connect(now: now)
    for _ in 0..<4 {
      pump(&a, &b)
      pump(&b, &a)
    }
    let payload = [UInt8](repeating: 7, count: size)
    let total = max(10, min(Self.bytes / size, 4_000_000))
    var sent = 0
    var received = 0
    let clock = ContinuousClock()
    let start = clock.now
    while received < total, a.state == .established {
      now = now + .microseconds(50)
      while sent < total, a.sendRoom >= size {
        try a.send(OutgoingMessage(stream: 1, payloadProtocol: .binary, payload: payload), now: now)
        sent += 1
      }
      pump(&a, &b)
      while let message = b.pollMessage() {
        received += 1
        b.releaseReceived(message.payload.count, now: now)
      }
      pump(&b, &a)
      a.handleTimeout(now: now)
      b.handleTimeout(now: now)
    }
    let time = clock.now - start
    let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
    let resent = a.statistics.chunksRetransmitted
    #expect(received == total && resent == 0)
    print(
      "SCTP back to back, \(size) bytes: \(Int(Double(total) / seconds)) messages/s,",
      "\(Int(Double(total * size) / seconds / 1e6)) MB/s")
  }
}
