// SwarmPeer+Drain.swift — carries out what the machine wants: messages to channels, events to users, files, the timer.

import DequeModule
import Logging
import Signaling
import WebRTC
import Wire

extension SwarmPeer {
  /// To be called after everything that goes into the machine.
  func drain() {
    while true {
      if let message = machine.pollSend() {
        send(message)
      } else if let event = machine.pollEvent() {
        react(to: event)
      } else {
        break
      }
    }
    armTimer()
  }

  private func react(to event: SwarmMachine.Event) {
    switch event {
    case .peerConnected(let peer):
      failedDials[peer] = nil
      eventSink.yield(.peerConnected(peer))
    case .peerDisconnected(let peer): eventSink.yield(.peerDisconnected(peer))
    case .peerSilent(let peer): if let link = links[peer] { drop(link, reason: "The peer is silent") }
    case .capabilitiesChanged(let peer, let capabilities): eventSink.yield(.capabilitiesChanged(peer, capabilities))
    case .message(let peer, let type, let payload):
      if case .dropped? = messageSinks[type]?.yield((peer, payload)) { droppedMessages += 1 }
      eventSink.yield(.message(from: peer, type: type, payload: payload))
    case .knowledgeChanged(let entry): eventSink.yield(.knowledgeChanged(entry))
    case .taskRequested(let key, let task): perform(task, key)
    case .taskAbandoned(let key): runningTasks.removeValue(forKey: key)?.cancel()
    case .delegationFinished(let id, let result): delegationWaiters.removeValue(forKey: id)?.resume(returning: result)
    case .voteRequested(let proposal): vote(on: proposal)
    case .consensusReached(let id, let outcome): consensusWaiters.removeValue(forKey: id)?.resume(returning: outcome)
    case .artifactOffered(let peer, let artifact): consider(artifact, from: peer)
    case .readRequested(let transfer, let artifact, let offset, let count):
      read(transfer, artifact, at: offset, count: count)
    case .uploadEnded(let transfer): readers[transfer] = nil
    case .artifactBytes(let transfer, let bytes): write(transfer, bytes)
    case .downloadFinished(let transfer, let result): finishDownload(transfer, result)
    }
  }

  // MARK: Work for others

  private func perform(_ task: SwarmTask, _ key: SwarmMachine.TaskKey) {
    guard phase == .joined else { return machine.declineTask(key, reason: "Leaving") }
    guard let handler = taskHandlers[task.name] else {
      return machine.declineTask(key, reason: "No handler for \(task.name)")
    }
    machine.acceptTask(key)
    runningTasks[key] = Task {
      let outcome: Result<JSONValue, TaskFailure>
      do {
        outcome = .success(try await handler(task))
      } catch {
        outcome = .failure(TaskFailure(message: "\(error)"))
      }
      runningTasks[key] = nil
      machine.completeTask(key, outcome)
      drain()
    }
  }

  private func vote(on proposal: Proposal) {
    guard let voter else { return machine.castVote(SwarmMachine.defaultVote(on: proposal), on: proposal) }
    Task {
      let vote = await voter(proposal)
      machine.castVote(vote, on: proposal)
      drain()
    }
  }

  // MARK: Sending

  private func send(_ message: SwarmMachine.Outgoing) {
    guard let link = links[message.peer], let channel = link.channel(message.lane) else { return }
    let content: Message =
      switch message.content {
      case .text(let text): .text(text)
      case .binary(let bytes): .binary(bytes)
      }
    guard var outbox = link.outboxes[message.lane] else { return }
    if outbox.waiting.isEmpty, !outbox.isPumping {
      do throws(SendError) {
        return try channel.trySend(content)
      } catch {
        guard error == .bufferFull else { return report(error, link) }
      }
    }
    outbox.waiting.append(content)
    outbox.byteCount += content.byteCount
    let mustPump = !outbox.isPumping
    outbox.isPumping = true
    link.outboxes[message.lane] = outbox
    if outbox.byteCount > PeerLink.maximumOutboxBytes { return drop(link, reason: "The peer takes nothing") }
    if mustPump { Task { await pump(link, message.lane, channel) } }
  }

  /// Sends what waits, as the channel makes room.
  private func pump(_ link: PeerLink, _ lane: SwarmMachine.Lane, _ channel: DataChannel) async {
    while let message = link.outboxes[lane]?.waiting.popFirst() {
      do throws(SendError) {
        try await channel.send(message)
      } catch {
        report(error, link)
      }
      link.outboxes[lane]?.byteCount -= message.byteCount
      if link.hasRoom { link.resumeRoomWaiters() }
    }
    link.outboxes[lane]?.isPumping = false
    resumeIdleWaiters()
  }

  /// A closed channel reports itself; nothing else can happen to a message that the machine made.
  private func report(_ error: SendError, _ link: PeerLink) {
    guard error != .closed else { return }
    configuration.logger.warning("message to \(link.peer) lost: \(error)")
  }

  /// Returns once none of the links has more than its share queued.
  func waitForRoom(_ peers: [PeerID]) async {
    for peer in peers {
      while let link = links[peer], !link.hasRoom {
        await withCheckedContinuation { link.roomWaiters.append($0) }
      }
    }
  }

  // MARK: Time

  private func armTimer() {
    guard phase != .left, let due = earliest(machine.deadline, linkDeadline) else { return }
    if let timerDue, timerDue <= due { return }
    timer?.cancel()
    timerDue = due
    let wait = max(.zero, due - SwarmClock.now())
    timer = Task {
      do { try await Task.sleep(for: wait.duration) } catch { return }  // a nearer deadline took its place
      timerDue = nil
      let now = SwarmClock.now()
      machine.handleTimeout(now: now)
      expireLinks(now: now)
      drain()
    }
  }
}
