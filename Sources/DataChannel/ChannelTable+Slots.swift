// ChannelTable+Slots.swift — how a channel's record begins, moves and ends. The counts of channels and refusals change
// here and nowhere else.

internal import SCTP

extension ChannelTable {
  // MARK: Identity

  /// A channel's id is its slot and how often the slot was used before.
  func id(of slot: Int) -> ChannelID {
    ChannelID(rawValue: UInt32(channels[slot].generation) << 16 | UInt32(slot))
  }

  func slot(of id: ChannelID) -> Int? {
    let slot = Int(id.rawValue & 0xffff)
    guard slot < channels.count, channels[slot].phase != .vacant,
      channels[slot].generation == UInt16(id.rawValue >> 16)
    else { return nil }
    return slot
  }

  var hasVacancy: Bool { !vacantSlots.isEmpty || channels.count < Self.maximumSlots }

  // MARK: Life

  /// A new record in a vacant slot; the caller has asked for `hasVacancy` and that the stream is free.
  mutating func insert(
    _ parameters: ChannelParameters, origin: Channel.Origin, stream: UInt16?
  ) -> ChannelID {
    let slot: Int
    if let vacant = vacantSlots.popLast() {
      slot = Int(vacant)
    } else {
      slot = channels.count
      channels.append(Channel())
    }
    channels[slot].phase = .connecting
    channels[slot].origin = origin
    channels[slot].stream = stream
    channels[slot].isAcknowledged = origin == .negotiated
    channels[slot].resets = []
    channels[slot].awaitsStaleReset = false
    channels[slot].parameters = parameters
    if let stream {
      streams[stream] = slot
      if origin != .local { association?.allocator.reserve(stream) }
    }
    switch origin {
    case .remote: remoteChannels += 1
    case .refused: refusals += 1
    case .local, .negotiated: break
    }
    return id(of: slot)
  }

  /// The next stream of our parity.
  mutating func nextStream() -> UInt16? {
    let streams = streams
    return association?.allocator.next { streams[$0] != nil }
  }

  /// The channel may be used: nothing can overtake its OPEN any more, or it has none.
  mutating func openNow(_ id: ChannelID) {
    guard let slot = slot(of: id) else { return }
    channels[slot].phase = .open
    statistics.opened += 1
    events.append(.opened(id))
  }

  mutating func startClosing(_ slot: Int) {
    guard let stream = channels[slot].stream else { return }
    channels[slot].phase = .closing
    channels[slot].resets.insert(.outgoingDue)
    if !channels[slot].awaitsStaleReset { resetsDue.append(stream) }
  }

  /// Closes a channel that cannot go on.
  mutating func fail(_ slot: Int, _ failure: ChannelFailure) {
    events.append(.failed(id(of: slot), failure))
    if let association, let stream = channels[slot].stream, Int(stream) < association.streams {
      startClosing(slot)
    } else {
      finish(slot)  // there is no stream to reset
    }
  }

  /// The confirmation that belonged to the stream's previous channel has come: ours may be asked for.
  mutating func absorbStaleReset(_ slot: Int) {
    channels[slot].awaitsStaleReset = false
    if channels[slot].resets.contains(.outgoingDue), let stream = channels[slot].stream { resetsDue.append(stream) }
  }

  mutating func finishIfReset(_ slot: Int) {
    if channels[slot].resets.isSuperset(of: [.outgoingDone, .incomingDone]) { finish(slot) }
  }

  /// Closed on both sides: the record ends, and the stream is free.
  mutating func finish(_ slot: Int) {
    announceClosed(slot)
    switch channels[slot].origin {
    case .remote: remoteChannels -= 1
    case .refused: refusals -= 1
    case .local, .negotiated: break
    }
    if let stream = channels[slot].stream {
      streams[stream] = nil
      if let parity = association?.parity, parity.contains(stream) { association?.allocator.release(stream) }
    }
    channels[slot].phase = .vacant
    channels[slot].stream = nil
    channels[slot].parameters = ChannelParameters()
    // A slot whose generations are used up is never vacant again: an old id must not come to name a new channel.
    if channels[slot].generation < .max {
      channels[slot].generation += 1
      vacantSlots.append(UInt16(slot))
    }
  }

  /// Closed, but its stream can never be used again. It goes on counting as the peer's, so that refusing our resets does
  /// not get a peer more of our memory.
  mutating func retire(_ slot: Int) {
    announceClosed(slot)
    channels[slot].phase = .retired
    channels[slot].resets = []  // whatever is still said about them comes too late
    channels[slot].parameters = ChannelParameters()
  }

  mutating func announceClosed(_ slot: Int) {
    guard channels[slot].origin != .refused else { return }
    if channels[slot].phase != .connecting { statistics.closed += 1 }
    events.append(.closed(id(of: slot)))
  }

  // MARK: Limits

  /// Ids 0…65,534: 65,535 is reserved (RFC 8832 §6).
  static let maximumStreams = 65_535
  /// More channels than ids cannot be open; slot numbers stay below `StreamMap.absent`.
  static let maximumSlots = 65_535
  /// Streams of refused OPENs that the peer has not reset yet. Beyond, an OPEN is ignored: a reset for each would let a
  /// flood of OPENs take 65,000 records.
  static let maximumRefusals = 256
  /// Fits in one RE-CONFIG chunk of the smallest packet we send.
  static let resetsPerBatch = 256
}
