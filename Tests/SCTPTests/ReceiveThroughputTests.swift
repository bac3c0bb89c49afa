// ReceiveThroughputTests.swift — what receiving alone costs, in order and not. Prints its figures; they mean something in
// release builds. It fails when something is not delivered.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite(.serialized) struct ReceiveThroughputTests {
  enum Arrival: String, CaseIterable {
    case inOrder = "in order"
    case beyondGap = "beyond a gap of another stream"
    case firstLast = "the first chunk of each message last"
    case everySecondLater = "every second chunk later"
    case backwards = "backwards"
  }

  #if DEBUG
    static let rounds = 2
  #else
    static let rounds = 200
  #endif

  /// Chunks of 1,160 bytes, 128 for each message, 8 messages in one go, which leave in turns when they may.
  @Test("receiving", arguments: Arrival.allCases, [false, true])
  func receiving(arrival: Arrival, interleaved: Bool) {
    let payload = [UInt8](repeating: 7, count: 1_160)
    let messages = 8
    let fragments = 128
    let count = messages * fragments
    var order = Array(0..<count)
    switch arrival {
    case .inOrder, .beyondGap: break
    case .firstLast: order = order.filter { $0 % fragments != 0 } + order.filter { $0 % fragments == 0 }
    case .everySecondLater: order = order.filter { $0 % 2 == 1 } + order.filter { $0 % 2 == 0 }
    case .backwards: order.reverse()
    }
    var receiver = DataReceiver(TSN(rawValue: 0), window: 64 << 20)
    var base: UInt32 = 0
    var received = 0
    let clock = ContinuousClock()
    let start = clock.now
    for round in 0..<Self.rounds {
      if arrival == .beyondGap { base += 1 }
      for index in order {
        // Interleaved, the messages' fragments alternate.
        let message = interleaved ? index % messages : index / fragments
        let fragment = interleaved ? index / messages : index % fragments
        let flags: DataFlags = fragment == 0 ? .begin : fragment == fragments - 1 ? .end : []
        let tsn = TSN(rawValue: base + UInt32(index))
        let outcome =
          interleaved
          ? receiver.handle(
            InterleavedDataHeader(
              flags: flags, tsn: tsn, stream: UInt16(message), mid: MID(rawValue: UInt32(round)),
              fragment: UInt32(fragment), payloadProtocol: 53), payload.rawSpan)
          : receiver.handle(
            DataHeader(
              flags: flags, tsn: tsn, stream: UInt16(message), ssn: SSN(rawValue: UInt16(truncatingIfNeeded: round)),
              payloadProtocol: 53), payload.rawSpan)
        if outcome != .taken { Issue.record("all of it fits") }
      }
      if arrival == .beyondGap { _ = receiver.acknowledgeOnly(TSN(rawValue: base - 1)) }
      base += UInt32(count)
      received += receiver.drain().count
    }
    let time = clock.now - start
    let nanoseconds = Double(time.components.seconds) * 1e9 + Double(time.components.attoseconds) * 1e-9
    #expect(received == messages * Self.rounds && receiver.usedBytes == 0)
    print(
      "SCTP receiving \(interleaved ? "I-DATA" : "DATA"), \(arrival.rawValue):",
      "\(Int(nanoseconds / Double(count * Self.rounds))) ns a chunk")
  }
}
