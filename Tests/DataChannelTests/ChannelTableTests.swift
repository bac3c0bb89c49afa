// ChannelTableTests.swift — opening, sending and closing as RFC 8831, RFC 8832 and the W3C's tests have it.

import DataChannel
import SCTP
import TestSupport
import Testing

@Suite struct OpeningTests {
  @Test("the DTLS client takes even ids, the server odd ones", arguments: [StreamParity.even, .odd])
  func parity(_ parity: StreamParity) throws {
    let side = Side(parity)
    let ids = try (0..<3).map { _ in try side.open() }
    #expect(ids.map { side.stream($0) } == [parity.rawValue, parity.rawValue + 2, parity.rawValue + 4])
  }

  @Test func openGoesOutAndTheChannelIsOpen() throws {
    let side = Side(.even)
    let parameters = ChannelParameters(
      label: "chat", subprotocol: "v1", isOrdered: false, reliability: .maximumRetransmits(3), priority: 512)
    let id = try side.openOnly(parameters)
    #expect(side.state(id) == .connecting, "nothing may overtake the OPEN")
    #expect(side.error(sendingOn: id) == .notOpen)
    side.drain()
    #expect(side.state(id) == .open)
    #expect(side.takeEvents() == [.opened(id)])
    let open = try #require(side.takeSent().first)
    #expect(open.payloadProtocol == .control && open.isOrdered && open.reliability == .reliable && open.stream == 0)
    #expect(open.payload == parameters.openMessage())
  }

  @Test func openedBeforeTheRoleIsKnown() throws {
    let side = Side()
    let first = try side.open(ChannelParameters(label: "a"))
    let negotiated = try side.open(ChannelParameters(label: "n", negotiatedStream: 1))
    let second = try side.open(ChannelParameters(label: "b"))
    #expect(side.stream(first) == nil && side.stream(negotiated) == 1)
    #expect(side.takeSent().isEmpty && side.takeEvents().isEmpty)
    #expect([first, negotiated, second].allSatisfy { side.state($0) == .connecting })

    side.connect(.odd)
    #expect(side.stream(first) == 3 && side.stream(second) == 5, "1 was taken, in the order they were asked for")
    #expect(side.takeSent().map(\.stream) == [3, 5], "a negotiated channel is not announced")
    #expect(Set(side.takeEvents()) == [.opened(first), .opened(negotiated), .opened(second)])
  }

  @Test func remoteChannelIsOpenAtOnceAndAcknowledged() throws {
    let side = Side(.even)
    let parameters = ChannelParameters(label: "€", reliability: .maximumLifetime(milliseconds: 100))
    side.receiveOpen(parameters, on: 1)
    let id = try #require(side.channel(on: 1))
    #expect(side.takeEvents() == [.incoming(id, parameters)])
    #expect(side.state(id) == .open && side.parameters(id) == parameters && side.stream(id) == 1)
    let acknowledgement = try #require(side.takeSent().first)
    #expect(acknowledgement.payload == [2] && acknowledgement.stream == 1)
    #expect(acknowledgement.payloadProtocol == .control && acknowledgement.isOrdered)
  }

  @Test func unorderedSendingWaitsForTheAcknowledgement() throws {
    let side = Side(.even)
    let parameters = ChannelParameters(isOrdered: false, reliability: .maximumRetransmits(0))
    let id = try side.open(parameters)
    let early = try side.message(on: id, text: "early")
    #expect(early.isOrdered && early.reliability == .maximumRetransmits(0))
    side.receiveAcknowledgement(on: 0)
    #expect(try !side.message(on: id, text: "later").isOrdered)

    let other = try side.open(parameters)
    side.receive([1], .binary, on: 2)  // "or any other message"
    #expect(try !side.message(on: other, text: "later").isOrdered)

    side.receiveOpen(parameters, on: 1)
    let incoming = try #require(side.channel(on: 1))
    #expect(try !side.message(on: incoming, text: "now").isOrdered)

    let negotiated = try side.open(
      ChannelParameters(isOrdered: false, reliability: .reliable, negotiatedStream: 100))
    #expect(try !side.message(on: negotiated, text: "now").isOrdered)
  }

