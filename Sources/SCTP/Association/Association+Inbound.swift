// Association+Inbound.swift — a packet's way in: checks, then chunk by chunk (RFC 9260 §5, §6.2, §8.4, §8.5).

package import Wire

extension SCTPAssociation {
  /// Takes one SCTP packet. Whatever it holds, the work is bounded by its length and the constants of this module.
  package mutating func handle(_ packet: RawSpan, now: Instant) {
    do throws(Malformed) {
      try handlePacket(packet, now: now)
    } catch {
      counters.packetsDropped += 1
    }
  }

  private mutating func handlePacket(_ packet: RawSpan, now: Instant) throws(Malformed) {
    let header = try PacketHeader(packet)
    // RFC 9653 §5.3: a checksum that is not zero must be right all the same.
    guard acceptsZeroChecksum && PacketChecksum.isAbsent(packet) || PacketChecksum.isCorrect(packet) else {
      throw .badChecksum
    }
    guard header.sourcePort == configuration.destinationPort, header.destinationPort == configuration.sourcePort else {
      throw .badValue
    }
    counters.packetsReceived += 1
    counters.bytesReceived += UInt64(packet.byteCount)

    var chunks = ChunkReader(packet)
    guard let first = try chunks.next() else { throw .truncated }
    guard try admits(first, rest: chunks, tag: header.verificationTag, now: now) else { return }

    var context = PacketContext(tag: header.verificationTag)
    try handle(first, &context, now: now)
    while !context.isOver, let chunk = try chunks.next() {
      switch chunk.type {
      // §6.10: they travel alone; behind another chunk they mean nothing.
      case ChunkType.initiation, ChunkType.initiationAck, ChunkType.shutdownComplete: context.isOver = true
      default: try handle(chunk, &context, now: now)
      }
    }
    if context.carriedData, !isTerminated { endOfDataPacket(now: now) }
  }

  /// What the chunks of one packet share.
  struct PacketContext {
    var tag: UInt32
    /// The rest of the packet is not to be looked at.
    var isOver = false
    var carriedData = false
    var reports = 0

    /// Unknown chunks and bad stream numbers reported for one packet: a bundle of thousands must not yield thousands.
    static let maximumReports = 4
  }

  /// The rules for verification tags (§8.5, §8.5.1) and for packets out of the blue (§8.4).
  ///
  /// - Returns: whether the packet is to be processed; throws when it is to be dropped.
  private mutating func admits(
    _ first: borrowing Chunk, rest: borrowing ChunkReader, tag: UInt32, now: Instant
  ) throws(Malformed) -> Bool {
    let isAlone = rest.isAtEnd
    switch first.type {
    case ChunkType.initiation:
      // §6.10: INIT, INIT-ACK and SHUTDOWN-COMPLETE travel alone.
      guard tag == 0, isAlone else { throw .badValue }
      return true
    case ChunkType.abort:
      let isReflected = first.flags & reflectedTagFlag != 0
      guard state != .closed, isReflected ? tag == peerTag && peerTag != 0 : tag == localTag else { throw .badValue }
      return true
    case ChunkType.shutdownComplete:
      let isReflected = first.flags & reflectedTagFlag != 0
      guard isAlone, state == .shutdownAckSent, tag == (isReflected ? peerTag : localTag) else { throw .badValue }
      return true
    case ChunkType.cookieEcho:
      return true  // the tag is compared with the one in the cookie
    default: break
    }
    switch state {
    case .closed:
      if try !hasAbort(rest) { answerStray(first, tag: tag) }
      return false
    case .cookieWait, .cookieEchoed:
      if first.type == ChunkType.shutdownAck {
        answerStray(first, tag: tag)
        return false
      }
    default: break
    }
    guard tag == localTag else { throw .badValue }
    if first.type == ChunkType.initiationAck, !isAlone { throw .badValue }
    return true
  }

  /// §8.4 (2): an ABORT is never answered, wherever in the packet it stands, or two of our kind would go on for ever.
  private func hasAbort(_ chunks: borrowing ChunkReader) throws(Malformed) -> Bool {
    var chunks = copy chunks
    while let chunk = try chunks.next() {
      if chunk.type == ChunkType.abort { return true }
    }
    return false
  }

