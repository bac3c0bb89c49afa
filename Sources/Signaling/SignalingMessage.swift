// SignalingMessage.swift — every message of the signalling protocol, as a client sends and receives it.
//
// One WebSocket text frame holds one JSON object with a member `type`. What the protocol does not interpret (session
// descriptions, candidates, metadata, relayed envelopes) stays JSON and keeps members nobody here knows. Coding is in
// SignalingMessage+Coding.swift; the server checks frames itself (RoomServer), because what it answers depends on the
// order of its checks.

public enum SignalingMessage: Hashable, Sendable {
  // MARK: Client to server
  case join(Join)
  case leave(Sender)
  /// Sent every 30 s; whoever is silent for 60 s is taken for dead.
  case heartbeat(Sender)
  /// The members in `metadata` replace those the room knows of this peer.
  case announce(Sender, metadata: [String: JSONValue])

  // MARK: Peer to peer, through the server
  case offer(Directed)
  case answer(Directed)
  case iceCandidate(Directed)
  /// An envelope for a peer that has no data channel.
  case relay(Directed)
  /// `data` for everybody else in the room.
  case broadcast(Sender, data: JSONValue)

  // MARK: Server to client
  /// The first message on a connection.
  case welcome(Welcome)
  /// We are in the room. Comes before any `peerJoined` of it.
  case joined(Joined)
  case peerJoined(peerID: String, metadata: [String: JSONValue])
  case peerLeft(peerID: String)
  /// `metadata` is whole, not only what changed.
  case peerAnnounced(peerID: String, metadata: [String: JSONValue])
  case error(Refused)
  case serverShutdown
}

extension SignalingMessage {
  public struct Join: Hashable, Sendable {
    public var peerID: String
    public var roomID: String
    /// The room's capability: whoever joins first sets it, whoever comes later must know it. Nil for an open room.
    public var token: String?
    public var metadata: [String: JSONValue]

    public init(peerID: String, roomID: String, token: String? = nil, metadata: [String: JSONValue] = [:]) {
      self.peerID = peerID
      self.roomID = roomID
      self.token = token
      self.metadata = metadata
    }
  }

  /// Who speaks, and in which room; the server refuses ids that are not the connection's own.
  public struct Sender: Hashable, Sendable {
    public var peerID: String
    public var roomID: String?

    public init(peerID: String, roomID: String? = nil) {
      self.peerID = peerID
      self.roomID = roomID
    }
  }

  /// Something one peer tells another one.
  public struct Directed: Hashable, Sendable {
    /// The sender, vouched for by the server in what a client receives.
    public var peerID: String
    public var targetPeer: String
    /// The member `offer`, `answer`, `candidate` or `envelope`, whole.
    public var payload: JSONValue

    public init(peerID: String, targetPeer: String, payload: JSONValue) {
      self.peerID = peerID
      self.targetPeer = targetPeer
      self.payload = payload
    }
  }

  public struct Welcome: Hashable, Sendable {
    /// The server's clock, in milliseconds since 1970.
    public var timestamp: Int?
    public var path: String?
    public var localOnly: Bool?

    public init(timestamp: Int? = nil, path: String? = nil, localOnly: Bool? = nil) {
      self.timestamp = timestamp
      self.path = path
      self.localOnly = localOnly
    }
  }

  public struct Joined: Hashable, Sendable {
    public var peerID: String
    public var roomID: String
    /// Who is there already, in the order they came; the newcomer dials them.
    public var peers: [String]
    /// What is known about some of them. Only our server says so, and only as far as it fits the frame.
    public var members: [String: [String: JSONValue]]

    public init(peerID: String, roomID: String, peers: [String], members: [String: [String: JSONValue]] = [:]) {
      self.peerID = peerID
      self.roomID = roomID
      self.peers = peers
      self.members = members
    }
  }

  public struct Refused: Hashable, Sendable {
    /// For people; the texts are the protocol's, so programs of old compare them.
    public var message: String
    /// For programs; only our server sends it.
    public var code: String?
    /// The `type` of the message that was refused; only our server sends it.
    public var inReplyTo: String?

    public init(message: String, code: String? = nil, inReplyTo: String? = nil) {
      self.message = message
      self.code = code
      self.inReplyTo = inReplyTo
    }
  }

  /// The values of the member `type`.
  public enum Kind: String, Hashable, Sendable, CaseIterable {
    case join, leave, heartbeat, announce, offer, answer
    case iceCandidate = "ice-candidate"
    case relay = "relay-message"
    case broadcast, welcome, joined
    case peerJoined = "peer-joined"
    case peerLeft = "peer-left"
    case peerAnnounced = "peer-announced"
    case error
    case serverShutdown = "server-shutdown"

    /// The member that a directed message carries its payload in; nil for messages that are not directed.
    package var payloadName: String? {
      switch self {
      case .offer: "offer"
      case .answer: "answer"
      case .iceCandidate: "candidate"
      case .relay: "envelope"
      default: nil
      }
    }
  }
}

extension SignalingMessage {
  public var kind: Kind {
    switch self {
    case .join: .join
    case .leave: .leave
    case .heartbeat: .heartbeat
    case .announce: .announce
    case .offer: .offer
    case .answer: .answer
    case .iceCandidate: .iceCandidate
    case .relay: .relay
    case .broadcast: .broadcast
    case .welcome: .welcome
    case .joined: .joined
    case .peerJoined: .peerJoined
    case .peerLeft: .peerLeft
    case .peerAnnounced: .peerAnnounced
    case .error: .error
    case .serverShutdown: .serverShutdown
    }
  }
}
