// StreamTable.swift — one small value for each of up to 65,536 streams, in pages that are made when first written.
//
// Reading costs two loads and no hashing; a table of which every stream is used costs 65,536 values and no more, so
// that a peer that touches all of them cannot make it grow further.

struct StreamTable<Entry> {
  private let initial: Entry
  /// For each page of streams where its entries begin, or -1.
  private var pages: [Int32] = []
  private var entries: [Entry] = []

  private static var pageSize: Int { 32 }

  /// - Parameter initial: what a stream has that was never written.
  init(initial: Entry) { self.initial = initial }

  @inline(__always)
  subscript(stream: UInt16) -> Entry {
    get {
      let page = Int(stream) / Self.pageSize
      guard page < pages.count, pages[page] >= 0 else { return initial }
      return entries[Int(pages[page]) + Int(stream) % Self.pageSize]
    }
    _modify {
      let page = Int(stream) / Self.pageSize
      if page >= pages.count || pages[page] < 0 { makePage(page) }
      yield &entries[Int(pages[page]) + Int(stream) % Self.pageSize]
    }
  }

  /// Every entry of every page that exists, with its stream.
  mutating func updateAll(_ body: (UInt16, inout Entry) -> Void) {
    for page in pages.indices where pages[page] >= 0 {
      for offset in 0..<Self.pageSize {
        body(UInt16(page * Self.pageSize + offset), &entries[Int(pages[page]) + offset])
      }
    }
  }

  mutating func removeAll() {
    pages.removeAll()
    entries.removeAll()
  }

  @inline(never)
  private mutating func makePage(_ page: Int) {
    while pages.count <= page { pages.append(-1) }
    pages[page] = Int32(entries.count)
    entries.append(contentsOf: repeatElement(initial, count: Self.pageSize))
  }
}
