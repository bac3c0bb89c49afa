// ConsensusTests.swift — votes: majorities, ties, early decisions, late and repeated votes.

import Signaling
import Testing
import Wire

@testable import Swarm

@Suite struct ConsensusTests {
  private func vote(_ votes: [Bool?]) throws -> (outcome: ConsensusOutcome?, elapsed: Interval, world: World) {
    let a = Node("peer_0")
    let others = votes.enumerated().map { index, vote in
      let node = Node("peer_\(index + 1)")
      node.voter = { _ in vote }
      return node
    }
    let world = World(seed: 7, [a] + others)
    for node in others { world.connect("peer_0", node.id) }
    _ = world.run { a.connected.count == others.count }
    let start = world.now
    let id = try a.machine.propose("release", content: ["version": 2], timeout: .seconds(30), now: start)
    _ = world.run { a.outcomes[id] != nil }
    return (a.outcomes[id], world.now - start, world)
  }

  @Test(
    "more than half of proposer and peers",
    arguments: [
      ([true, true], true), ([true, false], true), ([false, false], false),
      ([true], true), ([false], false),  // one of two is no majority
      ([true, false, false], false),  // two of four: a tie is refused
      ([true, true, false], true), ([true, true, false, false], true), ([], true),
    ])
  func majority(votes: [Bool], isAccepted: Bool) throws {
    let (outcome, elapsed, _) = try vote(votes)
    #expect(outcome?.isAccepted == isAccepted)
    #expect(outcome?.isTimedOut == false)
    #expect(outcome?.electorate == votes.count + 1)
    #expect(elapsed < .seconds(1))
  }

  @Test("decided as soon as the missing votes cannot change it")
  func early() throws {
    let yes = try vote([true, true, nil, nil])
    #expect(yes.outcome == ConsensusOutcome(isAccepted: true, isTimedOut: false, yes: 3, no: 0, electorate: 5))
    let no = try vote([false, false, false, nil])
    #expect(no.outcome == ConsensusOutcome(isAccepted: false, isTimedOut: false, yes: 1, no: 3, electorate: 5))
    #expect(yes.elapsed < .seconds(1) && no.elapsed < .seconds(1))
  }

  @Test func timesOut() throws {
    let (outcome, elapsed, _) = try vote([true, nil, nil, nil])
    #expect(outcome == ConsensusOutcome(isAccepted: false, isTimedOut: true, yes: 2, no: 0, electorate: 5))
    #expect(elapsed == .seconds(30))
  }

  @Test("a vote that comes late or twice is not counted, nor a stranger's, nor one in another's name")
  func oneVoteEach() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    let c = Node("peer_c")
    let d = Node("peer_d")
    for node in [b, c, d] { node.voter = { _ in nil } }
    let world = World.mesh(a, b, c, d)
    let e = Node("peer_e")
    let id = try a.machine.propose("t", content: nil, timeout: .seconds(30), now: world.now)
    func cast(_ node: Node, _ vote: Bool, as name: String? = nil) {
      _ = node.machine.post(
        .consensusVote,
        ["proposalId": .string(id), "vote": .bool(vote), "peerId": .string(name ?? node.id)], to: "peer_a")
    }
    _ = e
    cast(b, true)
    cast(b, true, as: "peer_c")
    cast(b, true, as: "peer_d")
    #expect(world.run { a.machine.rejections[.unsolicited] == 2 })
    #expect(a.outcomes[id] == nil, "two of four are no majority")
    cast(c, true)
    #expect(world.run { a.outcomes[id] != nil })
    #expect(a.outcomes[id] == ConsensusOutcome(isAccepted: true, isTimedOut: false, yes: 3, no: 0, electorate: 4))
    cast(d, false)
    #expect(world.run { a.machine.rejections == [.unsolicited: 2, .late: 1] })
  }

  @Test("the electorate stays when voters leave, newcomers have no vote, and nobody waits for the gone")
  func peersComeAndGo() throws {
    let nodes = (0..<4).map { Node("peer_\($0)") }
    for node in nodes { node.voter = { _ in nil } }
    let world = World.mesh(nodes[0], nodes[1], nodes[2], nodes[3])
    let id = try nodes[0].machine.propose("t", content: nil, timeout: .seconds(30), now: world.now)
    _ = world.run { nodes[1...].allSatisfy { $0.machine.pendingVotes.count == 1 } }
    world.removeNode("peer_3")
    #expect(nodes[0].outcomes[id] == nil)
    world.removeNode("peer_2")
    // Two of four can no longer become three.
    #expect(
      nodes[0].outcomes[id] == ConsensusOutcome(isAccepted: false, isTimedOut: false, yes: 1, no: 0, electorate: 4))
  }

  @Test(
    "what a peer votes that was not told how",
    arguments: [
      ("goal-change", "anything" as JSONValue, true), ("code-modification", "let x = 1", true),
      ("code-modification", "eval(\"1\")", false), ("code-modification", ["body": "eval(1)"] as JSONValue, false),
      ("release", nil, false),
    ])
  func defaults(type: String, content: JSONValue, vote: Bool) {
    let proposal = Proposal(id: "p", type: type, content: content, proposer: "peer_a")
    #expect(SwarmMachine.defaultVote(on: proposal) == vote)
  }

  @Test func bounds() throws {
    let a = Node("peer_a")
    let b = Node("peer_b")
    b.voter = { _ in nil }
    let world = World.mesh(a, b)
    for _ in 0..<SwarmLimits.maximumProposals {
      _ = try a.machine.propose("t", content: nil, timeout: .seconds(30), now: world.now)
    }
    #expect(throws: SwarmError.full("proposals")) {
      try a.machine.propose("t", content: nil, timeout: .seconds(30), now: world.now)
    }
    #expect(world.run { b.machine.rejections[.tableFull] != nil })
    #expect(world.run { a.outcomes.count == SwarmLimits.maximumProposals })
    #expect(b.machine.pendingVotes.count == SwarmLimits.maximumPendingVotesPerPeer)
    #expect(throws: SwarmError.payloadTooLarge) {
      try a.machine.propose(
        "t", content: .string(String(repeating: "x", count: 65_536)), timeout: .seconds(30), now: world.now)
    }
  }
}
