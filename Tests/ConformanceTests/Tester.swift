// Tester.swift — one association under test, opposite a peer made by hand, on a simulated clock.
//
// The conformance suites prescribe what the tester sends and what the implementation under test answers, and when. So
// every packet that the unit sends is kept with the moment at which it left.

import SCTP
import SCTPTestSupport
import Testing
import Wire

extension SCTPConfiguration {
  /// RFC 9260 and 3758 as they stand: no extension changes a chunk's layout, and the window is that of §7.2.
  static var plain: SCTPConfiguration {
    var configuration = SCTPConfiguration()
    configuration.congestionControl = .newReno
    configuration.offersInterleaving = false
    configuration.offersZeroChecksum = false
    return configuration
  }

  static func plain(_ change: (inout SCTPConfiguration) -> Void) -> SCTPConfiguration {
    var configuration = plain
    change(&configuration)
    return configuration
  }
}

/// A packet that the unit under test has sent.
struct Seen {
  var at: Instant
  var tag: UInt32
  var byteCount: Int
  var chunks: [SeenChunk]
  var bytes: [UInt8]

  var types: [UInt8] { chunks.map(\.type) }
}

struct Tester: ~Copyable {
  /// The peer's verification tag: what the unit puts into its packets.
  static let tag: UInt32 = 0x0102_0304
  /// The peer's first TSN.
  static let initialTSN: UInt32 = 1_000

  var unit: Endpoint
  var now = Instant(nanoseconds: 1_000_000_000)
  private var log: [Seen] = []
  /// What the peer's INIT or INIT-ACK says beside tag and TSN.
  private var window: UInt32 = 1 << 20

  init(_ configuration: SCTPConfiguration = .plain, seed: UInt64 = 7) {
    unit = Endpoint(configuration, seed: seed)
  }

  /// Up, the unit having connected; the peer announces what it speaks.
  static func established(
    _ configuration: SCTPConfiguration = .plain, window: UInt32 = 1 << 20, parameters: [UInt8]? = nil
  ) throws -> Tester {
    var tester = Tester(configuration)
    tester.unit.association.connect(now: tester.now)
    _ = try tester.sent()
    tester.hand(initAck(window: window, parameters: parameters ?? cookie + extensions))
    _ = try tester.sent()
    tester.hand(rawChunk(ChunkType.cookieAck))
    let state = tester.unit.association.state
    #expect(state == .established)
    _ = try tester.sent()
    tester.unit.events.removeAll()
    return tester
  }

  static let cookie = parameter(ParameterType.stateCookie, [1, 2, 3, 4])
  /// FORWARD-TSN and RE-CONFIG.
  static let extensions =
    parameter(ParameterType.forwardTSNSupported)
    + parameter(ParameterType.supportedExtensions, [ChunkType.reconfig, ChunkType.forwardTSN])

  static func initiation(
    window: UInt32 = 1 << 20, outbound: UInt16 = 100, inbound: UInt16 = 100, parameters: [UInt8] = extensions
  ) -> [UInt8] {
    initChunk(
      tag: tag, window: window, outbound: outbound, inbound: inbound, tsn: initialTSN, parameters: parameters)
  }

  static func initAck(
    window: UInt32 = 1 << 20, outbound: UInt16 = 100, inbound: UInt16 = 100, parameters: [UInt8] = cookie + extensions
  ) -> [UInt8] {
    initChunk(
      tag: tag, window: window, outbound: outbound, inbound: inbound, tsn: initialTSN, parameters: parameters,
      type: ChunkType.initiationAck)
  }

  // MARK: What the peer does

  /// Hands the unit a packet with its own tag.
  mutating func hand(_ chunks: [UInt8]...) { deliver(craft(tag: unit.association.localTag, chunks)) }
  /// Hands the unit a packet with any tag.
  mutating func hand(tag: UInt32, _ chunks: [UInt8]...) { deliver(craft(tag: tag, chunks)) }

  mutating func deliver(_ packet: [UInt8]) {
    unit.handle(packet, now: now)
    drain()
  }

