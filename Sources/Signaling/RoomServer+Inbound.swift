// RoomServer+Inbound.swift — one message at a time, checked in the protocol's order (WIRE §4.3) and passed on.

internal import Wire

extension RoomServer {
  mutating func handle(
    _ message: [String: JSONValue], from id: ConnectionID, now: Instant
  ) throws(RoomRefusal) {
    let type = message["type"]?.stringValue ?? ""
    switch SignalingMessage.Kind(rawValue: type) {
    case .join:
      try join(message, from: id, now: now)
    case .leave:
      _ = try member(message, from: id)
      leave(id, now: now)
    case .heartbeat:
      _ = try member(message, from: id)
      keepAlive(id, now: now)
    case .announce:
      try announce(message, from: id, now: now)
    case .broadcast:
      try broadcast(message, from: id, now: now)
    case .offer, .answer, .iceCandidate, .relay:
      guard let kind = SignalingMessage.Kind(rawValue: type), let payloadName = kind.payloadName else { return }
      try forward(message, kind, payloadName: payloadName, from: id, now: now)
    case .welcome, .joined, .peerJoined, .peerLeft, .peerAnnounced, .error, .serverShutdown, nil:
      throw .unsupportedType(Self.printable(type))
    }
  }

  /// The speaker, who must be in a room and must use its own name (X1).
  private func member(_ message: [String: JSONValue], from id: ConnectionID) throws(RoomRefusal) -> Membership {
    guard let membership = connections[id]?.membership else { throw .joinRequired }
    guard message["peerId"]?.stringValue == membership.peerID else { throw .peerIDMismatch }
    if let roomID = message["roomId"], !roomID.isNull, roomID.stringValue != membership.roomID {
      throw .roomIDMismatch
    }
    return membership
  }

  private mutating func announce(
    _ message: [String: JSONValue], from id: ConnectionID, now: Instant
  ) throws(RoomRefusal) {
    let speaker = try member(message, from: id)
    guard let room = rooms[speaker.roomID] else { return }
    guard let news = message["metadata"]?.objectValue else { throw .metadataNotObject }
    let merged = speaker.metadata.merging(news) { _, new in new }
    let metadata = try metadata(.object(merged), isBound: room.binding != nil)
    let announced = SignalingMessage.peerAnnounced(peerID: speaker.peerID, metadata: metadata.members)
    try charge(id, byteCount: metadata.byteCount, copies: room.members.count - 1, now: now)
    connections[id]?.membership?.metadata = metadata.members
    connections[id]?.membership?.metadataByteCount = metadata.byteCount
    keepAlive(id, now: now)
    sendToOthers(announced, in: room, except: id, now: now)
  }

  private mutating func broadcast(
    _ message: [String: JSONValue], from id: ConnectionID, now: Instant
  ) throws(RoomRefusal) {
    let speaker = try member(message, from: id)
    guard let room = rooms[speaker.roomID] else { return }
    guard let data = message["data"], data.isTruthy else { throw .dataMissing }
    let sender = SignalingMessage.Sender(peerID: speaker.peerID)
    let text = SignalingMessage.broadcast(sender, data: data).encoded(timestamp: timestamp(now))
    try charge(id, byteCount: text.utf8.count, copies: room.members.count - 1, now: now)
    keepAlive(id, now: now)
    for member in room.members where member != id {
      statistics.messagesForwarded += 1
      send(text: text, to: member)
    }
  }

