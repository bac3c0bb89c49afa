// RestartTests.swift — ICE restarts of whole peers: in the middle of a transfer, at every step, after a change of address,
// and back from failure; nothing that was promised is lost.

import CVirtualClock
import DataChannel
import ICE
import Peer
import Simulation
import Testing
import Wire

/// Both sides send numbered messages over a reliable, ordered channel, and things happen meanwhile.
private struct Transfer: ~Copyable {
  var peers: TwoPeers
  let total: Int
  private var channels: [TwoPeers.Side: ChannelID]
  private var sent: [TwoPeers.Side: Int] = [.offerer: 0, .answerer: 0]
  private(set) var received: [TwoPeers.Side: Int] = [.offerer: 0, .answerer: 0]
  private(set) var states: [TwoPeers.Side: [Connection.State]] = [.offerer: [], .answerer: []]
  private(set) var pairChanges = 0
  private(set) var regatherings = 0
  private(set) var disorder: String?

  init(total: Int, conditions: PathConditions = .init(), seed: UInt64) throws {
    var peers = try TwoPeers(conditions: conditions, seed: seed) { virtual_clock_set($0.nanoseconds) }
    try peers.negotiate()
    let channel = try peers.offerer.openChannel(ChannelParameters(label: "transfer"), now: peers.now)
    self.total = total
    self.peers = peers
    channels = [.offerer: channel]
  }

  var isComplete: Bool { received[.offerer] == total && received[.answerer] == total }
  var isIdle: Bool { peers.offerer.deadline == nil && peers.answerer.deadline == nil }

  /// One step; false when nothing is pending.
  mutating func step() -> Bool {
    for side in TwoPeers.Side.allCases { fill(side) }
    var seen: [(TwoPeers.Side, Connection.Event)] = []
    let isPending = peers.step { side, event in seen.append((side, event)) }
    for (side, event) in seen { note(side, event) }
    return isPending
  }

  mutating func run(for limit: Interval, until isDone: (borrowing Transfer) -> Bool) -> Bool {
    let end = peers.now + limit
    while !isDone(self) {
      guard disorder == nil, peers.now < end, step() else { return isDone(self) }
    }
    return true
  }

  private mutating func fill(_ side: TwoPeers.Side) {
    guard let channel = channels[side] else { return }
    while sent[side]! < total {
      let number = sent[side]!
      let payload =
        [UInt8(number >> 8 & 0xff), UInt8(number & 0xff)] + [UInt8](repeating: 7, count: number * 37 % 3_000)
      do {
        switch side {
        case .offerer: try peers.offerer.send(on: channel, isText: false, payload: payload, now: peers.now)
        case .answerer: try peers.answerer.send(on: channel, isText: false, payload: payload, now: peers.now)
        }
        sent[side]! += 1
      } catch { return }
    }
  }

  private mutating func note(_ side: TwoPeers.Side, _ event: Connection.Event) {
    switch event {
    case .incomingChannel(let channel, _): channels[side] = channel
    case .message(_, _, let payload):
      let number = Int(payload[0]) << 8 | Int(payload[1])
      if number != received[side]! { disorder = "\(side) got \(number) instead of \(received[side]!)" }
      received[side]! += 1
    case .stateChanged(let state): states[side]!.append(state)
    case .selectedPairChanged: pairChanges += 1
    case .gatheringRestarted: regatherings += 1
    case .channelClosed, .channelFailed: disorder = "a channel of \(side) closed"
    case .channelOpened, .channelClosing, .localCandidate, .localCandidatesEnded, .serverFailed, .relayRedirected,
      .media, .mediaFailed:
      break
    }
  }
}

@Suite struct RestartTests {
  private static func lossy(_ perMille: Int) -> PathConditions {
    var conditions = PathConditions()
    conditions.lossPerMille = perMille
    conditions.jitter = .milliseconds(5)
    return conditions
  }

