// ByteReader.swift — reads big-endian fields from borrowed bytes. Every read is checked; none traps.

/// A cursor over a datagram that is borrowed, not copied.
@frozen
public struct ByteReader: ~Escapable {
  @usableFromInline let bytes: RawSpan
  /// How many bytes have been read.
  @inlinable public var offset: Int { position }
  @usableFromInline var position: Int

  @inlinable @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) {
    self.bytes = bytes
    self.position = 0
  }

  @inlinable public var remaining: Int { bytes.byteCount - position }
  @inlinable public var isAtEnd: Bool { position == bytes.byteCount }

  @inlinable @_lifetime(self: copy self)
  public mutating func readUInt8() throws(Malformed) -> UInt8 {
    let at = try take(1)
    return unsafe bytes.unsafeLoad(fromUncheckedByteOffset: at, as: UInt8.self)
  }

  @inlinable @_lifetime(self: copy self)
  public mutating func readUInt16() throws(Malformed) -> UInt16 {
    let at = try take(2)
    return unsafe UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: at, as: UInt16.self))
  }

  @inlinable @_lifetime(self: copy self)
  public mutating func readUInt32() throws(Malformed) -> UInt32 {
    let at = try take(4)
    return unsafe UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: at, as: UInt32.self))
  }

  @inlinable @_lifetime(self: copy self)
  public mutating func readUInt64() throws(Malformed) -> UInt64 {
    let at = try take(8)
    return unsafe UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: at, as: UInt64.self))
  }

  /// The next `count` bytes, still borrowed from the datagram.
  @inlinable @_lifetime(copy self)
  public mutating func readBytes(_ count: Int) throws(Malformed) -> RawSpan {
    let at = try take(count)
    return bytes.extracting(at..<(at + count))
  }

  /// Everything not yet read.
  @inlinable @_lifetime(copy self)
  public mutating func readRemaining() -> RawSpan {
    let at = position
    position = bytes.byteCount
    return bytes.extracting(at..<bytes.byteCount)
  }

  @inlinable @_lifetime(self: copy self)
  public mutating func skip(_ count: Int) throws(Malformed) { _ = try take(count) }

  /// Skips the bytes that pad a field of `length` bytes to a multiple of four; stops at the end of the bytes, because
  /// the padding of a last field may be missing.
  @inlinable @_lifetime(self: copy self)
  public mutating func skipPadding(after length: Int) {
    position += min(remaining, -length & 3)
  }

  @inlinable @_lifetime(self: copy self)
  mutating func take(_ count: Int) throws(Malformed) -> Int {
    guard count >= 0, count <= remaining else { throw .truncated }
    let at = position
    position = at + count
    return at
  }
}

extension RawSpan {
  /// The byte at `offset`, which must be within the span.
  @inlinable
  public func byte(at offset: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

  /// The big-endian 16-bit field at `offset`; both its bytes must be within the span.
  @inlinable
  public func uint16(at offset: Int) -> UInt16 {
    unsafe UInt16(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  /// The big-endian 32-bit field at `offset`; all its bytes must be within the span.
  @inlinable
  public func uint32(at offset: Int) -> UInt32 {
    unsafe UInt32(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  /// A copy that outlives the datagram.
  @inlinable
  public func copyBytes() -> [UInt8] {
    unsafe withUnsafeBytes { unsafe [UInt8]($0) }
  }

  /// Whether both spans hold the same bytes. Not constant-time: never use it on secrets.
  @inlinable
  public func equals(_ other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    for i in 0..<byteCount where byte(at: i) != other.byte(at: i) { return false }
    return true
  }
}

extension [UInt8] {
  /// The array's bytes, borrowed.
  @inlinable
  public var rawSpan: RawSpan {
    @_lifetime(borrow self) get { unsafe span.bytes }
  }
}

extension ArraySlice<UInt8> {
  /// The slice's bytes, borrowed.
  @inlinable
  public var rawSpan: RawSpan {
    @_lifetime(borrow self) get { unsafe span.bytes }
  }
}
