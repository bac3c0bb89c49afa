// Association+Handshake.swift — the four-way handshake, collisions, duplicates and restarts (RFC 9260 §5).
//
// With WebRTC both sides connect, so that INITs cross: each is answered with the values of our own INIT (§5.2.1), and
// both cookies lead to one association.

package import Wire

extension SCTPAssociation {
  /// Begins the handshake. Both sides may call it.
  package mutating func connect(now: Instant) {
    guard state == .closed, !isTerminated else { return }
    localTag = makeTag()
    localInitialTSN = TSN(rawValue: UInt32(truncatingIfNeeded: random.next()))
    acceptsZeroChecksum = offered.contains(.zeroChecksum)
    state = .cookieWait
    initiationRetransmits = 0
    sendInitiation(now: now)
  }

  private mutating func sendInitiation(now: Instant) {
    initiationDue = true
    initiationTimer.start(now: now)
  }

  /// §5.2.6: our cookie has gone stale on its way; the handshake begins again, within the same limit of attempts.
  mutating func restartInitiation(now: Instant) {
    guard initiationRetransmits < configuration.maximumInitRetransmits else { return close(.connectTimedOut) }
    initiationRetransmits += 1
    cookieToEcho = []
    peerTag = 0
    state = .cookieWait
    sendInitiation(now: now)
  }

  mutating func handleInitiationTimeout(now: Instant) {
    guard initiationTimer.expire(now: now) else { return }
    initiationRetransmits += 1
    guard initiationRetransmits <= configuration.maximumInitRetransmits else { return close(.connectTimedOut) }
    if state == .cookieWait, offered != .basic {
      if initiationRetransmits >= Self.initsWithAllExtensions { offerLess() }
      // The waits double (§6.3.3 E2) from the INIT on that offers less: until then only the peer's taste is in doubt.
      initiationTimer.start(now: now)
    }
    initiationDue = true
  }

  /// An INIT is sent so often before one follows that offers less: some peers drop, or refuse with an ABORT, an INIT with
  /// a parameter they do not know, where RFC 9260 §3.2.1 has them skip it.
  static var initsWithAllExtensions: Int { 2 }

  /// The ABORT of a peer that may only have choked on what our INIT offers: it is asked once more, with less.
  ///
  /// - Returns: whether there was less to offer.
  mutating func retryAfterAbort(now: Instant) -> Bool {
    guard state == .cookieWait, initiationRetransmits < configuration.maximumInitRetransmits, offerLess() else {
      return false
    }
    initiationRetransmits += 1
    sendInitiation(now: now)
    return true
  }

  /// From here on only what every peer understands, under a new tag: an answer to the INIT that offered more, even a
  /// late one, is then taken for what it is by the rules for tags (§8.5.1).
  @discardableResult
  private mutating func offerLess() -> Bool {
    guard offered != .basic else { return false }
    offered = .basic
    formerTag = localTag
    localTag = makeTag()
    acceptsZeroChecksum = false
    return true
  }

  /// A tag is never 0 (§5.3.1).
  private mutating func makeTag() -> UInt32 {
    while true {
      let tag = UInt32(truncatingIfNeeded: random.next())
      if tag != 0 { return tag }
    }
  }

  func ownInit(tag: UInt32, tsn: TSN, streams: UInt16, extensions: Extensions) -> InitChunk {
    var chunk = InitChunk(
      initiateTag: tag, receiverWindow: UInt32(clamping: configuration.receiveWindow), outboundStreams: streams,
      inboundStreams: configuration.inboundStreams, initialTSN: tsn)
    chunk.extensions = extensions
    return chunk
  }

  // MARK: INIT

