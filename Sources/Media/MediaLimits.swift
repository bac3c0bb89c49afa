// MediaLimits.swift — the bounds of everything that a peer or an application could make grow.

package import Wire

package struct MediaLimits: Hashable, Sendable {
  /// Sections beyond it are not served. Browsers stop far below.
  package var maximumSections = 128
  /// Remote SSRCs that one section keeps state for: three layers of simulcast, a retransmission stream for each, and
  /// as much again for sources that follow one another.
  package var maximumSSRCsPerSection = 12

  /// The longest RTP packet that `send` takes, as it leaves for SRTP: 1,500 (Ethernet) − 40 (IPv6) − 8 (UDP) − 4 (TURN
  /// channel data) − 16 (the longest SRTP tag) = 1,432, and 2 for the original sequence number of RTX.
  package var maximumPacketSize = 1_430
  /// The longest compound RTCP packet: 1,280 (every IPv6 path) − 40 − 8 − 4 − 20 (SRTCP index and tag).
  package var maximumRTCPSize = 1_200

  /// What waits in one section for `pollTransmit`; beyond it `send` answers `.queueFull`. The queue is emptied at each
  /// drain, so it only grows while a batch is full.
  package var maximumQueuedPackets = 512
  package var maximumQueuedBytes = 1 << 20

  /// What one stream keeps for the peer's NACKs: two seconds at 4 Mbit/s. Packets are a power of two.
  package var maximumHistoryPackets = 1_024
  package var maximumHistoryBytes = 1 << 20
  package var historyAge = Interval.seconds(2)

  /// How many lost packets of one stream are asked for at a time, how often each, and for how long.
  package var maximumRequestedPackets = 256
  package var maximumRequests = 10
  package var requestAge = Interval.milliseconds(1_500)

  /// Events that wait for `pollEvent`; beyond it packets are dropped and counted.
  package var maximumEvents = 4_096

  package init() {}
}
