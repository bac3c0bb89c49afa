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

package enum CongestionController: Sendable {
  case newReno(NewReno)
  case cubic(Cubic)
  case bbr(BBR)

  /// RFC 6928's ten packets, as browsers begin.
  static let initialPackets = 10
  /// RFC 9260 §7.2.3: the window does not fall below four packets but for the timer.
  static let minimumPackets = 4
  /// More is never in flight: 1 Gbit/s over 130 ms. It bounds what the peer's acknowledgements can make us keep.
  static let maximumWindow = 16 << 20

  init(_ choice: CongestionControl, packetSize: Int, random: RandomSource) {
    self =
      switch choice {
      case .newReno: .newReno(NewReno(packetSize: packetSize))
      case .cubic: .cubic(Cubic(packetSize: packetSize))
      case .bbr: .bbr(BBR(packetSize: packetSize, random: random))
      }
  }

  /// Bytes that may be in flight.
  package var window: Int {
    switch self {
    case .newReno(let controller): controller.window
    case .cubic(let controller): controller.window
    case .bbr(let controller): controller.window
    }
  }

  /// Above it the window grows carefully; nil: the controller knows no such thing.
  package var slowStartThreshold: Int? {
    switch self {
    case .newReno(let controller): controller.slowStartThreshold
    case .cubic(let controller): controller.slowStartThreshold
    case .bbr: nil
    }
  }

  /// User data in a packet of full length: what windows are counted in where an algorithm counts packets.
  var packetSize: Int {
    get {
      switch self {
      case .newReno(let controller): controller.packetSize
      case .cubic(let controller): controller.packetSize
      case .bbr(let controller): controller.packetSize
      }
    }
    set {
      switch self {
      case .newReno(var controller):
        controller.packetSize = newValue
        self = .newReno(controller)
      case .cubic(var controller):
        controller.packetSize = newValue
        self = .cubic(controller)
      case .bbr(var controller):
        controller.packetSize = newValue
        self = .bbr(controller)
      }
    }
  }

  /// Bytes a second at which packets leave; nil: the window alone decides.
  func pacingRate(smoothedRoundTrip: Interval?) -> Int? {
    switch self {
    case .newReno(let controller):
      Self.pacingRate(controller.window, controller.isInSlowStart, smoothedRoundTrip)
    case .cubic(let controller):
      Self.pacingRate(controller.window, controller.isInSlowStart, smoothedRoundTrip)
    case .bbr(let controller): controller.pacingRate
    }
  }

  /// A window a round trip, and somewhat more, so that the window and not the pace is the limit; twice that while it doubles.
  private static func pacingRate(_ window: Int, _ isInSlowStart: Bool, _ roundTrip: Interval?) -> Int? {
    roundTrip.map { Rate.of(isInSlowStart ? 2 * window : window + window / 4, over: $0) }
  }

  mutating func acknowledged(_ event: CongestionEvent) {
    switch self {
    case .newReno(var controller):
      controller.acknowledged(event)
      self = .newReno(controller)
    case .cubic(var controller):
      controller.acknowledged(event)
      self = .cubic(controller)
    case .bbr(var controller):
      controller.acknowledged(event)
      self = .bbr(controller)
    }
  }

  mutating func lost(_ event: LossEvent) {
    switch self {
    case .newReno(var controller):
      if event.beginsRecovery { controller.reduce() }
      self = .newReno(controller)
    case .cubic(var controller):
      if event.beginsRecovery { controller.reduce(now: event.now) }
      self = .cubic(controller)
    case .bbr(var controller):
      controller.lost(event)
      self = .bbr(controller)
    }
  }

  /// T3-rtx has expired: all that was in flight is deemed lost (RFC 9260 §7.2.3).
  mutating func timedOut(now: Instant) {
    switch self {
    case .newReno(var controller):
      controller.timedOut()
      self = .newReno(controller)
    case .cubic(var controller):
      controller.timedOut()
      self = .cubic(controller)
    case .bbr(var controller):
      controller.timedOut()
      self = .bbr(controller)
    }
  }

  /// Data flows again after nothing was in flight for a while.
  mutating func resumes(after idleTime: Interval, timeout: Interval, now: Instant) {
    switch self {
    case .newReno(var controller):
      controller.window = Self.decayed(controller.window, idleTime, timeout, controller.packetSize)
      self = .newReno(controller)
    case .cubic(var controller):
      controller.resumes(after: idleTime, timeout: timeout)
      self = .cubic(controller)
    case .bbr(var controller):
      controller.resumes(now: now)
      self = .bbr(controller)
    }
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
