// MediaDescription.swift — what a description says about one audio or video section (RFC 9429 §5.8, RFC 5576, 8851, 8853).

/// A section of the peer's, from its offer or answer. Directions are as the peer says them.
package struct MediaDescription: Hashable, Sendable {
  /// Which `m=` section it is, from 0.
  package var sectionIndex: Int
  package var mid: String?
  package var kind: SDPMediaKind
  /// Why there is nothing more to be said about the section; nil when it lives.
  package var refusal: Refusal?
  package var direction = SDPDirection.inactive
  /// In the peer's order of preference.
  package var codecs: [SDPCodec] = []
  package var extensions: [SDPExtension] = []
  /// Two-byte header extensions may stand beside one-byte ones (`a=extmap-allow-mixed`, RFC 8285 §6).
  package var allowsMixedExtensions = false
  /// The SSRCs the peer says it sends with, in the order in which it names them.
  package var ssrcs: [UInt32] = []
  package var ssrcGroups: [SDPSourceGroup] = []
  package var cname: String?
  /// The streams that the peer puts its track into; none for `-`.
  package var streamIDs: [String] = []
  package var trackID: String?
  package var rids: [SDPRid] = []
  package var simulcast: SDPSimulcast?
  package var hasRTCPMux = false
  /// `a=rtcp-rsize` (RFC 5506).
  package var usesReducedSize = false

  package enum Refusal: Hashable, Sendable {
    /// Port 0.
    case rejected
    /// A profile that is not RTP over DTLS-SRTP.
    case profile
    /// Not in the bundle that we take part in (RFC 9429 §4.1.1, `max-bundle`).
    case notBundled
    /// RTCP on a port of its own.
    case noRTCPMux
    /// The caller does not take it.
    case notAccepted
  }

  package var isRejected: Bool { refusal != nil }

  /// The SSRC of each retransmission stream, and whose packets it repeats (RFC 4588 §8.8 with RFC 5576 §4.2 `FID`).
  package var retransmissions: [UInt32: UInt32] {
    var result: [UInt32: UInt32] = [:]
    for group in ssrcGroups where group.semantics == "FID" && group.ssrcs.count == 2 {
      result[group.ssrcs[1]] = group.ssrcs[0]
    }
    return result
  }

  package init(sectionIndex: Int, mid: String?, kind: SDPMediaKind, refusal: Refusal? = nil) {
    self.sectionIndex = sectionIndex
    self.mid = mid
    self.kind = kind
    self.refusal = refusal
  }
}

/// `a=ssrc-group` (RFC 5576 §4.2).
package struct SDPSourceGroup: Hashable, Sendable {
  /// `FID`, `SIM`, `FEC-FR`, …
  package var semantics: String
  package var ssrcs: [UInt32]

  package init(semantics: String, ssrcs: [UInt32]) {
    self.semantics = semantics
    self.ssrcs = ssrcs
  }
}

/// `a=rid` (RFC 8851).
package struct SDPRid: Hashable, Sendable {
  package enum Direction: String, Hashable, Sendable { case send, receive = "recv" }
  package var id: String
  package var direction: Direction
  /// `pt=`: the formats it is restricted to; all when empty.
  package var payloadTypes: [UInt8]
  /// The other restrictions, as written.
  package var restrictions: String

  package init(id: String, direction: Direction, payloadTypes: [UInt8] = [], restrictions: String = "") {
    self.id = id
    self.direction = direction
    self.payloadTypes = payloadTypes
    self.restrictions = restrictions
  }
}

/// `a=simulcast` (RFC 8853 §5.1): streams in order, each with its alternatives.
package struct SDPSimulcast: Hashable, Sendable {
  package struct Alternative: Hashable, Sendable {
    package var rid: String
    /// `~`: nothing comes until it is asked for.
    package var isPaused: Bool

    package init(rid: String, isPaused: Bool = false) {
      self.rid = rid
      self.isPaused = isPaused
    }
  }
  package var send: [[Alternative]]
  package var receive: [[Alternative]]

  package init(send: [[Alternative]] = [], receive: [[Alternative]] = []) {
    self.send = send
    self.receive = receive
  }
}
