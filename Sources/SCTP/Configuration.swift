// Configuration.swift — what the owner of an association may set, with the defaults that WebRTC wants.
//
// Timer figures: RFC 9260 §16, with the shorter ones that browsers and libdatachannel use, because the path below is
// one ICE pair whose loss ICE itself notices.

package import Wire

/// How much may be in flight, and how fast it leaves.
package enum CongestionControl: String, Sendable, CaseIterable {
  /// RFC 9260 §7.2: halves its window for every loss event.
  case newReno = "newreno"
  /// RFC 9438.
  case cubic
  /// The third version of BBR (draft-ietf-ccwg-bbr): a model of the path instead of a reaction to each loss.
  case bbr
}

/// Whose message, or with interleaving whose fragment, goes next (RFC 8260 §3).
package enum StreamScheduling: Sendable {
  case firstComeFirstServed, roundRobin
  /// Bytes in proportion to the streams' priorities (RFC 8831 §6.4).
  case weightedFair
}

package struct SCTPConfiguration: Sendable {
  package var sourcePort: UInt16 = 5000  // RFC 8841 §5.2: what every implementation announces
  package var destinationPort: UInt16 = 5000

  /// The longest SCTP packet, common header included; a multiple of four.
  ///
  /// 1280 (every IPv6 path) − 40 (IPv6) − 8 (UDP) − 4 (TURN channel data) − 37 (a DTLS record with AES-GCM) = 1191,
  /// and chunks are padded to four bytes.
  package var maximumPacketSize = 1188

  /// The longest packet that probes of the path may lead to (RFC 8899); `maximumPacketSize` then is where it begins, and
  /// what every chunk fits. Not longer than that: no probes.
  package var maximumProbedPacketSize = 0

  /// The longest message that is accepted; a longer one aborts the association. Announced as `max-message-size`.
  package var maximumIncomingMessageSize = 262_144
  /// The longest message that the peer has announced to accept (RFC 8841 §6); longer ones are refused.
  package var maximumOutgoingMessageSize = 262_144

  /// The receiver window at first: how many bytes of messages, partial or not yet released, the peer may make us hold.
  ///
  /// Enough for 80 Mbit/s over 100 ms. Memory is bounded by the window plus one message of `maximumIncomingMessageSize`,
  /// which is granted to the chunks that close the oldest gap, so that a full window can never block itself.
  package var receiveWindow = 1 << 20

  /// How far the window grows when it is what slows the peer down, and the owner consumes what comes: enough for
  /// 1.3 Gbit/s over 100 ms. A peer alone cannot make us hold so much, but with messages that it interleaves.
  package var maximumReceiveWindow = 16 << 20

  /// Bytes waiting for their first transmission beyond which `send` answers `.bufferFull`. One message is always
  /// taken when nothing waits.
  package var sendBufferLimit = 1 << 20

  /// How many streams each side may use: 65,535, so that 65,535 is no valid id (RFC 8831 §6.2).
  package var outboundStreams: UInt16 = 65_535
  package var inboundStreams: UInt16 = 65_535

  package var initialRTO = Interval.milliseconds(500)
  /// Longer than the 200 ms for which a peer may hold an acknowledgement back (RFC 9260 §6.2), with some jitter.
  package var minimumRTO = Interval.milliseconds(250)
  package var maximumRTO = Interval.seconds(10)
  /// Where doubling after an expiry stops: ICE notices a dead path first, and a path that recovers is used soon.
  package var maximumBackoff = Interval.seconds(3)

  /// INIT and COOKIE-ECHO retransmissions before giving up (RFC 9260 §16).
  package var maximumInitRetransmits = 8
  /// Expiries in a row, without a sign of life, that end the association (RFC 9260 §16).
  package var maximumRetransmits = 10

  /// How long one lone packet of data may stay unacknowledged; two are answered at once (RFC 9260 §6.2: ≤ 500 ms).
  package var acknowledgementDelay = Interval.milliseconds(20)
  /// How long the association is silent before a HEARTBEAT asks whether the peer lives (RFC 9260 §16).
  package var heartbeatInterval = Interval.seconds(30)
  /// Valid.Cookie.Life (RFC 9260 §16).
  package var cookieLifetime = Interval.seconds(60)

  package var congestionControl = CongestionControl.bbr
  package var scheduling = StreamScheduling.weightedFair
  /// I-DATA is offered, and used when the peer offers it too (RFC 8260 §2.2.1).
  package var offersInterleaving = true
  /// Packets without a checksum are accepted, and sent when the peer accepts them too (RFC 9653): DTLS protects them.
  package var offersZeroChecksum = true

  package init() {}
}
