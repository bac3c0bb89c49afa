// ReceiveBatch+Stream.swift — datagrams out of a byte stream (RFC 4571, RFC 8656 §12.5), found where they were read.
//
// The arena's first part holds the bytes of one connection: what its last read left of a frame, then what this read, or
// TLS, brings. Frames become slots of the batch in place. A second part takes ciphertext.

import CPosix
import Glibc
import Wire

extension ReceiveBatch {
  enum Framed: Hashable {
    /// Every whole frame is in the batch.
    case all
    /// There may be more than the batch has slots for: hand it over, and call again.
    case batchFull
    /// The bytes are no frames; what is in the batch came before them.
    case malformed
  }

  /// Begins with the bytes that were left of a connection's last frame.
  mutating func beginStream(socket: SocketID, with incomplete: [UInt8]) {
    self.socket = socket
    slotCount = 0
    precondition(incomplete.count <= Self.slotSize + 4, "no frame is longer than a length of two bytes says")
    unsafe incomplete.withUnsafeBytes { unsafe bytes.copyMemory(from: $0) }
    stream = 0..<incomplete.count
  }

  /// Reads into the stream; how many bytes came, 0 at its end, or the negated errno.
  mutating func readStream(from descriptor: Int32) -> Int {
    guard let base = unsafe bytes.baseAddress else { return 0 }
    let count = unsafe swarm_stream_receive(descriptor, base + stream.upperBound, Self.streamReadSize)
    if count > 0 { stream = stream.lowerBound..<(stream.upperBound + count) }
    return count
  }

  /// Reads ciphertext: as `readStream`, but the bytes wait for `giveCiphertext`.
  mutating func readCiphertext(from descriptor: Int32) -> Int {
    guard let base = unsafe bytes.baseAddress else { return 0 }
    return unsafe swarm_stream_receive(descriptor, base + Self.ciphertextOffset, Self.streamReadSize)
  }

  /// Gives the `count` bytes that `readCiphertext` brought to TLS.
  func giveCiphertext(_ count: Int, to session: any StreamSecuritySession) throws(StreamSecurityError) {
    let slice = unsafe UnsafeRawBufferPointer(rebasing: bytes[Self.ciphertextOffset..<(Self.ciphertextOffset + count)])
    try session.receive(unsafe slice.bytes)
  }

  /// Whether one more TLS record fits into the stream.
  var hasRoomForRecord: Bool { Self.ciphertextOffset - stream.upperBound >= Self.maximumRecordSize }

  /// Lets `body` append plaintext to the stream.
  mutating func appendStream<Failure: Error>(
    _ body: (inout OutputRawSpan) throws(Failure) -> Bool
  ) throws(Failure) -> Bool {
    let free = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[stream.upperBound..<Self.ciphertextOffset])
    var out = unsafe OutputRawSpan(buffer: free, initializedCount: 0)
    let result = try body(&out)
    stream = unsafe stream.lowerBound..<(stream.upperBound + out.finalize(for: free))
    return result
  }

  /// Replaces the batch's contents by the next frames of the stream.
  ///
  /// - Parameter isFirst: whether nothing has come on the connection before, so that a STUN message must begin it.
  mutating func takeFrames(_ framing: StreamFraming, from remote: SocketAddress, isFirst: Bool) -> Framed {
    slotCount = 0
    var isFirst = isFirst
    while slotCount < Self.streamSlotCapacity {
      let frame: StreamFrame
      switch StreamFrame.next(framing, in: streamBytes, isFirst: isFirst) {
      case .incomplete: return .all
      case .malformed: return .malformed
      case .frame(let found): frame = found
      }
      if !frame.payload.isEmpty {
        let slot = Slot(
          offset: stream.lowerBound + frame.payload.lowerBound, byteCount: frame.payload.count,
          segmentSize: frame.payload.count, remote: remote)
        unsafe (slots + slotCount).initialize(to: slot)
        slotCount += 1
        isFirst = false
      }
      stream = (stream.lowerBound + frame.byteCount)..<stream.upperBound
    }
    return .batchFull
  }

  private var streamBytes: RawSpan {
    @_lifetime(borrow self)
    borrowing get {
      let slice = unsafe UnsafeRawBufferPointer(rebasing: bytes[stream])
      return unsafe _overrideLifetime(slice.bytes, borrowing: self)
    }
  }

  /// Moves what is left of the stream, less than one frame, into `incomplete`.
  mutating func endStream(into incomplete: inout [UInt8]) {
    incomplete.removeAll(keepingCapacity: true)
    unsafe incomplete.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[stream]))
    stream = 0..<0
    slotCount = 0
  }

  /// Moves what is left of the stream to its place's beginning, to make room.
  mutating func compactStream() {
    guard stream.lowerBound > 0, let base = unsafe bytes.baseAddress else { return }
    unsafe memmove(base, base + stream.lowerBound, stream.count)
    stream = 0..<stream.count
  }

  /// Frames handed over in one call. With 1,200 bytes each it is one read.
  static let streamSlotCapacity = 64
  /// What one read takes at most: it may come after an incomplete frame of as much.
  static let streamReadSize = 65_536
  /// An incomplete frame, a read, and the plaintext that TLS held back fit before it.
  private static let ciphertextOffset = 3 * 65_536
  private static let maximumRecordSize = 16_384
  static let streamArenaSize = ciphertextOffset + streamReadSize
}

