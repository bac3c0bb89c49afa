// SwarmPeer.swift — one peer of a swarm: joins a room, connects to everyone in it, and works with them.
//
// The thinking is in SwarmMachine; this actor gives it sockets, files and time. Whoever is new in a room dials everyone
// that is there (WIRE §1). After anything that goes into the machine, `drain` carries out what it wants.

import Digest
public import Signaling
import SignalingTransport
import WebRTC
import Wire

/// A member of a room of peers that are all connected to each other.
/// ```
/// var configuration = SwarmConfiguration(room: "reploid-swarm-lab")
/// configuration.capabilities = ["swift-build"]
/// let peer = SwarmPeer(configuration)
/// try await peer.start()
/// let result = try await peer.delegateTask("compile", requirements: ["swift-build"], data: ["target": "Core"])
/// ```
/// It lives until `disconnect()`.
public actor SwarmPeer {
  public nonisolated let id: PeerID
  public nonisolated let configuration: SwarmConfiguration
  /// What happens, for one reader. Whoever does not read loses the oldest events, and nothing else.
  public nonisolated let events: AsyncStream<SwarmEvent>

  public typealias MessageHandler = @Sendable (_ from: PeerID, _ payload: JSONValue) async -> Void
  public typealias TaskHandler = @Sendable (SwarmTask) async throws -> JSONValue
  public typealias Voter = @Sendable (Proposal) async -> Bool
  /// Where an offered artifact shall go; nil: nowhere.
  public typealias ArtifactHandler = @Sendable (_ from: PeerID, ArtifactDescription) async -> ArtifactDestination?

  enum Phase { case idle, joining, joined, left }

  var machine: SwarmMachine
  var phase = Phase.idle
  let eventSink: AsyncStream<SwarmEvent>.Continuation
  let client: SignalingClient

  // Signalling
  package var roomMembers: Set<PeerID> = []
  var isSignalingConnected = false
  /// A `join` is on its way.
  var isJoining = false
  var joinWaiter: CheckedContinuation<Result<Void, SwarmError>, Never>?
  /// How the first join ended, when nobody waited for it yet.
  var joinResult: Result<Void, SwarmError>?
  var joinRefusals = 0

  // Links
  package internal(set) var links: [PeerID: PeerLink] = [:]
  /// Who is still to be dialled.
  package var waitingDials: [PeerID] = []
  /// Candidates that came before their offer.
  var earlyCandidates: [PeerID: EarlyCandidates] = [:]
  /// How often a peer was dialled in vain.
  var failedDials: [PeerID: Int] = [:]
  var random = RandomSource.system

  // What users wait for, and what they registered
  var delegationWaiters: [String: CheckedContinuation<Result<JSONValue, DelegationError>, Never>] = [:]
  var consensusWaiters: [String: CheckedContinuation<ConsensusOutcome?, Never>] = [:]
  var downloadWaiters: [UInt64: CheckedContinuation<Result<ReceivedArtifact, ArtifactError>, Never>] = [:]
  var messageSinks: [String: AsyncStream<(PeerID, JSONValue)>.Continuation] = [:]
  var taskHandlers: [String: TaskHandler] = [:]
  var voter: Voter?
  var artifactHandler: ArtifactHandler?
  /// Messages that came faster than their handler took them.
  var droppedMessages = 0
  var runningTasks: [SwarmMachine.TaskKey: Task<Void, Never>] = [:]

  // Artifacts
  var sources: [String: ArtifactSource] = [:]
  var readers: [UInt64: ArtifactReader] = [:]
  var writers: [UInt64: ArtifactWriter] = [:]

  // Time
  var timer: Task<Void, Never>?
  var timerDue: Instant?
  var services: [Task<Void, Never>] = []

  // Leaving
  var idleWaiters: [CheckedContinuation<Void, Never>] = []
  var isOutOfPatience = false

  public init(_ configuration: SwarmConfiguration) {
    self.configuration = configuration
    let origin = SwarmClock.wallClockOrigin()
    let now = SwarmClock.now()
    var random = RandomSource.system
    let made = SwarmID.make(prefix: "peer", wallMilliseconds: origin + now.nanoseconds / 1_000_000, using: &random)
    let id = configuration.peerID ?? made
    self.id = id
    var machineConfiguration = SwarmMachine.Configuration(peerID: id)
    machineConfiguration.capabilities = configuration.capabilities
    machineConfiguration.wallClockOrigin = origin
    machineConfiguration.maximumArtifactBytes = configuration.maximumArtifactBytes
    machine = SwarmMachine(configuration: machineConfiguration, random: .system)
    (events, eventSink) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.maximumEvents))
    client = SignalingClient()
  }

  // MARK: Life

  /// Joins the room. Connections to those who are there follow, as `peerConnected` events.
  public func start() async throws(SwarmError) {
    guard phase == .idle else { throw .notConnected }
    phase = .joining
    isJoining = true
    readSignaling()
    do {
      try await client.connect(url: configuration.signalingURL)
    } catch {
      await disconnect()
      throw .signaling("\(error)")
    }
    let limit = Task {
      try await Task.sleep(for: Self.joinPatience)
      endJoin(.failure(.signaling("No answer to join")))
    }
    let result = await withCheckedContinuation { waiter in
      if let joinResult { waiter.resume(returning: joinResult) } else { joinWaiter = waiter }
    }
    limit.cancel()
    if case .failure(let error) = result {
      await disconnect()
      throw error
    }
  }

  private func checkJoined() throws(SwarmError) {
    guard phase == .joined else { throw .notConnected }
  }

  func endJoin(_ result: Result<Void, SwarmError>) {
    guard joinResult == nil else { return }
    joinResult = result
    joinWaiter?.resume(returning: result)
    joinWaiter = nil
  }

  /// Leaves the room and closes every connection, once what is queued has been sent. Whoever still waits for something
  /// is told `disconnected`. Nothing follows.
  public func disconnect() async {
    guard phase != .left else { return }
    let wasIdle = phase == .idle
    phase = .left
    endJoin(.failure(.notConnected))
    timer?.cancel()
    abandonWaiters()
    if !wasIdle {
      await leaveRoom()
      await closeLinks()
      await client.close()
    }
    for service in services { service.cancel() }
    eventSink.finish()
  }

  private func abandonWaiters() {
    for waiter in delegationWaiters.values { waiter.resume(returning: .failure(.disconnected)) }
    for waiter in consensusWaiters.values { waiter.resume(returning: nil) }
    for waiter in downloadWaiters.values { waiter.resume(returning: .failure(.disconnected)) }
    delegationWaiters = [:]
    consensusWaiters = [:]
    downloadWaiters = [:]
    for task in runningTasks.values { task.cancel() }
    for sink in messageSinks.values { sink.finish() }
    readers = [:]
    writers = [:]
  }

  // MARK: Messages

  /// Sends a message of the user's own type; waits while the peer takes less than it is sent. A payload that is no
  /// object arrives as an object with the member `value`.
  ///
  /// - Returns: false when there is no open channel to `peer`.
  @discardableResult
  public func sendToPeer(_ peer: PeerID, _ type: String, _ payload: JSONValue = [:]) async throws(SwarmError) -> Bool {
    try checkJoined()
    await waitForRoom([peer])
    let isSent = try machine.send(type, payload, to: peer)
    drain()
    return isSent
  }

  /// Sends a message to every connected peer; waits while one of them takes less than it is sent.
  ///
  /// - Returns: how many peers it was sent to.
  @discardableResult
  public func broadcast(_ type: String, _ payload: JSONValue = [:]) async throws(SwarmError) -> Int {
    try checkJoined()
    await waitForRoom(Array(links.keys))
    let count = try machine.broadcast(type, payload)
    drain()
    return count
  }

  /// Calls `handler` with each message of this type, one after the other. Messages that come while it is
  /// `maximumPendingMessages` behind are lost. It takes the place of an earlier one; nil ends it.
  public func registerMessageHandler(_ type: String, _ handler: MessageHandler?) {
    messageSinks.removeValue(forKey: type)?.finish()
    guard let handler, phase != .left else { return }
    let (stream, sink) = AsyncStream<(PeerID, JSONValue)>.makeStream(
      bufferingPolicy: .bufferingOldest(Self.maximumPendingMessages))
    messageSinks[type] = sink
    Task.detached { for await (peer, payload) in stream { await handler(peer, payload) } }
  }

  // MARK: Capabilities and tasks

  /// Replaces what this peer can do for others, and tells them.
  public func updateCapabilities(_ capabilities: [String]) async throws(SwarmError) {
    try checkJoined()
    machine.updateCapabilities(capabilities, now: SwarmClock.now())
    drain()
    await announceMetadata()
  }

  /// Gives a task to the first connected peer that has every required capability, or to the next one if it declines.
  ///
  /// - Returns: what the peer's handler returned.
  public func delegateTask(
    _ name: String, requirements: [String] = [], data: JSONValue = .null, timeout: Duration = .seconds(60)
  ) async throws(DelegationError) -> JSONValue {
    guard phase == .joined else { throw .disconnected }
    let id = try machine.delegate(
      name, requirements: requirements, data: data, timeout: Interval(timeout), now: SwarmClock.now())
    let result = await withCheckedContinuation { waiter in
      delegationWaiters[id] = waiter
      drain()
    }
    return try result.get()
  }

  /// Does the tasks of this name that others delegate to this peer; the task that runs `handler` is cancelled when the
  /// delegator leaves. Nil ends it. Tasks without a handler are declined.
  public func registerTaskHandler(_ name: String, _ handler: TaskHandler?) { taskHandlers[name] = handler }

  // MARK: Knowledge and votes

  /// Writes a piece of knowledge that every peer holds; of two writes at the same time all peers keep the same one.
  @discardableResult
  public func shareKnowledge(_ id: String, _ value: JSONValue) async throws(SwarmError) -> KnowledgeEntry {
    try checkJoined()
    await waitForRoom(Array(links.keys))
    let entry = try machine.share(id, value, now: SwarmClock.now())
    drain()
    return entry
  }

  /// All knowledge by its id.
  public var knowledge: [String: KnowledgeEntry] { machine.knowledge.entries }

  /// Asks all connected peers to vote, this one voting yes. Decided as soon as the missing votes cannot change it.
  public func requestConsensus(_ type: String, _ content: JSONValue = .null, timeout: Duration = .seconds(30))
    async throws(SwarmError) -> ConsensusOutcome
  {
    try checkJoined()
    let id = try machine.propose(type, content: content, timeout: Interval(timeout), now: SwarmClock.now())
    let outcome = await withCheckedContinuation { waiter in
      consensusWaiters[id] = waiter
      drain()
    }
    guard let outcome else { throw .notConnected }
    return outcome
  }

  /// Decides how this peer votes on the proposals of others. Without one it agrees to a `goal-change`, to a
  /// `code-modification` that contains no `eval(`, and to nothing else.
  public func registerVoter(_ voter: Voter?) { self.voter = voter }

  // MARK: Bounds

  /// Larger artifacts are fetched into a file.
  public static let maximumMemoryArtifact = 64 << 20
  public static let maximumPendingMessages = 1_024
  private static let maximumEvents = 4_096
  private static let joinPatience = Duration.seconds(15)
}
