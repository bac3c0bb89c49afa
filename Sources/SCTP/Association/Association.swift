// Association.swift — one SCTP association over DTLS (RFC 9260, RFC 8261), without I/O.
//
// In: connect, handle, handleTimeout, send, releaseReceived, resetStreams, shutdown, abort. Out: pollTransmit,
// pollMessage, pollEvent, deadline. After any of the first, the owner drains pollTransmit, then pollMessage, then
// pollEvent: an `incomingStreamsReset` stands for the end of what pollMessage has given before. A batch of packets
// may be handled before draining; it is then answered by one SACK.
//
// One path only, no addresses: DTLS and ICE below take care of both. Invariants: `initiationTimer` runs exactly in
// `.cookieWait` and `.cookieEchoed`; `shutdownTimer` exactly in `.shutdownSent` and `.shutdownAckSent`;
// `.closed` is reported once, and nothing but answers to stray packets follows it.

import DequeModule
package import Wire

package struct SCTPAssociation: ~Copyable {
  /// Chunks for one packet of their own, with a verification tag of their own.
  struct Reply {
    var tag: UInt32
    var chunk: [UInt8]
  }

  let configuration: SCTPConfiguration
  var random: RandomSource
  package internal(set) var state = State.closed
  /// The association was up, or on its way, and has ended: it never comes up again.
  var isTerminated = false
  var counters = SCTPStatistics()

  // Both ends.
  package internal(set) var localTag: UInt32 = 0
  package internal(set) var peerTag: UInt32 = 0
  var localInitialTSN = TSN(rawValue: 0)
  let cookieKey: [UInt8]
  var outboundStreams: UInt16
  /// What both sides have offered.
  var agreed: Extensions = []
  /// Messages may be given up, by FORWARD-TSN or with interleaving by I-FORWARD-TSN.
  var peerSupportsForwardTSN: Bool { agreed.allowsAbandoning }
  var peerSupportsReconfig: Bool { agreed.contains(.reconfig) }
  /// Both sides have offered I-DATA: all data travels in it, in both directions (RFC 8260 §2.2.1).
  package var peerSupportsInterleaving: Bool { agreed.contains(.interleaving) }

  var sender: DataSender
  var receiver: DataReceiver
  var reset: StreamReset

  // Handshake.
  /// What our INIT offers. It never changes under one tag, so that an answer says by its tag what it answers.
  var offered: Extensions
  /// The tag under which everything was offered, before the peer seemed to choke on that; else 0.
  var formerTag: UInt32 = 0
  /// We have announced that a checksum of zero will do: the peer may send it whether or not it accepts it too.
  var acceptsZeroChecksum = false
  var initiationTimer: RetransmitTimer
  var initiationRetransmits = 0
  var initiationDue = false
  var cookieToEcho: [UInt8] = []
  var shutsDownWhenEstablished = false

  // Chunks that are due in the next packet.
  var cookieAckDue = false
  var shutdownDue = false
  var control = Deque<[UInt8]>()
  var replies = Deque<Reply>()

  // Failure detection (§8).
  var errorCount = 0
  var heartbeat = Heartbeat()

  var pathMTU: PathMTU
  /// How many losses of the sender's `pathMTU` knows of.
  var lossesNoted: UInt64 = 0

  // Shutdown.
  var shutdownTimer: RetransmitTimer
  var shutdownGuard: Instant?

  var events = Deque<Event>()

  /// Chunks waiting for a packet, and packets waiting to go out, that answer what the peer sent. A peer that asks for
  /// more than this between two polls gets no answer to the rest.
  static let maximumControlChunks = 32
  static let maximumReplies = 8

  package init(configuration: SCTPConfiguration = .init(), random: RandomSource) {
    precondition(
      configuration.maximumPacketSize >= 512 && configuration.maximumPacketSize % 4 == 0,
      "every control chunk must fit a packet, and chunks are padded to four bytes")
    self.configuration = configuration
    self.random = random
    cookieKey = self.random.bytes(StateCookie.keyByteCount)
    outboundStreams = configuration.outboundStreams
    offered = configuration.extensions
    pathMTU = PathMTU(base: configuration.maximumPacketSize, ceiling: configuration.maximumProbedPacketSize)
    sender = DataSender(configuration, random: self.random.split())
    receiver = DataReceiver(
      initialTSN: TSN(rawValue: 0), window: configuration.receiveWindow,
      maximumWindow: configuration.maximumReceiveWindow, maximumMessageSize: configuration.maximumIncomingMessageSize)
    reset = StreamReset(localInitialTSN: TSN(rawValue: 0), peerInitialTSN: TSN(rawValue: 0))
    initiationTimer = RetransmitTimer(initial: configuration.initialRTO, ceiling: configuration.maximumBackoff)
    shutdownTimer = RetransmitTimer(initial: configuration.initialRTO, ceiling: configuration.maximumBackoff)
  }

  // MARK: In

  /// Queues a message; it goes out when the association is up and the windows allow.
  package mutating func send(_ message: OutgoingMessage, now: Instant) throws(SCTPSendError) {
    switch state {
    case .closed where !isTerminated, .cookieWait, .cookieEchoed, .established: break
    default: throw .closing
    }
    guard !shutsDownWhenEstablished else { throw .closing }
    let size = message.payload.count
    guard size > 0 else { throw .messageEmpty }
    guard size <= configuration.maximumOutgoingMessageSize else { throw .messageTooLarge }
    guard message.stream < outboundStreams else { throw .noSuchStream }
    guard !sender.queue.stream(message.stream).isResetting else { throw .streamResetting }
    guard sender.queue.bufferedTotal + size <= configuration.sendBufferLimit || sender.queue.bufferedTotal == 0,
      sender.queue.messageCount < SendQueue.maximumMessages
    else { throw .bufferFull }
    sender.queue.append(message, now: now)
  }

  /// Counts what the owner needs beside the payloads it has polled against the window, until it is released: a peer could
  /// otherwise make it hold millions of messages of one byte.
  package mutating func chargeReceived(_ byteCount: Int) { receiver.charge(byteCount) }

  /// The application has consumed this many bytes of polled messages: the window opens.
  package mutating func releaseReceived(_ byteCount: Int, now: Instant) {
    receiver.release(byteCount, now: now)
  }

  // MARK: Out

  /// The next whole message, in delivery order.
  package mutating func pollMessage() -> IncomingMessage? {
    guard let message = receiver.popMessage() else { return nil }
    counters.messagesReceived += 1
    return message
  }

  package mutating func pollEvent() -> Event? { events.popFirst() }

  /// Bytes of the stream's messages that have not been sent yet, not even once (W3C's bufferedAmount).
  package func bufferedAmount(stream: UInt16) -> Int { sender.queue.stream(stream).buffered }
  /// The same over all streams.
  package var bufferedTotal: Int { sender.queue.bufferedTotal }
  /// How long a message `send` takes now for sure; when nothing is buffered it takes any allowed size.
  package var sendRoom: Int {
    guard sender.queue.messageCount < SendQueue.maximumMessages else { return 0 }
    if sender.queue.bufferedTotal == 0 {
      return max(configuration.sendBufferLimit, configuration.maximumOutgoingMessageSize)
    }
    return max(0, configuration.sendBufferLimit - sender.queue.bufferedTotal)
  }

  /// How many streams we may use, once the association is up; what we ask for before.
  package var outgoingStreamCount: UInt16 { outboundStreams }

  package var statistics: SCTPStatistics {
    var result = counters
    result.messagesSent = sender.statistics.messagesSent
    result.messagesAbandoned = sender.statistics.messagesAbandoned
    result.chunksSent = sender.statistics.chunksSent
    result.chunksRetransmitted = sender.statistics.chunksRetransmitted
    result.fastRetransmits = sender.statistics.fastRetransmits
    result.timeouts = sender.statistics.timeouts
    result.congestionWindow = sender.congestion.window
    result.slowStartThreshold = sender.congestion.slowStartThreshold ?? 0
    result.bytesInFlight = sender.outstanding.flightBytes
    result.peerReceiverWindow = sender.peerWindow
    result.smoothedRoundTrip = sender.roundTrip.smoothed
    result.retransmissionTimeout = sender.roundTrip.timeout
    result.packetSize = pathMTU.size
    return result
  }

  // MARK: For tests

  /// Nothing is queued, outstanding or being asked.
  package var isQuiet: Bool {
    sender.isDrained && reset.request == nil && reset.waiting.isEmpty && state != .cookieWait && state != .cookieEchoed
  }
  /// Bytes received that are not whole or not in their turn.
  package var heldBytes: Int { receiver.reassembly.heldBytes }
  /// The last TSN of the peer before which nothing is missing; and the next of ours.
  package var receivedTSN: TSN { receiver.tracker.cumulativeTSN }
  package var nextTSN: TSN { sender.outstanding.nextTSN }
  /// Whether every counter is the sum that it stands for.
  package var isConsistent: Bool {
    sender.outstanding.isConsistent() && sender.queue.isConsistent()
      && receiver.reassembly.isConsistent
  }

  // MARK: Ending

  /// Ends the association here and now, without a word; the caller has queued what the peer should hear.
  mutating func close(_ reason: SCTPCloseReason) {
    guard !isTerminated else { return }
    isTerminated = true
    state = .closed
    initiationTimer.stop()
    initiationDue = false
    shutdownTimer.stop()
    shutdownGuard = nil
    shutdownDue = false
    cookieAckDue = false
    heartbeat = Heartbeat()
    pathMTU.stop()
    reset.request = nil
    reset.waiting = []
    control.removeAll()
    sender.stop()
    // What was delivered may still be polled; what is incomplete is let go.
    receiver.stop()
    events.append(.closed(reason))
  }

  /// The peer broke the protocol: it is told, and the association ends (RFC 9260 §3.3.10).
  mutating func abort(_ cause: ErrorCause, reason: SCTPCloseReason) {
    reply(tag: peerTag, cause.chunk(type: ChunkType.abort))
    close(reason)
  }

  mutating func reply(tag: UInt32, _ chunk: [UInt8]) {
    guard replies.count < Self.maximumReplies else { return }
    replies.append(Reply(tag: tag, chunk: chunk))
  }

  /// Queues a chunk for the next packet.
  mutating func enqueueControl(_ chunk: [UInt8]) {
    guard control.count < Self.maximumControlChunks else { return }
    control.append(chunk)
  }
}
