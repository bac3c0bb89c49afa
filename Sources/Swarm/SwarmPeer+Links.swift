// SwarmPeer+Links.swift — connections to the others: dialling, answering, glare, channels, and their ends (WIRE §6).

import Logging
import Signaling
import WebRTC
import Wire

/// Candidates of a peer that has not made an offer yet.
struct EarlyCandidates: Sendable {
  let since: Instant
  var candidates: [ICECandidateInit] = []
}

extension SwarmPeer {
  // MARK: Dialling

  /// Dials those who wait, a few at a time.
  package func startDials() {
    while !waitingDials.isEmpty, links.values.count(where: { $0.isOfferer && !$0.isMainOpen }) < Self.maximumDials {
      let peer = waitingDials.removeFirst()
      guard phase == .joined, roomMembers.contains(peer), links[peer] == nil else { continue }
      let marker = SwarmMarker(offer: String(random.next(), radix: 16))
      guard let link = makeLink(to: peer, isOfferer: true, marker: marker) else { continue }
      link.enqueue(.dial)
    }
  }

  private func makeLink(to peer: PeerID, isOfferer: Bool, marker: SwarmMarker) -> PeerLink? {
    let connection: PeerConnection
    do {
      connection = try PeerConnection(configuration: configuration.webRTC)
    } catch {
      eventSink.yield(.connectionFailed(peer, reason: "\(error)"))
      return nil
    }
    let link = PeerLink(
      peer: peer, connection: connection, isOfferer: isOfferer, marker: marker, now: SwarmClock.now())
    links[peer] = link
    Task { await negotiate(link) }
    Task { await followStates(of: link) }
    Task { await followChannels(of: link) }
    Task { await followNegotiation(of: link) }
    return link
  }

  // MARK: What signalling brings

  func receiveOffer(_ payload: JSONValue, from peer: PeerID) {
    guard peer != id, links.count < SwarmLimits.maximumPeers || links[peer] != nil else { return }
    let marker = SwarmMarker(payload)
    if let link = links[peer] {
      if let marker, marker == link.marker, link.isRemoteSet { return link.enqueue(.reoffer(payload)) }
      // Both dialled. Between our own kind the one with the smaller id gives way; a page of the references answers our
      // offer whatever it has sent itself (WIRE §6.3).
      let isGlare = link.isOfferer && !link.isRemoteSet
      if isGlare, marker == nil || !Self.isPolite(id, toward: peer) { return }
      drop(link, reason: isGlare ? nil : "The peer has connected anew", redials: false)
    }
    waitingDials.removeAll { $0 == peer }
    guard let link = makeLink(to: peer, isOfferer: false, marker: marker ?? SwarmMarker(offer: "")) else { return }
    link.isExtended = marker != nil
    link.candidates = earlyCandidates.removeValue(forKey: peer)?.candidates ?? []
    link.enqueue(.accept(payload))
  }

  func receiveCandidate(_ payload: JSONValue, from peer: PeerID) {
    guard peer != id, let candidate = ICECandidateInit(payload) else { return }
    if let link = links[peer] { return link.enqueue(.candidate(candidate)) }
    let now = SwarmClock.now()
    earlyCandidates = earlyCandidates.filter { $0.value.since + PeerLink.candidateLifetime > now }
    guard earlyCandidates[peer] != nil || earlyCandidates.count < Self.maximumEarlyPeers else { return }
    var early = earlyCandidates[peer] ?? EarlyCandidates(since: now)
    guard early.candidates.count < PeerLink.maximumCandidates else { return }
    early.candidates.append(candidate)
    earlyCandidates[peer] = early
  }

  /// Whether this is the link to its peer, rather than one that has been given up.
  func isCurrent(_ link: PeerLink) -> Bool { links[link.peer] === link }

  /// In the order of UTF-8, on both sides the same.
  static func isPolite(_ id: PeerID, toward peer: PeerID) -> Bool { id.utf8.lexicographicallyPrecedes(peer.utf8) }

  // MARK: Negotiation, one step after the other

  private func negotiate(_ link: PeerLink) async {
    for await job in link.jobs {
      do {
        switch job {
        case .dial: try await dial(link)
        case .accept(let offer): try await accept(offer, link)
        case .answer(let answer): if try await !takeAnew(answer, link) { try await take(answer, link) }
        case .renegotiate: try await offerAnew(link)
        case .reoffer(let offer): try await acceptAnew(offer, link)
        case .candidate(let candidate): await add(candidate, link)
        }
      } catch {
        drop(link, reason: "\(error)")
      }
      drain()
    }
  }

  private func dial(_ link: PeerLink) async throws(PeerConnectionError) {
    let label = link.peer.hasPrefix("reploid-") ? Self.bareLabel : Self.mainLabel
    adopt(try await link.connection.createDataChannel(label), .main, link)
    let offer = try await link.connection.createOffer()
    try await link.connection.setLocalDescription(offer)
    guard isCurrent(link) else { return }  // gave way to the peer's own offer; ours would replace it
    await signal(
      .offer(.init(peerID: id, targetPeer: link.peer, payload: offer.json(marker: link.marker, id: id))))
    Task { await sendCandidates(of: link) }
  }

