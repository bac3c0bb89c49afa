// SlotPool.swift — elements that keep their place while others come and go, so that a place can be noted elsewhere and an
// element be changed where it lies.

protocol Vacatable {
  /// What a free place holds: a value that owns nothing and says that it is vacant.
  static var vacant: Self { get }
  var isVacant: Bool { get }
}

struct SlotPool<Element: Vacatable> {
  private var elements: [Element] = []
  private var free: [Int32] = []

  /// Places that are kept when all are free; more are given back, so that one bad hour is not paid for ever.
  private static var keptPlaces: Int { 64 }

  var count: Int { elements.count - free.count }
  var isEmpty: Bool { elements.count == free.count }
  /// Every place, free ones included.
  var places: Range<Int> { 0..<elements.count }

  @inline(__always)
  subscript(place: Int) -> Element {
    _read { yield elements[place] }
    _modify { yield &elements[place] }
  }

  mutating func insert(_ element: consuming Element) -> Int {
    guard let place = free.popLast() else {
      elements.append(element)
      return elements.count - 1
    }
    elements[Int(place)] = element
    return Int(place)
  }

  mutating func remove(_ place: Int) -> Element {
    var element = Element.vacant
    swap(&element, &elements[place])
    free.append(Int32(place))
    if isEmpty, elements.count > Self.keptPlaces { self = SlotPool() }
    return element
  }

  mutating func removeAll() { self = SlotPool() }
}
