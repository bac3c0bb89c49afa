// RTCPFeedback.swift — NACK, PLI, FIR and REMB: what a receiver asks of a sender (RFC 4585 §6, RFC 5104 §4.3.1,
// draft-alvestrand-rmcat-remb-03 §2.2).
//
//   all:   | SSRC of packet sender | SSRC of media source | feedback control information (FCI) … |
//   NACK:  | PID, 16 | BLP, 16 | …      the packet lost, and which of the 16 behind it
//   FIR:   | SSRC | sequence number, 8 | reserved, 24 | …
//   REMB:  | 'R' 'E' 'M' 'B' | number of SSRCs, 8 | exponent, 6 | mantissa, 18 | SSRCs … |

internal import Wire

/// A lost packet and, as bits, those of the sixteen behind it that are lost too: bit 0 is the one next to it.
package struct RTCPNackPair: Hashable, Sendable {
  package var packetID: UInt16
  package var followingLost: UInt16

  package init(packetID: UInt16, followingLost: UInt16) {
    self.packetID = packetID
    self.followingLost = followingLost
  }

  /// The fewest pairs that name the sequence numbers of `sorted`, which ascends on the circle of 2^16. Numbers may repeat.
  package static func pairs(_ sorted: [UInt16]) -> [RTCPNackPair] {
    var pairs: [RTCPNackPair] = []
    for number in sorted {
      guard let last = pairs.last else {
        pairs.append(RTCPNackPair(packetID: number, followingLost: 0))
        continue
      }
      switch number &- last.packetID {
      case 0: break
      case let distance where distance <= 16: pairs[pairs.count - 1].followingLost |= 1 << (distance - 1)
      default: pairs.append(RTCPNackPair(packetID: number, followingLost: 0))
      }
    }
    return pairs
  }
}

/// A generic NACK. There is at least one pair.
package struct RTCPNack: ~Escapable {
  package let sender: UInt32
  package let media: UInt32
  private let list: RawSpan

  @_lifetime(copy body)
  init(_ body: RawSpan) throws(Malformed) {
    var reader = ByteReader(body)
    sender = try reader.readUInt32()
    media = try reader.readUInt32()
    list = reader.readRemaining()
    guard list.byteCount > 0, list.byteCount & 3 == 0 else { throw .badLength }
  }

  package var pairCount: Int { list.byteCount / 4 }

  /// The pair at `index`, which must be less than `pairCount`.
  package func pair(_ index: Int) -> RTCPNackPair {
    RTCPNackPair(packetID: list.uint16(at: 4 * index), followingLost: list.uint16(at: 4 * index + 2))
  }

  /// The sequence numbers, as they are listed; at most 17 for each pair.
  package var sequenceNumbers: RTCPNackSequence {
    @_lifetime(copy self)
    get { RTCPNackSequence(list) }
  }
}

/// Walks the sequence numbers of a NACK without allocating.
package struct RTCPNackSequence: ~Escapable {
  private let list: RawSpan
  private var offset = 0
  /// The pair's packets that are yet to be told, its PID at bit 0.
  private var bits: UInt32 = 0
  private var packetID: UInt16 = 0

  @_lifetime(copy list)
  fileprivate init(_ list: RawSpan) { self.list = list }

  @_lifetime(self: copy self)
  package mutating func next() -> UInt16? {
    if bits == 0 {
      guard offset < list.byteCount else { return nil }
      packetID = list.uint16(at: offset)
      bits = UInt32(list.uint16(at: offset + 2)) << 1 | 1
      offset += 4
    }
    let step = bits.trailingZeroBitCount
    bits &= bits - 1
    return packetID &+ UInt16(step)
  }
}

/// PLI: the receiver cannot show the picture it has.
package struct RTCPPictureLossIndication: Hashable, Sendable {
  package let sender: UInt32
  package let media: UInt32

  init(_ body: RawSpan) throws(Malformed) {
    var reader = ByteReader(body)
    sender = try reader.readUInt32()
    media = try reader.readUInt32()
  }
}

/// One order of a FIR. The number grows with every new order; the same again is a repetition.
package struct RTCPFullIntraEntry: Hashable, Sendable {
  package var ssrc: UInt32
  package var sequenceNumber: UInt8

  package init(ssrc: UInt32, sequenceNumber: UInt8) {
    self.ssrc = ssrc
    self.sequenceNumber = sequenceNumber
  }

  static let byteCount = 8
}

/// FIR: the sender is to begin anew. There is at least one entry.
package struct RTCPFullIntraRequest: ~Escapable {
  package let sender: UInt32
  private let list: RawSpan

  @_lifetime(copy body)
  init(_ body: RawSpan) throws(Malformed) {
    var reader = ByteReader(body)
    sender = try reader.readUInt32()
    // The media source is unused (§4.3.1.2).
    _ = try reader.readUInt32()
    list = reader.readRemaining()
    guard list.byteCount > 0, list.byteCount % RTCPFullIntraEntry.byteCount == 0 else { throw .badLength }
  }

  package var entryCount: Int { list.byteCount / RTCPFullIntraEntry.byteCount }

  /// The entry at `index`, which must be less than `entryCount`.
  package func entry(_ index: Int) -> RTCPFullIntraEntry {
    let at = RTCPFullIntraEntry.byteCount * index
    return RTCPFullIntraEntry(ssrc: list.uint32(at: at), sequenceNumber: list.byte(at: at + 4))
  }
}

/// REMB: what a receiver thinks that the path carries.
package struct RTCPMaximumBitrate: ~Escapable {
  package let sender: UInt32
  /// In bit/s; what does not fit 64 bits is the largest number that does.
  package let bitrate: UInt64
  /// 0 … 255.
  package let sourceCount: Int
  private let list: RawSpan

  static let name: UInt32 = 0x5245_4d42
  static let mantissaBits = 18

  /// Whether application layer feedback is a REMB.
  static func isOne(_ body: RawSpan) -> Bool { body.byteCount >= 12 && body.uint32(at: 8) == name }

  @_lifetime(copy body)
  init(_ body: RawSpan) throws(Malformed) {
    var reader = ByteReader(body)
    sender = try reader.readUInt32()
    try reader.skip(8)
    let word = try reader.readUInt32()
    sourceCount = Int(word >> 24)
    bitrate = Self.bitrate(exponent: word >> 18 & 0x3f, mantissa: word & 0x3_ffff)
    list = reader.readRemaining()
    guard list.byteCount >= 4 * sourceCount else { throw .truncated }
  }

  /// The source at `index`, which must be less than `sourceCount`.
  package func source(_ index: Int) -> UInt32 {
    precondition(index >= 0 && index < sourceCount, "the caller asks for a source that there is")
    return list.uint32(at: 4 * index)
  }

  static func bitrate(exponent: UInt32, mantissa: UInt32) -> UInt64 {
    let mantissa = UInt64(mantissa)
    return exponent > mantissa.leadingZeroBitCount ? .max : mantissa << exponent
  }

  /// Exponent and mantissa of the largest bitrate that can be said and is not above `bitrate`.
  static func parts(of bitrate: UInt64) -> (exponent: UInt32, mantissa: UInt32) {
    let exponent = max(0, 64 - bitrate.leadingZeroBitCount - mantissaBits)
    return (UInt32(exponent), UInt32(bitrate >> exponent))
  }
}
