// PeerConnection+Media.swift — transceivers of a connection: added by the application or brought about by the peer's offer
// (W3C WebRTC 1.0 §5, RFC 9429 §4.1), and the way of their packets through the loop.

import DequeModule
import Logging
import Media
import Peer
import RTP
import SDP
import SRTP
import Wire

typealias Packets = Deque<RTPOutbox.Entry>

extension PeerConnection {
  /// What a transceiver can that a peer's offer has brought about.
  static var defaultCodecs: [RTP.MediaKind: [SDPCodec]] {
    [
      .audio: RTPCodec.defaults(for: .audio).map { SDPCodec($0) },
      .video: RTPCodec.defaults(for: .video).map { SDPCodec($0) },
    ]
  }

  /// libsrtp tests its ciphers once a process, which takes longer than a loop that others share should be held up.
  static func prepareMedia() {
    Task.detached {
      // What is wrong will be wrong again when the connection makes its keys, and is reported then.
      do { try SRTPLibrary.prepare() } catch {}
    }
  }

  // MARK: Transceivers

  /// Adds a section of audio or video to the next offer of this side. If the peer offers first, its first section of this
  /// kind that is not taken yet becomes this transceiver's.
  ///
  /// - Parameters:
  ///   - direction: not `stopped`.
  ///   - codecs: what this side can, its favourite first; nil: `RTPCodec.defaults(for:)`.
  /// - Throws: `PeerConnectionError.invalidParameter` or `.closed`.
  public func addTransceiver(
    kind: MediaKind, direction: RTPTransceiverDirection = .sendReceive, codecs: [RTPCodec]? = nil
  ) throws(PeerConnectionError) -> RTPTransceiver {
    guard let wanted = SDPDirection(direction) else { throw .invalidParameter("direction: stopped") }
    Self.prepareMedia()
    let codecs = codecs ?? RTPCodec.defaults(for: kind)
    guard !codecs.isEmpty else { throw .invalidParameter("no codec") }
    for codec in codecs { try codec.check(as: kind) }
    let added: Transceiver
    do {
      added = try machine.addTransceiver(.init(kind), direction: wanted, codecs: codecs.map { .init($0) })
    } catch {
      throw .init(error)
    }
    let transceiver = makeTransceiver(added)
    askForNegotiation()
    return transceiver
  }

  /// What has been received and sent on a transceiver; nil when it is not one of this connection's, or stopped.
  public func statistics(of transceiver: RTPTransceiver) -> RTPStatistics? {
    guard transceivers.contains(where: { $0 === transceiver }) else { return nil }
    return RTPStatistics(transceiver, machine.mediaStatistics(of: transceiver.id))
  }

  private func makeTransceiver(_ machine: Transceiver) -> RTPTransceiver {
    let transceiver = RTPTransceiver(
      id: machine.id, kind: MediaKind(machine.kind), ssrc: machine.ssrc,
      direction: RTPTransceiverDirection(machine.direction), outbox: outbox)
    transceivers.append(transceiver)
    return transceiver
  }

  /// Tells the machine which directions the application has set.
  func takeDirections() {
    for transceiver in transceivers {
      if let direction = SDPDirection(transceiver.direction) {
        machine.setDirection(direction, of: transceiver.id)
      } else {
        machine.stopTransceiver(transceiver.id)
      }
    }
    refreshTransceivers()
  }

  /// Lets the application know when media, or the first channel, needs another exchange of descriptions.
  func askForNegotiation() {
    if machine.needsMediaNegotiation { negotiationContinuation.yield() }
  }

  /// A description was set.
  func followDescriptions() {
    refreshTransceivers()
    for transceiver in transceivers {
      if transceiver.currentDirection?.receives == true {
        if announcedTracks.insert(transceiver.id).inserted { trackContinuation.yield(transceiver) }
      } else {
        announcedTracks.remove(transceiver.id)
      }
    }
    askForNegotiation()
  }

  /// Has each transceiver say what the machine knows of it.
  func refreshTransceivers() {
    let known = machine.allTransceivers
    guard !known.isEmpty || !transceivers.isEmpty else { return }
    let canSend = machine.canSendMedia
    for each in known {
      let transceiver = transceivers.first { $0.id == each.id } ?? makeTransceiver(each)
      transceiver.update(
        RTPTransceiver.Negotiated(
          mid: each.mid, direction: each.currentDirection.map { RTPTransceiverDirection($0) },
          codecs: each.mediaCodecs.map { RTPCodec($0, kind: transceiver.kind) },
          isSending: canSend && each.currentDirection?.sends == true,
          maximumPacketSize: machine.largestMediaPacket(of: each)))
    }
    for stopped in transceivers where !known.contains(where: { $0.id == stopped.id }) {
      stopped.close()
      announcedTracks.remove(stopped.id)
    }
    transceivers.removeAll { stopped in !known.contains { $0.id == stopped.id } }
  }

  func closeTransceivers() {
    outbox.close()
    for transceiver in transceivers { transceiver.close() }
    packets.removeAll()
    trackContinuation.finish()
  }

