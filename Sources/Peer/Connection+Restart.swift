// Connection+Restart.swift — ICE restart (RFC 8445 §9, RFC 9429 §4.1.18): a new agent beside the one in use.
//
//   wanted → prepared (our new credentials are described) → checking (the peer's are known, too) → takes the old one's place
//
// Until the new agent has a nominated pair everything goes on over the old one, if that still works; DTLS and SCTP never
// notice but for the path. Each STUN message is given to the agent that it names. A restart that finds no route leaves
// things as they are.

import DTLS
package import ICE
import SCTP
package import Wire

/// The candidates of this side that belong to one pair of credentials, as they are signalled.
struct LocalGeneration {
  var usernameFragment: String
  var candidates: [String] = []
  /// No more will be found.
  var isComplete = false
}

extension Connection {
  // MARK: The application's part

  /// Asks for an ICE restart: the next offer has new credentials. Without effect before the first negotiation.
  package mutating func restartICE() {
    guard !hasEnded, ice.hasRemoteCredentials else { return }
    isRestartWanted = true
  }

  /// Whether `restartICE` waits for an offer and its answer.
  package var needsNegotiation: Bool { isRestartWanted && !hasEnded }

  // MARK: Agents

  var isRestarting: Bool {
    switch restarting {
    case .some: true
    case .none: false
    }
  }

  /// The restart's agent knows the peer's credentials and may find a route.
  var isRestartChecking: Bool {
    switch restarting {
    case .some(let agent): agent.hasRemoteCredentials && !agent.hasEnded
    case .none: false
    }
  }

  var restartState: ICEAgent.State? {
    switch restarting {
    case .some(let agent): agent.state
    case .none: nil
    }
  }

  var restartDeadline: Instant? {
    switch restarting {
    case .some(let agent): agent.deadline
    case .none: nil
    }
  }

  /// The credentials of this side that descriptions carry now.
  package var localCredentials: ICECredentials {
    switch restarting {
    case .some(let agent): agent.localCredentials
    case .none: ice.localCredentials
    }
  }

  /// What this side signals as candidates of the newest credentials, each beginning `candidate:`.
  package var localCandidates: [String] { negotiation.newestGeneration.candidates }

  /// Where this side's packets go now.
  var activeRoute: Route? {
    if let route = ice.sendRoute { return route }
    switch restarting {
    case .some(let agent): return agent.sendRoute
    case .none: return nil
    }
  }

  /// Whether DTLS from there may be looked at.
  func isValidated(_ route: Route) -> Bool {
    if ice.isValidated(route) || formerRoutes.contains(route) { return true }
    switch restarting {
    case .some(let agent): return agent.isValidated(route)
    case .none: return false
    }
  }

  /// Makes the agent of a new generation, with the sockets that there are. Another restart under way ends.
  mutating func beginRestart() {
    var agent = ICEAgent(role: ice.role, configuration: configuration.ice, random: random.split())
    agent.adoptLocalCandidates(of: ice)
    areServersComplete = false  // they are asked anew
    let texts = agent.localCandidates.map { signalled($0) }
    negotiation.nextGeneration = LocalGeneration(
      usernameFragment: agent.localCredentials.usernameFragment, candidates: texts)
    restarting = consume agent
  }

  /// The offer that announced it is void.
  mutating func abandonPreparedRestart() {
    guard isRestarting, !isRestartChecking else { return }
    restarting = nil
    negotiation.nextGeneration = nil
  }

  /// A local description with the new credentials has been set: its candidates are the ones to announce.
  mutating func announceRestart() {
    guard let generation = negotiation.nextGeneration else { return }
    negotiation.generation = generation
    negotiation.nextGeneration = nil
    events.append(.gatheringRestarted)
  }

  mutating func handleSTUN(_ datagram: RawSpan, route: Route, now: Instant) {
    if restarting?.owns(datagram) == true {
      restarting?.handle(datagram, route: route, now: now)
    } else {
      ice.handle(datagram, route: route, now: now)
    }
  }

  /// Carries what the agents have noticed to the layers above.
  mutating func takeAgentEvents(now: Instant) {
    while let event = ice.pollEvent() {
      switch event {
      case .selectedPairChanged(let pair):
        gathering.stopKeepingAlive()
        events.append(.selectedPairChanged(pair))
      case .stateChanged(.failed): gathering.stopKeepingAlive()
      case .stateChanged: break
      }
    }
    var isNominated = false
    while let event = restarting?.pollEvent() {
      if case .selectedPairChanged = event { isNominated = true }
    }
    if isNominated { finishRestart() }
    if restartState == .failed { restarting = nil }
    followRoute(now: now)
  }

  /// The new pair takes the old one's place. What still comes on a route of the old agent's is welcome: a peer whose check
  /// on the new pair has yet to succeed goes on as before, and Chromium takes seconds over that.
  private mutating func finishRestart() {
    var agent: ICEAgent?
    swap(&agent, &restarting)
    guard var agent = consume agent else { return }
    let routes = ice.validatedRoutes
    if !routes.isEmpty { formerRoutes = routes }
    swap(&ice, &agent)
    agent.close()
    if let pair = ice.selectedPair { events.append(.selectedPairChanged(pair)) }
  }

  // MARK: The path

  /// What a datagram on this route may be long at most: less where a relay or a stream wraps it.
  package func maximumDatagramSize(for route: Route) -> Int {
    let headers = route.remote.ip.isV4 ? 0 : Self.longerHeader
    let longest = max(configuration.maximumProbedDatagramSize, configuration.maximumDatagramSize)
    return max(longest - headers - (overheads[route.socket] ?? 0), configuration.maximumDatagramSize)
  }

  /// Tells how many bytes are put around each datagram that leaves through this socket.
  package mutating func setOverhead(_ byteCount: Int, of socket: SocketID) {
    overheads[socket] = byteCount == 0 ? nil : byteCount
  }

  func largestPacket(on route: Route) -> Int { (maximumDatagramSize(for: route) - DTLSSession.recordOverhead) & ~3 }

  /// SCTP begins anew on another path: what it has measured says nothing about this one.
  private mutating func followRoute(now: Instant) {
    guard let route = activeRoute, route != currentRoute else { return }
    currentRoute = route
    association.pathChanged(largestPacket: largestPacket(on: route), now: now)
  }

  /// An IPv6 header is longer than an IPv4 one by this much, so that less fits the same link.
  private static let longerHeader = 20
}