  /// §8.4, for an association that does not exist here (any more).
  private mutating func answerStray(_ first: borrowing Chunk, tag: UInt32) {
    switch first.type {
    case ChunkType.shutdownAck:
      reply(
        tag: tag,
        collectBytes(capacity: ChunkHeader.byteCount) { out in
          ChunkHeader.writeEmpty(ChunkType.shutdownComplete, flags: reflectedTagFlag, into: &out)
        })
    case ChunkType.cookieAck, ChunkType.error:
      break  // §8.4: a late answer in a handshake that was given up
    default:
      // Before we connect, nothing is owed to anyone; a peer that goes on after the end is told.
      guard isTerminated else { return }
      reply(
        tag: tag,
        collectBytes(capacity: ChunkHeader.byteCount) { out in
          ChunkHeader.writeEmpty(ChunkType.abort, flags: reflectedTagFlag, into: &out)
        })
    }
  }

  private mutating func handle(
    _ chunk: borrowing Chunk, _ context: inout PacketContext, now: Instant
  ) throws(Malformed) {
    switch chunk.type {
    case ChunkType.data: try handleData(chunk, &context)
    case ChunkType.sack: try handleSack(chunk, now: now)
    case ChunkType.interleavedData: try handleInterleavedData(chunk, &context)
    case ChunkType.forwardTSN, ChunkType.interleavedForwardTSN: try handleForwardTSN(chunk, &context)
    case ChunkType.initiation: try handleInit(chunk, now: now)
    case ChunkType.initiationAck: try handleInitAck(chunk, now: now)
    case ChunkType.cookieEcho: handleCookieEcho(chunk, &context, now: now)
    case ChunkType.cookieAck: handleCookieAck(now: now)
    case ChunkType.heartbeat: handleHeartbeat(chunk)
    case ChunkType.heartbeatAck: handleHeartbeatAck(chunk, now: now)
    case ChunkType.abort: handleAbort(chunk, &context, now: now)
    case ChunkType.error: try handleError(chunk, now: now)
    case ChunkType.shutdown: try handleShutdown(chunk, now: now)
    case ChunkType.shutdownAck: handleShutdownAck(&context)
    case ChunkType.shutdownComplete:
      // Only as the first and only chunk: `handlePacket` and `admits` have seen to that.
      if state == .shutdownAckSent { close(.shutdown) }
      context.isOver = true
    case ChunkType.reconfig: try handleReconfig(chunk, now: now)
    default: handleUnknown(chunk, &context)
    }
    if isTerminated { context.isOver = true }
  }

  private mutating func handleUnknown(_ chunk: borrowing Chunk, _ context: inout PacketContext) {
    let action = UnknownTypeAction(chunkType: chunk.type)
    if action.reports, context.reports < PacketContext.maximumReports {
      context.reports += 1
      let echo = chunk.whole.extracting(first: ErrorCause.maximumInformation)
      enqueueControl(ErrorCause.unrecognizedChunk(echo.copyBytes()).chunk(type: ChunkType.error))
    }
    if action.stops { context.isOver = true }
  }

  // MARK: Data

  private var takesData: Bool {
    switch state {
    case .established, .shutdownPending, .shutdownSent: true
    default: false
    }
  }

  private mutating func handleData(_ chunk: borrowing Chunk, _ context: inout PacketContext) throws(Malformed) {
    guard takesData, isAgreed(interleaved: false) else { return }
    let header = try DataHeader(chunk)
    let payload = DataHeader.userData(of: chunk)
    guard accepts(payload, tsn: header.tsn, &context) else { return }
    conclude(
      isKnown(header.stream) ? receiver.handle(header, payload) : refuse(header.stream, header.tsn, &context))
  }

  private mutating func handleInterleavedData(
    _ chunk: borrowing Chunk, _ context: inout PacketContext
  ) throws(Malformed) {
    guard takesData, isAgreed(interleaved: true) else { return }
    let header = try InterleavedDataHeader(chunk)
    let payload = InterleavedDataHeader.userData(of: chunk)
    guard accepts(payload, tsn: header.tsn, &context) else { return }
    conclude(
      isKnown(header.stream) ? receiver.handle(header, payload) : refuse(header.stream, header.tsn, &context))
  }

  /// RFC 8260 §2.2.1: either kind of data is used, never both; the other one ends the association.
  private mutating func isAgreed(interleaved: Bool) -> Bool {
    if interleaved == peerSupportsInterleaving { return true }
    abortForViolation(interleaved ? "I-DATA without agreement" : "DATA in spite of I-DATA")
    return false
  }

