// Consent.swift — the peer's standing agreement to be sent to, on the route in use (RFC 7675 §5.1).
//
// Each check is a new transaction that is not repeated. An answer renews consent for 30 s; without one, sending must
// stop. The same checks keep NAT bindings alive (RFC 8445 §11).
//
// A lite agent does not ask: that the full peer goes on checking is its consent.

import Wire

struct Consent: Sendable {
  let route: Route
  /// When consent ends unless an answer comes.
  private(set) var expires: Instant
  /// Nil for a lite agent.
  private(set) var nextCheck: Instant?
  private(set) var isDisconnected = false
  /// The first check since the last answer.
  private var unansweredSince: Instant?
  /// When the peer was last heard on this route, by an answer or a request of its own.
  private(set) var heardAt: Instant
  private let configuration: ICEConfiguration

  init(route: Route, confirmedAt: Instant, configuration: ICEConfiguration, random: inout RandomSource) {
    self.route = route
    self.configuration = configuration
    heardAt = confirmedAt
    expires = confirmedAt + configuration.consentExpiry
    nextCheck = configuration.isLite ? nil : confirmedAt + Self.interval(configuration, &random)
  }

  mutating func checkSent(now: Instant, random: inout RandomSource) {
    if unansweredSince == nil { unansweredSince = now }
    nextCheck = now + Self.interval(configuration, &random)
  }

  mutating func answered(now: Instant) {
    unansweredSince = nil
    expires = now + configuration.consentExpiry
    heard(now: now)
  }

  /// A request of the peer's shows that it is there, not that it agrees to be sent to.
  mutating func heard(now: Instant) {
    heardAt = now
    isDisconnected = false
    if configuration.isLite { expires = now + configuration.consentExpiry }
  }

  mutating func handleTimeout(now: Instant) {
    if let due = disconnectDue, due <= now { isDisconnected = true }
  }

  var deadline: Instant { [expires, nextCheck ?? expires, disconnectDue ?? expires].min() ?? expires }

  private var disconnectDue: Instant? {
    guard !isDisconnected else { return nil }
    if configuration.isLite { return heardAt + configuration.consentInterval + configuration.disconnectedAfter }
    guard let unansweredSince else { return nil }
    return max(unansweredSince, heardAt) + configuration.disconnectedAfter
  }

  /// 0.8…1.2 times the configured interval, so that many agents do not check in step.
  private static func interval(_ configuration: ICEConfiguration, _ random: inout RandomSource) -> Interval {
    configuration.consentInterval * Int64.random(in: 800...1_200, using: &random) / 1_000
  }
}
