// BindingTests.swift — finding one's own address, and telling others theirs.

import TestSupport
import Testing
import Wire

@testable import STUN

@Suite struct BindingClientTests {
  private var random = RandomSource.seeded(state: 5)
  private let start = Instant(nanoseconds: 1_000_000_000)
  private let ours = SocketAddress(ip: .v4(0xc000_0201), port: 7000)

  private func poll(_ client: inout BindingClient) -> [UInt8]? {
    var wrote = false
    let bytes = collectBytes(capacity: BindingClient.maximumMessageSize) { wrote = client.pollTransmit(into: &$0) }
    return wrote ? bytes : nil
  }

  private func hand(_ bytes: [UInt8], to client: inout BindingClient, after delay: Interval = .zero) -> Bool {
    client.handle(bytes.rawSpan, now: start + delay)
  }

  private func id(_ request: [UInt8]) throws -> TransactionID { try STUNHeader.read(from: request.rawSpan).header.id }

  @Test("requests at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, the end at 39.5 s")
  mutating func schedule() throws {
    var client = BindingClient(random: &random, now: start)
    var sent: [Int64] = []
    var requests: Set<[UInt8]> = []
    var now = start
    var event: BindingClient.Event?
    while event == nil {
      while let request = poll(&client) {
        sent.append((now - start).nanoseconds / 1_000_000)
        requests.insert(request)
      }
      event = client.pollEvent()
      guard let deadline = client.deadline else { break }
      now = deadline
      client.handleTimeout(now: now)
    }
    #expect(sent == [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500])
    #expect(requests.count == 1)
    #expect(event ?? client.pollEvent() == .timedOut)
    #expect(now - start == .milliseconds(39_500))
    #expect(client.deadline == nil)
  }

  @Test("over a stream the request goes once")
  mutating func stream() throws {
    var client = BindingClient(transport: .stream, random: &random, now: start)
    #expect(poll(&client) != nil)
    #expect(client.deadline == start + .milliseconds(39_500))
    client.handleTimeout(now: start + .milliseconds(39_500))
    #expect(client.pollEvent() == .timedOut)
    #expect(poll(&client) == nil)
  }

  @Test mutating func succeeds() throws {
    var client = BindingClient(random: &random, now: start)
    let request = try #require(poll(&client))
    let address = ours
    let answer = try reply(.successResponse, id: try id(request)) { (writer, out) throws(STUNEncodingError) in
      try writer.plainAddress(.mappedAddress, SocketAddress(ip: .v4(1), port: 1), into: &out)
      try writer.xorMappedAddress(address, into: &out)
    }
    #expect(hand(answer, to: &client, after: .milliseconds(80)))
    #expect(client.pollEvent() == .succeeded(mapped: ours, roundTrip: .milliseconds(80)))
    // Nothing more, whatever comes.
    #expect(!hand(answer, to: &client, after: .milliseconds(90)))
    #expect(client.pollEvent() == nil)
    #expect(client.deadline == nil)
  }

  @Test("an old server says MAPPED-ADDRESS; the answer to a repetition measures nothing")
  mutating func oldServer() throws {
    var client = BindingClient(random: &random, now: start)
    let request = try #require(poll(&client))
    client.handleTimeout(now: start + .milliseconds(500))
    #expect(poll(&client) == request)
    let address = ours
    let answer = try reply(.successResponse, id: try id(request)) { (writer, out) throws(STUNEncodingError) in
      try writer.plainAddress(.mappedAddress, address, into: &out)
    }
    #expect(hand(answer, to: &client, after: .milliseconds(501)))
    #expect(client.pollEvent() == .succeeded(mapped: ours, roundTrip: nil))
  }

  @Test mutating func refusals() throws {
    let other = SocketAddress(ip: .v4(0xc000_0263), port: 3478)
    for (code, event) in [
      (300, BindingClient.Event.redirected(to: other, domain: "b.example")), (420, .refused(code: 420)),
      (401, .refused(code: 401)), (500, .refused(code: 500)),
    ] as [(UInt16, BindingClient.Event)] {
      var client = BindingClient(random: &random, now: start)
      let request = try #require(poll(&client))
      let answer = try reply(.errorResponse, id: try id(request)) { (writer, out) throws(STUNEncodingError) in
        try writer.errorCode(code, into: &out)
        try writer.plainAddress(.alternateServer, other, into: &out)
        try writer.attribute(.alternateDomain, Array("b.example".utf8).rawSpan, into: &out)
      }
      #expect(hand(answer, to: &client))
      #expect(client.pollEvent() == event)
    }
  }

