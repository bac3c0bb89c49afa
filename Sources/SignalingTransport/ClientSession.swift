// ClientSession.swift — one connection of a signalling client, on its event loop.
//
// Decodes what comes into the client's stream, sends the heartbeats while joined, watches for a server gone silent, and
// reports its end once.

internal import Logging
internal import NIOCore
internal import Signaling

final class ClientSession: WebSocketOwner {
  typealias End = SignalingClient.Disconnection

  private let configuration: SignalingClient.Configuration
  private let messages: AsyncStream<SignalingMessage>.Continuation
  private let ended: @Sendable (End) -> Void
  private let loop: any EventLoop
  /// Succeeds when the WebSocket is open, fails when it will not be.
  private let opening: EventLoopPromise<Void>
  /// Made when somebody waits for the end.
  private var closing: EventLoopPromise<Void>?
  private var connection: WebSocketConnection?
  /// What came before `begin`, so that the client has said `connected` before it delivers.
  private var early: [[UInt8]]? = []
  private var endsEarly: End?
  private var end: End?
  private var room: SignalingMessage.Sender?
  private var heartbeat: Scheduled<Void>?
  private var lastHeard = NIODeadline.now()
  private(set) var undecodableCount = 0

  init(
    _ configuration: SignalingClient.Configuration, messages: AsyncStream<SignalingMessage>.Continuation,
    loop: any EventLoop, opening: EventLoopPromise<Void>, ended: @escaping @Sendable (End) -> Void
  ) {
    self.configuration = configuration
    self.messages = messages
    self.loop = loop
    self.opening = opening
    self.ended = ended
  }

  // MARK: From the client, on the loop

  /// The client is ready for messages.
  func begin() {
    let waiting = early ?? []
    early = nil
    for bytes in waiting { deliver(bytes) }
    if let endsEarly { ended(endsEarly) }
  }

  func send(_ message: SignalingMessage, text: String) -> EventLoopFuture<Void> {
    let promise = loop.makePromise(of: Void.self)
    guard let connection else {
      promise.fail(SignalingError.notConnected)
      return promise.futureResult
    }
    switch message {
    case .join, .leave: room = nil  // no heartbeats until the server confirms
    default: break
    }
    connection.send(text: text, promise: promise)
    return promise.futureResult
  }

  func close() -> EventLoopFuture<Void> {
    guard let connection else { return loop.makeSucceededVoidFuture() }
    end = .byUs
    let closing = closing ?? loop.makePromise(of: Void.self)
    self.closing = closing
    connection.close(code: 1000, reason: "")
    return closing.futureResult
  }

  func abort() {
    end = end ?? .byUs
    connection?.abort()
  }

  // MARK: WebSocketOwner

  func opened(_ connection: WebSocketConnection) {
    self.connection = connection
    lastHeard = NIODeadline.now()
    scheduleHeartbeat()
    opening.succeed()
  }

  func receivedText(_ bytes: [UInt8], on connection: WebSocketConnection) {
    lastHeard = NIODeadline.now()
    guard early == nil else {
      early?.append(bytes)
      if (early?.count ?? 0) > Self.maximumEarlyCount { fail(.readerTooSlow) }
      return
    }
    deliver(bytes)
  }

  /// The protocol has no binary messages.
  func receivedBinary(on connection: WebSocketConnection) {
    connection.close(code: 1003, reason: "Binary frames are not supported")
  }

  func receivedPing(on connection: WebSocketConnection) { lastHeard = NIODeadline.now() }
  func receivedPong(on connection: WebSocketConnection) { lastHeard = NIODeadline.now() }

  func closed(_ connection: WebSocketConnection, code: UInt16?, reason: String) {
    self.connection = nil
    heartbeat?.cancel()
    heartbeat = nil
    closing?.succeed()
    closing = nil
    let end = end ?? code.map { End.closed(code: $0, reason: reason) } ?? .broken
    if early == nil { ended(end) } else { endsEarly = end }
  }

  // MARK: Inside

  private func deliver(_ bytes: [UInt8]) {
    guard connection != nil || early == nil else { return }
    let message: SignalingMessage
    do {
      message = try SignalingMessage(
        decoding: bytes, limits: JSONLimits(byteCount: configuration.receiveByteCount))
    } catch {
      undecodableCount += 1
      configuration.logger.debug("not a signalling message", metadata: ["error": "\(error)"])
      return
    }
    if case .joined(let joined) = message {
      room = SignalingMessage.Sender(peerID: joined.peerID, roomID: joined.roomID)
    }
    switch messages.yield(message) {
    case .dropped: fail(.readerTooSlow)
    case .enqueued, .terminated: break
    @unknown default: break
    }
  }

  private func scheduleHeartbeat() {
    let interval = TimeAmount(configuration.heartbeatInterval)
    heartbeat = loop.assumeIsolated().scheduleTask(in: interval) { [weak self] in self?.beat() }
  }

  private func beat() {
    guard let connection else { return }
    let interval = TimeAmount(configuration.heartbeatInterval)
    if NIODeadline.now() - lastHeard > .nanoseconds(interval.nanoseconds / 2 * 5) { return fail(.silent) }
    if let room { connection.send(text: SignalingMessage.heartbeat(room).encoded()) }
    connection.ping()
    scheduleHeartbeat()
  }

  private func fail(_ reason: End) {
    end = end ?? reason
    connection?.abort()
  }

  private static let maximumEarlyCount = 256  // a server says one word before we join; this is for none of ours
}

extension ClientSession {
  /// A session for those who are not on its event loop.
  struct Reference: Sendable {
    let session: NIOLoopBound<ClientSession>
    let loop: any EventLoop

    func send(_ message: SignalingMessage, text: String) async throws(SignalingError) {
      do {
        try await loop.flatSubmit { session.value.send(message, text: text) }.get()
      } catch {
        throw .notConnected  // it broke; `states` says how
      }
    }

    func close() async {
      do { try await loop.flatSubmit { session.value.close() }.get() } catch { abort() }
    }

    func begin() { loop.execute { session.value.begin() } }
    func abort() { loop.execute { session.value.abort() } }
  }
}
