// LoopCore+Sources.swift — what on a loop waits for a descriptor or a moment, and is neither a UDP socket nor a
// participant: connections, listeners, the watch over the host's addresses, the patience with a name server.

import Wire

/// Called on the loop's thread only. Whoever adds one removes it: the loop keeps it until then.
protocol LoopSource: AnyObject {
  func handleReady(_ event: Poller.Event, in core: LoopCore)
  /// Its deadline has passed, and is gone.
  func handleTimeout(in core: LoopCore)
}

/// A source's place. The generation keeps an event for one that is gone from the next in its place.
struct SourceID: Hashable {
  var index: Int
  var generation: UInt32

  var token: Poller.Token {
    Poller.Token(rawValue: Poller.Token.sourceBit | UInt64(generation) << 32 | UInt64(UInt32(index)))
  }
}

extension Poller.Token {
  fileprivate static let sourceBit: UInt64 = 1 << 62
  fileprivate static let generationMask: UInt32 = 1 << 30 - 1

  /// Neither a socket nor one of the poller's own, which have the topmost bit.
  var isSource: Bool { rawValue >> 62 == 1 }
  fileprivate var source: SourceID {
    SourceID(
      index: Int(UInt32(truncatingIfNeeded: rawValue)),
      generation: UInt32(truncatingIfNeeded: rawValue >> 32) & Self.generationMask)
  }
}

struct SourceTable {
  fileprivate struct Slot {
    var source: (any LoopSource)?
    var generation: UInt32 = 0
  }
  fileprivate var slots: [Slot] = []
  fileprivate var freeSlots: [Int] = []
  fileprivate(set) var deadlines = DeadlineHeap()

  fileprivate subscript(id: SourceID) -> (any LoopSource)? {
    guard id.index < slots.count, slots[id.index].generation == id.generation else { return nil }
    return slots[id.index].source
  }
}

extension LoopCore {
  func addSource(_ source: any LoopSource) -> SourceID {
    let index: Int
    if let free = sources.freeSlots.popLast() {
      index = free
    } else {
      index = sources.slots.count
      sources.slots.append(SourceTable.Slot())
    }
    sources.slots[index].source = source
    return SourceID(index: index, generation: sources.slots[index].generation)
  }

  /// Its descriptor is to be taken from the poller, or closed, by whoever owns it.
  func removeSource(_ id: SourceID) {
    guard sources[id] != nil else { return }
    sources.deadlines.update(id.index, to: nil)
    let generation = (id.generation + 1) & Poller.Token.generationMask
    sources.slots[id.index] = SourceTable.Slot(source: nil, generation: generation)
    sources.freeSlots.append(id.index)
  }

  func setDeadline(_ deadline: Instant?, of id: SourceID) {
    guard sources[id] != nil else { return }
    sources.deadlines.update(id.index, to: deadline)
  }

  func handleSource(_ event: Poller.Event) {
    sources[event.token.source]?.handleReady(event, in: self)
  }

  /// Calls every source that is due, each at most once.
  func fireSourceTimeouts() {
    for _ in 0..<sources.deadlines.count {
      guard let index = sources.deadlines.popDue(now: now) else { return }
      sources.slots[index].source?.handleTimeout(in: self)
    }
  }

  /// The loop ends: descriptors close with those who own them.
  func removeAllSources() { sources = SourceTable() }
}
