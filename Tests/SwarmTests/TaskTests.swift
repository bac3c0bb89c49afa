// TaskTests.swift — delegating: who is asked, what comes back, and what happens when somebody leaves.

import Signaling
import Testing
import Wire

@testable import Swarm

@Suite struct TaskTests {
  private func delegate(
    _ world: World, from node: Node, _ requirements: [String], timeout: Interval = SwarmLimits.delegationTimeout
  ) throws -> Result<JSONValue, DelegationError>? {
    let id = try node.machine.delegate(
      "compile", requirements: requirements, data: ["target": "Core"], timeout: timeout, now: world.now)
    _ = world.run { node.delegations[id] != nil }
    return node.delegations[id]
  }

  @Test("the peer with the capability does the task", arguments: 1...20 as ClosedRange<UInt64>)
  func capablePeer(seed: UInt64) throws {
    let a = Node("peer_a")
    let b = Node("peer_b", capabilities: ["python"])
    let c = Node("peer_c", capabilities: ["swift", "linux"])
    c.worker = { task in .done(["built": task.data["target"] ?? nil]) }
    let world = World.mesh(seed: seed, a, b, c)
    #expect(try delegate(world, from: a, ["swift", "linux"]) == .success(["built": "Core"]), "seed \(seed)")
    #expect(b.tasksSeen.isEmpty)
    #expect(c.tasksSeen.map(\.delegator) == ["peer_a"])
    #expect(a.machine.peers["peer_c"]?.counters.tasksDelegated == 1)
    #expect(c.machine.peers["peer_a"]?.counters.tasksDone == 1)
  }

  @Test("who declines is followed by the next; the last reason is reported")
  func declined() throws {
    let a = Node("peer_a")
    let b = Node("peer_b", capabilities: ["swift"])
    let c = Node("peer_c", capabilities: ["swift"])
    let world = World.mesh(a, b, c)
    b.worker = { _ in .decline("Busy") }
    c.worker = { _ in .done("ok") }
    #expect(try delegate(world, from: a, ["swift"]) == .success("ok"))
    #expect(b.tasksSeen.count == 1)

    c.worker = { _ in .decline("Closed for today") }
    #expect(try delegate(world, from: a, ["swift"]) == .failure(.declined(reason: "Closed for today")))
    #expect(b.tasksSeen.count == 2)
  }

  @Test func noCapablePeer() throws {
    let a = Node("peer_a", capabilities: ["swift"])
    let world = World.mesh(a, Node("peer_b"))
    #expect(throws: DelegationError.noCapablePeer) { try delegate(world, from: a, ["swift"]) }
  }

  @Test("a capability that was taken back since is refused by the peer itself")
  func capabilityChanges() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    b.worker = { _ in .done(1) }
    let world = World.mesh(a, b)
    b.machine.updateCapabilities(["swift"], now: world.now)
    #expect(world.run { a.machine.peers["peer_b"]?.capabilities == ["swift"] })
    #expect(try delegate(world, from: a, ["swift"]) == .success(1))
    // The delegator still believes in the capability when it asks.
    b.machine.updateCapabilities([], now: world.now)
    #expect(try delegate(world, from: a, ["swift"]) == .failure(.declined(reason: "Insufficient capabilities")))
  }

  @Test func handlerFails() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    b.worker = { _ in .failed("disk full") }
    let world = World.mesh(a, b)
    #expect(try delegate(world, from: a, []) == .failure(.failed("disk full")))
  }

  @Test func timesOut() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    b.worker = { _ in .accept }
    let world = World.mesh(a, b)
    let start = world.now
    #expect(try delegate(world, from: a, []) == .failure(.timedOut))
    #expect(world.now - start == SwarmLimits.delegationTimeout)
    // The result finds nobody and does no harm.
    b.machine.completeTask(SwarmMachine.TaskKey(peer: "peer_a", id: b.tasksSeen[0].id), .success(1))
    #expect(world.run { a.machine.rejections == [.late: 1] })
    #expect(a.machine.peers["peer_b"]?.counters.rejected == 0)
  }

  @Test("a peer that leaves with an accepted task fails it, with an unanswered one it is passed on")
  func peerLeaves() throws {
    let a = Node("peer_a")
    let b = Node("peer_b", capabilities: ["swift"])
    let c = Node("peer_c", capabilities: ["swift"])
    b.worker = { _ in .accept }
    c.worker = { _ in .done("from c") }
    let world = World.mesh(a, b, c)
    func start() throws -> String {
      let id = try a.machine.delegate(
        "t", requirements: ["swift"], data: nil, timeout: .seconds(60), now: world.now)
      return id
    }
    let accepted = try start()
    #expect(world.run { a.machine.delegations[accepted]?.isAccepted == true })
    b.worker = { _ in nil }
    let unanswered = try start()
    #expect(world.run { b.tasksSeen.count == 2 })
    world.disconnect("peer_a", "peer_b")
    #expect(a.delegations[accepted] == .failure(.peerLeft("peer_b")))
    #expect(world.run { a.delegations[unanswered] != nil })
    #expect(a.delegations[unanswered] == .success("from c"))
    #expect(Set(b.abandoned.map(\.id)) == [accepted, unanswered])
    #expect(b.machine.tasks.isEmpty)
  }

  @Test("only the peer that was asked can answer")
  func foreignAnswer() throws {
    let a = Node("peer_a")
    let b = Node("peer_b", capabilities: ["swift"])
    let c = Node("peer_c")
    b.worker = { _ in .accept }
    let world = World.mesh(a, b, c)
    let id = try a.machine.delegate("t", requirements: ["swift"], data: nil, timeout: .seconds(9), now: world.now)
    _ = world.run { a.machine.delegations[id]?.isAccepted == true }
    _ = c.machine.post(.taskComplete, ["taskId": .string(id), "result": "forged"], to: "peer_a")
    #expect(world.run { a.machine.rejections[.unsolicited] == 1 })
    #expect(a.delegations[id] == nil)
  }

  @Test("one peer cannot fill the table of tasks")
  func taskBounds() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    b.worker = { _ in .accept }
    let world = World.mesh(a, b)
    var ids: [String] = []
    for _ in 0...SwarmLimits.maximumTasksPerPeer {
      ids.append(try a.machine.delegate("t", requirements: [], data: nil, timeout: .seconds(60), now: world.now))
    }
    #expect(world.run { a.delegations.count == 1 })
    #expect(a.delegations.values.first == .failure(.declined(reason: "Busy")))
    #expect(b.machine.tasks.count == SwarmLimits.maximumTasksPerPeer)
    while ids.count < SwarmLimits.maximumDelegations + 1 {
      ids.append(try a.machine.delegate("t", requirements: [], data: nil, timeout: .seconds(60), now: world.now))
    }
    #expect(throws: DelegationError.tooManyTasks) {
      try a.machine.delegate("t", requirements: [], data: nil, timeout: .seconds(60), now: world.now)
    }
  }

  @Test("a result that is too large for a message fails the task instead of losing it")
  func largeResult() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    b.worker = { _ in .done(.string(String(repeating: "x", count: 70_000))) }
    let world = World.mesh(a, b)
    #expect(try delegate(world, from: a, []) == .failure(.failed("The result is too large")))
    #expect(throws: DelegationError.payloadTooLarge) {
      try a.machine.delegate(
        "t", requirements: [], data: .string(String(repeating: "x", count: 65_536)), timeout: .seconds(1),
        now: world.now)
    }
  }
}
