// MediaSession+Inbound.swift — an RTP packet's way up: to its stream, past the checks of its number, to the application
// (RFC 3550 A.1, RFC 4588).
//
// Packets go up in the order of their arrival, each once. A packet of nothing but padding probes the path: it counts as
// received, and is told as an event of its own.

import RTP
package import Wire

extension MediaSession {
  package mutating func handleRTP(_ packet: RawSpan, now: Instant) {
    guard phase == .running else { return }
    do throws(Malformed) {
      receive(try RTPPacketView(packet), now: now)
    } catch {
      counts.malformedRTP += 1
    }
  }

  private mutating func receive(_ view: borrowing RTPPacketView, now: Instant) {
    let header = view.header
    guard let index = receiver(of: view, now: now) else { return }
    let section = receivers[index].section
    guard let format = sections[section].formats[Int(header.payloadType)] else {
      counts.unwantedPackets += 1
      return
    }
    schedule.mediaPassed(view.packet.byteCount)
    latestSSRC = header.ssrc
    receivers[index].lastPacketAt = now
    recordArrival(view, now: now)

    if case .retransmission(let original) = receivers[index].role {
      guard format.rtxFor != nil else {
        counts.unwantedPackets += 1
        return
      }
      receiveRetransmission(view, on: index, of: original, format: format, now: now)
    } else {
      guard format.rtxFor == nil else {
        counts.unwantedPackets += 1
        return
      }
      receiveMedia(view, on: index, format: format, now: now)
    }
  }

  /// Whatever carries a number is told of: the numbers are the transport's, not a section's.
  private mutating func recordArrival(_ view: borrowing RTPPacketView, now: Instant) {
    guard usesTransportCC, let id = extensionIDs.transportSequence,
      let value = view.extensionValue(id), value.byteCount == 2
    else { return }
    arrivals.receive(value.uint16(at: 0), now: now)
  }

  // MARK: Media

  private mutating func receiveMedia(
    _ view: borrowing RTPPacketView, on index: Int, format: PayloadFormat, now: Instant
  ) {
    let header = view.header
    let section = receivers[index].section
    var isRecovered = false
    switch receivers[index].tracker.receive(header.sequenceNumber) {
    case .new(_, let missing):
      receivers[index].hasEnded = false
      receivers[index].jitter.receive(timestamp: header.timestamp, clockRate: format.clockRate, now: now)
      if format.hasNACK { receivers[index].requester.missed(missing, now: now) }
    case .late(let number):
      let requests = arrived(number, on: index, now: now)
      isRecovered = requests > 0
      // A packet that was asked for again tells nothing of how the path delays.
      if !isRecovered {
        receivers[index].jitter.receive(timestamp: header.timestamp, clockRate: format.clockRate, now: now)
      }
    case .restarted:
      receivers[index].requester.removeAll()
      receivers[index].jitter.receive(timestamp: header.timestamp, clockRate: format.clockRate, now: now)
    case .duplicate:
      sections[section].counts.duplicatePackets += 1
      return
    case .onProbation:
      if receivers[index].held != nil { counts.invalidSequences += 1 }
      receivers[index].held = incoming(view, header, payload: view.payload, stream: index, now: now)
      return
    case .jumped:
      counts.invalidSequences += 1
      return
    }
    receivers[index].payloadType = header.payloadType
    receivers[index].isHeardSinceReport = true
    if let held = receivers[index].held {
      receivers[index].held = nil
      deliver(held, of: index)
    }
    var packet = incoming(view, header, payload: view.payload, stream: index, now: now)
    packet.isRecovered = isRecovered
    deliver(packet, of: index)
  }

  /// A missing packet is there.
  /// - Returns: how often it was asked for.
  private mutating func arrived(_ number: Int, on index: Int, now: Instant) -> Int {
    let (requests, sample) = receivers[index].requester.arrived(number, now: now)
    if let sample { roundTrip.recovered(sample) }
    if requests > 0 { sections[receivers[index].section].counts.packetsRecovered += 1 }
    return requests
  }

  // MARK: Retransmission streams

