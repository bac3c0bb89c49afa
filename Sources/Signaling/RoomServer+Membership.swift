// RoomServer+Membership.swift — joining and leaving, and the question whether the holder of an id is still alive.

internal import Digest
internal import Wire

extension RoomServer {
  /// Whether the rules of capability rooms hold for this connection: then what is not JSON closes it, and forwarded
  /// messages are rebuilt instead of passed on whole.
  func isStrict(_ id: ConnectionID) -> Bool {
    if configuration.policy == .capability { return true }
    guard let roomID = connections[id]?.membership?.roomID else { return false }
    return rooms[roomID]?.binding != nil
  }

  mutating func join(_ message: [String: JSONValue], from id: ConnectionID, now: Instant) throws(RoomRefusal) {
    let request = try JoinRequest(message, policy: configuration.policy, limits: limits)
    try authorize(request)
    let current = connections[id]?.membership
    if current?.roomID != request.roomID { try makeRoom(request.roomID) }
    if current == nil, peers.count >= limits.peers { throw .peerLimit }
    if current?.roomID != request.roomID, (rooms[request.roomID]?.members.count ?? 0) >= limits.peersPerRoom {
      throw .roomFull
    }
    if let current, current.peerID != request.peerID { throw .boundToOtherID }
    if let holder = peers[request.peerID], holder != id {
      guard probes.allSatisfy({ $0.holder != holder && $0.newcomer != id }) else { throw .peerIDTaken }
      _ = try metadata(request.metadata, isBound: request.binding != nil)  // said before it is too late to say it
      probes.append(Probe(holder: holder, newcomer: id, message: message, deadline: now + limits.probeTimeout))
      ping(holder)
      return
    }
    let metadata = try metadata(request.metadata, isBound: request.binding != nil)
    if let current, current.roomID == request.roomID {
      rejoin(id, metadata: metadata, now: now)
    } else {
      leaveRoom(id, now: now)
      enter(id, request, metadata: metadata, now: now)
    }
  }

  /// The first token binds a room; from then on everybody needs it (the comparison is of hashes, in constant time).
  private func authorize(_ request: JoinRequest) throws(RoomRefusal) {
    guard let room = rooms[request.roomID] else { return }
    switch (room.binding, request.binding) {
    case (nil, nil): return
    case (let bound?, let shown?) where constantTimeEqual(bound.rawSpan, shown.rawSpan): return
    default: throw .unauthorized
    }
  }

  /// Makes sure that there is space for one more room, at the cost of the one that has been empty for longest.
  private mutating func makeRoom(_ roomID: String) throws(RoomRefusal) {
    guard rooms[roomID] == nil, rooms.count >= limits.rooms else { return }
    var oldest: (roomID: String, since: Instant)?
    for (candidate, room) in rooms {
      guard let since = room.emptySince, since < oldest?.since ?? since + .seconds(1) else { continue }
      oldest = (candidate, since)
    }
    guard let oldest else { throw .roomLimit }
    rooms[oldest.roomID] = nil
  }

  private mutating func enter(
    _ id: ConnectionID, _ request: JoinRequest, metadata: (members: [String: JSONValue], byteCount: Int), now: Instant
  ) {
    var room = rooms[request.roomID] ?? Room(binding: request.binding)
    room.members.append(id)
    room.emptySince = nil
    rooms[request.roomID] = room
    peers[request.peerID] = id
    connections[id]?.membership = Membership(
      peerID: request.peerID, roomID: request.roomID, metadata: metadata.members,
      metadataByteCount: metadata.byteCount)
    connections[id]?.unansweredOffers = [:]
    keepAlive(id, now: now)
    sendJoined(to: id, now: now)
    sendToOthers(.peerJoined(peerID: request.peerID, metadata: metadata.members), in: room, except: id, now: now)
  }

