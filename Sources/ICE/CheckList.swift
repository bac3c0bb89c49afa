// CheckList.swift — the pairs, and which of them is checked next (RFC 8445 §6.1.2, §6.1.4).
//
// Invariants: no two pairs share a route; at most `maximumPairs` pairs, of which at most `maximumPeerReflexive` have a
// peer-reflexive remote candidate; the triggered queue holds each route once.

import DequeModule
import Wire

struct CheckList: Sendable {
  private(set) var pairs: [CandidatePair] = []
  private var triggered = Deque<Route>()
  private var nextSerial = 0
  private let maximumPairs: Int
  private let maximumPeerReflexive: Int

  init(maximumPairs: Int, maximumPeerReflexive: Int) {
    self.maximumPairs = maximumPairs
    self.maximumPeerReflexive = maximumPeerReflexive
  }

  // MARK: Pairs

  func index(of route: Route) -> Int? { pairs.firstIndex { $0.route == route } }
  func pair(_ route: Route) -> CandidatePair? { index(of: route).map { pairs[$0] } }

  subscript(index: Int) -> CandidatePair {
    get { pairs[index] }
    _modify { yield &pairs[index] }
  }

  enum Insertion {
    case inserted
    /// Another pair had to go.
    case replaced(Route)
    case refused
  }

  /// Adds a pair whose route is new. When a bound is reached, a pair of less use makes room.
  ///
  /// - Parameter inUse: a route that no newcomer displaces.
  mutating func insert(_ pair: CandidatePair, inUse: Route?) -> Insertion {
    var outcome = Insertion.inserted
    if pair.isPeerReflexive, pairs.count(where: \.isPeerReflexive) >= maximumPeerReflexive {
      guard let victim = oldestPeerReflexive(except: inUse) else { return .refused }
      outcome = .replaced(remove(at: victim))
    } else if pairs.count >= maximumPairs {
      // A peer-reflexive newcomer has proved that its way in is open, so it need not win by priority.
      guard let victim = leastUseful(except: inUse),
        pair.isPeerReflexive || pairs[victim].priority < pair.priority
      else { return .refused }
      outcome = .replaced(remove(at: victim))
    }
    var pair = pair
    pair.serial = nextSerial
    nextSerial += 1
    pairs.append(pair)
    return outcome
  }

  private mutating func remove(at index: Int) -> Route {
    let route = pairs.remove(at: index).route
    triggered.removeAll { $0 == route }
    return route
  }

  private func oldestPeerReflexive(except inUse: Route?) -> Int? {
    let choices = pairs.indices.filter { pairs[$0].isPeerReflexive && pairs[$0].route != inUse }
    // A pair that works goes last.
    return choices.min {
      (pairs[$0].state == .succeeded ? 1 : 0, pairs[$0].serial)
        < (pairs[$1].state == .succeeded ? 1 : 0, pairs[$1].serial)
    }
  }

  private func leastUseful(except inUse: Route?) -> Int? {
    pairs.indices
      .filter { (pairs[$0].state == .waiting || pairs[$0].state == .failed) && pairs[$0].route != inUse }
      .min { pairs[$0].priority < pairs[$1].priority }
  }

  /// Sets the outcome of a check. Only a waiting pair may stand in the triggered queue.
  mutating func conclude(_ index: Int, _ state: CandidatePair.State) {
    pairs[index].state = state
    let route = pairs[index].route
    triggered.removeAll { $0 == route }
  }

  mutating func updatePriorities(role: ICEAgent.Role) {
    for index in pairs.indices { pairs[index].updatePriority(role: role) }
  }

  mutating func removeAll(where isUnwanted: (CandidatePair) -> Bool) {
    pairs.removeAll(where: isUnwanted)
    let routes = Set(pairs.map(\.route))
    triggered.removeAll { !routes.contains($0) }
  }

  /// Another search begins: whatever has failed may work now.
  mutating func reviveFailed() {
    for index in pairs.indices where pairs[index].state == .failed && pairs[index].canBeginChecks {
      pairs[index].state = .waiting
    }
  }

  // MARK: Questions

  var hasWaiting: Bool { pairs.contains { $0.state == .waiting } }
  var hasTriggered: Bool { !triggered.isEmpty }
  /// Neither works nor may still come to work.
  var isExhausted: Bool { !pairs.contains { $0.state != .failed } }
  var aliveCount: Int { pairs.count(where: \.isAlive) }

  /// The pair of highest priority that works.
  var bestValid: CandidatePair? { bestValid { _ in true } }

  func bestValid(where isEligible: (CandidatePair) -> Bool) -> CandidatePair? {
    pairs.filter { $0.state == .succeeded && isEligible($0) }.max { $0.priority < $1.priority }
  }

  /// Whether a pair that could still succeed would be better than `pair`.
  func hasHope(betterThan pair: CandidatePair) -> Bool {
    pairs.contains { $0.isAlive && $0.priority > pair.priority }
  }

  // MARK: Next check

  /// Puts a pair at the end of the triggered queue and makes it Waiting (§7.3.1.4).
  mutating func trigger(_ index: Int) {
    pairs[index].state = .waiting
    let route = pairs[index].route
    if !triggered.contains(route) { triggered.append(route) }
  }

  /// The next triggered pair that still waits, taken off the queue.
  mutating func popTriggered() -> Int? {
    while let route = triggered.popFirst() {
      if let index = index(of: route), pairs[index].state == .waiting { return index }
    }
    return nil
  }

  /// The waiting pair of highest priority (§6.1.4.2).
  var highestWaiting: Int? {
    pairs.indices.filter { pairs[$0].state == .waiting }.max { pairs[$0].priority < pairs[$1].priority }
  }
}
