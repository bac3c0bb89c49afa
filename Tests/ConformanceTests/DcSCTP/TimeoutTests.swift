// TimeoutTests.swift — dcSCTP's scenarios of the retransmission timeout (RFC 9260 §6.3.1) and of timers as such.

import SCTP
import SCTPTestSupport
import Testing
import Wire

@Suite("dcSCTP retransmission timeout") struct RetransmissionTimeoutTests {
  private static let configuration = SCTPConfiguration.plain {
    $0.initialRTO = .milliseconds(200)
    $0.minimumRTO = .milliseconds(120)
    $0.maximumRTO = .milliseconds(800)
    $0.maximumBackoff = .milliseconds(3_000)
  }

  private func after(_ samples: [Int64]) -> RoundTripEstimator {
    var estimator = RoundTripEstimator(Self.configuration)
    for sample in samples { estimator.sample(.milliseconds(sample)) }
    return estimator
  }

  @Test("before anything is measured it is RTO.Initial")
  func initial() {
    let estimator = after([])
    #expect(estimator.timeout == .milliseconds(200) && estimator.smoothed == nil)
  }

  @Test("the first measurement: R + 4 · R/2")
  func first() {
    #expect(after([124]).timeout == .milliseconds(372) && after([124]).smoothed == .milliseconds(124))
  }

  @Test("it never falls below RTO.Min, nor rises above RTO.Max")
  func bounds() {
    #expect(after([1, 1, 1, 1, 1, 1, 1, 1]).timeout == .milliseconds(120))
    #expect(after([700, 100, 700, 100]).timeout <= .milliseconds(800))
    #expect(after([5_000]).timeout == .milliseconds(800))
  }

  @Test("a round trip that is negative, nothing, or longer than a minute teaches nothing")
  func implausible() {
    for sample in [-1, 0, -1_000_000, 61_000, 10_000_000] as [Int64] {
      #expect(after([124, sample]).timeout == after([124]).timeout)
      #expect(after([sample]).timeout == after([]).timeout)
    }
  }

  @Test("a stable path brings it down towards its floor, always above the round trip")
  func stable() {
    var previous = Interval.seconds(10)
    for count in 1...30 {
      let estimator = after([Int64](repeating: 124, count: count))
      #expect(estimator.timeout <= previous && estimator.timeout > .milliseconds(124))
      previous = estimator.timeout
    }
    #expect(previous < .milliseconds(140))
  }

  @Test("a path that jitters keeps it above the round trip, every time", arguments: [1, 2, 3] as [UInt64])
  func jittery(seed: UInt64) {
    var dice = RandomSource.seeded(state: seed)
    var estimator = RoundTripEstimator(Self.configuration)
    for _ in 0..<200 {
      let sample = Int64(100 + dice.next() % 100)
      estimator.sample(.milliseconds(sample))
      #expect(estimator.timeout > .milliseconds(sample))
    }
  }

  @Test("a round trip that grows or shrinks for good is followed")
  func follows() {
    #expect(after([Int64](repeating: 100, count: 20) + [Int64](repeating: 400, count: 40)).timeout > .milliseconds(400))
    #expect(after([Int64](repeating: 400, count: 20) + [Int64](repeating: 30, count: 60)).timeout < .milliseconds(200))
  }

  @Test("backoff doubles up to its ceiling, however often; progress ends it")
  func backoff() {
    var estimator = after([])
    var seen: [Int64] = []
    for _ in 0..<6 {
      seen.append(estimator.timeout.nanoseconds / 1_000_000)
      estimator.backOff()
    }
    #expect(seen == [200, 400, 800, 1_600, 3_000, 3_000])
    for _ in 0..<100_000 { estimator.backOff() }
    #expect(estimator.timeout == .milliseconds(3_000))
    estimator.noteProgress()
    #expect(estimator.timeout == .milliseconds(200))
  }
}

@Suite("dcSCTP timers") struct TimerTests {
  private let start = Instant(nanoseconds: 5_000_000_000)

  private func timer(_ milliseconds: Int64 = 500, ceiling: Int64 = 3_000) -> RetransmitTimer {
    RetransmitTimer(initial: .milliseconds(milliseconds), ceiling: .milliseconds(ceiling))
  }

  @Test("expires once for each deadline, and doubles up to the ceiling without drift")
  func schedule() {
    var timer = timer()
    timer.start(now: start)
    var at = start
    for step in [500, 1_000, 2_000, 3_000, 3_000] as [Int64] {
      #expect(timer.deadline == at + .milliseconds(step))
      at = at + .milliseconds(step)
      let early = timer.expire(now: at + .milliseconds(-1))
      // A little late: the next deadline counts from when it was due.
      let due = timer.expire(now: at + .milliseconds(7))
      let twice = timer.expire(now: at + .milliseconds(7))
      #expect(!early && due && !twice)
    }
  }

  @Test("a wake-up that is very late yields one expiry, not all that were missed")
  func late() {
    var timer = timer()
    timer.start(now: start)
    let hour = start + .seconds(3_600)
    let first = timer.expire(now: hour)
    let second = timer.expire(now: hour)
    #expect(first && !second)
    #expect(timer.deadline.map { $0 > hour && $0 <= hour + .seconds(3) } == true)
  }

  @Test("a timer that is stopped does not expire; started again it begins at its first interval")
  func stopAndStart() {
    var timer = timer()
    timer.start(now: start)
    _ = timer.expire(now: start + .milliseconds(500))
    timer.stop()
    let stopped = timer.expire(now: start + .seconds(100))
    #expect(!stopped && !timer.isRunning && timer.deadline == nil)
    timer.start(now: start)
    #expect(timer.deadline == start + .milliseconds(500) && timer.expirations == 0)
    timer.start(now: start, initial: .milliseconds(70))
    #expect(timer.deadline == start + .milliseconds(70))
  }

  @Test("ten thousand expiries neither overflow nor stand still")
  func manyExpiries() {
    var timer = RetransmitTimer(initial: .seconds(60), ceiling: .seconds(10_000))
    timer.start(now: start)
    var previous = start
    for _ in 0..<10_000 {
      guard let due = timer.deadline else { break }
      #expect(due > previous)
      _ = timer.expire(now: due)
      previous = due
    }
    #expect(timer.expirations == 10_000)
  }
}
