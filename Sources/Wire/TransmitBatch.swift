// TransmitBatch.swift — datagrams on their way out, written in place into one buffer that the event loop owns.
//
// Datagrams lie one after the other without gaps, so that a run of equal sizes on one route is one range of memory:
// that is what UDP_SEGMENT wants.

/// A bounded batch of datagrams, each with the route it leaves on. Sendable, because it is the only owner of its memory:
/// an actor on the event loop takes it through its synchronous door.
@safe
public struct TransmitBatch: ~Copyable, @unchecked Sendable {
  public struct Datagram: Sendable {
    public var range: Range<Int>
    public var route: Route
  }

  public private(set) var datagrams: [Datagram] = []
  @usableFromInline var storage: UnsafeMutableRawBufferPointer
  @usableFromInline var used = 0

  /// - Parameter capacity: bytes the batch can hold.
  public init(capacity: Int) {
    unsafe storage = .allocate(byteCount: capacity, alignment: 64)
    datagrams.reserveCapacity(capacity / 512)
  }

  deinit { unsafe storage.deallocate() }

  @inlinable public var isEmpty: Bool { used == 0 }
  public var byteCount: Int { used }
  @inlinable public func hasRoom(for byteCount: Int) -> Bool { unsafe storage.count - used >= byteCount }

  /// Lets `body` write one datagram of at most `maximum` bytes; it names the route, or returns nil to write nothing.
  ///
  /// - Returns: whether a datagram was added.
  @inlinable
  public mutating func append<Failure: Error>(
    maximum: Int, _ body: (inout OutputRawSpan) throws(Failure) -> Route?
  ) throws(Failure) -> Bool {
    precondition(hasRoom(for: maximum), "ask hasRoom(for:) first")
    let free = unsafe UnsafeMutableRawBufferPointer(rebasing: storage[used..<(used + maximum)])
    var out = unsafe OutputRawSpan(buffer: free, initializedCount: 0)
    let route = try body(&out)
    let count = unsafe out.finalize(for: free)
    guard let route, count > 0 else { return false }
    record(count: count, route: route)
    return true
  }

  @usableFromInline
  mutating func record(count: Int, route: Route) {
    datagrams.append(Datagram(range: used..<(used + count), route: route))
    used += count
  }

  @_lifetime(borrow self)
  public func bytes(of range: Range<Int>) -> RawSpan {
    let slice = unsafe UnsafeRawBufferPointer(rebasing: storage[range])
    return unsafe _overrideLifetime(slice.bytes, borrowing: self)
  }

  public mutating func removeAll() {
    datagrams.removeAll(keepingCapacity: true)
    used = 0
  }
}
