// SwarmPeer+Signaling.swift — the room: joining it, who is in it, and what it relays.

import Logging
import Signaling
import SignalingTransport
import Wire

extension SwarmPeer {
  func readSignaling() {
    services.append(
      Task {
        for await message in client.messages { await handle(message) }
      })
    services.append(
      Task {
        for await state in client.states { handle(state) }
      })
  }

  // MARK: In

  private func handle(_ state: SignalingClient.State) {
    guard case .disconnected(let reason, _) = state, isSignalingConnected else { return }
    isSignalingConnected = false
    isJoining = false
    guard phase != .left else { return }
    configuration.logger.notice("signalling lost: \(reason)")
    eventSink.yield(.signalingLost)
  }

  private func handle(_ message: SignalingMessage) async {
    guard phase != .left else { return }
    switch message {
    case .welcome: await sendJoin()  // the first message of every connection
    case .joined(let joined): enter(joined)
    case .peerJoined(let peer, _): peerJoined(peer)
    case .peerLeft(let peer): peerLeft(peer)
    case .peerAnnounced: break  // capabilities come over the channel, from the peer itself
    case .offer(let message): receiveOffer(message.payload, from: message.peerID)
    case .answer(let message): links[message.peerID]?.enqueue(.answer(message.payload))
    case .iceCandidate(let message): receiveCandidate(message.payload, from: message.peerID)
    case .error(let refused): takeRefusal(refused)
    case .serverShutdown: break  // the client looks for the server again by itself
    case .join, .leave, .heartbeat, .announce, .broadcast, .relay: break
    }
    drain()
  }

  private func enter(_ joined: SignalingMessage.Joined) {
    isSignalingConnected = true
    joinRefusals = 0
    let peers = joined.peers.prefix(SwarmLimits.maximumPeers).filter { $0 != id }
    // A list that nobody asked for names those whom the server forgot to mention.
    if isJoining { roomMembers = Set(peers) } else { roomMembers.formUnion(peers) }
    isJoining = false
    let now = SwarmClock.now()
    for peer in links.keys { machine.signalingChanged(peer, isPresent: roomMembers.contains(peer), now: now) }
    phase = .joined
    endJoin(.success(()))
    eventSink.yield(.joinedRoom)
    for peer in peers {
      eventSink.yield(.peerJoined(peer))
      failedDials[peer] = nil
      if links[peer] == nil { waitingDials.append(peer) }
    }
    startDials()
  }

  private func peerJoined(_ peer: PeerID) {
    guard peer != id, roomMembers.count < SwarmLimits.maximumPeers else { return }
    roomMembers.insert(peer)
    failedDials[peer] = nil
    machine.signalingChanged(peer, isPresent: true, now: SwarmClock.now())
    eventSink.yield(.peerJoined(peer))  // it dials us
  }

  private func peerLeft(_ peer: PeerID) {
    guard roomMembers.remove(peer) != nil else { return }
    waitingDials.removeAll { $0 == peer }
    earlyCandidates[peer] = nil
    failedDials[peer] = nil
    if let link = links[peer] {
      if link.isMainOpen, link.isExtended {
        // Perhaps only its connection to the server broke; it is asked directly.
        machine.signalingChanged(peer, isPresent: false, now: SwarmClock.now())
      } else {
        drop(link, reason: "The peer has left the room")
      }
    }
    eventSink.yield(.peerLeft(peer))
  }

  /// The references' servers do not say what they refuse: while a join is on its way it is that.
  private func takeRefusal(_ refused: SignalingMessage.Refused) {
    guard isJoining else {
      configuration.logger.debug("the signalling server refused something: \(refused.message)")
      return
    }
    isJoining = false
    // Our own last connection may not have been missed yet (WIRE B-2).
    let isTaken = refused.message == "peerId is already connected"
    if isTaken, phase == .joined, joinRefusals < Self.joinRetries.count {
      let wait = Self.joinRetries[joinRefusals]
      joinRefusals += 1
      services.append(
        Task {
          do { try await Task.sleep(for: wait) } catch { return }
          await sendJoin()
        })
      return
    }
    configuration.logger.warning("join refused: \(refused.message)")
    endJoin(.failure(.signaling(refused.message)))
  }

  // MARK: Out

  private func sendJoin() async {
    guard phase != .left else { return }
    isJoining = true
    await signal(
      .join(.init(peerID: id, roomID: configuration.room, token: configuration.token, metadata: metadata)))
  }

  func announceMetadata() async {
    guard isSignalingConnected else { return }
    await signal(.announce(.init(peerID: id, roomID: configuration.room), metadata: metadata))
  }

  func leaveRoom() async {
    guard isSignalingConnected else { return }
    isSignalingConnected = false
    await signal(.leave(.init(peerID: id, roomID: configuration.room)))
  }

  /// Sends to the server; false when that failed, which `states` reports too.
  @discardableResult
  func signal(_ message: SignalingMessage) async -> Bool {
    do {
      try await client.send(message)
      return true
    } catch {
      configuration.logger.debug("\(message.kind.rawValue) not sent: \(error)")
      return false
    }
  }

  /// What the room is told about us; servers keep 16 strings of a list.
  private var metadata: [String: JSONValue] {
    ["capabilities": .strings(machine.capabilities.prefix(16)), "x-sw": "1"]
  }

  private static let joinRetries: [Duration] = [1, 2, 5, 10, 30].map { .seconds($0) }
}
