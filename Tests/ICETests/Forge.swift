// Forge.swift — STUN messages made by hand, as an attacker or an odd peer would.

import STUN
import Testing
import Wire

import ICE

struct ForgedRequest {
  var username: String
  /// Nil: no MESSAGE-INTEGRITY.
  var password: String?
  var id = TransactionID(high: 7, low: 7)
  var priority: UInt32? = 0x6eff_ffff
  var useCandidate = false
  var controlling: UInt64?
  var controlled: UInt64?
  var unknownAttribute = false
  var useCandidateAfterIntegrity = false

  /// What `from` would send to `to`.
  static func genuine(
    from: borrowing ICEAgent, to: borrowing ICEAgent, useCandidate: Bool = false, id: UInt64 = 1
  ) -> ForgedRequest {
    var request = ForgedRequest(
      username: "\(to.localCredentials.usernameFragment):\(from.localCredentials.usernameFragment)",
      password: to.localCredentials.password, id: TransactionID(high: 9, low: id), useCandidate: useCandidate)
    switch from.role {
    case .controlling: request.controlling = from.tieBreaker
    case .controlled: request.controlled = from.tieBreaker
    }
    return request
  }

  func bytes() throws -> [UInt8] {
    try collectBytes(capacity: 1_000) { (out) throws(STUNEncodingError) in
      let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
      try writer.username(Array(username.utf8), into: &out)
      if let priority { try writer.priority(priority, into: &out) }
      if useCandidate { try writer.useCandidate(into: &out) }
      if let controlling { try writer.iceControlling(tieBreaker: controlling, into: &out) }
      if let controlled { try writer.iceControlled(tieBreaker: controlled, into: &out) }
      if unknownAttribute { try writer.attribute(.init(rawValue: 0x7ffe), [UInt8]().rawSpan, into: &out) }
      if let password { try writer.messageIntegrity(key: Array(password.utf8), into: &out) }
      if useCandidateAfterIntegrity { try writer.useCandidate(into: &out) }
      try writer.fingerprint(into: &out)
    }
  }
}

/// An answer to `request`, signed with `password` unless that is nil.
func forgedAnswer(
  to request: [UInt8], password: String?, mapped: SocketAddress? = nil, error: UInt16? = nil
) throws -> [UInt8] {
  let id = try STUNHeader.read(from: request.rawSpan).header.id
  return try collectBytes(capacity: 1_000) { (out) throws(STUNEncodingError) in
    let writer = try STUNWriter(STUNHeader(error == nil ? .successResponse : .errorResponse, id: id), into: &out)
    if let mapped { try writer.xorMappedAddress(mapped, into: &out) }
    if let error { try writer.errorCode(error, into: &out) }
    if let password { try writer.messageIntegrity(key: Array(password.utf8), into: &out) }
    try writer.fingerprint(into: &out)
  }
}

/// What the tests want to know of a message.
struct Seen: Equatable {
  var messageClass: STUNClass
  var id: TransactionID
  var useCandidate = false
  var errorCode: UInt16?
  var unknown: [UInt8] = []

  init(_ bytes: [UInt8]) throws {
    let message = try STUNMessage(bytes.rawSpan)
    messageClass = message.header.messageClass
    id = message.header.id
    var walk = message.attributes
    while let attribute = try walk.next() {
      switch attribute {
      case .useCandidate: useCandidate = true
      case .errorCode(let code, reason: _): errorCode = code
      case .unknownAttributes(let types): unknown = types.copyBytes()
      default: break
      }
    }
  }
}

extension World {
  func requests(by side: Side) throws -> [Datagram] {
    try sent(by: side).filter { try Seen($0.bytes).messageClass == .request }
  }

  func isNominated(by side: Side) throws -> Bool {
    try requests(by: side).contains { try Seen($0.bytes).useCandidate }
  }
}

func address(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }
