// Descriptions.swift — what two peers hand each other through their signalling: descriptions and candidates, with the
// member names of W3C WebRTC 1.0, so that their JSON is what browsers read and write.

/// An offer or an answer (W3C `RTCSessionDescriptionInit`).
public struct SessionDescription: Sendable, Hashable, Codable {
  public enum Kind: String, Sendable, Codable {
    case offer, answer
  }

  public var type: Kind
  /// The text of the description (RFC 8866).
  public var sdp: String

  public init(type: Kind, sdp: String) {
    self.type = type
    self.sdp = sdp
  }
}

/// A candidate on its way through the signalling (W3C `RTCIceCandidateInit`).
public struct ICECandidateInit: Sendable, Hashable, Codable {
  /// `candidate:…` (RFC 8839 §5.1); empty when no more candidates follow.
  public var candidate: String
  /// The `a=mid` of the media section that the candidate is for.
  public var sdpMid: String?
  /// The index of that section, counted from 0.
  public var sdpMLineIndex: Int?
  /// The ICE user name of the generation that the candidate belongs to.
  public var usernameFragment: String?

  public init(
    candidate: String, sdpMid: String? = nil, sdpMLineIndex: Int? = nil, usernameFragment: String? = nil
  ) {
    self.candidate = candidate
    self.sdpMid = sdpMid
    self.sdpMLineIndex = sdpMLineIndex
    self.usernameFragment = usernameFragment
  }

  /// Whether this says that no more candidates follow (RFC 8838 §13).
  public var isEndOfCandidates: Bool { candidate.isEmpty }
}
