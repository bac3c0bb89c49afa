// MediaTransport.swift — RTP and RTCP between the wire, where SRTP protects them, and the session that understands them
// (RFC 3711, 5761, 5764).
//
// Invariant: without keys nothing is read and nothing is sent, and keys come only from a DTLS session that has verified the
// peer's fingerprint.

import Media
import RTP
package import SRTP
import Wire

/// What was thrown away before or by SRTP.
package struct MediaDropCounters: Sendable {
  /// From an address that no check has validated, or before the keys were there.
  package var unexpected: UInt64 = 0
  /// Longer than any that is read.
  package var tooLong: UInt64 = 0
  /// Packets of ours that SRTP refused to protect: its keys are used up.
  package var unprotected: UInt64 = 0
  /// SRTP's own: wrong tags, repeated and malformed packets, sources beyond the bound.
  /// Nil before there are keys.
  package var srtp: SRTPCounters?
}

struct MediaTransport: ~Copyable {
  var session: MediaSession
  private var keys: SRTPSession?
  private var dropped = MediaDropCounters()

  init(session: consuming MediaSession) { self.session = session }

  var hasKeys: Bool {
    switch keys {
    case .some: true
    case .none: false
    }
  }

  var counters: MediaDropCounters {
    var counters = dropped
    switch keys {
    case .some(let keys): counters.srtp = keys.counters
    case .none: break
    }
    return counters
  }

  /// Takes the keys that DTLS has agreed on: packets may go both ways.
  ///
  /// - Parameter exported: by RFC 5764 §4.2, as long as `SRTPKeyingMaterial` says.
  mutating func start(
    profile: SRTPProfile, exported: consuming [UInt8], isClient: Bool, now: Instant
  ) throws(SRTPError) {
    guard let material = SRTPKeyingMaterial(profile: profile, exported: exported) else { return }
    keys = try SRTPSession(material, isClient: isClient)
    session.start(now: now)
  }

  /// Its section is gone: under these keys nothing comes and goes with its SSRCs any more, and others get their places.
  mutating func forget(_ stopped: Transceiver) {
    keys?.removeOutgoing(stopped.ssrc)
    keys?.removeOutgoing(stopped.rtxSSRC)
    for ssrc in stopped.remoteSSRCs { keys?.removeIncoming(ssrc) }
  }

  mutating func noteUnexpected() { dropped.unexpected &+= 1 }

  /// Takes a datagram of a validated route.
  mutating func handle(_ datagram: RawSpan, through plaintext: inout ScratchBuffer, now: Instant) {
    guard hasKeys else { return noteUnexpected() }
    guard datagram.byteCount <= Self.maximumDatagramSize else {
      dropped.tooLong &+= 1
      return
    }
    Self.open(datagram, with: &keys, through: &plaintext, for: &session, now: now)
  }

  private static func open(
    _ datagram: RawSpan, with keys: inout SRTPSession?, through plaintext: inout ScratchBuffer,
    for session: inout MediaSession, now: Instant
  ) {
    let isControl = isRTCP(datagram)
    plaintext.withBytes { out in
      do throws(SRTPError) {
        if isControl {
          try keys?.unprotectRTCP(datagram, into: &out)
        } else {
          try keys?.unprotectRTP(datagram, into: &out)
        }
        return true
      } catch {
        return false  // counted where it was refused
      }
    } read: { packet in
      if isControl { session.handleRTCP(packet, now: now) } else { session.handleRTP(packet, now: now) }
    }
  }

  /// Appends the next packet, protected, for which `out` must have `transmitCapacity`.
  mutating func pollTransmit(
    through plaintext: inout ScratchBuffer, into out: inout OutputRawSpan, now: Instant
  ) -> Bool {
    guard hasKeys else { return false }
    while true {
      switch Self.protectNext(of: &session, through: &plaintext, with: &keys, into: &out, now: now) {
      case true: return true
      case nil: return false
      // The next may have another source, whose keys are not used up.
      case false: dropped.unprotected &+= 1
      }
    }
  }

  /// - Returns: nil when there is no packet, false when it was refused.
  private static func protectNext(
    of session: inout MediaSession, through plaintext: inout ScratchBuffer, with keys: inout SRTPSession?,
    into out: inout OutputRawSpan, now: Instant
  ) -> Bool? {
    var kind: MediaPacketKind?
    return plaintext.withBytes { packet in
      kind = session.pollTransmit(into: &packet, now: now)
      return kind != nil
    } read: { packet in
      do throws(SRTPError) {
        if kind == .rtcp { try keys?.protectRTCP(packet, into: &out) } else { try keys?.protectRTP(packet, into: &out) }
        return true
      } catch {
        return false
      }
    }
  }

  /// What a protected packet may be long: as much as the scratch buffer holds, and no link carries that.
  private static let maximumDatagramSize = 1 << 14
}
