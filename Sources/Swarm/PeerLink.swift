// PeerLink.swift — the connection to one peer: its negotiation, its channels, and what waits to be sent.
//
// Only the SwarmPeer that made a link touches it. What signalling says about a link is queued as jobs and done one after
// the other, so no step of a negotiation overtakes another.

import DequeModule
import Signaling
package import WebRTC
import Wire

package final class PeerLink {
  enum Job: Sendable {
    case dial
    case accept(JSONValue)
    case answer(JSONValue)
    case renegotiate
    case reoffer(JSONValue)
    case candidate(ICECandidateInit)
  }

  /// Messages that the channel had no room for yet.
  struct Outbox {
    var waiting = Deque<Message>()
    var byteCount = 0
    var isPumping = false
  }

  let peer: PeerID
  package let connection: PeerConnection
  /// We made the offer.
  let isOfferer: Bool
  /// Of our offer, or of the one that we answer.
  var marker: SwarmMarker
  var isExtended = false
  var isRemoteSet = false
  /// A later offer of ours waits for its answer.
  var isReoffering = false
  /// Candidates that came before the remote description.
  var candidates: [ICECandidateInit] = []
  var main: DataChannel?
  var bulk: DataChannel?
  var isMainOpen = false
  var isBulkOpen = false
  var outboxes: [SwarmMachine.Lane: Outbox] = [.main: Outbox(), .bulk: Outbox()]
  /// Users that wait for room in the outbox.
  var roomWaiters: [CheckedContinuation<Void, Never>] = []
  /// Until when the main channel must be open.
  let deadline: Instant

  let jobs: AsyncStream<Job>
  private let jobSink: AsyncStream<Job>.Continuation

  init(peer: PeerID, connection: PeerConnection, isOfferer: Bool, marker: SwarmMarker, now: Instant) {
    self.peer = peer
    self.connection = connection
    self.isOfferer = isOfferer
    self.marker = marker
    deadline = now + Self.patience
    (jobs, jobSink) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.maximumJobs))
  }

  func enqueue(_ job: Job) { jobSink.yield(job) }
  func endJobs() { jobSink.finish() }

  func channel(_ lane: SwarmMachine.Lane) -> DataChannel? { lane == .main ? main : bulk }

  var isPumping: Bool { outboxes.values.contains { $0.isPumping } }

  var hasRoom: Bool { (outboxes[.main]?.byteCount ?? 0) <= Self.roomBytes }

  func resumeRoomWaiters() {
    let waiters = roomWaiters
    roomWaiters = []
    for waiter in waiters { waiter.resume() }
  }

  /// No answer, no channel within this time: the peer may be a ghost (WIRE §6.3).
  static let patience = Interval.seconds(15)
  /// Queued candidates of one peer, before the connection or its remote description is there (WIRE §6.3).
  static let maximumCandidates = 32
  static let candidateLifetime = Interval.seconds(30)
  private static let maximumJobs = 256  // an offer, an answer, and more candidates than any host has
  /// A user's message waits while more than this is queued.
  static let roomBytes = 1 << 20
  /// A peer that takes less than the protocol may owe it at once is cut off: all knowledge, eight windows of artifacts.
  static let maximumOutboxBytes = 32 << 20
}