  @Test(
    "a restart in the middle of a transfer loses nothing and interrupts nothing", arguments: TwoPeers.Side.allCases,
    1...3 as ClosedRange<UInt64>)
  func inTransfer(side: TwoPeers.Side, seed: UInt64) throws {
    defer { virtual_clock_clear() }
    var transfer = try Transfer(total: 300, conditions: Self.lossy(seed == 1 ? 0 : 50), seed: seed)
    let half = transfer.run(for: .seconds(60)) { $0.received[.answerer]! >= 100 }
    expect(half)
    let credentials = [transfer.peers.offerer.localCredentials, transfer.peers.answerer.localCredentials]
    let changes = transfer.pairChanges
    try transfer.peers.restartICE(by: side)
    let new = [transfer.peers.offerer.localCredentials, transfer.peers.answerer.localCredentials]
    expect(credentials[0] != new[0] && credentials[1] != new[1])
    let done = transfer.run(for: .seconds(120)) { $0.isComplete && $0.pairChanges >= changes + 2 }
    expect(done, "seed \(seed): \(transfer.received), \(transfer.pairChanges)")
    expect(transfer.disorder == nil)
    expect(transfer.regatherings == 2)
    expect(transfer.peers.offerer.ice.localCredentials == new[0])
    expect(transfer.peers.answerer.ice.localCredentials == new[1])
    let states = transfer.states
    expect(states[.offerer] == [.connecting, .connected] && states[.answerer] == [.connecting, .connected])
  }

  @Test("I14: a restart at every step of gathering and checking ends in a connection", arguments: 0..<4 as Range<Int>)
  func atEveryStep(part: Int) throws {
    defer { virtual_clock_clear() }
    for steps in stride(from: part, to: 48, by: 4) {
      let seed = UInt64(steps + 1)
      var transfer = try Transfer(total: 5, conditions: Self.lossy(100), seed: seed)
      for _ in 0..<steps where !transfer.step() { break }
      let side: TwoPeers.Side = steps.isMultiple(of: 8) || steps % 8 < 4 ? .offerer : .answerer
      try transfer.peers.restartICE(by: side)
      // Once more while the first is under way.
      if steps.isMultiple(of: 3) {
        _ = transfer.step()
        try transfer.peers.restartICE(by: side)
      }
      let done = transfer.run(for: .seconds(120)) { $0.isComplete }
      expect(done, "after \(steps) steps: \(transfer.received)")
      expect(transfer.disorder == nil, "after \(steps) steps")
    }
  }

  @Test("after a change of address traffic resumes within three seconds and nothing is lost")
  func changeOfAddress() throws {
    defer { virtual_clock_clear() }
    var transfer = try Transfer(total: 400, seed: 5)
    let half = transfer.run(for: .seconds(60)) { $0.received[.answerer]! >= 100 }
    expect(half)
    // The interface goes; half a second later there is another, and the application restarts.
    transfer.peers.removeSocket(SocketID(rawValue: 0), of: .offerer)
    let count = transfer.received[.answerer]!
    let gone = transfer.peers.now
    _ = transfer.run(for: .milliseconds(500)) { _ in false }
    expect(!transfer.isComplete)
    let address = SocketAddress(ip: .v4(0xC000_0263), port: 7_000)
    try transfer.peers.addSocket(SocketID(rawValue: 9), address, to: .offerer)
    try transfer.peers.restartICE(by: .offerer)
    let resumed = transfer.run(for: .seconds(10)) { $0.received[.answerer]! > count + 20 }
    expect(resumed)
    let passed = transfer.peers.now - gone
    expect(passed < .seconds(3))
    let done = transfer.run(for: .seconds(60)) { $0.isComplete }
    expect(done)
    expect(transfer.disorder == nil)
    let route = transfer.peers.answerer.ice.selectedPair?.route.remote
    expect(route == address)
  }

  @Test("a connection that has failed for want of a route comes back by a restart, with all it had to deliver")
  func fromFailure() throws {
    defer { virtual_clock_clear() }
    var transfer = try Transfer(total: 300, seed: 6)
    let half = transfer.run(for: .seconds(60)) { $0.received[.answerer]! >= 100 }
    expect(half)
    transfer.peers.unplugged = [TwoPeers.offererAddress]
    let failed = transfer.run(for: .seconds(120)) {
      $0.peers.offerer.state == .failed && $0.peers.answerer.state == .failed
    }
    expect(failed)
    expect(transfer.peers.offerer.failure != nil)
    expect(!transfer.peers.offerer.hasEnded && !transfer.peers.answerer.hasEnded)
    expect(transfer.isIdle)
    let count = transfer.received[.answerer]!
    transfer.peers.unplugged = []
    try transfer.peers.restartICE(by: .answerer)
    let restartedAt = transfer.peers.now
    let resumed = transfer.run(for: .seconds(10)) { $0.received[.answerer]! > count }
    expect(resumed)
    let passed = transfer.peers.now - restartedAt
    expect(passed < .seconds(1))
    let done = transfer.run(for: .seconds(60)) { $0.isComplete }
    expect(done)
    expect(transfer.disorder == nil)
    expect(transfer.states[.offerer]!.last == .connected)
    expect(transfer.peers.offerer.failure == nil)
  }

