// FlightTests.swift — the four flights of a handshake: how many datagrams they take, what becomes of each one that is lost,
// when they go out again, and who may begin.

import COpenSSL
import CVirtualClock
import DTLS
import Testing
import Wire

/// The flights of a whole handshake without a cookie (RFC 6347 §4.2.4).
enum Flight: Int, CaseIterable {
  case clientHello, serverHello, clientFinished, serverFinished

  /// Whose datagram this is, and whether the flight begins with it, judged by its first record.
  static func of(_ datagram: [UInt8], fromClient: Bool) -> (flight: Flight, isFirst: Bool) {
    let (contentType, messageType) = (datagram[0], datagram[13])
    let isWhole = contentType != 22 || datagram[19...21].allSatisfy { $0 == 0 }  // the fragment's offset
    switch (fromClient, contentType, messageType) {
    case (true, 22, 1): return (.clientHello, isWhole)
    case (true, 22, 11): return (.clientFinished, isWhole)
    case (true, _, _): return (.clientFinished, false)
    case (false, 22, 2): return (.serverHello, isWhole)
    case (false, 20, _): return (.serverFinished, true)
    case (false, _, _): return (.serverHello, false)
    }
  }
}

/// What was seen of each flight.
struct FlightCount {
  /// How often each was sent.
  var transmissions: [Flight: Int] = [:]
  /// The sizes of the datagrams of the first transmission.
  var sizes: [Flight: [Int]] = [:]

  /// - Returns: which transmission of its flight the datagram belongs to, from 1.
  mutating func note(_ datagram: [UInt8], fromClient: Bool) -> (flight: Flight, transmission: Int) {
    let (flight, isFirst) = Flight.of(datagram, fromClient: fromClient)
    if isFirst { transmissions[flight, default: 0] += 1 }
    let transmission = transmissions[flight, default: 0]
    if transmission == 1 { sizes[flight, default: []].append(datagram.count) }
    return (flight, transmission)
  }
}

@Suite struct FlightTests {
  /// Runs a handshake in which the first so many transmissions of each flight are lost.
  private func run(_ pair: inout Pair, losing losses: [Flight: Int]) -> FlightCount {
    var count = FlightCount()
    let fate = { (datagram: [UInt8], fromClient: Bool) -> [[UInt8]] in
      let (flight, transmission) = count.note(datagram, fromClient: fromClient)
      return transmission <= losses[flight, default: 0] ? [] : [datagram]
    }
    pair.start()
    pair.run(up: { fate($1, true) }, down: { fate($1, false) })
    return count
  }

