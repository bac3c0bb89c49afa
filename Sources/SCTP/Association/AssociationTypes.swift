// AssociationTypes.swift — the values that cross the border between an association and its owner.

package import Wire

/// Why an association has ended.
package enum SCTPCloseReason: Hashable, Sendable {
  /// Both sides have shut down in order: everything sent was acknowledged.
  case shutdown
  /// We aborted it.
  case aborted
  /// The peer aborted it; the code of its first cause, if it gave one (RFC 9260 §3.3.10).
  case abortedByPeer(cause: UInt16?)
  /// The peer broke the protocol, and we aborted.
  case protocolViolation(String)
  /// The peer never answered INIT or COOKIE-ECHO.
  case connectTimedOut
  /// The peer answered nothing any more.
  case retransmissionLimit
}

/// Why a message was not taken.
package enum SCTPSendError: Error, Hashable, Sendable {
  /// More waits already than `sendBufferLimit`; wait until `sendRoom` grows.
  case bufferFull
  /// Longer than the peer accepts.
  case messageTooLarge
  /// SCTP cannot carry an empty message (RFC 9260 §3.3.1); RFC 8831 §6.6 sends one zero byte instead.
  case messageEmpty
  /// The stream does not exist in this association.
  case noSuchStream
  /// The stream is being reset; it can be used again after `.outgoingStreamsReset`.
  case streamResetting
  /// The association is shutting down or has ended.
  case closing
}

package struct SCTPStatistics: Sendable, Hashable {
  package var packetsSent: UInt64 = 0
  package var packetsReceived: UInt64 = 0
  package var bytesSent: UInt64 = 0
  package var bytesReceived: UInt64 = 0
  /// Packets that were dropped because they were malformed, had a wrong checksum or a wrong verification tag.
  package var packetsDropped: UInt64 = 0
  package var messagesSent: UInt64 = 0
  package var messagesReceived: UInt64 = 0
  /// Messages given up under partial reliability.
  package var messagesAbandoned: UInt64 = 0
  package var chunksSent: UInt64 = 0
  package var chunksReceived: UInt64 = 0
  package var chunksRetransmitted: UInt64 = 0
  package var chunksDuplicated: UInt64 = 0
  /// Chunks of data that were dropped because they lay outside the receiver window or the TSN window.
  package var chunksRefused: UInt64 = 0
  package var fastRetransmits: UInt64 = 0
  package var timeouts: UInt64 = 0
  package var congestionWindow = 0
  package var slowStartThreshold = 0
  package var bytesInFlight = 0
  package var peerReceiverWindow = 0
  package var smoothedRoundTrip: Interval?
  package var retransmissionTimeout = Interval.zero
  /// How long a packet may be now.
  package var packetSize = 0
}

extension SCTPAssociation {
  package enum Event: Hashable, Sendable {
    case established
    /// The peer has restarted: everything it knew is gone, and all streams begin anew (RFC 9260 §5.2.4.1).
    case restarted
    /// The peer has reset these of its streams, and everything it sent on them before has been delivered.
    case incomingStreamsReset([UInt16])
    /// The peer has confirmed the reset of these streams of ours; they may be used again.
    case outgoingStreamsReset([UInt16])
    /// The peer has refused to reset these streams of ours.
    case outgoingResetFailed([UInt16])
    case closed(SCTPCloseReason)
  }

  /// RFC 9260 §4.
  package enum State: Hashable, Sendable {
    case closed, cookieWait, cookieEchoed, established
    case shutdownPending, shutdownSent, shutdownReceived, shutdownAckSent
  }
}
