// FragmentRuns.swift — fragments of DATA that have arrived beyond a gap (RFC 9260 §6.9).
//
// The fragments of a message have consecutive TSNs. A run holds some of them in one buffer; the next fragment grows it
// on the right. A run to its right stays what it is when the fragment between has come: both belong to one chain then,
// and are put together once, when the chain is a whole message. So a byte is copied once where it arrives, and once
// more only when its own message had a hole.
//
// A run is found by its first or its last TSN, in a table indexed by TSN, without searching. Entries of the table are
// not erased: one counts only when the run that it names says the same.
//
// Invariants: TSNs of runs lie within half of the table's size of each other's gap (`DataTracker.windowSize` at most);
// `byteCount` is the sum over the runs; every run belongs to one message.

import Wire

struct FragmentRuns {
  private struct Run: Vacatable {
    /// The header of the run's first fragment.
    var header: DataHeader
    var last: TSN
    /// The last fragment ends its message.
    var ends: Bool
    /// Valid in the last run of a chain: its first TSN; and in the first run: its last TSN.
    var chainFirst: TSN
    var chainLast: TSN
    var bytes: [UInt8]
    var isVacant: Bool

    var first: TSN { header.tsn }
    var begins: Bool { header.flags.contains(.begin) }

    static var vacant: Run {
      let tsn = TSN(rawValue: 0)
      let header = DataHeader(flags: [], tsn: tsn, stream: 0, ssn: SSN(rawValue: 0), payloadProtocol: 0)
      return Run(header: header, last: tsn, ends: false, chainFirst: tsn, chainLast: tsn, bytes: [], isVacant: true)
    }
  }

  /// A message that is whole, or fragments that have come to the cumulative TSN.
  struct Taken {
    var header: DataHeader
    var last: TSN
    var ends: Bool
    var bytes: [UInt8]
  }

  private var runs = SlotPool<Run>()
  /// The run that began or ended at a TSN, by the TSN's low bits; empty until the first run.
  private var places: [Int32] = []
  private(set) var byteCount = 0

  var count: Int { runs.count }
  var isEmpty: Bool { runs.isEmpty }

  private static var smallestTable: Int { 256 }

  // MARK: In

  /// Takes a fragment that is not a whole message.
  ///
  /// - Parameter base: the cumulative TSN, which is before the fragment and every run.
  /// - Returns: the message that is whole now, if one is.
  mutating func insert(
    _ header: DataHeader, _ payload: RawSpan, base: TSN, maximumMessageSize: Int
  ) throws(ReassemblyViolation) -> Taken? {
    reserve(distance: Int(header.tsn.distance(from: base)), base: base)
    let left = run(endingAt: header.tsn.reversed(by: 1))
    let right = run(startingAt: header.tsn.advanced(by: 1))
    try check(header, left: left, right: right)

    var chainFirst = header.tsn
    var chainLast = header.tsn
    let place: Int
    if let left, !header.flags.contains(.begin) {
      guard runs[left].bytes.count + payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
      chainFirst = runs[left].chainFirst
      runs[left].bytes.append(bytes: payload)
      runs[left].last = header.tsn
      runs[left].ends = header.flags.contains(.end)
      place = left
    } else {
      guard payload.byteCount <= maximumMessageSize else { throw .messageTooLong }
      place = runs.insert(
        Run(
          header: header, last: header.tsn, ends: header.flags.contains(.end), chainFirst: header.tsn,
          chainLast: header.tsn, bytes: payload.copyBytes(), isVacant: false))
    }
    places[index(header.tsn)] = Int32(place)
    byteCount += payload.byteCount
    if let right, !header.flags.contains(.end) { chainLast = runs[right].chainLast }

    guard let start = run(startingAt: chainFirst), let end = run(endingAt: chainLast) else { return nil }
    runs[start].chainLast = chainLast
    runs[end].chainFirst = chainFirst
    guard runs[start].begins, runs[end].ends else { return nil }
    return try join(start, through: chainLast, maximumMessageSize: maximumMessageSize)
  }

  /// Neighbours by TSN either belong to one message, or one ends and one begins.
  private func check(_ header: DataHeader, left: Int?, right: Int?) throws(ReassemblyViolation) {
    if let left {
      guard runs[left].ends == header.flags.contains(.begin),
        runs[left].ends || header.belongs(to: runs[left].header)
      else { throw .inconsistentFragment }
    }
    if let right {
      guard header.flags.contains(.end) == runs[right].begins,
        runs[right].begins || runs[right].header.belongs(to: header)
      else { throw .inconsistentFragment }
    }
  }

