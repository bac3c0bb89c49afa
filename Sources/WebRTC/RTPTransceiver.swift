// RTPTransceiver.swift — one media section of a connection, both ways, as the application sees it (W3C
// `RTCRtpTransceiver` with its sender and receiver, RFC 9429 §4.1).

import Synchronization

/// Media of one kind to and from a peer, packet by packet.
///
/// All members may be used from any thread.
/// ```
/// for await transceiver in connection.incomingTracks {
///   for await packet in transceiver.packets { try transceiver.send(rtp: packet) }   // back where it came from
/// }
/// ```
public final class RTPTransceiver: Sendable {
  public let kind: MediaKind
  /// The synchronization source of what this side sends.
  public let ssrc: UInt32
  /// Comes when the peer cannot go on without a keyframe of what this side sends (PLI, RFC 4585 §6.3.1; FIR, RFC 5104
  /// §4.3.1). Requests that nobody has taken yet are one. For one reader.
  public let keyframeRequests: AsyncStream<Void>

  let id: Int
  let inbox = RTPInbox()
  private let outbox: RTPOutbox
  private let keyframeContinuation: AsyncStream<Void>.Continuation
  private let keyframeHandler = Mutex<(@Sendable () -> Void)?>(nil)
  private let life: Mutex<Life>

  private struct Life: ~Copyable {
    var direction: RTPTransceiverDirection
    var negotiated = Negotiated()
    var isClosed = false
  }

  /// What the exchange of descriptions and the state of the connection have made of it.
  struct Negotiated: Sendable {
    var mid: String?
    var direction: RTPTransceiverDirection?
    var codecs: [RTPCodec] = []
    /// The connection is up and the peer wants what this side sends.
    var isSending = false
    /// The longest packet that fits the path once it is protected.
    var maximumPacketSize = 0
  }

  init(id: Int, kind: MediaKind, ssrc: UInt32, direction: RTPTransceiverDirection, outbox: RTPOutbox) {
    self.id = id
    self.kind = kind
    self.ssrc = ssrc
    self.outbox = outbox
    life = Mutex(Life(direction: direction))
    (keyframeRequests, keyframeContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  // MARK: What is negotiated

  /// The name of its section; nil until a description has given it one.
  public var mid: String? { life.withLock { $0.negotiated.mid } }

  /// What this side wants. A change comes into force with the next offer or answer; between negotiations
  /// `PeerConnection.negotiationNeeded` asks for one. `stopped` is for good, and what was stopped stays so.
  public var direction: RTPTransceiverDirection {
    get { life.withLock { $0.direction } }
    set {
      let isChanged = life.withLock { life in
        guard life.direction != .stopped, !life.isClosed, life.direction != newValue else { return false }
        life.direction = newValue
        return true
      }
      if isChanged { outbox.requestDirections() }
    }
  }

  /// What both sides have agreed on last; nil before they have.
  public var currentDirection: RTPTransceiverDirection? { life.withLock { $0.negotiated.direction } }

  /// What both sides can, this side's favourite first, each with the payload type of its packets; empty before the first
  /// negotiation.
  public var codecs: [RTPCodec] { life.withLock { $0.negotiated.codecs } }

  /// Ends both ways; the section goes with the next exchange of descriptions.
  public func stop() { direction = .stopped }

  // MARK: Sending

  /// Whether packets can be sent now: the connection is up, and both sides want it.
  public var isSending: Bool { life.withLock { $0.negotiated.isSending } }

  /// The longest packet that fits the path, in bytes, header included; zero before the connection is up.
  public var maximumPacketSize: Int { life.withLock { $0.negotiated.maximumPacketSize } }

  /// Queues a packet for the loop's next turn. The SSRC is this transceiver's whatever the packet says; sequence numbers and
  /// timestamps go out as they are. A packet that the peer reports lost is sent again without being asked.
  ///
  /// - Throws: `RTPSendError`. Media that cannot be sent now is of no use later, so nothing waits for a connection.
  public func send(rtp packet: RTPPacket) throws(RTPSendError) {
    try life.withLock { (life) throws(RTPSendError) in
      guard !life.isClosed, life.direction != .stopped else { throw .closed }
      guard life.negotiated.isSending else { throw .notSending }
      guard life.negotiated.codecs.contains(where: { $0.payloadType == packet.payloadType }) else {
        throw .unknownPayloadType(packet.payloadType)
      }
      guard packet.plainByteCount <= life.negotiated.maximumPacketSize else {
        throw .packetTooLarge(limit: life.negotiated.maximumPacketSize)
      }
    }
    try outbox.append(packet, from: id)
  }

  // MARK: Receiving

  /// The packets as they arrive, retransmitted ones included, to be read by one task. They may be out of order; the
  /// transport repeats none. Who reads too slowly loses the oldest, which the statistics count.
  public var packets: Packets { Packets(inbox: inbox) }

  /// Calls `handler` with each packet on the connection's event loop: the way with the least delay. The handler must not
  /// block. It takes the place of `packets`; nil goes back to them.
  public func onPacket(_ handler: (@Sendable (RTPPacket) -> Void)?) {
    inbox.setHandler(handler)
    outbox.requestDelivery(for: id)
  }

  /// Calls `handler` on the event loop in place of `keyframeRequests`.
  public func onKeyframeRequest(_ handler: (@Sendable () -> Void)?) { keyframeHandler.withLock { $0 = handler } }

  /// Asks the peer for a keyframe of what it sends here. Requests that follow too closely are one.
  ///
  /// - Parameter ssrc: the stream, where there are several; nil: all.
  public func requestKeyframe(of ssrc: UInt32? = nil) { outbox.requestKeyframe(of: ssrc, from: id) }

  public struct Packets: AsyncSequence, Sendable {
    let inbox: RTPInbox

    public func makeAsyncIterator() -> Iterator { Iterator(inbox: inbox) }

    public struct Iterator: AsyncIteratorProtocol {
      let inbox: RTPInbox
      public mutating func next() async -> RTPPacket? { await inbox.next() }
    }
  }

  // MARK: The loop's thread

  func update(_ negotiated: Negotiated) { life.withLock { $0.negotiated = negotiated } }

  func keyframeRequested() {
    if let handler = keyframeHandler.withLock({ $0 }) { return handler() }
    keyframeContinuation.yield()
  }

  /// The transceiver is stopped, or the connection at its end: the sequences end.
  func close() {
    life.withLock { life in
      life.isClosed = true
      life.direction = .stopped
      life.negotiated.isSending = false
      life.negotiated.direction = .stopped
    }
    inbox.finish()
    keyframeContinuation.finish()
  }
}
