// DTLSBench.swift — handshakes and records between two sessions in one process, on one thread, without a network.

import DTLS
import Foundation
import Wire

enum DTLSBench {
  /// A full packet of SCTP over a path of 1,200 bytes.
  static let plaintextLength = 1_150
  /// Records are sealed and opened in runs of so many, so that reading the clock costs nothing.
  static let run = 64
}

enum DTLSBenchError: Error, CustomStringConvertible {
  case handshakeFailed(DTLSError?)
  case recordLost

  var description: String {
    switch self {
    case .handshakeFailed(let error): "the handshake failed\(error.map { ": \($0)" } ?? "")"
    case .recordLost: "a record did not come out as it went in"
    }
  }
}

extension DTLSBenchResult {
  mutating func measureDTLS() throws {
    let identities = (client: try DTLSIdentity.generate(), server: try DTLSIdentity.generate())
    identitiesPerSecond = try perSecond { _ = try DTLSIdentity.generate() }
    handshakesPerSecond = try perSecond {
      var pair = try DTLSBenchPair(identities.client, identities.server)
      try pair.connect()
    }
    var pair = try DTLSBenchPair(identities.client, identities.server)
    try pair.connect()
    cipherSuite = pair.client.cipherSuite ?? ""
    try measureRecords(&pair)
  }

  private func perSecond(_ body: () throws -> Void) throws -> Double {
    try body()  // the first makes what the process keeps
    let began = ThreadTime.now
    var count = 0
    while ThreadTime.now - began < seconds {
      try body()
      count += 1
    }
    return Double(count) / (ThreadTime.now - began)
  }

  private mutating func measureRecords(_ pair: inout DTLSBenchPair) throws {
    let plaintext = [UInt8](repeating: 0x5a, count: DTLSBench.plaintextLength)
    let slot = DTLSBench.plaintextLength + DTLSSession.recordOverhead
    var (sealing, opening) = (0.0, 0.0)
    var count = 0
    let wire = BenchMemory(slots: DTLSBench.run, of: slot)
    let opened = BenchMemory(slots: 1, of: slot)
    while sealing + opening < 2 * seconds {
      let began = ThreadTime.now
      for place in 0..<DTLSBench.run {
        try wire.write(place) { try pair.client.seal(plaintext.rawSpan, into: &$0) }
      }
      let between = ThreadTime.now
      for place in 0..<DTLSBench.run {
        pair.server.handle(wire.bytes(place), now: pair.now)
        let length = opened.write(0) { _ = pair.server.readApplicationData(into: &$0) }
        guard length == plaintext.count else { throw DTLSBenchError.recordLost }
      }
      guard opened.bytes(0).equals(plaintext.rawSpan) else { throw DTLSBenchError.recordLost }
      opening += ThreadTime.now - between
      sealing += between - began
      count += DTLSBench.run
    }
    let megabytes = Double(count * plaintext.count) / 1e6
    (self.sealed, self.opened) = (megabytes / sealing, megabytes / opening)
  }
}

/// A client and a server that hand each other their datagrams.
struct DTLSBenchPair: ~Copyable {
  var client: DTLSSession
  var server: DTLSSession
  /// No time passes: nothing is lost, so no timer is needed.
  let now = Instant(nanoseconds: 0)

  init(_ client: DTLSIdentity, _ server: DTLSIdentity) throws(DTLSError) {
    let ours = try DTLSSession(identity: client, role: .client, remoteFingerprints: [server.fingerprint])
    self.server = try DTLSSession(identity: server, role: .server, remoteFingerprints: [client.fingerprint])
    self.client = ours
  }

  mutating func connect() throws(DTLSBenchError) {
    client.start(now: now)
    server.start(now: now)
    let datagram = BenchMemory(slots: 1, of: 1_200)
    for _ in 0..<8 {  // a handshake has four flights
      if client.isConnected, server.isConnected { return }
      while datagram.write(0, { _ = client.pollTransmit(into: &$0) }) > 0 {
        server.handle(datagram.bytes(0), now: now)
      }
      while datagram.write(0, { _ = server.pollTransmit(into: &$0) }) > 0 {
        client.handle(datagram.bytes(0), now: now)
      }
    }
    while let event = client.pollEvent() ?? server.pollEvent() {
      if case .failed(let error) = event { throw .handshakeFailed(error) }
    }
    throw .handshakeFailed(nil)
  }
}

/// Memory for packets, each in a slot of its own.
@safe
final class BenchMemory {
  private let storage: UnsafeMutableRawBufferPointer
  private let slotLength: Int
  private var lengths: [Int]

  init(slots: Int, of byteCount: Int) {
    unsafe storage = .allocate(byteCount: slots * byteCount, alignment: 64)
    slotLength = byteCount
    lengths = Array(repeating: 0, count: slots)
  }
  deinit { unsafe storage.deallocate() }

  /// Lets `body` write what the slot shall hold.
  ///
  /// - Returns: how many bytes it wrote.
  @discardableResult
  func write<Failure: Error>(
    _ slot: Int, _ body: (inout OutputRawSpan) throws(Failure) -> Void
  ) throws(Failure) -> Int {
    let free = unsafe UnsafeMutableRawBufferPointer(rebasing: storage[range(slot, slotLength)])
    var out = unsafe OutputRawSpan(buffer: free, initializedCount: 0)
    try body(&out)
    let length = unsafe out.finalize(for: free)
    lengths[slot] = length
    return length
  }

  /// What was written last.
  @_lifetime(borrow self)
  func bytes(_ slot: Int) -> RawSpan {
    let written = unsafe UnsafeRawBufferPointer(rebasing: storage[range(slot, lengths[slot])])
    return unsafe _overrideLifetime(written.bytes, borrowing: self)
  }

  private func range(_ slot: Int, _ count: Int) -> Range<Int> { slot * slotLength..<(slot * slotLength + count) }
}

/// The processor's time that this thread has used, in seconds.
enum ThreadTime {
  static var now: Double {
    var time = timespec()
    guard unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0 else { return 0 }
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
