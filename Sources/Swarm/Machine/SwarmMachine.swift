// SwarmMachine.swift — the swarm without I/O: who is there, what they can do, and everything they do together.
//
// In: channels opening and closing, messages, what the user wants, time. Out: messages (`pollSend`), facts
// (`pollEvent`), a deadline. It speaks profile B's envelopes with extension types to its own kind, and the cheap parts of
// both profiles to pages of the references (WIRE §3, §5, §6).
//
// Invariants: every table is bounded (`SwarmLimits`); a peer is in `peers` exactly while its main channel is open; what
// waits for a peer (tasks, votes, transfers) ends when the peer goes; every operation ends in exactly one event.

import DequeModule
package import Signaling
package import Wire

package struct SwarmMachine: ~Copyable {
  // MARK: Vocabulary

  /// The channels to a peer. Only our own kind has the second one (WIRE §6.2).
  package enum Lane: Hashable, Sendable {
    /// `reploid`, text.
    case main
    /// `reploid-bulk`, binary: artifacts do not hold up messages.
    case bulk
  }

  package enum Content: Hashable, Sendable {
    case text(String)
    case binary([UInt8])

    package var byteCount: Int {
      switch self {
      case .text(let text): text.utf8.count
      case .binary(let bytes): bytes.count
      }
    }
  }

  package struct Outgoing: Sendable {
    package var peer: PeerID
    package var lane: Lane
    package var content: Content
  }

  package struct Configuration: Sendable {
    package var peerID: PeerID
    package var capabilities: [String] = []
    /// Milliseconds since 1970 at the moment 0 of the caller's clock.
    package var wallClockOrigin: Int64 = 0
    package var maximumArtifactBytes = SwarmLimits.maximumArtifactBytes

    package init(peerID: PeerID) { self.peerID = peerID }
  }

  /// A task of another peer being done here. Ids are chosen by the other side, so they are only unique per peer.
  package struct TaskKey: Hashable, Sendable {
    package var peer: PeerID
    package var id: String

    package init(peer: PeerID, id: String) {
      self.peer = peer
      self.id = id
    }
  }

  package enum Event: Sendable {
    /// The peer's channel is open and, if it is one of ours, its capabilities are known.
    case peerConnected(PeerID)
    case peerDisconnected(PeerID)
    /// Nothing has come from the peer for `SwarmLimits.silenceLimit`: its connection should be closed.
    case peerSilent(PeerID)
    case capabilitiesChanged(PeerID, [String])
    case message(PeerID, type: String, payload: JSONValue)
    case knowledgeChanged(KnowledgeEntry)
    case artifactOffered(PeerID, ArtifactDescription)

    /// To be answered with `acceptTask` and `completeTask`, or with `declineTask`.
    case taskRequested(TaskKey, SwarmTask)
    /// The delegator of an accepted task has left: nobody waits for the result.
    case taskAbandoned(TaskKey)
    case delegationFinished(id: String, Result<JSONValue, DelegationError>)

    /// To be answered with `castVote`.
    case voteRequested(Proposal)
    case consensusReached(id: String, ConsensusOutcome)

    /// To be answered with `provide` or `failRead`: bytes of an artifact that we offer.
    case readRequested(transfer: UInt64, artifact: String, offset: Int64, count: Int)
    case uploadEnded(transfer: UInt64)
    /// The next bytes of a download, in order.
    case artifactBytes(transfer: UInt64, ArraySlice<UInt8>)
    case downloadFinished(transfer: UInt64, Result<ArtifactDescription, ArtifactError>)
  }

  // MARK: State

  let configuration: Configuration
  var random: RandomSource
  package internal(set) var clock = LamportClock()
  package internal(set) var peers: [PeerID: PeerRecord] = [:]
  var peersSeen: UInt64 = 0
  package internal(set) var capabilities: [String]
  package internal(set) var knowledge = KnowledgeStore()
  package internal(set) var rejections: [Rejection: Int] = [:]

  package internal(set) var delegations: [String: Delegation] = [:]
  package internal(set) var tasks: [TaskKey: TaskState] = [:]
  var proposals: [String: ProposalState] = [:]
  package internal(set) var pendingVotes: Set<TaskKey> = []

  package internal(set) var offers: [String: ArtifactDescription] = [:]
  package internal(set) var uploads: [UInt64: Upload] = [:]
  package internal(set) var textUploads: [UInt64: TextUpload] = [:]
  var downloads: [UInt64: Download] = [:]

  private var sends = Deque<Outgoing>()
  private var events = Deque<Event>()

  package init(configuration: Configuration, random: RandomSource) {
    self.configuration = configuration
    self.random = random
    capabilities = Self.bounded(configuration.capabilities)
  }

  package var peerID: PeerID { configuration.peerID }

  // MARK: In: links

  /// A channel to `peer` can be written to. `isExtended`: its offer or answer carried the `swarm` member.
  package mutating func channelOpened(_ peer: PeerID, lane: Lane, isExtended: Bool, now: Instant) {
    if lane == .bulk {
      peers[peer]?.isBulkOpen = true
      return
    }
    guard peers[peer] == nil else { return }
    guard peers.count < SwarmLimits.maximumPeers else { return reject(.tableFull, from: peer) }
    peersSeen += 1
    peers[peer] = PeerRecord(dialect: isExtended ? .extended : .unknown, order: peersSeen, now: now)
    if isExtended {
      // Both sides push, so neither has to ask.
      sendSync(to: peer, now: now)
      probe(peer, now: now)
    } else {
      // The one message that pages of both profiles answer, each in its own dialect (WIRE §6.1).
      post(.syncRequest, [:], to: peer)
      introduce(peer)
    }
  }

  package mutating func channelClosed(_ peer: PeerID, lane: Lane, now: Instant) {
    if lane == .bulk {
      peers[peer]?.isBulkOpen = false
      return
    }
    guard let record = peers.removeValue(forKey: peer) else { return }
    dropTasks(of: peer, now: now)
    dropVotes(of: peer)
    dropTransfers(of: peer, now: now)
    if record.isIntroduced { emit(.peerDisconnected(peer)) }
  }

  /// The signalling server lost or found the peer. A lost one that answers nevertheless keeps its link.
  package mutating func signalingChanged(_ peer: PeerID, isPresent: Bool, now: Instant) {
    guard let record = peers[peer], record.isOrphan == isPresent else { return }
    peers[peer]?.isOrphan = !isPresent
    if !isPresent { probe(peer, now: now) }
  }

  // MARK: In: time

  package mutating func handleTimeout(now: Instant) {
    expireDelegations(now: now)
    expireProposals(now: now)
    expireTransfers(now: now)
    for (peer, record) in peers {
      if record.lastHeard + record.silenceLimit <= now {
        peers[peer]?.lastHeard = now
        emit(.peerSilent(peer))
      }
      if record.nextProbe <= now { probe(peer, now: now) }
    }
  }

  /// When `handleTimeout` is due.
  package var deadline: Instant? {
    var due: Instant?
    for record in peers.values {
      due = earliest(due, earliest(record.nextProbe, record.lastHeard + record.silenceLimit))
    }
    for delegation in delegations.values { due = earliest(due, delegation.deadline) }
    for proposal in proposals.values { due = earliest(due, proposal.deadline) }
    for upload in uploads.values { due = earliest(due, upload.deadline) }
    for upload in textUploads.values { due = earliest(due, upload.deadline) }
    for download in downloads.values { due = earliest(due, download.deadline) }
    return due
  }

  // MARK: Out

  package mutating func pollSend() -> Outgoing? { sends.popFirst() }
  package mutating func pollEvent() -> Event? { events.popFirst() }

  // MARK: Messages

  /// Sends a message of the user's own type; false when there is no open channel to `peer`.
  package mutating func send(_ type: String, _ payload: JSONValue, to peer: PeerID) throws(SwarmError) -> Bool {
    let fields = try Self.checkedMessage(type, payload)
    guard peers[peer] != nil else { return false }
    guard post(type, fields, to: peer) else { throw .payloadTooLarge }
    return true
  }

  /// Sends to every connected peer and says how many that were.
  package mutating func broadcast(_ type: String, _ payload: JSONValue) throws(SwarmError) -> Int {
    let fields = try Self.checkedMessage(type, payload)
    for peer in peers.keys where !post(type, fields, to: peer) { throw .payloadTooLarge }
    return peers.count
  }

  private static func checkedMessage(_ type: String, _ payload: JSONValue) throws(SwarmError) -> JSONFields {
    guard !type.isEmpty, type.utf16.count <= SwarmLimits.maximumTypeUnits, MessageType(rawValue: type) == nil else {
      throw .reservedType(type)
    }
    switch payload {
    case .object(let fields): return fields
    case .null: return [:]
    // A payload is an object on the wire (WIRE §5); another value travels as its only member.
    default: return [wrappedValue: payload]
    }
  }

  // MARK: Shared by the extensions

  /// Queues a message in the peer's dialect; false when its payload is too large, or the peer is gone.
  @discardableResult
  mutating func post(_ type: String, _ fields: JSONFields, to peer: PeerID) -> Bool {
    guard let record = peers[peer] else { return false }
    do {
      let text =
        record.dialect == .bare
        ? try OutgoingFrame.bare(type: type, fields: fields)
        : try OutgoingFrame.envelope(type: type, payload: fields, from: peerID, timestamp: clock.tick())
      queue(.text(text), to: peer, lane: .main)
      return true
    } catch {
      return false
    }
  }

  @discardableResult
  package mutating func post(_ type: MessageType, _ fields: JSONFields, to peer: PeerID) -> Bool {
    post(type.rawValue, fields, to: peer)
  }

  mutating func queue(_ content: Content, to peer: PeerID, lane: Lane) {
    peers[peer]?.counters.messagesOut += 1
    peers[peer]?.counters.bytesOut += content.byteCount
    sends.append(Outgoing(peer: peer, lane: lane, content: content))
  }

  mutating func emit(_ event: Event) { events.append(event) }

  mutating func reject(_ reason: Rejection, from peer: PeerID) {
    rejections[reason, default: 0] += 1
    if reason != .late { peers[peer]?.counters.rejected += 1 }
  }

  mutating func introduce(_ peer: PeerID) {
    guard peers[peer]?.isIntroduced == false else { return }
    peers[peer]?.isIntroduced = true
    emit(.peerConnected(peer))
  }

  func wallMilliseconds(_ now: Instant) -> Int64 { configuration.wallClockOrigin &+ now.nanoseconds / 1_000_000 }

  /// `prefix` + milliseconds + random, in base 36, the way the references name things.
  mutating func makeID(_ prefix: String, now: Instant) -> String {
    SwarmID.make(prefix: prefix, wallMilliseconds: wallMilliseconds(now), using: &random)
  }

  /// The connected peers, the first connected first.
  var peersInOrder: [PeerID] { peers.sorted { $0.value.order < $1.value.order }.map(\.key) }

  static func bounded(_ capabilities: [String]) -> [String] {
    let short = capabilities.lazy.filter { (1...SwarmLimits.maximumCapabilityBytes).contains($0.utf8.count) }
    return Array(short.prefix(SwarmLimits.maximumCapabilities))
  }

  /// The member that holds a message's payload when it is no object.
  package static let wrappedValue = "value"
}

/// The types that the swarm itself speaks. Users cannot send them as messages.
package enum MessageType: String, CaseIterable, Sendable {
  case ping, pong
  case syncRequest = "sync-request"
  case syncResponse = "sync-response"
  case goalUpdate = "goal-update"
  case knowledgeShare = "knowledge-share"
  case artifactAnnounce = "artifact-announce"
  case artifactRequest = "artifact-request"
  case artifactChunk = "artifact-chunk"
  case artifactAck = "artifact-ack"
  case artifactError = "artifact-error"
  case artifactCancel = "artifact-cancel"
  case taskDelegation = "task-delegation"
  case taskAccepted = "task-accepted"
  case taskComplete = "task-complete"
  case taskDeclined = "task-declined"
  case consensusRequest = "consensus-request"
  case consensusVote = "consensus-vote"
}

package enum SwarmID {
  package static func make(prefix: String, wallMilliseconds: Int64, using random: inout RandomSource) -> String {
    let suffix = String(random.next() % 2_821_109_907_456, radix: 36)  // 36^8
    let padding = String(repeating: "0", count: 8 - suffix.count)
    return "\(prefix)_\(String(max(0, wallMilliseconds), radix: 36))_\(padding)\(suffix)"
  }
}
