// Association+Outbound.swift — building the next packet, in place (RFC 9260 §6.10).
//
// What is due is decided now and not when it arose, so that one SACK answers a batch, and chunks share packets.

import DequeModule
package import Wire

extension SCTPAssociation {
  /// Writes one packet of at most `largestPacket` bytes, with its checksum, behind what the buffer already holds.
  ///
  /// - Returns: whether a packet was written.
  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> Bool {
    guard out.freeCapacity >= largestPacket else { return false }
    let start = out.byteCount
    if let next = replies.popFirst() {
      writeHeader(tag: next.tag, into: &out)
      out.writeBytes(next.chunk)
      finishPacket(at: start, checksummed: true, into: &out)
      return true
    }
    switch state {
    case .closed: return false
    case .cookieWait:
      guard initiationDue else { return false }
      initiationDue = false
      writeHeader(tag: 0, into: &out)
      ownInit(
        tag: localTag, tsn: localInitialTSN, streams: configuration.outboundStreams, extensions: offered
      ).write(type: ChunkType.initiation, into: &out)
    case .cookieEchoed:
      guard initiationDue else { return false }
      initiationDue = false
      writeHeader(tag: peerTag, into: &out)
      let cookie = ChunkHeader.begin(ChunkType.cookieEcho, into: &out)
      out.writeBytes(cookieToEcho)
      ChunkHeader.finish(chunkAt: cookie, into: &out)
      writeControl(limit: start + configuration.maximumPacketSize, into: &out)
      // §5.1 C: data may come behind the cookie, and in no other packet before the cookie is acknowledged.
      if sender.isReady(now: now),
        sender.writeData(limit: start + configuration.maximumPacketSize, into: &out, now: now)
      {
        heartbeat.lastDataAt = now
      }
    case .established where pathMTU.hasProbeDue && !cookieAckDue:
      guard let probe = pathMTU.pollProbe(random: &random) else { return false }
      writeHeader(tag: peerTag, into: &out)
      writeProbe(probe, into: &out, now: now)
    default:
      guard hasSomethingDue(now: now) else { return false }
      sender.adopt(pathPacketSize: pathMTU.size)
      writeHeader(tag: peerTag, into: &out)
      writeChunks(limit: start + packetSize, into: &out, now: now)
      guard out.byteCount > start + PacketHeader.byteCount else {
        // All data that was due has just expired; that may be what something else waited for.
        out.removeLast(PacketHeader.byteCount)
        advanceAfterAcknowledgement(now: now)
        if shutdownDue || reset.request?.isDue == true || sender.isForwardTSNDue {
          return pollTransmit(into: &out, now: now)
        }
        return false
      }
    }
    // RFC 9653 §5.2: INIT, COOKIE-ECHO and what answers strays carry the checksum in any case.
    let isUp = state != .cookieWait && state != .cookieEchoed
    finishPacket(at: start, checksummed: !(isUp && agreed.contains(.zeroChecksum)), into: &out)
    return true
  }

  /// The longest packet that is ever written, probes included.
  package var largestPacket: Int { max(configuration.maximumPacketSize, configuration.maximumProbedPacketSize) }

  private mutating func hasSomethingDue(now: Instant) -> Bool {
    if receiver.mustAcknowledge || cookieAckDue || shutdownDue || heartbeat.isDue || !control.isEmpty { return true }
    if reset.request?.isDue == true || sender.isForwardTSNDue { return true }
    return mayCarryData && sender.isReady(now: now)
  }

  private var mayCarryData: Bool {
    switch state {
    case .established, .shutdownPending, .shutdownReceived: true
    default: false
    }
  }

  /// Control chunks before data (§6.10); what does not fit goes into the next packet.
  private mutating func writeChunks(limit: Int, into out: inout OutputRawSpan, now: Instant) {
    if cookieAckDue {
      cookieAckDue = false
      ChunkHeader.writeEmpty(ChunkType.cookieAck, into: &out)
    }
    let sendsData = mayCarryData && sender.isReady(now: now)
    if receiver.mustAcknowledge || sendsData && receiver.mayAcknowledge {
      receiver.writeSack(room: limit - out.byteCount, into: &out)
    }
    writeControl(limit: limit, into: &out)
    if let request = reset.request, request.isDue, out.byteCount + request.parameter.chunkByteCount <= limit {
      reset.request?.isDue = false
      request.parameter.write(into: &out)
    }
    if sender.isForwardTSNDue { sender.writeForwardTSN(room: limit - out.byteCount, into: &out, now: now) }
    if heartbeat.isDue, out.byteCount + Self.heartbeatByteCount <= limit {
      heartbeat.isDue = false
      if let nonce = heartbeat.nonce { writeHeartbeat(nonce: nonce, into: &out, now: now) }
    }
    if shutdownDue, out.byteCount + 2 * ChunkHeader.byteCount <= limit {
      shutdownDue = false
      writeShutdown(into: &out)
    }
    if sendsData, sender.writeData(limit: limit, into: &out, now: now) { heartbeat.lastDataAt = now }
    // Data that expired instead of being sent may have been the last that a reset or a shutdown waited for.
    if sendsData { advanceAfterAcknowledgement(now: now) }
  }

  private mutating func writeControl(limit: Int, into out: inout OutputRawSpan) {
    while let next = control.first, out.byteCount + next.count <= limit {
      out.writeBytes(next)
      control.removeFirst()
    }
  }

  private mutating func writeShutdown(into out: inout OutputRawSpan) {
    switch state {
    case .shutdownSent:
      out.writeUInt32(UInt32(ChunkType.shutdown) << 24 | 8)
      out.writeUInt32(receiver.tracker.cumulativeTSN.rawValue)
    case .shutdownAckSent:
      ChunkHeader.writeEmpty(ChunkType.shutdownAck, into: &out)
    default: break
    }
  }

  private func writeHeader(tag: UInt32, into out: inout OutputRawSpan) {
    PacketHeader(
      sourcePort: configuration.sourcePort, destinationPort: configuration.destinationPort, verificationTag: tag
    ).write(into: &out)
  }

  private mutating func finishPacket(at start: Int, checksummed: Bool, into out: inout OutputRawSpan) {
    if checksummed { PacketChecksum.patch(&out, packetAt: start) }
    counters.packetsSent += 1
    counters.bytesSent += UInt64(out.byteCount - start)
  }
}
