// GatheringTests.swift — what servers tell, when they are silent, refuse, or lose what they had.

import DataChannel
import ICE
import Peer
import STUN
import TURNTestSupport
import TestSupport
import Testing
import Wire

@Suite struct GatheringTests {
  @Test func aServerTellsHowWeLookFromOutside() throws {
    let world = try RelayWorld()
    world.isDirectWayShut = false
    let host = world.offerer.addLocalCandidate(RelayWorld.offererAddress, socket: RelayWorld.socket, now: world.now)
    try world.negotiate()
    let start = world.now
    world.offerer.discover(
      base: RelayWorld.offererAddress, route: Route(socket: RelayWorld.socket, remote: RelayWorld.serverAddress),
      now: world.now)
    world.offerer.endOfServers(now: world.now)
    let hasEnded = try world.run { $0.hasEndedCandidates }
    #expect(hasEnded)
    #expect(world.now - start == world.delay * 2)  // one round trip, and nothing else
    let candidate = try #require(world.candidates.first)
    #expect(world.candidates.count == 1)
    #expect(candidate.kind == .serverReflexive)
    #expect(candidate.socketAddress == RelayWorld.mappedAddress)
    #expect(candidate.relatedAddress == RelayWorld.offererAddress)
    #expect(candidate.foundation != host.foundation)
    let isConnected = try world.run { $0.states.last == .connected }
    #expect(isConnected)
  }

  @Test func bindingsAreKeptAliveUntilAPairIsChosen() throws {
    let world = try RelayWorld()
    _ = world.offerer.addLocalCandidate(RelayWorld.offererAddress, socket: RelayWorld.socket, now: world.now)
    try world.negotiate()
    world.offerer.discover(
      base: RelayWorld.offererAddress, route: Route(socket: RelayWorld.socket, remote: RelayWorld.serverAddress),
      now: world.now)
    try world.run(for: .seconds(16)) { _ in false }
    #expect(world.toServer == 2)  // at 0 and 15 s
    world.isDirectWayShut = false
    try world.run { $0.states.last == .connected }
    try world.run { !$0.pairs.isEmpty }
    let asked = world.toServer
    try world.run(for: .seconds(60)) { _ in false }
    #expect(world.toServer <= asked + 1, "\(world.states) \(world.pairs)")
  }

  @Test func aSilentServerDelaysNothingButTheEndOfCandidates() throws {
    let world = try RelayWorld()
    (world.isServerSilent, world.isDirectWayShut) = (true, false)
    let start = world.now
    let host = world.offerer.addLocalCandidate(RelayWorld.offererAddress, socket: RelayWorld.socket, now: world.now)
    try world.negotiate()
    try world.answerer.addRemoteCandidate(host.sdpText, now: world.now)
    world.offerer.discover(
      base: RelayWorld.offererAddress, route: Route(socket: RelayWorld.socket, remote: RelayWorld.serverAddress),
      now: world.now)
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    let isConnected = try world.run { $0.states.last == .connected }
    #expect(isConnected && !world.hasEndedCandidates)
    #expect(world.now - start < .milliseconds(300))
    let hasEnded = try world.run { $0.hasEndedCandidates }
    #expect(hasEnded)
    #expect(world.now - start <= .milliseconds(10_010))
    #expect(world.failures.count == 2)
    // Nothing goes on asking.
    let asked = world.toServer
    try world.run(for: .seconds(60)) { _ in false }
    #expect(world.toServer == asked)
  }

  @Test("a connection through a relay alone, over links that lose", arguments: 1...40 as ClosedRange<UInt64>)
  func aRelayCarriesAConnection(seed: UInt64) throws {
    let world = try RelayWorld(seed: seed)
    world.lossPerMille = seed.isMultiple(of: 4) ? 0 : seed % 4 * 60
    let channel = try world.offerer.openChannel(ChannelParameters(label: "story"), now: world.now)
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    let isOpen = try world.run(for: .seconds(120)) { !$0.opened.isEmpty }
    try #require(isOpen, "seed \(seed): \(world.failures), \(world.states)")
    #expect(world.candidates.map(\.kind) == [.relayed])
    for number in 0..<50 {
      let payload = [UInt8](repeating: UInt8(number), count: 1 + number * 400)
      try world.offerer.send(on: channel, isText: false, payload: payload, now: world.now)
    }
    let areDelivered = try world.run(for: .seconds(300)) { $0.messages.count == 50 && !$0.pairs.isEmpty }
    #expect(areDelivered, "seed \(seed): \(world.messages.count)")
    #expect(world.messages.map { $0.first } == (0..<50).map { UInt8($0) })
    #expect(world.pairs.last?.local.kind == .relayed)
    #expect(world.server.channelPayloads > 20 && world.server.complaints.isEmpty)
  }

