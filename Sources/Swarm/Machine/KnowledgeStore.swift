// KnowledgeStore.swift — replicated state, last writer wins (WIRE §5.3, §10.5).
//
// A write carries the number of writes its id has seen. The higher number wins; between equals the greater peer id in
// the order of UTF-16 code units, which is how a browser compares strings. So peers that have seen the same writes hold
// the same entries, in whatever order the writes came.

package import Signaling

package struct KnowledgeStore: Sendable {
  package private(set) var entries: [String: KnowledgeEntry] = [:]
  /// The JSON text of all entries together, in bytes.
  package private(set) var byteCount = 0
  private var sizes: [String: Int] = [:]

  package init() {}

  package enum Merge: Equatable, Sendable { case stored, older, full }

  /// The entry that a local write of `id` makes. Its clock counts on from what is held and not from the Lamport clock,
  /// or pages, whose clock is a count of writes, could never win again.
  package func nextEntry(id: String, value: JSONValue, peerID: PeerID, wallMilliseconds: Int64) -> KnowledgeEntry {
    let held = entries[id]?.clock ?? 0
    return KnowledgeEntry(
      id: id, value: value, clock: min(held + 1, SwarmLimits.maximumSafeInteger), peerID: peerID,
      updatedAt: wallMilliseconds)
  }

  /// Keeps `entry` if it wins; `size` is the length of its JSON text.
  package mutating func merge(_ entry: KnowledgeEntry, size: Int) -> Merge {
    let held = entries[entry.id]
    if let held, !Self.wins(entry, over: held) { return .older }
    let grown = byteCount - (sizes[entry.id] ?? 0) + size
    guard grown <= SwarmLimits.maximumKnowledgeBytes else { return .full }
    guard held != nil || entries.count < SwarmLimits.maximumKnowledgeEntries else { return .full }
    entries[entry.id] = entry
    sizes[entry.id] = size
    byteCount = grown
    return .stored
  }

  private static func wins(_ entry: KnowledgeEntry, over held: KnowledgeEntry) -> Bool {
    if entry.clock != held.clock { return entry.clock > held.clock }
    return held.peerID.utf16.lexicographicallyPrecedes(entry.peerID.utf16)
  }
}
