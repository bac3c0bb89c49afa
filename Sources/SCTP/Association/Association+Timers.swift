// Association+Timers.swift — everything that happens because time has passed (RFC 9260 §6.3, §8).

package import Wire

/// Asks whether the peer lives when nothing else tells (RFC 9260 §8.3).
struct Heartbeat {
  /// When to look next: whether to ask, or whether the question was answered.
  var deadline: Instant?
  /// The question in flight.
  var nonce: UInt64?
  var isDue = false
  /// When data was last sent; while data flows, its acknowledgements are sign of life enough.
  var lastDataAt: Instant?

  mutating func start(now: Instant, interval: Interval) {
    self = Heartbeat()
    deadline = now + interval
  }
}

extension SCTPAssociation {
  /// When `handleTimeout` is due; nil: nothing is pending.
  package var deadline: Instant? {
    var result = earliest(sender.deadline, receiver.deadline)
    result = earliest(result, heartbeat.deadline)
    result = earliest(result, pathMTU.deadline)
    result = earliest(result, reset.request?.timer.deadline)
    result = earliest(result, initiationTimer.deadline)
    result = earliest(result, shutdownTimer.deadline)
    return earliest(result, shutdownGuard)
  }

  /// Does what is due at `now`; every deadline that has passed moves on.
  package mutating func handleTimeout(now: Instant) {
    handleInitiationTimeout(now: now)
    switch sender.handleTimeout(now: now) {
    case .none, .probe: break
    case .counts where state == .cookieEchoed: break  // it went behind the cookie, whose own timer counts
    case .counts:
      pathMTU.noteTimeout(now: now, patience: probePatience)
      countError()
    }
    noteLosses(now: now)
    pathMTU.handleTimeout(now: now, patience: probePatience)
    receiver.handleTimeout(now: now)
    if reset.request != nil { handleReconfigTimeout(now: now) }
    handleShutdownTimeout(now: now)
    handleHeartbeatTimeout(now: now)
    // What was given up may have been all that a reset or a shutdown waited for.
    if !isTerminated, state != .closed { advanceAfterAcknowledgement(now: now) }
    assert(deadline.map { $0 > now } ?? true, "every deadline that has passed moves on")
  }

  /// One more sign that the peer may be gone (§8.1).
  mutating func countError() {
    errorCount += 1
    if errorCount > configuration.maximumRetransmits { close(.retransmissionLimit) }
  }

  // MARK: HEARTBEAT

  private mutating func handleHeartbeatTimeout(now: Instant) {
    guard let due = heartbeat.deadline, due <= now else { return }
    if heartbeat.nonce != nil {
      heartbeat.nonce = nil
      countError()
      guard !isTerminated else { return }
    }
    let quietSince = heartbeat.lastDataAt.map { $0 + configuration.heartbeatInterval }
    if let quietSince, quietSince > now {
      heartbeat.deadline = quietSince
      return
    }
    guard state == .established || state == .shutdownPending || state == .shutdownReceived else {
      heartbeat.deadline = now + configuration.heartbeatInterval
      return
    }
    heartbeat.nonce = random.next()
    heartbeat.isDue = true
    heartbeat.deadline = now + (errorCount == 0 ? configuration.heartbeatInterval : sender.roundTrip.timeout)
  }

  /// The question, with a nonce that only we know: a forged answer proves nothing.
  func writeHeartbeat(nonce: UInt64, into out: inout OutputRawSpan, now: Instant) {
    out.writeUInt32(UInt32(ChunkType.heartbeat) << 24 | UInt32(Self.heartbeatByteCount))
    out.writeUInt32(UInt32(ParameterType.heartbeatInfo) << 16 | UInt32(Self.heartbeatByteCount - 4))
    out.writeUInt64(nonce)
    out.writeUInt64(UInt64(bitPattern: now.nanoseconds))
  }

  static var heartbeatByteCount: Int { 24 }

  /// Answers with the peer's own bytes, unless they would not fit a packet (§8.3).
  mutating func handleHeartbeat(_ chunk: borrowing Chunk) {
    guard state != .closed, state != .cookieWait, state != .cookieEchoed else { return }
    let length = chunk.whole.byteCount
    guard PacketHeader.byteCount + (length + 3) & ~3 <= configuration.maximumPacketSize else { return }
    let value = chunk.value.copyBytes()
    enqueueControl(
      collectBytes(capacity: (length + 3) & ~3) { out in
        let start = ChunkHeader.begin(ChunkType.heartbeatAck, into: &out)
        out.writeBytes(value)
        ChunkHeader.finish(chunkAt: start, into: &out)
      })
  }

  mutating func handleHeartbeatAck(_ chunk: borrowing Chunk, now: Instant) {
    guard chunk.whole.byteCount >= Self.heartbeatByteCount else { return }
    let value = chunk.value
    let nonce = UInt64(value.uint32(at: 4)) << 32 | UInt64(value.uint32(at: 8))
    if pathMTU.handleAnswer(nonce: nonce, now: now) { return }
    guard nonce == heartbeat.nonce else { return }
    let sentAt = Instant(
      nanoseconds: Int64(bitPattern: UInt64(value.uint32(at: 12)) << 32 | UInt64(value.uint32(at: 16))))
    heartbeat.nonce = nil
    heartbeat.deadline = now + configuration.heartbeatInterval
    errorCount = 0
    if sentAt <= now { sender.roundTrip.sample(now - sentAt) }
  }
}
