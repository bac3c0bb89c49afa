// DatagramPipe.swift — what lies behind OpenSSL's BIO: it reads the datagram being handled and writes into the caller's
// buffer, and it keeps datagrams apart, which a memory BIO does not.
//
// Inward, the pipe lends OpenSSL the caller's bytes for the length of one call. Until the handshake is over nothing that
// arrives is authenticated, so it hands records over one at a time and keeps back those of which OpenSSL would make the
// end of the session (`admits`). Outward, a sealed record goes straight into the caller's span; handshake flights wait in
// a short queue.

internal import COpenSSL
internal import Wire

@safe
struct DatagramPipe: ~Copyable {
  /// The fingerprints of which the peer's certificate must match one.
  let remoteFingerprints: [Fingerprint]
  private let maximumDatagramSize: Int
  var peerCertificateMismatched = false

  // MARK: Inward
  /// What OpenSSL has not yet read of the datagram being handled; empty outside `handle`.
  private var input = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
  private var filtersRecords = false
  private var earlyRecords = 0
  /// Records and datagrams kept from OpenSSL.
  private(set) var droppedRecords = 0
  /// The first fatal alert that came in plaintext. Anybody could have sent it.
  private(set) var plaintextAlert: UInt8?

  // MARK: Outward
  private var sealTarget = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var sealedCount: Int?
  private var flights: [[UInt8]] = []
  private var nextFlight = 0

  init(remoteFingerprints: [Fingerprint], maximumDatagramSize: Int) {
    self.remoteFingerprints = remoteFingerprints
    self.maximumDatagramSize = maximumDatagramSize
  }

  /// Lends a datagram until `takeBack`. - Parameter filtering: whether the handshake is still going on.
  mutating func lend(_ datagram: UnsafeRawBufferPointer, filtering: Bool) {
    unsafe input = datagram
    filtersRecords = filtering
  }

  /// Ends the loan; a datagram that OpenSSL did not ask for is lost, as UDP may lose any.
  mutating func takeBack() {
    if unsafe !input.isEmpty { droppedRecords += 1 }
    unsafe input = UnsafeRawBufferPointer(start: nil, count: 0)
  }

  /// Copies the next datagram, or record while filtering, to OpenSSL; nil when there is none.
  mutating func read(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    while unsafe !input.isEmpty {
      let next = unsafe filtersRecords ? takeRecord() : takeAll()
      guard let next = unsafe next else { continue }
      // What exceeds OpenSSL's buffer exceeds the largest record too.
      let count = min(next.count, buffer.count)
      unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: next[..<count]))
      return count
    }
    return nil
  }

  private mutating func takeAll() -> UnsafeRawBufferPointer? {
    let all = unsafe input
    unsafe input = UnsafeRawBufferPointer(start: nil, count: 0)
    return unsafe all
  }

  /// Takes one record off the input; nil when it is to be dropped.
  private mutating func takeRecord() -> UnsafeRawBufferPointer? {
    var reader = unsafe ByteReader(input.bytes)
    do throws(Malformed) {
      let header = try RecordHeader(from: &reader)
      let fragment = try reader.readBytes(header.length)
      let isAdmitted = admits(header, fragment)
      let end = reader.offset
      let record = unsafe UnsafeRawBufferPointer(rebasing: input[..<end])
      unsafe input = UnsafeRawBufferPointer(rebasing: input[end...])
      if isAdmitted { return unsafe record }
    } catch {
      unsafe input = UnsafeRawBufferPointer(start: nil, count: 0)
    }
    droppedRecords += 1
    return nil
  }

  /// Whether a record may reach OpenSSL before the handshake is over. In epoch 0, where anybody can write, an alert or
  /// application data would end the session, so only what a handshake needs passes. Records of the next epoch, which
  /// OpenSSL stores until it can read them, pass up to a bound.
  private mutating func admits(_ header: RecordHeader, _ fragment: RawSpan) -> Bool {
    guard header.epoch == 0 else {
      earlyRecords += 1
      return earlyRecords <= Self.maximumEarlyRecords
    }
    switch header.contentType {
    case RecordHeader.handshake, RecordHeader.changeCipherSpec: return true
    case RecordHeader.alert:
      let fatal: UInt8 = 2
      if plaintextAlert == nil, fragment.byteCount == 2, fragment.byte(at: 0) == fatal {
        plaintextAlert = fragment.byte(at: 1)
      }
      return false
    default: return false
    }
  }

  /// Lets the next write go into `target`, instead of the queue of flights.
  mutating func beginSeal(into target: UnsafeMutableRawBufferPointer) {
    unsafe sealTarget = target
    sealedCount = 0
  }

  /// The bytes written since `beginSeal`.
  mutating func endSeal() -> Int {
    defer { sealedCount = nil }
    unsafe sealTarget = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    return sealedCount ?? 0
  }

  /// Takes one datagram from OpenSSL; false when the caller's span has no room for it.
  mutating func write(_ datagram: UnsafeRawBufferPointer) -> Bool {
    if let written = sealedCount {
      guard unsafe datagram.count <= sealTarget.count - written else { return false }
      unsafe UnsafeMutableRawBufferPointer(rebasing: sealTarget[written...]).copyMemory(from: datagram)
      sealedCount = written + datagram.count
    } else {
      unsafe queue(datagram)
    }
    return true
  }

  /// Joins what OpenSSL writes to the datagram before it, where both fit into one: retransmitting, OpenSSL flushes after
  /// each message, and a flight of five datagrams survives a lossy path far less often than one.
  private mutating func queue(_ datagram: UnsafeRawBufferPointer) {
    if nextFlight < flights.count, flights[flights.count - 1].count + datagram.count <= maximumDatagramSize {
      unsafe flights[flights.count - 1].append(contentsOf: datagram)
    } else if flights.count < Self.maximumQueuedDatagrams {
      unsafe flights.append([UInt8](datagram))
    }
  }

  mutating func popFlight(into out: inout OutputRawSpan) -> Bool {
    guard nextFlight < flights.count else { return false }
    out.writeBytes(flights[nextFlight])
    nextFlight += 1
    if nextFlight == flights.count {
      flights.removeAll()
      nextFlight = 0
    }
    return true
  }

  /// Twice the longest flight that our certificates make, plus alerts; a caller that does not drain loses the rest, and
  /// the retransmission timer repairs that.
  private static let maximumQueuedDatagrams = 32
  /// OpenSSL keeps each record of the next epoch in a buffer of 17 KB until the handshake ends: 0.5 MB at most.
  private static let maximumEarlyRecords = 32
}

/// The first 13 bytes of a record (RFC 6347 §4.1).
///
///      0      1      2      3      4      5 … 10           11     12
///     +------+------+------+------+------+-----------------+------+------+
///     | type | version     | epoch       | sequence number | length      |
///     +------+------+------+------+------+-----------------+------+------+
struct RecordHeader {
  let contentType: UInt8
  let epoch: UInt16
  let length: Int

  static let changeCipherSpec: UInt8 = 20
  static let alert: UInt8 = 21
  static let handshake: UInt8 = 22

  init(from reader: inout ByteReader) throws(Malformed) {
    contentType = try reader.readUInt8()
    try reader.skip(2)
    epoch = try reader.readUInt16()
    try reader.skip(6)
    length = Int(try reader.readUInt16())
  }
}
