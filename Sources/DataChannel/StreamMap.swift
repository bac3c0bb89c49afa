// StreamMap.swift — from stream id to channel slot in two array reads.
//
// A flat array would let a single OPEN on stream 65,534 claim 128 KiB, a dictionary hashes on every message. So the
// 65,536 ids are cut into pages of 256, made when first written: a channel costs at most one page of 512 bytes.

struct StreamMap {
  /// Where each page of ids begins in `slots`, counted in pages; `absent` while nothing on it was ever written.
  private var pages: [UInt16] = []
  /// Slot numbers, `absent` for streams without a channel.
  private var slots: [UInt16] = []

  /// No slot may have this number.
  static let absent = UInt16.max
  private static let pageSize = 256

  subscript(stream: UInt16) -> Int? {
    get {
      let page = Int(stream >> 8)
      guard page < pages.count, pages[page] != Self.absent else { return nil }
      let slot = slots[Int(pages[page]) * Self.pageSize + Int(stream & 0xff)]
      return slot == Self.absent ? nil : Int(slot)
    }
    set {
      let page = Int(stream >> 8)
      if page >= pages.count {
        pages += Array(repeating: Self.absent, count: page + 1 - pages.count)
      }
      if pages[page] == Self.absent {
        pages[page] = UInt16(slots.count / Self.pageSize)
        slots += Array(repeating: Self.absent, count: Self.pageSize)
      }
      slots[Int(pages[page]) * Self.pageSize + Int(stream & 0xff)] = newValue.map { UInt16($0) } ?? Self.absent
    }
  }

  mutating func removeAll() {
    pages = []
    slots = []
  }
}
