// Transceiver.swift — what one audio or video section is to this side: what it wants, what both have agreed on (RFC 9429
// §4.1), and what that means for RTP.

import Media
package import RTP
package import SDP

package struct Transceiver: Sendable {
  /// Never changes, and never belongs to another one: `MediaSection.id`.
  package let id: Int
  package let kind: MediaKind
  /// Of what this side sends.
  package let ssrc: UInt32
  /// Of the retransmissions of what this side sends (RFC 4588), where they are negotiated.
  let rtxSSRC: UInt32
  /// The name of our track in `a=msid`.
  let trackID: String
  /// The peer's offer has brought it about, not this side's application.
  let isFromPeer: Bool
  /// What this side can, its favourite first, each with the number that it would like to have; `BundleNumbers` gives it one.
  let preferences: [SDPCodec]

  /// What this side wants.
  package internal(set) var direction: SDPDirection
  /// This side wants it to end.
  package internal(set) var isStopping = false
  /// Its section; nil until a description has given it one.
  package internal(set) var mid: String?
  /// What both sides have agreed on last.
  package internal(set) var currentDirection: SDPDirection?
  /// What was wanted when they did.
  var agreedDirection: SDPDirection?
  /// What both can, retransmission included, with the numbers that packets carry.
  var codecs: [SDPCodec] = []
  var extensions: [SDPExtension] = []
  /// What the peer says about its side.
  var remote: MediaDescription?

  /// What both can, for the application.
  package var mediaCodecs: [SDPCodec] { codecs.filter { !$0.isRetransmission } }

  /// Whether the peer is to learn of something by another exchange of descriptions.
  var needsNegotiation: Bool { mid == nil ? !isStopping : isStopping || direction != agreedDirection }
}

extension Transceiver {
  /// As a description of ours tells it.
  func localMedia(
    codecs: [SDPCodec], extensions: [SDPExtension], streamID: String, cname: String
  ) -> LocalMedia {
    LocalMedia(
      mid: mid, kind: SDPMediaKind(kind), direction: direction, codecs: codecs, extensions: extensions,
      streamID: streamID, trackID: trackID, cname: cname, ssrc: ssrc,
      rtxSSRC: codecs.contains(where: \.isRetransmission) ? rtxSSRC : nil, isStopped: isStopping)
  }

  /// What the RTP session is to know of it; nil before anything was agreed on.
  var section: MediaSection? {
    guard let mid, let currentDirection else { return nil }
    let streams = remote?.retransmissions ?? [:]
    return MediaSection(
      id: id, mid: mid, kind: kind, sends: currentDirection.sends, receives: currentDirection.receives,
      payloadTypes: Self.payloadTypes(codecs), extensionIDs: MediaExtensionIDs(extensions), localSSRC: ssrc,
      localRTXSSRC: codecs.contains(where: \.isRetransmission) ? rtxSSRC : nil,
      remoteSSRCs: (remote?.ssrcs ?? []).filter { streams[$0] == nil }, remoteRTX: streams,
      rids: (remote?.rids ?? []).filter { $0.direction == .send }.map(\.id),
      usesReducedSize: remote?.usesReducedSize ?? false)
  }

  /// What it may receive while our offer is not answered: a peer that has taken it up sends before its answer is here
  /// (RFC 9429 §5.6).
  func expectedSection(offered: LocalMedia) -> MediaSection? {
    guard currentDirection == nil, let mid = offered.mid, !offered.isStopped else { return nil }
    return MediaSection(
      id: id, mid: mid, kind: kind, sends: false, receives: offered.direction.receives,
      payloadTypes: Self.payloadTypes(offered.codecs), extensionIDs: MediaExtensionIDs(offered.extensions),
      localSSRC: ssrc)
  }

  private static func payloadTypes(_ codecs: [SDPCodec]) -> [UInt8: MediaCodec] {
    Dictionary(codecs.map { ($0.payloadType, MediaCodec($0)) }) { first, _ in first }
  }
}

/// The names of header extensions (`a=extmap`).
enum HeaderExtension {
  static let mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
  static let rid = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
  static let repairedRid = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
  static let transportSequence = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
  static let absoluteSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
}

extension MediaExtensionIDs {
  init(_ extensions: [SDPExtension]) {
    func id(_ uri: String) -> UInt8? { extensions.first { $0.uri == uri }?.id }
    self.init(
      mid: id(HeaderExtension.mid), rid: id(HeaderExtension.rid), repairedRid: id(HeaderExtension.repairedRid),
      transportSequence: id(HeaderExtension.transportSequence), absoluteSendTime: id(HeaderExtension.absoluteSendTime))
  }
}

extension MediaCodec {
  init(_ codec: SDPCodec) {
    let feedback = Set(codec.feedback.map { $0.lowercased() })
    self.init(
      name: codec.name, clockRate: codec.clockRate, channels: codec.channels, hasNACK: feedback.contains("nack"),
      hasPLI: feedback.contains("nack pli"), hasFIR: feedback.contains("ccm fir"),
      hasREMB: feedback.contains("goog-remb"), hasTransportCC: feedback.contains("transport-cc"),
      rtxFor: codec.associatedPayloadType)
  }
}

extension SDPCodec {
  /// `rtx` (RFC 4588 §8.6).
  var isRetransmission: Bool { name.lowercased() == "rtx" }

  /// The payload type whose packets this one repeats; nil for other codecs.
  var associatedPayloadType: UInt8? {
    guard isRetransmission else { return nil }
    for parameter in parameters.split(separator: ";") {
      let parts = parameter.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, parts[0].filter({ $0 != " " }).lowercased() == "apt" else { continue }
      return UInt8(parts[1].filter { $0 != " " })
    }
    return nil
  }
}

extension SDPMediaKind {
  init(_ kind: MediaKind) {
    switch kind {
    case .audio: self = .audio
    case .video: self = .video
    }
  }
}

extension MediaKind {
  init(_ kind: SDPMediaKind) {
    switch kind {
    case .audio: self = .audio
    case .video: self = .video
    }
  }
}
