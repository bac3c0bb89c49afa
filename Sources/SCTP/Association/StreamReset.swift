// StreamReset.swift — the state of stream resets in both directions (RFC 6525).
//
// One request of ours is outstanding at a time (§5.1.1); streams that wait for the next one are held back until what
// was sent on them is acknowledged (RFC 8831 §6.7).

import Wire

struct StreamReset {
  struct Request {
    var parameter: OutgoingResetRequest
    var timer: RetransmitTimer
    var isDue: Bool
    /// The peer has answered "in progress": when asked again, it is under a new number. Only then: a number that is
    /// taken and never sent would leave a hole that the peer waits at for ever.
    var isRenumbered = false
  }

  // What we send.
  var nextNumber: RequestNumber
  /// Streams that wait for a request; a stream waits once.
  var waiting: [UInt16] = []
  var request: Request?

  // What the peer sends.
  var expectedNumber: RequestNumber
  /// The answers to the last requests, for when they are repeated (§5.2.1).
  private var answers: [(number: RequestNumber, result: ReconfigResult)] = []
  /// A request that waits for data on its way (§5.2.2 E2).
  var deferred: OutgoingResetRequest?
  /// A deferred request that was performed since: an old implementation asks again under a new number.
  var performedAfterDeferral: OutgoingResetRequest?

  /// Streams in one request: small beside a packet, and less than what any known peer refuses.
  static let maximumStreams = 128

  /// A chunk carries two requests at most (§3.1), and is repeated whole.
  private static let maximumAnswers = 2

  /// What was answered to a request that has been seen before.
  func answer(to number: RequestNumber) -> ReconfigResult? { answers.first { $0.number == number }?.result }

  mutating func remember(_ result: ReconfigResult, for number: RequestNumber) {
    if let known = answers.firstIndex(where: { $0.number == number }) {
      answers[known].result = result
      return
    }
    if answers.count == Self.maximumAnswers { answers.removeFirst() }
    answers.append((number, result))
  }

  init(localInitialTSN: TSN, peerInitialTSN: TSN) {
    nextNumber = RequestNumber(rawValue: localInitialTSN.rawValue)
    expectedNumber = RequestNumber(rawValue: peerInitialTSN.rawValue)
  }
}