  private func accept(_ payload: JSONValue, _ link: PeerLink) async throws(PeerConnectionError) {
    guard let offer = SessionDescription(payload), offer.type == .offer else {
      throw .invalidDescription("The offer has no type or no SDP")
    }
    try await setRemote(offer, link)
    let answer = try await link.connection.createAnswer()
    try await link.connection.setLocalDescription(answer)
    guard isCurrent(link) else { return }
    await signal(
      .answer(.init(peerID: id, targetPeer: link.peer, payload: answer.json(marker: link.marker, id: id))))
    Task { await sendCandidates(of: link) }
  }

  private func take(_ payload: JSONValue, _ link: PeerLink) async throws(PeerConnectionError) {
    guard link.isOfferer, !link.isRemoteSet else { return }
    let marker = SwarmMarker(payload)
    if let marker, marker != link.marker { return }  // the answer to an offer that we have given up
    guard let answer = SessionDescription(payload), answer.type == .answer else {
      throw .invalidDescription("The answer has no type or no SDP")
    }
    link.isExtended = marker != nil
    try await setRemote(answer, link)
    // A second channel would confuse a page of the references (WIRE §6.2).
    if link.isExtended { adopt(try await link.connection.createDataChannel(Self.bulkLabel), .bulk, link) }
  }

  private func setRemote(_ description: SessionDescription, _ link: PeerLink) async throws(PeerConnectionError) {
    try await link.connection.setRemoteDescription(description)
    link.isRemoteSet = true
    let candidates = link.candidates
    link.candidates = []
    for candidate in candidates { await add(candidate, link) }
  }

  private func add(_ candidate: ICECandidateInit, _ link: PeerLink) async {
    guard link.isRemoteSet else {
      if link.candidates.count < PeerLink.maximumCandidates { link.candidates.append(candidate) }
      return
    }
    do {
      try await link.connection.addICECandidate(candidate)
    } catch {
      // One bad candidate is no reason to give up the others.
      configuration.logger.debug("candidate of \(link.peer) not taken: \(error)")
    }
  }

  /// Ours follow the description that they belong to.
  private func sendCandidates(of link: PeerLink) async {
    for await candidate in link.connection.localCandidates where isCurrent(link) {
      await signal(.iceCandidate(.init(peerID: id, targetPeer: link.peer, payload: candidate.json)))
    }
  }

  // MARK: Channels

  private func followChannels(of link: PeerLink) async {
    for await channel in link.connection.incomingChannels {
      if channel.label == Self.bulkLabel, link.isExtended, link.bulk == nil {
        adopt(channel, .bulk, link)
      } else if link.main == nil {
        adopt(channel, .main, link)
      } else {
        channel.close()
      }
    }
  }

  private func adopt(_ channel: DataChannel, _ lane: SwarmMachine.Lane, _ link: PeerLink) {
    if lane == .main { link.main = channel } else { link.bulk = channel }
    Task { await serve(channel, lane, link) }
  }

  /// One channel, from its opening to its end.
  private func serve(_ channel: DataChannel, _ lane: SwarmMachine.Lane, _ link: PeerLink) async {
    do { try await channel.waitUntilOpen() } catch { return closed(lane, link) }
    opened(lane, link)
    for await message in channel.messages {
      guard isCurrent(link) else { break }
      let content: SwarmMachine.Content =
        switch message {
        case .text(let text): .text(text)
        case .binary(let bytes): .binary(bytes)
        }
      machine.handle(content, from: link.peer, lane: lane, now: SwarmClock.now())
      drain()
    }
    closed(lane, link)
  }

  private func opened(_ lane: SwarmMachine.Lane, _ link: PeerLink) {
    guard isCurrent(link) else { return }
    let now = SwarmClock.now()
    if lane == .main { link.isMainOpen = true } else { link.isBulkOpen = true }
    if link.isMainOpen {
      machine.channelOpened(link.peer, lane: lane, isExtended: link.isExtended, now: now)
      // The second channel may have been first.
      if lane == .main, link.isBulkOpen {
        machine.channelOpened(link.peer, lane: .bulk, isExtended: link.isExtended, now: now)
      }
    }
    startDials()
    drain()
  }

  private func closed(_ lane: SwarmMachine.Lane, _ link: PeerLink) {
    guard isCurrent(link) else { return }
    if lane == .main {
      drop(link, reason: "The channel has been closed")
    } else {
      link.isBulkOpen = false
      link.bulk = nil
      machine.channelClosed(link.peer, lane: .bulk, now: SwarmClock.now())
    }
    drain()
  }

  // MARK: Ends

  private func followStates(of link: PeerLink) async {
    for await state in link.connection.connectionStates {
      guard state == .failed, isCurrent(link) else { continue }
      let reason = await link.connection.failureReason
      drop(link, reason: reason ?? "The connection failed")
      drain()
    }
  }

