// ServerTests.swift — connections that ask servers, over real sockets on this machine: what they tell the peer, and that
// they wait for nobody.

import Net
import STUN
import Synchronization
import Testing
import WebRTC
import Wire

/// A STUN server on loopback, or something that listens and says nothing.
private final class LocalServer: EventLoopParticipant, @unchecked Sendable {
  private var responder: BindingResponder?
  private var answers: [(Route, [UInt8])] = []
  private let count = Atomic<Int>(0)
  let loop: EventLoop

  private actor Place {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    init(loop: EventLoop) { self.loop = loop }
    func open(_ server: LocalServer) throws -> UInt16 {
      try loop.register(server).openSocket(SocketAddress(ip: .loopbackV4, port: 0)).localAddress.port
    }
  }

  init(answers: Bool) throws {
    loop = try EventLoop(name: "stun-server")
    responder = answers ? BindingResponder(random: .system) : nil
  }

  var requests: Int { count.load(ordering: .relaxed) }
  func start() async throws -> UInt16 { try await Place(loop: loop).open(self) }

  func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {
    batch.forEach { bytes, route in
      count.add(1, ordering: .relaxed)
      var isAnswered = false
      let answer = collectBytes(capacity: BindingResponder.maximumMessageSize) { out in
        isAnswered = responder?.answer(bytes, from: route.remote, into: &out, now: now) ?? false
      }
      if isAnswered { answers.append((route, answer)) }
    }
  }
  func timeout(now: Instant) {}
  func drain(into batch: inout TransmitBatch, now: Instant) -> Bool {
    for (route, answer) in answers {
      _ = batch.append(maximum: answer.count) { out in
        out.writeBytes(answer)
        return route
      }
    }
    answers = []
    return false
  }
  var deadline: Instant? { nil }
}

/// The candidates of a search.
func gathered(_ connection: PeerConnection) async throws -> [String] {
  _ = try await connection.createDataChannel("x")
  try await connection.setLocalDescription(try await connection.createOffer())
  var candidates: [String] = []
  for await candidate in connection.localCandidates {
    if candidate.isEndOfCandidates { break }
    candidates.append(candidate.candidate)
  }
  return candidates
}

