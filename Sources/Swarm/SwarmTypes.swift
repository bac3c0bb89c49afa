// SwarmTypes.swift — the values that users of the swarm and its machine share.

public import Signaling

/// A peer's name in its room. It is what the signalling server relays by; equal ids are the same peer.
public typealias PeerID = String

/// Why a message or a piece of knowledge did not go out.
public enum SwarmError: Error, Hashable, Sendable {
  /// The peer has not joined a room, or has left it.
  case notConnected
  /// Message types that the swarm itself speaks cannot be sent as messages.
  case reservedType(String)
  /// More than `SwarmLimits.maximumPayloadUnits` UTF-16 units of JSON.
  case payloadTooLarge
  /// A bounded table is full; its name.
  case full(String)
  /// The signalling server could not be reached, or refused the join.
  case signaling(String)
}

/// Why a delegated task has no result.
public enum DelegationError: Error, Hashable, Sendable {
  /// No connected peer has every required capability.
  case noCapablePeer
  /// Every capable peer declined; the last one's reason.
  case declined(reason: String)
  case timedOut
  /// The peer that had accepted the task left before its result came.
  case peerLeft(PeerID)
  /// The peer's handler threw; what it said.
  case failed(String)
  case payloadTooLarge
  /// `SwarmLimits.maximumDelegations` are under way.
  case tooManyTasks
  /// This peer left the swarm.
  case disconnected
}

/// Why an artifact did not arrive, or could not be offered.
public enum ArtifactError: Error, Hashable, Sendable {
  /// No connected peer offers it.
  case unknownArtifact
  /// An id or name that could lead out of the folder it is stored in.
  case unsafePath
  case tooLarge
  /// The sender would not send it; its reason.
  case refused(reason: String)
  /// All bytes came, but they are not the ones that were announced.
  case hashMismatch
  case timedOut
  case peerLeft(PeerID)
  /// `SwarmLimits.maximumDownloads` are under way, or as many artifacts are offered as the table holds.
  case tooMany
  /// A file could not be read or written; what the system said.
  case file(String)
  case cancelled
  /// This peer left the swarm.
  case disconnected
}

/// A file that a peer offers: what `announceArtifact` tells the others.
public struct ArtifactDescription: Hashable, Sendable {
  /// Its path-like name in the swarm, such as `/data/report.json`.
  public var id: String
  /// The plain file name it is stored under.
  public var name: String
  /// In bytes.
  public var size: Int64
  /// 32 bytes.
  public var sha256: [UInt8]

  public init(id: String, name: String, size: Int64, sha256: [UInt8]) {
    self.id = id
    self.name = name
    self.size = size
    self.sha256 = sha256
  }
}

/// One piece of replicated knowledge: the last writer wins (`KnowledgeStore`).
public struct KnowledgeEntry: Hashable, Sendable {
  public var id: String
  public var value: JSONValue
  /// How many writes this id has seen.
  public var clock: Int64
  /// Who wrote it.
  public var peerID: PeerID
  /// Milliseconds since 1970 on the writer's clock; informative.
  public var updatedAt: Int64

  public init(id: String, value: JSONValue, clock: Int64, peerID: PeerID, updatedAt: Int64) {
    self.id = id
    self.value = value
    self.clock = clock
    self.peerID = peerID
    self.updatedAt = updatedAt
  }
}

/// A task as the peer that shall do it sees it.
public struct SwarmTask: Hashable, Sendable {
  public var id: String
  public var name: String
  public var requirements: [String]
  public var data: JSONValue
  /// Who asked for it.
  public var delegator: PeerID

  public init(id: String, name: String, requirements: [String], data: JSONValue, delegator: PeerID) {
    self.id = id
    self.name = name
    self.requirements = requirements
    self.data = data
    self.delegator = delegator
  }
}

/// What a vote is about.
public struct Proposal: Hashable, Sendable {
  public var id: String
  /// Such as `goal-change`.
  public var type: String
  public var content: JSONValue
  /// Who proposed it.
  public var proposer: PeerID

  public init(id: String, type: String, content: JSONValue, proposer: PeerID) {
    self.id = id
    self.type = type
    self.content = content
    self.proposer = proposer
  }
}

/// How a vote ended. The electorate is fixed when it starts: the proposer (who votes yes) and the connected peers that
/// can vote. It is accepted when more than half of the electorate said yes.
public struct ConsensusOutcome: Hashable, Sendable {
  public var isAccepted: Bool
  /// Nothing was decided in time.
  public var isTimedOut: Bool
  public var yes: Int
  public var no: Int
  public var electorate: Int

  public init(isAccepted: Bool, isTimedOut: Bool, yes: Int, no: Int, electorate: Int) {
    self.isAccepted = isAccepted
    self.isTimedOut = isTimedOut
    self.yes = yes
    self.no = no
    self.electorate = electorate
  }
}
