// CongestionController.swift — how many bytes may be in flight, and how fast they leave.
//
// The interface that every algorithm has, and the choice among them. All sums are of user data. A deliberate departure from
// RFC 9260 §7.2: growth counts every byte that a SACK acknowledges (appropriate byte counting without a limit per SACK, as
// QUIC does, RFC 9002 §7.3), because our own peer answers a whole batch of packets with one SACK; and Max.Burst (§6.1) is
// not applied: pacing is what keeps bursts small.

import Wire

/// What a controller is told when a SACK has been handled.
struct CongestionEvent {
  var now: Instant
  var sample: DeliverySample
  /// Bytes in flight before and after the SACK.
  var flightBefore: Int
  var flightAfter: Int
  var smoothedRoundTrip: Interval?
  /// Loss is being repaired: what is acknowledged says nothing about growth.
  var isRecovering: Bool
  /// The window was the limit of late, and may grow.
  var isWindowLimited: Bool
}

/// What a controller is told when packets are found lost.
struct LossEvent {
  var now: Instant
  var byteCount: Int
  /// The first loss since the last recovery ended: the one that loss-based controllers answer.
  var beginsRecovery: Bool
  /// Of the oldest lost packet: bytes in flight when it left, and lost since.
  var flightWhenSent: Int
  var lostSince: Int
}

/// The chosen algorithm, and what it says now. The window and the pace are asked several times for each packet, and an
/// algorithm may be large: they are kept beside it, so that it is not copied to be asked.
package struct CongestionController: Sendable {
  private enum Algorithm: Sendable {
    case newReno(NewReno)
    case cubic(Cubic)
    case bbr(BBR)
  }

  private enum Pace {
    /// The window over a round trip; faster while it doubles.
    case window(isInSlowStart: Bool)
    /// Bytes a second; nil: not known yet.
    case rate(Int?)
  }

  private var algorithm: Algorithm
  /// Bytes that may be in flight.
  package private(set) var window: Int
  private var pace: Pace

  /// RFC 6928's ten packets, as browsers begin.
  static let initialPackets = 10
  /// RFC 9260 §7.2.3: the window does not fall below four packets but for the timer.
  static let minimumPackets = 4
  /// More is never in flight: 1 Gbit/s over 130 ms. It bounds what the peer's acknowledgements can make us keep.
  static let maximumWindow = 16 << 20

  init(_ choice: CongestionControl, packetSize: Int, random: RandomSource) {
    algorithm =
      switch choice {
      case .newReno: .newReno(NewReno(packetSize: packetSize))
      case .cubic: .cubic(Cubic(packetSize: packetSize))
      case .bbr: .bbr(BBR(packetSize: packetSize, random: random))
      }
    (window, pace) = Self.readings(of: algorithm)
  }

  private static func readings(of algorithm: Algorithm) -> (Int, Pace) {
    switch algorithm {
    case .newReno(let controller): (controller.window, .window(isInSlowStart: controller.isInSlowStart))
    case .cubic(let controller): (controller.window, .window(isInSlowStart: controller.isInSlowStart))
    case .bbr(let controller): (controller.window, .rate(controller.pacingRate))
    }
  }

  /// Above it the window grows carefully; nil: the controller knows no such thing.
  package var slowStartThreshold: Int? {
    switch algorithm {
    case .newReno(let controller): controller.slowStartThreshold
    case .cubic(let controller): controller.slowStartThreshold
    case .bbr: nil
    }
  }

  /// Bytes a second at which packets leave; nil: the window alone decides. A window a round trip, and somewhat more, so
  /// that the window and not the pace is the limit; twice that while it doubles.
  func pacingRate(smoothedRoundTrip: Interval?) -> Int? {
    switch pace {
    case .window(let isInSlowStart):
      smoothedRoundTrip.map { Rate.of(isInSlowStart ? 2 * window : window + window / 4, over: $0) }
    case .rate(let rate): rate
    }
  }

  /// User data in a packet of full length: what windows are counted in where an algorithm counts packets.
  mutating func setPacketSize(_ size: Int) {
    changeNewReno {
      $0.packetSize = size
    } cubic: {
      $0.packetSize = size
    } bbr: {
      $0.packetSize = size
    }
  }

  mutating func acknowledged(_ event: CongestionEvent) {
    changeNewReno {
      $0.acknowledged(event)
    } cubic: {
      $0.acknowledged(event)
    } bbr: {
      $0.acknowledged(event)
    }
  }

  mutating func lost(_ event: LossEvent) {
    changeNewReno {
      if event.beginsRecovery { $0.reduce() }
    } cubic: {
      if event.beginsRecovery { $0.reduce(now: event.now) }
    } bbr: {
      $0.lost(event)
    }
  }

  /// T3-rtx has expired: all that was in flight is deemed lost (RFC 9260 §7.2.3).
  mutating func timedOut() {
    changeNewReno {
      $0.timedOut()
    } cubic: {
      $0.timedOut()
    } bbr: {
      $0.timedOut()
    }
  }

  /// Data flows again after nothing was in flight for a while.
  mutating func resumes(after idleTime: Interval, timeout: Interval, now: Instant) {
    changeNewReno {
      $0.window = Self.decayed($0.window, idleTime, timeout, $0.packetSize)
    } cubic: {
      $0.resumes(after: idleTime, timeout: timeout)
    } bbr: {
      $0.resumes(now: now)
    }
  }

  private mutating func changeNewReno(
    _ newReno: (inout NewReno) -> Void, cubic: (inout Cubic) -> Void, bbr: (inout BBR) -> Void
  ) {
    switch algorithm {
    case .newReno(var controller):
      newReno(&controller)
      algorithm = .newReno(controller)
    case .cubic(var controller):
      cubic(&controller)
      algorithm = .cubic(controller)
    case .bbr(var controller):
      bbr(&controller)
      algorithm = .bbr(controller)
    }
    (window, pace) = Self.readings(of: algorithm)
  }

  /// Nothing was sent for a while, so the window says little about the path now: halved for each timeout that has passed,
  /// but not below where it began (RFC 9260 §7.2.1).
  static func decayed(_ window: Int, _ idleTime: Interval, _ timeout: Interval, _ packetSize: Int) -> Int {
    var result = window
    var rest = idleTime
    while rest >= timeout, result > initialPackets * packetSize {
      result = max(result / 2, initialPackets * packetSize)
      rest = rest - timeout
    }
    return result
  }
}

