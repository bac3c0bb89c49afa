// SwarmMachine+Consensus.swift — votes (WIRE §3, §6.5): asking everybody, and being asked.
//
// The electorate is fixed when a vote starts, each transport peer has one vote, and a vote ends as soon as nothing can
// change its outcome.

package import Signaling
package import Wire

/// A vote that we have called.
struct ProposalState: Sendable {
  let deadline: Instant
  let electorate: Int
  /// Voters that may still answer.
  var outstanding: Set<PeerID>
  var yes = 1  // the proposer's own
  var no = 0

  /// Accepted by more than half of the electorate; refused once that cannot be reached any more.
  var decision: Bool? {
    if 2 * yes > electorate { return true }
    return 2 * (yes + outstanding.count) <= electorate ? false : nil
  }
}

extension SwarmMachine {
  // MARK: In: the proposer

  /// Starts a vote; `consensusReached` with the returned id ends it.
  package mutating func propose(_ type: String, content: JSONValue, timeout: Interval, now: Instant)
    throws(SwarmError) -> String
  {
    guard proposals.count < SwarmLimits.maximumProposals else { throw .full("proposals") }
    let id = makeID("proposal", now: now)
    let proposal: JSONFields = [
      "id": .string(id), "type": .string(type), "content": content, "proposer": .string(peerID),
      "timestamp": .number(wallMilliseconds(now)),
    ]
    let fields: JSONFields = ["proposal": .object(proposal)]
    guard JSONValue.object(fields).unitCount <= SwarmLimits.maximumPayloadUnits else { throw .payloadTooLarge }
    let voters = peers.filter { $0.value.canVote }.map(\.key)
    proposals[id] = ProposalState(deadline: now + timeout, electorate: voters.count + 1, outstanding: Set(voters))
    for peer in voters { post(.consensusRequest, fields, to: peer) }
    settle(id)  // alone, there is nobody to wait for
    return id
  }

  mutating func handleVote(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let id = fields.id("proposalId"), let vote = fields["vote"]?.boolValue else { throw .badPayload }
    guard proposals[id] != nil else { throw .late }
    // Repeated, or from somebody who was not asked; the `peerId` inside is not believed.
    guard proposals[id]?.outstanding.remove(peer) != nil else { throw .unsolicited }
    if vote { proposals[id]?.yes += 1 } else { proposals[id]?.no += 1 }
    settle(id)
  }

  private mutating func settle(_ id: String) {
    guard let proposal = proposals[id], let decision = proposal.decision else { return }
    finish(id, proposal, isAccepted: decision, isTimedOut: false)
  }

  mutating func expireProposals(now: Instant) {
    for (id, proposal) in proposals where proposal.deadline <= now {
      finish(id, proposal, isAccepted: false, isTimedOut: true)
    }
  }

  private mutating func finish(_ id: String, _ proposal: ProposalState, isAccepted: Bool, isTimedOut: Bool) {
    proposals[id] = nil
    emit(
      .consensusReached(
        id: id,
        ConsensusOutcome(
          isAccepted: isAccepted, isTimedOut: isTimedOut, yes: proposal.yes, no: proposal.no,
          electorate: proposal.electorate)))
  }

  // MARK: In: the voter

  mutating func handleProposal(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let fields = fields["proposal"]?.objectValue, let id = fields.id("id"), let type = fields.text("type") else {
      throw .badPayload
    }
    let key = TaskKey(peer: peer, id: id)
    guard !pendingVotes.contains(key) else { return }  // asked twice
    guard pendingVotes.count < SwarmLimits.maximumPendingVotes,
      pendingVotes.count(where: { $0.peer == peer }) < SwarmLimits.maximumPendingVotesPerPeer
    else { throw .tableFull }
    pendingVotes.insert(key)
    emit(.voteRequested(Proposal(id: id, type: type, content: fields["content"] ?? .null, proposer: peer)))
  }

  /// The local voter's answer.
  package mutating func castVote(_ vote: Bool, on proposal: Proposal) {
    guard pendingVotes.remove(TaskKey(peer: proposal.proposer, id: proposal.id)) != nil else { return }
    let fields: JSONFields = [
      "proposalId": .string(proposal.id), "vote": .bool(vote), "peerId": .string(peerID),
    ]
    post(.consensusVote, fields, to: proposal.proposer)
    // A page of profile A waits for a type that carries the id (WIRE A-1).
    if peers[proposal.proposer]?.dialect == .bare {
      post("consensus-vote-\(proposal.id)", fields, to: proposal.proposer)
    }
  }

  /// How a peer votes that was not told how (WIRE §3): agreeing to goals and harmless code, and to nothing unknown.
  package static func defaultVote(on proposal: Proposal) -> Bool {
    switch proposal.type {
    case "goal-change": true
    case "code-modification": !(proposal.content.stringValue ?? proposal.content.text).contains("eval(")
    default: false
    }
  }

  // MARK: A peer has left

  mutating func dropVotes(of peer: PeerID) {
    for id in Array(proposals.keys) where proposals[id]?.outstanding.remove(peer) != nil { settle(id) }
    pendingVotes = pendingVotes.filter { $0.peer != peer }
  }
}
