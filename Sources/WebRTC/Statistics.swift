// Statistics.swift — what a connection has done so far (the parts of W3C webrtc-stats that data channels have).

import ICE
import Peer
import SCTP
import Wire

/// A snapshot of one connection.
public struct PeerConnectionStatistics: Sendable, Hashable {
  /// One end of the selected candidate pair.
  public struct Candidate: Sendable, Hashable {
    /// `host`, `srflx`, `prflx` or `relay` (RFC 8839 §5.1).
    public var type: String
    /// `192.0.2.1:5000` or `[2001:db8::1]:5000`.
    public var address: String
  }

  public var state: PeerConnection.State
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
}

extension PeerConnection {
  /// What the connection has done so far.
  public func statistics() -> PeerConnectionStatistics {
    let pair = machine.ice.selectedPair
    let counters = machine.counters
    let association = machine.association.statistics
    return PeerConnectionStatistics(
      state: state, localCandidate: pair.map { .init($0.local) }, remoteCandidate: pair.map { .init($0.remote) },
      roundTrip: pair?.roundTrip.map { .nanoseconds($0.nanoseconds) },
      dataRoundTrip: association.smoothedRoundTrip.map { .nanoseconds($0.nanoseconds) },
      bytesSent: counters.bytesSent, bytesReceived: counters.bytesReceived, datagramsSent: counters.datagramsSent,
      datagramsReceived: counters.datagramsReceived, datagramsDropped: counters.datagramsDropped,
      messagesSent: association.messagesSent, messagesReceived: association.messagesReceived,
      chunksRetransmitted: association.chunksRetransmitted, packetSize: association.packetSize,
      congestionWindow: association.congestionWindow)
  }
}

extension PeerConnectionStatistics.Candidate {
  init(_ candidate: ICECandidate) {
    type = candidate.kind.rawValue
    address = candidate.socketAddress.map { "\($0)" } ?? "?"
  }
}