  /// Hands the unit an INIT.
  ///
  /// - Returns: the tag and the cookie of its answer.
  mutating func open(_ initiation: [UInt8] = Tester.initiation()) throws -> (tag: UInt32, cookie: [UInt8]) {
    hand(tag: 0, initiation)
    let sent = try sent()
    let answer = try #require(sent.first?.chunks.first)
    #expect(sent.map(\.types) == [[ChunkType.initiationAck]] && sent[0].tag == Self.tag)
    let cookie = try #require(answer.parameters.first { $0.type == ParameterType.stateCookie }?.value)
    return (answer.uint32(at: 0), cookie)
  }

  /// The peer's `n`th TSN, from 0.
  func tsn(_ n: UInt32) -> TSN { TSN(rawValue: Self.initialTSN &+ n) }

  // MARK: What the unit does

  mutating func send(
    _ payload: [UInt8], stream: UInt16 = 1, ordered: Bool = true, _ reliability: Reliability = .reliable
  ) throws {
    try unit.association.send(OutgoingMessage(stream, payload, ordered: ordered, reliability), now: now)
  }

  /// Lets time pass; what the unit sends on the way is kept.
  mutating func wait(_ time: Interval) {
    let end = now + time
    drain()
    while let due = unit.association.deadline, due <= end {
      now = max(now, due)
      unit.association.handleTimeout(now: now)
      drain()
    }
    now = end
    drain()
  }

  private mutating func drain() {
    // What is released can make a window update due: until nothing moves.
    repeat { unit.collect(now: now) } while collectPackets()
  }

  private mutating func collectPackets() -> Bool {
    var any = false
    while let packet = unit.packet(now: now) {
      any = true
      do {
        let seen = Seen(
          at: now, tag: try SCTPTestSupport.tag(of: packet), byteCount: packet.count, chunks: try chunks(of: packet),
          bytes: packet)
        log.append(seen)
      } catch {
        Issue.record("the unit sent what it could not read itself")
      }
    }
    return any
  }

  /// Everything sent since the last time.
  mutating func sent() throws -> [Seen] {
    drain()
    defer { log.removeAll() }
    return log
  }

  /// The types of all chunks sent since the last time, packet by packet.
  mutating func types() throws -> [[UInt8]] { try sent().map(\.types) }

  /// The data sent since the last time.
  mutating func dataSent() throws -> [DataHeader] { try sent().flatMap { try dataHeaders(of: $0.bytes) } }

  var state: SCTPAssociation.State { unit.association.state }
  var received: [[UInt8]] { unit.messages.map(\.payload) }
}

/// A SHUTDOWN that acknowledges everything up to `tsn`.
func shutdown(_ tsn: TSN) -> [UInt8] { rawChunk(ChunkType.shutdown, bigEndian(tsn.rawValue)) }

func bigEndian(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) } }

extension SeenChunk {
  /// The codes of the causes of an ERROR or ABORT.
  var causes: [UInt16] {
    var result: [UInt16] = []
    var at = 0
    while at + 4 <= value.count {
      result.append(UInt16(value[at]) << 8 | UInt16(value[at + 1]))
      let length = Int(value[at + 2]) << 8 | Int(value[at + 3])
      at += max(4, (length + 3) & ~3)
    }
    return result
  }

  /// The types of the parameters of an INIT-ACK.
  var parameterTypes: [UInt16] { parameters.map(\.type) }
  var parameters: [(type: UInt16, value: [UInt8])] {
    var result: [(UInt16, [UInt8])] = []
    var at = 16
    while at + 4 <= value.count {
      let length = Int(value[at + 2]) << 8 | Int(value[at + 3])
      let end = min(value.count, at + max(4, length))
      result.append((UInt16(value[at]) << 8 | UInt16(value[at + 1]), Array(value[(at + 4)..<end])))
      at += max(4, (length + 3) & ~3)
    }
    return result
  }

  func uint32(at offset: Int) -> UInt32 {
    value[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) }
  }
  func uint16(at offset: Int) -> UInt16 { UInt16(value[offset]) << 8 | UInt16(value[offset + 1]) }
}

extension [[UInt8]] {
  /// Whether any packet has a chunk of this type.
  func have(_ type: UInt8) -> Bool { contains { $0.contains(type) } }
}
