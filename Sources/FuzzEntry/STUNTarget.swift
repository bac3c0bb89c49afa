// STUNTarget.swift — a datagram as a STUN message, and as what an ICE agent meets in each of its roles.

internal import ICE
internal import STUN
internal import Wire

/// Parses the input, and hands it to agents that are waiting for checks and answers.
public func fuzzSTUN(_ input: RawSpan) {
  readSTUN(input)
  for role in [ICEAgent.Role.controlling, .controlled] { handOver(input, to: role) }
}

private func readSTUN(_ input: RawSpan) {
  do throws(Malformed) {
    let message = try STUNMessage(input)
    let key = Array("VOkJxbRl1RmTxUk/WvJxBt".utf8)
    _ = message.verifiesIntegrity(key: key)
    _ = message.verifiesIntegritySHA256(key: key)
    var attributes = message.attributes
    // Every attribute takes four bytes of the message.
    var budget = input.byteCount / 4
    while try attributes.next() != nil {
      budget -= 1
      precondition(budget >= 0, "each attribute moves the reader ahead")
    }
  } catch {
    return  // what a refusal is
  }
}

/// An agent in the middle of its checks takes the input as one datagram from a known address and one from a stranger.
private func handOver(_ input: RawSpan, to role: ICEAgent.Role) {
  var agent = ICEAgent(role: role, random: .seeded(state: 7))
  var now = Instant(nanoseconds: 0)
  let socket = SocketID(rawValue: 1)
  _ = agent.addLocalCandidate(SocketAddress(ip: .loopbackV4, port: 4000), socket: socket)
  let known = Route(socket: socket, remote: SocketAddress(ip: .loopbackV4, port: 5000))
  let stranger = Route(socket: socket, remote: SocketAddress(ip: .v4(0x0a00_0001), port: 6000))
  agent.start(now: now)
  agent.handle(input, route: stranger, now: now)  // before the peer's credentials are known
  agent.setRemoteCredentials(ICECredentials(usernameFragment: "peer", password: "peers-password-of-24-char"))
  do throws(ICECandidateError) {
    let text = "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host"
    agent.addRemoteCandidate(try ICECandidate(parsing: text), now: now)
  } catch {
    preconditionFailure("a candidate as every peer writes it is read: \(error)")
  }
  for route in [known, stranger] {
    agent.handle(input, route: route, now: now)
    drain(&agent, now: now)
  }
  for _ in 0..<4 {
    guard let deadline = agent.deadline else { break }
    now = max(now, deadline)
    agent.handleTimeout(now: now)
    drain(&agent, now: now)
  }
}

private func drain(_ agent: inout ICEAgent, now: Instant) {
  var budget = 1000
  var hasMore = true
  while hasMore {
    _ = collectBytes(capacity: ICEAgent.maximumMessageSize) { out in
      hasMore = agent.pollTransmit(into: &out, now: now) != nil
    }
    budget -= 1
    precondition(budget > 0, "an agent's outbox is bounded")
  }
  while agent.pollEvent() != nil {}
}
