// ClientSession+Connect.swift — from an address to an open WebSocket: TCP, TLS, HTTP handshake, all under one deadline.

internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
internal import NIOWebSocket
internal import Signaling

extension ClientSession {
  static func connect(
    to url: SignalingURL, _ configuration: SignalingClient.Configuration,
    messages: AsyncStream<SignalingMessage>.Continuation, ended: @escaping @Sendable (End) -> Void
  ) async throws(SignalingError) -> Reference {
    let tls = url.isSecure ? try tlsContext(configuration) : nil
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let opening = loop.makePromise(of: Void.self)
    let timeout = TimeAmount(configuration.connectTimeout)
    let deadline = loop.scheduleTask(in: timeout) { opening.fail(SignalingError.timedOut) }
    do {
      let session = try await loop.submit {
        let session = ClientSession(configuration, messages: messages, loop: loop, opening: opening, ended: ended)
        return NIOLoopBound(session, eventLoop: loop)
      }.get()
      let bootstrap = ClientBootstrap(group: loop)
        .connectTimeout(timeout)
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelOption(
          .writeBufferWaterMark,
          value: .init(low: configuration.outputByteCount / 2, high: configuration.outputByteCount)
        )
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try Self.configure(channel, url, configuration, session: session, opening: opening, tls: tls)
          }
        }
      bootstrap.connect(host: url.host, port: url.port).whenComplete { result in
        switch result {
        case .success(let channel):
          opening.futureResult.whenFailure { _ in channel.close(promise: nil) }
        case .failure(let error):
          opening.fail(SignalingError.cannotConnect(reason(error)))
        }
      }
      defer { deadline.cancel() }
      try await opening.futureResult.get()
      return Reference(session: session, loop: loop)
    } catch let error as SignalingError {
      throw error
    } catch {
      throw .cannotConnect(reason(error))
    }
  }

  private static func configure(
    _ channel: any Channel, _ url: SignalingURL, _ configuration: SignalingClient.Configuration,
    session: NIOLoopBound<ClientSession>, opening: EventLoopPromise<Void>, tls: NIOSSLContext?
  ) throws {
    let pipeline = channel.pipeline.syncOperations
    if let tls {
      // An address is no server name (RFC 6066 §3); the certificate is then checked against the address.
      let isAddress = url.host.contains(":") || url.host.allSatisfy { $0.isNumber || $0 == "." }
      try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : url.host))
    }
    let handshake = ClientHandshake(url: url, origin: configuration.origin, opening: opening)
    let receiveByteCount = configuration.receiveByteCount
    let upgrader = NIOWebSocketClientUpgrader(
      maxFrameSize: receiveByteCount, automaticErrorHandling: false,
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          pipeline.removeHandler(try pipeline.handler(type: ClientHandshake.self), promise: nil)
          let connection = WebSocketConnection(
            number: 0, role: .client, maximumMessageByteCount: receiveByteCount,
            closeTimeout: TimeAmount(configuration.closeTimeout), owner: session.value)
          try pipeline.addHandler(connection)
        }
      })
    // The server's first frame may come in the packet of its answer.
    try pipeline.addHTTPClientHandlers(
      leftOverBytesStrategy: .forwardBytes, withClientUpgrade: ([upgrader], { _ in }))
    try pipeline.addHandler(handshake)
  }

  private static func tlsContext(_ configuration: SignalingClient.Configuration) throws(SignalingError) -> NIOSSLContext
  {
    do {
      var tls = TLSConfiguration.makeClientConfiguration()
      if let pem = configuration.additionalTrustRootsPEM {
        tls.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))]
      }
      return try NIOSSLContext(configuration: tls)
    } catch {
      throw .invalidCertificate("\(error)")
    }
  }

  /// The first of what went wrong, in words.
  private static func reason(_ error: any Error) -> String {
    guard let error = error as? NIOConnectionError else { return "\(error)" }
    if let failed = error.connectionErrors.first { return "\(error.host):\(error.port): \(failed.error)" }
    return "\(error.host): unknown host"
  }
}

/// Asks for the WebSocket as soon as there is a connection, and reads the answer if it is a refusal.
private final class ClientHandshake: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  private let url: SignalingURL
  private let origin: String?
  private let opening: EventLoopPromise<Void>

  init(url: SignalingURL, origin: String?, opening: EventLoopPromise<Void>) {
    self.url = url
    self.origin = origin
    self.opening = opening
  }

  func channelActive(context: ChannelHandlerContext) {
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: url.target)
    head.headers.add(name: "Host", value: url.hostHeader)
    if let origin { head.headers.add(name: "Origin", value: origin) }
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(let response) = unwrapInboundIn(data) else { return }
    fail(
      response.status == .switchingProtocols
        ? .handshakeFailed("the WebSocket handshake does not fit") : .rejected(status: Int(response.status.code)),
      context)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    fail(error is HTTPParserError ? .handshakeFailed("\(error)") : .cannotConnect("\(error)"), context)
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(.handshakeFailed("the connection ended"), context)
  }

  private func fail(_ error: SignalingError, _ context: ChannelHandlerContext) {
    opening.fail(error)
    context.close(promise: nil)
  }
}
