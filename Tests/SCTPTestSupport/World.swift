// World.swift — two associations on a simulated clock with a seeded network between them.

package import SCTP
package import Wire

/// One endpoint with what it has told so far.
package struct Endpoint: ~Copyable {
  package var association: SCTPAssociation
  package var events: [SCTPAssociation.Event] = []
  package var messages: [IncomingMessage] = []
  /// Releases what it receives at once; set to false to let the window fill.
  package var releases = true

  package init(_ configuration: SCTPConfiguration = .init(), seed: UInt64) {
    association = SCTPAssociation(configuration: configuration, random: .seeded(state: seed))
  }

  package mutating func collect(now: Instant) {
    while let message = association.pollMessage() {
      if releases { association.releaseReceived(message.payload.count, now: now) }
      messages.append(message)
    }
    while let event = association.pollEvent() { events.append(event) }
  }

  /// The next packet, if one is due.
  package mutating func packet(now: Instant) -> [UInt8]? {
    var written = false
    let bytes = collectBytes(capacity: 2_048) { out in
      written = association.pollTransmit(into: &out, now: now)
    }
    return written ? bytes : nil
  }

  package struct NothingToSend: Error {}

  package mutating func requirePacket(now: Instant) throws -> [UInt8] {
    guard let packet = packet(now: now) else { throw NothingToSend() }
    return packet
  }

  package mutating func packets(now: Instant) -> [[UInt8]] {
    var result: [[UInt8]] = []
    while let next = packet(now: now) { result.append(next) }
    return result
  }

  package mutating func handle(_ packet: [UInt8], now: Instant) { association.handle(packet.rawSpan, now: now) }
}

package struct Network {
  package var delay = Interval.milliseconds(10)
  package var jitter = Interval.zero
  package var lossPerMille: UInt64 = 0
  package var duplicatePerMille: UInt64 = 0
  package var corruptPerMille: UInt64 = 0

  package init() {}
}

/// Runs endpoints `a` and `b` until nothing is due or a condition holds.
package struct World: ~Copyable {
  package enum Side { case a, b }
  package struct Flight {
    package var arrival: Instant
    package var order: Int
    package var to: Side
    package var packet: [UInt8]
  }

  package var a: Endpoint
  package var b: Endpoint
  package var now = Instant(nanoseconds: 1_000_000_000)
  package var network: Network
  package var random: RandomSource
  package var inFlight: [Flight] = []
  package var sent = 0
  /// Sees every packet before the network does; false drops it.
  package var filter: ((Side, [UInt8]) -> Bool)?
  package var log: [(from: Side, packet: [UInt8])] = []

  package init(
    seed: UInt64 = 1, network: Network = .init(), a: SCTPConfiguration = .init(), b: SCTPConfiguration = .init()
  ) {
    self.a = Endpoint(a, seed: seed &* 2 &+ 1)
    self.b = Endpoint(b, seed: seed &* 2 &+ 2)
    self.network = network
    random = .seeded(state: seed)
  }

  /// Both sides up, with nothing in flight; with DATA, which most tests craft, where nothing else is asked for.
  package static func connected(
    seed: UInt64 = 1, network: Network = .init(), a: SCTPConfiguration = .notInterleaving,
    b: SCTPConfiguration = .notInterleaving
  ) -> World {
    var world = World(seed: seed, a: a, b: b)
    world.a.association.connect(now: world.now)
    world.b.association.connect(now: world.now)
    world.run(until: { a, b in a.state == .established && b.state == .established })
    world.settle()
    world.a.events.removeAll()
    world.b.events.removeAll()
    world.log.removeAll()
    world.network = network
    return world
  }

  /// Sends what is due, and collects what has been delivered.
  package mutating func flush() {
    while true {
      var moved = false
      while let packet = a.packet(now: now) {
        put(packet, from: .a)
        moved = true
      }
      while let packet = b.packet(now: now) {
        put(packet, from: .b)
        moved = true
      }
      a.collect(now: now)
      b.collect(now: now)
      if !moved { return }
    }
  }

  private mutating func put(_ packet: [UInt8], from: Side) {
    log.append((from, packet))
    if let filter, !filter(from, packet) { return }
    let to: Side = from == .a ? .b : .a
    guard !chance(network.lossPerMille) else { return }
    let copies = chance(network.duplicatePerMille) ? 2 : 1
    for _ in 0..<copies {
      var copy = packet
      if chance(network.corruptPerMille) {
        copy[Int(random.next() % UInt64(copy.count))] ^= UInt8(1 + random.next() % 255)
      }
      let jitter =
        network.jitter > .zero
        ? Interval(nanoseconds: Int64(random.next() % UInt64(network.jitter.nanoseconds))) : .zero
      inFlight.append(Flight(arrival: now + network.delay + jitter, order: sent, to: to, packet: copy))
      sent += 1
    }
  }

  private mutating func chance(_ perMille: UInt64) -> Bool { perMille > 0 && random.next() % 1_000 < perMille }

  package var nextDue: Instant? {
    var due = earliest(a.association.deadline, b.association.deadline)
    for flight in inFlight { due = earliest(due, flight.arrival) }
    return due
  }

  /// One step: to the next moment at which something is due. False: nothing is, or it is later than `limit`.
  package mutating func step(limit: Instant) -> Bool {
    flush()
    guard let due = nextDue, due <= limit else { return false }
    now = max(now, due)
    let arrived = inFlight.filter { $0.arrival <= now }.sorted {
      $0.arrival != $1.arrival ? $0.arrival < $1.arrival : $0.order < $1.order
    }
    inFlight.removeAll { $0.arrival <= now }
    for flight in arrived {
      if flight.to == .a { a.handle(flight.packet, now: now) } else { b.handle(flight.packet, now: now) }
    }
    if let due = a.association.deadline, due <= now { a.association.handleTimeout(now: now) }
    if let due = b.association.deadline, due <= now { b.association.handleTimeout(now: now) }
    flush()
    return true
  }

  /// Runs until `done`, or until `limit` has passed.
  ///
  /// - Returns: whether `done` held.
  @discardableResult
  package mutating func run(
    for limit: Interval = .seconds(120), until done: (borrowing SCTPAssociation, borrowing SCTPAssociation) -> Bool
  ) -> Bool {
    let end = now + limit
    flush()
    while !done(a.association, b.association) {
      if !step(limit: end) { return done(a.association, b.association) }
    }
    return true
  }

  /// Runs for a while.
  package mutating func run(for time: Interval) {
    let end = now + time
    while step(limit: end) {}
    now = max(now, end)
  }

  /// Runs until nothing is in flight and only heartbeats are due.
  package mutating func settle() { run(for: .seconds(2)) }
}

extension OutgoingMessage {
  package init(_ stream: UInt16, _ payload: [UInt8], ordered: Bool = true, _ reliability: Reliability = .reliable) {
    self.init(
      stream: stream, payloadProtocol: .binary, payload: payload, isOrdered: ordered, reliability: reliability)
  }
}

/// Bytes that differ along the way and from seed to seed.
package func pattern(_ count: Int, _ seed: Int = 0) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) ^ (seed &* 7)) }
}

extension SCTPConfiguration {
  /// Data travels in DATA, whatever the other side offers.
  package static var notInterleaving: SCTPConfiguration {
    var result = SCTPConfiguration()
    result.offersInterleaving = false
    return result
  }
}
