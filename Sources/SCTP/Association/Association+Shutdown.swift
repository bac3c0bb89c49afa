// Association+Shutdown.swift — ending in order and at once (RFC 9260 §9).

package import Wire

extension SCTPAssociation {
  /// Ends the association once everything queued has been acknowledged; nothing more is taken.
  package mutating func shutdown(now: Instant) {
    switch state {
    case .closed where !isTerminated, .cookieWait:
      close(.shutdown)
    case .cookieEchoed:
      shutsDownWhenEstablished = true
    case .established:
      state = .shutdownPending
      shutdownGuard = now + configuration.maximumRTO * Self.guardTimeouts
      advanceShutdown(now: now)
    default: break
    }
  }

  /// RFC 9260 §9.2: T5-shutdown-guard, five times RTO.Max.
  private static var guardTimeouts: Int64 { 5 }

  /// Ends the association now; what is queued is lost.
  package mutating func abort(reason: String = "", now: Instant) {
    switch state {
    case .closed where isTerminated: return
    case .closed, .cookieWait: close(.aborted)
    default: abort(.userInitiatedAbort(Array(reason.utf8)), reason: .aborted)
    }
  }

  /// All is acknowledged: SHUTDOWN, or the answer to the peer's.
  mutating func advanceShutdown(now: Instant) {
    guard sender.isDrained else { return }
    switch state {
    case .shutdownPending: state = .shutdownSent
    case .shutdownReceived: state = .shutdownAckSent
    default: return
    }
    shutdownDue = true
    shutdownTimer.start(now: now, initial: sender.roundTrip.timeout)
  }

  mutating func handleShutdown(_ chunk: borrowing Chunk, now: Instant) throws(Malformed) {
    switch state {
    case .established, .shutdownPending, .shutdownReceived, .shutdownSent: break
    case .shutdownAckSent:
      shutdownDue = true  // the peer missed our SHUTDOWN-ACK: it need not wait for our timer
      return
    default: return
    }
    guard chunk.value.byteCount >= 4 else { throw .truncated }
    let cumulative = TSN(rawValue: chunk.value.uint32(at: 0))
    // A number that was never sent is no acknowledgement (§9.2 would have it as a violation; it is dropped like a SACK).
    guard sender.handle(cumulative: cumulative, now: now) else { throw .badValue }
    errorCount = 0
    switch state {
    case .established, .shutdownPending:
      state = .shutdownReceived
      if shutdownGuard == nil { shutdownGuard = now + configuration.maximumRTO * Self.guardTimeouts }
    case .shutdownSent:
      // Both shut down: each answers the other (§9.2).
      state = .shutdownAckSent
      shutdownDue = true
      shutdownTimer.start(now: now, initial: sender.roundTrip.timeout)
    default: break
    }
    advanceAfterAcknowledgement(now: now)
  }

  mutating func handleShutdownAck(_ context: inout PacketContext) {
    guard state == .shutdownSent || state == .shutdownAckSent else { return }
    reply(
      tag: peerTag,
      collectBytes(capacity: ChunkHeader.byteCount) { out in
        ChunkHeader.writeEmpty(ChunkType.shutdownComplete, into: &out)
      })
    close(.shutdown)
    context.isOver = true
  }

  mutating func handleShutdownTimeout(now: Instant) {
    if let limit = shutdownGuard, limit <= now {
      return abort(.userInitiatedAbort(Array("shutdown timed out".utf8)), reason: .retransmissionLimit)
    }
    guard shutdownTimer.expire(now: now) else { return }
    shutdownDue = true
    sender.roundTrip.backOff()
    countError()
  }
}
