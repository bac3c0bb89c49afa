// World.swift — swarm machines joined by links of seeded delay under virtual time. Nothing here sleeps: the clock jumps
// to the next thing that is due.

import Digest
import Signaling
import Wire

import Swarm

/// A machine with a user: it answers what the machine asks for, and remembers what it was told.
final class Node {
  let id: PeerID
  var machine: SwarmMachine
  var files: [String: [UInt8]] = [:]
  /// What it says to a task; nil leaves the task unanswered.
  var worker: (SwarmTask) -> Answer? = { _ in .decline("Not today") }
  /// How it votes; nil leaves the question unanswered.
  var voter: (Proposal) -> Bool? = { _ in true }
  /// Refuses to read files beyond this many bytes.
  var readLimit = Int64.max

  var connected: Set<PeerID> = []
  var messages: [(from: PeerID, type: String, payload: JSONValue)] = []
  var delegations: [String: Result<JSONValue, DelegationError>] = [:]
  var outcomes: [String: ConsensusOutcome] = [:]
  var received: [UInt64: [UInt8]] = [:]
  var downloads: [UInt64: Result<ArtifactDescription, ArtifactError>] = [:]
  var abandoned: [SwarmMachine.TaskKey] = []
  var silent: [PeerID] = []
  var tasksSeen: [SwarmTask] = []
  var uploadsEnded = 0

  enum Answer { case decline(String), done(JSONValue), failed(String), accept }

  init(_ id: PeerID, capabilities: [String] = [], seed: UInt64 = 1) {
    self.id = id
    var configuration = SwarmMachine.Configuration(peerID: id)
    configuration.capabilities = capabilities
    configuration.wallClockOrigin = 1_767_225_600_000
    machine = SwarmMachine(
      configuration: configuration, random: .seeded(state: seed &+ UInt64(truncatingIfNeeded: id.hashValue)))
  }

  func react(to event: SwarmMachine.Event, now: Instant) {
    switch event {
    case .peerConnected(let peer): connected.insert(peer)
    case .peerDisconnected(let peer): connected.remove(peer)
    case .peerSilent(let peer): silent.append(peer)
    case .message(let peer, let type, let payload): messages.append((peer, type, payload))
    case .taskRequested(let key, let task):
      tasksSeen.append(task)
      switch worker(task) {
      case nil: break
      case .decline(let reason)?: machine.declineTask(key, reason: reason)
      case .accept?: machine.acceptTask(key)
      case .done(let result)?:
        machine.acceptTask(key)
        machine.completeTask(key, .success(result))
      case .failed(let message)?:
        machine.acceptTask(key)
        machine.completeTask(key, .failure(TaskFailure(message: message)))
      }
    case .taskAbandoned(let key): abandoned.append(key)
    case .delegationFinished(let id, let result): delegations[id] = result
    case .voteRequested(let proposal): if let vote = voter(proposal) { machine.castVote(vote, on: proposal) }
    case .consensusReached(let id, let outcome): outcomes[id] = outcome
    case .readRequested(let transfer, let artifact, let offset, let count):
      guard let file = files[artifact], offset + Int64(count) <= min(readLimit, Int64(file.count)) else {
        return machine.failRead(transfer, reason: "Unreadable")
      }
      machine.provide(transfer, offset: offset, Array(file[Int(offset)..<Int(offset) + count]), now: now)
    case .uploadEnded: uploadsEnded += 1
    case .artifactBytes(let transfer, let bytes): received[transfer, default: []].append(contentsOf: bytes)
    case .downloadFinished(let transfer, let result): downloads[transfer] = result
    case .capabilitiesChanged, .knowledgeChanged, .artifactOffered: break
    }
  }
}

final class World {
  private(set) var nodes: [PeerID: Node] = [:]
  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  private var random: RandomSource
  private var links: Set<Link> = []
  private var packets: [Packet] = []
  private var lastArrival: [String: Instant] = [:]
  private var sequence = 0
  private(set) var delivered = 0
  /// Most artifact bytes that were under way at once.
  private(set) var peakBulkBytes = 0
  /// Decides per message whether it vanishes.
  var drops: (SwarmMachine.Outgoing, _ from: PeerID) -> Bool = { _, _ in false }

