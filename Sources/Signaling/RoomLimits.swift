// RoomLimits.swift — what one signalling server takes from strangers, and how it treats them.

public import Wire

/// The bounds of a room server. Every one of them is a queue, a table or a timer that a stranger could grow.
public struct RoomLimits: Hashable, Sendable {
  /// The longest message, in UTF-8 bytes; longer ones close with 1009.
  public var messageByteCount = 65_536
  /// Nesting of a message's JSON. Descriptions and metadata need five levels.
  public var messageDepth = 32

  /// Open sockets, joined or not. More than `peers`, so that a full house can still say so.
  public var connections = 10_000
  public var peers = 8_192
  public var peersPerRoom = 256
  public var rooms = 4_096

  /// Messages from one socket in one `rateWindow`; more close it with 1008.
  public var messagesPerWindow = 512
  /// WebSocket pings and pongs from one socket in one `rateWindow`; each ping costs an answer.
  public var controlFramesPerWindow = 64
  public var rateWindow = Interval.seconds(1)

  /// Bytes that one sender may make the server send to others per second: a broadcast multiplies what comes in.
  public var fanOutBytesPerSecond = 2 << 20
  /// How much of it may be saved up: a newcomer offers to a whole room at once (255 × about 4 KB).
  public var fanOutBurst = 4 << 20
  /// Offers to one peer that it has not reacted to, in one `peerTimeout`: nobody is dialled against their will for long.
  public var unansweredOffers = 16

  /// The longest peer id and room id, in UTF-8 bytes.
  public var identifierByteCount = 160
  /// One peer's metadata as JSON; the server keeps it for every peer.
  public var metadataByteCount = 8_192
  /// How much of `joined` may tell about the members' metadata; the ids take up to 40 KB beside it.
  public var joinedMetadataByteCount = 16_384

  /// A socket that has not joined by then is closed (4002).
  public var joinTimeout = Interval.seconds(15)
  /// A peer that has said nothing for so long is removed (4001). Clients send a heartbeat every 30 s.
  public var peerTimeout = Interval.seconds(60)
  /// How long the holder of a peer id has to answer a ping, when somebody else asks for the id.
  public var probeTimeout = Interval.seconds(1)
  /// How long an empty room keeps its capability, so that nobody takes over its name meanwhile.
  public var emptyRoomLifetime = Interval.seconds(600)

  public init() {}
}

/// Who may join.
public enum RoomPolicy: Hashable, Sendable {
  /// A room whose first member brings no token is open to everybody; if a token comes, it binds the room.
  case open
  /// Only rooms `reploid-swarm-…` and only with a token of at least 32 characters.
  case capability
}

/// Why the server closed a connection, as the WebSocket close code and reason.
package struct RoomClose: Hashable, Sendable {
  package var code: UInt16
  package var reason: String

  package init(code: UInt16, reason: String) {
    self.code = code
    self.reason = reason
  }

  package static let goingAway = RoomClose(code: 1001, reason: "Server shutting down")
  package static let malformed = RoomClose(code: 1003, reason: "Invalid JSON payload")
  package static let binary = RoomClose(code: 1003, reason: "Binary frames are not supported")
  package static let invalidText = RoomClose(code: 1007, reason: "Invalid UTF-8")
  package static let rateLimit = RoomClose(code: 1008, reason: "Rate limit exceeded")
  package static let tooLarge = RoomClose(code: 1009, reason: "Message exceeds max size")
  package static let tooManyConnections = RoomClose(code: 1013, reason: "Too many connections")
  package static let replaced = RoomClose(code: 4000, reason: "Peer session replaced")
  package static let peerTimeout = RoomClose(code: 4001, reason: "Peer timeout")
  package static let neverJoined = RoomClose(code: 4002, reason: "Join timeout")
}

