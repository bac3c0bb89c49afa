// RoomHub.swift — the room server on its event loop: carries frames in, and answers and deadlines out.
//
// Everything here runs on one event loop, so the machine needs no lock and every peer sees messages in one order.

internal import Logging
internal import NIOCore
internal import Signaling
internal import Wire

final class RoomHub: WebSocketOwner {
  private let loop: any EventLoop
  private let logger: Logger
  private let connectionsPerAddress: Int
  private let maximumConnections: Int
  private var rooms: RoomServer
  private var connections: [RoomServer.ConnectionID: WebSocketConnection] = [:]
  private var timer: Scheduled<Void>?
  private var timerDeadline: Instant?
  private var isDraining = false
  private var nextNumber: UInt64 = 0
  private var channelCount = 0
  private var channelsByAddress: [String: Int] = [:]
  /// Connections that are not WebSockets yet.
  private var handshaking: [ObjectIdentifier: any Channel] = [:]
  /// Succeeds when a server that shuts down has lost its last connection.
  private var whenEmpty: EventLoopPromise<Void>?

  init(configuration: RoomServer.Configuration, connectionsPerAddress: Int, logger: Logger, loop: any EventLoop) {
    self.loop = loop
    self.logger = logger
    self.connectionsPerAddress = connectionsPerAddress
    maximumConnections = configuration.limits.connections
    rooms = RoomServer(configuration: configuration)
  }

  /// The loop's monotonic clock.
  static var now: Instant { Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds)) }

  // MARK: Channels, before they are connections

  /// Takes in a new TCP connection until it ends; false when there are too many, in all or from its address.
  func admit(_ channel: any Channel) -> Bool {
    let address = channel.remoteAddress
    guard count(address) else { return false }
    handshaking[ObjectIdentifier(channel)] = channel
    channel.closeFuture.assumeIsolated().whenComplete { [self] _ in
      handshakeEnded(channel)
      uncount(address)
    }
    return true
  }

  /// The connection is a WebSocket now, or gone.
  func handshakeEnded(_ channel: any Channel) { handshaking[ObjectIdentifier(channel)] = nil }

  func count(_ address: NIOCore.SocketAddress?) -> Bool {
    guard whenEmpty == nil, channelCount < maximumConnections else { return false }
    if let name = countedName(address) {
      guard channelsByAddress[name, default: 0] < connectionsPerAddress else { return false }
      channelsByAddress[name, default: 0] += 1
    }
    channelCount += 1
    return true
  }

  func uncount(_ address: NIOCore.SocketAddress?) {
    channelCount -= 1
    if let name = countedName(address), let count = channelsByAddress[name] {
      channelsByAddress[name] = count > 1 ? count - 1 : nil
    }
    if channelCount == 0 { whenEmpty?.succeed() }
  }

  /// This host itself may hold as many connections as there are.
  private func countedName(_ address: NIOCore.SocketAddress?) -> String? {
    Admission.isLoopback(address) ? nil : address?.ipAddress
  }

  func takeNumber() -> UInt64 {
    nextNumber += 1
    return nextNumber
  }

  // MARK: WebSocketOwner

  func opened(_ connection: WebSocketConnection) {
    let id = RoomServer.ConnectionID(rawValue: connection.number)
    connections[id] = connection
    rooms.connectionOpened(id, now: Self.now)
    drain()
  }

  func receivedText(_ bytes: [UInt8], on connection: WebSocketConnection) {
    rooms.handleText(bytes, from: RoomServer.ConnectionID(rawValue: connection.number), now: Self.now)
    drain()
  }

  func receivedBinary(on connection: WebSocketConnection) {
    rooms.handleBinary(from: RoomServer.ConnectionID(rawValue: connection.number), now: Self.now)
    drain()
  }

  func receivedPing(on connection: WebSocketConnection) {
    rooms.handlePing(from: RoomServer.ConnectionID(rawValue: connection.number), now: Self.now)
    drain()
  }

  func receivedPong(on connection: WebSocketConnection) {
    rooms.handlePong(from: RoomServer.ConnectionID(rawValue: connection.number), now: Self.now)
    drain()
  }

  func closed(_ connection: WebSocketConnection, code: UInt16?, reason: String) {
    let id = RoomServer.ConnectionID(rawValue: connection.number)
    guard connections.removeValue(forKey: id) != nil else { return }
    logger.debug("connection closed", metadata: ["connection": "\(id.rawValue)", "code": "\(code ?? 1006)"])
    rooms.connectionClosed(id, now: Self.now)
    drain()
  }

  // MARK: Out

  /// Hands on what the machine has to say. Sending can end a connection, which comes back in here: the outer call
  /// goes on until the machine is dry.
  private func drain() {
    guard !isDraining else { return }
    isDraining = true
    while let output = rooms.pollOutput() {
      switch output {
      case .send(let id, let text): connections[id]?.send(text: text)
      case .ping(let id): connections[id]?.ping()
      case .close(let id, let reason): connections[id]?.close(code: reason.code, reason: reason.reason)
      }
    }
    isDraining = false
    schedule()
  }

  private func schedule() {
    let deadline = rooms.deadline
    guard deadline != timerDeadline else { return }
    timer?.cancel()
    timer = nil
    timerDeadline = deadline
    guard let deadline else { return }
    let at = NIODeadline.uptimeNanoseconds(UInt64(clamping: deadline.nanoseconds))
    timer = loop.assumeIsolated().scheduleTask(deadline: at) { [weak self] in self?.timerFired() }
  }

  private func timerFired() {
    timer = nil
    timerDeadline = nil
    rooms.handleTimeout(now: Self.now)
    drain()
  }

  // MARK: The rest of the server

  /// Says goodbye to everybody; the future succeeds when every connection is gone.
  func shutDown() -> EventLoopFuture<Void> {
    if let whenEmpty { return whenEmpty.futureResult }
    let promise = loop.makePromise(of: Void.self)
    whenEmpty = promise
    rooms.shutDown(now: Self.now)
    drain()
    for channel in handshaking.values { channel.close(promise: nil) }
    if channelCount == 0 { promise.succeed() }
    return promise.futureResult
  }

  var summary: RoomServer.Summary { rooms.summary() }
}
