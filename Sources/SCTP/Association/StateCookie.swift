// StateCookie.swift — what an INIT-ACK asks the peer to keep for us, so that an INIT costs us no memory (RFC 9260 §5.1.3).
//
// Signed with HMAC-SHA-256 under a key that only this association knows, because a cookie that the peer could write
// would let it choose our state.

import Digest
package import Wire

package struct StateCookie: Equatable, Sendable {
  package var createdAt: Instant
  package var localTag: UInt32
  package var peerTag: UInt32
  package var localInitialTSN: TSN
  package var peerInitialTSN: TSN
  package var peerReceiverWindow: UInt32
  package var peerOutboundStreams: UInt16
  package var peerInboundStreams: UInt16
  /// What the peer has offered and our INIT-ACK has not refused.
  package var extensions: Extensions
  /// The tags of the association that existed when the cookie was made, else zero (§5.2.2).
  package var localTieTag: UInt32
  package var peerTieTag: UInt32

  package static let keyByteCount = 32
  private static let bodyByteCount = 48
  private static let codeByteCount = 32
  package static let byteCount = bodyByteCount + codeByteCount

  package func seal(key: [UInt8]) -> [UInt8] {
    let body = collectBytes(capacity: Self.bodyByteCount) { out in
      out.writeUInt64(UInt64(bitPattern: createdAt.nanoseconds))
      out.writeUInt32(localTag)
      out.writeUInt32(peerTag)
      out.writeUInt32(localInitialTSN.rawValue)
      out.writeUInt32(peerInitialTSN.rawValue)
      out.writeUInt32(peerReceiverWindow)
      out.writeUInt16(peerOutboundStreams)
      out.writeUInt16(peerInboundStreams)
      out.writeUInt32(UInt32(extensions.rawValue))
      out.writeUInt32(localTieTag)
      out.writeUInt32(peerTieTag)
      out.writeUInt32(0)
    }
    return body + HMAC.sha256(key: key, body.rawSpan)
  }

  /// Opens a cookie that we have sealed; nil when its code is wrong.
  package init?(opening sealed: RawSpan, key: [UInt8]) {
    guard sealed.byteCount == Self.byteCount else { return nil }
    let body = sealed.extracting(0..<Self.bodyByteCount)
    let code = sealed.extracting(Self.bodyByteCount..<Self.byteCount)
    let expected = HMAC.sha256(key: key, body)
    guard constantTimeEqual(code, expected.rawSpan) else { return nil }
    createdAt = Instant(nanoseconds: Int64(bitPattern: UInt64(body.uint32(at: 0)) << 32 | UInt64(body.uint32(at: 4))))
    localTag = body.uint32(at: 8)
    peerTag = body.uint32(at: 12)
    localInitialTSN = TSN(rawValue: body.uint32(at: 16))
    peerInitialTSN = TSN(rawValue: body.uint32(at: 20))
    peerReceiverWindow = body.uint32(at: 24)
    peerOutboundStreams = body.uint16(at: 28)
    peerInboundStreams = body.uint16(at: 30)
    extensions = Extensions(rawValue: body.byte(at: 35))
    localTieTag = body.uint32(at: 36)
    peerTieTag = body.uint32(at: 40)
  }

  package init(
    createdAt: Instant, localTag: UInt32, localInitialTSN: TSN, peer: InitChunk, extensions: Extensions,
    localTieTag: UInt32, peerTieTag: UInt32
  ) {
    self.createdAt = createdAt
    self.localTag = localTag
    self.localInitialTSN = localInitialTSN
    peerTag = peer.initiateTag
    peerInitialTSN = peer.initialTSN
    peerReceiverWindow = peer.receiverWindow
    peerOutboundStreams = peer.outboundStreams
    peerInboundStreams = peer.inboundStreams
    self.extensions = extensions
    self.localTieTag = localTieTag
    self.peerTieTag = peerTieTag
  }
}
