// SwarmEvent.swift — what a peer of the swarm tells its user, and its statistics.

public import Signaling

/// Something that happened in the swarm.
public enum SwarmEvent: Sendable {
  /// The signalling server has let us into the room; again after every loss of its connection.
  case joinedRoom
  /// Channels live on without the server, and it is looked for again.
  case signalingLost
  /// Somebody is in the room; a connection may follow.
  case peerJoined(PeerID)
  /// Messages can be sent, and the peer's capabilities are known.
  case peerConnected(PeerID)
  case peerDisconnected(PeerID)
  /// Somebody has left the room.
  case peerLeft(PeerID)
  /// A connection could not be made, or broke; why, for people.
  case connectionFailed(PeerID, reason: String)
  case capabilitiesChanged(PeerID, [String])
  case message(from: PeerID, type: String, payload: JSONValue)
  case knowledgeChanged(KnowledgeEntry)
  case artifactOffered(PeerID, ArtifactDescription)
  /// All of it is here and its SHA-256 is the announced one.
  case artifactReceived(ReceivedArtifact)
}

/// Where a received artifact goes.
public enum ArtifactDestination: Hashable, Sendable {
  /// Into memory; at most `SwarmPeer.maximumMemoryArtifact` bytes.
  case memory
  /// Into this file, which is replaced once everything has come.
  case file(String)
  /// Into this folder, under the name that the sender gave it.
  case folder(String)
}

/// An artifact whose hash has been verified.
public struct ReceivedArtifact: Hashable, Sendable {
  public var artifact: ArtifactDescription
  /// The file it was written to; nil for one in memory.
  public var path: String?
  /// Its content; nil for one in a file.
  public var bytes: [UInt8]?
}

/// A snapshot of one peer's part of the swarm.
public struct SwarmStatistics: Hashable, Sendable {
  public struct Peer: Hashable, Sendable {
    public var id: PeerID
    /// `new`, `connecting`, `connected`, `disconnected`, `failed` or `closed`.
    public var state: String
    public var isConnected: Bool
    /// One of ours, rather than a page of the references.
    public var isExtended: Bool
    /// Such as `host 127.0.0.1:40000 - host 127.0.0.1:50000`; nil until a pair is selected.
    public var candidatePair: String?
    /// Of a message there and back, or else of a connectivity check.
    public var roundTrip: Duration?
    /// Of UDP payload.
    public var bytesIn: UInt64
    public var bytesOut: UInt64
    public var counters: PeerCounters
    public var capabilities: [String]
  }

  public var id: PeerID
  public var room: String
  public var isSignalingConnected: Bool
  /// By id.
  public var peers: [Peer]
  /// Tasks that we have given away and that are under way, and those being done here.
  public var delegationsUnderWay: Int
  public var tasksUnderWay: Int
  /// Messages that came faster than their handler took them.
  public var droppedMessages: Int
  /// Messages that were refused, by reason.
  public var rejections: [String: Int]
}
