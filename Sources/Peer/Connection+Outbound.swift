// Connection+Outbound.swift — a message's way down: channel → SCTP → DTLS → batch; and the layers' own packets,
// those of media among them.

import DTLS
package import DataChannel
import ICE
import Media
package import SCTP
package import Wire

extension Connection {
  /// Why a message was not taken.
  package enum SendFailure: Error, Hashable, Sendable {
    case channel(ChannelError)
    case association(SCTPSendError)
  }

  // MARK: The application's calls

  /// Opens a channel; it may carry messages once `.channelOpened` came.
  package mutating func openChannel(_ parameters: ChannelParameters, now: Instant) throws(ChannelError) -> ChannelID {
    wantsData = true
    return try channels.open(parameters)
  }

  /// Queues a message for sending. When it does not fit, nothing of it is taken.
  package mutating func send(
    on channel: ChannelID, isText: Bool, payload: consuming [UInt8], now: Instant
  ) throws(SendFailure) {
    let message: OutgoingMessage
    do { message = try channels.message(on: channel, payload: payload, isText: isText) } catch {
      throw .channel(error)
    }
    do { try association.send(message, now: now) } catch { throw .association(error) }
  }

  /// Closes a channel once its queued messages are sent (RFC 8831 §6.7).
  package mutating func closeChannel(_ channel: ChannelID) { channels.close(channel) }

  /// The application has consumed messages that cost this much (see `receiveCost`); the window opens by as much.
  package mutating func releaseReceived(cost: Int, now: Instant) { association.releaseReceived(cost, now: now) }

  /// Payload bytes of this channel that wait for the network.
  package func bufferedAmount(of channel: ChannelID) -> Int {
    channels.stream(of: channel).map { association.bufferedAmount(stream: $0) } ?? 0
  }

  /// Ends everything. The peer is told by SCTP's ABORT and DTLS's close_notify: the owner transmits once more.
  package mutating func close(now: Instant) {
    guard state != .closed else { return }
    association.abort(reason: "", now: now)
    media?.session.close(now: now)
    isClosing = true
    end(as: .closed)
  }

  // MARK: The network

  /// Fills the batch with datagrams.
  ///
  /// - Returns: whether more remain for another batch.
  package mutating func pollTransmit(into batch: inout TransmitBatch, now: Instant) -> Bool {
    carryChannelControl(now: now)
    let maximum = max(configuration.maximumDatagramSize, configuration.maximumProbedDatagramSize)
    let room = gathering.room(for: maximum)
    while batch.hasRoom(for: room) {
      let before = batch.byteCount
      guard transmitOne(into: &batch, maximum: maximum, now: now) else { return false }
      counters.datagramsSent &+= 1
      counters.bytesSent &+= UInt64(batch.byteCount - before)
    }
    return true
  }

  /// Servers and ICE first, then DTLS's own messages, then media, which waits worst, then SCTP; last words come last. A peer that has not seen the end of
  /// the handshake cannot read what comes after it, and some drop it.
  private mutating func transmitOne(into batch: inout TransmitBatch, maximum: Int, now: Instant) -> Bool {
    if gathering.isInUse {
      if !hasEnded, gathering.pollTransmit(into: &batch, now: now) { return true }
      if Self.transmitCheck(of: &ice, through: &plaintext, gathering, into: &batch, now: now) { return true }
      if isRestarting,
        Self.transmitCheck(of: &restarting!, through: &plaintext, gathering, into: &batch, now: now)
      {
        return true
      }
    } else {
      if batch.append(maximum: maximum, { out in ice.pollTransmit(into: &out, now: now) }) { return true }
      if isRestarting, batch.append(maximum: maximum, { out in restarting!.pollTransmit(into: &out, now: now) }) {
        return true
      }
    }
    if transmitPacket(into: &batch, maximum: maximum, now: now) { return true }
    return hasEnded && releaseRelays(into: &batch, now: now)
  }

  private mutating func transmitPacket(into batch: inout TransmitBatch, maximum: Int, now: Instant) -> Bool {
    guard hasSession, let route = sendRoute else { return false }
    let relay = route.socket.isVirtual ? gathering.relay(route.socket) : nil
    guard relay != nil || !route.socket.isVirtual else { return false }
    let hasOwnMessage = Self.append(to: route, by: relay, into: &batch, maximum: maximum, now: now) { out in
      dtls!.pollTransmit(into: &out)
    }
    if hasOwnMessage { return true }
    guard isSessionConnected else { return false }
    if hasMedia {
      let hasMediaPacket = Self.append(to: route, by: relay, into: &batch, maximum: maximum, now: now) { out in
        media!.pollTransmit(through: &plaintext, into: &out, now: now)
      }
      if hasMediaPacket { return true }
    }
    let hasPacket = Self.append(to: route, by: relay, into: &batch, maximum: maximum, now: now) { out in
      Self.sealNext(of: &association, through: &plaintext, with: &dtls, into: &out, now: now)
    }
    if hasPacket { return true }
    guard isClosing else { return false }
    dtls!.close()
    return Self.append(to: route, by: relay, into: &batch, maximum: maximum, now: now) { out in
      dtls!.pollTransmit(into: &out)
    }
  }

  /// Where this side's packets go: after the end, where they went last.
  private var sendRoute: Route? {
    if let lastRoute { return lastRoute }
    return activeRoute
  }

  private static func sealNext(
    of association: inout SCTPAssociation, through plaintext: inout ScratchBuffer, with session: inout DTLSSession?,
    into out: inout OutputRawSpan, now: Instant
  ) -> Bool {
    let isSealed = plaintext.withBytes { packet in
      association.pollTransmit(into: &packet, now: now)
    } read: { packet in
      do {
        try session?.seal(packet, into: &out)
        return true
      } catch {
        // The session has ended and says why in its event.
        return false
      }
    }
    return isSealed == true
  }

  /// Hands what the channels themselves have to say to SCTP: OPEN, ACK, and resets behind the data.
  private mutating func carryChannelControl(now: Instant) {
    while let message = channels.pollSend(room: association.sendRoom) {
      do { try association.send(message, now: now) } catch {
        // There was room and the stream exists, so the association is ending: its event closes the channels.
        return
      }
    }
    while let streams = channels.pollReset() { association.resetStreams(streams, now: now) }
  }
}