  @Test("a restart that finds no route leaves the one in use alone")
  func restartFindsNothing() throws {
    defer { virtual_clock_clear() }
    var transfer = try Transfer(total: 20, seed: 7)
    let done = transfer.run(for: .seconds(60)) { $0.isComplete }
    expect(done)
    transfer.peers.offerer.restartICE()
    expect(transfer.peers.offerer.needsNegotiation)
    let offer = try transfer.peers.offerer.createOffer()
    try transfer.peers.offerer.setLocalDescription(.offer, offer, now: transfer.peers.now)
    // The answer never comes. Everything goes on.
    _ = transfer.run(for: .seconds(120)) { _ in false }
    expect(transfer.peers.offerer.state == .connected && transfer.peers.answerer.state == .connected)
    // The peer's own offer without new credentials voids ours, which stays wanted.
    try transfer.peers.renegotiate(by: .answerer)
    expect(transfer.peers.offerer.needsNegotiation)
    expect(transfer.peers.offerer.localCredentials == transfer.peers.offerer.ice.localCredentials)
    try transfer.peers.renegotiate(by: .offerer)
    expect(!transfer.peers.offerer.needsNegotiation)
    let changes = transfer.pairChanges
    let restarted = transfer.run(for: .seconds(10)) { $0.pairChanges == changes + 2 }
    expect(restarted)
  }

  @Test("an answer restarts exactly when its offer does")
  func answersThatDoNotFit() throws {
    defer { virtual_clock_clear() }
    var transfer = try Transfer(total: 1, seed: 8)
    let done = transfer.run(for: .seconds(60)) { $0.isComplete }
    expect(done)
    let now = transfer.peers.now
    let plain = try transfer.peers.offerer.createOffer()
    try transfer.peers.answerer.setRemoteDescription(.offer, plain, now: now)
    let oldAnswer = try transfer.peers.answerer.createAnswer()
    try transfer.peers.answerer.setLocalDescription(.answer, oldAnswer, now: now)
    transfer.peers.offerer.restartICE()
    let restart = try transfer.peers.offerer.createOffer()
    expect(restart != plain)
    try transfer.peers.offerer.setLocalDescription(.offer, restart, now: now)
    var isRefused = false
    do { try transfer.peers.offerer.setRemoteDescription(.answer, oldAnswer, now: now) } catch { isRefused = true }
    expect(isRefused)
    try transfer.peers.answerer.setRemoteDescription(.offer, restart, now: now)
    let answer = try transfer.peers.answerer.createAnswer()
    try transfer.peers.answerer.setLocalDescription(.answer, answer, now: now)
    try transfer.peers.offerer.setRemoteDescription(.answer, answer, now: now)
    let connected = transfer.run(for: .seconds(5)) { $0.pairChanges >= 4 }
    expect(connected)
    // Candidates of the older generation are none of the new one.
    let old = "candidate:1 1 udp 2130706431 192.0.2.77 5 typ host ufrag older"
    try transfer.peers.offerer.addRemoteCandidate(old, now: transfer.peers.now)
    expect(offerNames(answer, "renomination") && offerNames(answer, "trickle"))
  }

  private func offerNames(_ text: String, _ option: String) -> Bool {
    text.split(whereSeparator: \.isNewline).contains { $0.hasPrefix("a=ice-options:") && $0.contains(option) }
  }

  /// Neither peers nor transfers can stand in `#expect`: they are not copyable.
  private func expect(_ isTrue: Bool, _ comment: String = "", at location: SourceLocation = #_sourceLocation) {
    #expect(isTrue, "\(comment)", sourceLocation: location)
  }
}
