// ByteWriter.swift — writes big-endian fields into a caller's buffer, in place.
//
// The buffer is the standard library's `OutputRawSpan`; the caller guarantees room (`freeCapacity`), and running past
// it is our own bug, so it traps. Lengths and checksums that are known only later are patched.

extension OutputRawSpan {
  @inlinable @_lifetime(self: copy self)
  public mutating func writeUInt8(_ value: UInt8) { append(value) }

  @inlinable @_lifetime(self: copy self)
  public mutating func writeUInt16(_ value: UInt16) { unsafe append(value.bigEndian, as: UInt16.self) }

  @inlinable @_lifetime(self: copy self)
  public mutating func writeUInt32(_ value: UInt32) { unsafe append(value.bigEndian, as: UInt32.self) }

  @inlinable @_lifetime(self: copy self)
  public mutating func writeUInt64(_ value: UInt64) { unsafe append(value.bigEndian, as: UInt64.self) }

  /// Appends a copy of `source` in one move.
  @inlinable @_lifetime(self: copy self)
  public mutating func writeBytes(_ source: RawSpan) {
    let count = source.byteCount
    precondition(count <= freeCapacity, "the caller asks for room before it writes")
    unsafe withUnsafeMutableBytes { buffer, initialized in
      unsafe source.withUnsafeBytes { bytes in
        guard let from = bytes.baseAddress, let to = buffer.baseAddress else { return }
        unsafe (to + initialized).copyMemory(from: from, byteCount: count)
        initialized += count
      }
    }
  }

  @inlinable @_lifetime(self: copy self)
  public mutating func writeBytes(_ source: [UInt8]) { writeBytes(source.rawSpan) }

  @inlinable @_lifetime(self: copy self)
  public mutating func writeZeros(_ count: Int) {
    for _ in 0..<count { append(UInt8(0)) }
  }

  /// Pads with zeros so that `length` bytes become a multiple of four.
  @inlinable @_lifetime(self: copy self)
  public mutating func writePadding(after length: Int) { writeZeros(-length & 3) }

  @inlinable @_lifetime(self: copy self)
  public mutating func patchUInt16(_ value: UInt16, at offset: Int) {
    precondition(offset >= 0 && offset + 2 <= byteCount, "only written bytes are patched")
    unsafe withUnsafeMutableBytes { buffer, _ in
      unsafe buffer.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
  }

  @inlinable @_lifetime(self: copy self)
  public mutating func patchUInt32(_ value: UInt32, at offset: Int) {
    precondition(offset >= 0 && offset + 4 <= byteCount, "only written bytes are patched")
    unsafe withUnsafeMutableBytes { buffer, _ in
      unsafe buffer.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }
  }
}

/// Collects what `body` writes, at most `capacity` bytes, into an array. For messages built outside the data path.
@inlinable
public func collectBytes<Failure: Error>(
  capacity: Int, _ body: (inout OutputRawSpan) throws(Failure) -> Void
) throws(Failure) -> [UInt8] {
  let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
  defer { unsafe storage.deallocate() }
  var out = unsafe OutputRawSpan(buffer: storage, initializedCount: 0)
  try body(&out)
  let count = unsafe out.finalize(for: storage)
  return unsafe [UInt8](UnsafeRawBufferPointer(rebasing: storage[0..<count]))
}
