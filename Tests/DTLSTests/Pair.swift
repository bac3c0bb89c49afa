// Pair.swift — two DTLS sessions joined by two lossy links under a simulated clock.

import CVirtualClock
import DTLS
import Testing
import Wire

/// One side of a pair, with what it has received so far.
struct Side: ~Copyable {
  var session: DTLSSession
  var events: [DTLSSession.Event] = []
  var received: [[UInt8]] = []

  init(_ session: consuming DTLSSession) { self.session = session }

  mutating func handle(_ datagram: [UInt8], now: Instant) {
    session.handle(datagram.rawSpan, now: now)
    while let plaintext = session.readRecord() { received.append(plaintext) }
    collectEvents()
  }

  mutating func handleTimeout(now: Instant) {
    session.handleTimeout(now: now)
    collectEvents()
  }

  /// The datagrams that are due.
  mutating func transmit() -> [[UInt8]] {
    var datagrams: [[UInt8]] = []
    while let datagram = session.nextFlight() { datagrams.append(datagram) }
    collectEvents()
    return datagrams
  }

  mutating func collectEvents() { while let event = session.pollEvent() { events.append(event) } }
}

extension DTLSSession {
  mutating func readRecord() -> [UInt8]? {
    var didRead = false
    let plaintext = collectBytes(capacity: 20_000) { out in didRead = readApplicationData(into: &out) }
    return didRead ? plaintext : nil
  }

  mutating func nextFlight() -> [UInt8]? {
    let datagram = collectBytes(capacity: 20_000) { out in _ = pollTransmit(into: &out) }
    return datagram.isEmpty ? nil : datagram
  }

  mutating func seal(_ plaintext: [UInt8]) throws(DTLSError) -> [UInt8] {
    try collectBytes(capacity: plaintext.count + Self.recordOverhead) { out throws(DTLSError) in
      try seal(plaintext.rawSpan, into: &out)
    }
  }
}

/// What a link does to the `index`-th datagram that enters it.
typealias Fate = (_ index: Int, _ datagram: [UInt8]) -> [[UInt8]]

/// A client and a server. The clock jumps to whatever happens next.
struct Pair: ~Copyable {
  var client: Side
  var server: Side
  var now = Instant(nanoseconds: 1_000_000_000_000_000_000)
  var toServer: [(at: Instant, datagram: [UInt8])] = []
  var toClient: [(at: Instant, datagram: [UInt8])] = []
  var sentByClient = 0
  var sentByServer = 0
  var bytesSent = 0
  let delay: Interval

  static let clientIdentity = Result { () throws(DTLSError) in try DTLSIdentity.generate() }
  static let serverIdentity = Result { () throws(DTLSError) in try DTLSIdentity.generate() }

  init(
    clientExpects: [Fingerprint]? = nil, serverExpects: [Fingerprint]? = nil, maximumDatagramSize: Int = 1200,
    clientIdentity: DTLSIdentity? = nil, serverIdentity: DTLSIdentity? = nil,
    initialTimeout: Interval = DTLSSession.shortestInitialTimeout, logsKeys: Bool = false,
    delay: Interval = .milliseconds(10)
  ) throws {
    let (ours, theirs) = (
      try clientIdentity ?? Self.clientIdentity.get(), try serverIdentity ?? Self.serverIdentity.get()
    )
    let client = try DTLSSession(
      identity: ours, role: .client, remoteFingerprints: clientExpects ?? [theirs.fingerprint],
      maximumDatagramSize: maximumDatagramSize, initialTimeout: initialTimeout, logsKeys: logsKeys)
    let server = try DTLSSession(
      identity: theirs, role: .server, remoteFingerprints: serverExpects ?? [ours.fingerprint],
      maximumDatagramSize: maximumDatagramSize, initialTimeout: initialTimeout, logsKeys: logsKeys)
    self.delay = delay
    self.client = Side(client)
    self.server = Side(server)
  }

  mutating func start() {
    setClock()
    client.session.start(now: now)
    server.session.start(now: now)
  }

  /// Sends what is due through the links.
  mutating func send(up: Fate, down: Fate) {
    for datagram in client.transmit() {
      sentByClient += 1
      bytesSent += datagram.count
      for copy in up(sentByClient, datagram) { toServer.append((now + delay, copy)) }
    }
    for datagram in server.transmit() {
      sentByServer += 1
      bytesSent += datagram.count
      for copy in down(sentByServer, datagram) { toClient.append((now + delay, copy)) }
    }
  }

  /// Runs until both sides have ended or connected, nothing is under way and no timer runs; at most `limit` long.
  mutating func run(
    limit: Interval = .seconds(120), up: Fate = { _, datagram in [datagram] },
    down: Fate = { _, datagram in [datagram] }
  ) {
    let end = now + limit
    defer { virtual_clock_clear() }
    while true {
      setClock()
      send(up: up, down: down)
      let arrivals = earliest(toServer.map(\.at).min(), toClient.map(\.at).min())
      let timers = earliest(client.session.deadline, server.session.deadline)
      guard let next = earliest(arrivals, timers), next <= end else { return }
      now = max(now, next)
      setClock()
      while let first = toServer.first, first.at <= now {
        toServer.removeFirst()
        server.handle(first.datagram, now: now)
      }
      while let first = toClient.first, first.at <= now {
        toClient.removeFirst()
        client.handle(first.datagram, now: now)
      }
      for due in [client.session.deadline, server.session.deadline] {
        guard let due, due <= now else { continue }
        client.handleTimeout(now: now)
        server.handleTimeout(now: now)
      }
    }
  }

  func setClock() { virtual_clock_set(now.nanoseconds) }

  var bothConnected: Bool { client.session.isConnected && server.session.isConnected }
}
