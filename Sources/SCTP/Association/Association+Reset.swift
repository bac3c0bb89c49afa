// Association+Reset.swift — resetting outgoing streams, and answering the peer's resets (RFC 6525 §5).

package import Wire

extension SCTPAssociation {
  /// Resets streams of ours once everything queued on them is acknowledged; they refuse messages until then.
  package mutating func resetStreams(_ streams: [UInt16], now: Instant) {
    guard !isTerminated else { return }
    for stream in streams where stream < outboundStreams {
      if sender.queue.beginReset(stream) { reset.waiting.append(stream) }
    }
    if state == .established { startReset(now: now) }
  }

  /// Makes a request of the streams that have run dry, unless one is outstanding.
  mutating func startReset(now: Instant) {
    guard state == .established || state == .shutdownPending else { return }
    guard reset.request == nil, !reset.waiting.isEmpty else { return }
    sender.queue.hasDrainedResettingStream = false
    guard peerSupportsReconfig else {
      let failed = reset.waiting
      reset.waiting = []
      for stream in failed { sender.queue.endReset(stream, performed: false) }
      events.append(.outgoingResetFailed(failed))
      return
    }
    var ready: [UInt16] = []
    var rest: [UInt16] = []
    for stream in reset.waiting {
      if ready.count < StreamReset.maximumStreams, sender.queue.stream(stream).messages == 0 {
        ready.append(stream)
      } else {
        rest.append(stream)
      }
    }
    guard !ready.isEmpty else { return }
    reset.waiting = rest
    var timer = RetransmitTimer(initial: sender.roundTrip.timeout, ceiling: configuration.maximumBackoff)
    timer.start(now: now)
    reset.request = StreamReset.Request(
      parameter: OutgoingResetRequest(
        number: reset.nextNumber, responseNumber: reset.expectedNumber.reversed(by: 1),
        lastTSN: sender.outstanding.nextTSN.reversed(by: 1), streams: ready),
      timer: timer, isDue: true)
    reset.nextNumber = reset.nextNumber.advanced(by: 1)
  }

  mutating func handleReconfigTimeout(now: Instant) {
    guard reset.request?.timer.expire(now: now) == true else { return }
    reset.request?.isDue = true
    if reset.request?.isRenumbered == true {
      reset.request?.isRenumbered = false
      reset.request?.parameter.number = reset.nextNumber
      reset.nextNumber = reset.nextNumber.advanced(by: 1)
      return  // the peer has answered; that it asks for patience is no sign of death
    }
    countError()
  }

  // MARK: RE-CONFIG

  mutating func handleReconfig(_ chunk: borrowing Chunk, now: Instant) throws(Malformed) {
    switch state {
    case .established, .shutdownPending, .shutdownReceived, .shutdownSent: break
    default: return
    }
    var parameters = ParameterReader(chunk.value)
    var requests = 0
    while let parameter = try parameters.next() {
      switch try ReconfigParameter(parameter) {
      case .response(let response): handleResponse(response, now: now)
      case .outgoingReset(let request):
        requests += 1
        if requests <= Self.maximumRequestsPerChunk { handleRequest(request) }
      case .incomingReset(let request):
        requests += 1
        if requests <= Self.maximumRequestsPerChunk { handleRequest(request, now: now) }
      case .refused(let number):
        requests += 1
        if requests <= Self.maximumRequestsPerChunk { answerOnce(number, .denied) }
      case .unknown: break
      }
    }
  }

  /// RFC 6525 §3.1 allows two parameters in a chunk; more requests are not answered.
  private static var maximumRequestsPerChunk: Int { 2 }

  private mutating func respond(_ number: RequestNumber, _ result: ReconfigResult) {
    enqueueControl(
      collectBytes(capacity: 16) { out in
        ReconfigResponse(number: number, result: result).write(into: &out)
      })
  }

