// SignalingServer+Channels.swift — what a listening socket and each of its connections are made of.
//
// A connection begins as TLS (if asked for), HandshakeGuard, HTTP, HTTPAnswerer, and ends as TLS, WebSocket frames,
// WebSocketConnection.

internal import FoundationEssentials
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
internal import NIOWebSocket
internal import Signaling
internal import Wire

extension SignalingServer {
  func makeHub(on loop: any EventLoop) async throws(SignalingError) -> NIOLoopBound<RoomHub> {
    let configuration = self.configuration
    var rooms = RoomServer.Configuration()
    rooms.policy = configuration.policy
    rooms.limits = configuration.limits
    rooms.path = configuration.path
    rooms.isLocalOnly = configuration.access == .localOnly
    rooms.epochMilliseconds = Self.millisecondsSince1970() - RoomHub.now.nanoseconds / 1_000_000
    let settings = rooms
    do {
      return try await loop.submit {
        let hub = RoomHub(
          configuration: settings, connectionsPerAddress: configuration.connectionsPerAddress,
          logger: configuration.logger, loop: loop)
        return NIOLoopBound(hub, eventLoop: loop)
      }.get()
    } catch {
      throw .cannotListen("\(error)")
    }
  }

  static func listen(
    _ configuration: Configuration, hub: NIOLoopBound<RoomHub>, tls: NIOSSLContext?, loop: any EventLoop
  ) async throws(SignalingError) -> any Channel {
    let bootstrap = ServerBootstrap(group: loop)
      .serverChannelOption(.backlog, value: 1_024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(
        .writeBufferWaterMark,
        value: .init(low: configuration.outputByteCount / 2, high: configuration.outputByteCount)
      )
      .childChannelInitializer { channel in
        guard hub.value.admit(channel) else { return channel.close() }
        return channel.eventLoop.makeCompletedFuture {
          try Self.configure(channel, configuration, hub: hub, tls: tls)
        }
      }
    do {
      return try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
    } catch {
      throw .cannotListen("\(configuration.host):\(configuration.port): \(error)")
    }
  }

  private static func configure(
    _ channel: any Channel, _ configuration: Configuration, hub: NIOLoopBound<RoomHub>, tls: NIOSSLContext?
  ) throws {
    let pipeline = channel.pipeline.syncOperations
    if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
    try pipeline.addHandler(HandshakeGuard(timeout: TimeAmount(configuration.handshakeTimeout)))

    let path = configuration.path
    let access = configuration.access
    let messageByteCount = configuration.limits.messageByteCount
    let upgrader = NIOWebSocketServerUpgrader(
      maxFrameSize: messageByteCount, automaticErrorHandling: false,
      shouldUpgrade: { channel, request in
        let admission = Admission(request, from: channel.remoteAddress, path: path, access: access)
        return channel.eventLoop.makeSucceededFuture(admission == .webSocket ? HTTPHeaders() : nil)
      },
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          pipeline.removeHandler(try pipeline.handler(type: HandshakeGuard.self), promise: nil)
          pipeline.removeHandler(try pipeline.handler(type: HTTPAnswerer.self), promise: nil)
          let connection = WebSocketConnection(
            number: hub.value.takeNumber(), role: .server, maximumMessageByteCount: messageByteCount,
            closeTimeout: TimeAmount(configuration.closeTimeout), owner: hub.value)
          hub.value.handshakeEnded(channel)
          try pipeline.addHandler(connection)
        }
      })
    var limits = NIOHTTPDecoderLimitConfiguration()
    limits.maxHeaderFieldSize = maximumHeaderFieldSize
    limits.maxHeaderListSize = maximumHeaderListSize
    limits.maxHeaderFieldCount = maximumHeaderFieldCount
    try pipeline.configureHTTPServerPipeline(
      withPipeliningAssistance: false, withServerUpgrade: ([upgrader], { _ in }), withErrorHandling: true,
      withOutboundHeaderValidation: true, withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
    try pipeline.addHandler(
      HTTPAnswerer(hub: hub.value, path: path, access: access, logger: configuration.logger))
  }

  static func context(_ tls: TLS) throws(SignalingError) -> NIOSSLContext {
    do {
      let chain = try NIOSSLCertificate.fromPEMBytes(Array(tls.certificateChainPEM.utf8))
      let key = try NIOSSLPrivateKey(bytes: Array(tls.privateKeyPEM.utf8), format: .pem)
      let configuration = TLSConfiguration.makeServerConfiguration(
        certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
      return try NIOSSLContext(configuration: configuration)
    } catch {
      throw .invalidCertificate("\(error)")
    }
  }

  private static func millisecondsSince1970() -> Int64 {
    Int64(Date().timeIntervalSince1970 * 1_000)
  }

  private static let maximumHeaderFieldSize = 8_192
  private static let maximumHeaderListSize = 16_384
  private static let maximumHeaderFieldCount = 100
}
