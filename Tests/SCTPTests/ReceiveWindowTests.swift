// ReceiveWindowTests.swift — the receiver window: when it grows, how far, and what is dropped beyond it.

import SCTP
import SCTPTestSupport
import TestSupport
import Testing
import Wire

@Suite struct ReceiveWindowTests {
  private static let roundTrip = Interval.milliseconds(100)

  /// A receiver to which, in each round trip, a peer sends a part of what the window allows.
  private struct Path: ~Copyable {
    var receiver = DataReceiver(
      initialTSN: TSN(rawValue: 1), window: 100_000, maximumWindow: 1_000_000, maximumMessageSize: 262_144)
    var now = Instant(nanoseconds: 0)
    var sent: UInt32 = 0
    var measured: Interval? = ReceiveWindowTests.roundTrip

    mutating func round(_ perCent: Int, consumes: Bool) {
      let end = now + ReceiveWindowTests.roundTrip
      let count = receiver.availableWindow * perCent / 100 / 1_000
      for _ in 0..<count {
        let header = DataHeader(
          flags: [.whole, .unordered], tsn: TSN(rawValue: 1 + sent), stream: 1, ssn: SSN(rawValue: 0),
          payloadProtocol: 53)
        sent += 1
        _ = receiver.handle(header, [UInt8](repeating: 1, count: 1_000).rawSpan)
        receiver.endOfPacket(now: now, delay: .milliseconds(20), roundTrip: measured)
        while let message = receiver.popMessage() {
          if consumes { receiver.release(message.payload.count, now: now) }
        }
        now = now + .microseconds(10)
      }
      now = end
    }
  }

  @Test("doubles while the peer fills it in each round trip and the owner keeps up; never past the maximum")
  func grows() {
    var path = Path()
    var sizes: [Int] = []
    for _ in 0..<6 {
      path.round(100, consumes: true)
      sizes.append(path.receiver.window.size)
    }
    #expect(sizes == sizes.sorted() && sizes.first == 200_000 && sizes.last == 1_000_000)
    let open = path.receiver.availableWindow
    #expect(open == 1_000_000)
  }

  @Test("stays when the owner does not read, when the peer sends at most half of it, and when the round trip is short")
  func stays() {
    var path = Path()
    for _ in 0..<10 { path.round(100, consumes: false) }
    #expect(path.receiver.window.size == 100_000)
    // All at once, later: the peer was not held up by the window but by the owner.
    path.receiver.release(path.receiver.unreleased, now: path.now + .seconds(1))
    #expect(path.receiver.window.size == 100_000 && path.receiver.availableWindow == 100_000)
    path = Path()
    for _ in 0..<20 { path.round(50, consumes: true) }
    #expect(path.receiver.window.size == 100_000)
    path = Path()
    path.measured = .microseconds(100)
    for _ in 0..<20 { path.round(100, consumes: true) }
    #expect(path.receiver.window.size == 100_000)
  }

  @Test("half of the window in a round trip is not enough, a byte more is", arguments: [0, 1])
  func boundary(more: Int) {
    var window = ReceiveWindow(size: 100_000, maximum: 400_000)
    let now = Instant(nanoseconds: 5)
    window.noteArrival(50_000 + more, waiting: 0, now: now, roundTrip: Self.roundTrip)
    window.noteConsumption(50_000 + more, now: now + .milliseconds(99))
    #expect(window.size == (more == 0 ? 100_000 : 200_000))
  }

  @Test("what waits behind holes counts as well, when an eighth of the window goes through", arguments: [-1, 0, 1])
  func holes(more: Int) {
    var window = ReceiveWindow(size: 100_000, maximum: 400_000)
    let now = Instant(nanoseconds: 5)
    let through = 12_500 + more
    window.noteArrival(through, waiting: 50_000, now: now, roundTrip: Self.roundTrip)
    window.noteConsumption(through, now: now + .milliseconds(99))
    #expect(window.size == (more == 1 ? 200_000 : 100_000))
    // In the round after, too: behind a hole a round's data is consumed in the next one.
    window = ReceiveWindow(size: 100_000, maximum: 400_000)
    window.noteArrival(20_000, waiting: 30_001 + more, now: now, roundTrip: Self.roundTrip)
    window.noteArrival(20_000, waiting: 0, now: now + .milliseconds(100), roundTrip: Self.roundTrip)
    window.noteConsumption(20_000, now: now + .milliseconds(101))
    #expect(window.size == (more >= 0 ? 200_000 : 100_000))
  }

  @Test("without a measured round trip, the time that the peer takes to fill the window stands for it; up to a second")
  func unmeasured() {
    var path = Path()
    path.measured = nil
    for _ in 0..<10 { path.round(100, consumes: true) }
    #expect(path.receiver.window.size > 100_000)
    var slow = ReceiveWindow(size: 100_000, maximum: 400_000)
    for second in 0..<40 as Range<Int64> {
      slow.noteArrival(60_000, waiting: 0, now: Instant(nanoseconds: 0) + .seconds(second), roundTrip: nil)
      slow.noteConsumption(60_000, now: Instant(nanoseconds: 0) + .seconds(second))
    }
    #expect(slow.size == 100_000)
  }

  @Test("a long path is filled: the window that b announces grows, and b never holds more than it")
  func longPath() throws {
    var network = Network()
    network.delay = .milliseconds(50)
    var world = World.connected()
    world.network = network
    let payload = pattern(60_000)
    for _ in 0..<700 {
      while world.a.association.sendRoom < payload.count, world.step(limit: world.now + .seconds(1)) {}
      try world.a.association.send(OutgoingMessage(1, payload), now: world.now)
    }
    world.run(for: .seconds(10))
    let count = world.b.messages.count
    #expect(count == 700)
    let announced = try world.log.filter { $0.from == .b }.flatMap { try sacks(of: $0.packet) }.map(\.window)
    #expect(try #require(announced.max()) > 1 << 20)
    #expect(try #require(announced.max()) <= 16 << 20)
  }

  @Test("what is held costs more than its bytes: at the window's end one more finds no room")
  func holdingCosts() {
    let each = 1 + Reassembly.holdingCost
    var receiver = DataReceiver(TSN(rawValue: 0), window: 10 * each)
    for index in 0..<11 as Range<UInt32> {
      let message = Draft(stream: 1, isOrdered: true, number: 1 + index, fragments: [[7]])
      let outcome = receiver.take(message.piece(0, tsn: TSN(rawValue: 1 + index)), interleaved: false)
      #expect(outcome == (index < 10 ? .taken : .refused))
    }
    #expect(receiver.availableWindow == 0 && receiver.reassembly.heldBytes == 10)
  }

  @Test("messages nobody polls: 65,536 are kept, and one more is refused")
  func undelivered() {
    var receiver = DataReceiver(TSN(rawValue: 0))
    for index in 0...65_536 as ClosedRange<UInt32> {
      let message = Draft(stream: 1, isOrdered: false, number: 0, fragments: [[7]])
      let outcome = receiver.take(message.piece(0, tsn: TSN(rawValue: index)), interleaved: false)
      if index >= 65_535 { #expect(outcome == (index < 65_536 ? .taken : .refused)) }
    }
    #expect(receiver.reassembly.deliveredCount == DataReceiver.maximumUndelivered)
  }
}
