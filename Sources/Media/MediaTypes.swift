// MediaTypes.swift — what goes into a `MediaSession` and what comes out of it.

package import RTP
package import Wire

/// A packet of the application's. The SSRC is the section's, and mid, transport-wide number and absolute send time are
/// added on the way; elements with their identifiers are left out, so that a packet received can be sent as it is.
package struct OutgoingRTP: Hashable, Sendable {
  package var payloadType: UInt8
  package var marker: Bool
  package var sequenceNumber: UInt16
  package var timestamp: UInt32
  /// At most 15.
  package var contributingSources: [UInt32]
  package var extensions: [RTPExtension]
  package var payload: [UInt8]

  package init(
    payloadType: UInt8, marker: Bool = false, sequenceNumber: UInt16, timestamp: UInt32,
    contributingSources: [UInt32] = [], extensions: [RTPExtension] = [], payload: [UInt8]
  ) {
    self.payloadType = payloadType
    self.marker = marker
    self.sequenceNumber = sequenceNumber
    self.timestamp = timestamp
    self.contributingSources = contributingSources
    self.extensions = extensions
    self.payload = payload
  }
}

/// A packet of the peer's, in the order of arrival and each once: there is no jitter buffer here.
package struct IncomingRTP: Hashable, Sendable {
  package var section: Int
  /// Of the stream itself, also when the packet came on its retransmission stream (RFC 4588).
  package var ssrc: UInt32
  /// The stream's name among those of a simulcast, once the peer has told it.
  package var rid: String?
  package var payloadType: UInt8
  package var marker: Bool
  package var sequenceNumber: UInt16
  package var timestamp: UInt32
  /// Whether it came after we had asked for it.
  package var isRecovered: Bool
  package var receivedAt: Instant
  package var absoluteSendTime: AbsoluteSendTime?
  package var contributingSources: [UInt32]
  /// Without those that `MediaExtensionIDs` names.
  package var extensions: [RTPExtension]
  /// Without padding. Empty only in `MediaEvent.padding`.
  package var payload: [UInt8]
}

package enum MediaPacketKind: Hashable, Sendable { case rtp, rtcp }

/// What the peer says of a stream of its own (RFC 3550 §6.4.1): its RTP clock against its wall clock.
package struct RemoteSenderReport: Hashable, Sendable {
  package var section: Int
  package var ssrc: UInt32
  package var ntpTime: NTPTime
  package var rtpTimestamp: UInt32
  package var packetCount: UInt32
  package var octetCount: UInt32
}

/// What one transport-wide feedback packet says of packets that we have sent.
package struct TransportFeedbackSummary: Hashable, Sendable {
  package var receivedPackets = 0
  package var receivedBytes = 0
  package var lostPackets = 0
  /// How much longer the last packet that arrived was on its way than the first: positive when a queue grows.
  package var delayGrowth = Interval.zero
}

package enum MediaEvent: Hashable, Sendable {
  case packet(IncomingRTP)
  /// A packet of nothing but padding, which probes the path, on a stream of media. Only a relay that keeps the sequence
  /// numbers has a use for it: it sends a packet without payload, so that no gap is left.
  case padding(IncomingRTP)
  /// The peer needs a picture that depends on no other (PLI or FIR) in what the section sends.
  case keyframeRequested(section: Int)
  /// The peer has ended a stream.
  case bye(section: Int, ssrc: UInt32)
  case senderReport(RemoteSenderReport)
  /// Packets were asked for and did not come in time. Whether that calls for a keyframe is the application's to know.
  case packetsAbandoned(section: Int, ssrc: UInt32, count: Int)
  /// REMB: how much the peer thinks it can receive, for all our streams together.
  case bandwidthEstimate(bitsPerSecond: UInt64)
  case transportFeedback(TransportFeedbackSummary)
}

package enum MediaSendError: Error, Hashable, Sendable {
  /// No such section, its direction forbids it, or the transport is not up.
  case notSending
  case unknownPayloadType
  case packetTooLarge
  /// The queue is at its bound: the network, or this process, does not keep up.
  case queueFull
  /// This number is one that was sent, or so old that it may have been. SRTP must never protect two packets with one
  /// number: it would give away both (RFC 3711 §9.1). Two consecutive numbers elsewhere are taken as a source that has
  /// begun anew, and are renumbered from then on.
  case sequenceNumberUsed
  /// An extension that RFC 8285 cannot carry, or more than 15 contributing sources.
  case badHeader
}

/// The wall clock, given as what it showed at the origin of the caller's `Instant`s: sender reports tell it.
///
/// Without one, reports tell the time since that origin, as RFC 3550 §4 allows.
package struct WallClock: Hashable, Sendable {
  /// Nanoseconds since 1970.
  package var nanosecondsAtOrigin: Int64

  package init(nanosecondsAtOrigin: Int64 = 0) { self.nanosecondsAtOrigin = nanosecondsAtOrigin }

  func ntpTime(at now: Instant) -> NTPTime { NTPTime(unixNanoseconds: nanosecondsAtOrigin &+ now.nanoseconds) }
}
