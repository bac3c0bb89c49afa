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
  /// What this side can, its favourite first, and behind it what repeats it (RFC 4588); each with the number that it would
  /// like to have.
  let preferences: [SDPCodec]

  /// What this side wants.
  package internal(set) var direction: SDPDirection
  /// This side wants it to end.
  package internal(set) var isStopping = false
  /// Its section; nil until a description has given it one.
  package internal(set) var mid: String?
  /// What both sides have agreed on last.
  var agreed: AgreedMedia?
  /// What was wanted when they did.
  var agreedDirection: SDPDirection?

  package var currentDirection: SDPDirection? { agreed?.direction }
  /// What the peer has said that it sends with, retransmissions included.
  var remoteSSRCs: [UInt32] { agreed?.remote.ssrcs ?? [] }

  /// What this side may send, for the application, in the peer's order.
  package var mediaCodecs: [SDPCodec] { (agreed?.sendCodecs ?? []).filter { !$0.isRetransmission } }

  /// Whether the peer is to learn of something by another exchange of descriptions.
  var needsNegotiation: Bool { mid == nil ? !isStopping : isStopping || direction != agreedDirection }
}

extension Transceiver {
  /// Whether a section of the peer's can be its.
  func canCarry(_ section: MediaDescription) -> Bool {
    !isStopping && !SDPCodec.matching(offered: section.codecs, ours: preferences).isEmpty
  }

  /// As a description of ours tells it.
  func localMedia(_ names: MediaNames) -> LocalMedia {
    LocalMedia(
      mid: mid, kind: SDPMediaKind(kind), direction: direction, codecs: preferences,
      extensions: HeaderExtension.wanted(for: kind), streamID: names.streamID, trackID: trackID, cname: names.cname,
      ssrc: ssrc, rtxSSRC: preferences.contains(where: \.isRetransmission) ? rtxSSRC : nil, isStopped: isStopping)
  }

  /// What the RTP session is to know of it; nil before anything was agreed on.
  var section: MediaSection? {
    guard let mid, let agreed else { return nil }
    let streams = agreed.remote.retransmissions
    // A peer may send whatever we have listed, also what its answer leaves out (RFC 3264 §6.1); Chromium does.
    let codecs = agreed.sendCodecs + agreed.receiveCodecs + agreed.local.codecs
    return MediaSection(
      id: id, mid: mid, kind: kind, sends: agreed.direction.sends, receives: agreed.direction.receives,
      payloadTypes: Self.payloadTypes(codecs), extensionIDs: MediaExtensionIDs(agreed.extensions), localSSRC: ssrc,
      localRTXSSRC: agreed.sendCodecs.contains(where: \.isRetransmission) ? rtxSSRC : nil,
      remoteSSRCs: agreed.remote.ssrcs.filter { streams[$0] == nil }, remoteRTX: streams,
      rids: agreed.remote.rids.filter { $0.direction == .send }.map(\.id), usesReducedSize: agreed.usesReducedSize)
  }

  /// What it may receive while our offer is not answered: a peer that has taken it up sends before its answer is here
  /// (RFC 9429 §5.6).
  func expectedSection(offered: MediaDescription) -> MediaSection? {
    guard agreed == nil, let mid else { return nil }
    return MediaSection(
      id: id, mid: mid, kind: kind, sends: false, receives: offered.direction.receives,
      payloadTypes: Self.payloadTypes(offered.codecs), extensionIDs: MediaExtensionIDs(offered.extensions),
      localSSRC: ssrc)
  }

  /// The first that has a number keeps it.
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

  /// Those that we read and write, with the numbers that they would like to have.
  static func wanted(for kind: MediaKind) -> [SDPExtension] {
    let all = [SDPExtension(id: 1, uri: mid), SDPExtension(id: 2, uri: transportSequence)]
    guard kind == .video else { return all }
    return all + [
      SDPExtension(id: 3, uri: absoluteSendTime), SDPExtension(id: 4, uri: rid), SDPExtension(id: 5, uri: repairedRid),
    ]
  }
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
      rtxFor: codec.repairedPayloadType)
  }
}

extension SDPCodec {
  /// The codecs with numbers that differ, as far as there are any, and behind each that has `nack` what repeats it.
  static func preferences(_ codecs: [SDPCodec]) -> [SDPCodec] {
    var taken: Set<UInt8> = []
    func number(_ wanted: UInt8) -> UInt8 {
      let choices = [wanted] + Array(96...127) + Array(35...63)
      let number = choices.first { !taken.contains($0) && ($0 < 64 || (96...127).contains($0)) } ?? wanted
      taken.insert(number)
      return number
    }
    // What is wished for is given before anything else takes it.
    var result: [SDPCodec] = codecs.map { codec in
      var codec = codec
      codec.payloadType = number(codec.payloadType)
      return codec
    }
    for codec in result where codec.feedback.contains("nack") {
      result.append(
        SDPCodec(
          payloadType: number(codec.payloadType &+ 1), name: "rtx", clockRate: codec.clockRate,
          parameters: "apt=\(codec.payloadType)"))
    }
    return result
  }

  /// A number that no codec can have, for those that wish for none.
  package static let anyNumber: UInt8 = 255
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
