// WebSocketConnection.swift — one WebSocket after its handshake, for the server and the client alike.
//
// Runs on its channel's event loop only. Tells its owner about whole messages; answers pings, and ends properly: a
// close frame, the other side's close frame or a deadline, then TCP. A peer that does not read is cut off as soon as
// more than the bound waits for it. The owner hears `closed` exactly once, and nothing after it.

import NIOCore
import NIOWebSocket

/// Who a WebSocket belongs to. Called on the event loop.
protocol WebSocketOwner: AnyObject {
  func opened(_ connection: WebSocketConnection)
  func receivedText(_ bytes: [UInt8], on connection: WebSocketConnection)
  func receivedBinary(on connection: WebSocketConnection)
  func receivedPing(on connection: WebSocketConnection)
  func receivedPong(on connection: WebSocketConnection)
  /// `code` is nil when the connection broke or no close frame came, which RFC 6455 calls 1005 and 1006.
  func closed(_ connection: WebSocketConnection, code: UInt16?, reason: String)
}

final class WebSocketConnection: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  enum Role { case server, client }

  private enum State {
    case open
    /// Our close frame is out; only the other side's is still of interest.
    case closing
    case closed
  }

  /// For the owner's tables.
  let number: UInt64
  private let role: Role
  private let closeTimeout: TimeAmount
  private let owner: any WebSocketOwner
  private var assembler: FrameAssembler
  private var state = State.open
  private var context: ChannelHandlerContext?
  private var closeDeadline: Scheduled<Void>?
  private var closeCode: UInt16?
  private var closeReason = ""

  init(
    number: UInt64, role: Role, maximumMessageByteCount: Int, closeTimeout: TimeAmount, owner: any WebSocketOwner
  ) {
    self.number = number
    self.role = role
    self.closeTimeout = closeTimeout
    self.owner = owner
    assembler = FrameAssembler(maximumByteCount: maximumMessageByteCount, expectsMask: role == .server)
  }

  // MARK: From the owner

  func send(text: String, promise: EventLoopPromise<Void>? = nil) {
    guard state == .open, let context else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    write(.text, context.channel.allocator.buffer(string: text), promise: promise)
  }

  func ping() {
    guard state == .open, let context else { return }
    write(.ping, context.channel.allocator.buffer(capacity: 0))
  }

  func pong(_ data: ByteBuffer) {
    guard state == .open else { return }
    write(.pong, data)
  }

  /// Sends a close frame, and ends the connection when the answer has come or time is up.
  func close(code: UInt16, reason: String) {
    guard state == .open, let context else { return }
    state = .closing
    if closeCode == nil {
      closeCode = code
      closeReason = reason
    }
    sendClose(code, reason)
    let loop = context.eventLoop.assumeIsolated()
    closeDeadline = loop.scheduleTask(in: closeTimeout) { [weak self] in self?.abort() }
  }

  /// Ends the connection at once.
  func abort() {
    guard state != .closed, let context else { return }
    state = .closing
    context.close(promise: nil)
  }

  // MARK: From the channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if context.channel.isActive { owner.opened(self) }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    finish()
    self.context = nil
  }

  func channelInactive(context: ChannelHandlerContext) {
    finish()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard state != .closed else { return }
    let event: FrameAssembler.Event?
    do { event = try assembler.receive(unwrapInboundIn(data)) } catch {
      return close(code: error.code, reason: error.reason)
    }
    if case .close(let code, let reason) = event { return receivedClose(code, reason) }
    guard state == .open else { return }
    switch event {
    case .text(let bytes): owner.receivedText(bytes, on: self)
    case .binary: owner.receivedBinary(on: self)
    case .ping(let data):
      owner.receivedPing(on: self)
      pong(data)
    case .pong: owner.receivedPong(on: self)
    case .close, nil: break
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // The decoder complains again about what follows a bad frame; the close frame must still get through.
    guard state == .open else { return }
    switch error as? NIOWebSocketError {
    case .invalidFrameLength: close(code: 1009, reason: "Message exceeds max size")
    case .fragmentedControlFrame, .multiByteControlFrameLength: close(code: 1002, reason: "Bad control frame")
    case nil: abort()  // TCP or TLS is broken: there is nobody to tell
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    // The high water mark is the bound of what may wait for a slow reader.
    if !context.channel.isWritable { abort() }
    context.fireChannelWritabilityChanged()
  }

  // MARK: Ending

  private func receivedClose(_ code: UInt16?, _ reason: String) {
    guard let context else { return }
    if state == .open {
      closeCode = code
      closeReason = reason
      state = .closing
      let loop = context.eventLoop.assumeIsolated()
      closeDeadline = loop.scheduleTask(in: closeTimeout) { [weak self] in self?.abort() }
      // TCP ends when the answer is written, not before.
      let written = context.eventLoop.makePromise(of: Void.self)
      written.futureResult.assumeIsolated().whenComplete { [weak self] _ in self?.abort() }
      sendClose(code, "", promise: written)
    } else {
      abort()  // it answered our close frame
    }
  }

  private func finish() {
    guard state != .closed else { return }
    state = .closed
    closeDeadline?.cancel()
    closeDeadline = nil
    owner.closed(self, code: closeCode, reason: closeReason)
  }

  private func sendClose(_ code: UInt16?, _ reason: String, promise: EventLoopPromise<Void>? = nil) {
    guard let context else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    var body = context.channel.allocator.buffer(capacity: 64)
    if let code {
      body.writeInteger(code)
      body.writeString(String(reason.prefix(Self.maximumReasonLength)))
    }
    write(.connectionClose, body, promise: promise)
  }

  private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, promise: EventLoopPromise<Void>? = nil) {
    guard let context else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    let mask: WebSocketMaskingKey? = role == .client ? .random() : nil
    let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: mask, data: data)
    context.writeAndFlush(wrapOutboundOut(frame), promise: promise)
  }

  private static let maximumReasonLength = 40  // our reasons are ASCII; a close frame holds 123 bytes
}
