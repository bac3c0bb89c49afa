// LocalDescription.swift — what our side puts into a description.

package struct LocalDescription: Hashable, Sendable {
  /// Below 2^63 (RFC 9429 §5.2.1); the same for the life of the connection.
  package var sessionID: UInt64
  package var credentials: SDPCredentials
  package var fingerprints: [SDPFingerprint]
  /// `a=tls-id` of our DTLS association (RFC 8842 §4), if it is to be said.
  package var tlsID: String?
  /// `a=ice-options`.
  package var iceOptions: [String]
  /// We only answer checks: `a=ice-lite`.
  package var isLite: Bool
  /// Each beginning `candidate:`.
  package var candidates: [String]
  /// No more candidates will follow.
  package var hasAllCandidates: Bool
  /// Data channels, if there are to be any.
  package var data: LocalData?
  /// Audio and video: in an offer in the order in which new sections are to come, in an answer found by their mids.
  package var media: [LocalMedia]

  package init(
    sessionID: UInt64, credentials: SDPCredentials, fingerprints: [SDPFingerprint], tlsID: String? = nil,
    iceOptions: [String] = ["ice2", "trickle"], isLite: Bool = false, candidates: [String] = [],
    hasAllCandidates: Bool = false, data: LocalData? = LocalData(), media: [LocalMedia] = []
  ) {
    self.sessionID = sessionID
    self.credentials = credentials
    self.fingerprints = fingerprints
    self.tlsID = tlsID
    self.iceOptions = iceOptions
    self.isLite = isLite
    self.candidates = candidates
    self.hasAllCandidates = hasAllCandidates
    self.data = data
    self.media = media
  }
}

/// Our side of the data-channel association.
package struct LocalData: Hashable, Sendable {
  package var sctpPort: UInt16
  package var maximumMessageSize: Int
  /// The INIT chunk for `a=sctp-init`, if there is to be one.
  package var sctpInit: [UInt8]?

  package init(sctpPort: UInt16 = 5000, maximumMessageSize: Int = 262_144, sctpInit: [UInt8]? = nil) {
    self.sctpPort = sctpPort
    self.maximumMessageSize = maximumMessageSize
    self.sctpInit = sctpInit
  }
}

/// Our side of an audio or video section: a transceiver, as descriptions see it.
package struct LocalMedia: Hashable, Sendable {
  /// The section's name, once there is one: from the offer, or given by `Negotiation.assignMids`.
  package var mid: String?
  package var kind: SDPMediaKind
  /// What we want; an answer is held to what the offer allows.
  package var direction: SDPDirection
  /// In our order of preference. In an answer the numbers are the offerer's.
  package var codecs: [SDPCodec]
  /// In an answer the numbers are the offerer's.
  package var extensions: [SDPExtension]
  /// `a=msid` (RFC 8830): the stream we put our track into, and the track's own name, in case we send.
  package var streamID: String?
  package var trackID: String?
  package var cname: String?
  /// What we send with, in case we send.
  package var ssrc: UInt32?
  package var rtxSSRC: UInt32?
  /// The transceiver was stopped: its section is offered and answered with port 0.
  package var isStopped: Bool

  package init(
    mid: String? = nil, kind: SDPMediaKind, direction: SDPDirection = .sendReceive, codecs: [SDPCodec],
    extensions: [SDPExtension] = [], streamID: String? = nil, trackID: String? = nil, cname: String? = nil,
    ssrc: UInt32? = nil, rtxSSRC: UInt32? = nil, isStopped: Bool = false
  ) {
    self.mid = mid
    self.kind = kind
    self.direction = direction
    self.codecs = codecs
    self.extensions = extensions
    self.streamID = streamID
    self.trackID = trackID
    self.cname = cname
    self.ssrc = ssrc
    self.rtxSSRC = rtxSSRC
    self.isStopped = isStopped
  }
}
