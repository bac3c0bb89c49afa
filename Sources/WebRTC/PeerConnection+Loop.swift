// PeerConnection+Loop.swift — the door through which the event loop enters: datagrams and time in, datagrams out.

import DataChannel
import DequeModule
import ICE
import Logging
package import Net
import Peer
import SCTP
package import Wire

typealias Entries = Deque<Exchange.Entry>

extension PeerConnection: EventLoopParticipant {
  package nonisolated func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {
    assumeIsolated { connection in
      batch.forEach { bytes, route in connection.machine.handle(bytes, route: route, now: now) }
      connection.takeEvents(now: now)
    }
  }

  package nonisolated func timeout(now: Instant) {
    assumeIsolated { connection in
      connection.machine.handleTimeout(now: now)
      connection.takeEvents(now: now)
    }
  }

  package nonisolated func drain(into batch: inout TransmitBatch, now: Instant) -> Bool {
    assumeIsolated { connection in connection.drainIsolated(into: &batch, now: now) }
  }

  package nonisolated var deadline: Instant? { assumeIsolated { connection in connection.machine.deadline } }

  package nonisolated func didLeave() {
    assumeIsolated { connection in connection.hasLeftLoop = true }
  }

  /// Asks the loop for a drain at the end of this turn.
  func touch() { registration?.touch() }

  private func drainIsolated(into batch: inout TransmitBatch, now: Instant) -> Bool {
    takeExchange(now: now)
    if !transceivers.isEmpty { takeOutbox(now: now) }
    let before = machine.counters.datagramsSent
    var hasMore = machine.pollTransmit(into: &batch, now: now)
    // Packets that the machine had no room for go with the next batch, as long as batches go.
    if !packets.isEmpty, machine.counters.datagramsSent != before { hasMore = true }
    reportSent()
    takeEvents(now: now)
    return hasMore
  }

  // MARK: Down

  /// Moves what other threads have left into the machine, as far as SCTP has room; the rest keeps its place.
  private func takeExchange(now: Instant) {
    let room = entries.isEmpty ? machine.association.sendRoom : 0
    let isIdle = entries.isEmpty && machine.association.bufferedTotal == 0
    let (consumed, deliveries) = exchange.take(room: room, isIdle: isIdle, into: &entries)
    for channel in deliveries { channels[channel]?.inbox.pump() }
    if consumed > 0 { machine.releaseReceived(cost: consumed, now: now) }
    while let entry = entries.popFirst() {
      switch entry {
      case .message(let channel, let isText, let payload):
        do {
          try machine.send(on: channel, isText: isText, payload: payload, now: now)
          if let channel = channels[channel], channel.didHandOver(payload.count) { sending.append(channel) }
        } catch .association(.bufferFull) {
          entries.prepend(entry)
          return
        } catch {
          // The channel has closed since the message was queued; its end has been reported.
          configuration.logger.debug("a message was not sent: \(error)")
        }
      case .close(let channel): machine.closeChannel(channel)
      }
    }
  }

  /// Lets each channel know how many of its bytes have gone to the network.
  private func reportSent() {
    var kept = 0
    for index in sending.indices {
      let channel = sending[index]
      guard channel.didSend(allBut: machine.bufferedAmount(of: channel.handle)) else { continue }
      sending[kept] = channel
      kept += 1
    }
    sending.removeSubrange(kept...)
  }

  // MARK: Up

  func takeEvents(now: Instant) {
    if let keyLog { takeKeyLog(keyLog) }
    while let event = machine.pollEvent(now: now) {
      switch event {
      case .message(let id, let isText, let payload):
        guard let channel = channels[id] else {
          machine.releaseReceived(cost: Connection.receiveCost(payloadBytes: payload.count), now: now)
          break
        }
        channel.inbox.deliver(isText: isText, payload: payload)
      case .channelOpened(let id):
        if let stream = machine.channels.stream(of: id) { channels[id]?.didOpen(stream: stream) }
      case .incomingChannel(let id, let parameters):
        let channel = makeChannel(id, label: parameters.label, DataChannelConfiguration(parameters))
        if let stream = machine.channels.stream(of: id) { channel.didOpen(stream: stream) }
        if case .dropped(let unread) = channelContinuation.yield(channel) { unread.close() }
      case .channelClosing(let id): channels[id]?.didStartClosing()
      case .channelClosed(let id):
        channels.removeValue(forKey: id)?.didClose()
      case .channelFailed(let id, let why):
        configuration.logger.info("channel \(channels[id]?.label ?? "?") failed: \(why)")
      case .selectedPairChanged(let pair):
        configuration.logger.debug("selected pair: \(pair.local.address) to \(pair.remote.address)")
        pairContinuation.yield(SelectedCandidatePair(pair))
        refreshTransceivers()
      case .gatheringRestarted: regather()
      case .localCandidate(let candidate): announce(candidate)
      case .localCandidatesEnded: announce("")
      case .serverFailed(let why): configuration.logger.info("ICE server \(why)")
      case .relayRedirected(let request): follow(request)
      case .media(let event): take(event)
      case .mediaFailed(let why): configuration.logger.warning("no audio or video: \(why)")
      case .stateChanged(let state): change(to: State(state))
      }
    }
  }

  private func change(to new: State) {
    state = new
    stateContinuation.yield(new)
    refreshTransceivers()
    // An ICE restart may bring a connection back that has failed for want of a route.
    guard machine.hasEnded else { return }
    exchange.close()
    for channel in channels.values { channel.didClose() }
    channels.removeAll()
    sending.removeAll()
    closeTransceivers()
    stateContinuation.finish()
    channelContinuation.finish()
    candidateContinuation.finish()
    negotiationContinuation.finish()
    pairContinuation.finish()
    giveUpNames()
    registration?.leave(afterDrain: true)
  }
}
