// Agent+Consent.swift — how a route that works stays in use by consent (RFC 7675).

import Wire

extension ICEAgent {
  /// Whether this working pair was confirmed too long ago to be sent on: it needs a new check first.
  func isStale(_ pair: CandidatePair, now: Instant) -> Bool {
    pair.confirmedAt.map { $0 + configuration.consentExpiry <= now } ?? true
  }

  /// Consent is asked for on one route only, so that of the others runs out while nomination takes its time.
  mutating func recheckStalePairs(now: Instant) {
    guard selected == nil else { return }
    for index in checkList.pairs.indices {
      let pair = checkList[index]
      if pair.state == .succeeded, pair.route != consent?.route, isStale(pair, now: now) { checkList.trigger(index) }
    }
  }

  /// Consent is asked for on the route in use, also before nomination: the peer may take its time with that.
  mutating func followSendRoute(now: Instant) {
    let route = sendRoute
    guard consent?.route != route else { return }
    transactions.removeAll { $0.purpose == .consent }
    consent = route.flatMap { checkList.pair($0) }.map { pair in
      Consent(
        route: pair.route, confirmedAt: pair.confirmedAt ?? now, configuration: configuration, random: &random)
    }
    // A route confirmed some seconds ago is due at once.
    askForConsentIfDue(now: now)
  }

  mutating func checkConsent(now: Instant) {
    guard let consent else { return }
    if consent.expires <= now {
      loseConsent()
      return
    }
    self.consent?.handleTimeout(now: now)
    askForConsentIfDue(now: now)
  }

  private mutating func askForConsentIfDue(now: Instant) {
    guard let consent, let due = consent.nextCheck, due <= now, let pair = checkList.pair(consent.route) else { return }
    begin(.consent, pair, now: now)
    self.consent?.checkSent(now: now, random: &random)
  }

  /// Nothing may be sent on this route any more. Another working route may serve before nomination; after it, the
  /// agent has failed, and late answers do not revive it.
  mutating func loseConsent() {
    guard let lost = consent?.route, let index = checkList.index(of: lost) else { return }
    if selected == lost {
      end(in: .failed)
    } else {
      checkList.conclude(index, .failed)
      transactions.removeAll { $0.route == lost }
    }
  }
}
