// Ring.swift — a queue whose elements keep their number: element n stays element n while others come and go at the ends.
//
// What is outstanding is found by its distance from the oldest, without searching; and an element is read and changed
// where it lies, so that a payload inside it is neither copied nor retained.

struct Ring<Element> {
  private var storage: [Element]
  private var mask: Int
  /// What a free place holds.
  private let vacant: Element
  /// The number of the oldest element.
  private(set) var first = 0
  /// The number that the next element gets.
  private(set) var end = 0

  /// - Parameter vacant: a value that owns nothing.
  init(vacant: Element, minimumCapacity: Int = 16) {
    self.vacant = vacant
    var capacity = 1
    while capacity < minimumCapacity { capacity *= 2 }
    storage = [Element](repeating: vacant, count: capacity)
    mask = capacity - 1
  }

  @inline(__always) var count: Int { end - first }
  @inline(__always) var isEmpty: Bool { end == first }

  @inline(__always)
  subscript(number: Int) -> Element {
    _read {
      assert(number >= first && number < end, "only queued elements have a number")
      yield storage[number & mask]
    }
    _modify {
      assert(number >= first && number < end, "only queued elements have a number")
      yield &storage[number & mask]
    }
  }

  mutating func append(_ element: consuming Element) {
    if count == storage.count { grow() }
    storage[end & mask] = element
    end += 1
  }

  mutating func removeFirst() {
    precondition(first < end, "the caller asks isEmpty first")
    storage[first & mask] = vacant
    first += 1
  }

  mutating func removeAll() {
    while !isEmpty { removeFirst() }
  }

  private mutating func grow() {
    var larger = [Element](repeating: vacant, count: storage.count * 2)
    let largerMask = larger.count - 1
    for number in first..<end { swap(&larger[number & largerMask], &storage[number & mask]) }
    storage = larger
    mask = largerMask
  }
}