  private mutating func accepts(_ payload: RawSpan, tsn: TSN, _ context: inout PacketContext) -> Bool {
    guard payload.byteCount > 0 else {
      abort(.noUserData(tsn), reason: .protocolViolation("DATA without user data"))
      return false
    }
    counters.chunksReceived += 1
    context.carriedData = true
    return true
  }

  private func isKnown(_ stream: UInt16) -> Bool { stream < configuration.inboundStreams }

  /// §6.5: data on a stream that does not exist is acknowledged, reported, and dropped.
  private mutating func refuse(_ stream: UInt16, _ tsn: TSN, _ context: inout PacketContext) -> DataReceiver.Outcome {
    let outcome = receiver.acknowledgeOnly(tsn)
    if outcome == .taken, context.reports < PacketContext.maximumReports {
      context.reports += 1
      enqueueControl(ErrorCause.invalidStream(stream).chunk(type: ChunkType.error))
    }
    return outcome
  }

  private mutating func conclude(_ outcome: DataReceiver.Outcome) {
    switch outcome {
    case .taken: break
    case .duplicate: counters.chunksDuplicated += 1
    case .refused: counters.chunksRefused += 1
    case .violation(let violation): abortForViolation(violation.description)
    }
  }

  private mutating func endOfDataPacket(now: Instant) {
    receiver.endOfPacket(
      now: now, delay: configuration.acknowledgementDelay, roundTrip: sender.roundTrip.smoothed)
    performDeferredReset()
    // §9.2: data that comes after our SHUTDOWN is answered by another.
    if state == .shutdownSent {
      receiver.acknowledgeSoon()
      shutdownDue = true
      shutdownTimer.start(now: now, initial: sender.roundTrip.timeout)
    }
  }

  private mutating func handleForwardTSN(
    _ chunk: borrowing Chunk, _ context: inout PacketContext
  ) throws(Malformed) {
    guard takesData else { return }
    let isInterleaved = chunk.type == ChunkType.interleavedForwardTSN
    guard isAgreed(interleaved: isInterleaved) else { return }
    // RFC 3758 §3.3.1: never agreed on, so it is a chunk of an unknown type.
    guard peerSupportsForwardTSN else { return handleUnknown(chunk, &context) }
    let outcome =
      isInterleaved
      ? receiver.handle(try InterleavedForwardTSNChunk(chunk)) : receiver.handle(try ForwardTSNChunk(chunk))
    switch outcome {
    case .violation(let violation): abortForViolation(violation.description)
    case .refused: counters.chunksRefused += 1
    case .taken, .duplicate: context.carriedData = true
    }
  }

  private mutating func abortForViolation(_ words: String) {
    abort(.protocolViolation(Array(words.utf8)), reason: .protocolViolation(words))
  }

  private mutating func handleSack(_ chunk: borrowing Chunk, now: Instant) throws(Malformed) {
    switch state {
    case .established, .shutdownPending, .shutdownReceived, .shutdownSent: break
    default: return
    }
    let sack = try SackChunk(chunk)
    guard let isProgress = sender.handle(sack, now: now) else { throw .badValue }
    noteLosses(now: now)
    if isProgress { errorCount = 0 }
    advanceAfterAcknowledgement(now: now)
  }

  /// What waits for data to be acknowledged: a stream's reset, a shutdown.
  mutating func advanceAfterAcknowledgement(now: Instant) {
    if sender.queue.hasDrainedResettingStream { startReset(now: now) }
    if state == .shutdownPending || state == .shutdownReceived { advanceShutdown(now: now) }
  }

  // MARK: Small chunks

  private mutating func handleAbort(_ chunk: borrowing Chunk, _ context: inout PacketContext, now: Instant) {
    context.isOver = true
    if retryAfterAbort(now: now) { return }
    var causes = ParameterReader(chunk.value)
    // An ABORT counts even when its causes cannot be read.
    var code: UInt16?
    do throws(Malformed) { code = try causes.next()?.type } catch { code = nil }
    close(.abortedByPeer(cause: code))
  }

  private mutating func handleError(_ chunk: borrowing Chunk, now: Instant) throws(Malformed) {
    guard state == .cookieEchoed else { return }
    var causes = ParameterReader(chunk.value)
    while let cause = try causes.next() {
      if cause.type == CauseCode.staleCookie { return restartInitiation(now: now) }
    }
  }
}
