// RTCPTransportFeedbackBuilder.swift — a receiver's side of transport-wide feedback: packets with their arrival times in,
// one feedback packet out (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//
// Packets are added in the order of their sequence numbers. One that does not fit is refused, and changes nothing: the
// caller writes what there is and begins a new feedback with it.
//
// Invariants: `byteCount` is what will be written, and never above the maximum given; the pending symbols always fit one
// chunk, so that the end needs no more room than was counted.

package import Wire

package struct RTCPTransportFeedbackBuilder: Sendable {
  package let baseSequenceNumber: UInt16
  /// How many packets are told of, lost ones included.
  package private(set) var statusCount = 0
  private let referenceTime: Int64
  private let maximumByteCount: Int
  /// When the last packet arrived as far as the deltas tell, in `deltaUnit`. Rounding is against this, so that errors do
  /// not add up.
  private var lastTick: Int64
  private var chunks: [UInt16] = []
  private var deltas: [UInt8] = []
  private var pending = PendingSymbols()

  /// The smallest feedback: header, one chunk, a delta of two bytes.
  package static let minimumByteCount = RTCPHeader.byteCount + RTCPTransportFeedback.fixedByteCount + 4

  /// Begins with the first packet, whose number and arrival give the base and the reference time.
  /// - Parameters:
  ///   - maximumByteCount: of the RTCP packet, header included; at least `minimumByteCount`.
  package init(sequenceNumber: UInt16, arrival: Instant, maximumByteCount: Int) {
    precondition(maximumByteCount >= Self.minimumByteCount, "a feedback has room for one packet")
    baseSequenceNumber = sequenceNumber
    self.maximumByteCount = maximumByteCount
    let unit = RTCPTransportFeedback.referenceUnit.nanoseconds
    let arrivedAt = arrival.nanoseconds
    referenceTime = arrivedAt / unit - (arrivedAt % unit < 0 ? 1 : 0)
    lastTick = referenceTime * (unit / RTCPTransportFeedback.deltaUnit.nanoseconds)
    let fits = add(sequenceNumber: sequenceNumber, arrival: arrival)
    precondition(fits, "less than 64 ms after the reference time is a delta of 8 or 16 bits")
  }

  /// Adds a packet, and those between it and the one before as lost. False when it does not fit: it lies behind what was
  /// added, arrived more than 8.19 s before or after it, or would make the feedback too long.
  package mutating func add(sequenceNumber: UInt16, arrival: Instant) -> Bool {
    let gap = Int(sequenceNumber &- baseSequenceNumber &- UInt16(truncatingIfNeeded: statusCount))
    guard gap < 0x8000, statusCount + gap < 0xffff else { return false }
    // Floored, so that the first is not before the reference time.
    let unit = RTCPTransportFeedback.deltaUnit.nanoseconds
    let tick = arrival.nanoseconds / unit - (arrival.nanoseconds % unit < 0 ? 1 : 0)
    guard let delta = Int16(exactly: tick - lastTick) else { return false }
    let symbol: RTCPPacketSymbol = (0...255).contains(delta) ? .smallDelta : .largeDelta

    // The chunks that the symbols complete are known only once they are there; a copy is given up when they are too many.
    var symbols = pending
    var completed: [UInt16] = []
    symbols.append(.notReceived, count: gap, completed: &completed)
    symbols.append(symbol, count: 1, completed: &completed)
    let deltaBytes = deltas.count + symbol.deltaBytes
    guard
      Self.byteCount(chunks: chunks.count + completed.count + 1, deltas: deltaBytes) <= maximumByteCount
    else { return false }
    pending = symbols
    chunks += completed
    statusCount += gap + 1
    lastTick = tick
    if symbol == .largeDelta { deltas.append(UInt8(truncatingIfNeeded: delta >> 8)) }
    deltas.append(UInt8(truncatingIfNeeded: delta))
    return true
  }

  /// Of the RTCP packet, header and zeros at its end included.
  package var byteCount: Int { Self.byteCount(chunks: chunks.count + 1, deltas: deltas.count) }

  private static func byteCount(chunks: Int, deltas: Int) -> Int {
    RTCPHeader.byteCount + (RTCPTransportFeedback.fixedByteCount + 2 * chunks + deltas + 3) & ~3
  }

  /// Writes what follows the common header.
  @_lifetime(out: copy out)
  func writeBody(sender: UInt32, media: UInt32, feedbackCount: UInt8, into out: inout OutputRawSpan) {
    out.writeUInt32(sender)
    out.writeUInt32(media)
    out.writeUInt16(baseSequenceNumber)
    out.writeUInt16(UInt16(statusCount))
    out.writeUInt32(UInt32(truncatingIfNeeded: referenceTime) << 8 | UInt32(feedbackCount))
    for chunk in chunks { out.writeUInt16(chunk) }
    out.writeUInt16(pending.finalChunk)
    out.writeBytes(deltas)
    // Zeros that the padding bit does not count, so that another packet may follow (§3.1 draws them so).
    out.writePadding(after: 2 * (chunks.count + 1) + deltas.count)
  }
}