/// What the server answers to a message it does not follow; the connection stays open unless said otherwise.
package enum RoomRefusal: Error, Hashable, Sendable {
  // The frame
  case notJSON, malformed, notAnObject, unsupportedType(String), binaryFrame, rateLimit, tooLarge
  // join
  case missingIDs, invalidPeerID, invalidRoomID, capabilityRequired, unauthorized
  case roomLimit, peerLimit, roomFull, boundToOtherID, peerIDTaken, metadataNotObject, metadataTooLarge
  // Everything else
  case joinRequired, peerIDMismatch, roomIDMismatch, targetMissing, payloadMissing(String), envelopeMissing
  case envelopeInvalid, dataMissing, targetUnavailable, otherRoom, fanOutLimit, tooManyOffers

  /// The texts of the protocol (WIRE §2.2, §4.2, §4.3); those it has no word for are ours.
  package var message: String {
    switch self {
    case .notJSON: "Invalid message format"
    case .malformed: "Invalid JSON payload"
    case .notAnObject: "Message must be a JSON object"
    case .unsupportedType(let type): "Unsupported message type: \(type)"
    case .binaryFrame: "Binary frames are not supported"
    case .rateLimit: "Rate limit exceeded"
    case .tooLarge: "Message exceeds max size"
    case .missingIDs: "Missing peerId or roomId"
    case .invalidPeerID: "peerId is invalid"
    case .invalidRoomID: "roomId is invalid"
    case .capabilityRequired: "A high-entropy room capability is required"
    case .unauthorized: "Unauthorized room access"
    case .roomLimit: "Room limit reached"
    case .peerLimit: "Peer limit reached"
    case .roomFull: "Room capacity reached"
    case .boundToOtherID: "Connection is already bound to a different peerId"
    case .peerIDTaken: "peerId is already connected"
    case .metadataNotObject: "metadata must be an object"
    case .metadataTooLarge: "metadata is too large"
    case .joinRequired: "Join is required before signaling"
    case .peerIDMismatch: "peerId does not match the current connection"
    case .roomIDMismatch: "roomId does not match the current connection"
    case .targetMissing: "targetPeer is required"
    case .payloadMissing(let name): "\(name) payload is required"
    case .envelopeMissing: "envelope payload is required"
    case .envelopeInvalid: "relay envelope is invalid"
    case .dataMissing: "data payload is required"
    case .targetUnavailable: "Target peer is not available"
    case .otherRoom: "Peers must be in the same room"
    case .fanOutLimit: "Sending to others too fast"
    case .tooManyOffers: "Too many unanswered offers to this peer"
    }
  }

  /// The same for programs.
  package var code: String {
    switch self {
    case .notJSON, .malformed: "not-json"
    case .notAnObject: "not-an-object"
    case .unsupportedType: "unsupported-type"
    case .binaryFrame: "binary-frame"
    case .rateLimit: "rate-limit"
    case .tooLarge: "too-large"
    case .missingIDs: "missing-ids"
    case .invalidPeerID: "invalid-peer-id"
    case .invalidRoomID: "invalid-room-id"
    case .capabilityRequired: "capability-required"
    case .unauthorized: "unauthorized"
    case .roomLimit: "room-limit"
    case .peerLimit: "peer-limit"
    case .roomFull: "room-full"
    case .boundToOtherID: "bound-to-other-id"
    case .peerIDTaken: "peer-id-taken"
    case .metadataNotObject: "metadata-not-an-object"
    case .metadataTooLarge: "metadata-too-large"
    case .joinRequired: "join-required"
    case .peerIDMismatch: "peer-id-mismatch"
    case .roomIDMismatch: "room-id-mismatch"
    case .targetMissing: "target-missing"
    case .payloadMissing, .envelopeMissing: "payload-missing"
    case .envelopeInvalid: "envelope-invalid"
    case .dataMissing: "data-missing"
    case .targetUnavailable: "target-unavailable"
    case .otherRoom: "other-room"
    case .fanOutLimit: "fan-out-limit"
    case .tooManyOffers: "too-many-offers"
    }
  }
}
