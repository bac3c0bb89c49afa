// TURNClient+Requests.swift — what is asked of the server, and how it is repeated (RFC 8656 §7.1, §8.1, §10.1, §12.1).

import DequeModule
import STUN
package import Wire

/// A request that waits for its answer.
struct TURNRequest: Sendable {
  enum Purpose: Sendable {
    case allocate, refresh
    /// Refresh with a lifetime of 0.
    case release
    case permission([IPAddress])
    case channel(UInt16, SocketAddress)

    var method: STUNMethod {
      switch self {
      case .allocate: .allocate
      case .refresh, .release: .refresh
      case .permission: .createPermission
      case .channel: .channelBind
      }
    }
  }

  let purpose: Purpose
  var transaction: ClientTransaction
  let isSigned: Bool
  /// How often it was made anew because of a challenge.
  let attempt: Int
  /// An answer with a missing or wrong integrity code has come.
  var sawForgery = false
  /// A refusal without an integrity code. Servers send such, and so does who wants to harm us: it counts when nothing
  /// better has come by the time of the next retransmission.
  var heldRefusal: STUNErrorResponse?
}

extension TURNClient {
  mutating func begin(_ purpose: TURNRequest.Purpose, attempt: Int = 1, now: Instant) {
    let id = TransactionID.random(using: &random)
    do throws(STUNEncodingError) {
      let bytes = try collectBytes(capacity: Self.maximumMessageSize) { (out) throws(STUNEncodingError) in
        try write(purpose, id: id, into: &out)
      }
      let transport: ClientTransaction.Transport =
        switch configuration.transport {
        case .datagram: .datagram(initialTimeout: configuration.initialTimeout)
        case .stream: .stream
        }
      let transaction = ClientTransaction(id: id, request: bytes, transport: transport, now: now)
      requests.append(
        TURNRequest(
          purpose: purpose, transaction: transaction, isSigned: authentication.hasSession, attempt: attempt))
      outbox.append(id)
    } catch {
      // A user name, or what the server wants repeated, is longer than a message may be.
      end(.authenticationUnsupported)
    }
  }

  private func write(
    _ purpose: TURNRequest.Purpose, id: TransactionID, into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    let writer = try STUNWriter(STUNHeader(.request, purpose.method, id: id), into: &out)
    switch purpose {
    case .allocate:
      if let software = configuration.software { try writer.software(Array(software.utf8), into: &out) }
      try writer.requestedTransportUDP(into: &out)
      try writer.word(.lifetime, configuration.lifetime, into: &out)
      if let family = configuration.family {
        try writer.addressFamily(.requestedAddressFamily, family, into: &out)
      }
    case .refresh: try writer.word(.lifetime, configuration.lifetime, into: &out)
    case .release: try writer.word(.lifetime, 0, into: &out)
    case .permission(let addresses):
      // The port does not count (RFC 8656 §10.1).
      for ip in addresses { try writer.xorAddress(.xorPeerAddress, SocketAddress(ip: ip, port: 0), into: &out) }
    case .channel(let number, let peer):
      try writer.channelNumber(number, into: &out)
      try writer.xorAddress(.xorPeerAddress, peer, into: &out)
    }
    try authentication.sign(writer, into: &out)
  }

  mutating func expireRequests(now: Instant) {
    var due: [TransactionID] = []
    for request in requests where request.transaction.deadline <= now { due.append(request.transaction.id) }
    for id in due {
      // What became of one may have ended the others.
      guard let index = requests.firstIndex(where: { $0.transaction.id == id }) else { continue }
      if let refusal = requests[index].heldRefusal {
        let request = requests.remove(at: index)
        refused(request, refusal, now: now)
        continue
      }
      switch requests[index].transaction.expire(now: now) {
      case .notDue: break
      case .retransmit:
        statistics.retransmissions += 1
        outbox.append(id)
      case .failed:
        let request = requests.remove(at: index)
        // A server that is silent for so long keeps no allocation alive either.
        end(.timedOut(integrityFailed: request.sawForgery))
      }
    }
  }

  /// Writes the next control message to the server; `out` must have room for `maximumMessageSize` bytes.
  ///
  /// - Returns: whether there was one.
  @_lifetime(out: copy out)
  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> Bool {
    precondition(out.freeCapacity >= Self.maximumMessageSize, "the caller makes room before it polls")
    if workSince != nil { settle(now: now) }
    while let id = outbox.popFirst() {
      // It may have been answered by the time its turn comes.
      guard let request = requests.first(where: { $0.transaction.id == id }) else { continue }
      if request.transaction.requests == 1 { statistics.requestsSent += 1 }
      out.writeBytes(request.transaction.request)
      return true
    }
    return false
  }
}