  private mutating func receiveRetransmission(
    _ view: borrowing RTPPacketView, on index: Int, of original: UInt32?, format: PayloadFormat, now: Instant
  ) {
    // The stream itself is one like any other: its loss and jitter are reported.
    switch receivers[index].tracker.receive(view.header.sequenceNumber) {
    case .new, .late, .restarted:
      receivers[index].hasEnded = false
      receivers[index].isHeardSinceReport = true
      receivers[index].payloadType = view.header.payloadType
      receivers[index].jitter.receive(timestamp: view.header.timestamp, clockRate: format.clockRate, now: now)
    case .duplicate:
      sections[receivers[index].section].counts.duplicatePackets += 1
      return
    case .jumped:
      counts.invalidSequences += 1
      return
    case .onProbation: break  // what it carries is judged by the stream that it belongs to
    }
    guard view.payload.byteCount > 0 else {
      sections[receivers[index].section].counts.paddingPackets += 1
      return
    }
    guard view.payload.byteCount >= 2, let payloadType = format.rtxFor else {
      counts.malformedRTP += 1
      return
    }
    var header = view.header
    header.sequenceNumber = view.payload.uint16(at: 0)
    header.payloadType = payloadType
    guard let media = repeatedStream(of: index, original: original, number: header.sequenceNumber, view) else {
      counts.unassociatedRetransmissions += 1
      return
    }
    header.ssrc = receivers[media].ssrc
    deliverRepeated(view, header, on: media, format: format, now: now)
  }

  private mutating func deliverRepeated(
    _ view: borrowing RTPPacketView, _ header: RTPHeader, on index: Int, format: PayloadFormat, now: Instant
  ) {
    let section = receivers[index].section
    switch receivers[index].tracker.recover(header.sequenceNumber) {
    case .new(_, let missing):
      // Newer than all that came: the packets before it may be on their way, on the other stream.
      if format.hasNACK { receivers[index].requester.missed(missing, now: now) }
    case .late(let number): _ = arrived(number, on: index, now: now)
    case .duplicate, .restarted:
      sections[section].counts.duplicatePackets += 1
      return
    case .onProbation, .jumped:
      counts.invalidSequences += 1
      return
    }
    let payload = view.payload.extracting(2..<view.payload.byteCount)
    var packet = incoming(view, header, payload: payload, stream: index, now: now)
    packet.isRecovered = true
    deliver(packet, of: index)
  }

  /// The stream that a retransmission belongs to: by the description, by name, by what is being asked for (RFC 4588
  /// §5.3), or because there is only one. What is found once, holds.
  private mutating func repeatedStream(
    of index: Int, original: UInt32?, number: UInt16, _ view: borrowing RTPPacketView
  ) -> Int? {
    if let original { return receiverIndex[original].flatMap { receivers[$0].isMedia ? $0 : nil } }
    let section = receivers[index].section
    var found: Int?
    if let id = extensionIDs.repairedRid, let value = view.extensionValue(id), let rid = Self.rid(value) {
      found = receivers.firstIndex { $0.section == section && $0.isMedia && $0.rid == rid }
    } else {
      let streams = receivers.indices.filter { receivers[$0].section == section && receivers[$0].isMedia }
      let wanting = streams.filter { receivers[$0].requester.isWanted(number) }
      found = wanting.count == 1 ? wanting[0] : (streams.count == 1 ? streams[0] : nil)
    }
    if let found { receivers[index].role = .retransmission(of: receivers[found].ssrc) }
    return found
  }

  // MARK: Up

  private func incoming(
    _ view: borrowing RTPPacketView, _ header: RTPHeader, payload: RawSpan, stream index: Int, now: Instant
  ) -> IncomingRTP {
    var packet = IncomingRTP(
      section: sections[receivers[index].section].section.id, ssrc: header.ssrc, rid: receivers[index].rid,
      payloadType: header.payloadType, marker: header.marker, sequenceNumber: header.sequenceNumber,
      timestamp: header.timestamp, isRecovered: false, receivedAt: now, absoluteSendTime: nil, contributingSources: [],
      extensions: [], payload: payload.copyBytes())
    if view.contributingSourceCount > 0 { packet.contributingSources = view.contributingSources }
    var elements = view.extensions
    while let element = elements.next() {
      if element.id == extensionIDs.absoluteSendTime {
        packet.absoluteSendTime = Self.sendTime(element.value)
      } else if !extensionIDs.contains(element.id) {
        packet.extensions.append(RTPExtension(id: element.id, value: element.value.copyBytes()))
      }
    }
    return packet
  }

  private mutating func deliver(_ packet: IncomingRTP, of index: Int) {
    let section = receivers[index].section
    sections[section].counts.packetsReceived += 1
    sections[section].counts.bytesReceived += packet.payload.count
    if packet.payload.isEmpty {
      sections[section].counts.paddingPackets += 1
      emit(.padding(packet))
    } else {
      emit(.packet(packet))
    }
  }

  private static func sendTime(_ value: RawSpan) -> AbsoluteSendTime? {
    do throws(Malformed) { return try AbsoluteSendTime(value) } catch { return nil }
  }

  static func rid(_ value: RawSpan) -> String? {
    do throws(Malformed) { return try RTPExtensionValue.rid(value) } catch { return nil }
  }
}
