// MulticastNamesTests.swift — hosts on one link that look up each other's names, and what a hostile neighbour can do.

import MDNS
import Testing
import Wire

/// Hosts on a link where multicast reaches everybody at once.
private struct Link: ~Copyable {
  static let socket = SocketID(rawValue: 1)
  var asker = MulticastNames()
  var responder = MulticastNames()
  var now = Instant(nanoseconds: 1_000_000_000)
  var lost = 0
  var datagrams = 0

  static func address(_ last: UInt32, port: UInt16 = MulticastNames.port) -> SocketAddress {
    SocketAddress(ip: .v4(0xc000_0200 | last), port: port)
  }

  mutating func exchange() {
    while true {
      if let (bytes, _) = Self.next(&asker) {
        datagrams += 1
        if lost > 0 { lost -= 1 } else { responder.handle(bytes.rawSpan, route: Self.route(1), now: now) }
      } else if let (bytes, _) = Self.next(&responder) {
        datagrams += 1
        asker.handle(bytes.rawSpan, route: Self.route(2), now: now)
      } else {
        return
      }
    }
  }

  static func route(_ last: UInt32, port: UInt16 = MulticastNames.port) -> Route {
    Route(socket: socket, remote: address(last, port: port))
  }

  static func next(_ names: inout MulticastNames) -> (bytes: [UInt8], destination: MulticastNames.Destination)? {
    var destination: MulticastNames.Destination?
    let bytes = collectBytes(capacity: DNSMessage.maximumSize) { out in destination = names.pollTransmit(into: &out) }
    return destination.map { (bytes, $0) }
  }
}

private let name = DNSName("7c4b0f10-20a0-4e3c-ab42-33d981a0c5e1.local")

@Suite struct MulticastNamesTests {
  @Test(arguments: [IPAddress.v4(0xc000_0207), .v6(0x2001_0db8_0000_0000, 7, zone: 0)])
  func aNameIsResolvedInOneExchange(address: IPAddress) throws {
    var link = Link()
    let name = try #require(name)
    let isRegistered = link.responder.register(name, address)
    #expect(isRegistered)
    let isTaken = link.asker.resolve(name, now: link.now)
    #expect(isTaken)
    link.exchange()
    let event = link.asker.pollEvent()
    #expect(event == .resolved(name, [address]))
    #expect(link.datagrams == 2)
    let isIdle = link.asker.isIdle
    #expect(isIdle)
    #expect(link.asker.deadline == nil)
  }

  @Test func aLostQuestionIsRepeatedAndOneThatNobodyKnowsGivenUp() throws {
    var link = Link()
    let name = try #require(name)
    _ = link.responder.register(name, .v4(1))
    _ = link.asker.resolve(name, now: link.now)
    link.lost = 2
    link.exchange()
    var waited: [Int64] = []
    var event: MulticastNames.Event?
    while event == nil, let due = link.asker.deadline {
      waited.append((due - link.now).nanoseconds / 1_000_000)
      link.now = due
      link.asker.handleTimeout(now: link.now)
      link.exchange()
      event = link.asker.pollEvent()
    }
    #expect(event == .resolved(name, [.v4(1)]))
    #expect(waited == [1_000, 2_000])

    link.responder.unregister(name)
    _ = link.asker.resolve(name, now: link.now)
    link.exchange()
    waited = []
    event = nil
    while event == nil, let due = link.asker.deadline {
      waited.append((due - link.now).nanoseconds / 1_000_000)
      link.now = due
      link.asker.handleTimeout(now: link.now)
      link.exchange()
      event = link.asker.pollEvent()
    }
    #expect(event == .unresolved(name))
    #expect(waited == [1_000, 2_000, 4_000])
  }

  @Test func ownNamesNeedNoNetwork() throws {
    var names = MulticastNames()
    let name = try #require(name)
    _ = names.register(name, .v4(9))
    let isTaken = names.resolve(name, now: Instant(nanoseconds: 1))
    let event = names.pollEvent()
    #expect(isTaken && event == .resolved(name, [.v4(9)]))
  }

