// ThroughputTests.swift — what the data path costs, and that it allocates nothing per datagram.

import CVirtualClock
import DTLS
import Glibc
import Testing
import Wire

@Suite(.serialized) struct ThroughputTests {
  @Test func aTransferOf100MBArrivesWholeWithoutAllocating() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    let plaintext = (0..<1150).map { UInt8(truncatingIfNeeded: $0 * 7) }
    let wire = UnsafeMutableRawBufferPointer.allocate(byteCount: 1200, alignment: 16)
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 2048, alignment: 16)
    defer {
      wire.deallocate()
      scratch.deallocate()
    }
    let records = 100_000_000 / plaintext.count
    var arrived = 0
    var differing = 0
    var allocations: UInt64 = 0
    var sealing = Duration.zero
    let began = ContinuousClock.now
    for index in 0..<records {
      if index == 1 { allocations = thread_allocations() }
      let before = ContinuousClock.now
      var out = OutputRawSpan(buffer: wire, initializedCount: 0)
      try pair.client.session.seal(plaintext.rawSpan, into: &out)
      let count = out.finalize(for: wire)
      sealing += ContinuousClock.now - before
      pair.server.session.handle(UnsafeRawBufferPointer(rebasing: wire[..<count]).bytes, now: pair.now)
      var opened = OutputRawSpan(buffer: scratch, initializedCount: 0)
      while pair.server.session.readApplicationData(into: &opened) {
        let length = opened.byteCount
        arrived += length
        if memcmp(scratch.baseAddress!, plaintext, length) != 0 { differing += 1 }
        opened.removeAll()
      }
      _ = opened.finalize(for: scratch)
    }
    let elapsed = ContinuousClock.now - began
    let allocated = thread_allocations() - allocations
    #expect(arrived == records * plaintext.count)
    #expect(differing == 0)
    #expect(!allocations_are_counted() || allocated == 0)
    print(
      "\(records) records of \(plaintext.count) bytes: \(elapsed / records) each,",
      "\(sealing / records) of it sealing; \(allocated) allocations")
  }

  @Test func settingUpIsCheap() throws {
    _ = try Pair()
    let rounds = 200
    let began = ContinuousClock.now
    var identityTime = Duration.zero
    for _ in 0..<rounds {
      let before = ContinuousClock.now
      let (ours, theirs) = (try DTLSIdentity.generate(), try DTLSIdentity.generate())
      identityTime += ContinuousClock.now - before
      var client = Side(try DTLSSession(identity: ours, role: .client, remoteFingerprints: [theirs.fingerprint]))
      var server = Side(try DTLSSession(identity: theirs, role: .server, remoteFingerprints: [ours.fingerprint]))
      let now = Instant(nanoseconds: 0)
      client.session.start(now: now)
      server.session.start(now: now)
      for _ in 0..<10 {
        for datagram in client.transmit() { server.handle(datagram, now: now) }
        for datagram in server.transmit() { client.handle(datagram, now: now) }
      }
      #expect(client.events == [.connected] && server.events == [.connected])
    }
    let elapsed = ContinuousClock.now - began
    print(
      "identities, sessions and handshake, both sides: \(elapsed / rounds); one identity \(identityTime / rounds / 2)")
    #expect(elapsed / rounds < .milliseconds(50))
  }
}
