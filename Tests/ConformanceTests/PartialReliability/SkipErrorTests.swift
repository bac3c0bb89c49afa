// SkipErrorTests.swift — FORWARD-TSN and I-FORWARD-TSN that are not as they must be, or that nobody has agreed on; and how
// two sides agree (RFC 3758 §3.1 to §3.3, RFC 8260 §2.2, §2.3).

import SCTP
import SCTPTestSupport
import Testing
import Wire

enum SkipErrors {
  static func type(_ kind: ChunkKind) -> UInt8 {
    kind == .data ? ChunkType.forwardTSN : ChunkType.interleavedForwardTSN
  }

  /// One entry: the stream, and the number of the message.
  static func entry(_ stream: UInt16, _ number: UInt16, _ kind: ChunkKind) -> [UInt8] {
    let head = [UInt8(stream >> 8), UInt8(stream & 255)]
    return kind == .data
      ? head + [UInt8(number >> 8), UInt8(number & 255)] : head + [0, 0] + bigEndian(UInt32(number))
  }

  static func message(
    _ tester: borrowing Tester, _ n: UInt32, _ number: UInt16, _ kind: ChunkKind, stream: UInt16 = 1
  ) -> [UInt8] {
    kind == .data
      ? data(tester.tsn(n), [UInt8(n)], stream: stream, ssn: number)
      : interleavedData(tester.tsn(n), [UInt8(n)], stream: stream, mid: UInt32(number))
  }

  /// A chunk that cannot be read drops the packet, and the association goes on as before.
  static func malformed(_ kind: ChunkKind, _ chunk: (TSN) -> [UInt8]) throws {
    var tester = try Tester.established(kind)
    let before = tester.unit.association.statistics.packetsDropped
    tester.hand(chunk(tester.tsn(1)))
    let (after, reached) = (
      tester.unit.association.statistics.packetsDropped, tester.unit.association.receivedTSN
    )
    #expect(after == before + 1 && reached == tester.tsn(0).reversed(by: 1))
    let types = try tester.types()
    #expect(types.isEmpty)
    tester.hand(message(tester, 0, 0, kind))
    #expect(tester.received == [[0]])
  }

  /// A value of 0 to 3 bytes has no room for the TSN; one that is no whole number of entries has a part of one.
  static func lengths(_ kind: ChunkKind) throws {
    let size = kind == .data ? 4 : 8
    for count in 0..<4 {
      try malformed(kind) { tsn in rawChunk(type(kind), Array(bigEndian(tsn.rawValue).prefix(count))) }
    }
    for count in 1..<size {
      try malformed(kind) { tsn in
        rawChunk(type(kind), bigEndian(tsn.rawValue) + [UInt8](repeating: 0, count: count))
      }
    }
    // The chunk says that it is longer than the packet, or shorter than its own header.
    for length in [16, 200, 65_535, 0, 1, 3] {
      try malformed(kind) { tsn in rawChunk(type(kind), bigEndian(tsn.rawValue), length: length) }
    }
  }

  /// Lists of streams that contradict what was sent: the TSN moves on, and no message comes twice or out of order.
  static func lists(_ kind: ChunkKind) throws {
    let lists: [[(UInt16, UInt16)]] = [
      [(1, 0), (1, 0)], [(1, 3), (1, 0)], [(1, 0), (1, 3)],  // named twice: the furthest counts
      [(1, 65_535)],  // behind; of 32-bit numbers far ahead
      [(1, 40_000)],  // far ahead, or behind
      [(9_999, 5)], [(65_535, 0)],  // a stream that does not exist
      [(2, 0)],  // a stream on which nothing was sent
      (0..<200).map { ($0, 0) },
    ]
    for list in lists {
      var tester = try Tester.established(kind)
      tester.hand(
        rawChunk(type(kind), bigEndian(tester.tsn(0).rawValue) + list.flatMap { entry($0.0, $0.1, kind) }))
      let (reached, state) = (tester.unit.association.receivedTSN, tester.state)
      #expect(reached == tester.tsn(0) && state == .established, "\(list)")
      for number in 0..<6 as Range<UInt16> {
        tester.hand(message(tester, UInt32(1 + number), number, kind))
      }
      let numbers = tester.received.map { $0[0] }
      #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count, "\(list)")
      // What lies behind is no news; what was skipped does not come.
      if let furthest = list.filter({ $0.0 == 1 }).map(\.1).max(), furthest < 10 {
        #expect(numbers.first == UInt8(furthest + 2), "\(list)")
      } else if !list.contains(where: { $0.0 == 1 }) || kind == .data && list[0].1 == 65_535 {
        #expect(numbers.count == 6, "\(list)")
      }
      let consistent = tester.unit.association.isConsistent
      #expect(consistent)
    }
  }

