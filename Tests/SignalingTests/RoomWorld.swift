// RoomWorld.swift — a room server, some connections, and a clock that the test moves.

import Signaling
import Testing
import Wire

/// A test world is a class so that `#expect` may look at it while it changes.
final class RoomWorld {
  typealias ID = RoomServer.ConnectionID

  private var server: RoomServer
  private(set) var now = Instant(nanoseconds: 0)
  private var nextID: UInt64 = 0
  /// What each connection was sent and has not looked at.
  private var inboxes: [ID: [JSONValue]] = [:]
  private(set) var closes: [ID: RoomClose] = [:]
  private(set) var pings: [ID] = []
  /// Everything in order of going out.
  private(set) var order: [ID] = []

  static let token = "c1f0a6d2-4f7e-4a53-9b0e-1d2c3b4a5968"
  static let otherToken = "ffffffff-4f7e-4a53-9b0e-1d2c3b4a5968"
  /// 2026-01-01 00:00:00 UTC.
  static let epoch = 1_767_225_600_000

  init(policy: RoomPolicy = .open, limits: RoomLimits = RoomLimits()) {
    var configuration = RoomServer.Configuration()
    configuration.policy = policy
    configuration.limits = limits
    configuration.epochMilliseconds = Int64(Self.epoch)
    server = RoomServer(configuration: configuration)
  }

  // MARK: In

  /// A connection that has read its welcome.
  func connect() -> ID {
    let id = connectUnread()
    _ = take(id)
    return id
  }

  func connectUnread() -> ID {
    nextID += 1
    let id = ID(rawValue: nextID)
    server.connectionOpened(id, now: now)
    drain()
    return id
  }

  func send(_ id: ID, _ json: JSONValue) { send(id, text: json.text) }

  func send(_ id: ID, text: String) { send(id, bytes: Array(text.utf8)) }

  func send(_ id: ID, bytes: [UInt8]) {
    server.handleText(bytes, from: id, now: now)
    drain()
  }

  func sendBinary(_ id: ID) {
    server.handleBinary(from: id, now: now)
    drain()
  }

  func sendPing(_ id: ID) {
    server.handlePing(from: id, now: now)
    drain()
  }

  func pong(_ id: ID) {
    server.handlePong(from: id, now: now)
    drain()
  }

  func disconnect(_ id: ID) {
    server.connectionClosed(id, now: now)
    drain()
  }

  func shutDown() {
    server.shutDown(now: now)
    drain()
  }

  /// Lets time pass, stopping at every deadline on the way.
  func advance(_ interval: Interval) {
    let end = now + interval
    while let deadline = server.deadline, deadline <= end {
      now = max(now, deadline)
      server.handleTimeout(now: now)
      drain()
    }
    now = end
  }

  // MARK: Out

  /// What came since the last look.
  func take(_ id: ID) -> [JSONValue] { inboxes.removeValue(forKey: id) ?? [] }

  /// The single answer that came; its `error` text.
  func takeError(_ id: ID) -> String? {
    let messages = take(id)
    guard messages.count == 1, messages[0]["type"] == "error" else { return nil }
    return messages[0]["error"]?.stringValue
  }

  func takeOrder() -> [ID] {
    defer { order = [] }
    return order
  }

  var deadline: Instant? { server.deadline }
  var summary: RoomServer.Summary { server.summary() }

  // MARK: Short stories

  /// A new connection that has joined and has read the answer.
  func joined(_ peerID: String, room: String = "room", token: String? = nil, metadata: JSONValue = [:]) -> ID {
    let id = connect()
    join(id, peerID, room: room, token: token, metadata: metadata)
    _ = take(id)
    return id
  }

  func join(_ id: ID, _ peerID: String, room: String = "room", token: String? = nil, metadata: JSONValue = [:]) {
    var message: JSONValue = ["type": "join", "metadata": metadata]
    message["peerId"] = .string(peerID)
    message["roomId"] = .string(room)
    if let token { message["token"] = .string(token) }
    send(id, message)
  }

  private func drain() {
    while let output = server.pollOutput() {
      switch output {
      case .send(let id, let text):
        order.append(id)
        #expect(closes[id] == nil, "a closed connection was sent something")
        do { inboxes[id, default: []].append(try JSONValue(parsing: text)) } catch {
          Issue.record("the server sent what is not JSON: \(text)")
        }
      case .ping(let id): pings.append(id)
      case .close(let id, let reason):
        #expect(closes[id] == nil, "a connection was closed twice")
        closes[id] = reason
      }
    }
  }
}
