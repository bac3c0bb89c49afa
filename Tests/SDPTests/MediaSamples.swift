// MediaSamples.swift — our media for the tests, and what others said, from Vectors/captures/media.

import SDP
import TestSupport

enum Media {
  static let midURI = "urn:ietf:params:rtp-hdrext:sdes:mid"
  static let extensions = [
    SDPExtension(id: 1, uri: midURI),
    SDPExtension(id: 2, uri: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    SDPExtension(id: 3, uri: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
  ]
  static let feedback = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
  static let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"

  static func video(_ type: UInt8, _ name: String, _ parameters: String = "") -> SDPCodec {
    SDPCodec(payloadType: type, name: name, clockRate: 90_000, parameters: parameters, feedback: feedback)
  }
  static func rtx(_ type: UInt8, of repaired: UInt8) -> SDPCodec {
    SDPCodec(payloadType: type, name: "rtx", clockRate: 90_000, parameters: "apt=\(repaired)")
  }
  static let opus = SDPCodec(
    payloadType: 111, name: "opus", clockRate: 48_000, channels: 2, parameters: "minptime=10;useinbandfec=1",
    feedback: ["transport-cc"])

  static let microphone = LocalMedia(
    kind: .audio,
    codecs: [
      opus, SDPCodec(payloadType: 0, name: "PCMU", clockRate: 8_000),
      SDPCodec(payloadType: 8, name: "PCMA", clockRate: 8_000),
    ], extensions: extensions, streamID: "stream", trackID: "microphone", cname: "name", ssrc: 1111)

  static let camera = LocalMedia(
    kind: .video,
    codecs: [
      video(96, "VP8"), rtx(97, of: 96), video(98, "VP9", "profile-id=0"), rtx(99, of: 98), video(102, "H264", h264),
      rtx(103, of: 102), video(45, "AV1", "level-idx=5;profile=0;tier=0"), rtx(46, of: 45),
    ], extensions: extensions, streamID: "stream", trackID: "camera", cname: "name", ssrc: 2222, rtxSSRC: 3333)

  static func local(_ media: [LocalMedia], data: LocalData? = LocalData()) throws -> LocalDescription {
    var local = try Sample.local()
    local.tlsID = "0123456789abcdef0123456789abcdef"
    local.hasAllCandidates = true
    local.data = data
    local.media = media
    return local
  }

  /// Ours for all sections of an offer.
  static func local(answering offer: SDPDocument) throws -> LocalDescription {
    var media: [LocalMedia] = []
    for section in try Negotiation.read(offer: offer).media where !section.isRejected {
      media.append((section.kind == .audio ? microphone : camera).named(section.mid))
    }
    return try local(media)
  }

  static func capture(_ name: String) throws -> SDPDocument {
    try parse(try Vectors.text("captures/media/\(name).sdp")).get()
  }
}

extension LocalMedia {
  func named(_ mid: String?) -> LocalMedia {
    var copy = self
    copy.mid = mid
    return copy
  }
}

extension MediaDescription {
  func codec(_ name: String) -> SDPCodec? { codecs.first { $0.name == name } }
}
