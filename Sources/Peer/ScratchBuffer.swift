// ScratchBuffer.swift — memory for one packet between two layers, reused for each.

import Wire

/// A buffer for bytes that live only until the next layer has taken them.
@safe
package struct ScratchBuffer: ~Copyable {
  private let storage: UnsafeMutableRawBufferPointer

  /// - Parameter capacity: bytes; the default holds the largest DTLS record (RFC 6347 §4.1.1: 2^14 bytes of plaintext).
  package init(capacity: Int = 1 << 14) { unsafe storage = .allocate(byteCount: capacity, alignment: 64) }
  deinit { unsafe storage.deallocate() }

  /// Lets `write` fill the buffer, then `read` look at what was written; nil when nothing was.
  package mutating func withBytes<Failure: Error, Result>(
    write: (inout OutputRawSpan) -> Bool, read: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result? {
    var out = unsafe OutputRawSpan(buffer: storage, initializedCount: 0)
    let wrote = write(&out)
    let count = unsafe out.finalize(for: storage)
    guard wrote else { return nil }
    let written = unsafe UnsafeRawBufferPointer(rebasing: storage[0..<count])
    return try read(unsafe written.bytes)
  }
}
