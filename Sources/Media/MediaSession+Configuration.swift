// MediaSession+Configuration.swift — what a negotiation changes: sections, the peer's SSRCs, and who owns a payload type.

internal import RTP
package import Wire

extension MediaSession {
  /// After every negotiation, with all sections of the bundle. What was known of sections that stay, is kept.
  ///
  /// A local SSRC that a section has given up must not come back: which of its numbers were used, is forgotten.
  package mutating func configure(_ newSections: [MediaSection], now: Instant) {
    guard phase != .closed else { return }
    let old = sections
    let oldIndex = sectionIndex
    sections = []
    sectionIndex = [:]
    for section in newSections.prefix(limits.maximumSections) where sectionIndex[section.id] == nil {
      sectionIndex[section.id] = sections.count
      sections.append(successor(of: oldIndex[section.id].map { old[$0] }, section))
    }
    for (id, index) in oldIndex where sectionIndex[id] == nil { endSources(of: old[index]) }
    indexAnnouncements()
    indexPayloadTypes()
    moveReceivers(from: old)
    schedule.hasVideo = sections.contains { $0.section.kind == .video }
    usesTransportCC = sections.contains { $0.section.receives && $0.hasTransportCC }
  }

  private mutating func successor(of old: SectionState?, _ section: MediaSection) -> SectionState {
    guard var state = old else {
      var state = SectionState(section)
      if section.sends { state.send = makeSendStream(section) }
      return state
    }
    let before = state.section
    state.update(section)
    guard let send = state.send else {
      if section.sends { state.send = makeSendStream(section) }
      return state
    }
    guard send.ssrc == section.localSSRC else {
      if let old { endSources(of: old) }
      state.send = section.sends ? makeSendStream(section) : nil
      return state
    }
    if send.rtxSSRC != section.localRTXSSRC {
      if phase == .running, send.retransmission.packets > 0, let rtx = send.rtxSSRC { goodbyes.append(rtx) }
      state.send?.changeRTX(to: section.localRTXSSRC)
    }
    // On hold: its numbers stay used, because it may go on.
    if !section.sends { state.send?.removeQueued() }
    if before.mid != section.mid || before.extensionIDs != section.extensionIDs {
      // What is kept would be written with other extensions, and thus other bytes under the same number.
      state.send?.history = History(limits: limits)
      state.send?.media.isAcknowledged = false
      state.send?.retransmission.isAcknowledged = false
    }
    return state
  }

  private mutating func makeSendStream(_ section: MediaSection) -> SendStream {
    SendStream(ssrc: section.localSSRC, rtxSSRC: section.localRTXSSRC, limits: limits, random: &random)
  }

  private mutating func indexAnnouncements() {
    announced.removeAll(keepingCapacity: true)
    extensionIDs = MediaExtensionIDs()
    for (index, state) in sections.enumerated() {
      let section = state.section
      extensionIDs.merge(section.extensionIDs)
      guard section.receives else { continue }
      // Sorted, so that a description that announces too much always loses the same.
      let sources =
        section.remoteSSRCs.filter { section.remoteRTX[$0] == nil }.map { ($0, ReceiveStream.Role.media) }
        + section.remoteRTX.sorted { $0.key < $1.key }.map { ($0.key, .retransmission(of: $0.value)) }
      for (ssrc, role) in sources.prefix(limits.maximumSSRCsPerSection) where announced[ssrc] == nil {
        announced[ssrc] = Announcement(section: index, role: role)
      }
    }
  }

  private mutating func indexPayloadTypes() {
    for type in 0..<128 {
      let owners = sections.indices.filter { sections[$0].section.receives && sections[$0].formats[type] != nil }
      payloadTypeOwner[type] = owners.count == 1 ? owners[0] : nil
    }
  }

  private mutating func moveReceivers(from old: [SectionState]) {
    var kept: [ReceiveStream] = []
    for var stream in receivers {
      let id = old[stream.section].section.id
      guard let index = sectionIndex[id] else { continue }
      guard sections[index].section.receives else {
        sections[index].counts.packetsLost += stream.tracker.lost + stream.tracker.lostBefore
        continue
      }
      stream.section = index
      if let announcement = announced[stream.ssrc], announcement.section == index {
        stream.isAnnounced = true
        stream.role = announcement.role
      } else {
        stream.isAnnounced = false
      }
      kept.append(stream)
    }
    receivers = kept
    receiverIndex.removeAll(keepingCapacity: true)
    for (index, stream) in receivers.enumerated() { receiverIndex[stream.ssrc] = index }
  }
}

extension MediaExtensionIDs {
  fileprivate mutating func merge(_ other: MediaExtensionIDs) {
    mid = mid ?? other.mid
    rid = rid ?? other.rid
    repairedRid = repairedRid ?? other.repairedRid
    transportSequence = transportSequence ?? other.transportSequence
    absoluteSendTime = absoluteSendTime ?? other.absoluteSendTime
  }
}
