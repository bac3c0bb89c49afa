// SwarmConfiguration.swift — what a peer of the swarm is told before it starts.

public import Logging
public import WebRTC

public struct SwarmConfiguration: Sendable {
  /// Peers in one room connect to each other. Servers of the references want names that begin with `reploid-swarm-`.
  public var room: String
  /// Where the room is.
  public var signalingURL = "ws://localhost:8000/signaling"
  /// This peer's id; nil makes a new one.
  public var peerID: PeerID?
  /// What this peer can do for others; at most `SwarmLimits.maximumCapabilities` names.
  public var capabilities: [String] = []
  /// The room's capability, where the server asks for one.
  public var token: String?
  /// How each connection is made.
  public var webRTC = PeerConnectionConfiguration()
  /// Announcements of larger artifacts are ignored.
  public var maximumArtifactBytes = SwarmLimits.maximumArtifactBytes
  public var logger = Logger(label: "swarm")

  public init(room: String = "reploid-swarm-default") { self.room = room }
}