  /// The same peer joins the same room on the same connection: nobody needs to hang up for that (B-9).
  private mutating func rejoin(
    _ id: ConnectionID, metadata: (members: [String: JSONValue], byteCount: Int), now: Instant
  ) {
    guard let membership = connections[id]?.membership, let room = rooms[membership.roomID] else { return }
    let isNews = membership.metadata != metadata.members
    connections[id]?.membership?.metadata = metadata.members
    connections[id]?.membership?.metadataByteCount = metadata.byteCount
    keepAlive(id, now: now)
    sendJoined(to: id, now: now)
    guard isNews else { return }
    sendToOthers(.peerAnnounced(peerID: membership.peerID, metadata: metadata.members), in: room, except: id, now: now)
  }

  private mutating func sendJoined(to id: ConnectionID, now: Instant) {
    guard let own = connections[id]?.membership, let room = rooms[own.roomID] else { return }
    var joined = SignalingMessage.Joined(peerID: own.peerID, roomID: own.roomID, peers: [])
    var space = limits.joinedMetadataByteCount
    for other in room.members where other != id {
      guard let member = connections[other]?.membership else { continue }
      joined.peers.append(member.peerID)
      guard !member.metadata.isEmpty, member.metadataByteCount <= space else { continue }
      space -= member.metadataByteCount
      joined.members[member.peerID] = member.metadata
    }
    send(.joined(joined), to: id, now: now)
  }

  /// Out of the room, but still connected.
  mutating func leave(_ id: ConnectionID, now: Instant) {
    leaveRoom(id, now: now)
    keepAlive(id, now: now)
    settleProbe(ofLeaver: id, now: now)
  }

  mutating func leaveRoom(_ id: ConnectionID, now: Instant) {
    guard let membership = connections[id]?.membership else { return }
    connections[id]?.membership = nil
    peers[membership.peerID] = nil
    guard var room = rooms[membership.roomID] else { return }
    rooms[membership.roomID] = nil  // so that `room` is the only owner of its list
    room.members.removeAll { $0 == id }
    sendToOthers(.peerLeft(peerID: membership.peerID), in: room, except: id, now: now)
    guard room.members.isEmpty else {
      rooms[membership.roomID] = room
      return
    }
    guard room.binding != nil else { return }
    room.emptySince = now  // keeps the name for those who know its token (B-15)
    rooms[membership.roomID] = room
    expect(expiry: now + limits.emptyRoomLifetime)
  }

  mutating func keepAlive(_ id: ConnectionID, now: Instant) {
    let expiry = now + limits.peerTimeout
    connections[id]?.expiresAt = expiry
    expect(expiry: expiry)  // it comes nearer when peers have less time than newcomers
  }

  mutating func sendToOthers(_ message: SignalingMessage, in room: Room, except id: ConnectionID, now: Instant) {
    guard room.members.contains(where: { $0 != id }) else { return }
    let text = message.encoded(timestamp: timestamp(now))
    for member in room.members where member != id { send(text: text, to: member) }
  }

  // MARK: Probes

  /// The holder of an id lives: whoever asked for the id does not get it.
  mutating func answerProbe(holder: ConnectionID, now: Instant) {
    guard let index = probes.firstIndex(where: { $0.holder == holder }) else { return }
    let probe = probes.remove(at: index)
    refuse(.peerIDTaken, to: probe.newcomer, inReplyTo: SignalingMessage.Kind.join.rawValue, now: now)
  }

  /// The holder of an id is gone: whoever asked for the id joins now.
  mutating func settleProbe(ofLeaver holder: ConnectionID, now: Instant) {
    guard let index = probes.firstIndex(where: { $0.holder == holder }) else { return }
    let probe = probes.remove(at: index)
    do {
      try join(probe.message, from: probe.newcomer, now: now)
    } catch {
      refuse(error, to: probe.newcomer, inReplyTo: SignalingMessage.Kind.join.rawValue, now: now)
    }
  }
}
