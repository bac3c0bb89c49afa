// RTPCodec.swift — what a media section can carry, in the words of W3C's `RTCRtpCodec`. Nothing here encodes or decodes:
// packets of these codecs go in and come out as they are.

/// What a stream carries.
public enum MediaKind: String, Sendable, Hashable, Codable, CaseIterable { case audio, video }

/// Which way media goes, seen from this side (W3C `RTCRtpTransceiverDirection`).
public enum RTPTransceiverDirection: String, Sendable, Hashable, Codable, CaseIterable {
  case sendReceive = "sendrecv"
  case sendOnly = "sendonly"
  case receiveOnly = "recvonly"
  case inactive
  /// For good: the section goes with the next exchange of descriptions.
  case stopped

  /// Whether this side sends, or wants to.
  public var sends: Bool { self == .sendReceive || self == .sendOnly }
  /// Whether this side receives, or wants to.
  public var receives: Bool { self == .sendReceive || self == .receiveOnly }
}

/// A codec with its parameters (W3C `RTCRtpCodec`, RFC 8866 §6.6).
///
/// Retransmission of video in a stream of its own (RFC 4588) is negotiated beside each codec that has `nack` among its
/// feedback, and never shows here.
public struct RTPCodec: Sendable, Hashable {
  /// `audio/opus`, `video/VP8`, …: kind and encoding name.
  public var mimeType: String
  /// Of the RTP timestamps, in hertz.
  public var clockRate: UInt32
  /// 1 unless the codec says otherwise; without meaning for video.
  public var channels: Int
  /// `a=fmtp`: `minptime=10;useinbandfec=1`.
  public var parameters: String
  /// `a=rtcp-fb`: `nack`, `nack pli`, …
  public var feedback: [String]
  /// The number that packets carry. In `RTPTransceiver.codecs` always there; for `addTransceiver` nil leaves the choice to
  /// the connection.
  public var payloadType: UInt8?

  public init(
    _ mimeType: String, clockRate: UInt32, channels: Int = 1, parameters: String = "", feedback: [String] = [],
    payloadType: UInt8? = nil
  ) {
    self.mimeType = mimeType
    self.clockRate = clockRate
    self.channels = channels
    self.parameters = parameters
    self.feedback = feedback
    self.payloadType = payloadType
  }

  /// The encoding name: what is behind the slash of `mimeType`.
  public var name: String { String(mimeType.split(separator: "/", maxSplits: 1).last ?? "") }
}

extension RTPCodec {
  public static let opus = RTPCodec(
    "audio/opus", clockRate: 48_000, channels: 2, parameters: "minptime=10;useinbandfec=1", feedback: ["transport-cc"],
    payloadType: 111)
  public static let pcmu = RTPCodec("audio/PCMU", clockRate: 8_000, feedback: ["transport-cc"], payloadType: 0)
  public static let pcma = RTPCodec("audio/PCMA", clockRate: 8_000, feedback: ["transport-cc"], payloadType: 8)
  public static let vp8 = RTPCodec("video/VP8", clockRate: 90_000, feedback: videoFeedback, payloadType: 96)
  /// Profile 0.
  public static let vp9 = RTPCodec(
    "video/VP9", clockRate: 90_000, parameters: "profile-id=0", feedback: videoFeedback, payloadType: 98)
  /// Constrained baseline, level 3.1, packets with aggregation and fragments (RFC 6184 §6.3).
  public static let h264 = RTPCodec(
    "video/H264", clockRate: 90_000,
    parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", feedback: videoFeedback,
    payloadType: 102)
  public static let av1 = RTPCodec(
    "video/AV1", clockRate: 90_000, parameters: "level-idx=5;profile=0;tier=0", feedback: videoFeedback, payloadType: 45
  )

  /// What `addTransceiver` takes when it is told nothing else.
  public static func defaults(for kind: MediaKind) -> [RTPCodec] {
    switch kind {
    case .audio: [.opus, .pcmu, .pcma]
    case .video: [.vp8, .vp9, .h264, .av1]
    }
  }

  private static let videoFeedback = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
}
