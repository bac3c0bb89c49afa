// PairStatistics.swift — what W3C webrtc-stats tells of a candidate pair (RTCIceCandidatePairStats), but for bytes and
// packets, which the owner counts.

package import Wire

/// Counts of one pair.
package struct ICEPairCounters: Hashable, Sendable {
  /// Checks and consent checks, without retransmissions.
  package var requestsSent = 0
  package var retransmissionsSent = 0
  package var consentRequestsSent = 0
  package var requestsReceived = 0
  package var responsesSent = 0
  package var responsesReceived = 0
  /// The sum of the round trips that were measured; an answer to a repeated request measures none.
  package var totalRoundTrip = Interval.zero
  package var roundTripMeasurements = 0

  package init() {}
}

/// One pair of the check list as it is now.
package struct ICEPairStatistics: Hashable, Sendable {
  /// W3C `RTCStatsIceCandidatePairState`, without `frozen`.
  package enum State: String, Hashable, Sendable {
    case waiting
    case inProgress = "in-progress"
    case failed, succeeded
  }

  package var local: ICECandidate
  package var remote: ICECandidate
  package var route: Route
  package var state: State
  /// The pair in use by nomination.
  package var isNominated: Bool
  package var priority: UInt64
  package var counters: ICEPairCounters
  /// The latest measured round trip.
  package var currentRoundTrip: Interval?
  /// When the peer last answered on this route.
  package var lastResponseAt: Instant?
}

extension ICEAgent {
  /// The pairs that are in the check list, in the order in which they came.
  package var pairStatistics: [ICEPairStatistics] {
    checkList.pairs.map { pair in
      let state: ICEPairStatistics.State =
        switch pair.state {
        case .waiting: .waiting
        case .inProgress: .inProgress
        case .failed: .failed
        case .succeeded: .succeeded
        }
      return ICEPairStatistics(
        local: pair.local, remote: pair.remote, route: pair.route, state: state,
        isNominated: pair.route == selected, priority: pair.priority, counters: pair.counters,
        currentRoundTrip: pair.roundTrip, lastResponseAt: pair.confirmedAt)
    }
  }
}
