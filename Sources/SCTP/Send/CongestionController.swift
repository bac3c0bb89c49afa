// CongestionController.swift — how many bytes may be in flight (RFC 9260 §7.2).
//
// All sums are of user data. A deliberate departure: growth counts every byte that a SACK acknowledges (appropriate
// byte counting without a limit per SACK, as QUIC does, RFC 9002 §7.3), because our own peer answers a whole batch
// of packets with one SACK. Max.Burst (§6.1) is not applied for the same reason; the window is what bounds a burst.

package import Wire

package struct CongestionController: Sendable {
  package private(set) var window: Int
  package private(set) var slowStartThreshold: Int
  private var partialBytesAcknowledged = 0
  private let packetSize: Int

  /// RFC 6928's ten packets, as browsers begin.
  static let initialPackets = 10
  /// RFC 9260 §7.2.3: the threshold does not fall below four packets.
  static let minimumThresholdPackets = 4
  /// More is never in flight: 1 Gbit/s over 130 ms. It bounds what the peer's acknowledgements can make us keep.
  static let maximumWindow = 16 << 20

  package init(packetSize: Int) {
    self.packetSize = packetSize
    window = Self.initialPackets * packetSize
    slowStartThreshold = Self.maximumWindow
  }

  package var isInSlowStart: Bool { window <= slowStartThreshold }

  /// The cumulative TSN has moved on outside fast recovery (§7.2.1, §7.2.2).
  ///
  /// - Parameter flightBefore: bytes in flight before the acknowledgement; a window that was not used does not grow.
  package mutating func acknowledged(_ bytes: Int, flightBefore: Int) {
    guard flightBefore + packetSize > window else { return }
    if isInSlowStart {
      window += bytes
    } else {
      partialBytesAcknowledged += bytes
      if partialBytesAcknowledged >= window {
        partialBytesAcknowledged -= window
        window += packetSize
      }
    }
    window = min(window, Self.maximumWindow)
  }

  /// Loss that later acknowledgements have shown; once for each recovery (§7.2.4).
  package mutating func lostByFastRetransmit() {
    slowStartThreshold = max(window / 2, Self.minimumThresholdPackets * packetSize)
    window = slowStartThreshold
    partialBytesAcknowledged = 0
  }

  /// Loss that only the timer has shown (§7.2.3).
  package mutating func lostByTimeout() {
    slowStartThreshold = max(window / 2, Self.minimumThresholdPackets * packetSize)
    window = packetSize
    partialBytesAcknowledged = 0
  }

  /// Nothing was sent for a while, so the window says little about the path now: halved for each timeout that has
  /// passed, but not below where it began (§7.2.1).
  package mutating func idled(for time: Interval, timeout: Interval) {
    var rest = time
    while rest >= timeout, window > Self.initialPackets * packetSize {
      window = max(window / 2, Self.initialPackets * packetSize)
      rest = rest - timeout
    }
  }
}
