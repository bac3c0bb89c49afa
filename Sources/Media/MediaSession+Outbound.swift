// MediaSession+Outbound.swift — an RTP packet's way down: checked and queued by `send`, written in place when it is polled,
// and kept a while to be sent again (RFC 4585 §6.2.1, RFC 4588).
//
// The mid goes with the packets of a stream until the peer has reported on it (RFC 8843 §15 asks no more): it then has
// latched the SSRC, and each audio packet is eight bytes shorter.

internal import DequeModule
import RTP
package import Wire

extension MediaSession {
  /// Queues a packet for `pollTransmit`.
  package mutating func send(_ packet: OutgoingRTP, on section: Int, now: Instant) throws(MediaSendError) {
    guard phase == .running, let index = sectionIndex[section], sections[index].section.sends,
      sections[index].send != nil
    else { throw .notSending }
    guard packet.payloadType < 128, let format = sections[index].formats[Int(packet.payloadType)],
      format.rtxFor == nil
    else { throw .unknownPayloadType }
    guard packet.contributingSources.count <= RTPHeader.maximumContributingSources else { throw .badHeader }
    guard packet.extensions.allSatisfy({ $0.id != 0 && $0.value.count <= 255 }) else { throw .badHeader }
    let byteCount = maximumByteCount(of: packet, in: index)
    guard byteCount <= limits.maximumPacketSize else { throw .packetTooLarge }
    // In place: a copy of the stream would copy its queue.
    let queued = sections[index].send.map { ($0.queue.count, $0.queuedBytes) } ?? (0, 0)
    guard queued.0 < limits.maximumQueuedPackets, queued.1 + byteCount <= limits.maximumQueuedBytes else {
      throw .queueFull
    }
    guard let number = sections[index].send?.numbers.use(packet.sequenceNumber) else { throw .sequenceNumberUsed }
    sections[index].send?.enqueue(
      SendStream.Queued(packet: packet, sequenceNumber: number, byteCount: byteCount))
  }

  /// Appends one packet, for which `out` must have `transmitCapacity` free: first what RTCP has to say, then in turn what
  /// the sections have to send, audio before video.
  @_lifetime(out: copy out)
  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> MediaPacketKind? {
    guard phase != .idle else { return nil }
    let start = out.byteCount
    if writeRTCP(into: &out, now: now) {
      counts.rtcpPacketsSent += 1
      schedule.rtcpPassed(out.byteCount - start)
      return .rtcp
    }
    guard phase == .running else { return nil }
    // Twice around: once for audio, once for video.
    for step in 0..<(2 * sections.count) {
      let index = (turn &+ step) % sections.count
      let kind = step < sections.count ? MediaKind.audio : .video
      guard sections[index].section.kind == kind, write(from: index, into: &out, now: now) else { continue }
      turn = (index + 1) % sections.count
      schedule.mediaPassed(out.byteCount - start)
      return .rtp
    }
    return nil
  }

  /// The room that a packet may need.
  package var transmitCapacity: Int { max(limits.maximumPacketSize + 2, limits.maximumRTCPSize) }

  // MARK: Sizes

  private func maximumByteCount(of packet: OutgoingRTP, in index: Int) -> Int {
    let ids = sections[index].section.extensionIDs
    let mid = sections[index].mid.count
    let form = Self.form(of: packet, mid: ids.mid == nil ? 0 : mid)
    let each = form == .oneByte ? 1 : 2
    var elements = 0
    if ids.mid != nil, mid > 0 { elements += each + mid }
    if ids.transportSequence != nil { elements += each + 2 }
    if ids.absoluteSendTime != nil { elements += each + 3 }
    for element in packet.extensions { elements += each + element.value.count }
    let extensionBytes = elements == 0 ? 0 : 4 + (elements + 3) & ~3
    return RTPHeader.byteCount + 4 * packet.contributingSources.count + extensionBytes + packet.payload.count
  }

  /// Two bytes for every element when one of the application's needs it. Ours never do: the identifiers of a
  /// description's first fourteen extensions fit, and a mid has at most 16 bytes in practice.
  private static func form(of packet: OutgoingRTP, mid: Int) -> RTPExtensionForm {
    mid > 16 ? .twoByte : RTPWriter.form(for: packet.extensions)
  }

  // MARK: Writing

  /// One packet of a section: what is asked for again goes first, because it is late already.
  @_lifetime(out: copy out)
  private mutating func write(from index: Int, into out: inout OutputRawSpan, now: Instant) -> Bool {
    while let number = sections[index].send?.repeats.popFirst() {
      if writeAgain(number, from: index, into: &out, now: now) { return true }
    }
    while let queued = sections[index].send?.dequeue() {
      if write(queued, from: index, into: &out, now: now) { return true }
    }
    return false
  }

