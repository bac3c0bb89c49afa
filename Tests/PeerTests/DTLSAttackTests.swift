// DTLSAttackTests.swift — DTLS between two whole peers with somebody in between: D1, D2, D3 and D12, and what a session is told
// by ICE.
//
// The attacker sends from wherever he likes and changes what is signalled; he has neither side's ICE password.

import DTLS
import DataChannel
import ICE
import Peer
import TestSupport
import Testing
import Wire

/// The first record of a ClientHello that looks right: what a scanner sends to every port.
private func hello(seed: UInt64) -> [UInt8] {
  var random = RandomSource.seeded(state: seed)
  let body = [0xfe, 0xfd] + random.bytes(32) + [0, 0, 0, 2, 0xc0, 0x2b, 1, 0]
  let message = [1, 0, 0, UInt8(body.count), 0, 0, 0, 0, 0, 0, 0, UInt8(body.count)] + body
  return [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(message.count)] + message
}

private func isDTLS(_ datagram: [UInt8]) -> Bool { (20...63).contains(datagram.first ?? 0) }

@Suite struct DTLSAttackTests {
  private static let attacker = SocketAddress(ip: .v4(0xcb00_7101), port: 4_444)

  @Test("D1: a hello from an address that no check has validated does nothing, before, during and after the handshake")
  func helloFromElsewhere() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let world = try DirectWorld(seed: seed)
      func attack() {
        for number in 0..<20 as Range<UInt64> {
          world.inject(hello(seed: seed + number), from: Self.attacker)
          // A fatal alert, and data of the epoch to come.
          world.inject([21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40], from: Self.attacker)
          world.inject(
            [23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 32] + [UInt8](repeating: 7, count: 32), from: Self.attacker)
        }
      }
      attack()  // before there is any description
      try world.negotiate()
      attack()  // before ICE has found a pair
      while !world.isOpen {
        guard try world.step() else { break }
        attack()
      }
      attack()
      #expect(world.isOpen, "seed \(seed): \(world.failure)")
      #expect(world.datagrams(to: Self.attacker).isEmpty, "seed \(seed): nothing is answered")
      try world.exchangeMessages()
      // Of what he sent, at most what the queue for early hellos holds was kept for a while.
      #expect(world.dropped > 60)
    }
  }

  @Test("D1: hellos that fill the queue for early ones cost the genuine peer a retransmission at most")
  func fullEarlyQueue() throws {
    let world = try DirectWorld()
    try world.negotiate()
    for number in 0..<10_000 as Range<UInt64> { world.inject(hello(seed: number), from: Self.attacker) }
    let began = world.now
    while !world.isOpen, try world.step() {}
    #expect(world.isOpen)
    #expect(world.now - began < .seconds(2))
    #expect(world.dropped >= 2 * 9_990)
  }

  @Test("D12: nothing of DTLS goes anywhere but where a check has succeeded")
  func certificatesStayHome() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let world = try DirectWorld(seed: seed)
      try world.negotiate()
      // His candidate is announced as if it were the peer's: checks go to it, unanswered, and hellos come from it.
      try world.announce(Self.attacker)
      world.isShut = true
      while !world.isOpen, try world.step() {
        world.inject(hello(seed: world.steps), from: Self.attacker)
        // For a while his is the only candidate that might answer.
        if world.steps > 6 { world.isShut = false }
      }
      #expect(world.isOpen && world.steps > 6, "seed \(seed): \(world.failure)")
      let received = world.datagrams(to: Self.attacker)
      #expect(!received.isEmpty, "checks go to whatever is announced")
      #expect(received.allSatisfy { !isDTLS($0) }, "seed \(seed)")
    }
  }

  @Test("D12: even when no pair works at all, a hello is never answered")
  func noPair() throws {
    let world = try DirectWorld()
    world.isShut = true
    try world.negotiate()
    try world.announce(Self.attacker)
    while world.now < Instant(nanoseconds: 60_000_000_000), try world.step() {
      world.inject(hello(seed: world.steps), from: Self.attacker)
    }
    #expect(!world.isOpen)
    #expect(world.datagrams(to: Self.attacker).allSatisfy { !isDTLS($0) })
    #expect(world.allDatagrams.allSatisfy { !isDTLS($0) })
  }

  // MARK: Fingerprints

  @Test(
    "D2, D3: every mutation of the announced fingerprint fails the connection, in both roles", arguments: Mutation.all)
  func mutatedFingerprint(mutation: Mutation) throws {
    for isOffer in [true, false] {
      for setup in ["actpass", "active", "passive"] where isOffer || setup != "actpass" {
        let world = try DirectWorld()
        let story = "\(mutation), in the \(isOffer ? "offer" : "answer"), \(setup)"
        do {
          try world.negotiate { text, isOfferText in
            var text = text
            // An answerer that is passive has the other role.
            if isOfferText, isOffer, setup != "actpass" {
              text = text.replacing("a=setup:actpass", with: "a=setup:\(setup)")
            }
            if isOfferText, !isOffer {
              text = text.replacing("a=setup:actpass", with: "a=setup:\(setup == "active" ? "passive" : "active")")
            }
            return isOfferText == isOffer ? mutation.apply(text) : text
          }
        } catch {
          // Refused where it was read, with a typed error: nothing has begun.
          #expect(mutation.isUnreadable, "\(story): \(error)")
          #expect(world.allDatagrams.isEmpty)
          continue
        }
        #expect(!mutation.isUnreadable, "\(story)")
        try world.openChannels()
        while world.now < Instant(nanoseconds: 60_000_000_000), try world.step() {}
        // The side that was told the wrong fingerprint knows why; nothing opens on either.
        let wary = isOffer ? world.answerer.failure : world.offerer.failure
        #expect(wary == "DTLS: fingerprintMismatch", "\(story)")
        let other = isOffer ? world.offerer.failure : world.answerer.failure
        #expect(other?.hasPrefix("DTLS: ") == true, "\(story): \(other ?? "no failure")")
        #expect(world.opened == 0 && world.messages.isEmpty, "\(story)")
        #expect(!world.states.contains(.connected), "\(story)")
        #expect(world.states.filter { $0 == .failed }.count == 2, "\(story)")
        // No SCTP and no SRTP: each record that went out belongs to the handshake, none to epoch 1 but Finished.
        for datagram in world.allDatagrams {
          #expect(!(128...191).contains(datagram[0]), "\(story)")
          #expect(!holdsApplicationData(datagram), "\(story)")
        }
      }
    }
  }

  @Test("a changed certificate on a connection that exists is refused, with and without an ICE restart")
  func changedFingerprint() throws {
    for restarts in [false, true] {
      let world = try DirectWorld()
      try world.negotiate()
      while !world.isOpen, try world.step() {}
      #expect(world.isOpen)
      if restarts { world.offerer.restartICE() }
      #expect(throws: NegotiationError.self) {
        try world.renegotiate { text, isOffer in isOffer ? Mutation.flipped(byte: 0).apply(text) : text }
      }
      try world.exchangeMessages()
    }
  }

  @Test("a description with several hashes of one certificate is understood, and the strongest decides")
  func severalHashes() throws {
    var configuration = Connection.Configuration()
    configuration.fingerprintAlgorithms = [.sha256, .sha512]
    let world = try DirectWorld(configuration: configuration)
    var lines = 0
    try world.negotiate { text, _ in
      lines += text.split(separator: "\r\n").count { $0.hasPrefix("a=fingerprint:") }
      return text
    }
    #expect(lines == 4)
    while !world.isOpen, try world.step() {}
    #expect(world.isOpen)
  }

  // MARK: Timers

  @Test(
    "on a path with a round trip of 100 ms and more no hello goes out twice", arguments: [50, 100, 250, 400] as [Int64])
  func slowPath(delay: Int64) throws {
    let world = try DirectWorld(delay: .milliseconds(delay))
    try world.negotiate()
    while !world.isOpen, try world.step() {}
    #expect(world.isOpen)
    let hellos = world.allDatagrams.count { $0[0] == 22 && $0[13] == 1 }
    #expect(hellos == 1)
    // The handshake's four flights, each once.
    let flights = world.allDatagrams.count { (20...22).contains($0[0]) }
    #expect(flights == 4)
  }
}