  @Test(arguments: ["example.org", "host.invalid", "local", "metadata.google.internal"])
  func otherNamesAreNotLookedUp(text: String) throws {
    var names = MulticastNames()
    let isTaken = names.resolve(try #require(DNSName(text)), now: Instant(nanoseconds: 1))
    #expect(!isTaken)
    let next1 = Link.next(&names)?.destination
    #expect(next1 == nil)
  }

  @Test func aOneShotQueryIsAnsweredToItsSenderAlone() throws {
    var names = MulticastNames()
    let name = try #require(name)
    _ = names.register(name, .v4(0xc000_0207))
    var query = DNSMessage(id: 0xbeef, isResponse: false)
    query.questions = [DNSQuestion(name: name, kind: .v4, wantsUnicast: true)]
    names.handle(encoded(query).rawSpan, route: Link.route(1, port: 40_000), now: Instant(nanoseconds: 1))
    let sent = Link.next(&names)
    let (bytes, destination) = try #require(sent)
    #expect(destination == .host(Link.route(1, port: 40_000)))
    let answer = try DNSMessage(reading: bytes.rawSpan)
    // RFC 6762 §6.7: the id and the question come back, the record is short-lived and without the cache-flush bit.
    #expect(answer.id == 0xbeef && answer.questions.map(\.name) == [name])
    #expect(
      answer.records == [DNSAddressRecord(name: name, address: .v4(0xc000_0207), timeToLive: 10, isUnique: false)])
  }

  @Test func theGroupIsToldOncePerSecondAndWhoeverWantsUnicastAtOnce() throws {
    var names = MulticastNames()
    let name = try #require(name)
    _ = names.register(name, .v4(0xc000_0207))
    var query = DNSMessage(id: 0, isResponse: false)
    query.questions = [DNSQuestion(name: name, kind: .any, wantsUnicast: false)]
    let start = Instant(nanoseconds: 5)
    names.handle(encoded(query).rawSpan, route: Link.route(1), now: start)
    let sent = Link.next(&names)
    let first = try #require(sent)
    #expect(first.destination == .group)
    let record = try #require(try DNSMessage(reading: first.bytes.rawSpan).records.first)
    #expect(record.timeToLive == 120 && record.isUnique)
    names.handle(encoded(query).rawSpan, route: Link.route(1), now: start + .milliseconds(999))
    let next2 = Link.next(&names)?.destination
    #expect(next2 == nil)
    names.handle(encoded(query).rawSpan, route: Link.route(1), now: start + .seconds(1))
    let next3 = Link.next(&names)?.destination
    #expect(next3 == .group)
    query.questions[0].wantsUnicast = true
    names.handle(encoded(query).rawSpan, route: Link.route(1), now: start + .seconds(1))
    let next4 = Link.next(&names)?.destination
    #expect(next4 == .host(Link.route(1)))
    // The other kind of address does not exist.
    query.questions[0].kind = .v6
    names.handle(encoded(query).rawSpan, route: Link.route(1), now: start + .seconds(9))
    let next5 = Link.next(&names)?.destination
    #expect(next5 == nil)
  }

  @Test func answersThatMeanNothing() throws {
    var names = MulticastNames()
    let name = try #require(name)
    _ = names.resolve(name, now: Instant(nanoseconds: 1))
    var answer = DNSMessage(id: 0, isResponse: true)
    for (address, timeToLive) in [(IPAddress.v4(0), 120), (.v4(0xe000_0001), 120), (.v4(0xc000_0207), 0)] {
      answer.records = [DNSAddressRecord(name: name, address: address, timeToLive: UInt32(timeToLive), isUnique: true)]
      names.handle(encoded(answer).rawSpan, route: Link.route(2), now: Instant(nanoseconds: 2))
    }
    // Somebody else's name, and a sender who is no responder.
    answer.records = [
      DNSAddressRecord(name: try #require(DNSName("x.local")), address: .v4(1), timeToLive: 120, isUnique: true)
    ]
    names.handle(encoded(answer).rawSpan, route: Link.route(2), now: Instant(nanoseconds: 2))
    answer.records = [DNSAddressRecord(name: name, address: .v4(1), timeToLive: 120, isUnique: true)]
    names.handle(encoded(answer).rawSpan, route: Link.route(2, port: 1), now: Instant(nanoseconds: 2))
    let event = names.pollEvent()
    #expect(event == nil)
  }

  @Test func aFloodIsBounded() throws {
    var names = MulticastNames()
    var random = RandomSource.seeded(state: 3)
    var taken = 0
    for _ in 0..<10_000 where names.resolve(.random(using: &random), now: Instant(nanoseconds: 1)) { taken += 1 }
    #expect(taken == 256)
    while Link.next(&names) != nil {}
    let name = try #require(name)
    _ = names.register(name, .v4(1))
    var query = DNSMessage(id: 0, isResponse: false)
    query.questions = [DNSQuestion(name: name, kind: .v4, wantsUnicast: true)]
    let bytes = encoded(query)
    for port in 0..<10_000 {
      names.handle(bytes.rawSpan, route: Link.route(1, port: UInt16(1 + port)), now: Instant(nanoseconds: 2))
    }
    var answers = 0
    while let (answer, _) = Link.next(&names) {
      answers += 1
      #expect(answer.count <= 2 * bytes.count)
    }
    #expect(answers == 512)
    let suppressed = names.statistics.suppressed
    #expect(suppressed == 10_000 - 512)
  }
}
