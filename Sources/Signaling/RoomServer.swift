// RoomServer.swift — the signalling server without sockets: who is in which room, and who is told what.
//
// In: connections opening and closing, frames, pongs, the time. Out: frames, pings and closes, in the order in which
// they must reach each connection. After any *in*, drain `pollOutput`; come back no later than `deadline`.
//
// One server serves the bare protocol of 2025 (rooms without token) and the later one (rooms bound by a capability),
// WIRE §2 and §4. The room decides: in a room bound by a token the stricter rules hold, see `isStrict`. Departures,
// all of which the existing clients survive: a message whose sender id is not the connection's own is refused
// everywhere; only what a peer sends keeps it alive, not what is sent to it (X5); an error goes back where the
// older server kept silent; every server message carries `timestamp`; `error` also carries `code` and `for`.
//
// Invariants: `peers[id]` is a connection whose membership has that id; it is in `members` of exactly the room its
// membership names; a room without members exists only while it is bound. A closed connection is forgotten at once,
// and its number is never used again, so a late close cannot remove somebody's new registration.

internal import DequeModule
package import Wire

package struct RoomServer: ~Copyable {
  /// A connection, numbered by the owner; a number is used once.
  package struct ConnectionID: Hashable, Sendable {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
  }

  package enum Output: Hashable, Sendable {
    case send(ConnectionID, text: String)
    /// A WebSocket ping; the answer comes back as `handlePong`.
    case ping(ConnectionID)
    /// The last output for this connection.
    case close(ConnectionID, RoomClose)
  }

  package struct Configuration: Sendable {
    package var policy = RoomPolicy.open
    package var limits = RoomLimits()
    /// Told to clients in `welcome`.
    package var path = "/signaling"
    package var isLocalOnly = true
    /// Milliseconds since 1970 at the moment that the caller's clock calls zero.
    package var epochMilliseconds: Int64 = 0

    package init() {}
  }

  package struct Statistics: Hashable, Sendable {
    package var messagesReceived = 0
    package var messagesSent = 0
    package var messagesForwarded = 0
    package var messagesRefused = 0
    package var connectionsClosedByUs = 0
  }

  struct Membership {
    var peerID: String
    var roomID: String
    var metadata: [String: JSONValue]
    var metadataByteCount: Int
  }

  struct Connection {
    /// When the connection is closed unless it joins, or says something.
    var expiresAt: Instant
    var membership: Membership?
    var windowStart: Instant
    var messagesInWindow = 0
    var controlFramesInWindow = 0
    /// Bytes this sender may still cause; may fall below zero by one message, and is paid back by waiting.
    var fanOutCredit: Int
    var fanOutCreditAt: Instant
    /// Offers per target since the target last sent us something, counted from `offersSince`.
    var unansweredOffers: [String: Int] = [:]
    var offersSince: Instant
  }

  struct Room {
    /// SHA-256 of the token that the first member brought; nil for an open room.
    var binding: [UInt8]?
    /// In the order of joining.
    var members: [ConnectionID] = []
    /// When the last member left.
    var emptySince: Instant?
  }

  /// Somebody asks for an id that a connection holds: the holder is asked for a sign of life first (B-2).
  struct Probe {
    var holder: ConnectionID
    var newcomer: ConnectionID
    var message: [String: JSONValue]
    var deadline: Instant
  }

  let configuration: Configuration
  var connections: [ConnectionID: Connection] = [:]
  var peers: [String: ConnectionID] = [:]
  var rooms: [String: Room] = [:]
  var probes: [Probe] = []
  package internal(set) var statistics = Statistics()
  private var outputs: Deque<Output> = []
  /// Not later than the first connection's expiry: expiries move back with every message, this does not follow.
  private var sweepAt: Instant?

  package init(configuration: Configuration = Configuration()) { self.configuration = configuration }

  var limits: RoomLimits { configuration.limits }

  // MARK: In

  package mutating func connectionOpened(_ id: ConnectionID, now: Instant) {
    guard connections.count < limits.connections else {
      outputs.append(.close(id, .tooManyConnections))
      statistics.connectionsClosedByUs += 1
      return
    }
    connections[id] = Connection(
      expiresAt: now + limits.joinTimeout, windowStart: now, fanOutCredit: limits.fanOutBurst, fanOutCreditAt: now,
      offersSince: now)
    sweepAt = earliest(sweepAt, now + limits.joinTimeout)
    let welcome = SignalingMessage.Welcome(path: configuration.path, localOnly: configuration.isLocalOnly)
    send(.welcome(welcome), to: id, now: now)
  }

  /// The connection is gone, however it ended; nothing more goes out on it.
  package mutating func connectionClosed(_ id: ConnectionID, now: Instant) {
    forget(id, now: now)
  }

  /// One whole text message.
  package mutating func handleText(_ bytes: [UInt8], from id: ConnectionID, now: Instant) {
    guard connections[id] != nil else { return }
    statistics.messagesReceived += 1
    guard countMessage(from: id, now: now) else { return refuse(.rateLimit, to: id, closing: .rateLimit, now: now) }
    answerProbe(holder: id, now: now)
    guard bytes.count <= limits.messageByteCount else {
      return refuse(.tooLarge, to: id, closing: .tooLarge, now: now)
    }
    let json: JSONValue
    do {
      let limits = JSONLimits(byteCount: limits.messageByteCount, depth: limits.messageDepth)
      json = try JSONValue(utf8: bytes, limits: limits)
    } catch {
      if case .invalidUTF8 = error { return refuse(.malformed, to: id, closing: .invalidText, now: now) }
      if isStrict(id) { return refuse(.malformed, to: id, closing: .malformed, now: now) }
      return refuse(.notJSON, to: id, now: now)
    }
    guard case .object(let message) = json else {
      return refuse(json.isNull && !isStrict(id) ? .notJSON : .notAnObject, to: id, now: now)
    }
    do {
      try handle(message, from: id, now: now)
    } catch {
      refuse(error, to: id, inReplyTo: message["type"]?.stringValue, now: now)
    }
  }

  package mutating func handleBinary(from id: ConnectionID, now: Instant) {
    guard connections[id] != nil else { return }
    refuse(.binaryFrame, to: id, closing: .binary, now: now)
  }

  /// The peer pinged; the owner answers, if the connection is still there afterwards.
  package mutating func handlePing(from id: ConnectionID, now: Instant) {
    countControlFrame(from: id, now: now)
  }

  package mutating func handlePong(from id: ConnectionID, now: Instant) {
    countControlFrame(from: id, now: now)
    answerProbe(holder: id, now: now)
  }

  /// Closes what has been silent for too long and settles the probes that nobody answered.
  package mutating func handleTimeout(now: Instant) {
    while let index = probes.firstIndex(where: { $0.deadline <= now }) {
      let probe = probes[index]
      close(probe.holder, .replaced, now: now)  // settles the probe: the newcomer joins
    }
    guard let sweepAt, sweepAt <= now else { return }
    for id in connections.filter({ $0.value.expiresAt <= now }).keys.sorted(by: { $0.rawValue < $1.rawValue }) {
      close(id, connections[id]?.membership == nil ? .neverJoined : .peerTimeout, now: now)
    }
    for roomID in rooms.keys.filter({ isForgotten($0, now: now) }) { rooms[roomID] = nil }
    let next = earliest(
      connections.values.lazy.map(\.expiresAt).min(),
      rooms.values.lazy.compactMap(\.emptySince).min().map { $0 + limits.emptyRoomLifetime })
    // A sweep looks at everybody, so many different expiries share one.
    self.sweepAt = next.map { max($0, now + Self.sweepInterval) }
  }

  /// Tells everybody that the server goes away, and closes them.
  package mutating func shutDown(now: Instant) {
    probes.removeAll()
    for id in connections.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
      if connections[id]?.membership != nil { send(.serverShutdown, to: id, now: now) }
      connections[id] = nil
      outputs.append(.close(id, .goingAway))
    }
    peers.removeAll()
    rooms.removeAll()
    sweepAt = nil
  }

  // MARK: Out

  package mutating func pollOutput() -> Output? { outputs.popFirst() }

  package var deadline: Instant? { earliest(sweepAt, probes.lazy.map(\.deadline).min()) }

  // MARK: Sending

  func timestamp(_ now: Instant) -> Int { Int(configuration.epochMilliseconds &+ now.nanoseconds / 1_000_000) }

  mutating func send(_ message: SignalingMessage, to id: ConnectionID, now: Instant) {
    send(text: message.encoded(timestamp: timestamp(now)), to: id)
  }

  mutating func send(text: String, to id: ConnectionID) {
    guard connections[id] != nil else { return }
    statistics.messagesSent += 1
    outputs.append(.send(id, text: text))
  }

  mutating func ping(_ id: ConnectionID) { outputs.append(.ping(id)) }

  mutating func refuse(
    _ refusal: RoomRefusal, to id: ConnectionID, inReplyTo type: String? = nil, closing: RoomClose? = nil, now: Instant
  ) {
    statistics.messagesRefused += 1
    let notice = SignalingMessage.Refused(
      message: refusal.message, code: refusal.code,
      inReplyTo: type.flatMap(SignalingMessage.Kind.init(rawValue:))?.rawValue)  // never an echo of strange text
    send(.error(notice), to: id, now: now)
    if let closing { close(id, closing, now: now) }
  }

  mutating func close(_ id: ConnectionID, _ reason: RoomClose, now: Instant) {
    guard connections[id] != nil else { return }
    statistics.connectionsClosedByUs += 1
    outputs.append(.close(id, reason))
    forget(id, now: now)
  }

  private mutating func forget(_ id: ConnectionID, now: Instant) {
    guard connections[id] != nil else { return }
    leaveRoom(id, now: now)
    connections[id] = nil
    probes.removeAll { $0.newcomer == id }
    settleProbe(ofLeaver: id, now: now)
  }

  /// Lets `expiresAt` of a connection be seen by the next sweep, where it may have come nearer.
  mutating func expect(expiry: Instant) { sweepAt = earliest(sweepAt, expiry) }

  // MARK: Rates

  private mutating func countMessage(from id: ConnectionID, now: Instant) -> Bool {
    openWindow(of: id, now: now)
    connections[id]?.messagesInWindow += 1
    return (connections[id]?.messagesInWindow ?? 0) <= limits.messagesPerWindow
  }

  private mutating func countControlFrame(from id: ConnectionID, now: Instant) {
    openWindow(of: id, now: now)
    connections[id]?.controlFramesInWindow += 1
    if (connections[id]?.controlFramesInWindow ?? 0) > limits.controlFramesPerWindow {
      refuse(.rateLimit, to: id, closing: .rateLimit, now: now)
    }
  }

  private mutating func openWindow(of id: ConnectionID, now: Instant) {
    guard let start = connections[id]?.windowStart, now - start >= limits.rateWindow else { return }
    connections[id]?.windowStart = now
    connections[id]?.messagesInWindow = 0
    connections[id]?.controlFramesInWindow = 0
  }

  private func isForgotten(_ roomID: String, now: Instant) -> Bool {
    guard let emptySince = rooms[roomID]?.emptySince else { return false }
    return now - emptySince >= limits.emptyRoomLifetime
  }

  private static let sweepInterval = Interval.milliseconds(250)
}
