// SendArena.swift — the message headers of one sendmmsg, made once per event loop.
//
// `fill` groups datagrams into messages: a run of datagrams of one size (the last may be shorter) on one route becomes
// one message that the kernel cuts apart again (UDP_SEGMENT), everything else one message each.

import CPosix
import Glibc
import Wire

@safe
package struct SendArena: ~Copyable {
  private let messages: UnsafeMutablePointer<swarm_message>
  private let vectors: UnsafeMutablePointer<iovec>
  private let names: UnsafeMutablePointer<sockaddr_in6>
  private let controls: UnsafeMutablePointer<swarm_control>
  /// The index of the datagram after each message's last.
  private let ends: UnsafeMutablePointer<Int>
  private var count = 0

  package init() {
    unsafe messages = .allocate(capacity: Self.capacity)
    unsafe vectors = .allocate(capacity: Self.capacity)
    unsafe names = .allocate(capacity: Self.capacity)
    unsafe controls = .allocate(capacity: Self.capacity)
    unsafe ends = .allocate(capacity: Self.capacity)
    unsafe messages.initialize(repeating: swarm_message(), count: Self.capacity)
    unsafe vectors.initialize(repeating: iovec(), count: Self.capacity)
    unsafe names.initialize(repeating: sockaddr_in6(), count: Self.capacity)
    unsafe controls.initialize(repeating: swarm_control(), count: Self.capacity)
    unsafe ends.initialize(repeating: 0, count: Self.capacity)
  }

  deinit {
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
    unsafe names.deallocate()
    unsafe controls.deallocate()
    unsafe ends.deallocate()
  }

  /// Prepares messages for as many of `datagrams[range]` as fit into one call.
  ///
  /// - Parameters:
  ///   - base: where the batch's bytes begin.
  ///   - segmentingFrom: datagrams before this index get a message each; `Int.max` turns segmentation off.
  mutating func fill(
    _ datagrams: [TransmitBatch.Datagram], _ range: Range<Int>, base: UnsafeRawPointer, segmentingFrom: Int
  ) {
    count = 0
    var next = range.lowerBound
    while next < range.upperBound, count < Self.capacity {
      let end = next < segmentingFrom ? next + 1 : Self.endOfRun(datagrams, next..<range.upperBound)
      let first = datagrams[next].range
      let bytes = first.lowerBound..<datagrams[end - 1].range.upperBound
      let length = unsafe datagrams[next].route.remote.write(to: names + count)
      // The kernel only reads what it sends; the C structure serves both directions and has no const.
      let start = unsafe UnsafeMutableRawPointer(mutating: base + bytes.lowerBound)
      unsafe swarm_message_prepare_send(
        messages + count, vectors + count, start, bytes.count, names + count, length, controls + count,
        end - next > 1 ? UInt16(first.count) : 0)
      unsafe ends[count] = end
      count += 1
      next = end
    }
  }

  /// Hands the prepared messages over: how many were taken, or the negated errno that the first one met.
  borrowing func send(through descriptor: Int32) -> Int32 {
    unsafe swarm_send_messages(descriptor, messages, UInt32(count))
  }

  /// The index of the datagram after the last one of message `index`.
  borrowing func end(of index: Int) -> Int { unsafe ends[index] }

  private static func endOfRun(_ datagrams: [TransmitBatch.Datagram], _ range: Range<Int>) -> Int {
    let first = datagrams[range.lowerBound]
    let size = first.range.count
    var end = range.lowerBound + 1
    while end < range.upperBound, end - range.lowerBound < maximumSegments {
      let next = datagrams[end]
      guard next.range.lowerBound == datagrams[end - 1].range.upperBound, next.range.count <= size,
        next.range.upperBound - first.range.lowerBound <= maximumRunSize, next.route == first.route
      else { break }
      end += 1
      if next.range.count < size { break }  // only the last of a run may be shorter
    }
    return end
  }

  private static let capacity = 64  // headers of one call; without segmentation as many datagrams
  private static let maximumSegments = 64  // UDP_MAX_SEGMENTS of the kernels that have UDP_SEGMENT
  private static let maximumRunSize = 65_507  // to the layers above the device, a run is one IPv4 datagram
}
