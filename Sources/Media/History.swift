// History.swift — what one stream has sent, kept for a while to be sent again (RFC 4585 §6.2.1).
//
// Kept are the parts that a packet was written from, not its bytes: the payload is the application's own array, and
// writing the same parts again gives the same bytes. They must be the same: SRTP would otherwise protect two packets
// with one number (RFC 3711 §9.1). That includes the transport-wide sequence number; only a packet that goes on the
// retransmission stream, under a number of its own, gets a new one.
//
// Invariants: `byteCount` is the sum over the slots; `order` names each occupied slot, oldest first, and is no longer than
// the bound on packets.

internal import DequeModule
import RTP
import Wire

/// A packet as it left.
struct SentPacket {
  var packet: OutgoingRTP
  /// Its number on the wire, which differs from the application's once a source was renumbered.
  var sequenceNumber: UInt16
  var carriesMid: Bool
  var transportSequence: UInt16?
  var absoluteSendTime: AbsoluteSendTime?
  var byteCount: Int
  var sentAt: Instant
  var lastSentAt: Instant
  /// Waits to be sent again.
  var isQueued = false
}

struct History {
  private let limits: MediaLimits
  private var slots: [SentPacket?] = []
  private var order = Deque<UInt16>()
  private(set) var byteCount = 0
  private(set) var count = 0

  init(limits: MediaLimits) { self.limits = limits }

  mutating func insert(_ sent: SentPacket, now: Instant) {
    removeExpired(now: now)
    while order.count >= capacity { removeOldest() }
    while count > 0, byteCount + sent.byteCount > limits.maximumHistoryBytes { removeOldest() }
    while slots.isEmpty || (slots[slot(of: sent.sequenceNumber)] != nil && slots.count < capacity) { grow() }
    remove(at: slot(of: sent.sequenceNumber))
    slots[slot(of: sent.sequenceNumber)] = sent
    order.append(sent.sequenceNumber)
    byteCount += sent.byteCount
    count += 1
  }

  func contains(_ sequenceNumber: UInt16) -> Bool {
    !slots.isEmpty && slots[slot(of: sequenceNumber)]?.sequenceNumber == sequenceNumber
  }

  /// The packet with this number, when it is still kept, to be read and changed in place.
  mutating func withPacket<Result>(_ sequenceNumber: UInt16, _ body: (inout SentPacket) -> Result) -> Result? {
    guard contains(sequenceNumber) else { return nil }
    return body(&slots[slot(of: sequenceNumber)]!)
  }

  mutating func removeExpired(now: Instant) {
    while let oldest = order.first {
      if let sent = slots[slot(of: oldest)], sent.sequenceNumber == oldest {
        guard now - sent.sentAt > limits.historyAge else { return }
      }
      removeOldest()
    }
  }

  private var capacity: Int { max(1, limits.maximumHistoryPackets) }

  private mutating func removeOldest() {
    guard let oldest = order.popFirst(), contains(oldest) else { return }
    remove(at: slot(of: oldest))
  }

  private mutating func remove(at slot: Int) {
    guard let sent = slots[slot] else { return }
    byteCount -= sent.byteCount
    count -= 1
    slots[slot] = nil
  }

  private func slot(of sequenceNumber: UInt16) -> Int { Int(sequenceNumber) & (slots.count - 1) }

  /// Doubling keeps apart what was apart: numbers that differ modulo the old size differ modulo the new one.
  private mutating func grow() {
    var larger = [SentPacket?](repeating: nil, count: max(Self.smallest, slots.count * 2))
    for index in slots.indices {
      guard let sent = slots[index] else { continue }
      larger[Int(sent.sequenceNumber) & (larger.count - 1)] = sent
    }
    slots = larger
  }

  private static let smallest = 64
}
