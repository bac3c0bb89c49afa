// ReceiveBatch.swift — the datagrams of one receive call, borrowed from the arena they were received into.
//
// The arena is a fixed number of slots, one per message of recvmmsg. With UDP_GRO the kernel joins datagrams of one size
// from one sender into a slot; `forEach` yields them apart again. One arena per event loop: its contents last until the
// loop receives again, which is why the bytes are only lent.

package import Wire
import CPosix
import Glibc

/// Datagrams that arrived at one socket in one call. Owns the arena; made once, filled again and again.
///
/// Sendable, because it is the only owner of its memory and whoever borrows it can only read: an actor on the loop takes
/// it through its synchronous door.
@safe
package struct ReceiveBatch: ~Copyable, @unchecked Sendable {
  /// What one message brought: one datagram, or several of `segmentSize` bytes (the last may be shorter).
  @usableFromInline
  struct Slot {
    @usableFromInline var offset: Int
    @usableFromInline var byteCount: Int
    @usableFromInline var segmentSize: Int
    @usableFromInline var remote: SocketAddress
  }

  /// The socket that the datagrams arrived at.
  package internal(set) var socket = SocketID(rawValue: 0)
  @usableFromInline let bytes: UnsafeMutableRawBufferPointer
  @usableFromInline let slots: UnsafeMutablePointer<Slot>
  @usableFromInline var slotCount = 0

  let slotCapacity: Int
  private let messages: UnsafeMutablePointer<swarm_message>
  private let vectors: UnsafeMutablePointer<iovec>
  private let names: UnsafeMutablePointer<sockaddr_in6>
  private let controls: UnsafeMutablePointer<swarm_control>
  private var preparedCount = 0
  /// What has come of a stream and is not handed over yet; see `+Stream`.
  var stream = 0..<0

  package init(slotCapacity: Int = ReceiveBatch.standardSlotCapacity) {
    self.slotCapacity = slotCapacity
    unsafe bytes = .allocate(
      byteCount: max(slotCapacity * Self.slotSize, Self.streamArenaSize), alignment: 4_096)
    unsafe slots = .allocate(capacity: max(slotCapacity, Self.streamSlotCapacity))
    unsafe messages = .allocate(capacity: slotCapacity)
    unsafe vectors = .allocate(capacity: slotCapacity)
    unsafe names = .allocate(capacity: slotCapacity)
    unsafe controls = .allocate(capacity: slotCapacity)
    unsafe messages.initialize(repeating: swarm_message(), count: slotCapacity)
    unsafe vectors.initialize(repeating: iovec(), count: slotCapacity)
    unsafe names.initialize(repeating: sockaddr_in6(), count: slotCapacity)
    unsafe controls.initialize(repeating: swarm_control(), count: slotCapacity)
    prepare(slotCapacity)
  }

  deinit {
    unsafe bytes.deallocate()
    unsafe slots.deallocate()
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
    unsafe names.deallocate()
    unsafe controls.deallocate()
  }

  package var isEmpty: Bool { slotCount == 0 }

  /// How many datagrams the batch holds.
  package var datagramCount: Int {
    var count = 0
    for index in 0..<slotCount {
      let slot = unsafe slots[index]
      count += (slot.byteCount + slot.segmentSize - 1) / slot.segmentSize
    }
    return count
  }

  package var byteCount: Int {
    var count = 0
    for index in 0..<slotCount { count += unsafe slots[index].byteCount }
    return count
  }

  /// Calls `body` for each datagram in the order of arrival. The span ends with the call.
  @inlinable
  package func forEach<Failure: Error>(
    _ body: (_ datagram: RawSpan, _ route: Route) throws(Failure) -> Void
  ) throws(Failure) {
    for index in 0..<slotCount {
      let slot = unsafe slots[index]
      let route = Route(socket: socket, remote: slot.remote)
      let end = slot.offset + slot.byteCount
      var start = slot.offset
      while start < end {
        let stop = min(start + slot.segmentSize, end)
        let datagram = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<stop])
        try body(unsafe datagram.bytes, route)
        start = stop
      }
    }
  }

  package mutating func removeAll() { slotCount = 0 }

  // MARK: Filling

  /// Replaces the contents by what one recvmmsg on `descriptor` brings.
  ///
  /// - Returns: how many messages came, or the negated errno.
  mutating func fill(from descriptor: Int32, socket: SocketID, dropped: inout UInt64) -> Int32 {
    self.socket = socket
    slotCount = 0
    prepare(preparedCount)
    let count = unsafe swarm_receive_messages(descriptor, messages, UInt32(slotCapacity))
    guard count > 0 else {
      preparedCount = 0
      return count
    }
    preparedCount = Int(count)
    for index in 0..<Int(count) where !record(index) { dropped += 1 }
    return count
  }

  /// Takes message `index` into the slots; false when it is nothing that a protocol could read.
  private mutating func record(_ index: Int) -> Bool {
    let byteCount = Int(unsafe messages[index].byte_count)
    let isTruncated = unsafe messages[index].header.msg_flags & Int32(MSG_TRUNC) != 0
    guard byteCount > 0, byteCount <= Self.slotSize, !isTruncated,
      let remote = unsafe SocketAddress(reading: names + index)
    else { return false }
    let segment = Int(unsafe swarm_message_segment_size(messages + index))
    let slot = Slot(
      offset: index * Self.slotSize, byteCount: byteCount, segmentSize: segment > 0 ? segment : byteCount,
      remote: remote)
    unsafe (slots + slotCount).initialize(to: slot)
    slotCount += 1
    return true
  }

  /// Restores the first `count` messages, which the last call has overwritten.
  private func prepare(_ count: Int) {
    for index in 0..<count {
      guard let base = unsafe bytes.baseAddress else { return }
      unsafe swarm_message_prepare_receive(
        messages + index, vectors + index, base + index * Self.slotSize, Self.slotSize, names + index, controls + index)
    }
  }

  /// The largest UDP payload with or without GRO is below 64 KiB, so no datagram is ever cut.
  static let slotSize = 65_536
  /// 1 MiB, of which only the pages that were received into are ever resident. More slots did not measure faster.
  package static let standardSlotCapacity = 16
}