  @_lifetime(out: copy out)
  private mutating func write(
    _ queued: SendStream.Queued, from index: Int, into out: inout OutputRawSpan, now: Instant
  ) -> Bool {
    // The payload type may have gone with a negotiation since.
    guard let format = sections[index].formats[Int(queued.packet.payloadType)],
      let isAcknowledged = sections[index].send?.media.isAcknowledged
    else { return false }
    let ids = sections[index].section.extensionIDs
    var sent = SentPacket(
      packet: queued.packet, sequenceNumber: queued.sequenceNumber, carriesMid: !isAcknowledged,
      byteCount: queued.byteCount, sentAt: now, lastSentAt: now)
    if ids.transportSequence != nil, format.hasTransportCC {
      sent.transportSequence = departures.send(byteCount: queued.byteCount, now: now)
    }
    if ids.absoluteSendTime != nil { sent.absoluteSendTime = AbsoluteSendTime(wallClock.ntpTime(at: now)) }
    let header = RTPHeader(
      marker: queued.packet.marker, payloadType: queued.packet.payloadType, sequenceNumber: queued.sequenceNumber,
      timestamp: queued.packet.timestamp, ssrc: sections[index].section.localSSRC)
    guard write(sent, as: header, repeating: nil, from: index, into: &out) else { return false }
    sections[index].counts.packetsSent += 1
    sections[index].counts.bytesSent += queued.packet.payload.count
    sections[index].send?.sent(sent, clockRate: format.clockRate, now: now)
    sections[index].send?.budget.sent(queued.byteCount)
    if format.hasNACK { sections[index].send?.history.insert(sent, now: now) }
    return true
  }

  /// False when the packet is not kept any more, or the share of retransmissions is used up.
  @_lifetime(out: copy out)
  private mutating func writeAgain(
    _ number: UInt16, from index: Int, into out: inout OutputRawSpan, now: Instant
  ) -> Bool {
    sections[index].send?.history.removeExpired(now: now)
    let kept = sections[index].send?.history.withPacket(number) { sent in
      sent.isQueued = false
      return sent
    }
    guard var sent = kept ?? nil, let format = sections[index].formats[Int(sent.packet.payloadType)],
      sections[index].send?.budget.take(sent.byteCount) == true
    else {
      sections[index].counts.retransmissionsRefused += 1
      return false
    }
    var header = RTPHeader(
      marker: sent.packet.marker, payloadType: sent.packet.payloadType, sequenceNumber: number,
      timestamp: sent.packet.timestamp, ssrc: sections[index].section.localSSRC)
    var original: UInt16?
    if let payloadType = format.repeatedBy, let rtx = sections[index].section.localRTXSSRC,
      let next = sections[index].send?.takeRTXSequence()
    {
      // A packet of its own, which may say when it left and whether its stream is known.
      original = number
      header.ssrc = rtx
      header.payloadType = payloadType
      header.sequenceNumber = next
      sent.carriesMid = sections[index].send?.retransmission.isAcknowledged != true
      if sent.transportSequence != nil { sent.transportSequence = departures.send(byteCount: sent.byteCount, now: now) }
      if sent.absoluteSendTime != nil { sent.absoluteSendTime = AbsoluteSendTime(wallClock.ntpTime(at: now)) }
    }
    guard write(sent, as: header, repeating: original, from: index, into: &out) else { return false }
    let payload = sent.packet.payload.count
    sections[index].send?.sentAgain(number, payload: payload, isSeparate: original != nil, now: now)
    sections[index].counts.packetsSent += 1
    sections[index].counts.bytesSent += payload
    sections[index].counts.packetsRetransmitted += 1
    sections[index].counts.bytesRetransmitted += payload
    return true
  }

  /// Writes a packet from its parts; the same parts always give the same bytes.
  /// - Parameter repeating: the number of the packet that a retransmission stream carries (RFC 4588 §4).
  @_lifetime(out: copy out)
  private func write(
    _ sent: SentPacket, as header: RTPHeader, repeating original: UInt16?, from index: Int,
    into out: inout OutputRawSpan
  ) -> Bool {
    let ids = sections[index].section.extensionIDs
    let mid = sent.carriesMid && ids.mid != nil ? sections[index].mid : []
    do throws(RTPEncodingError) {
      var writer = try RTPWriter(
        header, contributingSources: sent.packet.contributingSources,
        form: Self.form(of: sent.packet, mid: mid.count), into: &out)
      if let id = ids.mid, !mid.isEmpty { try writer.element(id, mid.rawSpan, into: &out) }
      if let id = ids.transportSequence, let number = sent.transportSequence {
        try writer.element(id, uint16: number, into: &out)
      }
      if let id = ids.absoluteSendTime, let time = sent.absoluteSendTime { try writer.element(id, time, into: &out) }
      for element in sent.packet.extensions where !ids.contains(element.id) {
        try writer.element(element.id, element.value.rawSpan, into: &out)
      }
      guard let original else {
        try writer.finish(sent.packet.payload.rawSpan, into: &out)
        return true
      }
      // The two bytes of the original number count as payload.
      guard out.freeCapacity >= 2 + sent.packet.payload.count else { throw .noRoom }
      out.writeUInt16(original)
      out.writeBytes(sent.packet.payload)
      return true
    } catch {
      assertionFailure("send has checked every part: \(error)")
      return false
    }
  }
}
