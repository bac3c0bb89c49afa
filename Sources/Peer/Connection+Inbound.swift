// Connection+Inbound.swift — a datagram's way up: first byte → ICE, or DTLS → SCTP → channels → event, or
// SRTP → RTP → event.

import DTLS
import DataChannel
import DequeModule
import ICE
import Media
import SCTP
package import Wire

extension Connection {
  /// Takes one UDP payload. The owner drains once after the whole received batch.
  package mutating func handle(_ datagram: RawSpan, route: Route, now: Instant) {
    guard state != .closed else { return }
    counters.datagramsReceived &+= 1
    counters.bytesReceived &+= UInt64(datagram.byteCount)
    if gathering.isInUse, takeFromServer(datagram, route: route, now: now) { return }
    handleFromPeer(datagram, route: route, now: now)
  }

  /// Takes a datagram that came from a peer, by itself or through a relay.
  mutating func handleFromPeer(_ datagram: RawSpan, route: Route, now: Instant) {
    switch PacketKind(datagram) {
    case .stun:
      handleSTUN(datagram, route: route, now: now)
      advance(now: now)
    case .dtls where hasSession && isValidated(route):
      handleDTLS(datagram, now: now)
    case .dtls where early.count < Self.maximumEarlyDatagrams && !isSessionStarted:
      early.append(EarlyDatagram(route: route, bytes: datagram.copyBytes()))
    case .rtp where hasMedia: handleMedia(datagram, route: route, now: now)
    case .dtls, .turnChannel, .rtp, .unknown:
      counters.datagramsDropped &+= 1
    }
  }

  /// DTLS from an address that no check has validated never reaches OpenSSL. But a peer whose own check has just
  /// succeeded starts the handshake at once, and its first flight may overtake our check's answer: it waits for that.
  mutating func replayEarly(now: Instant) {
    guard hasSession, !early.isEmpty else { return }
    let held = early
    early = []
    for datagram in held where !isValidated(datagram.route) { early.append(datagram) }
    for datagram in held where isValidated(datagram.route) { handleDTLS(datagram.bytes.rawSpan, now: now) }
  }

  /// A browser's ClientHello spans two datagrams; twice that for its first retransmission.
  static let maximumEarlyDatagrams = 4

  private mutating func handleDTLS(_ datagram: RawSpan, now: Instant) {
    if !isSessionStarted { adoptRoundTrip() }  // a server starts with the first datagram
    dtls?.handle(datagram, now: now)
    // A handshake message changes the session's state; so does the alert that ends it.
    takeSessionEvents(now: now)
    while Self.openNext(of: &dtls, through: &plaintext, for: &association, now: now) {}
  }

  private static func openNext(
    of session: inout DTLSSession?, through plaintext: inout ScratchBuffer, for association: inout SCTPAssociation,
    now: Instant
  ) -> Bool {
    let packet: Void? = plaintext.withBytes { out in
      session?.readApplicationData(into: &out) ?? false
    } read: { packet in
      association.handle(packet, now: now)
    }
    return packet != nil
  }

  /// Moves every deadline that is due.
  package mutating func handleTimeout(now: Instant) {
    if let due = gathering.deadline, due <= now { gathering.handleTimeout(now: now) }
    if let due = ice.deadline, due <= now { ice.handleTimeout(now: now) }
    if let due = restartDeadline, due <= now { restarting?.handleTimeout(now: now) }
    if let due = sessionDeadline, due <= now { dtls?.handleTimeout(now: now) }
    if let due = associationDeadline, due <= now { association.handleTimeout(now: now) }
    if let due = mediaDeadline, due <= now { media?.session.handleTimeout(now: now) }
    advance(now: now)
  }

  /// When to come back at the latest; nil when nothing is pending.
  package var deadline: Instant? {
    guard !hasEnded else { return nil }
    var due = earliest(earliest(ice.deadline, restartDeadline), earliest(sessionDeadline, associationDeadline))
    if hasMedia { due = earliest(due, mediaDeadline) }
    return gathering.isInUse ? earliest(due, gathering.deadline) : due
  }

  /// While there is no route SCTP's time stands still: what cannot leave cannot be lost. With a route again, what was due
  /// is.
  private var associationDeadline: Instant? { activeRoute == nil ? nil : association.deadline }

  /// The next thing for the application, in the order it happened; nil when there is nothing.
  package mutating func pollEvent(now: Instant) -> Event? {
    openChannelTable()
    while true {
      if let event = events.popFirst() { return event }
      if takeChannelEvent() { continue }
      if let event = media?.session.pollEvent() { return .media(event) }
      // Messages first: an incoming reset, or the end, comes after everything that was delivered before it.
      if let message = association.pollMessage() {
        let byteCount = message.payload.count
        if let delivery = channels.handle(message) {
          // An empty message travels as one byte, which the application never sees and cannot give back.
          let hidden = byteCount - delivery.payload.count
          if hidden > 0 { association.releaseReceived(hidden, now: now) }
          association.chargeReceived(Self.messageOverhead)
          return .message(delivery.channel, isText: delivery.isText, payload: delivery.payload)
        }
        // A control message ends here; what it changes comes out of the channel table as events.
        association.releaseReceived(byteCount, now: now)
      } else if let event = association.pollEvent() {
        handle(event)
      } else {
        return nil
      }
    }
  }

  /// What a message that waits for the application costs of the receive window: its payload and its keeping.
  package static func receiveCost(payloadBytes: Int) -> Int { payloadBytes + messageOverhead }

  /// An array's header, its place in a queue, and what the allocator adds.
  private static let messageOverhead = 64

  /// Lets channels have streams as soon as the peer's number of streams is known, before the first message is looked at:
  /// with its INIT-ACK, so that DATA_CHANNEL_OPEN and what follows go behind our COOKIE-ECHO (RFC 9260 §5.1 C).
  private mutating func openChannelTable() {
    guard !isChannelTableOpen, association.state != .closed, association.state != .cookieWait else { return }
    isChannelTableOpen = true
    channels.connected(
      as: negotiation.dtlsRole == .client ? .even : .odd, maximumStreams: Int(association.outgoingStreamCount))
  }

  private mutating func takeChannelEvent() -> Bool {
    guard let event = channels.pollEvent() else { return false }
    switch event {
    case .opened(let channel): events.append(.channelOpened(channel))
    case .incoming(let channel, let parameters): events.append(.incomingChannel(channel, parameters))
    case .closing(let channel): events.append(.channelClosing(channel))
    case .closed(let channel): events.append(.channelClosed(channel))
    case .failed(let channel, let why): events.append(.channelFailed(channel, why))
    }
    return true
  }
}
