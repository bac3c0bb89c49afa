// MediaSession+Routing.swift — to which stream of which section a packet belongs (RFC 8843 §9.2).
//
// The mid that a packet carries decides, and latches its SSRC; then an SSRC that is known, or that the description
// announces; then a rid that only one section has; then a payload type that only one section has. A source found by the
// last alone must prove itself by two packets in sequence. What belongs nowhere is dropped and counted.

import RTP
import Wire

extension MediaSession {
  /// The place of the packet's stream in `receivers`; nil when it is to be dropped.
  mutating func receiver(of view: borrowing RTPPacketView, now: Instant) -> Int? {
    let header = view.header
    let known = receiverIndex[header.ssrc]
    if let id = extensionIDs.mid, let mid = view.extensionValue(id) {
      let expected = known.map { receivers[$0].section }
      guard let section = section(mid: mid, expected: expected) else {
        counts.unroutedPackets += 1
        return nil
      }
      if let known { return section == expected ? named(known, view) : move(known, to: section, view) }
      return admit(view, to: section, isValid: true, now: now)
    }
    if let known { return named(known, view) }
    if let announcement = announced[header.ssrc] {
      return admit(view, to: announcement.section, isValid: true, now: now)
    }
    if let section = section(rid: view) { return admit(view, to: section, isValid: true, now: now) }
    if let section = payloadTypeOwner[Int(header.payloadType)] {
      return admit(view, to: section, isValid: false, now: now)
    }
    counts.unroutedPackets += 1
    return nil
  }

  private func section(mid: RawSpan, expected: Int?) -> Int? {
    if let expected, isMid(mid, of: expected) { return expected }
    return mid.byteCount > 0 ? sections.indices.first { isMid(mid, of: $0) } : nil
  }

  private func isMid(_ mid: RawSpan, of section: Int) -> Bool {
    let own = sections[section].mid
    return mid.equals(own.rawSpan)
  }

  private func section(rid view: borrowing RTPPacketView) -> Int? {
    var name = view.extensionValue(extensionIDs.rid)
    if name == nil { name = view.extensionValue(extensionIDs.repairedRid) }
    guard let name, let rid = Self.rid(name) else { return nil }
    let owners = sections.indices.filter { sections[$0].section.rids.contains(rid) }
    return owners.count == 1 ? owners[0] : nil
  }

  /// Learns the stream's rid, which a sender stops to tell once it is acknowledged.
  private mutating func named(_ index: Int, _ view: borrowing RTPPacketView) -> Int {
    guard receivers[index].rid == nil, let value = view.extensionValue(extensionIDs.rid) else { return index }
    receivers[index].rid = Self.rid(value)
    return index
  }

  /// The peer says that a source belongs to another section now.
  private mutating func move(_ index: Int, to section: Int, _ view: borrowing RTPPacketView) -> Int? {
    guard sections[section].section.receives,
      let format = sections[section].formats[Int(view.header.payloadType)]
    else {
      counts.unwantedPackets += 1
      return nil
    }
    guard receivers.count(where: { $0.section == section }) < limits.maximumSSRCsPerSection else {
      counts.refusedSources += 1
      return nil
    }
    receivers[index].section = section
    receivers[index].role = format.rtxFor == nil ? .media : .retransmission(of: nil)
    receivers[index].requester.removeAll()
    return named(index, view)
  }

  /// Makes a stream of a new source, if the section wants it and has a place.
  private mutating func admit(
    _ view: borrowing RTPPacketView, to section: Int, isValid: Bool, now: Instant
  ) -> Int? {
    let ssrc = view.header.ssrc
    guard sections[section].section.receives,
      let format = sections[section].formats[Int(view.header.payloadType)]
    else {
      counts.unwantedPackets += 1
      return nil
    }
    let announcement = announced[ssrc].flatMap { $0.section == section ? $0 : nil }
    guard makePlace(in: section, forAnnounced: announcement != nil, now: now) else {
      counts.refusedSources += 1
      return nil
    }
    let role = announcement?.role ?? (format.rtxFor == nil ? .media : .retransmission(of: nil))
    receiverIndex[ssrc] = receivers.count
    receivers.append(
      ReceiveStream(
        ssrc: ssrc, section: section, role: role, isAnnounced: announcement != nil, isValid: isValid, limits: limits,
        now: now))
    return named(receivers.count - 1, view)
  }

  private mutating func makePlace(in section: Int, forAnnounced: Bool, now: Instant) -> Bool {
    let streams = receivers.indices.filter { receivers[$0].section == section }
    guard streams.count >= limits.maximumSSRCsPerSection else { return true }
    let expendable = streams.filter { receivers[$0].isExpendable(now: now) }
    let candidates =
      expendable.isEmpty && forAnnounced ? streams.filter { !receivers[$0].isAnnounced } : expendable
    guard let victim = candidates.min(by: { receivers[$0].lastPacketAt < receivers[$1].lastPacketAt }) else {
      return false
    }
    removeReceiver(victim)
    return true
  }

  private mutating func removeReceiver(_ index: Int) {
    let stream = receivers[index]
    if stream.tracker.isValid {
      sections[stream.section].counts.packetsLost += stream.tracker.lost + stream.tracker.lostBefore
    } else if stream.held != nil {
      counts.invalidSequences += 1
    }
    receiverIndex[stream.ssrc] = nil
    let last = receivers.removeLast()
    guard index < receivers.count else { return }
    receivers[index] = last
    receiverIndex[last.ssrc] = index
  }
}

extension RTPPacketView {
  /// Nil for an extension that was not negotiated.
  @_lifetime(copy self)
  func extensionValue(_ id: UInt8?) -> RawSpan? {
    guard let id else { return nil }
    return extensionValue(id)
  }
}