  /// Offer, answer, candidate and relayed envelope: to one peer, in the order in which they came.
  private mutating func forward(
    _ message: [String: JSONValue], _ kind: SignalingMessage.Kind, payloadName: String, from id: ConnectionID,
    now: Instant
  ) throws(RoomRefusal) {
    let speaker = try member(message, from: id)
    guard let targetPeer = message["targetPeer"]?.stringValue, !targetPeer.isEmpty else { throw .targetMissing }
    let payload = message[payloadName] ?? .null
    if kind == .relay {
      guard case .object = payload else { throw .envelopeMissing }
      guard Self.isRelayable(payload, from: speaker.peerID) else { throw .envelopeInvalid }
    } else if !payload.isTruthy {
      throw .payloadMissing(payloadName)
    }
    guard let target = peers[targetPeer] else { throw .targetUnavailable }
    guard connections[target]?.membership?.roomID == speaker.roomID else { throw .otherRoom }
    if kind == .offer { try countOffer(from: id, to: targetPeer, now: now) }

    // In an open room unknown members pass, as they always did; the server vouches for the sender in both.
    var forwarded = isStrict(id) ? [:] : message
    forwarded["type"] = .string(kind.rawValue)
    forwarded["peerId"] = .string(speaker.peerID)
    forwarded["targetPeer"] = .string(targetPeer)
    forwarded[payloadName] = payload
    forwarded["timestamp"] = .integer(timestamp(now))
    let text = JSONValue.object(forwarded).text
    try charge(id, byteCount: text.utf8.count, copies: 1, now: now)
    keepAlive(id, now: now)
    connections[target]?.unansweredOffers[speaker.peerID] = nil  // whatever it is, it is a reaction
    statistics.messagesForwarded += 1
    send(text: text, to: target)
  }

  /// WIRE §4.6, and the envelope must name its real sender (B-14).
  private static func isRelayable(_ envelope: JSONValue, from peerID: String) -> Bool {
    let version = envelope["protocolVersion"]
    guard version?.intValue == 1 || version?.stringValue == "1" else { return false }
    guard let type = envelope["type"]?.stringValue, relayableTypes.contains(type) else { return false }
    guard envelope["peerId"]?.stringValue == peerID, envelope["timestamp"]?.doubleValue != nil else { return false }
    guard let payload = envelope["payload"] else { return true }
    return payload.objectValue != nil
  }

  private static let relayableTypes: Set<String> = [
    "reploid:peer-advertisement", "reploid:generation-request", "reploid:generation-update",
    "reploid:generation-result", "reploid:generation-error", "reploid:receipt", "ping", "pong",
  ]

  // MARK: Budgets

  /// Counts an offer against those that the target has not reacted to (X3).
  private mutating func countOffer(from id: ConnectionID, to target: String, now: Instant) throws(RoomRefusal) {
    if let since = connections[id]?.offersSince, now - since >= limits.peerTimeout {
      connections[id]?.offersSince = now
      connections[id]?.unansweredOffers = [:]
    }
    let count = connections[id]?.unansweredOffers[target] ?? 0
    guard count < limits.unansweredOffers else { throw .tooManyOffers }
    connections[id]?.unansweredOffers[target] = count + 1
  }

  /// Takes what a message costs on the way out from its sender's credit (X2). A sender in credit may overdraw it once,
  /// so that a message of any size passes in a room of any size, and then waits.
  private mutating func charge(
    _ id: ConnectionID, byteCount: Int, copies: Int, now: Instant
  ) throws(RoomRefusal) {
    guard var connection = connections[id] else { return }
    let elapsed = min(max((now - connection.fanOutCreditAt).nanoseconds / 1_000_000, 0), Self.longestRefill)
    let refill = Int(elapsed) * limits.fanOutBytesPerSecond / 1_000
    if refill > 0 {
      connection.fanOutCredit = min(connection.fanOutCredit + refill, limits.fanOutBurst)
      connection.fanOutCreditAt = now
    }
    let isInCredit = connection.fanOutCredit > 0
    if isInCredit { connection.fanOutCredit -= byteCount * copies }
    connections[id] = connection
    guard isInCredit else { throw .fanOutLimit }
  }

  /// Milliseconds; nobody owes for longer, and the multiplication stays small.
  private static let longestRefill: Int64 = 600_000

  /// A name from a stranger, fit for an error text: short, and without control characters.
  private static func printable(_ text: String) -> String {
    let clean = String(String.UnicodeScalarView(text.unicodeScalars.prefix(64).filter { isPrintable($0) }))
    return clean.allSatisfy(\.isWhitespace) ? "unknown" : clean
  }
}

/// Neither a control nor an invisible formatting character: what may appear in a log or a terminal.
func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned: false
  default: true
  }
}
