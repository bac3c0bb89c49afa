// ChannelAttackTests.swift — flaws that other implementations have had, P1 to P11, and what becomes of them here.

import DataChannel
import SCTP
import TestSupport
import Testing
import Wire

@Suite struct ChannelAttackTests {
  @Test("P1: an OPEN whose lengths add up beyond 16 bits is refused")
  func lengthsThatWrap() {
    let side = Side(.even)
    // 0xffff + 0x0001 is 0 in 16 bits, which is just what is there.
    for lengths: [UInt8] in [[0xff, 0xff, 0xff, 0xff], [0xff, 0xff, 0, 1], [0x80, 0, 0x80, 0]] {
      side.receive([3, 0, 1, 0, 0, 0, 0, 0] + lengths, .control, on: 1)
      #expect(side.takeEvents().isEmpty && side.takeSent().isEmpty)
    }
    #expect(side.takeResets() == [1])
    #expect(side.statistics.refusedOpens == 1 && side.statistics.ignoredMessages == 2, "1 waits for the peer's reset")
  }

  @Test("P2: labels and protocols that DCEP cannot carry are never encoded")
  func longTexts() {
    let side = Side()
    let long = String(repeating: "x", count: 65_536)
    #expect(side.error(opening: ChannelParameters(label: long)) == .labelTooLong)
    #expect(side.error(opening: ChannelParameters(subprotocol: long)) == .protocolTooLong)
    #expect(side.error(opening: ChannelParameters(label: long, negotiatedStream: 1)) == .labelTooLong)
    #expect(side.recordCount == 0)
  }

  @Test("P3: a flood of OPENs opens so many channels, and costs so much, and no more")
  func floodOfOpens() {
    let side = Side(.even)
    for stream in stride(from: UInt16(1), to: 65_535, by: 2) { side.receiveOpen(on: stream) }
    let incoming = side.takeEvents().count { if case .incoming = $0 { true } else { false } }
    #expect(incoming == 1024)
    #expect(side.takeSent().count == 1024, "one ACK each")
    #expect(side.takeResets().count == 256)
    #expect(side.recordCount == 1024 + 256)
    #expect(side.statistics.refusedOpens == 32_767 - 1024)
    for stream in stride(from: UInt16(1), to: 65_535, by: 2) {
      side.receive([1], .binary, on: stream)
      side.incomingReset(stream)
      side.outgoingReset(stream)
    }
    #expect(side.recordCount == 0, "all of it is given back")
    side.receiveOpen(on: 1)
    #expect(side.channel(on: 1) != nil)
  }

  @Test("P3: a batch opens so many channels, the next batch as many again")
  func opensPerBatch() {
    let side = Side(.even, limits: ChannelLimits(maximumRemoteChannels: 100, maximumOpensPerBatch: 10))
    for stream in 0..<20 as Range<UInt16> {
      side.receiveOnly(ChannelParameters().openMessage(), .control, on: 2 * stream + 1)
    }
    side.drain()
    #expect(side.takeEvents().count == 10 && side.takeResets().count == 10)
    for stream in 20..<40 as Range<UInt16> { side.receiveOpen(on: 2 * stream + 1) }
    #expect(side.takeEvents().count == 20)
  }

  @Test("P3: our own channels do not count as the peer's")
  func ownChannelsAreNotLimited() throws {
    let side = Side(.even, limits: ChannelLimits(maximumRemoteChannels: 1))
    for _ in 0..<10 { try side.open() }
    try side.open(ChannelParameters(negotiatedStream: 7))
    side.receiveOpen(on: 1)
    #expect(side.channel(on: 1) != nil)
    side.receiveOpen(on: 3)
    #expect(side.channel(on: 3) == nil)
  }

