// Cubic.swift — CUBIC (RFC 9438): after a loss the window returns to where it was in a time that does not depend on the
// round trip, stays there for a while, and then looks further.
//
// In integers: windows in bytes, times in milliseconds. C = 0.4, beta = 0.7.

import Wire

package struct Cubic: Sendable {
  private(set) var window: Int
  private(set) var slowStartThreshold = CongestionController.maximumWindow
  var packetSize: Int

  /// The window before the last reduction, where the curve is flat.
  private var plateau = 0
  /// When the curve began; nil: with the next acknowledgement.
  private var epochStart: Instant?
  /// How long the curve takes from its beginning to the plateau, in milliseconds.
  private var timeToPlateau = 0
  /// What Reno would have by now (§4.3).
  private var renoWindow = 0
  private var renoBytes = 0
  private var growthBytes = 0

  init(packetSize: Int) {
    self.packetSize = packetSize
    window = CongestionController.initialPackets * packetSize
  }

  var isInSlowStart: Bool { window <= slowStartThreshold }

  mutating func acknowledged(_ event: CongestionEvent) {
    guard !event.isRecovering, event.isWindowLimited else {
      // Time in which the window was not the limit must not count as growth (§5.8).
      if !event.isRecovering { epochStart = nil }
      return
    }
    let acknowledged = event.sample.acknowledged
    if isInSlowStart {
      window = min(window + acknowledged, CongestionController.maximumWindow)
      return
    }
    if epochStart == nil { beginEpoch(now: event.now) }
    guard let start = epochStart else { return }
    growAsReno(acknowledged)
    let elapsed = event.now - start + (event.smoothedRoundTrip ?? .zero)
    // §4.4, §4.5: toward the curve's value a round trip ahead, but by no more than half a window in that time.
    let target = min(max(curve(at: Int(elapsed.nanoseconds / 1_000_000)), window), window + window / 2)
    growthBytes += acknowledged
    if growthBytes > 0 {
      let (high, low) = (target - window).multipliedFullWidth(by: growthBytes)
      let step = high == 0 ? Int(clamping: low) / max(window, 1) : 0
      if step > 0 {
        window += step
        growthBytes = 0
      }
    }
    window = min(max(window, renoWindow), CongestionController.maximumWindow)
  }

  private mutating func beginEpoch(now: Instant) {
    epochStart = now
    renoWindow = window
    renoBytes = 0
    growthBytes = 0
    plateau = max(plateau, window)
    // K = cbrt((W_max − cwnd) / C), in seconds and packets (§4.2): a thousandfold inside the root is tenfold outside.
    let packets = Int64((plateau - window) / packetSize)
    timeToPlateau = Int(Self.cubeRoot(packets * 1_000_000_000 / 4 * 10))
  }

  /// W_cubic(t) = C · (t − K)³ + W_max (§4.2).
  private func curve(at milliseconds: Int) -> Int {
    let distance = min(max(milliseconds - timeToPlateau, -Self.longestDistance), Self.longestDistance)
    let cube = distance * distance * distance  // in 10⁻⁹ s³: below 2^61
    let packetsTimesThousand = cube / 1_000_000 * 4 / 10
    return max(plateau + packetsTimesThousand * packetSize / 1_000, packetSize)
  }
  private static let longestDistance = 1_000_000

  /// §4.3: where standard TCP would be faster, its growth counts: 3 · (1 − beta) / (1 + beta) = 0.53 packets a round trip,
  /// and a whole one beyond the plateau.
  private mutating func growAsReno(_ acknowledged: Int) {
    renoBytes += acknowledged
    let needed = renoWindow >= plateau ? renoWindow : renoWindow * 100 / 53
    if renoBytes >= needed, needed > 0 {
      renoBytes -= needed
      renoWindow += packetSize
    }
  }

  /// §4.6, §4.7: a window that is smaller than at the last loss makes room for others faster.
  mutating func reduce(now: Instant) {
    plateau = window < plateau ? window * 17 / 20 : window
    slowStartThreshold = max(window * 7 / 10, CongestionController.minimumPackets * packetSize)
    window = slowStartThreshold
    epochStart = nil
  }

  /// §4.8.
  mutating func timedOut() {
    plateau = window
    slowStartThreshold = max(window * 7 / 10, CongestionController.minimumPackets * packetSize)
    window = packetSize
    epochStart = nil
  }

  mutating func resumes(after idleTime: Interval, timeout: Interval) {
    window = CongestionController.decayed(window, idleTime, timeout, packetSize)
    epochStart = nil
  }

  /// The integer cube root, by halving.
  static func cubeRoot(_ value: Int64) -> Int64 {
    guard value > 0 else { return 0 }
    var low: Int64 = 0
    var high: Int64 = 2_097_151  // its cube is below 2^63
    while low < high {
      let middle = (low + high + 1) / 2
      if middle * middle * middle <= value { low = middle } else { high = middle - 1 }
    }
    return low
  }
}