  @Test(
    "D18: each flight lost once, twice, and in every combination of two", arguments: [1_200, 512], DTLSKeyKind.allCases)
  func lostFlights(datagramSize: Int, kind: DTLSKeyKind) throws {
    let identity = try IdentityTests.identity(kind)
    var plans: [[Flight: Int]] = [[:]]
    for flight in Flight.allCases {
      for times in 1...2 {
        plans.append([flight: times])
        for other in Flight.allCases where other.rawValue > flight.rawValue {
          for otherTimes in 1...2 { plans.append([flight: times, other: otherTimes]) }
        }
      }
    }
    #expect(plans.count == 1 + 8 + 24)
    for plan in plans {
      var pair = try Pair(
        maximumDatagramSize: datagramSize, clientIdentity: identity, serverIdentity: identity)
      let began = pair.now
      let count = run(&pair, losing: plan)
      #expect(pair.client.events == [.connected] && pair.server.events == [.connected], "\(plan)")
      for (flight, times) in plan { #expect(count.transmissions[flight, default: 0] > times, "\(plan)") }
      // Four losses at 50, 100, 200 and 400 ms, at most, and a few round trips of 20 ms.
      #expect(pair.now - began < .seconds(1), "\(plan): \(pair.now - began)")
      pair.server.handle(try pair.client.session.seal([1]), now: pair.now)
      pair.client.handle(try pair.server.session.seal([2]), now: pair.now)
      #expect(pair.server.received == [[1]] && pair.client.received == [[2]], "\(plan)")
    }
  }

  @Test("a flight takes as few datagrams as fit, the first time and each time again", arguments: [1_200, 900, 512])
  func bundling(datagramSize: Int) throws {
    for losses: [Flight: Int] in [[:], [.clientHello: 1, .serverHello: 1, .clientFinished: 1, .serverFinished: 1]] {
      var pair = try Pair(maximumDatagramSize: datagramSize)
      var sent: [Flight: [[Int]]] = [:]
      var count = FlightCount()
      let fate = { (datagram: [UInt8], fromClient: Bool) -> [[UInt8]] in
        let (flight, transmission) = count.note(datagram, fromClient: fromClient)
        if sent[flight, default: []].count < transmission { sent[flight, default: []].append([]) }
        sent[flight]![transmission - 1].append(datagram.count)
        return transmission <= losses[flight, default: 0] ? [] : [datagram]
      }
      pair.start()
      pair.run(up: { fate($1, true) }, down: { fate($1, false) })
      let areConnected = pair.bothConnected
      #expect(areConnected)
      for flight in Flight.allCases {
        #expect(sent[flight]!.count > losses[flight, default: 0])
        for sizes in sent[flight]! {
          // What the last record's encryption adds is kept free in each.
          let fewest = (sizes.reduce(0, +) + datagramSize - 25) / (datagramSize - 24)
          #expect(sizes.count == fewest, "\(flight) at \(datagramSize): \(sizes)")
          #expect(sizes.allSatisfy { $0 <= datagramSize }, "\(flight) at \(datagramSize): \(sizes)")
        }
      }
      if datagramSize == 1_200 { #expect(sent.values.joined().allSatisfy { $0.count == 1 }) }
    }
  }

  @Test("the first timeout is as told, within its bounds, and doubles up to five seconds")
  func firstTimeout() throws {
    for (told, first) in [(200, 200), (10, 50), (60_000, 3_000)] as [(Int64, Int64)] {
      var pair = try Pair(initialTimeout: .milliseconds(told))
      let began = pair.now
      pair.start()
      var times: [Int64] = []
      while true {
        if !pair.client.transmit().isEmpty { times.append((pair.now - began).nanoseconds / 1_000_000) }
        guard let due = pair.client.session.deadline else { break }
        pair.now = due
        pair.setClock()
        pair.client.handleTimeout(now: pair.now)
      }
      virtual_clock_clear()
      var (expected, wait): ([Int64], Int64) = ([0], first)
      while expected.last! + wait < 30_000 {
        expected.append(expected.last! + wait)
        wait = min(wait * 2, 5_000)
      }
      #expect(times == expected, "told \(told)")
      #expect(pair.now - began == DTLSSession.handshakeLimit)
      #expect(pair.client.events == [.failed(.handshakeTimedOut)])
    }
  }

  @Test("with a timeout from the path's round trip nothing goes out twice on a slow path; with the shortest it does")
  func slowPath() throws {
    for (timeout, isPatient) in [(Interval.milliseconds(400), true), (.milliseconds(50), false)] {
      var pair = try Pair(initialTimeout: timeout, delay: .milliseconds(100))
      pair.start()
      pair.run()
      let areConnected = pair.bothConnected
      #expect(areConnected)
      #expect((pair.sentByClient == 2 && pair.sentByServer == 2) == isPatient)
    }
  }

  @Test("the server's last flight is lost, and sent again by a server that is long connected and busy")
  func lostLastFlight() throws {
    var pair = try Pair()
    pair.start()
    var lost = 0
    pair.run(
      limit: .seconds(2),
      down: { _, datagram in
        guard Flight.of(datagram, fromClient: false).flight == .serverFinished, lost < 5 else { return [datagram] }
        lost += 1
        return []
      })
    #expect(lost == 5)
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
    // What the server sealed meanwhile was early for the client, and is not lost.
    pair = try Pair()
    pair.start()
    pair.run(limit: .milliseconds(35), down: { index, datagram in index > 1 ? [] : [datagram] })
    let (isServerDone, isClientDone) = (pair.server.session.isConnected, pair.client.session.isConnected)
    #expect(isServerDone && !isClientDone)
    pair.client.handle(try pair.server.session.seal([7]), now: pair.now)
    pair.run()
    #expect(pair.client.events == [.connected] && pair.client.received == [[7]])
  }

  @Test("a hello comes in pieces and goes out in pieces, in whichever order they arrive")
  func fragmentedHello() throws {
    // Like a browser's with a post-quantum key share: some 1,400 bytes.
    let names = (0..<12).flatMap { _ in [UInt8](repeating: 100, count: 101) }
    for size in [256, 700, 1_200] {
      for isReversed in [false, true] {
        let key = try #require(openssl_generate_p256())
        var fingerprint: Fingerprint?
        let raw = try RawPeer(role: .client) { context in
          fingerprint = try? RawPeer.use(key, in: context)
          SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in 1 }
          #expect(SSL_CTX_set_alpn_protos(context, names, UInt32(names.count)) == 0)
        }
        #expect(openssl_set_sizes(raw.ssl, size, 1_200) == 1)
        let announced = try #require(fingerprint)
        var side = Side(
          try DTLSSession(
            identity: try Pair.serverIdentity.get(), role: .server, remoteFingerprints: [announced]))
        let now = Instant(nanoseconds: 0)
        raw.advance()
        let pieces = raw.transmit()
        #expect(pieces.count > 1_200 / size)
        for piece in isReversed ? pieces.reversed() : pieces { side.handle(piece, now: now) }
        exchange(raw, &side, now: now)
        #expect(side.events == [.connected] && raw.isConnected, "\(size), reversed: \(isReversed)")
      }
    }
  }

  @Test("whichever side starts first, both at once, or the client before the server: they meet", arguments: 0..<4)
  func starts(order: Int) throws {
    var pair = try Pair()
    pair.setClock()
    defer { virtual_clock_clear() }
    switch order {
    case 0:  // both at once
      pair.start()
    case 1:  // the server waits for a while
      pair.server.session.start(now: pair.now)
      pair.run(limit: .seconds(3))
      pair.now = pair.now + .seconds(3)
      pair.setClock()
      pair.client.session.start(now: pair.now)
    case 2:  // the hello finds a server that was not started, and starts it
      pair.client.session.start(now: pair.now)
    default:  // the server does not exist yet when the first hellos come
      pair.client.session.start(now: pair.now)
      pair.run(limit: .milliseconds(500), up: { _, _ in [] })
      pair.server.session.start(now: pair.now)
    }
    pair.run()
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
  }

  @Test("two clients fail, and so do two servers, by the deadline and with an error that says so")
  func sameRole() throws {
    for role in [DTLSRole.client, .server] {
      let (one, other) = (try Pair.clientIdentity.get(), try Pair.serverIdentity.get())
      var pair = try Pair()
      pair.client = Side(
        try DTLSSession(identity: one, role: role, remoteFingerprints: [other.fingerprint]))
      pair.server = Side(
        try DTLSSession(identity: other, role: role, remoteFingerprints: [one.fingerprint]))
      let began = pair.now
      pair.start()
      pair.run()
      for events in [pair.client.events, pair.server.events] {
        guard events.count == 1, case .failed(let error) = events[0] else {
          Issue.record("\(events)")
          continue
        }
        switch (role, error) {
        case (.server, .handshakeTimedOut), (.client, .protocolFailure): break
        default: Issue.record("\(role): \(error)")
        }
      }
      #expect(pair.now - began <= DTLSSession.handshakeLimit)
      let deadlines = [pair.client.session.deadline, pair.server.session.deadline]
      #expect(deadlines == [nil, nil])
    }
  }
}
