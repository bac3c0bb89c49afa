// HandshakeHandlers.swift — a server connection before it is a WebSocket: bounded in time and bytes, answered in HTTP.

internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOWebSocket
internal import Signaling

/// Closes what has not become a WebSocket in time, or sends more than a handshake needs (W1, W2). Sits below the HTTP
/// decoder and leaves with it.
final class HandshakeGuard: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let timeout: TimeAmount
  private var byteCount = 0
  private var isRefused = false
  private var deadline: Scheduled<Void>?

  init(timeout: TimeAmount) { self.timeout = timeout }

  func handlerAdded(context: ChannelHandlerContext) {
    let channel = context.channel
    deadline = context.eventLoop.scheduleTask(in: timeout) { channel.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isRefused else { return }
    byteCount += unwrapInboundIn(data).readableBytes
    if byteCount > Self.maximumByteCount { refuse(context) } else { context.fireChannelRead(data) }
  }

  private func refuse(_ context: ChannelHandlerContext) {
    isRefused = true
    let answer = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(channel.allocator.buffer(string: answer)))
      .whenComplete { _ in channel.close(promise: nil) }
  }

  /// Browsers need about 1 KB; the rest is for cookies of whatever else runs on this host.
  private static let maximumByteCount = 32_768
}

/// Answers what does not become a WebSocket, and ends the connection with it.
final class HTTPAnswerer: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let hub: RoomHub
  private let path: String
  private let access: SignalingAccess
  private let logger: Logger
  private var hasAnswered = false

  init(hub: RoomHub, path: String, access: SignalingAccess, logger: Logger) {
    self.hub = hub
    self.path = path
    self.access = access
    self.logger = logger
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(let request) = unwrapInboundIn(data), !hasAnswered else { return }
    hasAnswered = true
    switch Admission(request, from: context.remoteAddress, path: path, access: access) {
    case .health:
      let summary = hub.summary
      let body: JSONValue = [
        "ok": true, "service": "swarm-signaling", "localOnly": .bool(access == .localOnly),
        "peers": .integer(summary.peerCount), "rooms": .integer(summary.rooms.count),
      ]
      answer(.ok, body.text, type: "application/json", context)
    case .statistics:
      var body = hub.summary.json
      body["path"] = .string(path)
      body["localOnly"] = .bool(access == .localOnly)
      answer(.ok, body.text, type: "application/json", context)
    case .refused(let status, let reason):
      // Nothing of the request is logged: a stranger wrote it, and its query may hold a token.
      logger.debug("request refused", metadata: ["status": "\(status.code)", "reason": "\(reason)"])
      answer(status, reason, type: "text/plain; charset=utf-8", context)
    case .webSocket:
      // The upgrade handler takes valid handshakes away; what it left is one that it found fault with.
      answer(.badRequest, "Not a WebSocket handshake", type: "text/plain; charset=utf-8", context)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A handshake that was not taken comes here as an error first, and then as the request to answer.
    if error is NIOWebSocketUpgradeError || error is HTTPServerUpgradeErrors { return }
    context.close(promise: nil)
  }

  private func answer(_ status: HTTPResponseStatus, _ text: String, type: String, _ context: ChannelHandlerContext) {
    var head = HTTPResponseHead(version: .http1_1, status: status)
    head.headers.add(name: "Content-Type", value: type)
    head.headers.add(name: "Content-Length", value: "\(text.utf8.count)")
    head.headers.add(name: "Connection", value: "close")
    if status == .upgradeRequired { head.headers.add(name: "Upgrade", value: "websocket") }
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(string: text)))), promise: nil)
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
  }
}
