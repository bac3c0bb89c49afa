// SwarmMachine+Knowledge.swift — capabilities, offers and replicated state: what is synchronised when two peers meet,
// and what is told to all when it changes (WIRE §5.3, §6.5).

package import Signaling
package import Wire

extension SwarmMachine {
  // MARK: In: the user

  /// Replaces what this peer can do, and tells everyone.
  package mutating func updateCapabilities(_ capabilities: [String], now: Instant) {
    self.capabilities = Self.bounded(capabilities)
    for peer in peersInOrder { post(.syncResponse, syncFields(for: peer, now: now), to: peer) }
  }

  /// Writes a piece of knowledge here and at every connected peer.
  @discardableResult
  package mutating func share(_ id: String, _ value: JSONValue, now: Instant) throws(SwarmError) -> KnowledgeEntry {
    guard (1...SwarmLimits.maximumIDBytes).contains(id.utf8.count) else { throw .payloadTooLarge }
    let entry = knowledge.nextEntry(
      id: id, value: value, peerID: peerID, wallMilliseconds: wallMilliseconds(now))
    let fields = entry.fields
    let text = JSONValue.object(fields).text
    guard text.utf16.count <= SwarmLimits.syncPayloadUnits else { throw .payloadTooLarge }
    guard knowledge.merge(entry, size: text.utf8.count) == .stored else { throw .full("knowledge") }
    _ = clock.tick()
    for peer in peers.keys {
      if peers[peer]?.dialect == .bare {
        shareBare(entry, to: peer, now: now)
      } else {
        post(.goalUpdate, fields, to: peer)
      }
    }
    return entry
  }

  // MARK: Synchronising

  /// Everything a newcomer should know, in as many messages as that takes.
  mutating func sendSync(to peer: PeerID, now: Instant) {
    guard let record = peers[peer] else { return }
    if record.dialect != .bare, record.nextSync <= now {
      peers[peer]?.nextSync = now + SwarmLimits.syncInterval
      sendKnowledge(to: peer, now: now)
      // Announced before the capabilities: whoever is introduced by these already knows the offers.
      if record.dialect == .extended {
        for offer in offers.values { post(.artifactAnnounce, offer.fields, to: peer) }
      }
    }
    post(.syncResponse, syncFields(for: peer, now: now), to: peer)
  }

  private mutating func sendKnowledge(to peer: PeerID, now: Instant) {
    var batch: [JSONValue] = []
    var units = 0
    for entry in knowledge.entries.values {
      let item = JSONValue.array([.string(entry.id), .object(entry.fields)])
      let size = item.unitCount + 1
      if units + size > SwarmLimits.syncPayloadUnits, !batch.isEmpty {
        post(.syncResponse, stateFields(batch), to: peer)
        batch = []
        units = 0
      }
      batch.append(item)
      units += size
    }
    if !batch.isEmpty { post(.syncResponse, stateFields(batch), to: peer) }
  }

  private func stateFields(_ entries: [JSONValue]) -> JSONFields {
    ["state": .array(entries), "timestamp": .number(clock.value)]
  }

  private func syncFields(for peer: PeerID, now: Instant) -> JSONFields {
    guard peers[peer]?.dialect == .bare else {
      var fields = stateFields([])
      fields["capabilities"] = .strings(capabilities)
      return fields
    }
    return [
      "data": .object([
        "state": .object(["totalCycles": .number(0), "currentGoal": .null]),
        "artifacts": .array(
          offers.values.prefix(SwarmLimits.maximumBareOffers).map {
            .object(["id": .string($0.id), "type": .string("file"), "lastModified": .number(wallMilliseconds(now))])
          }),
        "capabilities": .strings(capabilities),
      ])
    ]
  }

  mutating func handleSync(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    let content = peers[peer]?.dialect == .bare ? fields["data"]?.objectValue ?? [:] : fields
    if let stated = content.strings("capabilities") {
      let capabilities = Set(Self.bounded(stated))
      let isFirst = peers[peer]?.isIntroduced == false
      if peers[peer]?.capabilities != capabilities || isFirst {
        peers[peer]?.capabilities = capabilities
        if !isFirst { emit(.capabilitiesChanged(peer, capabilities.sorted())) }
      }
      introduce(peer)
    }
    guard let state = content["state"]?.arrayValue else { return }
    for item in state {
      guard let pair = item.arrayValue, pair.count == 2, let entry = KnowledgeEntry(fields: pair[1].objectValue) else {
        throw .badPayload
      }
      try merge(entry, now: now)
    }
  }

  mutating func handleGoalUpdate(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard var entry = KnowledgeEntry(fields: fields) else { throw .badPayload }
    entry.peerID = peer  // whoever sent it wrote it: updates are never forwarded
    try merge(entry, now: now)
  }

  /// Profile A's way to share a text; it has no clock, so it counts as one more write.
  mutating func handleKnowledgeShare(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let shared = fields["knowledge"]?.objectValue, let id = shared.id("id"), let content = shared.text("content")
    else { throw .badPayload }
    let entry = knowledge.nextEntry(
      id: id, value: .string(content), peerID: peer, wallMilliseconds: wallMilliseconds(now))
    try merge(entry, now: now)
  }

  private mutating func merge(_ entry: KnowledgeEntry, now: Instant) throws(Rejection) {
    // A clock that is out of reach would freeze the entry for everybody (WIRE B-6).
    guard entry.clock >= 0, entry.clock <= clock.ceiling(wallMilliseconds: wallMilliseconds(now)) else {
      throw .badTimestamp
    }
    let size = JSONValue.object(entry.fields).text.utf8.count
    switch knowledge.merge(entry, size: size) {
    case .stored: emit(.knowledgeChanged(entry))
    case .older: break
    case .full: throw .tableFull
    }
  }

  private mutating func shareBare(_ entry: KnowledgeEntry, to peer: PeerID, now: Instant) {
    let content = entry.value.stringValue ?? entry.value.text
    postKnowledge(id: entry.id, content: content, to: peer, now: now)
  }

  mutating func postKnowledge(id: String, content: String, to peer: PeerID, now: Instant) {
    let knowledge: JSONFields = [
      "type": .string("artifact"), "id": .string(id), "artifactType": .string("text"), "content": .string(content),
      "sharedBy": .string(peerID), "timestamp": .number(wallMilliseconds(now)),
    ]
    post(.knowledgeShare, ["knowledge": .object(knowledge)], to: peer)
  }
}

extension KnowledgeEntry {
  package var fields: JSONFields {
    [
      "id": .string(id), "value": value, "clock": .number(clock), "peerId": .string(peerID),
      "updatedAt": .number(updatedAt),
    ]
  }

  init?(fields: JSONFields?) {
    guard let fields, let id = fields.id("id"), let clock = fields.integer("clock"), let peerID = fields.id("peerId")
    else { return nil }
    self.init(
      id: id, value: fields["value"] ?? .null, clock: clock, peerID: peerID, updatedAt: fields.integer("updatedAt") ?? 0
    )
  }
}
