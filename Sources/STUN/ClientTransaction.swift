// ClientTransaction.swift — a request to a server, kept until it is answered, and its retransmissions (RFC 8489 §6.2).
//
// Over datagrams, with an RTO of 500 ms, it goes out at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s and has failed at 39.5 s.
// Over a stream it goes out once and has as long.

package import Wire

package struct ClientTransaction: Sendable {
  package enum Transport: Hashable, Sendable {
    case datagram(initialTimeout: Interval)
    case stream
  }

  package enum Expiry: Hashable, Sendable { case notDue, retransmit, failed }

  package let id: TransactionID
  /// The bytes, the same each time.
  package let request: [UInt8]
  package let sentAt: Instant
  package private(set) var requests = 1
  package private(set) var deadline: Instant
  private let transport: Transport

  package init(id: TransactionID, request: [UInt8], transport: Transport, now: Instant) {
    self.id = id
    self.request = request
    self.transport = transport
    sentAt = now
    switch transport {
    case .datagram(let initialTimeout): deadline = now + initialTimeout
    case .stream: deadline = now + Self.streamTimeout
    }
  }

  package mutating func expire(now: Instant) -> Expiry {
    guard deadline <= now else { return .notDue }
    guard case .datagram(let initialTimeout) = transport, requests < Self.maximumRequests else { return .failed }
    requests += 1
    let wait =
      requests == Self.maximumRequests ? initialTimeout * Self.lastWait : initialTimeout * (1 << Int64(requests - 1))
    // Reckoned from the deadline, so that a late wake-up does not stretch the schedule.
    let next = deadline + wait
    deadline = next > now ? next : now + wait
    return .retransmit
  }

  /// Karn's rule: the answer to a repeated request does not measure the path.
  package func roundTrip(now: Instant) -> Interval? { requests == 1 ? now - sentAt : nil }

  private static let maximumRequests = 7  // Rc
  private static let lastWait: Int64 = 16  // Rm
  private static let streamTimeout = Interval.milliseconds(39_500)  // Ti
}