/// Something done to the value of `a=fingerprint`.
enum Mutation: Sendable, CustomStringConvertible {
  case flipped(byte: Int), otherHash, weakHash, truncated, lengthened, missing, anotherCertificate, noColons

  static let all: [Mutation] =
    (0..<32).map { .flipped(byte: $0) } + [
      .otherHash, .weakHash, .truncated, .lengthened, .missing, .anotherCertificate, .noColons,
    ]

  /// Whether the description itself is refused.
  var isUnreadable: Bool {
    switch self {
    case .flipped, .anotherCertificate: false
    case .otherHash, .weakHash, .truncated, .lengthened, .missing, .noColons: true
    }
  }

  var description: String {
    switch self {
    case .flipped(let byte): "byte \(byte) flipped"
    case .otherHash: "named after another hash"
    case .weakHash: "named after SHA-1"
    case .truncated: "cut"
    case .lengthened: "lengthened"
    case .missing: "missing"
    case .anotherCertificate: "another certificate's"
    case .noColons: "without colons"
    }
  }

  func apply(_ text: String) -> String {
    text.split(separator: "\r\n").compactMap { line -> String? in
      guard line.hasPrefix("a=fingerprint:sha-256 ") else { return String(line) }
      var digits = Array(line.utf8.dropFirst("a=fingerprint:sha-256 ".utf8.count))
      var name = "sha-256"
      switch self {
      case .flipped(let byte):
        let place = byte * 3 + byte % 2  // either half of the byte
        digits[place] = digits[place] == UInt8(ascii: "0") ? UInt8(ascii: "1") : UInt8(ascii: "0")
      case .otherHash: name = "sha-512"
      case .weakHash: name = "sha-1"
      case .truncated: digits.removeLast(3)
      case .lengthened: digits += Array(":00".utf8)
      case .missing: return nil
      case .anotherCertificate: digits = Array((0..<32).map { _ in "5A" }.joined(separator: ":").utf8)
      case .noColons: digits.removeAll { $0 == UInt8(ascii: ":") }
      }
      return "a=fingerprint:\(name) \(String(decoding: digits, as: UTF8.self))"
    }
    .map { $0 + "\r\n" }.joined()
  }
}

/// Whether a datagram has a record of type 23, or of epoch 1 other than one handshake message and an alert.
private func holdsApplicationData(_ datagram: [UInt8]) -> Bool {
  guard isDTLS(datagram) else { return false }
  var place = 0
  while place + 13 <= datagram.count {
    if datagram[place] == 23 { return true }
    place += 13 + Int(datagram[place + 11]) << 8 + Int(datagram[place + 12])
  }
  return false
}