  /// Answers a request that is settled here and now; its repetition is answered from memory (§5.2.1).
  ///
  /// - Returns: whether it was the request whose turn it is.
  @discardableResult
  private mutating func answerOnce(_ number: RequestNumber, _ result: ReconfigResult) -> Bool {
    if number == reset.expectedNumber {
      reset.expectedNumber = number.advanced(by: 1)
      reset.remember(result, for: number)
      respond(number, result)
      return true
    }
    respond(number, reset.answer(to: number) ?? .badSequenceNumber)
    return false
  }

  /// §5.2.3: the peer asks us to reset streams that we send on. The answer says that we shall; our own request, once
  /// what is queued on them has been acknowledged, says when. "All streams" is refused: it would hold every stream up
  /// until all have run dry, and data channels are closed one by one.
  private mutating func handleRequest(_ request: IncomingResetRequest, now: Instant) {
    guard !request.streams.isEmpty else {
      answerOnce(request.number, .denied)
      return
    }
    guard request.streams.allSatisfy({ $0 < outboundStreams }) else {
      answerOnce(request.number, .wrongSSN)
      return
    }
    // Nothing more is requested once the association is shutting down on our side (`startReset`).
    let isPossible = state == .established && peerSupportsReconfig
    if answerOnce(request.number, isPossible ? .performed : .denied), isPossible {
      resetStreams(request.streams, now: now)
    }
  }

  private mutating func handleRequest(_ request: OutgoingResetRequest) {
    // §5.2.1: a repetition changes nothing. It may ask whether a deferred one has been performed since.
    if let result = reset.answer(to: request.number) { return respond(request.number, result) }
    guard request.number == reset.expectedNumber else { return respond(request.number, .badSequenceNumber) }
    reset.expectedNumber = request.number.advanced(by: 1)
    // Requests do not overtake each other: a new one means that the old deferred one was given up or renumbered.
    reset.deferred = nil
    if let performed = reset.performedAfterDeferral, performed.lastTSN == request.lastTSN,
      performed.streams == request.streams
    {
      return finish(request.number, .performed)
    }
    if request.lastTSN.isAfter(receiver.tracker.cumulativeTSN) {
      reset.deferred = request
      return finish(request.number, .inProgress)
    }
    receiver.reassembly.reset(request.streams)
    events.append(.incomingStreamsReset(request.streams))
    finish(request.number, .performed)
  }

  private mutating func finish(_ number: RequestNumber, _ result: ReconfigResult) {
    reset.remember(result, for: number)
    reset.performedAfterDeferral = nil
    respond(number, result)
  }

  /// §5.2.2 E2: a reset waits until everything sent before it has come, or was skipped. It is answered again then,
  /// unasked, so that the peer need not wait for its timer.
  mutating func performDeferredReset() {
    guard let request = reset.deferred, !request.lastTSN.isAfter(receiver.tracker.cumulativeTSN) else { return }
    reset.deferred = nil
    receiver.reassembly.reset(request.streams)
    events.append(.incomingStreamsReset(request.streams))
    finish(request.number, .performed)
    reset.performedAfterDeferral = request
  }

  private mutating func handleResponse(_ response: ReconfigResponse, now: Instant) {
    guard let request = reset.request, response.number == request.parameter.number else { return }
    errorCount = 0
    switch response.result {
    case .performed, .nothingToDo:
      endRequest(request, performed: true, now: now)
    case .inProgress, .alreadyInProgress:
      // Asked again later, under a new number: some peers answer a repeated one from memory for ever.
      reset.request?.isRenumbered = true
      reset.request?.isDue = false
      reset.request?.timer.start(now: now, initial: sender.roundTrip.timeout)
    case .denied, .wrongSSN, .badSequenceNumber:
      endRequest(request, performed: false, now: now)
    }
  }

  private mutating func endRequest(_ request: StreamReset.Request, performed: Bool, now: Instant) {
    reset.request = nil
    for stream in request.parameter.streams { sender.queue.endReset(stream, performed: performed) }
    events.append(
      performed ? .outgoingStreamsReset(request.parameter.streams) : .outgoingResetFailed(request.parameter.streams))
    startReset(now: now)
  }
}
