// BindingClient.swift — asks a STUN server what our address looks like from there: server-reflexive discovery (RFC 8489
// §2, §6.3.3; RFC 8445 §5.1.1.2).
//
// Invariants: one event is ever produced; `deadline` is non-nil exactly until then.

package import Wire

package struct BindingClient: Sendable {
  package enum Event: Hashable, Sendable {
    /// Our address as the server sees it.
    case succeeded(mapped: SocketAddress, roundTrip: Interval?)
    /// 300: ask that server (RFC 8489 §10). How often one follows is the caller's to bound.
    case redirected(to: SocketAddress, domain: String?)
    /// Any other refusal.
    case refused(code: UInt16)
    case timedOut
  }

  /// What the longest request takes.
  package static let maximumMessageSize = STUNHeader.byteCount + 8

  private var transaction: ClientTransaction?
  private var transmitPending = true
  private var event: Event?

  /// - Parameter initialTimeout: the RTO; RFC 8445 §14.3 asks for more than 500 ms when there are many servers.
  package init(random: inout RandomSource, initialTimeout: Interval = .milliseconds(500), now: Instant) {
    self.init(transport: .datagram(initialTimeout: initialTimeout), random: &random, now: now)
  }

  package init(transport: ClientTransaction.Transport, random: inout RandomSource, now: Instant) {
    let id = TransactionID.random(using: &random)
    let request = collectBytes(capacity: Self.maximumMessageSize) { out in
      do throws(STUNEncodingError) {
        let writer = try STUNWriter(STUNHeader(.request, id: id), into: &out)
        try writer.fingerprint(into: &out)
      } catch {
        preconditionFailure("a header and a fingerprint fit maximumMessageSize: \(error)")
      }
    }
    transaction = ClientTransaction(id: id, request: request, transport: transport, now: now)
  }

  // MARK: In

  /// Takes a message from the server's address. False: it does not answer this request.
  package mutating func handle(_ datagram: RawSpan, now: Instant) -> Bool {
    guard let transaction else { return false }
    do throws(Malformed) {
      let header = try STUNHeader.read(from: datagram).header
      guard header.id == transaction.id, header.method == .binding else { return false }
      let message = try STUNMessage(datagram)
      // With an attribute that must be understood and is not, an answer fails the transaction (§6.3.3, §6.3.4); as
      // anybody on the path can add one, it is worth no more than silence.
      guard message.unknownRequiredTypes.isEmpty else { return true }
      switch header.messageClass {
      case .successResponse:
        if let mapped = try Self.mappedAddress(of: message) {
          finish(.succeeded(mapped: mapped, roundTrip: transaction.roundTrip(now: now)))
        }
      case .errorResponse:
        guard let error = try STUNErrorResponse(message) else { return true }
        if error.code == 300, let server = error.alternateServer {
          finish(.redirected(to: server, domain: error.alternateDomain))
        } else {
          finish(.refused(code: error.code))
        }
      case .request, .indication: return false
      }
    } catch {
      return false
    }
    return true
  }

  package mutating func handleTimeout(now: Instant) {
    switch transaction?.expire(now: now) {
    case .retransmit: transmitPending = true
    case .failed: finish(.timedOut)
    case .notDue, nil: break
    }
  }

  // MARK: Out

  @_lifetime(out: copy out)
  package mutating func pollTransmit(into out: inout OutputRawSpan) -> Bool {
    guard transmitPending, let transaction else { return false }
    transmitPending = false
    out.writeBytes(transaction.request)
    return true
  }

  package mutating func pollEvent() -> Event? {
    defer { event = nil }
    return event
  }

  package var deadline: Instant? { transaction?.deadline }

  // MARK: Inside

  /// XOR-MAPPED-ADDRESS; from a server of RFC 3489 MAPPED-ADDRESS, which NATs may have rewritten (RFC 8489 §14.2).
  private static func mappedAddress(of message: borrowing STUNMessage) throws(Malformed) -> SocketAddress? {
    var plain: SocketAddress?
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      case .xorMappedAddress(let address): return address
      case .mappedAddress(let address): plain = plain ?? address
      default: break
      }
    }
    return plain
  }

  private mutating func finish(_ event: Event) {
    self.event = event
    transaction = nil
    transmitPending = false
  }
}
