// SignalingClient.swift — a peer's connection to a signalling server.
//
// A client lives through many connections: when one is lost it makes the next by itself (see ReconnectPolicy), and says
// so in `states`. It does not join: whoever owns it sends `join` each time `connected` shows up; the server's `welcome`,
// the first message of each connection, separates in `messages` what belongs to which. While joined, it sends the
// heartbeat of the protocol. Both streams have one reader each, and end with `close`.

public import Logging
internal import NIOCore
public import Signaling
internal import Wire

public actor SignalingClient {
  public static let defaultURL = "ws://localhost:8000/signaling"

  public struct Configuration: Sendable {
    /// Nil: a lost connection stays lost.
    public var reconnect: ReconnectPolicy? = ReconnectPolicy()
    /// The peer's sign of life to the room, and a WebSocket ping; a server silent for two and a half of them is dead.
    public var heartbeatInterval = Duration.seconds(30)
    /// From the beginning of an attempt to the end of the WebSocket handshake.
    public var connectTimeout = Duration.seconds(10)
    public var closeTimeout = Duration.seconds(2)
    /// The value of the `Origin` header; some servers in remote mode require one.
    public var origin: String?
    /// Certificates in PEM to trust beside the system's, for `wss://`.
    public var additionalTrustRootsPEM: String?
    /// The longest message to send; what servers take.
    public var sendByteCount = 65_536
    /// The longest message to receive: `joined` in a full room with all that is known about its members.
    public var receiveByteCount = 1 << 20
    /// Messages that may wait in `messages`; a reader further behind loses the connection, not a message.
    public var messageCount = 4_096
    /// What may wait for a server that does not read; more ends the connection.
    public var outputByteCount = 1 << 20
    public var logger = Logger(label: "swarm.signaling.client")

    public init() {}
  }

  public enum State: Hashable, Sendable {
    case connecting
    case connected
    /// Not connected; `retrying` tells whether an attempt follows.
    case disconnected(Disconnection, retrying: Bool)
  }

  public enum Disconnection: Hashable, Sendable {
    /// A close frame ended the connection.
    case closed(code: UInt16, reason: String)
    /// It broke, or ended without a close frame.
    case broken
    /// The server gave no sign of life.
    case silent
    /// `messages` was full.
    case readerTooSlow
    /// An attempt to connect failed.
    case failed(SignalingError)
    /// We called `close`.
    case byUs
  }

  /// What the server and the peers say. Frames that are no signalling messages are counted, not delivered.
  public nonisolated let messages: AsyncStream<SignalingMessage>
  public nonisolated let states: AsyncStream<State>

  private enum Phase {
    case idle
    case connecting
    case connected(ClientSession.Reference, since: Instant)
    case waiting
    case closed
  }

  private let configuration: Configuration
  private let messageSink: AsyncStream<SignalingMessage>.Continuation
  private let stateSink: AsyncStream<State>.Continuation
  private var phase = Phase.idle
  private var url: SignalingURL?
  private var policy: ReconnectPolicy?
  private var random = RandomSource.system
  private var retry: Task<Void, Never>?

  public init(configuration: Configuration = Configuration()) {
    self.configuration = configuration
    policy = configuration.reconnect
    (messages, messageSink) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(configuration.messageCount))
    (states, stateSink) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.stateCount))
  }

  deinit {
    retry?.cancel()
    if case .connected(let session, _) = phase { session.abort() }
    messageSink.finish()
    stateSink.finish()
  }

  /// Makes the first connection. If it cannot be made this throws, and nothing is retried; once it was made, a loss of
  /// it starts the attempts to replace it.
  public func connect(url: String = SignalingClient.defaultURL) async throws(SignalingError) {
    let address = try SignalingURL(url)
    switch phase {
    case .idle: break
    case .closed: throw .notConnected
    case .connecting, .connected, .waiting: throw .alreadyConnected
    }
    self.url = address
    do {
      try await open(address)
    } catch {
      if case .connecting = phase { phase = .idle }
      stateSink.yield(.disconnected(.failed(error), retrying: false))
      throw error
    }
  }

  /// Sends one message; returns when the system has taken it.
  public func send(_ message: SignalingMessage) async throws(SignalingError) {
    let text = message.encoded()
    guard text.utf8.count <= configuration.sendByteCount else {
      throw .messageTooLarge(limit: configuration.sendByteCount)
    }
    guard case .connected(let session, _) = phase else { throw .notConnected }
    try await session.send(message, text: text)
  }

  /// Ends the connection with a close frame, and both streams. Nothing follows.
  public func close() async {
    retry?.cancel()
    retry = nil
    let previous = phase
    phase = .closed
    if case .connected(let session, _) = previous { await session.close() }
    if case .idle = previous {} else { stateSink.yield(.disconnected(.byUs, retrying: false)) }
    stateSink.finish()
    messageSink.finish()
  }

  public var isConnected: Bool {
    if case .connected = phase { true } else { false }
  }

  // MARK: Connections

  private func open(_ address: SignalingURL) async throws(SignalingError) {
    phase = .connecting
    stateSink.yield(.connecting)
    let session = try await ClientSession.connect(to: address, configuration, messages: messageSink) {
      [weak self] end in
      // Off the event loop; the actor decides what follows.
      Task { await self?.ended(end) }
    }
    guard case .connecting = phase else {  // closed meanwhile
      session.abort()
      throw .notConnected
    }
    phase = .connected(session, since: Self.now)
    stateSink.yield(.connected)
    session.begin()
  }

  private func ended(_ end: Disconnection) {
    guard case .connected(_, let since) = phase else { return }
    guard policy != nil, url != nil else {
      phase = .idle
      stateSink.yield(.disconnected(end, retrying: false))
      return
    }
    policy?.connectionEnded(after: Self.now - since)
    phase = .waiting
    stateSink.yield(.disconnected(end, retrying: true))
    retry = Task { [weak self] in
      while let wait = await self?.nextWait() {
        do { try await Task.sleep(for: wait) } catch { return }  // cancelled
        if await self?.attempt() ?? true { return }
      }
    }
  }

  private func nextWait() -> Duration? {
    guard case .waiting = phase, let delay = policy?.nextDelay(using: &random) else { return nil }
    return .nanoseconds(delay.nanoseconds)
  }

  /// True when there is nothing left to attempt.
  private func attempt() async -> Bool {
    guard case .waiting = phase, let url else { return true }
    do {
      try await open(url)
      return true
    } catch {
      guard case .connecting = phase else { return true }
      phase = .waiting
      stateSink.yield(.disconnected(.failed(error), retrying: true))
      return false
    }
  }

  private static var now: Instant { Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds)) }
  private static let stateCount = 64  // states are news; a reader that slow needs the latest only
}