  /// Checks a whole message, which is not held here, against its neighbours.
  func checkWhole(_ header: DataHeader) throws(ReassemblyViolation) {
    guard !isEmpty else { return }
    try check(
      header, left: run(endingAt: header.tsn.reversed(by: 1)), right: run(startingAt: header.tsn.advanced(by: 1)))
  }

  /// Takes out a chain that is a whole message.
  private mutating func join(
    _ start: Int, through last: TSN, maximumMessageSize: Int
  ) throws(ReassemblyViolation) -> Taken {
    var size = 0
    var place: Int? = start
    while let at = place {
      size += runs[at].bytes.count
      place = runs[at].last == last ? nil : run(startingAt: runs[at].last.advanced(by: 1))
    }
    guard size <= maximumMessageSize else { throw .messageTooLong }
    var message = remove(start)
    if message.last != last { message.bytes.reserveCapacity(size) }
    while message.last != last, let next = run(startingAt: message.last.advanced(by: 1)) {
      let more = remove(next)
      message.bytes.append(bytes: more.bytes.rawSpan)
      message.last = more.last
    }
    return Taken(header: message.header, last: last, ends: true, bytes: message.bytes)
  }

  // MARK: Out

  /// Takes out the run that begins at `tsn`, which the cumulative TSN has reached.
  mutating func take(startingAt tsn: TSN) -> Taken? {
    guard let place = run(startingAt: tsn) else { return nil }
    let run = remove(place)
    return Taken(header: run.header, last: run.last, ends: run.ends, bytes: run.bytes)
  }

  /// Lets go of every message of which a part is not after `tsn`: the peer will not complete it.
  mutating func skip(from cumulative: TSN, to tsn: TSN) {
    // The shorter of two ways: along the TSNs, or along the runs.
    let distance = tsn.distance(from: cumulative)
    if distance < UInt32(runs.count) {
      for step in 1...distance { dropMessage(startingAt: cumulative.advanced(by: step)) }
    } else {
      for place in runs.places where !runs[place].isVacant && !runs[place].first.isAfter(tsn) {
        dropMessage(startingAt: runs[place].first)
        if runs.isEmpty { return }
      }
    }
  }

  /// Drops a run, and what follows it in its message.
  private mutating func dropMessage(startingAt tsn: TSN) {
    var next = run(startingAt: tsn)
    while let place = next {
      let dropped = remove(place)
      next = dropped.ends ? nil : run(startingAt: dropped.last.advanced(by: 1))
    }
  }

  mutating func removeAll() { self = FragmentRuns() }

  private mutating func remove(_ place: Int) -> Run {
    byteCount -= runs[place].bytes.count
    let run = runs.remove(place)
    if runs.isEmpty, places.count > Self.smallestTable { places = [] }
    return run
  }

  // MARK: Finding

  private func index(_ tsn: TSN) -> Int { Int(tsn.rawValue) & (places.count - 1) }

  private func run(startingAt tsn: TSN) -> Int? {
    guard !isEmpty else { return nil }
    let place = Int(places[index(tsn)])
    guard runs.places.contains(place), !runs[place].isVacant, runs[place].first == tsn else { return nil }
    return place
  }

  private func run(endingAt tsn: TSN) -> Int? {
    guard !isEmpty else { return nil }
    let place = Int(places[index(tsn)])
    guard runs.places.contains(place), !runs[place].isVacant, runs[place].last == tsn else { return nil }
    return place
  }

  /// Makes the table as wide as the TSNs between the cumulative one and the fragment to come.
  private mutating func reserve(distance: Int, base: TSN) {
    guard distance >= places.count else { return }
    var size = max(places.count, Self.smallestTable)
    while size <= distance { size *= 2 }
    places = [Int32](repeating: -1, count: size)
    for place in runs.places where !runs[place].isVacant {
      places[index(runs[place].first)] = Int32(place)
      places[index(runs[place].last)] = Int32(place)
    }
  }

  /// What `byteCount` must be; for tests.
  func countBytes() -> Int { runs.places.reduce(0) { $0 + runs[$1].bytes.count } }
}

extension DataHeader {
  /// Whether this fragment can be of the same message as one before it.
  func belongs(to other: DataHeader) -> Bool {
    let isUnordered = flags.contains(.unordered)
    return stream == other.stream && isUnordered == other.flags.contains(.unordered)
      && (isUnordered || ssn == other.ssn)
  }
}
