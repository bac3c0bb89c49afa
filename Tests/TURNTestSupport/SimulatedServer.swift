// SimulatedServer.swift — a TURN server without a network, strict where the client could cheat, with faults to order.

package import STUN
import Testing
package import Wire

package struct SimulatedServer {
  package struct Binding {
    package var peer: SocketAddress
    package var until: Instant
    /// The number is nobody else's until then.
    var quarantinedUntil: Instant { until + .seconds(300) }
  }

  package init() {}

  // What it demands.
  package var credential: STUNCredential? = STUNCredential(username: "George", password: "wisemans-secret")
  package var realm = "example.com"
  package var nonceNumber = 1
  package var features: STUNSecurityFeatures = []
  /// PASSWORD-ALGORITHMS; empty for a server of RFC 5389.
  package var algorithms: [UInt16] = []
  /// Answers to signed requests carry no integrity code when this says true.
  package var leavesOutIntegrity: (UInt16?) -> Bool = { _ in false }

  // What it grants.
  package var relayed = SocketAddress(ip: .v4(0xc000_020f), port: 50_000)
  package var lifetime: UInt32 = 600
  package var forbidden: Set<IPAddress> = []
  /// An error for a request instead of what it deserves.
  package var refusal: (STUNMethod) -> UInt16? = { _ in nil }
  package var alternate: (SocketAddress, String?)?

  // What it holds.
  package var allocatedUntil: Instant?
  package var permissions: [IPAddress: Instant] = [:]
  package var channels: [UInt16: Binding] = [:]
  private var answered: [TransactionID: [UInt8]] = [:]

  // What it saw.
  package var requests: [STUNMethod: Int] = [:]
  package var challenges = 0
  package var relayedPayloads: [(peer: SocketAddress, bytes: [UInt8])] = []
  package var channelPayloads = 0
  /// Payloads for peers without a permission, and on channels that are not bound.
  package var dropped = 0
  package var complaints: [String] = []

  package var nonce: String { String(decoding: features.nonceCookie, as: UTF8.self) + "n\(nonceNumber)" }

  // MARK: From the client

  package mutating func handle(_ bytes: [UInt8], from client: SocketAddress, now: Instant) throws -> [UInt8]? {
    if let end = allocatedUntil, end <= now { release() }
    if bytes[0] >= 64 {
      channelData(bytes, now: now)
      return nil
    }
    let message = try STUNMessage(bytes.rawSpan)
    let header = message.header
    if header.messageClass == .indication {
      try sendIndication(message, now: now)
      return nil
    }
    // RFC 8489 §6.3.1: a repeated request gets the answer that it got before.
    if let answer = answered[header.id] { return answer }
    requests[header.method, default: 0] += 1
    let answer = try respond(to: message, from: client, now: now)
    answered[header.id] = answer
    return answer
  }

  private struct Asked {
    var username: String?
    var userHash: [UInt8]?
    var nonce: String?
    var realm: String?
    var algorithm: UInt16?
    var algorithms: [UInt8]?
    var peers: [SocketAddress] = []
    var channel: UInt16?
    var lifetime: UInt32?
    var transport: UInt8?
    var family: STUNAddressFamily?

    init(_ message: borrowing STUNMessage) throws {
      func text(_ bytes: RawSpan) -> String { String(decoding: bytes.copyBytes(), as: UTF8.self) }
      var walk = message.attributes
      while let attribute = try walk.next() {
        switch attribute {
        case .username(let name): username = text(name)
        case .userHash(let hash): userHash = hash.copyBytes()
        case .nonce(let value): nonce = text(value)
        case .realm(let value): realm = text(value)
        case .passwordAlgorithm(let number): algorithm = number
        case .passwordAlgorithms(let list): algorithms = list.copyBytes()
        case .xorPeerAddress(let address): peers.append(address)
        case .channelNumber(let number): channel = number
        case .lifetime(let seconds): lifetime = seconds
        case .requestedTransport(let number): transport = number
        case .requestedAddressFamily(let value): family = value
        default: break
        }
      }
    }
  }

  private mutating func respond(
    to message: borrowing STUNMessage, from client: SocketAddress, now: Instant
  ) throws -> [UInt8] {
    let header = message.header
    let asked = try Asked(message)
    var key: [UInt8]?
    if let credential {
      let bytes = Array(realm.utf8)
      guard message.hasIntegrity || message.hasIntegritySHA256 else { return try challenge(401, header) }
      let isNamed =
        features.contains(.usernameAnonymity)
        ? asked.userHash == credential.userHash(realm: bytes) && asked.username == nil
        : asked.username == credential.username && asked.userHash == nil
      let isProven: Bool
      if algorithms.isEmpty {
        key = credential.key(.md5, realm: bytes)
        isProven = message.verifiesIntegrity(key: try #require(key))
      } else {
        guard asked.algorithms == list, let chosen = asked.algorithm, algorithms.contains(chosen) else {
          return try refuse(400, header, key: nil)
        }
        key = credential.key(try #require(STUNPasswordAlgorithm(rawValue: chosen)), realm: bytes)
        isProven = message.verifiesIntegritySHA256(key: try #require(key)) && !message.hasIntegrity
      }
      guard isNamed, isProven, asked.realm == realm else { return try challenge(401, header) }
      guard asked.nonce == nonce else { return try challenge(438, header) }
    }
    if let code = refusal(header.method) { return try refuse(code, header, key: key) }
    switch header.method {
    case .allocate: return try allocate(asked, header, from: client, key: key, now: now)
    case .refresh: return try refresh(asked, header, key: key, now: now)
    case .createPermission: return try permit(asked, header, key: key, now: now)
    case .channelBind: return try bind(asked, header, key: key, now: now)
    default: return try refuse(400, header, key: key)
    }
  }

  private mutating func allocate(
    _ asked: Asked, _ header: STUNHeader, from client: SocketAddress, key: [UInt8]?, now: Instant
  ) throws -> [UInt8] {
    guard allocatedUntil == nil else { return try refuse(437, header, key: key) }
    guard asked.transport == 17 else { return try refuse(442, header, key: key) }
    if let family = asked.family, family != STUNAddressFamily(relayed.ip) {
      return try refuse(440, header, key: key)
    }
    allocatedUntil = now + .seconds(Int64(lifetime))
    let (relayed, lifetime) = (relayed, lifetime)
    return try answer(header, key: key) { (writer, out) throws(STUNEncodingError) in
      try writer.xorAddress(.xorRelayedAddress, relayed, into: &out)
      try writer.xorMappedAddress(client, into: &out)
      try writer.word(.lifetime, lifetime, into: &out)
    }
  }

  private mutating func refresh(_ asked: Asked, _ header: STUNHeader, key: [UInt8]?, now: Instant) throws -> [UInt8] {
    guard allocatedUntil != nil else { return try refuse(437, header, key: key) }
    let granted = asked.lifetime == 0 ? 0 : lifetime
    allocatedUntil = now + .seconds(Int64(granted))
    if granted == 0 { release() }
    return try answer(header, key: key) { (writer, out) throws(STUNEncodingError) in
      try writer.word(.lifetime, granted, into: &out)
    }
  }

  private mutating func permit(_ asked: Asked, _ header: STUNHeader, key: [UInt8]?, now: Instant) throws -> [UInt8] {
    guard allocatedUntil != nil else { return try refuse(437, header, key: key) }
    guard !asked.peers.isEmpty else { return try refuse(400, header, key: key) }
    guard !asked.peers.contains(where: { forbidden.contains($0.ip) }) else { return try refuse(403, header, key: key) }
    for peer in asked.peers { permissions[peer.ip] = now + .seconds(300) }
    return try answer(header, key: key) { (_, _) throws(STUNEncodingError) in }
  }

  private mutating func bind(_ asked: Asked, _ header: STUNHeader, key: [UInt8]?, now: Instant) throws -> [UInt8] {
    guard allocatedUntil != nil else { return try refuse(437, header, key: key) }
    guard let number = asked.channel, (0x4000...0x4fff).contains(number), let peer = asked.peers.first else {
      complaints.append("ChannelBind without a good number or a peer")
      return try refuse(400, header, key: key)
    }
    guard !forbidden.contains(peer.ip) else { return try refuse(403, header, key: key) }
    if let other = channels[number], other.peer != peer, other.quarantinedUntil > now {
      complaints.append("channel \(number) is another peer's")
      return try refuse(400, header, key: key)
    }
    if channels.contains(where: { $0.key != number && $0.value.peer == peer && $0.value.quarantinedUntil > now }) {
      complaints.append("\(peer) has another channel")
      return try refuse(400, header, key: key)
    }
    channels[number] = Binding(peer: peer, until: now + .seconds(600))
    permissions[peer.ip] = now + .seconds(300)
    return try answer(header, key: key) { (_, _) throws(STUNEncodingError) in }
  }

  private mutating func release() {
    allocatedUntil = nil
    permissions = [:]
    channels = [:]
  }

  // MARK: Answers

  package var list: [UInt8]? {
    algorithms.isEmpty ? nil : algorithms.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff), 0, 0] }
  }

  private mutating func challenge(_ code: UInt16, _ header: STUNHeader) throws -> [UInt8] {
    challenges += 1
    return try collectBytes(capacity: 1_000) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(.errorResponse, header.method, id: header.id), into: &out)
      try writer.errorCode(code, into: &out)
      try writer.attribute(.realm, Array(realm.utf8).rawSpan, into: &out)
      try writer.attribute(.nonce, Array(nonce.utf8).rawSpan, into: &out)
      if let list { try writer.attribute(.passwordAlgorithms, list.rawSpan, into: &out) }
    }
  }

  private func refuse(_ code: UInt16, _ header: STUNHeader, key: [UInt8]?) throws -> [UInt8] {
    try answer(header, error: code, key: key) { (writer, out) throws(STUNEncodingError) in
      if code == 300, let (server, domain) = alternate {
        try writer.plainAddress(.alternateServer, server, into: &out)
        if let domain { try writer.attribute(.alternateDomain, Array(domain.utf8).rawSpan, into: &out) }
      }
    }
  }

  private func answer(
    _ header: STUNHeader, error: UInt16? = nil, key: [UInt8]?,
    _ body: (STUNWriter, inout OutputRawSpan) throws(STUNEncodingError) -> Void
  ) throws -> [UInt8] {
    try collectBytes(capacity: 1_000) { (out) throws(STUNEncodingError) in
      let messageClass: STUNClass = error == nil ? .successResponse : .errorResponse
      let writer = try STUNWriter(STUNHeader(messageClass, header.method, id: header.id), into: &out)
      if let error { try writer.errorCode(error, into: &out) }
      try body(writer, &out)
      guard let key, !leavesOutIntegrity(error) else { return }
      if algorithms.isEmpty {
        try writer.messageIntegrity(key: key, into: &out)
      } else {
        try writer.messageIntegritySHA256(key: key, into: &out)
      }
    }
  }

  // MARK: Payload

  private mutating func sendIndication(_ message: borrowing STUNMessage, now: Instant) throws {
    var peer: SocketAddress?
    var payload: [UInt8]?
    var walk = message.attributes
    while let attribute = try walk.next() {
      switch attribute {
      case .xorPeerAddress(let address): peer = peer ?? address
      case .data(let bytes): payload = bytes.copyBytes()
      default: complaints.append("an attribute too many in a Send indication")
      }
    }
    let address = try #require(peer)
    relay(try #require(payload), to: address, now: now)
  }

  private mutating func channelData(_ bytes: [UInt8], now: Instant) {
    let number = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
    let length = Int(bytes[2]) << 8 | Int(bytes[3])
    guard let binding = channels[number], binding.until > now, length <= bytes.count - 4 else {
      dropped += 1
      return
    }
    channelPayloads += 1
    relay(Array(bytes[4..<(4 + length)]), to: binding.peer, now: now)
  }

  private mutating func relay(_ payload: [UInt8], to peer: SocketAddress, now: Instant) {
    guard allocatedUntil != nil, let until = permissions[peer.ip], until > now else {
      dropped += 1
      return
    }
    relayedPayloads.append((peer, payload))
  }

  /// What the client gets when `peer` sends to the relayed address; nil without a permission.
  package mutating func deliver(_ payload: [UInt8], from peer: SocketAddress, now: Instant) throws -> [UInt8]? {
    guard allocatedUntil ?? now > now, permissions[peer.ip] ?? now > now else { return nil }
    if let (number, _) = channels.first(where: { $0.value.peer == peer && $0.value.until > now }) {
      let header = [number, UInt16(payload.count)].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
      return header + payload
    }
    return try collectBytes(capacity: payload.count + 100) { (out) throws(STUNEncodingError) in
      let id = TransactionID(high: 1, low: UInt64(payload.count))
      let writer = try STUNWriter(STUNHeader(.indication, .data, id: id), into: &out)
      try writer.xorAddress(.xorPeerAddress, peer, into: &out)
      try writer.attribute(.data, payload.rawSpan, into: &out)
    }
  }
}
