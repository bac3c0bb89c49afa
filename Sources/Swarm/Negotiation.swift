// Negotiation.swift — offers, answers and candidates as the members of signalling messages (WIRE §1, §8).
//
// Ours carry a member `swarm`, which every server relays and every browser ignores: it shows our own kind. An answer
// repeats the number of the offer that it answers, so that a late one is not taken for another's.

package import Signaling
package import WebRTC

/// The member `swarm` of an offer or answer.
struct SwarmMarker: Hashable, Sendable {
  /// Tells offers of one peer apart.
  var offer: String

  init(offer: String) { self.offer = offer }

  init?(_ payload: JSONValue) {
    guard let fields = payload["swarm"], fields["v"]?.intValue == 1, let offer = fields["offer"]?.stringValue,
      offer.utf8.count <= SwarmLimits.maximumIDBytes
    else { return nil }
    self.offer = offer
  }

  func json(id: PeerID) -> JSONValue {
    ["v": 1, "id": .string(id), "offer": .string(offer), "features": .strings(["swarm", "bulk"])]
  }
}

extension SessionDescription {
  package init?(_ payload: JSONValue) {
    guard let type = payload["type"]?.stringValue.flatMap(Kind.init(rawValue:)), let sdp = payload["sdp"]?.stringValue
    else { return nil }
    self.init(type: type, sdp: sdp)
  }

  func json(marker: SwarmMarker, id: PeerID) -> JSONValue {
    ["type": .string(type.rawValue), "sdp": .string(sdp), "swarm": marker.json(id: id)]
  }
}

extension ICECandidateInit {
  /// Members of a wrong type count as absent.
  package init?(_ payload: JSONValue) {
    guard let candidate = payload["candidate"]?.stringValue else { return nil }
    self.init(
      candidate: candidate, sdpMid: payload["sdpMid"]?.stringValue, sdpMLineIndex: payload["sdpMLineIndex"]?.intValue,
      usernameFragment: payload["usernameFragment"]?.stringValue)
  }

  package var json: JSONValue {
    var fields: [String: JSONValue] = ["candidate": .string(candidate)]
    if let sdpMid { fields["sdpMid"] = .string(sdpMid) }
    if let sdpMLineIndex { fields["sdpMLineIndex"] = .integer(sdpMLineIndex) }
    if let usernameFragment { fields["usernameFragment"] = .string(usernameFragment) }
    return .object(fields)
  }
}