  @Test func textsBeyondTheirLimitAreRefused() {
    let side = Side(.even)
    let long = String(repeating: "é", count: 32_768)  // 65,536 bytes, 32,768 characters
    #expect(side.error(opening: ChannelParameters(label: long)) == .labelTooLong)
    #expect(side.error(opening: ChannelParameters(subprotocol: long)) == .protocolTooLong)
    let longest = String(repeating: "x", count: 65_535)
    #expect(side.error(opening: ChannelParameters(label: longest, subprotocol: longest)) == nil)
  }

  @Test func negotiatedIds() throws {
    let side = Side(.even, streams: 100)
    let id = try side.open(ChannelParameters(negotiatedStream: 0))
    #expect(side.state(id) == .open && side.takeSent().isEmpty)
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 0)) == .streamInUse)
    let announced = try side.open()
    #expect(side.stream(announced) == 2, "0 is taken")
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 2)) == .streamInUse, "against a DCEP id")
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 99)) == nil)
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 100)) == .invalidStream)
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 65_535)) == .invalidStream)
    #expect(Side().error(opening: ChannelParameters(negotiatedStream: 65_535)) == .invalidStream)
    #expect(Side().error(opening: ChannelParameters(negotiatedStream: 65_534)) == nil)
  }

  @Test func negotiatedBeforeTheConnectionAndBeyondItsStreams() throws {
    let side = Side()
    let low = try side.open(ChannelParameters(negotiatedStream: 9))
    let high = try side.open(ChannelParameters(negotiatedStream: 10))
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 9)) == .streamInUse)
    side.connect(.even, streams: 10)
    #expect(side.takeEvents() == [.opened(low), .failed(high, .invalidStream), .closed(high)])
    #expect(side.state(high) == .closed && side.takeResets().isEmpty)
  }

  @Test func idsRunOut() throws {
    let side = Side()
    let early = try (0..<4).map { _ in try side.open() }
    side.connect(.odd, streams: 7)  // 1, 3, 5
    #expect(early.map { side.stream($0) } == [1, 3, 5, nil])
    #expect(side.takeEvents().contains(.failed(early[3], .noStreamLeft)))
    #expect(side.error(opening: ChannelParameters()) == .noStreamLeft)
  }

  @Test func everyIdOfAnAssociationCanBeUsed() throws {
    let side = Side(.odd)
    var streams: Set<UInt16> = []
    for _ in 0..<32_767 { streams.insert(try #require(side.stream(try side.open()))) }
    #expect(streams.count == 32_767 && streams.allSatisfy { $0 % 2 == 1 && $0 < 65_535 })
    #expect(side.error(opening: ChannelParameters()) == .noStreamLeft)
  }

  @Test func controlMessagesWaitForRoom() throws {
    let side = Side(.even)
    let id = try side.openOnly(ChannelParameters(label: "four"))
    #expect(side.pollSend(room: 15) == nil)
    #expect(side.state(id) == .connecting)
    #expect(side.pollSend(room: 16)?.payload.count == 16)
    #expect(side.state(id) == .open)
    side.receiveOnly(ChannelParameters().openMessage(), .control, on: 1)
    #expect(side.pollSend(room: 0) == nil)
    #expect(side.pollSend(room: 1)?.payload == [2])
    #expect(side.pollSend(room: .max) == nil)
  }
}

@Suite struct MessageTests {
  @Test func payloadsAndTheirProtocols() throws {
    let side = Side(.even)
    let id = try side.open(ChannelParameters(reliability: .maximumLifetime(milliseconds: 9)))
    let messages = [
      try side.message(on: id, text: "hé"), try side.message(on: id, binary: [0, 255]),
      try side.message(on: id, text: ""), try side.message(on: id, binary: []),
    ]
    #expect(messages.map(\.payloadProtocol.rawValue) == [51, 53, 56, 57])
    #expect(messages.map(\.payload) == [[0x68, 0xc3, 0xa9], [0, 255], [0], [0]], "nothing is sent as one zero byte")
    #expect(messages.allSatisfy { $0.stream == 0 && $0.reliability == .maximumLifetime(milliseconds: 9) })

    let deliveries = messages.map { side.receive($0.payload, $0.payloadProtocol, on: 0) }
    #expect(deliveries.map { $0?.isText } == [true, false, true, false])
    #expect(deliveries.map { $0?.payload } == [[0x68, 0xc3, 0xa9], [0, 255], [], []])
    #expect(deliveries.allSatisfy { $0?.channel == id })
    #expect(deliveries[0]?.text == "hé")
  }

  @Test func payloadsAreMovedBothWays() throws {
    var table = ChannelTable()
    table.connected(as: .even, maximumStreams: 10)
    let id = try table.open(ChannelParameters())
    _ = table.pollSend()

    var outgoing = [UInt8](repeating: 7, count: 100_000)
    let outgoingAddress = outgoing.withUnsafeBufferPointer { $0.baseAddress }
    var message = try table.message(on: id, payload: outgoing, isText: false)
    outgoing = []
    message.payload[0] = 8  // a second owner would force a copy here
    let sentAddress = message.payload.withUnsafeBufferPointer { $0.baseAddress }
    #expect(sentAddress == outgoingAddress)

    let arrived = IncomingMessage(stream: 0, payloadProtocol: .binary, payload: message.payload)
    message.payload = []
    let delivery = table.handle(consume arrived)
    var payload = try #require(consume delivery).payload
    payload[1] = 9
    let deliveredAddress = payload.withUnsafeBufferPointer { $0.baseAddress }
    #expect(deliveredAddress == outgoingAddress)
  }

  @Test func dataMayFollowTheOpenInOneBatch() throws {
    let side = Side(.even)
    side.receiveOnly(ChannelParameters(label: "x").openMessage(), .control, on: 1)
    let delivery = side.receiveOnly([1, 2], .binary, on: 1)
    let id = try #require(side.channel(on: 1))
    #expect(delivery == Delivery(channel: id, isText: false, payload: [1, 2]))
  }

  @Test func statisticsCount() throws {
    let side = Side(.even)
    let id = try side.open()
    side.receiveOpen(on: 1)
    side.receive([1], .binary, on: 55)
    side.close(id)
    side.outgoingReset(0)
    side.incomingReset(0)
    side.receiveOpen(on: 4)
    let statistics = side.statistics
    #expect(statistics.opened == 2 && statistics.closed == 1)
    #expect(statistics.refusedOpens == 1 && statistics.ignoredMessages == 1)
  }
}

@Suite struct ClosingTests {
  @Test("the initiator resets its side, waits for both, and sees no closing")
  func closedByUs() throws {
    let side = Side(.even)
    let id = try side.open()
    side.clear()
    side.close(id)
    #expect(side.state(id) == .closing && side.takeResets() == [0] && side.takeEvents().isEmpty)
    #expect(side.error(sendingOn: id) == .notOpen)
    side.close(id)
    #expect(side.takeResets().isEmpty, "closing once is enough")
    side.outgoingReset(0)
    #expect(side.state(id) == .closing && side.takeEvents().isEmpty, "the peer's side is still open")
    side.incomingReset(0)
    #expect(side.takeEvents() == [.closed(id)])
    #expect(side.state(id) == .closed && side.stream(id) == nil && side.parameters(id) == nil)
  }

  @Test("the other side sees closing, then closed")
  func closedByThePeer() throws {
    let side = Side(.even)
    let id = try side.open()
    side.clear()
    side.incomingReset(0)
    #expect(side.takeEvents() == [.closing(id)] && side.takeResets() == [0])
    #expect(side.state(id) == .closing && side.error(sendingOn: id) == .notOpen)
    side.outgoingReset(0)
    #expect(side.takeEvents() == [.closed(id)])
  }

  @Test func closedByBothAtOnce() throws {
    let side = Side(.even)
    let id = try side.open()
    side.clear()
    side.close(id)
    side.incomingReset(0)
    #expect(side.takeResets() == [0] && side.takeEvents().isEmpty)
    side.outgoingReset(0)
    #expect(side.takeEvents() == [.closed(id)])
  }

  @Test func closedBeforeThePeerHeardOfIt() throws {
    let side = Side()
    let early = try side.open()
    side.close(early)
    #expect(side.takeEvents() == [.closed(early)])
    side.connect(.even)
    #expect(side.takeSent().isEmpty)

    let queued = try side.openOnly()
    side.closeOnly(queued)
    side.drain()
    #expect(side.takeSent().isEmpty && side.takeResets().isEmpty && side.takeEvents() == [.closed(queued)])
    #expect(side.recordCount == 0)
  }

  @Test func closedInsideTheIncomingHandler() throws {
    let side = Side(.even)
    side.receiveOnly(ChannelParameters().openMessage(), .control, on: 1)
    let id = try #require(side.channel(on: 1))
    side.closeOnly(id)
    side.drain()
    #expect(side.takeSent().isEmpty, "no ACK for a channel that is refused")
    #expect(side.takeResets() == [1])
  }

  @Test func everyStreamAtOnce() throws {
    let side = Side(.even)
    let ids = try (0..<3).map { _ in try side.open() }
    side.clear()
    side.incomingReset()  // an empty list names all (RFC 6525 §4.1)
    #expect(side.takeEvents() == ids.map { .closing($0) } && side.takeResets() == [0, 2, 4])
  }

  @Test func manyResetsLeaveInBatches() throws {
    let side = Side(.even)
    let ids = try (0..<600).map { _ in try side.open() }
    for id in ids { side.closeOnly(id) }
    var batches: [Int] = []
    while let batch = side.pollReset() { batches.append(batch.count) }
    #expect(batches == [256, 256, 88])
  }

  @Test func theEndOfTheAssociationClosesEverything() throws {
    let side = Side(.even)
    let open = try side.open()
    let closing = try side.open()
    side.close(closing)
    side.receiveOpen(on: 1)
    let remote = try #require(side.channel(on: 1))
    side.receiveOpen(on: 8)  // refused: nobody has heard of it
    side.clear()
    side.associationClosed()
    #expect(Set(side.takeEvents()) == [.closed(open), .closed(closing), .closed(remote)])
    #expect(side.error(opening: ChannelParameters()) == .connectionClosed)
    #expect(side.error(sendingOn: open) == .notOpen && side.state(open) == .closed)
    side.close(open)
    side.receiveOpen(on: 3)
    side.incomingReset(0, 1, 2)
    side.outgoingReset(0, 1, 2)
    side.associationClosed()
    #expect(side.takeEvents().isEmpty && side.takeSent().isEmpty && side.takeResets().isEmpty)
  }

  @Test func aPeerThatWillNotResetCostsTheStream() throws {
    let side = Side(.even, streams: 4)
    let id = try side.open()
    side.clear()
    side.close(id)
    side.outgoingResetFailed(0)
    #expect(side.takeEvents() == [.closed(id)] && side.state(id) == .closed && side.parameters(id) == nil)
    #expect(side.stream(try side.open()) == 2)
    #expect(side.error(opening: ChannelParameters()) == .noStreamLeft)
    #expect(side.error(opening: ChannelParameters(negotiatedStream: 0)) == .streamInUse)
    #expect(side.receive([1], .binary, on: 0) == nil)
    side.incomingReset(0)
    #expect(!side.takeEvents().contains(.closed(id)), "closed once")
  }

  @Test func oldIdsNameNothingNew() throws {
    let side = Side(.even)
    let first = try side.openOnly()
    side.closeOnly(first)
    let second = try side.openOnly()
    #expect(first != second, "same slot, another generation")
    side.drain()
    #expect(side.state(first) == .closed && side.state(second) == .open)
    side.close(first)
    #expect(side.state(second) == .open)
  }

  @Test("a slot whose generations are used up is not used again")
  func generationsEnd() throws {
    let side = Side(.even)
    var seen: Set<ChannelID> = []
    for _ in 0..<70_000 {
      let id = try side.openOnly()
      #expect(seen.insert(id).inserted)
      side.closeOnly(id)
      side.drain()
      side.clear()
    }
  }
}
