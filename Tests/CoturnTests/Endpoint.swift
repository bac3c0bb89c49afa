// Endpoint.swift — a TURN client on a real socket, driven by one thread and the real clock.

import Foundation
import STUN
import TURN
import Testing
import Wire

final class Endpoint {
  var client: TURNClient
  let socket: PlainSocket
  private let server: SocketAddress
  private let transport: TURNConfiguration.Transport
  private var stream: [UInt8] = []
  private(set) var events: [TURNClient.Event] = []
  private(set) var received: [(peer: SocketAddress, bytes: [UInt8])] = []
  private(set) var channelPayloads = 0
  /// Added to the clock, so that what is due in minutes is due now.
  var ahead = Interval.zero

  init(server: SocketAddress, socket: PlainSocket? = nil, configuration: TURNConfiguration) throws {
    self.server = server
    transport = configuration.transport
    client = TURNClient(configuration: configuration, random: .system)
    self.socket = try socket ?? PlainSocket(transport == .stream ? .stream : .datagram, isV6: !server.ip.isV4)
    // The server is still starting, perhaps.
    try waitFor("a connection") { self.transport == .datagram || self.socket.connect(to: server) }
  }

  var now: Instant {
    Instant(nanoseconds: Int64(DispatchTime.now().uptimeNanoseconds)) + ahead
  }
  var relayed: SocketAddress? { client.relayedAddress }

  func allocate() throws -> SocketAddress {
    client.start(now: now)
    try waitFor("an allocation") { !self.events.isEmpty }
    return try #require(relayed, "\(events)")
  }

  func send(_ payload: [UInt8], to peer: SocketAddress) throws -> Bool {
    var isTaken = false
    let bytes = collectBytes(capacity: payload.count + TURNClient.maximumOverhead) { out in
      isTaken = client.writeHeader(to: peer, into: &out, now: now)
      guard isTaken else { return }
      out.writeBytes(payload)
      client.finishPayload(headerAt: 0, into: &out)
    }
    try drain()
    guard isTaken else { return false }
    if bytes[0] >= 64 { channelPayloads += 1 }
    try transmit(bytes)
    return true
  }

  func close() throws {
    client.close(now: now)
    try waitFor("the end") { self.client.isFinished }
  }

  /// Works until it is true; ten seconds at most.
  func waitFor(_ what: String, _ isTrue: () -> Bool) throws {
    let limit = now + .seconds(10)
    try drain()
    while !isTrue() {
      try #require(now < limit, "waited too long for \(what): \(events)")
      try step(milliseconds: 20)
    }
  }

  /// Takes what has come, or waits a little for it.
  func step(milliseconds: Int) throws {
    if let (bytes, _) = socket.receive(milliseconds: milliseconds) {
      stream += bytes
      if transport == .datagram {
        take(bytes)
        stream = []
      }
      while let length = nextMessage() {
        take(Array(stream[..<length]))
        stream.removeFirst(length)
      }
    }
    if let deadline = client.deadline, deadline <= now { client.handleTimeout(now: now) }
    try drain()
  }

  /// RFC 8656 §12.5: ChannelData is padded on a stream.
  private func nextMessage() -> Int? {
    guard transport == .stream, stream.count >= 4 else { return nil }
    let length = Int(stream[2]) << 8 | Int(stream[3])
    let total = stream[0] >= 64 ? 4 + (length + 3) & ~3 : 20 + length
    return stream.count >= total ? total : nil
  }

  private func take(_ bytes: [UInt8]) {
    if case .payload(let peer, let range) = client.handle(bytes.rawSpan, now: now) {
      received.append((peer, Array(bytes[range])))
    }
  }

  private func drain() throws {
    var hasMore = true
    while hasMore {
      let bytes = collectBytes(capacity: TURNClient.maximumMessageSize) {
        hasMore = client.pollTransmit(into: &$0, now: now)
      }
      if hasMore { try transmit(bytes) }
    }
    while let event = client.pollEvent() { events.append(event) }
  }

  private func transmit(_ bytes: [UInt8]) throws { try socket.send(bytes, to: transport == .datagram ? server : nil) }
}
