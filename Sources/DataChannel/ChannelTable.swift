// ChannelTable.swift — the data channels of one connection: opening, closing, and whose stream is whose (RFC 8831, 8832).
//
// A machine without I/O beside the SCTP association, which it never touches: the owner carries messages, resets and
// events between the two.
//
// Invariants:
// - `streams[s]` is the slot of the one channel that has stream `s`, from the moment the stream is assigned until both
//   directions have been reset (or, if nothing was ever sent on it, until it is closed).
// - A channel opens, and takes user data, only once its OPEN has left through `pollSend`: nothing can overtake it.
// - A stream is in `resetsDue` at most once, and only while its channel's `resets` say `.outgoingDue`.
// - A slot is in `vacantSlots`, or worn out, or in use; its generation grows when it is vacated, so no `ChannelID` ever
//   names two channels.
// - Work per user message is constant: two array reads to find the channel, and the payload is moved.

internal import DequeModule
package import SCTP
import Wire

package struct ChannelTable: ~Copyable {
  package enum Event: Hashable, Sendable {
    /// One of our channels may be used.
    case opened(ChannelID)
    /// The peer has opened a channel. It may be used at once.
    case incoming(ChannelID, ChannelParameters)
    /// The peer is closing the channel: nothing more will arrive. Not sent for a close of our own.
    case closing(ChannelID)
    /// The channel is closed on both sides. The last event of a channel.
    case closed(ChannelID)
    /// The channel broke. `closed` follows.
    case failed(ChannelID, ChannelFailure)
  }

  struct Association {
    let parity: StreamParity
    let streams: Int
    var allocator: StreamAllocator
  }

  struct ResetProgress: OptionSet {
    let rawValue: UInt8
    /// Our side of the stream waits for `pollReset`.
    static let outgoingDue = ResetProgress(rawValue: 1)
    /// `pollReset` has handed it out; the peer has not confirmed.
    static let outgoingSent = ResetProgress(rawValue: 2)
    static let outgoingDone = ResetProgress(rawValue: 4)
    static let incomingDone = ResetProgress(rawValue: 8)
  }

  struct Channel {
    enum Phase {
      case vacant
      /// Not yet usable: no association, or the OPEN has not left.
      case connecting
      case open
      case closing
      /// Closed, but the peer would not reset its side: the stream is never used again.
      case retired
    }
    enum Origin { case local, remote, negotiated, refused }

    var phase = Phase.vacant
    var origin = Origin.local
    var generation: UInt16 = 0
    var stream: UInt16?
    /// The peer is known to have the channel: unordered sending may begin (RFC 8832 §6).
    var isAcknowledged = false
    var resets: ResetProgress = []
    /// A confirmation of the reset of this stream's previous channel is still on its way.
    var awaitsStaleReset = false
    var parameters = ChannelParameters()
  }

  enum Control { case open(ChannelID), acknowledge(ChannelID) }

  private let isLentByAddress = LentByAddress()
  package internal(set) var statistics = ChannelStatistics()
  let limits: ChannelLimits
  var association: Association?
  package internal(set) var isClosed = false
  var channels: [Channel] = []
  var vacantSlots: [UInt16] = []
  var streams = StreamMap()
  /// Channels opened before the association was up, oldest first.
  var waiting: [ChannelID] = []
  /// At most one entry for each channel, written out when it is polled.
  var controls = Deque<Control>()
  var resetsDue = Deque<UInt16>()
  /// Bounded by the channels: each adds at most its opening, closing, failure and closed.
  var events = Deque<Event>()
  var remoteChannels = 0
  var refusals = 0
  var opensInBatch = 0

  package init(limits: ChannelLimits = ChannelLimits()) { self.limits = limits }

  // MARK: In

  /// Asks for a channel. Its stream is assigned when the association is up; the peer is told through `pollSend`.
  package mutating func open(_ parameters: ChannelParameters) throws(ChannelError) -> ChannelID {
    guard !isClosed else { throw .connectionClosed }
    guard parameters.label.utf8.count <= ChannelParameters.maximumTextLength else { throw .labelTooLong }
    guard parameters.subprotocol.utf8.count <= ChannelParameters.maximumTextLength else { throw .protocolTooLong }
    guard hasVacancy else { throw .tooManyChannels }
    if let stream = parameters.negotiatedStream {
      guard Int(stream) < association?.streams ?? Self.maximumStreams else { throw .invalidStream }
      guard streams[stream] == nil else { throw .streamInUse }
      let id = insert(parameters, origin: .negotiated, stream: stream)
      if association == nil { waiting.append(id) } else { openNow(id) }
      return id
    }
    guard association != nil else {
      let id = insert(parameters, origin: .local, stream: nil)
      waiting.append(id)
      return id
    }
    guard let stream = nextStream() else { throw .noStreamLeft }
    let id = insert(parameters, origin: .local, stream: stream)
    controls.append(.open(id))
    return id
  }

  /// The association is established: channels get their streams. Call it before any message is handled.
  /// - Parameters:
  ///   - parity: even for the DTLS client, odd for the DTLS server.
  ///   - maximumStreams: how many streams the association has in each direction, the smaller number.
  package mutating func connected(as parity: StreamParity, maximumStreams: Int) {
    guard association == nil, !isClosed else { return }
    let streamCount = min(maximumStreams, Self.maximumStreams)
    association = Association(
      parity: parity, streams: streamCount, allocator: StreamAllocator(parity: parity, streams: streamCount))
    // Negotiated channels hold their ids already, so no channel with an assigned stream can get in their way.
    for id in waiting {
      guard let slot = slot(of: id) else { continue }
      if let stream = channels[slot].stream {
        if Int(stream) < streamCount { openNow(id) } else { fail(slot, .invalidStream) }
      } else if let stream = nextStream() {
        channels[slot].stream = stream
        streams[stream] = slot
        controls.append(.open(id))
      } else {
        fail(slot, .noStreamLeft)
      }
    }
    waiting = []
  }

  /// Starts closing (RFC 8831 §6.7): what was sent before still arrives, then both directions are reset. Nothing happens
  /// for a channel that is closing or closed.
  package mutating func close(_ id: ChannelID) {
    guard let slot = slot(of: id) else { return }
    switch channels[slot].phase {
    case .connecting:  // the peer has never heard of it
      waiting.removeAll { $0 == id }
      finish(slot)
    case .open: startClosing(slot)
    case .vacant, .closing, .retired: break
    }
  }

  /// The peer has reset its side of these streams, after all their messages were handled. Empty means every stream
  /// (RFC 6525 §4.1).
  package mutating func incomingStreamsReset(_ list: [UInt16]) {
    for stream in list.isEmpty ? channels.compactMap(\.stream) : list {
      guard let slot = streams[stream] else { continue }
      switch channels[slot].phase {
      case .open:
        events.append(.closing(id(of: slot)))
        channels[slot].resets.insert(.incomingDone)
        startClosing(slot)
      case .closing:
        channels[slot].resets.insert(.incomingDone)
        finishIfReset(slot)
      case .vacant, .connecting, .retired:
        break
      }
    }
  }

  /// The peer has confirmed the reset of our side of these streams.
  package mutating func outgoingStreamsReset(_ list: [UInt16]) {
    for stream in list {
      guard let slot = streams[stream] else { continue }
      if channels[slot].awaitsStaleReset {
        absorbStaleReset(slot)
      } else if channels[slot].resets.contains(.outgoingSent) {
        channels[slot].resets.remove(.outgoingSent)
        channels[slot].resets.insert(.outgoingDone)
        finishIfReset(slot)
      }
    }
  }

  /// The peer refuses to reset these streams. Their channels are closed, the streams are lost.
  package mutating func outgoingResetFailed(_ list: [UInt16]) {
    for stream in list {
      guard let slot = streams[stream] else { continue }
      if channels[slot].awaitsStaleReset {
        absorbStaleReset(slot)
      } else if channels[slot].resets.contains(.outgoingSent) {
        retire(slot)
      }
    }
  }

  /// The association is gone: every channel is closed, and none can be opened.
  package mutating func associationClosed() {
    guard !isClosed else { return }
    isClosed = true
    for slot in channels.indices where channels[slot].phase != .vacant && channels[slot].phase != .retired {
      announceClosed(slot)
    }
    association = nil
    // Ids stay dead: without slots none can be looked up, and `open` refuses from now on.
    channels = []
    vacantSlots = []
    streams.removeAll()
    waiting = []
    controls.removeAll()
    resetsDue.removeAll()
  }

  // MARK: Out

  /// A user's message as the association takes it. The payload is moved.
  package func message(
    on id: ChannelID, payload: consuming [UInt8], isText: Bool
  ) throws(ChannelError) -> OutgoingMessage {
    guard let slot = slot(of: id), channels[slot].phase == .open, let stream = channels[slot].stream else {
      throw .notOpen
    }
    let payloadProtocol: PayloadProtocol
    if payload.isEmpty {
      payload = [0]  // SCTP cannot carry nothing (RFC 8831 §6.6)
      payloadProtocol = isText ? .emptyString : .emptyBinary
    } else {
      payloadProtocol = isText ? .string : .binary
    }
    return OutgoingMessage(
      stream: stream, payloadProtocol: payloadProtocol, payload: payload,
      isOrdered: channels[slot].parameters.isOrdered || !channels[slot].isAcknowledged,
      reliability: channels[slot].parameters.reliability, priority: channels[slot].parameters.priority)
  }

  package func message(on id: ChannelID, text: String) throws(ChannelError) -> OutgoingMessage {
    try message(on: id, payload: Array(text.utf8), isText: true)
  }

  package func message(on id: ChannelID, binary: consuming [UInt8]) throws(ChannelError) -> OutgoingMessage {
    try message(on: id, payload: binary, isText: false)
  }

  /// The next OPEN or ACK that is due, to be sent before anything else on its stream; nil when none is due, or when it is
  /// larger than the `room` the association has: it stays due.
  package mutating func pollSend(room: Int = .max) -> OutgoingMessage? {
    while let next = controls.first {
      switch next {
      case .open(let id):
        if let slot = slot(of: id), channels[slot].phase == .connecting, let stream = channels[slot].stream {
          guard channels[slot].parameters.openMessageLength <= room else { return nil }
          controls.removeFirst()
          openNow(id)
          return control(channels[slot].parameters.openMessage(), on: stream)
        }
      case .acknowledge(let id):
        if let slot = slot(of: id), channels[slot].phase == .open, let stream = channels[slot].stream {
          guard ControlMessage.acknowledgement.count <= room else { return nil }
          controls.removeFirst()
          return control(ControlMessage.acknowledgement, on: stream)
        }
      }
      controls.removeFirst()  // its channel was closed meanwhile
    }
    return nil
  }

  /// Streams whose outgoing side is to be reset, once what was sent on them is out. Poll it after `pollSend`.
  package mutating func pollReset() -> [UInt16]? {
    guard !resetsDue.isEmpty else { return nil }
    let batch = Array(resetsDue.prefix(Self.resetsPerBatch))
    resetsDue.removeFirst(batch.count)
    for stream in batch {
      guard let slot = streams[stream] else { continue }
      channels[slot].resets.remove(.outgoingDue)
      channels[slot].resets.insert(.outgoingSent)
    }
    return batch
  }

  private func control(_ payload: [UInt8], on stream: UInt16) -> OutgoingMessage {
    OutgoingMessage(stream: stream, payloadProtocol: .control, payload: payload)  // reliable and ordered, RFC 8832 §6
  }

  package mutating func pollEvent() -> Event? {
    if let event = events.popFirst() { return event }
    opensInBatch = 0
    return nil
  }

  // MARK: Questions

  /// Nil until the channel has got its stream, and once it is closed.
  package func stream(of id: ChannelID) -> UInt16? { slot(of: id).flatMap { channels[$0].stream } }

  package func state(of id: ChannelID) -> ChannelState {
    guard let slot = slot(of: id) else { return .closed }
    switch channels[slot].phase {
    case .connecting: return .connecting
    case .open: return .open
    case .closing: return .closing
    case .vacant, .retired: return .closed
    }
  }

  /// Nil once the channel is closed.
  package func parameters(of id: ChannelID) -> ChannelParameters? {
    guard let slot = slot(of: id), channels[slot].phase != .retired else { return nil }
    return channels[slot].parameters
  }

  /// How many records are in use, those of refused OPENs included: what a peer costs us.
  package var recordCount: Int { channels.count(where: { $0.phase != .vacant }) }

  /// The open or closing channel that has this stream, for instance to attribute a buffered amount.
  package func channel(on stream: UInt16) -> ChannelID? {
    guard let slot = streams[stream], channels[slot].phase != .retired, channels[slot].origin != .refused else {
      return nil
    }
    return id(of: slot)
  }
}
