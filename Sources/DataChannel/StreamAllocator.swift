// StreamAllocator.swift — which stream id our next channel gets.
//
// An id that was freed rests: the peer may not have heard yet that both sides are done with it, and would take our OPEN
// for one on a live channel. So fresh ids go first until enough are resting, then the one that has rested longest.

internal import DequeModule

struct StreamAllocator {
  private let step = 2
  /// The lowest id of our parity that was never given out; what lies above it is fresh.
  private var fresh: Int
  private let limit: Int
  private var resting = Deque<UInt16>()

  /// - Parameter streams: how many streams the association has; id 65,535 is never used (RFC 8832 §6).
  init(parity: StreamParity, streams: Int) {
    fresh = Int(parity.rawValue)
    limit = min(streams, Int(UInt16.max))
  }

  /// The next id that `isTaken` does not claim: negotiated channels take ids of either parity.
  mutating func next(isTaken: (UInt16) -> Bool) -> UInt16? {
    if resting.count < Self.restingCount {
      while fresh < limit {
        let id = UInt16(fresh)
        fresh += step
        if !isTaken(id) { return id }
      }
    }
    return resting.popFirst()
  }

  /// An id of our parity is free again. Those that were never given out need no rest.
  mutating func release(_ id: UInt16) {
    if Int(id) < fresh { resting.append(id) }
  }

  /// A negotiated channel takes an id that may be resting.
  mutating func reserve(_ id: UInt16) {
    if let index = resting.firstIndex(of: id) { resting.remove(at: index) }
  }

  /// How many ids rest before one is used again: enough for many round trips of closing and opening, and few enough
  /// that a long-lived connection stays within its first pages of ids.
  private static let restingCount = 32
}