/// Symbols that are not in a chunk yet: either all alike, however many, or as many as one status vector holds.
private struct PendingSymbols: Sendable {
  private var count = 0
  /// The first fourteen, two bits each, the first one lowest.
  private var symbols: UInt32 = 0
  private var isUniform = true
  private var hasLarge = false

  private static let oneBitCapacity = 14
  private static let twoBitCapacity = 7

  private var first: RTCPPacketSymbol? { RTCPPacketSymbol(rawValue: UInt8(symbols & 3)) }

  mutating func append(_ symbol: RTCPPacketSymbol, count total: Int, completed: inout [UInt16]) {
    var remaining = total
    while remaining > 0 {
      if isUniform, count > 0, first == symbol, count < RTCPTransportFeedback.maximumRunLength {
        let run = min(remaining, RTCPTransportFeedback.maximumRunLength - count)
        for index in count..<max(count, min(count + run, Self.oneBitCapacity)) { set(symbol, at: index) }
        count += run
        remaining -= run
      } else if hasRoom(for: symbol) {
        if count > 0, first != symbol { isUniform = false }
        if symbol == .largeDelta { hasLarge = true }
        set(symbol, at: count)
        count += 1
        remaining -= 1
      } else {
        completed.append(removeChunk())
      }
    }
  }

  /// The chunk that holds all that is pending; what a status vector has left over is zero.
  var finalChunk: UInt16 {
    if isUniform { return runChunk }
    return hasLarge ? twoBitChunk : oneBitChunk
  }

  private func hasRoom(for symbol: RTCPPacketSymbol) -> Bool {
    if count < Self.twoBitCapacity { return true }
    return count < Self.oneBitCapacity && !hasLarge && symbol != .largeDelta
  }

  /// Takes out the fullest chunk that what is pending can fill.
  private mutating func removeChunk() -> UInt16 {
    if isUniform {
      defer { self = PendingSymbols() }
      return runChunk
    }
    if count == Self.oneBitCapacity {
      defer { self = PendingSymbols() }
      return oneBitChunk
    }
    let chunk = twoBitChunk
    var rest = PendingSymbols()
    for index in Self.twoBitCapacity..<max(Self.twoBitCapacity, count) {
      guard let symbol = RTCPPacketSymbol(rawValue: UInt8(symbols >> UInt32(2 * index) & 3)) else { continue }
      if rest.count > 0, rest.first != symbol { rest.isUniform = false }
      if symbol == .largeDelta { rest.hasLarge = true }
      rest.set(symbol, at: rest.count)
      rest.count += 1
    }
    self = rest
    return chunk
  }

  private mutating func set(_ symbol: RTCPPacketSymbol, at index: Int) {
    symbols |= UInt32(symbol.rawValue) << UInt32(2 * index)
  }

  private var runChunk: UInt16 { UInt16(symbols & 3) << 13 | UInt16(count) }

  private var oneBitChunk: UInt16 {
    var chunk: UInt16 = 0x8000
    for index in 0..<Self.oneBitCapacity { chunk |= UInt16(symbols >> UInt32(2 * index) & 1) << UInt16(13 - index) }
    return chunk
  }

  private var twoBitChunk: UInt16 {
    var chunk: UInt16 = 0xc000
    for index in 0..<Self.twoBitCapacity {
      chunk |= UInt16(symbols >> UInt32(2 * index) & 3) << UInt16(12 - 2 * index)
    }
    return chunk
  }
}