  @Test func theAllocationIsGivenBackAfterTheLastWords() throws {
    let world = try RelayWorld()
    _ = try world.offerer.openChannel(ChannelParameters(label: "story"), now: world.now)
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    try world.run { !$0.opened.isEmpty }
    #expect(world.server.allocatedUntil != nil)
    world.offerer.close(now: world.now)
    try world.run(for: .seconds(1)) { _ in false }
    #expect(world.server.allocatedUntil == nil)
    // The peer has heard of the end through the relay, before that was gone.
    let state = world.answerer.state
    #expect(state == .closed)
  }

  @Test func aRefusedAllocationEndsCandidates() throws {
    let world = try RelayWorld()
    world.server.refusal = { $0 == .allocate ? 486 : nil }
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    let hasEnded = try world.run(for: .seconds(2)) { $0.hasEndedCandidates }
    #expect(hasEnded && world.candidates.isEmpty)
    #expect(world.failures.count == 1)
  }

  @Test func aLostAllocationIsReplacedAndTheConnectionGoesOn() throws {
    let world = try RelayWorld()
    let channel = try world.offerer.openChannel(ChannelParameters(label: "story"), now: world.now)
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    try world.run { !$0.opened.isEmpty }
    // When asked to refresh, the server knows of nothing; it has lost its memory, and gives another address.
    let old = world.server.relayed
    world.server.refusal = { $0 == .refresh ? 437 : nil }
    let isAsked = try world.run(for: .seconds(700)) { $0.server.requests[.refresh] != nil }
    #expect(isAsked)
    var server = SimulatedServer()
    server.nonceNumber = 2
    server.relayed = try address("192.0.2.15:50001")
    world.server = server
    let isBack = try world.run(for: .seconds(900)) { world in
      world.server.allocatedUntil != nil && world.states.last == .connected && world.pairs.last?.local.socketAddress != nil
        && world.pairs.count > 1
    }
    #expect(isBack, "\(world.states) \(world.failures) \(world.pairs.count)")
    #expect(world.server.relayed != old)
    try world.offerer.send(on: channel, isText: false, payload: [1, 2, 3], now: world.now)
    let isDelivered = try world.run(for: .seconds(60)) { !$0.messages.isEmpty }
    #expect(isDelivered)
  }

  @Test func aRedirectionIsFollowedThreeTimes() throws {
    let world = try RelayWorld()
    world.server.refusal = { $0 == .allocate ? 300 : nil }
    world.server.alternate = (try address("192.0.2.3:3479"), nil)
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    // Nobody is at the other address.
    let hasEnded = try world.run(for: .seconds(30)) { $0.hasEndedCandidates }
    #expect(hasEnded && world.candidates.isEmpty)
    #expect(world.failures.contains { $0.hasPrefix("192.0.2.3:3479") })
  }

  @Test func aPeerWhoListsAThousandCandidatesGetsAHundredPermissions() throws {
    let world = try RelayWorld()
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    for number in 1...1_000 {
      let text = "candidate:1 1 udp 2122260223 198.51.\(number / 250).\(number % 250 + 1) 5000 typ host"
      try world.offerer.addRemoteCandidate(text, now: world.now)
    }
    try world.run(for: .seconds(5)) { _ in false }
    #expect(world.server.permissions.count <= 100)
    #expect(!world.server.permissions.isEmpty)
  }

  @Test func relaysAloneTellNoAddressOfOurs() throws {
    var configuration = Connection.Configuration()
    configuration.hidesMappedAddresses = true
    let world = try RelayWorld(configuration: configuration)
    try world.negotiate()
    world.offerer.allocate(world.request, now: world.now)
    world.offerer.endOfServers(now: world.now)
    try world.run(for: .seconds(5)) { $0.hasEndedCandidates }
    let text = try #require(world.candidates.first).sdpText
    #expect(text.contains("raddr 0.0.0.0 rport 0"))
    #expect(!text.contains("198.51.100.1") && !text.contains("10.0.0.1"))
  }
}