  /// A TSN that lies behind, that is the cumulative one already, or that is so far ahead that it cannot be meant.
  static func places(_ kind: ChunkKind) throws {
    for distance in [-1, -2, -1_000, 40_000, 0x7fff_fffe] as [Int64] {
      var tester = try Tester.established(kind)
      let target = UInt32(truncatingIfNeeded: Int64(Tester.initialTSN) + distance)
      tester.hand(rawChunk(type(kind), bigEndian(target) + entry(1, 3, kind)))
      let (reached, state) = (tester.unit.association.receivedTSN, tester.state)
      #expect(reached == tester.tsn(0).reversed(by: 1) && state == .established, "\(distance)")
      tester.hand(message(tester, 0, 0, kind))
      #expect(tester.received == [[0]], "\(distance)")
    }
  }

  /// In states that take no data the chunk changes nothing.
  static func states(_ kind: ChunkKind) throws {
    var tester = try Tester.established(kind)
    tester.hand(shutdown(tester.unit.association.nextTSN.reversed(by: 1)))
    _ = try tester.sent()
    tester.hand(rawChunk(type(kind), bigEndian(tester.tsn(5).rawValue)))
    let (state, types) = (tester.state, try tester.types())
    #expect(state == .shutdownAckSent && types.isEmpty)
    var connecting = Tester()
    connecting.unit.association.connect(now: connecting.now)
    _ = try connecting.sent()
    connecting.hand(rawChunk(type(kind), bigEndian(7)))
    let (waits, nothing) = (connecting.state, try connecting.types())
    #expect(waits == .cookieWait && nothing.isEmpty)
  }

  /// Behind a skip the rest of the packet counts; and a skip is answered at once.
  static func bundled(_ kind: ChunkKind) throws {
    var tester = try Tester.established(kind)
    tester.hand(message(tester, 0, 0, kind))
    _ = try tester.sent()
    tester.hand(
      rawChunk(type(kind), bigEndian(tester.tsn(2).rawValue) + entry(1, 2, kind)), message(tester, 3, 3, kind))
    #expect(tester.received == [[0], [3]])
    let seen = try tester.sent().flatMap { try sacks(of: $0.bytes) }
    #expect(seen.map(\.tsn) == [tester.tsn(3)] && seen[0].gaps.isEmpty)
  }
}

@Suite("FORWARD-TSN errors") struct ForwardTSNErrorTests {
  @Test("a chunk that is too short, too long, or holds a part of an entry") func lengths() throws {
    try SkipErrors.lengths(.data)
  }
  @Test("lists that contradict themselves or what was sent") func lists() throws { try SkipErrors.lists(.data) }
  @Test("a TSN that lies behind or far ahead") func places() throws { try SkipErrors.places(.data) }
  @Test("states that take no data") func states() throws { try SkipErrors.states(.data) }
  @Test("data in the same packet counts, and the answer is immediate") func bundled() throws {
    try SkipErrors.bundled(.data)
  }

  @Test("the parameter of INIT: missing, whole, with a value, cut off", arguments: [nil, 4, 8, 3, 0, 12] as [Int?])
  func parameterOfInit(length: Int?) throws {
    let offered = length.map { parameter(ParameterType.forwardTSNSupported, length: $0) } ?? []
    let isReadable = length != 3 && length != 0 && length != 12 && length != 8
    var tester = Tester()
    tester.hand(tag: 0, Tester.initiation(parameters: offered))
    let types = try tester.types()
    #expect(types == (isReadable ? [[ChunkType.initiationAck]] : []))
    // A value where none belongs is passed over.
    tester.hand(tag: 0, Tester.initiation(parameters: parameter(ParameterType.forwardTSNSupported, [1, 2, 3, 4])))
    let answered = try tester.types()
    #expect(answered == [[ChunkType.initiationAck]])
  }

  @Test("not agreed on: an unknown chunk, skipped and reported, and the data behind it counts")
  func notAgreed() throws {
    var tester = try Tester.established(parameters: Tester.cookie)
    tester.hand(forwardTSN(tester.tsn(5)), data(tester.tsn(0), [1]))
    let errors = try tester.sent().flatMap(\.chunks).filter { $0.type == ChunkType.error }
    #expect(errors.map(\.causes) == [[CauseCode.unrecognizedChunk]])
    #expect(tester.received == [[1]])
  }