  mutating func handleInit(_ chunk: borrowing Chunk, now: Instant) throws(Malformed) {
    let peer = try InitChunk(chunk)
    // §3.3.2: an initiate tag of 0 is dropped; it could not be answered.
    guard peer.initiateTag != 0 else { throw .badValue }
    guard !isTerminated else {
      // §8.4 has no association for it, and none will be.
      return reply(tag: peer.initiateTag, abortChunk(flags: 0))
    }
    if state == .shutdownAckSent {
      shutdownDue = true  // §9.2: the peer missed our SHUTDOWN-ACK
      return
    }
    guard Self.isAcceptable(peer) else {
      return reply(tag: peer.initiateTag, ErrorCause.invalidMandatoryParameter.chunk(type: ChunkType.abort))
    }
    guard !peer.hasHostName else {
      return reply(tag: peer.initiateTag, ErrorCause.unresolvableAddress.chunk(type: ChunkType.abort))
    }
    let cookie: StateCookie
    let common = peer.extensions.intersection(offered)
    switch state {
    case .closed:
      // Nothing is kept for an INIT: the cookie holds it all (§5.1 B).
      let tsn = TSN(rawValue: UInt32(truncatingIfNeeded: random.next()))
      cookie = StateCookie(
        createdAt: now, localTag: makeTag(), localInitialTSN: tsn, peer: peer, extensions: common,
        localTieTag: 0, peerTieTag: 0)
    case .cookieWait, .cookieEchoed:
      // §5.2.1: with the tag and TSN of our own INIT.
      cookie = StateCookie(
        createdAt: now, localTag: localTag, localInitialTSN: localInitialTSN, peer: peer, extensions: common,
        localTieTag: 0, peerTieTag: 0)
    default:
      // §5.2.2: the association lives on untouched; the tie tags let a restart be told from a duplicate.
      let tsn = TSN(rawValue: UInt32(truncatingIfNeeded: random.next()))
      cookie = StateCookie(
        createdAt: now, localTag: makeTag(), localInitialTSN: tsn, peer: peer, extensions: common,
        localTieTag: localTag, peerTieTag: peerTag)
    }
    // Beyond the basic, only what the peer has offered itself: a peer that does not know it might choke on it.
    var answer = ownInit(
      tag: cookie.localTag, tsn: cookie.localInitialTSN,
      streams: min(configuration.outboundStreams, peer.inboundStreams), extensions: common.union(.basic))
    answer.cookie = cookie.seal(key: cookieKey)
    let bytes = collectBytes(capacity: configuration.maximumPacketSize - PacketHeader.byteCount) { out in
      answer.write(type: ChunkType.initiationAck, reporting: peer.unrecognized, into: &out)
    }
    reply(tag: peer.initiateTag, bytes)
  }

  static func isAcceptable(_ peer: InitChunk) -> Bool {
    peer.outboundStreams != 0 && peer.inboundStreams != 0 && peer.receiverWindow >= InitChunk.minimumReceiverWindow
  }

  private func abortChunk(flags: UInt8) -> [UInt8] {
    collectBytes(capacity: ChunkHeader.byteCount) { out in
      ChunkHeader.writeEmpty(ChunkType.abort, flags: flags, into: &out)
    }
  }

  // MARK: INIT-ACK

  mutating func handleInitAck(_ chunk: borrowing Chunk, now: Instant) throws(Malformed) {
    guard state == .cookieWait else { return }  // §5.2.3
    let peer = try InitChunk(chunk)
    guard peer.initiateTag != 0, Self.isAcceptable(peer) else {
      // §3.3.3: the association is given up; without a tag the peer can only be told with our own, reflected.
      reply(
        tag: peer.initiateTag == 0 ? localTag : peer.initiateTag,
        ErrorCause.invalidMandatoryParameter.chunk(
          type: ChunkType.abort, flags: peer.initiateTag == 0 ? reflectedTagFlag : 0))
      return close(.protocolViolation("INIT-ACK with an invalid mandatory parameter"))
    }
    peerTag = peer.initiateTag
    guard !peer.hasHostName else {
      return abort(.unresolvableAddress, reason: .protocolViolation("INIT-ACK with a host name"))
    }
    guard let cookie = peer.cookie, !cookie.isEmpty else {
      return abort(.missingCookie, reason: .protocolViolation("INIT-ACK without a cookie"))
    }
    guard cookie.count + ChunkHeader.byteCount + PacketHeader.byteCount <= configuration.maximumPacketSize else {
      return abort(.invalidMandatoryParameter, reason: .protocolViolation("INIT-ACK with a cookie beyond the MTU"))
    }
    cookieToEcho = cookie
    if !peer.unrecognized.isEmpty {
      enqueueControl(ErrorCause.unrecognizedParameters(peer.unrecognized).chunk(type: ChunkType.error))
    }
    adopt(
      peerInitialTSN: peer.initialTSN, window: peer.receiverWindow, inboundStreams: peer.inboundStreams,
      extensions: peer.extensions.intersection(offered))
    state = .cookieEchoed
    sendInitiation(now: now)
  }

  /// Takes over what the peer has told about itself, from its INIT-ACK or from the cookie we made of its INIT.
  mutating func adopt(
    peerInitialTSN: TSN, window: UInt32, inboundStreams: UInt16, extensions: Extensions
  ) {
    outboundStreams = min(configuration.outboundStreams, inboundStreams)
    agreed = extensions
    sender.start(
      initialTSN: localInitialTSN, peerWindow: Int(window), mayAbandon: peerSupportsForwardTSN,
      interleaves: peerSupportsInterleaving)
    if outboundStreams < configuration.outboundStreams { sender.queue.dropMessages(fromStream: outboundStreams) }
    receiver = DataReceiver(
      initialTSN: peerInitialTSN, window: configuration.receiveWindow,
      maximumWindow: configuration.maximumReceiveWindow, maximumMessageSize: configuration.maximumIncomingMessageSize)
    let waiting = reset.waiting
    reset = StreamReset(localInitialTSN: localInitialTSN, peerInitialTSN: peerInitialTSN)
    reset.waiting = waiting
  }