  /// Forgets a link and closes it. We dial again if it was us who dialled and the peer is still in the room.
  ///
  /// - Parameter reason: for people; nil when nothing is wrong.
  func drop(_ link: PeerLink, reason: String?, redials: Bool = true) {
    guard isCurrent(link) else { return }
    links[link.peer] = nil
    link.endJobs()
    link.resumeRoomWaiters()
    resumeIdleWaiters()
    if link.isMainOpen { machine.channelClosed(link.peer, lane: .main, now: SwarmClock.now()) }
    let connection = link.connection
    Task { await connection.close() }
    guard phase == .joined else { return }
    if let reason {
      configuration.logger.info("link to \(link.peer) ended: \(reason)")
      eventSink.yield(.connectionFailed(link.peer, reason: reason))
    }
    if redials, link.isOfferer, roomMembers.contains(link.peer) { redial(link.peer) }
    startDials()
  }

  /// Not at once: the channel of a peer that leaves closes before the server says that it has left.
  private func redial(_ peer: PeerID) {
    let failures = failedDials[peer, default: 0]
    guard failures < Self.maximumRedials else { return }
    failedDials[peer] = failures + 1
    let wait = Duration.seconds(1 << failures)
    Task {
      do { try await Task.sleep(for: wait) } catch { return }
      guard phase == .joined, roomMembers.contains(peer), links[peer] == nil else { return }
      waitingDials.append(peer)
      startDials()
      drain()
    }
  }

  /// When the next link's time to open is over.
  var linkDeadline: Instant? {
    links.values.lazy.filter { !$0.isMainOpen }.map(\.deadline).min()
  }

  func expireLinks(now: Instant) {
    for link in links.values where !link.isMainOpen && link.deadline <= now {
      drop(link, reason: "The peer does not answer")
    }
  }

  /// Closes every link; what is queued is sent first, if that takes no longer than twice `closePatience`.
  func closeLinks() async {
    await waitForPumps()
    let closing = Array(links.values)
    links = [:]
    await withTaskGroup(of: Void.self) { group in
      for link in closing {
        link.endJobs()
        link.resumeRoomWaiters()
        let channels = [link.main, link.bulk].compactMap(\.self)
        let connection = link.connection
        group.addTask {
          await Self.flush(channels)
          await connection.close()
        }
      }
    }
  }

  /// Returns once the channels have taken everything that waited for room in them.
  private func waitForPumps() async {
    let limit = Task {
      try await Task.sleep(for: Self.closePatience)
      isOutOfPatience = true
      resumeIdleWaiters()
    }
    while !isOutOfPatience, links.values.contains(where: \.isPumping) {
      await withCheckedContinuation { idleWaiters.append($0) }
    }
    limit.cancel()
  }

  func resumeIdleWaiters() {
    let waiters = idleWaiters
    idleWaiters = []
    for waiter in waiters { waiter.resume() }
  }

  private nonisolated static func flush(_ channels: [DataChannel]) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        for channel in channels { channel.close() }
        for channel in channels { await channel.waitUntilClosed() }
      }
      group.addTask {
        do { try await Task.sleep(for: closePatience) } catch { return }
      }
      await group.next()
      group.cancelAll()
    }
  }

  // MARK: Statistics

  /// How this peer and its links are.
  public func stats() async -> SwarmStatistics {
    var peers: [SwarmStatistics.Peer] = []
    for link in links.values.sorted(by: { $0.peer < $1.peer }) {
      let connection = await link.connection.statistics()
      let record = machine.peers[link.peer]
      let pair = connection.localCandidate.flatMap { local in
        connection.remoteCandidate.map { "\(local.type) \(local.address) - \($0.type) \($0.address)" }
      }
      peers.append(
        SwarmStatistics.Peer(
          id: link.peer, state: connection.state.rawValue, isConnected: record != nil, isExtended: link.isExtended,
          candidatePair: pair,
          roundTrip: record?.roundTrip?.duration ?? connection.dataRoundTrip ?? connection.roundTrip,
          bytesIn: connection.bytesReceived, bytesOut: connection.bytesSent, counters: record?.counters ?? .init(),
          capabilities: record?.capabilities.sorted() ?? []))
    }
    return SwarmStatistics(
      id: id, room: configuration.room, isSignalingConnected: isSignalingConnected, peers: peers,
      delegationsUnderWay: machine.delegations.count, tasksUnderWay: machine.tasks.count,
      droppedMessages: droppedMessages,
      rejections: Dictionary(uniqueKeysWithValues: machine.rejections.map { ($0.key.rawValue, $0.value) }))
  }

  static let mainLabel = "reploid"
  static let bareLabel = "reploid-data"
  static let bulkLabel = "reploid-bulk"
  /// Connections that are being set up at once because we want them (WIRE §6.3).
  private static let maximumDials = 8
  private static let maximumRedials = 3
  private static let maximumEarlyPeers = 256
  private static let closePatience = Duration.seconds(2)
}