/// A frame at the beginning of a stream's bytes.
struct StreamFrame: Hashable {
  enum Next: Hashable {
    case incomplete
    case malformed
    case frame(StreamFrame)
  }
  /// The datagram in it.
  var payload: Range<Int>
  /// All of it, with length and padding.
  var byteCount: Int

  /// - Parameter isFirst: the first datagram on a connection is a STUN message, whatever comes later (RFC 8445 §2.2,
  ///   RFC 8656 §3.1). What begins otherwise, as an HTTP request or a TLS handshake, is known by its first bytes.
  static func next(_ framing: StreamFraming, in bytes: RawSpan, isFirst: Bool) -> Next {
    switch framing {
    case .rfc4571:
      guard bytes.byteCount >= 2 else { return .incomplete }
      let length = Int(bytes.uint16(at: 0))
      // An empty one says nothing yet.
      if isFirst, length > 0, length < stunHeaderSize || !couldBeSTUN(bytes, at: 2) { return .malformed }
      return frame(2..<(2 + length), byteCount: 2 + length, in: bytes)
    case .turn:
      if isFirst, !couldBeSTUN(bytes, at: 0) { return .malformed }
      guard bytes.byteCount >= 4 else { return .incomplete }
      let length = Int(bytes.uint16(at: 2))
      if bytes.byte(at: 0) < 0x40 {
        guard length % 4 == 0, length <= maximumSTUNLength else { return .malformed }
        return frame(0..<(stunHeaderSize + length), byteCount: stunHeaderSize + length, in: bytes)
      }
      // RFC 8656 §12: channels are 0x4000 to 0x4FFF.
      guard bytes.byte(at: 0) < 0x50 else { return .malformed }
      return frame(0..<(4 + length), byteCount: (4 + length + 3) & ~3, in: bytes)
    }
  }

  private static func frame(_ payload: Range<Int>, byteCount: Int, in bytes: RawSpan) -> Next {
    bytes.byteCount < byteCount ? .incomplete : .frame(StreamFrame(payload: payload, byteCount: byteCount))
  }

  /// Whether the bytes from `start` on, as far as they have come, may begin a STUN message (RFC 8489 §5).
  private static func couldBeSTUN(_ bytes: RawSpan, at start: Int) -> Bool {
    if bytes.byteCount > start, bytes.byte(at: start) >= 0x40 { return false }
    for (index, byte) in magicCookie.enumerated() where bytes.byteCount > start + 4 + index {
      guard bytes.byte(at: start + 4 + index) == byte else { return false }
    }
    return true
  }

  private static let stunHeaderSize = 20
  private static let maximumSTUNLength = 65_535 - stunHeaderSize  // what a datagram carries; nobody sends a tenth of it
  private static let magicCookie: [UInt8] = [0x21, 0x12, 0xa4, 0x42]

  /// What is to stand before and after `datagram` in the stream; nil when it cannot be framed.
  static func surroundings(_ framing: StreamFraming, of datagram: RawSpan) -> (length: UInt16?, padding: Int)? {
    let count = datagram.byteCount
    switch framing {
    case .rfc4571:
      return count <= 65_535 ? (UInt16(count), 0) : nil
    case .turn:
      guard count >= 4 else { return nil }
      let length = Int(datagram.uint16(at: 2))
      if datagram.byte(at: 0) < 0x40 { return count == stunHeaderSize + length && count % 4 == 0 ? (nil, 0) : nil }
      guard datagram.byte(at: 0) < 0x50 else { return nil }
      let padded = (4 + length + 3) & ~3
      return count == 4 + length || count == padded ? (nil, padded - count) : nil
    }
  }
}
