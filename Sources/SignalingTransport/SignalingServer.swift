// SignalingServer.swift — the signalling server on SwiftNIO: HTTP handshake, access, WebSockets, rooms.
//
// A server listens on one address and runs on one event loop. What it does with messages is RoomServer's; what it does
// with sockets is WebSocketConnection's. No compression is offered: what a frame weighs is what it costs (W5).

public import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
internal import NIOWebSocket
public import Signaling

public actor SignalingServer {
  public struct Configuration: Sendable {
    /// A name or an address of this host.
    public var host = "127.0.0.1"
    /// 0 takes a free one.
    public var port = 8_000
    public var path = "/signaling"
    public var access = SignalingAccess.localOnly
    public var policy = RoomPolicy.open
    public var limits = RoomLimits()
    /// Serve `wss://` instead of `ws://`.
    public var tls: TLS?
    /// Connections from one address other than this host's own.
    public var connectionsPerAddress = 256
    /// What may wait for a connection that does not read; more cuts it off. Several of the largest messages.
    public var outputByteCount = 1 << 20
    /// From the TCP connection to the end of the WebSocket handshake.
    public var handshakeTimeout = Duration.seconds(5)
    /// From our close frame to the other side's.
    public var closeTimeout = Duration.seconds(2)
    public var logger = Logger(label: "swarm.signaling")

    public init(host: String = "127.0.0.1", port: Int = 8_000) {
      self.host = host
      self.port = port
    }
  }

  /// A certificate chain, leaf first, and its key.
  public struct TLS: Sendable {
    public var certificateChainPEM: String
    public var privateKeyPEM: String

    public init(certificateChainPEM: String, privateKeyPEM: String) {
      self.certificateChainPEM = certificateChainPEM
      self.privateKeyPEM = privateKeyPEM
    }
  }

  /// Where a running server listens.
  public struct Address: Hashable, Sendable {
    public var host: String
    public var port: Int
    /// For `SignalingClient.connect`.
    public var url: String
  }

  private enum State {
    case idle, starting
    case running(any Channel, NIOLoopBound<RoomHub>)
    case stopped
  }

  let configuration: Configuration
  private var state = State.idle

  public init(configuration: Configuration = Configuration()) { self.configuration = configuration }

  /// Listens, and serves until `shutdown`. A server starts once.
  @discardableResult
  public func start() async throws(SignalingError) -> Address {
    guard case .idle = state else { throw .alreadyStarted }
    state = .starting
    do {
      let loop = MultiThreadedEventLoopGroup.singleton.next()
      let tls = try configuration.tls.map(Self.context)
      let hub = try await makeHub(on: loop)
      let channel = try await Self.listen(configuration, hub: hub, tls: tls, loop: loop)
      let host = channel.localAddress?.ipAddress ?? configuration.host
      let port = channel.localAddress?.port ?? configuration.port
      state = .running(channel, hub)
      let scheme = tls == nil ? "ws" : "wss"
      let authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      let address = Address(host: host, port: port, url: "\(scheme)://\(authority)\(configuration.path)")
      configuration.logger.info("signalling server listens", metadata: ["url": "\(address.url)"])
      return address
    } catch {
      state = .idle
      throw error
    }
  }

  /// Tells everybody (`server-shutdown`, close 1001), waits for their goodbye no longer than `closeTimeout`, and stops.
  public func shutdown() async {
    guard case .running(let channel, let hub) = state else { return }
    state = .stopped
    let log = configuration.logger
    do {
      try await channel.close()
    } catch {
      log.debug("closing the listening socket failed", metadata: ["error": "\(error)"])
    }
    do {
      try await channel.eventLoop.flatSubmit { hub.value.shutDown() }.get()
    } catch {
      log.debug("closing the connections failed", metadata: ["error": "\(error)"])
    }
  }

  /// Rooms, peers and counters; nil unless the server runs.
  public func statistics() async -> JSONValue? {
    guard case .running(let channel, let hub) = state else { return nil }
    do {
      return try await channel.eventLoop.submit { hub.value.summary.json }.get()
    } catch {
      configuration.logger.debug("no statistics", metadata: ["error": "\(error)"])
      return nil
    }
  }
}
