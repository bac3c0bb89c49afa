// RelayTests.swift — permissions, channels, and payloads both ways.

import STUN
import TURNTestSupport
import TestSupport
import Testing
import Wire

@testable import TURN

@Suite struct RelayTests {
  private let peer = SocketAddress(ip: .v4(0xc000_0296), port: 32_102)

  private func ready(_ world: World) throws {
    try world.allocate()
    try #require(try world.prepare(peer))
    try world.run(for: .seconds(1))
    try #require(world.server.permissions[peer.ip] != nil)
  }

  // MARK: Vectors

  @Test("figure 12 of RFC 8656: the first Allocate, and the challenge that answers it")
  func allocateVectors() throws {
    var configuration = TURNConfiguration(credential: SimulatedServer().credential)
    configuration.lifetime = 3_600
    configuration.software = "Example client, version 1.03"
    let world = World(configuration: configuration)
    try world.start()
    // The order and the transaction differ, and we do not ask for DONT-FRAGMENT.
    let written = try #require(world.sent.first).bytes
    let request = try Self.vector("fig12 Allocate request")
    #expect(Array(written[..<2]) == Array(request[..<2]))
    for attribute in ["000d000400000e10", "0019000411000000", "8022001c4578616d706c6520"] {
      let bytes = try #require(unhex(attribute))
      #expect(request.indices.contains { request[$0...].starts(with: bytes) })
      #expect(written.indices.contains { written[$0...].starts(with: bytes) })
    }
    let refusal = try Self.vector("fig12 Allocate error")
    let message = try STUNMessage(refusal.rawSpan)
    let challenge = try STUNErrorResponse(message)
    #expect(challenge?.code == 401)
    #expect(challenge?.realm == Array("example.com".utf8))
    #expect(challenge?.nonce == Array("obMatJos2gAAAadl7W7PeDU4hKE72jda".utf8))
    #expect(challenge?.passwordAlgorithms == [0, 1, 0, 0, 0, 2, 0, 0])
  }

  @Test("figure 14 of RFC 8656: Send and Data")
  func indicationVectors() throws {
    let world = World()
    try ready(world)
    let expected = try Self.vector("fig14 Send")
    let sent = try #require(world.wrapInPoison(Array("hello".utf8), to: peer))
    // All but the transaction's number, and DONT-FRAGMENT, which has four bytes before DATA.
    #expect(Array(sent[..<2]) == Array(expected[..<2]))
    #expect(Array(sent[20..<32]) == Array(expected[20..<32]))
    #expect(Array(sent[32...]) == Array(expected[36...]))
    let data = try Self.vector("fig14 Data")
    #expect(try world.hand(data) == .payload(peer: peer, range: 36..<41))
    #expect(Array(data[36..<41]) == Array("hello".utf8))
  }

  private static func vector(_ title: String) throws -> [UInt8] {
    try #require(try vectorBlocks().first { $0.title.hasPrefix(title) }).bytes()
  }

