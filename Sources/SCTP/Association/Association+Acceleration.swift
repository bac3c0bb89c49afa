// Association+Acceleration.swift — an association without a handshake: both INIT chunks have travelled with the session
// descriptions (SNAP, draft-hancke-tsvwg-snap).
//
// A cookie would prove that the peer receives what we send to it; ICE and DTLS have proved that already. A peer that
// sends an INIT all the same restarts the association like any other (RFC 9260 §5.2.4.1).

package import Wire

extension SCTPAssociation {
  /// An INIT chunk to be carried to the peer by other means.
  package static func makeInitiation(_ configuration: SCTPConfiguration, random: inout RandomSource) -> [UInt8] {
    var chunk = InitChunk(
      initiateTag: UInt32(truncatingIfNeeded: random.next()) | 1,
      receiverWindow: UInt32(clamping: configuration.receiveWindow), outboundStreams: configuration.outboundStreams,
      inboundStreams: configuration.inboundStreams,
      initialTSN: TSN(rawValue: UInt32(truncatingIfNeeded: random.next())))
    chunk.extensions = configuration.extensions
    return collectBytes(capacity: maximumInitiationByteCount) { out in
      chunk.write(type: ChunkType.initiation, into: &out)
    }
  }

  /// Whether these bytes are an INIT chunk with which an association can begin.
  package static func isUsable(initiation bytes: [UInt8]) -> Bool { initiation(in: bytes) != nil }

  /// Is up at once when both sides know the other's INIT; otherwise begins the handshake.
  package mutating func connect(own: [UInt8], peer: [UInt8], now: Instant) {
    guard state == .closed, !isTerminated else { return }
    guard let mine = Self.initiation(in: own), let theirs = Self.initiation(in: peer) else { return connect(now: now) }
    localTag = mine.initiateTag
    localInitialTSN = mine.initialTSN
    peerTag = theirs.initiateTag
    acceptsZeroChecksum = mine.extensions.contains(.zeroChecksum)
    adopt(
      peerInitialTSN: theirs.initialTSN, window: theirs.receiverWindow, inboundStreams: theirs.inboundStreams,
      extensions: theirs.extensions.intersection(mine.extensions))
    establish(now: now)
  }

  /// Ten times what anybody sends.
  package static let maximumInitiationByteCount = 1_024

  private static func initiation(in bytes: [UInt8]) -> InitChunk? {
    let span = bytes.rawSpan
    guard (ChunkHeader.byteCount...maximumInitiationByteCount).contains(bytes.count) else { return nil }
    let length = Int(span.uint16(at: 2))
    guard span.byte(at: 0) == ChunkType.initiation, length >= ChunkHeader.byteCount,
      bytes.count == length || bytes.count == (length + 3) & ~3
    else { return nil }
    let chunk = Chunk(
      type: span.byte(at: 0), flags: span.byte(at: 1), value: span.extracting(ChunkHeader.byteCount..<length),
      whole: span.extracting(0..<length))
    do throws(Malformed) {
      let initiation = try InitChunk(chunk)
      guard initiation.initiateTag != 0, isAcceptable(initiation), !initiation.hasHostName else { return nil }
      return initiation
    } catch {
      return nil
    }
  }
}
