// RTCPTransportFeedback.swift — which packets of a transport arrived and when, as a receiver tells it
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//
//   | SSRC of packet sender | SSRC of media source |
//   | base sequence number, 16 | packet status count, 16 | reference time, 24, signed, 64 ms | feedback packet count, 8 |
//   | packet chunks, 16 bits each … | receive deltas, 8 or 16 bits each, 250 µs … | zeros |
//
//   run length chunk:     | 0 | symbol, 2 | run length, 13 |
//   status vector chunk:  | 1 | 0 | 14 symbols of 1 bit |   | 1 | 1 | 7 symbols of 2 bits |
//
// Invariants: the chunks of a feedback that exists tell of as many packets as it states, no symbol among those is the
// reserved one, and for every packet that arrived there is a delta. The walk is within the stated count, never more.

package import Wire

/// What two bits say of one packet (§3.1.1).
enum RTCPPacketSymbol: UInt8, Hashable, Sendable {
  case notReceived = 0
  /// A delta of 8 bits, unsigned.
  case smallDelta = 1
  /// A delta of 16 bits, signed.
  case largeDelta = 2

  /// How many bytes its delta takes.
  var deltaBytes: Int { Int(rawValue) }
}

/// What is said of one packet.
package struct RTCPPacketStatus: Hashable, Sendable {
  package var sequenceNumber: UInt16
  /// Since the last packet that is told to have arrived, or the reference time for the first, in `deltaUnit`; nil when
  /// the packet has not arrived.
  package var delta: Int16?

  package init(sequenceNumber: UInt16, delta: Int16?) {
    self.sequenceNumber = sequenceNumber
    self.delta = delta
  }
}

package struct RTCPTransportFeedback: ~Escapable {
  package let sender: UInt32
  package let media: UInt32
  package let baseSequenceNumber: UInt16
  package let statusCount: Int
  /// In `referenceUnit`, of the receiver's own clock; 24 bits, signed.
  package let referenceTime: Int32
  /// Counts the feedback packets of the receiver.
  package let feedbackCount: UInt8
  private let chunks: RawSpan
  private let deltas: RawSpan

  package static let referenceUnit = Interval.milliseconds(64)
  package static let deltaUnit = Interval.microseconds(250)
  static let fixedByteCount = 16
  /// 13 bits.
  static let maximumRunLength = 0x1fff

  @_lifetime(copy body)
  init(_ body: RawSpan) throws(Malformed) {
    var reader = ByteReader(body)
    sender = try reader.readUInt32()
    media = try reader.readUInt32()
    baseSequenceNumber = try reader.readUInt16()
    statusCount = Int(try reader.readUInt16())
    let word = try reader.readUInt32()
    referenceTime = Int32(bitPattern: word) >> 8
    feedbackCount = UInt8(word & 0xff)
    let rest = reader.readRemaining()
    let (chunkBytes, deltaBytes) = try Self.measure(rest, statusCount: statusCount)
    guard deltaBytes <= rest.byteCount - chunkBytes else { throw .truncated }
    chunks = rest.extracting(0..<chunkBytes)
    deltas = rest.extracting(chunkBytes..<(chunkBytes + deltaBytes))
  }

  /// Walks the chunks until they have told of `statusCount` packets: how many bytes they take, and the deltas behind them.
  private static func measure(_ rest: RawSpan, statusCount: Int) throws(Malformed) -> (chunks: Int, deltas: Int) {
    var reader = ByteReader(rest)
    var remaining = statusCount
    var deltas = 0
    while remaining > 0 {
      let chunk = RTCPStatusChunk(rawValue: try reader.readUInt16())
      let count = min(remaining, chunk.count)
      // All symbols of a run are alike, so a run is one step however long it is.
      for index in 0..<(chunk.isRun ? min(1, count) : count) {
        guard let symbol = chunk.symbol(index) else { throw .badValue }
        deltas += symbol.deltaBytes * (chunk.isRun ? count : 1)
      }
      remaining -= count
    }
    return (reader.offset, deltas)
  }

  /// All statuses, from the base sequence number.
  package var statuses: RTCPPacketStatuses {
    @_lifetime(copy self)
    get { RTCPPacketStatuses(chunks, deltas: deltas, count: statusCount, from: baseSequenceNumber) }
  }
}

