// SwarmMachine+Tasks.swift — delegating a task to a peer that can do it, and doing tasks for others (WIRE §3, §6.5).
//
// A delegator asks one capable peer after the other until one accepts. Once a peer has accepted, the task may have had
// effects, so it is not handed to another when that peer leaves.

package import Signaling
package import Wire

/// A task that we have given away.
package struct Delegation: Sendable {
  let name: String
  let requirements: [String]
  /// The `task` member as every peer asked gets it.
  let fields: JSONFields
  let deadline: Instant
  var peer: PeerID
  package internal(set) var isAccepted = false
  var asked: Set<PeerID>
}

/// How far a task that we do for another peer is.
package enum TaskState: Sendable { case offered, accepted }

extension SwarmMachine {
  // MARK: In: the delegator

  /// Starts a delegation; `delegationFinished` with the returned id ends it.
  package mutating func delegate(
    _ name: String, requirements: [String], data: JSONValue, timeout: Interval, now: Instant
  ) throws(DelegationError) -> String {
    guard delegations.count < SwarmLimits.maximumDelegations else { throw .tooManyTasks }
    let id = makeID("task", now: now)
    let fields: JSONFields = [
      "id": .string(id), "name": .string(name), "requirements": .strings(requirements), "data": data,
      "delegator": .string(peerID), "timestamp": .number(wallMilliseconds(now)),
    ]
    let size = JSONValue.object(["task": .object(fields)]).unitCount
    guard size <= SwarmLimits.maximumPayloadUnits else { throw .payloadTooLarge }
    guard let peer = capablePeer(for: requirements, except: []) else { throw .noCapablePeer }
    delegations[id] = Delegation(
      name: name, requirements: requirements, fields: fields, deadline: now + timeout, peer: peer, asked: [peer])
    post(.taskDelegation, ["task": .object(fields)], to: peer)
    return id
  }

  private func capablePeer(for requirements: [String], except asked: Set<PeerID>) -> PeerID? {
    peersInOrder.first { peer in
      guard let record = peers[peer], record.canDoTasks, !asked.contains(peer) else { return false }
      return record.capabilities.isSuperset(of: requirements)
    }
  }

  mutating func handleAccepted(_ fields: JSONFields, from peer: PeerID) throws(Rejection) {
    let id = try delegationID(fields, from: peer)
    delegations[id]?.isAccepted = true
  }

  mutating func handleComplete(_ fields: JSONFields, from peer: PeerID) throws(Rejection) {
    let id = try delegationID(fields, from: peer)
    peers[peer]?.counters.tasksDelegated += 1
    if let error = fields.text("error") {
      finish(id, .failure(.failed(error)))
    } else {
      finish(id, .success(fields["result"] ?? .null))
    }
  }

  mutating func handleDeclined(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    let id = try delegationID(fields, from: peer)
    askNext(id, otherwise: .declined(reason: fields.text("reason") ?? ""))
  }

  /// The delegation that a reply belongs to: only the peer that was asked last may answer.
  private func delegationID(_ fields: JSONFields, from peer: PeerID) throws(Rejection) -> String {
    guard let id = fields.id("taskId") else { throw .badPayload }
    guard let delegation = delegations[id] else { throw .late }
    guard delegation.peer == peer else { throw .unsolicited }
    return id
  }

  private mutating func askNext(_ id: String, otherwise error: DelegationError) {
    guard var delegation = delegations[id] else { return }
    guard let peer = capablePeer(for: delegation.requirements, except: delegation.asked) else {
      return finish(id, .failure(error))
    }
    delegation.peer = peer
    delegation.asked.insert(peer)
    delegation.isAccepted = false
    delegations[id] = delegation
    post(.taskDelegation, ["task": .object(delegation.fields)], to: peer)
  }

  private mutating func finish(_ id: String, _ result: Result<JSONValue, DelegationError>) {
    guard delegations.removeValue(forKey: id) != nil else { return }
    emit(.delegationFinished(id: id, result))
  }

  mutating func expireDelegations(now: Instant) {
    for (id, delegation) in delegations where delegation.deadline <= now { finish(id, .failure(.timedOut)) }
  }

  // MARK: In: the executor

  mutating func handleDelegation(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let fields = fields["task"]?.objectValue, let id = fields.id("id"), let name = fields.text("name") else {
      throw .badPayload
    }
    let key = TaskKey(peer: peer, id: id)
    guard tasks[key] == nil else { return }  // asked twice
    let requirements = fields.strings("requirements") ?? []
    guard Set(requirements).isSubset(of: capabilities) else {
      return decline(key, reason: "Insufficient capabilities")
    }
    guard tasks.count < SwarmLimits.maximumTasks,
      peers[peer]?.taskCount ?? .max < SwarmLimits.maximumTasksPerPeer
    else { return decline(key, reason: "Busy") }
    tasks[key] = .offered
    peers[peer]?.taskCount += 1
    let task = SwarmTask(
      id: id, name: name, requirements: requirements, data: fields["data"] ?? .null, delegator: peer)
    emit(.taskRequested(key, task))
  }

  /// The task will be done here.
  package mutating func acceptTask(_ key: TaskKey) {
    guard tasks[key] == .offered else { return }
    tasks[key] = .accepted
    post(.taskAccepted, ["taskId": .string(key.id)], to: key.peer)
  }

  package mutating func declineTask(_ key: TaskKey, reason: String) {
    guard tasks[key] == .offered else { return }
    forget(key)
    decline(key, reason: reason)
  }

  private mutating func decline(_ key: TaskKey, reason: String) {
    post(
      .taskDeclined, ["taskId": .string(key.id), "reason": .string(String(reason.prefix(Self.maximumErrorText)))],
      to: key.peer)
  }

  /// The task is done: `result`, or what went wrong.
  package mutating func completeTask(_ key: TaskKey, _ outcome: Result<JSONValue, TaskFailure>) {
    guard tasks[key] == .accepted else { return }
    forget(key)
    var fields: JSONFields = ["taskId": .string(key.id)]
    switch outcome {
    case .success(let result): fields["result"] = result
    case .failure(let failure): fields["error"] = .string(String(failure.message.prefix(Self.maximumErrorText)))
    }
    peers[key.peer]?.counters.tasksDone += 1
    if !postCompletion(fields, for: key) {
      _ = postCompletion(["taskId": .string(key.id), "error": .string("The result is too large")], for: key)
    }
  }

  private mutating func postCompletion(_ fields: JSONFields, for key: TaskKey) -> Bool {
    guard peers[key.peer] != nil else { return true }
    guard post(.taskComplete, fields, to: key.peer) else { return false }
    // A page of profile A waits for a type that carries the id (WIRE A-1).
    if peers[key.peer]?.dialect == .bare { post("task-complete-\(key.id)", fields, to: key.peer) }
    return true
  }

  private mutating func forget(_ key: TaskKey) {
    guard tasks.removeValue(forKey: key) != nil else { return }
    peers[key.peer]?.taskCount -= 1
  }

  // MARK: A peer has left

  mutating func dropTasks(of peer: PeerID, now: Instant) {
    for (id, delegation) in delegations where delegation.peer == peer {
      if delegation.isAccepted {
        finish(id, .failure(.peerLeft(peer)))
      } else {
        askNext(id, otherwise: .peerLeft(peer))
      }
    }
    for key in tasks.keys where key.peer == peer {
      tasks[key] = nil
      emit(.taskAbandoned(key))
    }
  }

  private static let maximumErrorText = 4_096
}

/// What a task handler's error said.
package struct TaskFailure: Error, Hashable, Sendable {
  package var message: String
  package init(message: String) { self.message = message }
}
