// CheckTransaction.swift — one Binding request of ours and its retransmissions (RFC 8445 §7.1, RFC 8489 §6.2.1).
//
// With an RTO of 500 ms requests go out at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, and the transaction fails at 39.5 s.
// Over TCP nothing is repeated, and the answer is waited for as long.

import STUN
import Wire

struct CheckTransaction: Sendable {
  enum Purpose: Sendable { case check, nomination, consent }
  enum Expiry { case notDue, retransmit, failed }

  let id: TransactionID
  let route: Route
  let purpose: Purpose
  // What the request says, kept so that retransmissions are the same bytes.
  let role: ICEAgent.Role
  let tieBreaker: UInt64
  let priority: UInt32
  /// The request bears USE-CANDIDATE: it is a nomination, or a consent check while one is under way on its route.
  let nominates: Bool
  /// The number of a nomination, when both sides count them.
  let nomination: UInt32?
  let sentAt: Instant
  private let rto: Interval
  private(set) var requests = 1
  private let isStream: Bool
  /// Nil for a transaction that is not repeated: consent checks, and checks that a newer one has superseded. Its answer
  /// counts all the same.
  private(set) var deadline: Instant?

  init(
    id: TransactionID, route: Route, purpose: Purpose, role: ICEAgent.Role, tieBreaker: UInt64, priority: UInt32,
    nominates: Bool = false, nomination: UInt32? = nil, rto: Interval, isStream: Bool = false, now: Instant
  ) {
    self.id = id
    self.route = route
    self.purpose = purpose
    self.role = role
    self.tieBreaker = tieBreaker
    self.priority = priority
    self.nominates = nominates
    self.nomination = nomination
    self.rto = rto
    self.isStream = isStream
    sentAt = now
    deadline = purpose == .consent ? nil : now + (isStream ? Self.streamTimeout : rto)
  }

  mutating func supersede() { deadline = nil }

  mutating func expire(now: Instant) -> Expiry {
    guard let due = deadline, due <= now else { return .notDue }
    guard requests < Self.maximumRequests, !isStream else {
      deadline = nil
      return .failed
    }
    requests += 1
    // The last request gets 16 × RTO to be answered; the earlier ones double their wait.
    let wait = requests == Self.maximumRequests ? rto * Self.lastWait : rto * (1 << Int64(requests - 1))
    // Reckoned from the deadline, so that a late wake-up does not stretch the schedule.
    let next = due + wait
    deadline = next > now ? next : now + wait
    return .retransmit
  }

  /// Karn's rule: the answer to a repeated request does not measure the path.
  func roundTrip(now: Instant) -> Interval? { requests == 1 ? now - sentAt : nil }

  private static let streamTimeout = Interval.milliseconds(39_500)  // Ti, RFC 8489 §6.2.2
  private static let maximumRequests = 7  // Rc
  private static let lastWait: Int64 = 16  // Rm
}
