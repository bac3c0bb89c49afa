// World.swift — a client and a simulated server on a simulated clock, between them a seeded link that loses and delays.

import STUN
import TURNTestSupport
import TestSupport
import Testing
import Wire

@testable import TURN

func unhex(_ text: String) -> [UInt8]? { bytes(hex: text) }
func address(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }

final class World {
  var client: TURNClient
  var server = SimulatedServer()
  var now = Instant(nanoseconds: 1_000_000_000)
  var random: RandomSource
  var lossPerMille: UInt64 = 0
  var delay = Interval.milliseconds(20)
  /// Messages from the server may be changed, added to or dropped on their way.
  var meddle: ([UInt8]) throws -> [[UInt8]] = { [$0] }

  var events: [TURNClient.Event] = []
  var received: [(peer: SocketAddress, bytes: [UInt8])] = []
  /// Control messages of the client, with their times.
  var sent: [(at: Instant, bytes: [UInt8])] = []

  private var flying: [(at: Instant, toServer: Bool, bytes: [UInt8])] = []
  static let clientAddress = SocketAddress(ip: .v4(0xc000_0201), port: 7000)

  init(seed: UInt64 = 1, configuration: TURNConfiguration? = nil) {
    random = .seeded(state: seed)
    let credential = STUNCredential(username: "George", password: "wisemans-secret")
    client = TURNClient(
      configuration: configuration ?? TURNConfiguration(credential: credential),
      random: .seeded(state: seed &+ 1_000))
  }

  // MARK: Doing

  func start() throws {
    client.start(now: now)
    try drain()
  }

  /// Starts, and runs until there is an allocation.
  func allocate() throws {
    try start()
    try run(for: .seconds(60)) { $0.client.relayedAddress != nil }
    try #require(relayedAddress != nil, "no allocation: \(events)")
  }

  func prepare(_ peer: SocketAddress) throws -> Bool {
    let isDone = client.prepare(peer: peer, now: now)
    try drain()
    return isDone
  }

  /// Without draining, as when several peers become known at once.
  func ask(_ peer: SocketAddress) -> Bool { client.prepare(peer: peer, now: now) }

  /// - Returns: whether the client took it.
  @discardableResult
  func send(_ payload: [UInt8], to peer: SocketAddress) throws -> Bool {
    var isTaken = false
    let bytes = collectBytes(capacity: payload.count + TURNClient.maximumOverhead) { out in
      isTaken = client.writeHeader(to: peer, into: &out, now: now)
      guard isTaken else { return }
      out.writeBytes(payload)
      client.finishPayload(headerAt: 0, into: &out)
    }
    try drain()
    if isTaken { fly(bytes, toServer: true) }
    return isTaken
  }

  /// The payload with what goes around it, written into a buffer that is full of other bytes.
  func wrapInPoison(_ payload: [UInt8], to peer: SocketAddress) -> [UInt8]? {
    let storage = UnsafeMutableRawBufferPointer.allocate(
      byteCount: payload.count + TURNClient.maximumOverhead, alignment: 8)
    defer { storage.deallocate() }
    for index in storage.indices { storage[index] = 0xa5 }
    var out = OutputRawSpan(buffer: storage, initializedCount: 0)
    guard client.writeHeader(to: peer, into: &out, now: now) else { return nil }
    out.writeBytes(payload)
    client.finishPayload(headerAt: 0, into: &out)
    return Array(storage[..<out.finalize(for: storage)])
  }

  /// `peer` sends to the relayed address. False: the server drops it.
  @discardableResult
  func deliver(_ payload: [UInt8], from peer: SocketAddress) throws -> Bool {
    guard let bytes = try server.deliver(payload, from: peer, now: now) else { return false }
    fly(bytes, toServer: false)
    return true
  }

  func hand(_ bytes: [UInt8]) throws -> TURNInbound {
    let inbound = client.handle(bytes.rawSpan, now: now)
    try drain()
    return inbound
  }

  // MARK: Running

  func run(for duration: Interval, until isDone: (World) -> Bool = { _ in false }) throws {
    let limit = now + duration
    var budget = 200_000
    while !isDone(self) {
      let next = [flying.map(\.at).min(), client.deadline].compactMap { $0 }.min()
      guard let next, next <= limit else {
        now = limit
        return
      }
      now = max(now, next)
      budget -= 1
      try #require(budget > 0, "time does not go on")
      try arrive()
      if let deadline = client.deadline, deadline <= now {
        client.handleTimeout(now: now)
        let moved = client.deadline ?? now + .seconds(1)
        #expect(moved > now, "handleTimeout moves every deadline")
      }
      try drain()
    }
  }

  func drain() throws {
    var hasMore = true
    while hasMore {
      let bytes = collectBytes(capacity: TURNClient.maximumMessageSize) {
        hasMore = client.pollTransmit(into: &$0, now: now)
      }
      guard hasMore else { break }
      sent.append((now, bytes))
      fly(bytes, toServer: true)
    }
    while let event = client.pollEvent() { events.append(event) }
  }

  private func fly(_ bytes: [UInt8], toServer: Bool) {
    guard random.next() % 1_000 >= lossPerMille else { return }
    flying.append((now + delay, toServer, bytes))
  }

  private func arrive() throws {
    let due = flying.filter { $0.at <= now }
    flying.removeAll { $0.at <= now }
    for datagram in due {
      if datagram.toServer {
        if let answer = try server.handle(datagram.bytes, from: Self.clientAddress, now: now) {
          for bytes in try meddle(answer) { fly(bytes, toServer: false) }
        }
      } else if case .payload(let peer, let range) = client.handle(datagram.bytes.rawSpan, now: now) {
        received.append((peer, Array(datagram.bytes[range])))
      }
    }
  }

  // MARK: Looking

  var isFinished: Bool { client.isFinished }
  var relayedAddress: SocketAddress? { client.relayedAddress }
  var deadline: Instant? { client.deadline }
  var statistics: TURNStatistics { client.statistics }

  func requests(_ method: STUNMethod) throws -> Int {
    var ids: Set<TransactionID> = []
    for (_, bytes) in sent {
      let header = try STUNHeader.read(from: bytes.rawSpan).header
      if header.method == method { ids.insert(header.id) }
    }
    return ids.count
  }
}