  @Test("I-DATA and I-FORWARD-TSN, which were not agreed on, move nothing")
  func interleavedNotAgreed() throws {
    var tester = try Tester.established()
    tester.hand(interleavedForwardTSN(tester.tsn(5)))
    tester.hand(interleavedData(tester.tsn(0), [1]))
    let reached = tester.unit.association.receivedTSN
    #expect(reached == tester.tsn(0).reversed(by: 1) && tester.received.isEmpty)
  }
}

@Suite("I-FORWARD-TSN errors") struct InterleavedForwardTSNErrorTests {
  @Test("a chunk that is too short, too long, or holds a part of an entry") func lengths() throws {
    try SkipErrors.lengths(.interleaved)
  }
  @Test("lists that contradict themselves or what was sent") func lists() throws {
    try SkipErrors.lists(.interleaved)
  }
  @Test("a TSN that lies behind or far ahead") func places() throws { try SkipErrors.places(.interleaved) }
  @Test("states that take no data") func states() throws { try SkipErrors.states(.interleaved) }
  @Test("data in the same packet counts, and the answer is immediate") func bundled() throws {
    try SkipErrors.bundled(.interleaved)
  }

  @Test("DATA and FORWARD-TSN where I-DATA was agreed on deliver and move nothing")
  func dataWhereInterleaved() throws {
    for chunk in [data(TSN(rawValue: Tester.initialTSN), [1]), forwardTSN(TSN(rawValue: Tester.initialTSN &+ 2))] {
      var tester = try Tester.established(.interleaved)
      tester.hand(chunk)
      let reached = tester.unit.association.receivedTSN
      #expect(reached == tester.tsn(0).reversed(by: 1) && tester.received.isEmpty)
    }
  }
}

@Suite("FORWARD-TSN handshake") struct ForwardTSNHandshakeTests {
  /// How a peer may say that it understands FORWARD-TSN: by the parameter of RFC 3758, in the list of RFC 5061, by both.
  enum Offer: CaseIterable, Sendable {
    case none, parameter, list, both

    var bytes: [UInt8] {
      let own = SCTPTestSupport.parameter(ParameterType.forwardTSNSupported)
      let list = SCTPTestSupport.parameter(ParameterType.supportedExtensions, [ChunkType.forwardTSN])
      return switch self {
      case .none: []
      case .parameter: own
      case .list: list
      case .both: own + list
      }
    }
  }

  /// A message whose lifetime has run out is given up only when the peer understands.
  private func givesUp(_ tester: inout Tester) throws -> Bool {
    try tester.send([1], .maximumRetransmits(0))
    tester.wait(.seconds(3))
    let types = try tester.types()
    let abandoned = tester.unit.association.statistics.messagesAbandoned
    #expect(types.have(ChunkType.forwardTSN) == (abandoned == 1))
    return abandoned == 1
  }

  @Test("the peer's INIT-ACK says whether anything may be skipped", arguments: Offer.allCases)
  func weOpen(offer: Offer) throws {
    var tester = try Tester.established(parameters: Tester.cookie + offer.bytes)
    let may = try givesUp(&tester)
    #expect(may == (offer != .none))
  }

  @Test("the peer's INIT says whether anything may be skipped", arguments: Offer.allCases)
  func peerOpens(offer: Offer) throws {
    var tester = Tester()
    let (tag, cookie) = try tester.open(Tester.initiation(parameters: offer.bytes))
    tester.hand(tag: tag, rawChunk(ChunkType.cookieEcho, cookie))
    _ = try tester.sent()
    let may = try givesUp(&tester)
    #expect(may == (offer != .none))
  }

  @Test("our own INIT and INIT-ACK offer it, by the parameter and in the list")
  func weOffer() throws {
    var tester = Tester()
    tester.unit.association.connect(now: tester.now)
    let initiation = try tester.sent()[0].chunks[0]
    tester.hand(tag: 0, Tester.initiation())
    let answer = try tester.sent()[0].chunks[0]
    for chunk in [initiation, answer] {
      #expect(chunk.parameterTypes.contains(ParameterType.forwardTSNSupported))
      let list = chunk.parameters.first { $0.type == ParameterType.supportedExtensions }?.value
      #expect(list?.contains(ChunkType.forwardTSN) == true && list?.contains(ChunkType.reconfig) == true)
    }
  }
}
