// SignalingMessage+Coding.swift — messages from and to JSON.
//
// Reading is lenient where the servers in use differ (missing metadata, extra members) and strict where a wrong value
// would be acted on: an id that is no string is an error, not an empty string.

/// Why a frame is no signalling message.
public enum SignalingDecodingError: Error, Hashable, Sendable {
  case json(JSONError)
  case notAnObject
  /// Servers may grow new messages; a client skips what it does not know.
  case unknownType(String)
  case missing(member: String)
  case invalid(member: String)
}

extension SignalingMessage {
  public init(decoding text: String, limits: JSONLimits = JSONLimits()) throws(SignalingDecodingError) {
    try self.init(decoding: Array(text.utf8), limits: limits)
  }

  public init(decoding utf8: [UInt8], limits: JSONLimits = JSONLimits()) throws(SignalingDecodingError) {
    let json: JSONValue
    do { json = try JSONValue(utf8: utf8, limits: limits) } catch { throw .json(error) }
    try self.init(json)
  }

  public init(_ json: JSONValue) throws(SignalingDecodingError) {
    guard case .object(let members) = json else { throw .notAnObject }
    let message = MemberReader(members: members)
    let name = try message.string("type")
    guard let kind = Kind(rawValue: name) else { throw .unknownType(name) }
    switch kind {
    case .join:
      self = .join(
        Join(
          peerID: try message.string("peerId"), roomID: try message.string("roomId"),
          token: try message.optionalString("token"), metadata: try message.object("metadata")))
    case .leave: self = .leave(try message.sender())
    case .heartbeat: self = .heartbeat(try message.sender())
    case .announce: self = .announce(try message.sender(), metadata: try message.object("metadata"))
    case .offer: self = .offer(try message.directed("offer"))
    case .answer: self = .answer(try message.directed("answer"))
    case .iceCandidate: self = .iceCandidate(try message.directed("candidate"))
    case .relay: self = .relay(try message.directed("envelope"))
    case .broadcast: self = .broadcast(try message.sender(), data: try message.value("data"))
    case .welcome:
      self = .welcome(
        Welcome(
          timestamp: members["timestamp"]?.intValue, path: members["path"]?.stringValue,
          localOnly: members["localOnly"]?.boolValue))
    case .joined:
      guard let peers = try message.value("peers").stringArrayValue else { throw .invalid(member: "peers") }
      self = .joined(
        Joined(
          peerID: try message.string("peerId"), roomID: try message.string("roomId"), peers: peers,
          members: try message.object("members").compactMapValues { $0["metadata"]?.objectValue }))
    case .peerJoined:
      self = .peerJoined(peerID: try message.string("peerId"), metadata: try message.object("metadata"))
    case .peerLeft: self = .peerLeft(peerID: try message.string("peerId"))
    case .peerAnnounced:
      self = .peerAnnounced(peerID: try message.string("peerId"), metadata: try message.object("metadata"))
    case .error:
      self = .error(
        Refused(
          message: members["error"]?.stringValue ?? "", code: members["code"]?.stringValue,
          inReplyTo: members["for"]?.stringValue))
    case .serverShutdown: self = .serverShutdown
    }
  }

  /// The message as a JSON object. Servers stamp what they send with their clock, in milliseconds since 1970.
  public func json(timestamp: Int? = nil) -> JSONValue {
    var members: [String: JSONValue] = ["type": .string(kind.rawValue)]
    if let timestamp { members["timestamp"] = .integer(timestamp) }
    switch self {
    case .join(let join):
      members["peerId"] = .string(join.peerID)
      members["roomId"] = .string(join.roomID)
      members["metadata"] = .object(join.metadata)
      if let token = join.token { members["token"] = .string(token) }
    case .leave(let sender), .heartbeat(let sender):
      members.setSender(sender)
    case .announce(let sender, let metadata):
      members.setSender(sender)
      members["metadata"] = .object(metadata)
    case .broadcast(let sender, let data):
      members.setSender(sender)
      members["data"] = data
    case .offer(let directed), .answer(let directed), .iceCandidate(let directed), .relay(let directed):
      members["peerId"] = .string(directed.peerID)
      members["targetPeer"] = .string(directed.targetPeer)
      if let name = kind.payloadName { members[name] = directed.payload }
    case .welcome(let welcome):
      if let timestamp = timestamp ?? welcome.timestamp { members["timestamp"] = .integer(timestamp) }
      if let path = welcome.path { members["path"] = .string(path) }
      if let localOnly = welcome.localOnly { members["localOnly"] = .bool(localOnly) }
    case .joined(let joined):
      members["peerId"] = .string(joined.peerID)
      members["roomId"] = .string(joined.roomID)
      members["peers"] = .strings(joined.peers)
      if !joined.members.isEmpty {
        members["members"] = .object(joined.members.mapValues { ["metadata": .object($0)] })
      }
    case .peerJoined(let peerID, let metadata), .peerAnnounced(let peerID, let metadata):
      members["peerId"] = .string(peerID)
      members["metadata"] = .object(metadata)
    case .peerLeft(let peerID):
      members["peerId"] = .string(peerID)
    case .error(let refused):
      members["error"] = .string(refused.message)
      if let code = refused.code { members["code"] = .string(code) }
      if let inReplyTo = refused.inReplyTo { members["for"] = .string(inReplyTo) }
    case .serverShutdown: break
    }
    return .object(members)
  }

  /// The text of the frame that carries this message.
  public func encoded(timestamp: Int? = nil) -> String { json(timestamp: timestamp).text }
}

extension [String: JSONValue] {
  fileprivate mutating func setSender(_ sender: SignalingMessage.Sender) {
    self["peerId"] = .string(sender.peerID)
    if let roomID = sender.roomID { self["roomId"] = .string(roomID) }
  }
}

/// Reads typed members of one message.
private struct MemberReader {
  let members: [String: JSONValue]

  func value(_ name: String) throws(SignalingDecodingError) -> JSONValue {
    guard let value = members[name] else { throw .missing(member: name) }
    return value
  }

  /// A string that is not empty: all strings that messages require are ids or names.
  func string(_ name: String) throws(SignalingDecodingError) -> String {
    guard let text = try value(name).stringValue, !text.isEmpty else { throw .invalid(member: name) }
    return text
  }

  func optionalString(_ name: String) throws(SignalingDecodingError) -> String? {
    guard let value = members[name], !value.isNull else { return nil }
    guard let text = value.stringValue else { throw .invalid(member: name) }
    return text
  }

  /// An object; absent and null read as empty, as the servers in use leave it out in different ways.
  func object(_ name: String) throws(SignalingDecodingError) -> [String: JSONValue] {
    guard let value = members[name], !value.isNull else { return [:] }
    guard let object = value.objectValue else { throw .invalid(member: name) }
    return object
  }

  func sender() throws(SignalingDecodingError) -> SignalingMessage.Sender {
    SignalingMessage.Sender(peerID: try string("peerId"), roomID: try optionalString("roomId"))
  }

  func directed(_ payload: String) throws(SignalingDecodingError) -> SignalingMessage.Directed {
    SignalingMessage.Directed(
      peerID: try string("peerId"), targetPeer: try string("targetPeer"), payload: try value(payload))
  }
}
