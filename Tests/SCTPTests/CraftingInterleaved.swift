// CraftingInterleaved.swift — I-DATA and I-FORWARD-TSN made by hand (RFC 8260), and messages cut into chunks.

import SCTP
import SCTPTestSupport
import TestSupport
import Wire

func interleavedData(
  _ tsn: TSN, _ payload: [UInt8], stream: UInt16 = 1, mid: UInt32 = 0, fragment: UInt32 = 0,
  flags: DataFlags = .whole
) -> [UInt8] {
  collectBytes(capacity: payload.count + 32) { out in
    InterleavedDataHeader(
      flags: flags, tsn: tsn, stream: stream, mid: MID(rawValue: mid), fragment: fragment, payloadProtocol: 53
    ).write(userDataCount: payload.count, into: &out)
    out.writeBytes(payload)
    out.writePadding(after: payload.count)
  }
}

func interleavedForwardTSN(_ tsn: TSN, _ skipped: [SkippedMessage] = []) -> [UInt8] {
  collectBytes(capacity: 64 + 8 * skipped.count) { out in
    InterleavedForwardTSNChunk.write(newCumulativeTSN: tsn, skipped: skipped, into: &out)
  }
}

extension SkippedMessage {
  init(_ stream: UInt16, _ mid: UInt32, unordered: Bool = false) {
    self.init(stream: stream, isUnordered: unordered, mid: MID(rawValue: mid))
  }
}

extension World {
  /// Both sides up, having agreed on I-DATA.
  static func interleaving(b: SCTPConfiguration = .init()) -> World {
    World.connected(a: .init(), b: b)
  }
}

extension DataReceiver {
  init(_ tsn: TSN, window: Int = 1 << 20, maximumMessageSize: Int = 262_144, firstNumber: UInt32 = 0) {
    self.init(initialTSN: tsn, window: window, maximumMessageSize: maximumMessageSize, firstNumber: firstNumber)
  }

  /// A fragment of either kind, as it would come in a packet.
  mutating func take(_ piece: Piece, interleaved: Bool) -> Outcome {
    if interleaved {
      return handle(
        InterleavedDataHeader(
          flags: piece.flags, tsn: piece.tsn, stream: piece.stream, mid: MID(rawValue: piece.number),
          fragment: piece.fragment, payloadProtocol: piece.fragment == 0 ? 53 : 0), piece.payload.rawSpan)
    }
    return handle(
      DataHeader(
        flags: piece.flags, tsn: piece.tsn, stream: piece.stream, ssn: SSN(rawValue: UInt16(piece.number & 0xffff)),
        payloadProtocol: 53), piece.payload.rawSpan)
  }

  mutating func skip(to tsn: TSN, _ skipped: [SkippedMessage], interleaved: Bool) throws -> Outcome {
    let bytes =
      interleaved
      ? interleavedForwardTSN(tsn, skipped)
      : forwardTSN(
        tsn, skipped.filter { !$0.isUnordered }.map { ($0.stream, UInt16($0.mid.rawValue & 0xffff)) })
    let packet = craft(tag: 1, bytes)
    var reader = ChunkReader(packet.rawSpan)
    guard let chunk = try reader.next() else { return .refused }
    return interleaved ? handle(try InterleavedForwardTSNChunk(chunk)) : handle(try ForwardTSNChunk(chunk))
  }

  /// What is whole and in its turn, given back at once.
  mutating func drain(now: Instant = Instant(nanoseconds: 0)) -> [IncomingMessage] {
    var result: [IncomingMessage] = []
    while let message = popMessage() {
      release(message.payload.count, now: now)
      result.append(message)
    }
    return result
  }
}

/// One fragment on its way.
struct Piece {
  var tsn: TSN
  var stream: UInt16
  var number: UInt32
  var fragment: UInt32
  var flags: DataFlags
  var payload: [UInt8]
}

/// A message and what becomes of it.
struct Draft {
  var stream: UInt16
  var isOrdered: Bool
  var number: UInt32
  var fragments: [[UInt8]]

  var payload: [UInt8] { fragments.flatMap { $0 } }

  func flags(_ fragment: Int) -> DataFlags {
    var flags: DataFlags = isOrdered ? [] : .unordered
    if fragment == 0 { flags.insert(.begin) }
    if fragment == fragments.count - 1 { flags.insert(.end) }
    return flags
  }

  func piece(_ fragment: Int, tsn: TSN) -> Piece {
    Piece(
      tsn: tsn, stream: stream, number: number, fragment: UInt32(fragment), flags: flags(fragment),
      payload: fragments[fragment])
  }
}

func permutations(_ n: Int) -> [[Int]] {
  guard n > 0 else { return [[]] }
  return permutations(n - 1).flatMap { shorter in
    (0...shorter.count).map { place in
      var longer = shorter
      longer.insert(n - 1, at: place)
      return longer
    }
  }
}
