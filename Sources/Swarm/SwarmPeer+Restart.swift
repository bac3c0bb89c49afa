// SwarmPeer+Restart.swift — a link that looks for its way anew (ICE restart), because this machine's addresses have
// changed: another offer under the marker of the first, so that the peer knows that it is no new link.
//
// Only between our own kind: a page of the references takes every offer for a new connection, and gets one when the old
// one has failed.

import Signaling
import WebRTC

extension SwarmPeer {
  func followNegotiation(of link: PeerLink) async {
    for await _ in link.connection.negotiationNeeded where isCurrent(link) { link.enqueue(.renegotiate) }
  }

  func offerAnew(_ link: PeerLink) async throws(PeerConnectionError) {
    guard link.isExtended, link.isRemoteSet else { return }
    let offer = try await link.connection.createOffer()
    try await link.connection.setLocalDescription(offer)
    guard isCurrent(link) else { return }
    link.isReoffering = true
    await signal(
      .offer(.init(peerID: id, targetPeer: link.peer, payload: offer.json(marker: link.marker, id: id))))
  }

  /// The peer looks for its way anew. When both do, one offer is enough: that of the one who does not give way.
  func acceptAnew(_ payload: JSONValue, _ link: PeerLink) async throws(PeerConnectionError) {
    guard let offer = SessionDescription(payload), offer.type == .offer else { return }
    guard !link.isReoffering || Self.isPolite(id, toward: link.peer) else { return }
    link.isReoffering = false
    try await link.connection.setRemoteDescription(offer)
    let answer = try await link.connection.createAnswer()
    try await link.connection.setLocalDescription(answer)
    guard isCurrent(link) else { return }
    await signal(
      .answer(.init(peerID: id, targetPeer: link.peer, payload: answer.json(marker: link.marker, id: id))))
  }

  /// - Returns: whether the answer was to an offer of `offerAnew`.
  func takeAnew(_ payload: JSONValue, _ link: PeerLink) async throws(PeerConnectionError) -> Bool {
    guard link.isReoffering else { return false }
    guard SwarmMarker(payload) == link.marker, let answer = SessionDescription(payload), answer.type == .answer else {
      return true
    }
    link.isReoffering = false
    try await link.connection.setRemoteDescription(answer)
    return true
  }
}
