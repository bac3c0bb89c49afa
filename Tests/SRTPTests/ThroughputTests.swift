// ThroughputTests.swift — what a packet costs, and that we allocate nothing for it: libsrtp does, and how often is
// measured beside it.

import CSRTP2
import CVirtualClock
import SRTP
import Testing
import Wire

@Suite(.serialized) struct ThroughputTests {
  private static let length = 1_200

  @Test("a packet costs what libsrtp takes for it, and no allocation of ours", arguments: SRTPProfile.allCases)
  func packets(profile: SRTPProfile) throws {
    let rounds = 20_000
    let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)
    let opened = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)
    defer {
      storage.deallocate()
      opened.deallocate()
    }
    var session = try SRTPSession.looped(profile)
    var packet = rtp(0, payload: [UInt8](repeating: 0x5a, count: Self.length - 12))
    var protecting = Duration.zero
    var unprotecting = Duration.zero
    var allocations: UInt64 = 0
    var failures = 0
    for number in 0..<rounds {
      if number == 2 { allocations = thread_allocations() }
      packet[2] = UInt8(truncatingIfNeeded: number >> 8)
      packet[3] = UInt8(truncatingIfNeeded: number)
      let began = ContinuousClock.now
      var out = OutputRawSpan(buffer: storage, initializedCount: 0)
      try session.protectRTP(packet.rawSpan, into: &out)
      let count = out.finalize(for: storage)
      let between = ContinuousClock.now
      var clear = OutputRawSpan(buffer: opened, initializedCount: 0)
      try session.unprotectRTP(UnsafeRawBufferPointer(rebasing: storage[..<count]).bytes, into: &clear)
      if clear.finalize(for: opened) != Self.length { failures += 1 }
      unprotecting += ContinuousClock.now - between
      protecting += between - began
    }
    let ours = thread_allocations() - allocations
    #expect(failures == 0)
    let theirs = try libraryAllocations(profile, rounds: rounds - 2, on: storage)
    #expect(!allocations_are_counted() || ours == theirs)
    let perSecond = { (time: Duration) in Double(rounds) / (time / .seconds(1)) }
    print(
      "\(profile), \(Self.length) bytes: protect \(Int(perSecond(protecting))) /s,",
      "\(Int(perSecond(protecting) * Double(Self.length) / 1e6)) MB/s; unprotect \(Int(perSecond(unprotecting))) /s,",
      "\(Int(perSecond(unprotecting) * Double(Self.length) / 1e6)) MB/s;",
      "\(ours) allocations, libsrtp alone \(theirs)")
  }

  /// What libsrtp allocates for as many packets when it is called directly.
  private func libraryAllocations(
    _ profile: SRTPProfile, rounds: Int, on storage: UnsafeMutableRawBufferPointer
  ) throws -> UInt64 {
    var key = [UInt8](repeating: 9, count: 46)
    func make(_ type: srtp_ssrc_type_t) -> OpaquePointer? {
      var policy = srtp_policy_t()
      let wanted = srtp_profile_t(rawValue: UInt32(profile.rawValue))
      srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, wanted)
      srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, wanted)
      policy.ssrc.type = type
      policy.window_size = 1_024
      var session: OpaquePointer?
      return key.withUnsafeMutableBufferPointer {
        policy.key = $0.baseAddress
        return srtp_create(&session, &policy) == srtp_err_status_ok ? session : nil
      }
    }
    let outgoing = try #require(make(ssrc_any_outbound))
    let incoming = try #require(make(ssrc_any_inbound))
    defer {
      srtp_dealloc(outgoing)
      srtp_dealloc(incoming)
    }
    var allocations: UInt64 = 0
    var failures = 0
    for number in 0..<(rounds + 2) {
      if number == 2 { allocations = thread_allocations() }
      storage.storeBytes(of: 0x80, as: UInt8.self)
      storage.storeBytes(of: UInt16(truncatingIfNeeded: number).bigEndian, toByteOffset: 2, as: UInt16.self)
      storage.storeBytes(of: 1, toByteOffset: 8, as: UInt32.self)
      var length = CInt(Self.length)
      if srtp_protect(outgoing, storage.baseAddress, &length) != srtp_err_status_ok { failures += 1 }
      if srtp_unprotect(incoming, storage.baseAddress, &length) != srtp_err_status_ok { failures += 1 }
    }
    let counted = thread_allocations() - allocations
    #expect(failures == 0)
    return counted
  }
}
