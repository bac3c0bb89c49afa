// Configuration.swift — the timers and bounds of an agent, with the RFCs they come from.

package import Wire

package struct ICEConfiguration: Hashable, Sendable {
  /// Ta: at most one ordinary check in this time (RFC 8445 §14.2).
  package var pacing: Interval = .milliseconds(50)
  /// How many triggered checks may go out at once before they, too, wait for `pacing`. A check that the peer provoked
  /// is worth sending at once, because its own has just opened the way; but a flood of them must not be reflected.
  package var triggeredBurst: Int64 = 5
  /// The shortest first retransmission (RFC 8445 §14.3).
  package var minimumRTO: Interval = .milliseconds(500)
  /// Answers checks and makes none (RFC 8445 §2.5): for a host that everybody can reach, and only with host candidates.
  package var isLite = false
  /// Goes over to a better pair, or from a silent one to one that works, after the nomination, when the peer wants that,
  /// too; and follows a peer that does.
  package var renomination = true
  /// How long after the first valid pair the controlling side still waits for a better one.
  package var acceptanceDelay: Interval = .milliseconds(100)
  /// How long an agent without a working pair hopes for the peer's checks before it fails (RFC 8863 §4): the lifetime of
  /// one transaction.
  package var patience: Interval = .milliseconds(39_500)
  /// Consent checks come at random 0.8…1.2 times this; never below 4 s (RFC 7675 §5.1).
  package var consentInterval: Interval = .seconds(5)
  /// Without an answer for this long nothing more may be sent (RFC 7675 §5.1).
  package var consentExpiry: Interval = .seconds(30)
  /// Without an answer for this long the state is `disconnected`, which recovers. A lite agent, which asks nothing, waits
  /// for the peer's own checks that long after they are due.
  package var disconnectedAfter: Interval = .seconds(5)
  /// Pairs in the check list (RFC 8445 §6.1.2.5 proposes 100): a peer that lists a thousand candidates of a victim gets
  /// no more checks out of us.
  package var maximumPairs = 100
  /// Pairs with addresses learnt from the peer's checks: every source port of a flood would be one.
  package var maximumPeerReflexivePairs = 16

  package init() {}
}

/// Bounds that nobody has a reason to change.
enum ICELimits {
  /// Signalled candidates kept; a thousandth serves nobody but an attacker.
  static let remoteCandidates = 100
  /// Checks that came before the peer's credentials did; each is one candidate address of the peer.
  static let earlyChecks = 16
  /// Answers waiting for `pollTransmit`; the owner drains after each datagram, so this is a flood.
  static let pendingResponses = 64
  /// Transactions that a newer check on the same pair has replaced but whose answer still counts.
  static let supersededTransactions = 32
  /// Unanswered consent checks whose late answer still counts: those of the last 30 s.
  static let consentTransactions = 8
  /// Routes not in use from which the peer may send; it has few candidates that work.
  static let waysIn = 16
  /// Role conflicts resolved; honest agents need one.
  static let roleConflicts = 8
}

/// What an agent has seen and refused, for statistics and tests.
package struct ICEStatistics: Hashable, Sendable {
  package var requestsSent = 0
  package var retransmissions = 0
  package var requestsReceived = 0
  package var responsesSent = 0
  package var responsesReceived = 0
  package var consentRequestsSent = 0
  /// Datagrams that are no well-formed STUN.
  package var malformed = 0
  /// Requests and responses without or with wrong MESSAGE-INTEGRITY or user name.
  package var unauthenticated = 0
  /// Responses to nothing, or from another address than was asked.
  package var unexpectedResponses = 0
  /// Well-formed messages that ask nothing of us.
  package var ignoredMessages = 0
  /// Candidates that cannot be used: names, other components or generations, duplicates, too many.
  package var ignoredCandidates = 0
  /// Pairs refused or removed because a bound was reached.
  package var droppedPairs = 0
  package var roleSwitches = 0
}
