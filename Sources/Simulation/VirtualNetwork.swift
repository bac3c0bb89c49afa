// VirtualNetwork.swift — a seeded network under a virtual clock: delay, jitter, loss, duplication, reordering,
// corruption. The same seed gives the same run, to the byte.

package import Wire

/// What a path does to datagrams. Chances are per thousand datagrams.
package struct PathConditions: Sendable {
  package var delay = Interval.milliseconds(10)
  /// Added to the delay, uniformly between zero and this.
  package var jitter = Interval.zero
  package var lossPerMille = 0
  package var duplicationPerMille = 0
  /// These datagrams are held back by `reorderDelay` more, so that later ones overtake them.
  package var reorderingPerMille = 0
  package var reorderDelay = Interval.milliseconds(15)
  /// Longer datagrams are lost: the MTU of a path that cuts nothing, without the headers of IP and UDP.
  package var maximumDatagramSize = Int.max
  /// One bit of these datagrams is flipped.
  package var corruptionPerMille = 0
  /// How fast the link to each address is; 0: as fast as one likes.
  package var bytesPerSecond = 0
  /// What finds more than this before it in the queue of a link with a speed is lost.
  package var queueBytes = 65_536

  package init() {}
}

/// Datagrams on their way between addresses.
package struct VirtualNetwork {
  package struct Datagram: Sendable {
    package var from: SocketAddress
    package var to: SocketAddress
    package var bytes: [UInt8]
  }

  package struct Counters: Sendable {
    package var sent = 0
    package var lost = 0
    package var overflowed = 0
    package var duplicated = 0
    package var reordered = 0
    package var corrupted = 0
    package var delivered = 0
  }

  private struct InFlight {
    var arrival: Instant
    /// Breaks ties, so that equal delays keep their order.
    var sequence: UInt64
    var datagram: Datagram

    func isBefore(_ other: InFlight) -> Bool { (arrival, sequence) < (other.arrival, other.sequence) }
  }

  package var conditions: PathConditions
  package private(set) var counters = Counters()
  /// Shown every datagram that is sent, whatever becomes of it.
  package var observer: ((Datagram) -> Void)?
  private var random: RandomSource
  /// A binary heap, the next arrival first.
  private var inFlight: [InFlight] = []
  private var nextSequence: UInt64 = 0
  /// When the link to an address has sent all that is queued.
  private var linkFreeAt: [SocketAddress: Instant] = [:]

  package init(conditions: PathConditions, seed: UInt64) {
    self.conditions = conditions
    random = .seeded(state: seed)
  }

  package mutating func send(_ datagram: Datagram, now: Instant) {
    counters.sent += 1
    observer?(datagram)
    if datagram.bytes.count > conditions.maximumDatagramSize || happens(conditions.lossPerMille) {
      counters.lost += 1
      return
    }
    if happens(conditions.duplicationPerMille) {
      counters.duplicated += 1
      schedule(datagram, now: now)
    }
    schedule(datagram, now: now)
  }

  /// How many datagrams are on their way.
  package var inFlightCount: Int { inFlight.count }

  package var nextArrival: Instant? { inFlight.first?.arrival }

  /// The next datagram that has arrived by `now`.
  package mutating func receive(now: Instant) -> Datagram? {
    guard let first = inFlight.first, first.arrival <= now else { return nil }
    counters.delivered += 1
    let last = inFlight.removeLast()
    if !inFlight.isEmpty {
      inFlight[0] = last
      siftDown()
    }
    return first.datagram
  }

  private mutating func schedule(_ datagram: Datagram, now: Instant) {
    var datagram = datagram
    guard let departure = departure(byteCount: datagram.bytes.count, to: datagram.to, now: now) else {
      counters.overflowed += 1
      return
    }
    var arrival = departure + conditions.delay
    if conditions.jitter > .zero {
      arrival = arrival + Interval(nanoseconds: Int64.random(in: 0...conditions.jitter.nanoseconds, using: &random))
    }
    if happens(conditions.reorderingPerMille) {
      counters.reordered += 1
      arrival = arrival + conditions.reorderDelay
    }
    if happens(conditions.corruptionPerMille), !datagram.bytes.isEmpty {
      counters.corrupted += 1
      let bit = Int.random(in: 0..<(datagram.bytes.count * 8), using: &random)
      datagram.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    }
    nextSequence += 1
    inFlight.append(InFlight(arrival: arrival, sequence: nextSequence, datagram: datagram))
    siftUp()
  }

  /// When the link has sent the datagram; nil when its queue is full.
  private mutating func departure(byteCount: Int, to address: SocketAddress, now: Instant) -> Instant? {
    guard conditions.bytesPerSecond > 0 else { return now }
    let nanosecondsPerByte = 1_000_000_000 / Int64(conditions.bytesPerSecond)
    let free = max(linkFreeAt[address] ?? now, now)
    guard (free - now).nanoseconds <= Int64(conditions.queueBytes) * nanosecondsPerByte else { return nil }
    let departure = free + Interval(nanoseconds: Int64(byteCount) * nanosecondsPerByte)
    linkFreeAt[address] = departure
    return departure
  }

  private mutating func happens(_ perMille: Int) -> Bool {
    perMille > 0 && Int.random(in: 0..<1_000, using: &random) < perMille
  }

  private mutating func siftUp() {
    var child = inFlight.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard inFlight[child].isBefore(inFlight[parent]) else { return }
      inFlight.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func siftDown() {
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < inFlight.count && inFlight[child].isBefore(inFlight[least]) {
        least = child
      }
      guard least != parent else { return }
      inFlight.swapAt(parent, least)
      parent = least
    }
  }
}
