// UDPSocket+Outbound.swift — sends a batch with as few calls as its runs allow.

import CPosix
import Glibc
package import Wire

extension UDPSocket {
  /// Sends `batch.datagrams[range]`, all of which are routed through this socket.
  ///
  /// A datagram that the kernel refuses is dropped and counted, as the network might have dropped it. Where it refuses a
  /// run, the run's datagrams go out one by one, and if that works, so does everything after it.
  ///
  /// - Returns: the index of the first datagram that was not sent because the buffer is full; the range's end when all
  ///   were dealt with.
  package func send(_ batch: borrowing TransmitBatch, _ range: Range<Int>, through arena: inout SendArena) -> Int {
    let datagrams = batch.datagrams
    let bytes = batch.bytes(of: 0..<batch.byteCount)
    return unsafe bytes.withUnsafeBytes { buffer in
      guard let base = buffer.baseAddress else { return range.upperBound }
      return unsafe send(datagrams, range, base: base, through: &arena)
    }
  }

  private func send(
    _ datagrams: [TransmitBatch.Datagram], _ range: Range<Int>, base: UnsafeRawPointer, through arena: inout SendArena
  ) -> Int {
    var next = range.lowerBound
    var refusedRun: RefusedRun?
    while next < range.upperBound {
      let segmentingFrom = segmentsSends ? refusedRun?.end ?? 0 : Int.max
      unsafe arena.fill(datagrams, next..<range.upperBound, base: base, segmentingFrom: segmentingFrom)
      statistics.sendCalls += 1
      let result = takeSimulatedError() ?? arena.send(through: descriptor)
      if result > 0 {
        let end = arena.end(of: Int(result) - 1)
        statistics.datagramsSent += UInt64(end - next)
        statistics.bytesSent += UInt64(datagrams[end - 1].range.upperBound - datagrams[next].range.lowerBound)
        // The same datagram alone was taken: it is not the address that is wrong, segmentation does not work here.
        if let run = refusedRun, next < run.end, run.blamesSegmentation { segmentsSends = false }
        next = end
        continue
      }
      let end = arena.end(of: 0)
      switch -result {
      case EINTR: continue
      case EAGAIN:
        statistics.timesBlocked += 1
        return next
      case EIO, EOPNOTSUPP:
        // No checksum offload on the way out, which segmentation needs. A lone datagram cannot meet this.
        if end - next > 1 { segmentsSends = false } else { next = drop(next, because: -result) }
      case EINVAL, EMSGSIZE:
        if end - next > 1 {
          refusedRun = RefusedRun(end: end, blamesSegmentation: -result == EINVAL)
        } else if -result == EMSGSIZE {
          // The device carries less: that explains a refused run.
          refusedRun?.blamesSegmentation = false
          // Every path carries so much (RFC 8200 §5); a device that does not, as some tunnels, has it cut.
          if datagrams[next].range.count <= Self.alwaysCarried, allowFragmentation() { continue }
          next = drop(next, because: EMSGSIZE)
        } else {
          next = drop(next, because: -result)
        }
      default:
        for index in next..<end { _ = drop(index, because: -result) }
        next = end
      }
    }
    return next
  }

  /// IPv6's least MTU of 1,280 bytes without the headers of IPv6 and UDP.
  private static let alwaysCarried = 1_232

  /// A run that was refused as a whole, and is being sent one by one.
  private struct RefusedRun {
    var end: Int
    var blamesSegmentation: Bool
  }

  private func drop(_ index: Int, because code: Int32) -> Int {
    switch code {
    case EMSGSIZE: statistics.droppedTooLarge += 1
    case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN: statistics.droppedUnreachable += 1
    case ENOBUFS, ENOMEM: statistics.droppedNoBuffers += 1
    default: statistics.droppedOther += 1
    }
    return index + 1
  }

  private func takeSimulatedError() -> Int32? {
    guard simulatedFullBuffers > 0 else { return nil }
    simulatedFullBuffers -= 1
    return -EAGAIN
  }
}
