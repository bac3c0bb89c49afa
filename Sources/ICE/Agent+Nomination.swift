// Agent+Nomination.swift — how one of the working pairs becomes the one in use, and stays it by consent
// (RFC 8445 §8.1, RFC 7675).
//
// Regular nomination: the controlling side checks, chooses, and repeats the check with USE-CANDIDATE.

import DequeModule
import Wire

extension ICEAgent {
  // MARK: Controlling

  /// Nominates when no better pair can still come to work, or when waiting for one has taken long enough.
  mutating func nominateIfDue(now: Instant) {
    guard isNominationOpen, let best = checkList.bestValid else { return }
    let isPatienceOver = acceptanceDue.map { $0 <= now } ?? true
    guard isPatienceOver || !checkList.hasHope(betterThan: best) else { return }
    begin(.nomination, best, now: now)
  }

  private var isNominationOpen: Bool {
    role == .controlling && checkingSince != nil && selected == nil
      && !transactions.contains { $0.purpose == .nomination }
  }

  /// When the best of the working pairs is good enough; nil when there is nothing to wait for.
  var acceptanceDue: Instant? {
    guard let firstValidAt, isNominationOpen, checkList.bestValid != nil else { return nil }
    return firstValidAt + configuration.acceptanceDelay
  }

  // MARK: Controlled

  /// The peer has nominated a pair that works. A second choice counts when it is better by priority, as RFC 8445 §8.1.1
  /// asks of those who meet aggressive nomination, or when the first has gone silent.
  mutating func accept(nomination index: Int, now: Instant) {
    if let selected {
      guard selected != checkList[index].route, let current = checkList.pair(selected) else { return }
      guard checkList[index].priority > current.priority || consent?.isDisconnected == true else { return }
    }
    select(index, now: now)
  }

  // MARK: Both

  mutating func select(_ index: Int, now: Instant) {
    let summary = checkList[index].summary
    selected = summary.route
    // The search is over (§8.1.2): what is under way stops, also its repetitions.
    transactions.removeAll { $0.purpose != .consent }
    checkList.removeUnfinished()
    followSendRoute(now: now)
    updateState()
    events.append(.selectedPairChanged(summary))
  }

  // MARK: Consent

  /// Consent is asked for on the route in use, also before nomination: the peer may take its time with that.
  mutating func followSendRoute(now: Instant) {
    let route = sendRoute
    guard consent?.route != route else { return }
    transactions.removeAll { $0.purpose == .consent }
    consent = route.flatMap { checkList.pair($0) }.map { pair in
      Consent(
        route: pair.route, confirmedAt: pair.confirmedAt ?? now, configuration: configuration, random: &random)
    }
  }

  mutating func checkConsent(now: Instant) {
    guard let consent else { return }
    if consent.expires <= now {
      loseConsent()
      return
    }
    self.consent?.handleTimeout(now: now)
    if consent.nextCheck <= now, let pair = checkList.pair(consent.route) {
      begin(.consent, pair, now: now)
      self.consent?.checkSent(now: now, random: &random)
    }
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