  @Test("what is no answer to this request changes nothing")
  mutating func foreign() throws {
    var client = BindingClient(random: &random, now: start)
    let request = try #require(poll(&client))
    let good = try id(request)
    let ours = ours
    func address(
      _ messageClass: STUNClass, _ method: STUNMethod = .binding, id: TransactionID
    ) throws -> [UInt8] {
      try reply(messageClass, method, id: id) { (writer, out) throws(STUNEncodingError) in
        try writer.xorMappedAddress(ours, into: &out)
      }
    }
    let foreign = [
      try address(.successResponse, id: TransactionID(high: 1, low: 1)),
      try address(.successResponse, .allocate, id: good), try address(.indication, id: good),
      request, [UInt8](repeating: 0, count: 40), [],
      // An attribute that it must understand and does not.
      try reply(.successResponse, id: good) { (writer, out) throws(STUNEncodingError) in
        try writer.attribute(.init(rawValue: 0x7ffe), [UInt8]().rawSpan, into: &out)
        try writer.xorMappedAddress(ours, into: &out)
      },
      try reply(.successResponse, id: good) { (_, _) throws(STUNEncodingError) in },
    ]
    for bytes in foreign {
      _ = hand(bytes, to: &client)
      #expect(client.pollEvent() == nil)
    }
    #expect(client.deadline != nil)
  }
}

@Suite struct BindingResponderTests {
  private let now = Instant(nanoseconds: 0)
  private let source = SocketAddress(ip: .v4(0xc000_0207), port: 4000)

  private func answer(
    _ responder: inout BindingResponder, _ request: [UInt8], from source: SocketAddress, now: Instant? = nil
  ) -> [UInt8]? {
    var wrote = false
    let bytes = collectBytes(capacity: BindingResponder.maximumMessageSize) {
      wrote = responder.answer(request.rawSpan, from: source, into: &$0, now: now ?? self.now)
    }
    return wrote ? bytes : nil
  }

  private func request(fingerprint: Bool = false, unknown: Int = 0) throws -> [UInt8] {
    try reply(.request) { (writer, out) throws(STUNEncodingError) in
      for type in 0..<unknown {
        try writer.attribute(.init(rawValue: UInt16(0x7000 + type)), [UInt8]().rawSpan, into: &out)
      }
      if fingerprint { try writer.fingerprint(into: &out) }
    }
  }

  @Test func tellsTheAddress() throws {
    var responder = BindingResponder(random: .seeded(state: 1))
    let plain = try #require(answer(&responder, try request(), from: source))
    #expect(try Summary(plain).attributes == ["xor-mapped 192.0.2.7:4000"])
    #expect(try Summary(plain).header == STUNHeader(.successResponse, id: TransactionID(high: 1, low: 2)))
    let marked = try #require(answer(&responder, try request(fingerprint: true), from: source))
    #expect(try Summary(marked).hasFingerprint)
  }

  @Test("S1: an answer is at most three times its request, whatever is asked from wherever")
  func s1Amplification() throws {
    var responder = BindingResponder(random: .seeded(state: 1))
    let v6 = try #require(SocketAddress("[2001:db8::1]:65535"))
    for unknown in 0...20 {
      for fingerprint in [false, true] {
        let bytes = try request(fingerprint: fingerprint, unknown: unknown)
        for source in [source, v6] {
          let reply = try #require(answer(&responder, bytes, from: source, now: Instant(nanoseconds: .max / 2)))
          #expect(reply.count <= bytes.count * BindingResponder.maximumAmplification)
          if unknown > 0 {
            #expect(try Summary(reply).attributes.first == "error 420 ")
            #expect(reply.count <= BindingResponder.maximumMessageSize)
          }
        }
      }
      // Limits are another test's.
      responder = BindingResponder(random: .seeded(state: 1))
    }
  }