  private struct Link: Hashable { var from: PeerID, to: PeerID }
  private struct Packet {
    var arrival: Instant
    var sequence: Int
    var from: PeerID
    var message: SwarmMachine.Outgoing
  }

  init(seed: UInt64, _ nodes: [Node]) {
    random = .seeded(state: seed)
    for node in nodes { self.nodes[node.id] = node }
  }

  /// Nodes `a`, `b`, … in a full mesh.
  static func mesh(seed: UInt64 = 1, _ nodes: Node...) -> World {
    let world = World(seed: seed, nodes)
    for (index, node) in nodes.enumerated() {
      for other in nodes[(index + 1)...] { world.connect(node.id, other.id) }
    }
    let isMeshed = world.run { nodes.allSatisfy { $0.connected.count == nodes.count - 1 } }
    precondition(isMeshed, "a mesh without losses always forms")
    return world
  }

  func connect(_ a: PeerID, _ b: PeerID, bulk: Bool = true) {
    for (from, to) in [(a, b), (b, a)] {
      links.insert(Link(from: from, to: to))
      nodes[from]?.machine.channelOpened(to, lane: .main, isExtended: true, now: now)
      if bulk { nodes[from]?.machine.channelOpened(to, lane: .bulk, isExtended: true, now: now) }
    }
    drain()
  }

  func disconnect(_ a: PeerID, _ b: PeerID) {
    packets.removeAll { ($0.from == a && $0.message.peer == b) || ($0.from == b && $0.message.peer == a) }
    for (from, to) in [(a, b), (b, a)] {
      links.remove(Link(from: from, to: to))
      nodes[from]?.machine.channelClosed(to, lane: .main, now: now)
    }
    drain()
  }

  func removeNode(_ id: PeerID) {
    for other in nodes.keys where other != id { disconnect(id, other) }
    nodes[id] = nil
  }

  /// Lets time pass until `condition` holds; false when nothing more can happen, or after `limit`.
  func run(limit: Interval = .seconds(300), until condition: () -> Bool) -> Bool {
    let end = now + limit
    drain()
    while !condition() {
      let due = nodes.values.map { $0.machine.deadline }.reduce(packets.map(\.arrival).min()) { earliest($0, $1) }
      guard let due, due <= end else { return false }
      now = max(now, due)
      deliver()
      for node in nodes.values { node.machine.handleTimeout(now: now) }
      drain()
    }
    return true
  }

  private func deliver() {
    let due = packets.filter { $0.arrival <= now }.sorted { ($0.arrival, $0.sequence) < ($1.arrival, $1.sequence) }
    packets.removeAll { $0.arrival <= now }
    for packet in due where links.contains(Link(from: packet.from, to: packet.message.peer)) {
      delivered += 1
      nodes[packet.message.peer]?.machine.handle(
        packet.message.content, from: packet.from, lane: packet.message.lane, now: now)
    }
  }

  private func drain() {
    var isBusy = true
    while isBusy {
      isBusy = false
      for node in nodes.values {
        while let message = node.machine.pollSend() {
          isBusy = true
          send(message, from: node.id)
        }
        while let event = node.machine.pollEvent() {
          isBusy = true
          node.react(to: event, now: now)
        }
      }
    }
  }

  private func send(_ message: SwarmMachine.Outgoing, from: PeerID) {
    guard links.contains(Link(from: from, to: message.peer)), !drops(message, from) else { return }
    let delay = Interval.microseconds(Int64.random(in: 200...20_000, using: &random))
    let lane = "\(from)>\(message.peer)/\(message.lane)"
    let arrival = max(now + delay, lastArrival[lane] ?? now)  // a lane keeps its order
    lastArrival[lane] = arrival
    sequence += 1
    packets.append(Packet(arrival: arrival, sequence: sequence, from: from, message: message))
    let bulk = packets.reduce(0) { sum, packet in
      if case .binary(let bytes) = packet.message.content { sum + bytes.count } else { sum }
    }
    peakBulkBytes = max(peakBulkBytes, bulk)
  }
}

extension Result {
  var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
  var success: Success? { if case .success(let value) = self { value } else { nil } }
}

func describe(_ id: String, _ content: [UInt8], name: String = "file.bin") -> ArtifactDescription {
  ArtifactDescription(id: id, name: name, size: Int64(content.count), sha256: SHA256.hash(content.rawSpan))
}
