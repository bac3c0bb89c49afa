// LossTests.swift — handshakes over links that lose, repeat, reorder and corrupt, under a simulated clock.

import CVirtualClock
import DTLS
import Testing
import Wire

@Suite struct LossTests {
  @Test("D18: each of the first four datagrams either way lost or not, once and twice")
  func everyCombinationOfLosses() throws {
    for repetitions in 1...2 {
      for combination in 0..<256 {
        var pair = try Pair()
        pair.start()
        // A lost datagram takes the next one, its retransmission, with it where losses repeat.
        let isLost = { (index: Int, shift: Int) in
          let slot = (index - 1) / repetitions
          return slot < 4 && combination >> (shift + slot) & 1 == 1
        }
        pair.run(
          up: { index, datagram in isLost(index, 0) ? [] : [datagram] },
          down: { index, datagram in isLost(index, 4) ? [] : [datagram] })
        let didConnect = pair.bothConnected
        #expect(didConnect, "combination \(combination), \(repetitions) times")
      }
    }
  }

  @Test("D14: whatever the loss, the handshake ends in time and sends a bounded number of bytes")
  func boundedEffort() throws {
    var connected = 0
    var mostBytes = 0
    for percent in [0, 10, 20, 40, 60, 80, 100] {
      for seed in 1...20 as ClosedRange<UInt64> {
        var random = RandomSource.seeded(state: seed)
        var pair = try Pair()
        let began = pair.now
        pair.start()
        let isLost = { random.next() % 100 < UInt64(percent) }
        pair.run(
          up: { _, datagram in isLost() ? [] : [datagram] }, down: { _, datagram in isLost() ? [] : [datagram] })
        let story = Comment("seed \(seed), \(percent) %")
        #expect(pair.now - began <= DTLSSession.handshakeLimit + .seconds(1), story)
        let (client, server) = (pair.client.events, pair.server.events)
        #expect(client == [.connected] || client == [.failed(.handshakeTimedOut)], story)
        #expect(server == [.connected] || server == [.failed(.handshakeTimedOut)], story)
        #expect(pair.bytesSent < 64_000, story)
        mostBytes = max(mostBytes, pair.bytesSent)
        if client == [.connected] { connected += 1 }
        if percent == 100 { #expect(client == [.failed(.handshakeTimedOut)], story) }
      }
    }
    print("140 handshakes at 0 to 100 % loss: \(connected) connected, at most \(mostBytes) bytes sent")
  }

  @Test("D17: a due timer always moves, and the session ends")
  func timersMakeProgress() throws {
    for role in [DTLSRole.client, .server] {
      var pair = try Pair()
      pair.start()
      defer { virtual_clock_clear() }
      if role == .server {
        for datagram in pair.client.transmit() { pair.server.handle(datagram, now: pair.now) }
      }
      var wakeUps = 0
      while let due = role == .client ? pair.client.session.deadline : pair.server.session.deadline {
        pair.now = max(pair.now, due)
        pair.setClock()
        if role == .client {
          pair.client.handleTimeout(now: pair.now)
        } else {
          pair.server.handleTimeout(now: pair.now)
        }
        let next = role == .client ? pair.client.session.deadline : pair.server.session.deadline
        if let next { #expect(next > pair.now) }
        wakeUps += 1
        try #require(wakeUps < 100)
      }
      let events = role == .client ? pair.client.events : pair.server.events
      #expect(events == [.failed(.handshakeTimedOut)])
    }
  }

  @Test("a wall clock that stands still neither spins nor keeps the handshake for ever")
  func frozenWallClock() throws {
    var pair = try Pair()
    pair.start()
    defer { virtual_clock_clear() }
    var wakeUps = 0
    while let due = pair.client.session.deadline {
      pair.now = due  // OpenSSL's clock stays where it was
      pair.client.handleTimeout(now: pair.now)
      wakeUps += 1
      try #require(wakeUps < 1000)
    }
    #expect(pair.client.events == [.failed(.handshakeTimedOut)])
  }

  @Test("repetition and reordering do no harm")
  func repeatsAndReorders() throws {
    for seed in 1...60 as ClosedRange<UInt64> {
      var random = RandomSource.seeded(state: seed)
      var pair = try Pair(maximumDatagramSize: 512)
      pair.start()
      var held: [[[UInt8]]] = [[], []]
      let fate = { (side: Int, datagram: [UInt8]) -> [[UInt8]] in
        switch random.next() % 4 {
        case 0: return [datagram, datagram, datagram]
        case 1:  // kept back until a later one passes
          held[side].append(datagram)
          return []
        default:
          defer { held[side] = [] }
          return [datagram] + held[side]
        }
      }
      pair.run(up: { fate(0, $1) }, down: { fate(1, $1) })
      let didConnect = pair.bothConnected
      #expect(didConnect, "seed \(seed)")
    }
  }

  @Test("application data that overtakes the handshake's last flight is kept, and delivered after it")
  func earlyData() throws {
    var pair = try Pair()
    pair.start()
    var lastFlight: [[UInt8]] = []
    // The server's second flight, which ends the handshake for the client, is held back.
    pair.run(
      limit: .milliseconds(45),
      down: { index, datagram in
        guard index > 1 else { return [datagram] }
        lastFlight.append(datagram)
        return []
      })
    let isServerConnected = pair.server.session.isConnected
    let isClientConnected = pair.client.session.isConnected
    #expect(isServerConnected && !isClientConnected)
    for number in 0..<5 as Range<UInt8> {
      pair.client.handle(try pair.server.session.seal([number]), now: pair.now)
    }
    #expect(pair.client.received.isEmpty)
    for datagram in lastFlight { pair.client.handle(datagram, now: pair.now) }
    #expect(pair.client.events == [.connected])
    #expect(pair.client.received == [[0], [1], [2], [3], [4]])
  }

  @Test("a flood of early data takes bounded memory")
  func earlyFlood() throws {
    var pair = try Pair()
    pair.start()
    let before = thread_live_bytes()
    for number in 0..<1000 as Range<UInt64> {
      let forged = record(type: 23, epoch: 1, sequence: number, [UInt8](repeating: 1, count: 100))
      pair.client.handle(forged, now: pair.now)
      pair.server.handle(forged, now: pair.now)
    }
    let growth = thread_live_bytes() - before
    #expect(growth < 2 * 32 * 20_000, "grew by \(growth) bytes")
    pair.run()
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
  }

  @Test("corruption on the way never yields a wrong byte, and never ends a connected session")
  func corruption() throws {
    for seed in 1...30 as ClosedRange<UInt64> {
      var random = RandomSource.seeded(state: seed)
      var pair = try Pair()
      pair.start()
      let corrupt = { (datagram: [UInt8]) -> [[UInt8]] in
        guard random.next() % 4 == 0 else { return [datagram] }
        var broken = datagram
        broken[Int(random.next() % UInt64(broken.count))] ^= UInt8(1) << UInt8(random.next() % 8)
        return [broken]
      }
      pair.run(limit: .seconds(40), up: { corrupt($1) }, down: { corrupt($1) })
      guard pair.bothConnected else { continue }  // a broken plaintext flight may well fail the handshake
      for number in 0..<50 as Range<UInt8> {
        let sealed = try pair.client.session.seal([number, number])
        for datagram in corrupt(sealed) { pair.server.handle(datagram, now: pair.now) }
      }
      #expect(pair.server.events == [.connected], "seed \(seed)")
      #expect(pair.server.received.allSatisfy { $0.count == 2 && $0[0] == $0[1] }, "seed \(seed)")
      #expect(pair.server.received.count > 20, "seed \(seed)")
    }
  }

  @Test("forged records of every type and length leave a connected session as it is")
  func forgedRecords() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    for length in 0...64 {
      for type in [UInt8(0), 20, 21, 22, 23, 24, 25, 26, 255] {
        for epoch in [UInt16(0), 1, 2] {
          let forged = record(type: type, epoch: epoch, sequence: 1 << 40, [UInt8](repeating: type, count: length))
          pair.client.handle(forged, now: pair.now)
          pair.server.handle(forged + forged.dropLast(), now: pair.now)
        }
      }
    }
    pair.client.handle(try pair.server.session.seal([1]), now: pair.now)
    pair.server.handle(try pair.client.session.seal([2]), now: pair.now)
    #expect(pair.client.events == [.connected] && pair.server.events == [.connected])
    #expect(pair.client.received == [[1]] && pair.server.received == [[2]])
  }

  @Test("garbage in every phase is survived")
  func garbage() throws {
    var random = RandomSource.seeded(state: 7)
    for round in 0..<40 {
      var pair = try Pair()
      if round % 2 == 0 { pair.start() }
      for _ in 0..<100 {
        var bytes = random.bytes(Int(random.next() % 80))
        if bytes.count > 3, random.next() % 2 == 0 { bytes.replaceSubrange(0..<3, with: [22, 0xfe, 0xfd]) }
        pair.client.handle(bytes, now: pair.now)
        pair.server.handle(bytes, now: pair.now)
      }
      pair.start()
      pair.run(limit: .seconds(40))
      #expect(pair.client.received.isEmpty && pair.server.received.isEmpty)
    }
  }
}