  @Test("P4: an id that is taken is an error once, not an endless attempt")
  func takenId() throws {
    let side = Side(.even)
    let id = try side.open(ChannelParameters(negotiatedStream: 6))
    side.clear()
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 6)) == .streamInUse)
    #expect(side.takeSent().isEmpty && side.takeResets().isEmpty && side.takeEvents().isEmpty)
    #expect(side.state(id) == .open && side.recordCount == 1)
  }

  @Test("P5: an OPEN of the wrong parity is refused by a reset")
  func wrongParity() throws {
    let side = Side(.even)
    side.receiveOpen(on: 0)
    #expect(side.takeEvents().isEmpty && side.takeSent().isEmpty && side.takeResets() == [0])
    #expect(side.channel(on: 0) == nil)
    side.receiveOpen(on: 0)
    #expect(side.takeResets().isEmpty, "once is enough")
    #expect(side.receive([1], .binary, on: 0) == nil)
    #expect(side.stream(try side.open()) == 2, "until both sides have reset it, 0 is not ours either")
    side.outgoingReset(0)
    side.incomingReset(0)
    #expect(side.takeEvents().allSatisfy { if case .closed = $0 { false } else { true } }, "nobody heard of it")
    #expect(side.recordCount == 1)
  }

  @Test("P5: an OPEN on a stream in use closes that channel and never becomes one")
  func openOnALiveChannel() throws {
    let intruder = ChannelParameters(label: "intruder", isOrdered: false)
    for (name, make) in [
      ("local", { side in try side.open(ChannelParameters(label: "mine")) }),
      ("negotiated", { side in try side.open(ChannelParameters(label: "mine", negotiatedStream: 0)) }),
      (
        "remote",
        { side in
          side.receiveOpen(ChannelParameters(label: "mine"), on: 1)
          return try #require(side.channel(on: 1))
        }
      ),
    ] as [(String, (Side) throws -> ChannelID)] {
      let side = Side(.even)
      let id = try make(side)
      let stream = try #require(side.stream(id))
      side.clear()
      side.receiveOpen(intruder, on: stream)
      #expect(side.takeEvents() == [.failed(id, .openedTwice)], "\(name)")
      #expect(side.parameters(id)?.label == "mine" && side.state(id) == .closing, "\(name)")
      #expect(side.takeResets() == [stream] && side.takeSent().isEmpty, "\(name)")
      #expect(side.receive([1], .binary, on: stream) == nil)
      side.incomingReset(stream)
      side.outgoingReset(stream)
      #expect(side.takeEvents() == [.closed(id)], "\(name)")
    }
  }

  @Test("P5: an OPEN on a stream whose own OPEN is still queued")
  func openOnAQueuedChannel() throws {
    let side = Side(.even)
    let id = try side.openOnly()
    side.receiveOpen(on: 0)
    #expect(side.takeSent().isEmpty && side.takeResets() == [0])
    #expect(side.takeEvents() == [.failed(id, .openedTwice)])
  }

  @Test("P5: an ACK without an OPEN, or for the peer's own channel, is ignored")
  func strayAcknowledgements() throws {
    let side = Side(.even)
    side.receiveAcknowledgement(on: 0)
    side.receiveAcknowledgement(on: 1)
    side.receiveOpen(on: 3)
    side.clear()
    side.receiveAcknowledgement(on: 3)
    let id = try side.open()
    side.clear()
    side.receiveAcknowledgement(on: 0)
    side.receiveAcknowledgement(on: 0)
    side.receive([2, 0, 0, 0], .control, on: 0)
    side.receive([], .control, on: 0)
    side.receive([0x77, 1], .control, on: 0)
    #expect(side.takeEvents().isEmpty && side.takeSent().isEmpty && side.takeResets().isEmpty)
    #expect(side.statistics.ignoredMessages == 6 && side.state(id) == .open)
  }

  @Test("P5: messages before the association is up, or on streams it does not have, are ignored")
  func strangeStreams() {
    let side = Side()
    side.receiveOpen(on: 1)
    side.connect(.even, streams: 10)
    side.receiveOpen(on: 11)
    side.receiveOpen(on: 65_535)
    side.receive([1], .string, on: 65_535)
    side.incomingReset(11, 65_535)
    side.outgoingReset(11, 65_535)
    side.outgoingResetFailed(11, 65_535)
    #expect(side.statistics.ignoredMessages == 4 && side.recordCount == 0)
    #expect(side.takeEvents().isEmpty && side.takeResets().isEmpty && side.takeSent().isEmpty)
  }

  @Test("P6: data ahead of its OPEN is dropped, and the OPEN still opens")
  func dataBeforeOpen() throws {
    let side = Side(.even)
    #expect(side.receive([1], .binary, on: 1) == nil)
    side.receiveOpen(on: 1)
    let id = try #require(side.channel(on: 1))
    #expect(side.receive([2], .binary, on: 1) == Delivery(channel: id, isText: false, payload: [2]))
    #expect(side.statistics.ignoredMessages == 1)
  }

  @Test("P7: message sizes are the association's business; an OPEN of the largest size is still one message")
  func largestOpen() throws {
    let text = String(repeating: "x", count: 65_535)
    let sender = Side(.odd)
    try sender.open(ChannelParameters(label: text, subprotocol: text))
    let open = try #require(sender.takeSent().first)
    #expect(open.payload.count == 131_082 && open.payload.count < 262_144)
    let receiver = Side(.even)
    receiver.receive(open.payload, open.payloadProtocol, on: open.stream)
    let id = try #require(receiver.channel(on: 1))
    #expect(receiver.parameters(id)?.label == text)
  }

  @Test("P8: what looks compressed is delivered as it came")
  func nothingIsInflated() throws {
    let side = Side(.even)
    try side.open()
    let gzip: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    #expect(side.receive(gzip, .binary, on: 0)?.payload == gzip)
  }

  @Test(
    "P9: an unknown or deprecated payload protocol closes the channel", arguments: [0, 1, 49, 52, 54, 55, 58, .max])
  func unknownPayloadProtocol(_ rawValue: UInt32) throws {
    let side = Side(.even)
    let id = try side.open()
    side.clear()
    let unknown = PayloadProtocol(rawValue: rawValue)
    #expect(side.receive([1, 2], unknown, on: 0) == nil)
    #expect(side.takeEvents() == [.failed(id, .unknownPayloadProtocol(unknown))])
    #expect(side.takeResets() == [0])
    side.receive([1, 2], unknown, on: 0)
    #expect(side.takeEvents().isEmpty, "once")
    side.receive([1, 2], unknown, on: 9)
    #expect(side.takeResets().isEmpty, "no channel, nothing to close")
  }

  @Test("P9: an empty message is empty whatever stands in for it")
  func emptyMessagesWithContent() throws {
    let side = Side(.even)
    let id = try side.open()
    for payload in [[0], [7], [1, 2, 3]] as [[UInt8]] {
      #expect(side.receive(payload, .emptyString, on: 0) == Delivery(channel: id, isText: true, payload: []))
      #expect(side.receive(payload, .emptyBinary, on: 0) == Delivery(channel: id, isText: false, payload: []))
    }
  }

  @Test("P10: text that is not UTF-8 is repaired")
  func invalidText() throws {
    let side = Side(.even)
    try side.open()
    for (payload, text) in [
      ([0xff], "\u{fffd}"), ([0x61, 0xc3], "a\u{fffd}"), ([0xed, 0xa0, 0x80], "\u{fffd}\u{fffd}\u{fffd}"),
      ([0x61, 0x00, 0x62], "a\u{0}b"), ([0xef, 0xbb, 0xbf, 0x61], "\u{feff}a"),
    ] as [([UInt8], String)] {
      let delivery = try #require(side.receive(payload, .string, on: 0))
      #expect(delivery.payload == payload)
      #expect(Array(delivery.text.unicodeScalars) == Array(text.unicodeScalars))
    }
  }

  @Test("P11: an id is free when both directions are reset, not before")
  func reuseBeforeBothResets() throws {
    let side = Side(.even)
    let id = try side.open(ChannelParameters(negotiatedStream: 5))
    let again = ChannelParameters(negotiatedStream: 5)
    #expect(side.error(opening: again) == .streamInUse)
    side.close(id)
    #expect(side.error(opening: again) == .streamInUse)
    side.incomingReset(5)
    #expect(side.error(opening: again) == .streamInUse)
    side.outgoingReset(5)
    #expect(side.error(opening: again) == nil)
  }

  @Test("P11: the peer may not use an id again before it has reset its own side")
  func remoteReuseBeforeItsReset() throws {
    let side = Side(.even)
    side.receiveOpen(ChannelParameters(label: "old"), on: 1)
    let id = try #require(side.channel(on: 1))
    side.close(id)
    side.outgoingReset(1)
    side.clear()
    side.receiveOpen(ChannelParameters(label: "new"), on: 1)
    #expect(side.takeEvents().isEmpty && side.takeSent().isEmpty && side.channel(on: 1) == id)
    side.incomingReset(1)
    #expect(side.takeEvents() == [.closed(id)])
    side.receiveOpen(ChannelParameters(label: "new"), on: 1)
    #expect(side.parameters(try #require(side.channel(on: 1)))?.label == "new")
  }

  @Test("P11: the peer uses an id again although its confirmation has not reached us")
  func remoteReuseBeforeItsConfirmation() throws {
    let side = Side(.even)
    side.receiveOpen(ChannelParameters(label: "old"), on: 1)
    let old = try #require(side.channel(on: 1))
    side.incomingReset(1)
    #expect(side.takeResets() == [1])
    side.clear()
    let parameters = ChannelParameters(label: "new")
    side.receiveOpen(parameters, on: 1)
    let new = try #require(side.channel(on: 1))
    #expect(new != old && side.takeEvents() == [.closed(old), .incoming(new, parameters)])
    // The late confirmation is the old channel's: it does not count when the new one closes.
    side.close(new)
    #expect(side.takeResets().isEmpty)
    side.outgoingReset(1)
    #expect(side.takeResets() == [1] && side.state(new) == .closing)
    side.incomingReset(1)
    #expect(side.state(new) == .closing)
    side.outgoingReset(1)
    #expect(side.takeEvents() == [.closed(new)] && side.recordCount == 0)
  }

  @Test("P11: a freed id rests, so that our OPEN does not meet the old channel at the peer")
  func freedIdsRest() throws {
    let side = Side(.even)
    var order: [UInt16] = []
    for _ in 0..<100 {
      let id = try side.open()
      let stream = try #require(side.stream(id))
      order.append(stream)
      side.close(id)
      side.incomingReset(stream)
      side.outgoingReset(stream)
    }
    for (index, stream) in order.enumerated() {
      #expect(!order[..<index].suffix(31).contains(stream), "\(stream) again after fewer than 31 others")
    }
    #expect(order.allSatisfy { $0 < 66 }, "but a long life does not walk through all ids")
  }

  @Test("P11: with only one id, it is used again and again")
  func singleId() throws {
    let side = Side(.odd, streams: 2)
    for _ in 0..<1000 {
      let id = try side.open()
      #expect(side.stream(id) == 1)
      side.close(id)
      side.incomingReset(1)
      side.outgoingReset(1)
      #expect(side.takeEvents() == [.opened(id), .closed(id)])
    }
    #expect(side.recordCount == 0)
  }

  @Test("a negotiated channel takes a resting id, and gives it back once")
  func restingIdsAndNegotiation() throws {
    let side = Side(.odd, streams: 6)  // 1, 3, 5
    func closeCompletely(_ id: ChannelID) throws {
      let stream = try #require(side.stream(id))
      side.close(id)
      side.incomingReset(stream)
      side.outgoingReset(stream)
    }
    try closeCompletely(try side.open())  // 1 rests
    for _ in 0..<100 { try closeCompletely(try side.open(ChannelParameters(negotiatedStream: 1))) }
    let streams = try (0..<3).map { _ in side.stream(try side.open()) }
    #expect(streams == [3, 5, 1])
    #expect(side.error(opening: ChannelParameters()) == .noStreamLeft)
  }
}