/// One packet chunk.
struct RTCPStatusChunk: Hashable, Sendable {
  let rawValue: UInt16

  var isRun: Bool { rawValue & 0x8000 == 0 }
  /// How many symbols it holds; the last chunk may hold more than are meant.
  var count: Int {
    if isRun { return Int(rawValue & 0x1fff) }
    return rawValue & 0x4000 == 0 ? 14 : 7
  }

  /// Nil when it is the reserved one.
  func symbol(_ index: Int) -> RTCPPacketSymbol? {
    if isRun { return RTCPPacketSymbol(rawValue: UInt8(rawValue >> 13 & 3)) }
    if rawValue & 0x4000 == 0 { return RTCPPacketSymbol(rawValue: UInt8(rawValue >> UInt16(13 - index) & 1)) }
    return RTCPPacketSymbol(rawValue: UInt8(rawValue >> UInt16(12 - 2 * index) & 3))
  }
}

/// Walks the statuses without allocating.
package struct RTCPPacketStatuses: ~Escapable {
  private let chunks: RawSpan
  private let deltas: RawSpan
  private var chunkOffset = 0
  private var deltaOffset = 0
  private var remaining: Int
  private var sequenceNumber: UInt16
  private var chunk = RTCPStatusChunk(rawValue: 0)
  /// Which symbol of the chunk is next.
  private var index = 0

  @_lifetime(copy chunks, copy deltas)
  fileprivate init(_ chunks: RawSpan, deltas: RawSpan, count: Int, from base: UInt16) {
    self.chunks = chunks
    self.deltas = deltas
    remaining = count
    sequenceNumber = base
  }

  @_lifetime(self: copy self)
  package mutating func next() -> RTCPPacketStatus? {
    guard remaining > 0 else { return nil }
    advanceChunk()
    let symbol = chunk.symbol(index)
    index += 1
    return take(symbol)
  }

  /// The next packet that arrived. Runs of lost ones are stepped over at once, so the walk takes no more steps than the
  /// feedback has bytes, whatever count it states.
  @_lifetime(self: copy self)
  package mutating func nextReceived() -> RTCPPacketStatus? {
    while remaining > 0 {
      advanceChunk()
      if chunk.isRun, chunk.symbol(index) == .notReceived {
        let run = min(remaining, chunk.count - index)
        remaining -= run
        sequenceNumber &+= UInt16(run)
        index += run
      } else {
        let symbol = chunk.symbol(index)
        index += 1
        let status = take(symbol)
        if status.delta != nil { return status }
      }
    }
    return nil
  }

  /// Makes `index` one of a symbol in `chunk`. An empty run is passed by.
  @_lifetime(self: copy self)
  private mutating func advanceChunk() {
    while index >= chunk.count {
      chunk = RTCPStatusChunk(rawValue: chunks.uint16(at: chunkOffset))
      chunkOffset += 2
      index = 0
    }
  }

  @_lifetime(self: copy self)
  private mutating func take(_ symbol: RTCPPacketSymbol?) -> RTCPPacketStatus {
    let number = sequenceNumber
    sequenceNumber &+= 1
    remaining -= 1
    switch symbol {
    case .smallDelta:
      defer { deltaOffset += 1 }
      return RTCPPacketStatus(sequenceNumber: number, delta: Int16(deltas.byte(at: deltaOffset)))
    case .largeDelta:
      defer { deltaOffset += 2 }
      return RTCPPacketStatus(sequenceNumber: number, delta: Int16(bitPattern: deltas.uint16(at: deltaOffset)))
    case .notReceived, nil:
      return RTCPPacketStatus(sequenceNumber: number, delta: nil)
    }
  }
}