/// The controller of RFC 9260 §7.2, for conformance runs and comparison.
package struct NewReno: Sendable {
  var window: Int
  private(set) var slowStartThreshold = CongestionController.maximumWindow
  private var partialBytesAcknowledged = 0
  var packetSize: Int

  init(packetSize: Int) {
    self.packetSize = packetSize
    window = CongestionController.initialPackets * packetSize
  }

  var isInSlowStart: Bool { window <= slowStartThreshold }

  /// §7.2.1, §7.2.2. A window that was not used does not grow.
  mutating func acknowledged(_ event: CongestionEvent) {
    guard !event.isRecovering, event.isWindowLimited else { return }
    if isInSlowStart {
      window += event.sample.acknowledged
    } else {
      partialBytesAcknowledged += event.sample.acknowledged
      if partialBytesAcknowledged >= window {
        partialBytesAcknowledged -= window
        window += packetSize
      }
    }
    window = min(window, CongestionController.maximumWindow)
  }

  /// §7.2.4.
  mutating func reduce() {
    slowStartThreshold = max(window / 2, CongestionController.minimumPackets * packetSize)
    window = slowStartThreshold
    partialBytesAcknowledged = 0
  }

  /// §7.2.3.
  mutating func timedOut() {
    slowStartThreshold = max(window / 2, CongestionController.minimumPackets * packetSize)
    window = packetSize
    partialBytesAcknowledged = 0
  }
}
