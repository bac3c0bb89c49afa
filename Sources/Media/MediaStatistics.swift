// MediaStatistics.swift — what has been counted; the names follow the W3C's Identifiers for WebRTC's Statistics API.

package import Wire

/// Of one section.
package struct MediaStatistics: Hashable, Sendable {
  // MARK: Received
  package var packetsReceived = 0
  /// Payload, without padding and header.
  package var bytesReceived = 0
  /// As RFC 3550 §6.4.1 counts: expected less received, summed over the streams; negative when duplicates came.
  package var packetsLost = 0
  /// Of the latest interval between two reports, of the stream that lost most, in 1/256.
  package var fractionLost: UInt8 = 0
  /// Interarrival jitter (RFC 3550 A.8), of the stream that has most.
  package var jitter = Interval.zero
  package var duplicatePackets = 0
  package var paddingPackets = 0
  /// Lost packets that came when they were asked for, in either way.
  package var packetsRecovered = 0
  package var packetsAbandoned = 0
  /// Sequence numbers asked for, repetitions included.
  package var packetsRequested = 0
  package var nacksSent = 0
  package var plisSent = 0
  package var firsSent = 0
  /// Streams of the peer that are being received.
  package var streams = 0

  // MARK: Sent
  /// Retransmissions included.
  package var packetsSent = 0
  package var bytesSent = 0
  package var packetsRetransmitted = 0
  package var bytesRetransmitted = 0
  /// Asked for, and not sent again: no longer kept, sent a moment ago, or beyond the share of the rate.
  package var retransmissionsRefused = 0
  package var nacksReceived = 0
  package var plisReceived = 0
  package var firsReceived = 0
  package var queuedPackets = 0
  /// What the peer reports of our stream.
  package var remotePacketsLost = 0
  package var remoteFractionLost: UInt8 = 0
  package var remoteJitter = Interval.zero
  package var roundTrip: Interval?

  package init() {}
}

/// Of the whole bundle.
package struct MediaSessionStatistics: Hashable, Sendable {
  package var malformedRTP = 0
  package var malformedRTCP = 0
  /// Belonged to no section (RFC 8843 §9.2).
  package var unroutedPackets = 0
  /// To a section that does not receive, or with a payload type that it does not have.
  package var unwantedPackets = 0
  /// From a source for which the section's table had no room.
  package var refusedSources = 0
  /// Packets of sources that never became valid (RFC 3550 A.1), or that jumped.
  package var invalidSequences = 0
  /// Retransmissions that name no stream.
  package var unassociatedRetransmissions = 0
  /// Packets that nobody took from `pollEvent`.
  package var overflowedEvents = 0
  package var rtcpPacketsReceived = 0
  package var rtcpPacketsSent = 0
  /// The smoothed round trip, from reports on what we send, else from how soon retransmissions came.
  package var roundTrip: Interval?
  package var transportFeedbackSent = 0
  package var transportFeedbackReceived = 0
  package var transportPacketsAcknowledged = 0
  package var transportPacketsLost = 0
  /// REMB's latest figure.
  package var bandwidthEstimate: UInt64?

  package init() {}
}
