// Statistics.swift — what a connection has done so far (the parts of W3C webrtc-stats that we have).

import ICE
import Peer
import SCTP
import SRTP
import Wire

/// A snapshot of one connection.
public struct PeerConnectionStatistics: Sendable, Hashable {
  /// One end of the selected candidate pair.
  public struct Candidate: Sendable, Hashable {
    /// `host`, `srflx`, `prflx` or `relay` (RFC 8839 §5.1).
    public var type: String
    /// `192.0.2.1:5000` or `[2001:db8::1]:5000`.
    public var address: String
    /// `udp` or `tcp`; of a relayed candidate, what lies between the relay and the peer.
    public var transport: String
  }

  /// One pair of candidates (W3C `RTCIceCandidatePairStats`).
  public struct CandidatePair: Sendable, Hashable {
    public var local: Candidate
    public var remote: Candidate
    /// `waiting`, `in-progress`, `succeeded` or `failed`.
    public var state: String
    public var isNominated: Bool
    public var priority: UInt64
    public var requestsSent: Int
    public var requestsReceived: Int
    public var responsesSent: Int
    public var responsesReceived: Int
    public var consentRequestsSent: Int
    public var currentRoundTrip: Duration?
    public var totalRoundTrip: Duration
  }

  public var state: PeerConnection.State
  /// Every pair that is or was checked.
  public var candidatePairs: [CandidatePair]
  /// Nil until a pair is selected.
  public var localCandidate: Candidate?
  public var remoteCandidate: Candidate?
  /// The round trip of the selected pair's last connectivity check.
  public var roundTrip: Duration?
  /// SCTP's smoothed round trip, which includes the peer's delay before it acknowledges.
  public var dataRoundTrip: Duration?
  /// UDP payload bytes and datagrams, everything included.
  public var bytesSent: UInt64
  public var bytesReceived: UInt64
  public var datagramsSent: UInt64
  public var datagramsReceived: UInt64
  public var datagramsDropped: UInt64
  public var messagesSent: UInt64
  public var messagesReceived: UInt64
  public var chunksRetransmitted: UInt64
  /// How long an SCTP packet may be now, in bytes: what the path has shown that it carries.
  public var packetSize: Int
  /// Bytes that SCTP may have in flight.
  public var congestionWindow: Int
  /// Each section of audio or video that is not stopped.
  public var media: [RTPStatistics]
  /// Packets of media that were not let in: wrong tags, repeated or malformed ones, those that came before the keys.
  public var mediaPacketsRefused: UInt64
}

extension PeerConnection {
  /// What the connection has done so far.
  public func statistics() -> PeerConnectionStatistics {
    let pair = machine.ice.selectedPair
    let counters = machine.counters
    let association = machine.association.statistics
    let refused = machine.mediaDropCounters
    return PeerConnectionStatistics(
      state: state, candidatePairs: machine.ice.pairStatistics.map { .init($0) },
      localCandidate: pair.map { .init($0.local) }, remoteCandidate: pair.map { .init($0.remote) },
      roundTrip: pair?.roundTrip.map { .nanoseconds($0.nanoseconds) },
      dataRoundTrip: association.smoothedRoundTrip.map { .nanoseconds($0.nanoseconds) },
      bytesSent: counters.bytesSent, bytesReceived: counters.bytesReceived, datagramsSent: counters.datagramsSent,
      datagramsReceived: counters.datagramsReceived, datagramsDropped: counters.datagramsDropped,
      messagesSent: association.messagesSent, messagesReceived: association.messagesReceived,
      chunksRetransmitted: association.chunksRetransmitted, packetSize: association.packetSize,
      congestionWindow: association.congestionWindow, media: transceivers.compactMap { statistics(of: $0) },
      mediaPacketsRefused: refused.unexpected + refused.tooLong + UInt64(refused.srtp?.dropped ?? 0))
  }
}

extension PeerConnectionStatistics.Candidate {
  init(_ candidate: ICECandidate) {
    type = candidate.kind.rawValue
    address = candidate.socketAddress.map { "\($0)" } ?? "?"
    transport =
      switch candidate.transport {
      case .udp: "udp"
      case .tcp: "tcp"
      case .other(let name): name
      }
  }
}

extension PeerConnectionStatistics.CandidatePair {
  init(_ pair: ICEPairStatistics) {
    self.init(
      local: .init(pair.local), remote: .init(pair.remote), state: pair.state.rawValue, isNominated: pair.isNominated,
      priority: pair.priority, requestsSent: pair.counters.requestsSent,
      requestsReceived: pair.counters.requestsReceived, responsesSent: pair.counters.responsesSent,
      responsesReceived: pair.counters.responsesReceived, consentRequestsSent: pair.counters.consentRequestsSent,
      currentRoundTrip: pair.currentRoundTrip.map { .nanoseconds($0.nanoseconds) },
      totalRoundTrip: .nanoseconds(pair.counters.totalRoundTrip.nanoseconds))
  }
}

/// The candidates that a connection uses (W3C `RTCIceCandidatePair`).
public struct SelectedCandidatePair: Sendable, Hashable {
  public var local: PeerConnectionStatistics.Candidate
  public var remote: PeerConnectionStatistics.Candidate

  init(_ pair: ICEPairSummary) {
    local = .init(pair.local)
    remote = .init(pair.remote)
  }
}

extension PeerConnection {
  /// The candidate pair in use; nil until one is selected.
  public var selectedCandidatePair: SelectedCandidatePair? { machine.ice.selectedPair.map { .init($0) } }
}
