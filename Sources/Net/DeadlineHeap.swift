// DeadlineHeap.swift — who is due first, among thousands.
//
// A four-ary heap of (deadline, slot) with an index from slot to place, so that a participant's deadline is changed in
// place: O(log n), no allocation once it has grown, no stale entries.
//
// Invariants: every entry's deadline is ≥ its parent's; `places[entries[i].slot] == i`; a slot occurs at most once.

import Wire

struct DeadlineHeap {
  private struct Entry {
    var deadline: Instant
    var slot: Int
  }
  private var entries: [Entry] = []
  /// The place of each slot in `entries`; -1: the slot has no deadline.
  private var places: [Int] = []

  var earliest: Instant? { entries.first?.deadline }
  var count: Int { entries.count }

  /// Sets, moves or (with nil) removes the deadline of `slot`.
  mutating func update(_ slot: Int, to deadline: Instant?) {
    while places.count <= slot { places.append(Self.absent) }
    let place = places[slot]
    guard let deadline else {
      if place != Self.absent { remove(at: place) }
      return
    }
    if place == Self.absent {
      entries.append(Entry(deadline: deadline, slot: slot))
      places[slot] = entries.count - 1
      siftUp(from: entries.count - 1)
    } else {
      let old = entries[place].deadline
      guard old != deadline else { return }
      entries[place].deadline = deadline
      if deadline < old { siftUp(from: place) } else { siftDown(from: place) }
    }
  }

  /// Removes and returns the slot with the earliest deadline, if that is not after `now`.
  mutating func popDue(now: Instant) -> Int? {
    guard let first = entries.first, first.deadline <= now else { return nil }
    remove(at: 0)
    return first.slot
  }

  private mutating func remove(at place: Int) {
    let removed = entries[place]
    let last = entries.removeLast()
    places[removed.slot] = Self.absent
    guard place < entries.count else { return }
    entries[place] = last
    places[last.slot] = place
    if last.deadline < removed.deadline { siftUp(from: place) } else { siftDown(from: place) }
  }

  private mutating func siftUp(from start: Int) {
    var place = start
    let moving = entries[place]
    while place > 0 {
      let parent = (place - 1) / Self.arity
      guard moving.deadline < entries[parent].deadline else { break }
      set(entries[parent], at: place)
      place = parent
    }
    set(moving, at: place)
  }

  private mutating func siftDown(from start: Int) {
    var place = start
    let moving = entries[place]
    while true {
      let firstChild = place * Self.arity + 1
      guard firstChild < entries.count else { break }
      var least = firstChild
      for child in (firstChild + 1)..<max(firstChild + 1, min(firstChild + Self.arity, entries.count))
      where entries[child].deadline < entries[least].deadline {
        least = child
      }
      guard entries[least].deadline < moving.deadline else { break }
      set(entries[least], at: place)
      place = least
    }
    set(moving, at: place)
  }

  private mutating func set(_ entry: Entry, at place: Int) {
    entries[place] = entry
    places[entry.slot] = place
  }

  private static let absent = -1
  private static let arity = 4  // half the levels of a binary heap, and four children lie in one cache line
}