  private mutating func adopt(_ cookie: StateCookie) {
    // What the INIT-ACK with this cookie announced, or our own INIT under the same tag.
    acceptsZeroChecksum =
      cookie.extensions.contains(.zeroChecksum) || acceptsZeroChecksum && cookie.localTag == localTag
    localTag = cookie.localTag
    peerTag = cookie.peerTag
    localInitialTSN = cookie.localInitialTSN
    adopt(
      peerInitialTSN: cookie.peerInitialTSN, window: cookie.peerReceiverWindow,
      inboundStreams: cookie.peerInboundStreams, extensions: cookie.extensions)
  }

  mutating func establish(now: Instant) {
    state = .established
    initiationTimer.stop()
    initiationDue = false
    cookieToEcho = []
    errorCount = 0
    heartbeat.start(now: now, interval: configuration.heartbeatInterval)
    pathMTU.start(now: now, patience: probePatience)
    events.append(.established)
    if !reset.waiting.isEmpty { startReset(now: now) }
    if shutsDownWhenEstablished { shutdown(now: now) }
  }

  // MARK: COOKIE-ECHO

  mutating func handleCookieEcho(_ chunk: borrowing Chunk, _ context: inout PacketContext, now: Instant) {
    guard !isTerminated, let cookie = StateCookie(opening: chunk.value, key: cookieKey), cookie.localTag == context.tag
    else {
      counters.packetsDropped += 1
      context.isOver = true
      return
    }
    let isOurs = state != .closed && cookie.localTag == localTag
    let isPeers = state != .closed && cookie.peerTag == peerTag
    // §5.2.4 3: age does not matter to a duplicate of the cookie that the association stands on.
    let age = now - cookie.createdAt
    if age > configuration.cookieLifetime, !(isOurs && isPeers) {
      let excess = (age - configuration.cookieLifetime).nanoseconds / 1_000
      reply(
        tag: cookie.peerTag,
        ErrorCause.staleCookie(microseconds: UInt32(clamping: excess)).chunk(type: ChunkType.error))
      context.isOver = true
      return
    }
    switch (state, isOurs, isPeers) {
    case (.closed, _, _):
      adopt(cookie)
      establish(now: now)
    case (.cookieWait, true, _), (.cookieEchoed, true, false):  // B: both connected at the same time
      adopt(cookie)
      establish(now: now)
    case (.cookieWait, false, _) where cookie.localTag == formerTag && formerTag != 0:
      // The same, under the tag that we had while we offered more; our INIT that offers less has led to nothing yet.
      adopt(cookie)
      establish(now: now)
    case (.cookieEchoed, true, true):  // D, with our own COOKIE-ECHO still on its way
      establish(now: now)
    case (_, true, true):  // D: the peer missed our COOKIE-ACK
      break
    case (_, true, false):  // B, when the association is up already: only the peer's tag is news
      peerTag = cookie.peerTag
    case (_, false, false) where cookie.localTieTag == localTag && cookie.peerTieTag == peerTag && peerTag != 0:  // A
      guard restart(cookie, now: now) else {
        context.isOver = true
        return
      }
      context.tag = localTag
    default:  // C: a cookie that comes too late; or one of no association
      context.isOver = true
      return
    }
    cookieAckDue = true
  }

  /// §5.2.4.1: the peer has lost its state and begins anew.
  private mutating func restart(_ cookie: StateCookie, now: Instant) -> Bool {
    if state == .shutdownAckSent {
      shutdownDue = true
      enqueueControl(ErrorCause.cookieWhileShuttingDown.chunk(type: ChunkType.error))
      return false
    }
    let endsAnyway = state == .shutdownPending || state == .shutdownSent
    let resetting = reset.waiting + (reset.request?.parameter.streams ?? [])
    sender.restart(configuration, random: random.split())
    adopt(cookie)
    // A reset that was under way has happened, in effect.
    reset.waiting = []
    if !resetting.isEmpty { events.append(.outgoingStreamsReset(resetting)) }
    control.removeAll()
    state = .established
    shutdownTimer.stop()
    shutdownGuard = nil
    shutdownDue = false
    errorCount = 0
    heartbeat.start(now: now, interval: configuration.heartbeatInterval)
    pathMTU.start(now: now, patience: probePatience)
    events.append(.restarted)
    // Our user has asked for the end; that the peer begins anew does not change it.
    if endsAnyway { shutdown(now: now) }
    return true
  }

  mutating func handleCookieAck(now: Instant) {
    guard state == .cookieEchoed else { return }  // §5.2.5
    establish(now: now)
  }
}
