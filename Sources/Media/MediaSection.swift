// MediaSection.swift — what the exchange of descriptions has settled for one `m=` section of the bundle (RFC 8843).

package import RTP

/// One payload type of a section.
package struct MediaCodec: Hashable, Sendable {
  /// The encoding name of `a=rtpmap`, for example `VP8` or `rtx`.
  package var name: String
  /// Ticks of the RTP timestamp per second.
  package var clockRate: UInt32
  package var channels: Int
  /// `a=rtcp-fb` (RFC 4585 §4.2): generic NACK, PLI, FIR (RFC 5104), REMB and transport-wide congestion control.
  package var hasNACK: Bool
  package var hasPLI: Bool
  package var hasFIR: Bool
  package var hasREMB: Bool
  package var hasTransportCC: Bool
  /// For `rtx`: the payload type whose packets it repeats (`apt`, RFC 4588 §8.1).
  package var rtxFor: UInt8?

  package init(
    name: String, clockRate: UInt32, channels: Int = 1, hasNACK: Bool = false, hasPLI: Bool = false,
    hasFIR: Bool = false, hasREMB: Bool = false, hasTransportCC: Bool = false, rtxFor: UInt8? = nil
  ) {
    self.name = name
    self.clockRate = clockRate
    self.channels = channels
    self.hasNACK = hasNACK
    self.hasPLI = hasPLI
    self.hasFIR = hasFIR
    self.hasREMB = hasREMB
    self.hasTransportCC = hasTransportCC
    self.rtxFor = rtxFor
  }
}

/// The identifiers of the header extensions that this module itself reads and writes (`a=extmap`, RFC 8285); nil for one
/// that was not negotiated.
package struct MediaExtensionIDs: Hashable, Sendable {
  /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 8843 §15).
  package var mid: UInt8?
  /// `…:sdes:rtp-stream-id` and `…:sdes:repaired-rtp-stream-id` (RFC 8852).
  package var rid: UInt8?
  package var repairedRid: UInt8?
  /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
  package var transportSequence: UInt8?
  /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
  package var absoluteSendTime: UInt8?

  package init(
    mid: UInt8? = nil, rid: UInt8? = nil, repairedRid: UInt8? = nil, transportSequence: UInt8? = nil,
    absoluteSendTime: UInt8? = nil
  ) {
    self.mid = mid
    self.rid = rid
    self.repairedRid = repairedRid
    self.transportSequence = transportSequence
    self.absoluteSendTime = absoluteSendTime
  }

  /// Whether an element belongs to this module, so that it neither goes up nor is taken from the application.
  func contains(_ id: UInt8) -> Bool {
    id == mid || id == rid || id == repairedRid || id == transportSequence || id == absoluteSendTime
  }
}

/// One section's parameters. They may change with each negotiation; `id` tells which section they are about.
package struct MediaSection: Hashable, Sendable {
  /// The transceiver's number, which never changes.
  package var id: Int
  /// `a=mid`; empty when there is none.
  package var mid: String
  package var kind: MediaKind
  /// What the negotiated direction allows us.
  package var sends: Bool
  package var receives: Bool
  /// The same numbers in both directions, as offer/answer gives them.
  package var payloadTypes: [UInt8: MediaCodec]
  package var extensionIDs: MediaExtensionIDs
  /// What we send with, and what our reports and feedback come from; no two sections share one.
  package var localSSRC: UInt32
  package var localRTXSSRC: UInt32?
  /// `a=ssrc` of the peer.
  package var remoteSSRCs: [UInt32]
  /// `a=ssrc-group:FID` of the peer: the retransmission stream's SSRC → the stream that it repeats.
  package var remoteRTX: [UInt32: UInt32]
  /// The streams that the peer has announced by name (`a=rid`, RFC 8851).
  package var rids: [String]
  /// `a=rtcp-rsize` (RFC 5506).
  package var usesReducedSize: Bool

  package init(
    id: Int, mid: String = "", kind: MediaKind, sends: Bool, receives: Bool, payloadTypes: [UInt8: MediaCodec] = [:],
    extensionIDs: MediaExtensionIDs = MediaExtensionIDs(), localSSRC: UInt32, localRTXSSRC: UInt32? = nil,
    remoteSSRCs: [UInt32] = [], remoteRTX: [UInt32: UInt32] = [:], rids: [String] = [], usesReducedSize: Bool = false
  ) {
    self.id = id
    self.mid = mid
    self.kind = kind
    self.sends = sends
    self.receives = receives
    self.payloadTypes = payloadTypes
    self.extensionIDs = extensionIDs
    self.localSSRC = localSSRC
    self.localRTXSSRC = localRTXSSRC
    self.remoteSSRCs = remoteSSRCs
    self.remoteRTX = remoteRTX
    self.rids = rids
    self.usesReducedSize = usesReducedSize
  }
}
