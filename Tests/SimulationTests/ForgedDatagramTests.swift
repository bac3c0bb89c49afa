// ForgedDatagramTests.swift — datagrams from addresses that no connectivity check has validated (TURN and media servers
// lost sessions to them: a ClientHello from anywhere, sent before the real one).

import CVirtualClock
import DTLS
import DataChannel
import Foundation
import ICE
import Peer
import Simulation
import TestSupport
import Testing
import Wire

@Suite struct ForgedDatagramTests {
  private static let attacker = Route(
    socket: SocketID(rawValue: 0), remote: SocketAddress(ip: .v4(0xC633_6401), port: 4_444))

  /// A genuine first flight, from somebody who is not the peer.
  private static func clientHello(now: Instant) throws -> [[UInt8]] {
    let identity = try DTLSIdentity.generate()
    var session = try DTLSSession(
      identity: identity, role: .client, remoteFingerprints: [identity.fingerprint], maximumDatagramSize: 1_200)
    session.start(now: now)
    var flight: [[UInt8]] = []
    var more = true
    while more {
      let datagram = collectBytes(capacity: 2_048) { out in more = session.pollTransmit(into: &out) }
      if more { flight.append(datagram) }
    }
    return flight
  }

  /// The attacker's ClientHello arrives at both sides at every step of the set-up; the genuine handshake completes, and
  /// OpenSSL has seen none of the forgeries.
  @Test func clientHelloFromElsewhereNeverReachesOpenSSL() throws {
    defer { virtual_clock_clear() }
    var conditions = PathConditions()
    conditions.lossPerMille = 50
    var peers = try TwoPeers(conditions: conditions, seed: 3) { virtual_clock_set($0.nanoseconds) }
    let forged = try Self.clientHello(now: peers.now)
    #expect(!forged.isEmpty)
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "genuine"), now: peers.now)
    try peers.negotiate()
    var isOpen = false
    var steps = 0
    var injected: UInt64 = 0
    while !isOpen, steps < 2_000 {
      for datagram in forged {
        peers.offerer.handle(datagram.rawSpan, route: Self.attacker, now: peers.now)
        peers.answerer.handle(datagram.rawSpan, route: Self.attacker, now: peers.now)
        injected += 1
      }
      let isPending = peers.step { _, event in
        if case .channelOpened(let id) = event, id == channel { isOpen = true }
      }
      steps += 1
      if !isPending { break }
    }
    #expect(isOpen, "the genuine handshake completes")
    // A few are held for a validation that never comes; all others are dropped at once.
    let held = UInt64(4)
    for dropped in [peers.offerer.counters.datagramsDropped, peers.answerer.counters.datagramsDropped] {
      #expect(dropped >= injected - held && dropped > 0)
    }
    let states = (peers.offerer.state, peers.answerer.state)
    #expect(states == (.connected, .connected))
  }

  /// Junk of every first byte, from the peer's own address, breaks nothing.
  @Test func junkOfEveryKindIsDropped() throws {
    defer { virtual_clock_clear() }
    var peers = try TwoPeers(conditions: PathConditions(), seed: 5) { virtual_clock_set($0.nanoseconds) }
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "steady"), now: peers.now)
    try peers.negotiate()
    var isOpen = false
    let opened = peers.run(limit: .seconds(10), until: { _ in false }) { _, event in
      if case .channelOpened = event { isOpen = true }
    }
    #expect(isOpen && !opened)
    let route = Route(socket: SocketID(rawValue: 0), remote: TwoPeers.offererAddress)
    var random = RandomSource.seeded(state: 9)
    for first in UInt8.min...UInt8.max {
      for size in [1, 2, 13, 20, 60, 1_200] {
        let junk = [first] + random.bytes(size - 1)
        peers.answerer.handle(junk.rawSpan, route: route, now: peers.now)
      }
    }
    let nothing: [UInt8] = []
    let now = peers.now
    peers.answerer.handle(nothing.rawSpan, route: route, now: now)
    try peers.offerer.send(on: channel, isText: true, payload: Array("still here".utf8), now: now)
    var received: [UInt8]?
    _ = peers.run(limit: .seconds(5), until: { _ in false }) { side, event in
      if side == .answerer, case .message(_, true, let payload) = event { received = payload }
    }
    #expect(received == Array("still here".utf8))
  }

  /// I11: a message that looks like STUN travels inside DTLS like any other, and no agent ever sees it.
  @Test func payloadThatLooksLikeSTUNIsNoSTUN() throws {
    defer { virtual_clock_clear() }
    var peers = try TwoPeers(conditions: PathConditions(), seed: 11) { virtual_clock_set($0.nanoseconds) }
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "odd"), now: peers.now)
    try peers.negotiate()
    var payload: [UInt8] = [0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42]
    payload += [UInt8](repeating: 9, count: 12) + [0x80, 0x28, 0, 4, 1, 2, 3, 4]
    var arrived: [UInt8]?
    var isSent = false
    for _ in 0..<500 where arrived == nil {
      var isOpen = false
      _ = peers.step { _, event in
        if case .channelOpened(channel) = event { isOpen = true }
        if case .message(_, _, let bytes) = event { arrived = bytes }
      }
      if isOpen, !isSent {
        try peers.offerer.send(on: channel, isText: false, payload: payload, now: peers.now)
        isSent = true
      }
    }
    #expect(arrived == payload)
    let statistics = peers.answerer.ice.statistics
    #expect(statistics.malformed == 0 && statistics.unauthenticated == 0 && statistics.ignoredMessages == 0)
    let dropped = peers.answerer.counters.datagramsDropped
    #expect(dropped == 0)
  }
}