  // MARK: Down

  /// Moves what other threads have left about media into the machine, as far as it has room; the rest keeps its place.
  func takeOutbox(now: Instant) {
    let requests = outbox.take(into: &packets)
    for id in requests.deliveries { transceivers.first { $0.id == id }?.inbox.pump() }
    for keyframe in requests.keyframes {
      machine.requestKeyframe(of: keyframe.ssrc, from: keyframe.transceiver, now: now)
    }
    if requests.hasDirections {
      takeDirections()
      askForNegotiation()
    }
    while let entry = packets.popFirst() {
      do throws(MediaSendError) {
        try machine.send(OutgoingRTP(entry.packet), on: entry.transceiver, now: now)
      } catch .queueFull {
        packets.prepend(entry)
        return
      } catch {
        // Its state has changed since the packet was queued, or it repeats a number.
        packetsDropped &+= 1
        configuration.logger.debug("a packet was not sent: \(error)")
      }
    }
  }

  // MARK: Up

  func take(_ event: MediaEvent) {
    switch event {
    case .packet(let packet), .padding(let packet):
      transceivers.first { $0.id == packet.section }?.inbox.deliver(RTPPacket(packet))
    case .keyframeRequested(let section): transceivers.first { $0.id == section }?.keyframeRequested()
    case .bye(let section, let ssrc): configuration.logger.debug("stream \(ssrc) of section \(section) has ended")
    case .senderReport, .packetsAbandoned, .bandwidthEstimate, .transportFeedback: break
    }
  }
}

// MARK: Conversions

extension MediaKind {
  init(_ kind: RTP.MediaKind) {
    switch kind {
    case .audio: self = .audio
    case .video: self = .video
    }
  }
}

extension RTP.MediaKind {
  init(_ kind: MediaKind) {
    switch kind {
    case .audio: self = .audio
    case .video: self = .video
    }
  }
}

extension RTPTransceiverDirection {
  init(_ direction: SDPDirection) {
    switch direction {
    case .sendReceive: self = .sendReceive
    case .sendOnly: self = .sendOnly
    case .receiveOnly: self = .receiveOnly
    case .inactive: self = .inactive
    }
  }
}

extension SDPDirection {
  /// nil for `stopped`, which is none.
  init?(_ direction: RTPTransceiverDirection) {
    switch direction {
    case .sendReceive: self = .sendReceive
    case .sendOnly: self = .sendOnly
    case .receiveOnly: self = .receiveOnly
    case .inactive: self = .inactive
    case .stopped: return nil
    }
  }
}

extension RTPCodec {
  init(_ codec: SDPCodec, kind: MediaKind) {
    self.init(
      "\(kind.rawValue)/\(codec.name)", clockRate: codec.clockRate, channels: codec.channels,
      parameters: codec.parameters, feedback: codec.feedback, payloadType: codec.payloadType)
  }

  /// What goes into a description must not break out of its line (RFC 8866 §6.6).
  func check(as kind: MediaKind) throws(PeerConnectionError) {
    let parts = mimeType.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0].lowercased() == kind.rawValue, !parts[1].isEmpty,
      parts[1].utf8.allSatisfy({ (0x21...0x7e).contains($0) })
    else { throw .invalidParameter("\(mimeType) is no codec for \(kind)") }
    guard clockRate > 0, (1...255).contains(channels) else {
      throw .invalidParameter("\(mimeType): clock rate \(clockRate), channels \(channels)")
    }
    guard ([parameters] + feedback).allSatisfy({ $0.utf8.allSatisfy { (0x20...0x7e).contains($0) } }) else {
      throw .invalidParameter("\(mimeType): its parameters have characters that a description cannot carry")
    }
    guard payloadType.map({ $0 < 64 || (96...127).contains($0) }) != false else {
      throw .invalidParameter("\(mimeType): the payload type is not one of 0 to 63 or 96 to 127")
    }
  }
}

extension SDPCodec {
  init(_ codec: RTPCodec) {
    self.init(
      payloadType: codec.payloadType ?? SDPCodec.anyNumber, name: codec.name, clockRate: codec.clockRate,
      channels: codec.channels, parameters: codec.parameters, feedback: codec.feedback)
  }
}

extension RTPPacket {
  init(_ packet: IncomingRTP) {
    self.init(
      payloadType: packet.payloadType, marker: packet.marker, sequenceNumber: packet.sequenceNumber,
      timestamp: packet.timestamp, ssrc: packet.ssrc, contributingSources: packet.contributingSources,
      extensions: packet.extensions.map { Extension(id: $0.id, bytes: $0.value) }, rid: packet.rid,
      payload: packet.payload)
  }
}

extension OutgoingRTP {
  init(_ packet: RTPPacket) {
    self.init(
      payloadType: packet.payloadType, marker: packet.marker, sequenceNumber: packet.sequenceNumber,
      timestamp: packet.timestamp, contributingSources: packet.contributingSources,
      extensions: packet.extensions.map { RTPExtension(id: $0.id, value: $0.bytes) }, payload: packet.payload)
  }
}