@Suite(.timeLimit(.minutes(1))) struct ServerTests {
  @Test func aServerIsAskedAndCandidatesEndWithItsAnswer() async throws {
    let server = try LocalServer(answers: true)
    var configuration = Pair.loopbackOnly
    configuration.iceServers = [ICEServer("stun:127.0.0.1:\(try await server.start())")]
    let connection = try PeerConnection(configuration: configuration)
    // On loopback the server sees what we know already.
    let candidates = try await gathered(connection)
    #expect(candidates.allSatisfy { $0.contains("typ host") })
    #expect(server.requests == 1)
    await connection.close()
  }

  @Test func thoseWhoShareAPortGetTheirOwnAnswers() async throws {
    let server = try LocalServer(answers: true)
    let port = try await UDPPort(loopback: .only)
    var configuration = Pair.loopbackOnly
    configuration.sharedPort = port
    configuration.iceServers = [ICEServer("stun:127.0.0.1:\(try await server.start())")]
    let start = ContinuousClock.now
    var connections: [PeerConnection] = []
    for _ in 0..<5 {
      connections.append(try PeerConnection(configuration: configuration))
      #expect(try await gathered(connections.last!).allSatisfy { $0.contains("typ host") })
    }
    #expect(ContinuousClock.now - start < .seconds(8))  // a server that does not answer is given up after ten
    #expect(server.requests == 5)
    for connection in connections { await connection.close() }
    await port.close()
  }

  @Test func aServerThatSaysNothingDelaysNoConnection() async throws {
    let server = try LocalServer(answers: false)
    var configuration = Pair.loopbackOnly
    let port = try await server.start()
    configuration.iceServers = [
      ICEServer("stun:127.0.0.1:\(port)"),
      ICEServer("turn:127.0.0.1:\(port)", username: "name", credential: "password"),
      ICEServer("stun:no-such-host.invalid"),
    ]
    let pair = try Pair(configuration: configuration)
    let channel = try await pair.offerer.createDataChannel("test")
    let forward = Task {
      for await candidate in pair.offerer.localCandidates { try await pair.answerer.addICECandidate(candidate) }
    }
    let offer = try await pair.offerer.createOffer()
    try await pair.offerer.setLocalDescription(offer)
    try await pair.answerer.setRemoteDescription(offer)
    let answer = try await pair.answerer.createAnswer()
    try await pair.answerer.setLocalDescription(answer)
    try await pair.offerer.setRemoteDescription(answer)
    let start = ContinuousClock.now
    for await candidate in pair.answerer.localCandidates {
      try await pair.offerer.addICECandidate(candidate)
      break  // the first will do
    }
    try await channel.waitUntilOpen()
    #expect(ContinuousClock.now - start < .seconds(8))  // servers are given up after ten
    #expect(await pair.offerer.selectedCandidatePair?.local.type != nil)
    forward.cancel()
    await pair.close()
  }

  @Test func relaysAloneMeanNoHostCandidates() async throws {
    var configuration = Pair.loopbackOnly
    configuration.iceTransportPolicy = .relay
    let connection = try PeerConnection(configuration: configuration)
    #expect(try await gathered(connection).isEmpty)
    let sdp = try #require(await connection.localDescription?.sdp)
    #expect(!sdp.contains("a=candidate") && sdp.contains("a=end-of-candidates"))
    await connection.close()
  }

  @Test func portsComeFromTheRange() async throws {
    var configuration = Pair.loopbackOnly
    configuration.portRange = 42_100...42_199
    configuration.tcpCandidates = .activeAndPassive
    let connection = try PeerConnection(configuration: configuration)
    let candidates = try await gathered(connection).filter { !$0.contains("tcptype active") }
    #expect(candidates.contains { $0.contains("tcptype passive") })
    let ports = candidates.compactMap { Int($0.split(separator: " ")[5]) }
    #expect(!ports.isEmpty && ports.allSatisfy { (42_100...42_199).contains($0) })
    await connection.close()
  }

  @Test func addressesAreRewritten() async throws {
    var configuration = Pair.loopbackOnly
    configuration.addressRewriting = [AddressRewriting(from: "127.0.0.1", to: "203.0.113.7")]
    configuration.tcpCandidates = .activeAndPassive
    let replaced = try PeerConnection(configuration: configuration)
    let candidates = try await gathered(replaced).filter { !$0.contains("::") }
    #expect(candidates.count == 3)
    #expect(candidates.allSatisfy { $0.contains(" 203.0.113.7 ") && $0.contains("typ host") })
    await replaced.close()
    configuration.addressRewriting[0].mode = .add
    let added = try PeerConnection(configuration: configuration)
    let both = try await gathered(added).filter { !$0.contains("::") }
    #expect(both.count == 5)
    let reflexive = both.filter { $0.contains("203.0.113.7") && $0.contains("typ srflx raddr 127.0.0.1") }
    #expect(reflexive.map { $0.contains("tcptype passive") } == [false, true])
    await added.close()
  }

  @Test func hiddenAddressesAreNamesThatThePeerCanResolve() async throws {
    var configuration = Pair.loopbackOnly
    configuration.loopback = .excluded
    configuration.hidesHostAddresses = true
    configuration.eventLoop = try EventLoop(name: "hidden")
    let hosts = try configuration.hostAddresses()
    guard !hosts.isEmpty else { return }  // a machine without a network has nothing to hide
    let pair = try Pair(configuration: configuration)
    let (near, far) = try await pair.open()
    try await near.send("through a name")
    for await message in far.messages {
      #expect(message == .text("through a name"))
      break
    }
    let sdp = try #require(await pair.offerer.localDescription?.sdp)
    #expect(sdp.contains(".local "))
    for host in hosts { #expect(!sdp.contains(" \(host) ")) }
    await pair.close()
  }

  @Test func aRestartFindsTheWayAnewAndLosesNothing() async throws {
    let pair = try Pair()
    let (near, far) = try await pair.open()
    let sending = Task {
      for number in 0..<2_000 { try await near.send("\(number)") }
    }
    await pair.offerer.restartICE()
    for await _ in pair.offerer.negotiationNeeded { break }
    let before = try #require(await pair.offerer.localDescription?.sdp)
    let offer = try await pair.offerer.createOffer()
    try await pair.offerer.setLocalDescription(offer)
    try await pair.answerer.setRemoteDescription(offer)
    let answer = try await pair.answerer.createAnswer()
    try await pair.answerer.setLocalDescription(answer)
    try await pair.offerer.setRemoteDescription(answer)
    try await pair.exchangeCandidates()
    let fragment = { (sdp: String) in sdp.split(separator: "\r\n").first { $0.hasPrefix("a=ice-ufrag:") } }
    #expect(fragment(before) != fragment(offer.sdp))
    var next = 0
    for await message in far.messages {
      #expect(message == .text("\(next)"))
      next += 1
      if next == 2_000 { break }
    }
    try await sending.value
    await pair.close()
  }
}