  @Test("S1: no answer to indications, answers, other methods, damaged requests and junk")
  func s1Silence() throws {
    var responder = BindingResponder(random: .seeded(state: 1))
    var silent: [[UInt8]] = [[], [0], [UInt8](repeating: 0, count: 20), [UInt8](repeating: 0xff, count: 1200)]
    for messageClass in [STUNClass.indication, .successResponse, .errorResponse] {
      silent.append(try reply(messageClass) { (_, _) throws(STUNEncodingError) in })
    }
    for method in [STUNMethod.allocate, .refresh, .send, .data, .createPermission, .channelBind] {
      silent.append(try reply(.request, method) { (_, _) throws(STUNEncodingError) in })
    }
    for block in try HexBlock.read(HexBlock.malformedFile)
    where block.title.hasPrefix("bad:") && !block.title.contains("0x7ffe in a request") { silent.append(block.bytes) }
    var damaged = try request(fingerprint: true)
    damaged[27] ^= 1
    silent.append(damaged)
    silent.append(Array("GET / HTTP/1.1\r\n\r\n".utf8))
    for bytes in silent { #expect(answer(&responder, bytes, from: source) == nil) }
    #expect(responder.statistics.answered == 0)
    #expect(responder.statistics.ignored == silent.count)
    // And none to where no client can be.
    for text in ["0.0.0.0:5", "224.0.0.1:5", "255.255.255.255:5", "[ff02::1]:5", "[::]:5", "192.0.2.1:0"] {
      #expect(answer(&responder, try request(), from: try #require(SocketAddress(text))) == nil)
    }
  }

  @Test("S1: one source gets few answers, and a second later a few more; others are not disturbed")
  func s1RateLimit() throws {
    var responder = BindingResponder(random: .seeded(state: 1))
    let bytes = try request()
    func count(_ requests: Int, from source: SocketAddress, at now: Instant) -> Int {
      (0..<requests).count { _ in answer(&responder, bytes, from: source, now: now) != nil }
    }
    #expect(count(1_000, from: source, at: now) == 50)
    // Another port is the same source.
    #expect(count(10, from: SocketAddress(ip: source.ip, port: 9), at: now) == 0)
    #expect(count(10, from: SocketAddress(ip: .v4(0x0a00_0001), port: 9), at: now) == 10)
    #expect(count(1_000, from: source, at: now + .seconds(1)) == 20)
    #expect(count(1_000, from: source, at: now + .seconds(100)) == 50)
    // Whoever has an IPv6 address has 2^64 of them.
    let host = try #require(IPAddress("2001:db8::"))
    guard case .v6(let high, _, _) = host else { return }
    let answered = (0..<1_000).count { low in
      let source = SocketAddress(ip: .v6(high, UInt64(low), zone: 0), port: 7)
      return answer(&responder, bytes, from: source, now: now + .seconds(100)) != nil
    }
    #expect(answered == 50)
  }

  @Test("S1, T7, T13: a hundred thousand forged sources get a bounded number of answers and no memory")
  func manySources() throws {
    var limits = BindingResponder.Limits()
    limits.overall = 500
    var responder = BindingResponder(limits: limits, random: .seeded(state: 2))
    let bytes = try request()
    var random = RandomSource.seeded(state: 3)
    for _ in 0..<100_000 {
      let source = SocketAddress(ip: .v4(UInt32(truncatingIfNeeded: random.next()) >> 1 | 1), port: 53)
      _ = answer(&responder, bytes, from: source)
    }
    #expect(responder.statistics.answered == 500)
    #expect(responder.statistics.answered + responder.statistics.limited + responder.statistics.ignored == 100_000)
  }

  @Test("a client finds its address by asking the responder")
  func together() throws {
    var random = RandomSource.seeded(state: 4)
    var client = BindingClient(random: &random, now: now)
    var responder = BindingResponder(random: .seeded(state: 1))
    let request = collectBytes(capacity: BindingClient.maximumMessageSize) { _ = client.pollTransmit(into: &$0) }
    let reply = try #require(answer(&responder, request, from: source))
    let isAnswer = client.handle(reply.rawSpan, now: now + .milliseconds(1))
    #expect(isAnswer)
    #expect(client.pollEvent() == .succeeded(mapped: source, roundTrip: .milliseconds(1)))
  }
}
