// DatagramPipe.swift — what lies behind OpenSSL's BIO: it reads the datagram being handled and writes into the caller's
// buffer, and it keeps datagrams apart, which a memory BIO does not.
//
// Inward, the pipe lends OpenSSL the caller's bytes for the length of one call, and keeps back unauthenticated records of
// which OpenSSL would make the end of the session (`admits`): most of them before the handshake is over, when it hands
// records over one at a time; later only those that are too short to be encrypted. Outward, a sealed record goes straight into the caller's span; handshake flights wait in
// a short queue.

internal import COpenSSL
internal import Wire

@safe
struct DatagramPipe: ~Copyable {
  /// The fingerprints of which the peer's certificate must match one.
  let remoteFingerprints: [Fingerprint]
  private let maximumDatagramSize: Int
  /// What is wrong with the peer's certificate.
  var verdict: DTLSError?
  /// The session that reads from this pipe; it is there whenever the pipe is asked.
  var ssl: OpaquePointer?
  /// What the retransmission timer begins with.
  var initialTimeoutMicroseconds: UInt32 = 50_000
  private var keyLogLines: [String] = []

  // MARK: Inward
  /// What OpenSSL has not yet read of the datagram being handled; empty outside `handle`.
  private var input = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
  /// Whether the records of the datagram on loan are handed over one by one.
  private var filtersRecords = false
  private var isHandshaking = true
  private var minimumProtectedLength = RecordHeader.minimumProtectedLength
  private var earlyRecords = 0
  /// Records of epoch 0 that OpenSSL has seen.
  private var plaintextRecords = 0
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

  /// Lends a datagram until `takeBack`.
  mutating func lend(_ datagram: UnsafeRawBufferPointer) {
    unsafe input = datagram
    filtersRecords = unsafe isHandshaking || !holdsWholeRecords(datagram.bytes)
  }

  /// The handshake is over. - Parameter minimumProtectedLength: what the cipher in use adds to an empty plaintext.
  mutating func endHandshake(minimumProtectedLength: Int) {
    isHandshaking = false
    self.minimumProtectedLength = minimumProtectedLength
  }

  private func holdsWholeRecords(_ datagram: RawSpan) -> Bool {
    var reader = ByteReader(datagram)
    do throws(Malformed) {
      while !reader.isAtEnd {
        let header = try RecordHeader(from: &reader)
        guard header.length >= minimumProtectedLength else { return false }
        try reader.skip(header.length)
      }
      return true
    } catch {
      return false
    }
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
      if filtersRecords { unsafe renumber(UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])) }
      return count
    }
    return nil
  }

  /// Numbers a record of epoch 0 by its arrival. Its own number proves nothing, and a forged one far ahead would move
  /// OpenSSL's window past all that the peer still has to send. What comes twice the handshake messages' own numbers tell.
  private mutating func renumber(_ record: UnsafeMutableRawBufferPointer) {
    guard record.count >= RecordHeader.byteCount, unsafe record[3] == 0, unsafe record[4] == 0 else { return }
    plaintextRecords &+= 1
    for place in 0..<6 { unsafe record[10 - place] = UInt8(truncatingIfNeeded: plaintextRecords >> (8 * place)) }
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

  /// Whether a record may reach OpenSSL. In epoch 0, where anybody can write, an alert or application data would end the
  /// session, so only what a handshake needs passes. In a later epoch OpenSSL takes a record that is too short for its
  /// nonce and tag as an error of its own, and ends the session too. Records of the next epoch, which it stores until it
  /// can read them, pass up to a bound.
  private mutating func admits(_ header: RecordHeader, _ fragment: RawSpan) -> Bool {
    guard header.epoch == 0 else {
      guard header.length >= minimumProtectedLength else { return false }
      guard isHandshaking, unsafe openssl_awaits_finished(ssl) == 0 else { return true }
      earlyRecords += 1
      return earlyRecords <= Self.maximumEarlyRecords
    }
    guard isHandshaking else { return false }
    switch header.contentType {
    case RecordHeader.handshake: return HandshakeFragment.areSound(in: fragment)
    case RecordHeader.changeCipherSpec: return true
    case RecordHeader.alert:
      let fatal: UInt8 = 2
      if plaintextAlert == nil, fragment.byteCount == 2, fragment.byte(at: 0) == fatal {
        plaintextAlert = fragment.byte(at: 1)
      }
      return false
    default: return false
    }
  }

  mutating func appendKeyLogLine(_ line: String) {
    if keyLogLines.count < Self.maximumKeyLogLines { keyLogLines.append(line) }
  }

  mutating func popKeyLogLine() -> String? { keyLogLines.isEmpty ? nil : keyLogLines.removeFirst() }

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
  /// A session of DTLS 1.2 has one master secret.
  private static let maximumKeyLogLines = 4
  /// OpenSSL keeps each record of the next epoch in a buffer of 17 KB until the handshake ends: 0.5 MB at most.
  private static let maximumEarlyRecords = 32
}