  @Test("ChannelData of figure 16, with and without padding")
  func channelVectors() throws {
    for transport in [TURNConfiguration.Transport.datagram, .stream] {
      let world = World(
        configuration: TURNConfiguration(transport: transport, credential: SimulatedServer().credential))
      try ready(world)
      for _ in 0..<12 { try world.send([1], to: peer) }
      try world.run(for: .seconds(1))
      #expect(world.server.channels[0x4000]?.peer == peer)
      let expected = try Self.vectorBlocks().filter { $0.title.hasPrefix("fig16") }.map { try $0.bytes() }
      try #require(expected.count == 2)
      // Behind other bytes of the buffer.
      let sent = collectBytes(capacity: 200) { out in
        out.writeUInt8(7)
        _ = world.client.writeHeader(to: peer, into: &out, now: world.now)
        out.writeBytes(Array("hello".utf8))
        world.client.finishPayload(headerAt: 1, into: &out)
      }
      #expect(Array(sent[1...]) == expected[transport == .stream ? 1 : 0])
      for bytes in expected { #expect(try world.hand(bytes) == .payload(peer: peer, range: 4..<9)) }
    }
  }

  private struct Block {
    var title: String
    var hex = ""
    func bytes() throws -> [UInt8] { try #require(unhex(hex)) }
  }

  private static func vectorBlocks() throws -> [Block] {
    var blocks: [Block] = []
    for line in try Vectors.text("rfc/turn-rfc8656.txt").split(separator: "\n") where !line.hasPrefix("#") {
      if line.allSatisfy(\.isHexDigit), !blocks.isEmpty {
        blocks[blocks.count - 1].hex += line
      } else {
        blocks.append(Block(title: String(line)))
      }
    }
    return blocks.filter { !$0.hex.isEmpty }
  }

  @Test("S2: padding is zero, also in a poisoned buffer; every length is carried", arguments: 0...9)
  func s2Padding(length: Int) throws {
    for transport in [TURNConfiguration.Transport.datagram, .stream] {
      let world = World(
        configuration: TURNConfiguration(transport: transport, credential: SimulatedServer().credential))
      try ready(world)
      let payload = [UInt8](repeating: 0x78, count: length)
      for round in 0..<30 {
        if round == 15 { try world.run(for: .seconds(1)) }
        let bytes = try #require(world.wrapInPoison(payload, to: peer))
        try world.drain()
        let isChannelData = bytes[0] >= 64
        #expect(isChannelData == (round >= 15))
        let header = isChannelData ? 4 : 36
        #expect(bytes.count - header - length == (isChannelData && transport == .datagram ? 0 : -length & 3))
        #expect(bytes[(header + length)...].allSatisfy { $0 == 0 })
        if !isChannelData { _ = try STUNMessage(bytes.rawSpan) }
        _ = try world.server.handle(bytes, from: World.clientAddress, now: world.now)
      }
      #expect(world.server.relayedPayloads.count == 30)
      #expect(world.server.relayedPayloads.allSatisfy { $0.bytes == payload && $0.peer == peer })
      #expect(world.server.channelPayloads == 15)
    }
  }

  @Test func longestPayload() throws {
    let world = World()
    try ready(world)
    let payload = [UInt8](repeating: 7, count: 65_000)
    try world.send(payload, to: peer)
    try world.run(for: .seconds(1))
    #expect(world.server.relayedPayloads.map(\.bytes) == [payload])
  }

  @Test("S4: a length that the field cannot hold would be our own mistake, and no datagram has it")
  func s4Lengths() {
    #expect(STUNLimits.data + TURNClient.maximumHeader <= 65_535 + 20)
    #expect(STUNLimits.data >= 65_503)
  }

  @Test("both ways: first by indications, then over a channel; IPv6 as well")
  func bothWays() throws {
    for (relayed, peer) in [("192.0.2.15:50000", "192.0.2.150:32102"), ("[2001:db8::15]:5", "[2001:db8::99]:6")] {
      let world = World()
      world.server.relayed = try address(relayed)
      let peer = try address(peer)
      try world.allocate()
      // Without waiting for the permission: its request goes first.
      for number in 0..<40 as Range<UInt8> {
        try world.send([number, 1, 2], to: peer)
        try world.run(for: .milliseconds(5))
        try world.deliver([number, 9], from: peer)
      }
      try world.run(for: .seconds(1))
      #expect(world.server.relayedPayloads.map(\.bytes) == (0..<40).map { [$0, 1, 2] })
      #expect(world.server.channelPayloads > 10)
      #expect(world.server.dropped == 0)
      // Those before the permission was there did not get through.
      #expect(world.received.count >= 30)
      #expect(world.received.allSatisfy { $0.peer == peer && $0.bytes.count == 2 })
      #expect(world.server.requests[.createPermission] == 1)
      #expect(world.server.requests[.channelBind] == 1)
      #expect(world.server.complaints.isEmpty)
    }
  }

  // MARK: Permissions

  @Test("many at once go in few requests; renewed while they are used, forgotten when they are not")
  func manyPermissions() throws {
    let world = World()
    try world.allocate()
    let peers = (0..<40).map { SocketAddress(ip: .v4(0x0a00_0000 + $0), port: 1_000) }
    for peer in peers { #expect(world.ask(peer)) }
    try world.drain()
    try world.run(for: .seconds(1))
    #expect(world.server.permissions.count == 40)
    #expect(world.server.requests[.createPermission] == 3)
    // One of them is used.
    for _ in 0..<60 {
      try world.send([1], to: peers[7])
      try world.run(for: .seconds(30))
      #expect(try #require(world.server.permissions[peers[7].ip]) > world.now)
    }
    let live = world.server.permissions.filter { $0.value > world.now }
    #expect(live.map(\.key) == [peers[7].ip])
    // Asked for again, it is there again.
    try world.send([2], to: peers[8])
    try world.run(for: .seconds(1))
    #expect(try #require(world.server.permissions[peers[8].ip]) > world.now)
    #expect(world.server.relayedPayloads.last?.peer == peers[8])
    #expect(world.server.dropped == 0)
  }

  @Test("bounded: more peers than there is room for are refused, and none that is used is pushed out")
  func bounds() throws {
    let world = World()
    try world.allocate()
    let flood = (0..<5_000).map { SocketAddress(ip: .v4(0x0a00_0000 + $0), port: 1_000) }
    #expect(flood.count { world.ask($0) } == TURNLimits.permissions)
    try world.drain()
    #expect(world.sent.count < 20)
    try world.run(for: .seconds(5))
    #expect(world.server.permissions.count == TURNLimits.permissions)
    // Peers of one address share its permission; their number is bounded, too, the idlest gives way.
    for port in 1...2_000 as ClosedRange<UInt16> {
      #expect(try world.send([1], to: SocketAddress(ip: .v4(0x0a00_0000), port: port)))
    }
    try world.run(for: .seconds(5))
    #expect(world.server.dropped == 0)
    // When they have been idle for long, there is room.
    try world.run(for: .seconds(1_300))
    #expect(try world.send([1], to: SocketAddress(ip: .v4(0x0b00_0000), port: 9)))
    try world.run(for: .seconds(5))
    #expect(world.server.dropped == 0)
  }

  @Test(
    "T1, T2, T3, T4: forbidden peers are refused one by one, the others are not, and nothing goes to them in any way",
    arguments: [false, true])
  func t1ForbiddenPeers(isV6: Bool) throws {
    let lines = try Vectors.text("rfc/turn-rfc8656.txt").split(separator: "\n").filter {
      $0.hasPrefix("forbidden peer ")
    }
    let all = lines.compactMap { line in IPAddress(line.split(separator: " ")[2]) }
    #expect(all.count == 11)
    let forbidden = all.filter { $0.isV4 != isV6 }
    try #require(forbidden.count >= 5)
    let world = World()
    world.server.forbidden = Set(all)
    if isV6 { world.server.relayed = try address("[2001:db8::15]:5") }
    try world.allocate()
    let good = isV6 ? try address("[2001:db8::99]:6") : peer
    for ip in forbidden { _ = world.ask(SocketAddress(ip: ip, port: 80)) }
    #expect(try world.prepare(good))
    try world.run(for: .seconds(2))
    #expect(world.server.permissions.keys.map { $0 } == [good.ip])
    // Nobody needs to ask for a group or for nobody.
    let refused = forbidden.filter { !$0.isUnspecified && !$0.isMulticast }
    let reported = world.events.dropFirst()
    #expect(Set(reported) == Set(refused.map { .permissionRefused($0, code: 403) }))
    #expect(reported.count == refused.count)
    let before = world.sent.count
    for ip in forbidden {
      for _ in 0..<20 { #expect(try !world.send([1], to: SocketAddress(ip: ip, port: 80))) }
    }
    #expect(world.sent.count == before)
    #expect(try world.send([1], to: good))
    try world.run(for: .seconds(1))
    #expect(world.server.relayedPayloads.map(\.peer) == [good])
    #expect(world.server.dropped == 0)
  }

  @Test("a permission that was granted once and is refused at its renewal")
  func refusedLater() throws {
    let world = World()
    try ready(world)
    world.server.forbidden = [peer.ip]
    world.server.permissions = [:]
    for _ in 0..<9 {
      try world.send([1], to: peer)
      try world.run(for: .seconds(30))
    }
    #expect(world.events.last == .permissionRefused(peer.ip, code: 403))
    #expect(try !world.send([1], to: peer))
    // After a while it may be asked for again.
    world.server.forbidden = []
    try world.run(for: .seconds(61))
    #expect(try world.send([1], to: peer))
    try world.run(for: .seconds(1))
    #expect(world.server.permissions[peer.ip] != nil)
  }

  // MARK: Channels

  @Test("T10: numbers from 0x4000 to 0x4fff, one peer each, used again only when that is safe")
  func t10Channels() throws {
    let world = World()
    try world.allocate()
    var dice = RandomSource.seeded(state: 10)
    var numbers: Set<UInt16> = []
    // Peers that come and go for a day or so: more channels than there are numbers.
    for round in 0..<220 as Range<UInt32> {
      for number in 0..<20 as Range<UInt32> {
        let peer = SocketAddress(ip: .v4(0x0a00_0000 + round % 7), port: UInt16(round * 20 + number + 1))
        for _ in 0...TURNLimits.payloadsBeforeChannel { try world.send([1], to: peer) }
      }
      try world.run(for: .seconds(Int64(1_000 + dice.next() % 1_200)))
      numbers.formUnion(world.server.channels.keys)
    }
    #expect(world.server.complaints.isEmpty)
    #expect(world.server.dropped == 0)
    #expect(numbers.allSatisfy { (0x4000...0x4fff).contains($0) })
    #expect(numbers.count > 4_000, "every number had its turn, and the count began again")
    #expect(world.events.count == 1)
  }

  @Test("no more channels than the bound; the others keep to indications")
  func channelBound() throws {
    let world = World()
    try world.allocate()
    for number in 0..<100 as Range<UInt16> {
      for _ in 0..<12 { try world.send([1], to: SocketAddress(ip: .v4(0x0a00_0001), port: 1 + number)) }
    }
    try world.run(for: .seconds(5))
    #expect(world.server.channels.count == TURNLimits.channels)
    for number in 0..<100 as Range<UInt16> {
      #expect(try world.send([2], to: SocketAddress(ip: .v4(0x0a00_0001), port: 1 + number)))
    }
    try world.run(for: .seconds(5))
    #expect(world.server.relayedPayloads.count == 1_300)
    #expect(world.server.channelPayloads == TURNLimits.channels)
    #expect(world.server.dropped == 0)
  }

  @Test("a channel that the server refuses is done without, and asked for again after a while")
  func refusedChannel() throws {
    let world = World()
    try ready(world)
    world.server.refusal = { $0 == .channelBind ? 508 : nil }
    for _ in 0..<100 {
      try world.send([1], to: peer)
      try world.run(for: .milliseconds(100))
    }
    try world.run(for: .seconds(1))
    #expect(world.server.requests[.channelBind] == 1)
    #expect(world.server.relayedPayloads.count == 100)
    world.server.refusal = { _ in nil }
    try world.run(for: .seconds(60))
    for _ in 0..<5 {
      try world.send([1], to: peer)
      try world.run(for: .milliseconds(100))
    }
    #expect(world.server.channels.count == 1)
    #expect(world.server.channelPayloads > 0)
    #expect(world.events.count == 1)
  }

  @Test("a channel is renewed while it is used, runs out when it is not, and comes back with its number")
  func channelLife() throws {
    let world = World()
    try ready(world)
    for _ in 0..<150 {
      try world.send([1], to: peer)
      try world.run(for: .seconds(10))
    }
    #expect(world.server.channels.count == 1)
    #expect(try #require(world.server.channels[0x4000]).until > world.now)
    try world.run(for: .seconds(900))
    #expect(try #require(world.server.channels[0x4000]).until <= world.now)
    for _ in 0..<20 {
      try world.send([2], to: peer)
      try world.run(for: .milliseconds(50))
    }
    #expect(world.server.channels.keys.map { $0 } == [0x4000])
    #expect(world.server.dropped == 0)
    #expect(world.server.complaints.isEmpty)
  }

  // MARK: From the network

  @Test("T8: of two peers in one indication the first counts")
  func t8DuplicatePeer() throws {
    let world = World()
    try ready(world)
    let other = try address("203.0.113.5:9")
    for (first, second, isTaken) in [(peer, other, true), (other, peer, false)] {
      let bytes = try collectBytes(capacity: 200) { (out) throws(STUNEncodingError) in
        let writer = try STUNWriter(STUNHeader(.indication, .data, id: TransactionID(high: 0, low: 0)), into: &out)
        try writer.xorAddress(.xorPeerAddress, first, into: &out)
        try writer.xorAddress(.xorPeerAddress, second, into: &out)
        try writer.attribute(.data, Array("first".utf8).rawSpan, into: &out)
        try writer.attribute(.data, Array("second".utf8).rawSpan, into: &out)
      }
      let inbound = try world.hand(bytes)
      #expect(inbound == (isTaken ? .payload(peer: peer, range: 48..<53) : .consumed))
    }
  }

  @Test("data from a peer without a permission, with an ICMP error, with what must be understood")
  func strangers() throws {
    let world = World()
    try ready(world)
    let payload = Array("x".utf8)
    let stranger = try address("203.0.113.5:9")
    let messages = [
      try dataIndication(from: stranger) { (writer, out) throws(STUNEncodingError) in
        try writer.attribute(.data, payload.rawSpan, into: &out)
      },
      try dataIndication(from: nil) { (writer, out) throws(STUNEncodingError) in
        try writer.attribute(.data, payload.rawSpan, into: &out)
      },
      try dataIndication(from: peer) { (writer, out) throws(STUNEncodingError) in
        try writer.attribute(.icmp, ([0, 0, 3, 1, 0, 0, 0, 0] as [UInt8]).rawSpan, into: &out)
      },
      try dataIndication(from: peer) { (writer, out) throws(STUNEncodingError) in
        try writer.attribute(.init(rawValue: 0x7ffe), payload.rawSpan, into: &out)
        try writer.attribute(.data, payload.rawSpan, into: &out)
      },
    ]
    for bytes in messages { #expect(try world.hand(bytes) == .consumed) }
    #expect(world.statistics.ignored == messages.count)
  }

  @Test("T10, T14, T15: channels that are none, lengths past the end, and what is not TURN at all")
  func t15Junk() throws {
    let world = World()
    try ready(world)
    let dropped = ["40000000", "4fff0000", "4000ffff", "40000005", "4000000568656c6c"]
    for hex in dropped { #expect(try world.hand(try #require(unhex(hex))) == .consumed, "\(hex)") }
    let foreign: [[UInt8]] = [
      [], [0x40], [0x40, 0], [0x3f, 0xff, 0, 0], [0x50, 0, 0, 0], Array("POST / HTTP/1.1\r\n".utf8).map { $0 | 0x80 },
      [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], [0x80, 0, 0, 0], [UInt8](repeating: 0xff, count: 1_200),
    ]
    for bytes in foreign { #expect(try world.hand(bytes) == .notForUs, "\(bytes)") }
    // "GET " and "POST" begin like channels 0x4745 and 0x504f; neither is bound.
    #expect(try world.hand(Array("GET / HTTP/1.1\r\n\r\n".utf8)) == .consumed)
    #expect(try world.hand(Array("POST / HTTP/1.1\r\n\r\n".utf8)) == .notForUs)
    #expect(world.received.isEmpty)
    // Whatever was on the wire, the allocation works.
    try world.send([1], to: peer)
    try world.run(for: .seconds(1))
    #expect(world.server.relayedPayloads.count == 1)
  }

  @Test("ICE's messages on the same way are not for us; answers that come twice are")
  func sharedRoute() throws {
    let world = World()
    try ready(world)
    for messageClass in [STUNClass.request, .indication, .successResponse, .errorResponse] {
      let bytes = try collectBytes(capacity: 100) { (out) throws(STUNEncodingError) in
        _ = try STUNWriter(STUNHeader(messageClass, id: TransactionID(high: 5, low: 5)), into: &out)
      }
      #expect(try world.hand(bytes) == .notForUs)
    }
    let late = try collectBytes(capacity: 100) { (out) throws(STUNEncodingError) in
      _ = try STUNWriter(STUNHeader(.successResponse, .refresh, id: TransactionID(high: 5, low: 5)), into: &out)
    }
    #expect(try world.hand(late) == .consumed)
  }

  @Test(
    "random damage to what the server says neither traps nor opens anything",
    arguments: 1...20 as ClosedRange<UInt64>)
  func damage(seed: UInt64) throws {
    let world = World(seed: seed)
    var dice = RandomSource.seeded(state: seed)
    world.meddle = { answer in
      var damaged = answer
      for _ in 0...(dice.next() % 3) {
        damaged[Int(dice.next() % UInt64(damaged.count))] = UInt8(truncatingIfNeeded: dice.next())
      }
      return dice.next() % 4 == 0 ? [damaged] : [damaged, answer]
    }
    try world.start()
    try world.run(for: .seconds(60)) { $0.relayedAddress != nil || !$0.events.isEmpty }
    guard world.relayedAddress != nil else { return }
    for _ in 0..<30 {
      try world.send([1, 2, 3], to: peer)
      try world.run(for: .seconds(10))
    }
    if world.relayedAddress != nil {
      #expect(world.relayedAddress == world.server.relayed, "seed \(seed)")
    }
    #expect(world.server.complaints.isEmpty, "seed \(seed)")
  }
}

/// A Data indication of one's own making.
private func dataIndication(
  from peer: SocketAddress?, _ body: (STUNWriter, inout OutputRawSpan) throws(STUNEncodingError) -> Void
) throws -> [UInt8] {
  try collectBytes(capacity: 200) { (out) throws(STUNEncodingError) in
    let writer = try STUNWriter(STUNHeader(.indication, .data, id: TransactionID(high: 0, low: 0)), into: &out)
    if let peer { try writer.xorAddress(.xorPeerAddress, peer, into: &out) }
    try body(writer, &out)
  }
}
