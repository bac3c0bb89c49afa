// RTPStatistics.swift — what one transceiver has received and sent (the parts of W3C webrtc-stats that packets have).

import Media
import Wire

/// A snapshot of one transceiver.
public struct RTPStatistics: Sendable, Hashable {
  public var mid: String?
  public var kind: MediaKind

  // Received, repeated packets not counted.
  public var packetsReceived: Int
  /// Payload only.
  public var bytesReceived: Int
  /// Expected and not received so far; negative when some came twice (RFC 3550 §6.4.1).
  public var packetsLost: Int
  /// Lost at first, and received after they were asked for.
  public var packetsRecovered: Int
  /// Dropped because nobody took them in time.
  public var packetsUnread: UInt64
  /// How evenly packets arrive (RFC 3550 §6.4.1).
  public var jitter: Duration
  /// Requests that this side has sent.
  public var nacksSent: Int
  public var keyframeRequestsSent: Int

  // Sent.
  public var packetsSent: Int
  public var bytesSent: Int
  public var packetsRetransmitted: Int
  /// Requests that the peer has sent.
  public var nacksReceived: Int
  public var keyframeRequestsReceived: Int
  /// What the peer's last report says.
  public var remotePacketsLost: Int
  public var roundTrip: Duration?

  init(_ transceiver: RTPTransceiver, _ statistics: MediaStatistics) {
    mid = transceiver.mid
    kind = transceiver.kind
    packetsReceived = statistics.packetsReceived
    bytesReceived = statistics.bytesReceived
    packetsLost = statistics.packetsLost
    packetsRecovered = statistics.packetsRecovered
    packetsUnread = transceiver.inbox.droppedCount
    jitter = .nanoseconds(statistics.jitter.nanoseconds)
    nacksSent = statistics.nacksSent
    keyframeRequestsSent = statistics.plisSent + statistics.firsSent
    packetsSent = statistics.packetsSent
    bytesSent = statistics.bytesSent
    packetsRetransmitted = statistics.packetsRetransmitted
    nacksReceived = statistics.nacksReceived
    keyframeRequestsReceived = statistics.plisReceived + statistics.firsReceived
    remotePacketsLost = statistics.remotePacketsLost
    roundTrip = statistics.roundTrip.map { .nanoseconds($0.nanoseconds) }
  }
}
