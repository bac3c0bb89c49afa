// SessionTests.swift — keys, lengths, malformed packets, and the bounds on what is kept for a peer.

import CSRTP2
import CVirtualClock
import SRTP
import Testing
import Wire

@Suite struct SessionTests {
  @Test("exported bytes are split as RFC 5764 §4.2 says", arguments: SRTPProfile.allCases)
  func keyingMaterial(profile: SRTPProfile) throws {
    let (key, salt) = (profile.keyLength, profile.saltLength)
    let lengths: [SRTPProfile: Int] = [.aes128CMSHA1: 60, .aeadAES128GCM: 56, .aeadAES256GCM: 88]
    let exported = (0..<2 * (key + salt)).map { UInt8($0) }
    #expect(SRTPKeyingMaterial.exportedLength(profile) == lengths[profile])
    #expect(exported.count == lengths[profile])
    let material = try #require(SRTPKeyingMaterial(profile: profile, exported: exported))
    #expect(SRTPKeyingMaterial(profile: profile, exported: Array(exported.dropLast())) == nil)
    #expect(SRTPKeyingMaterial(profile: profile, exported: exported + [0]) == nil)

    // The two ends understand each other, and each direction is what its keys say.
    var client = try SRTPSession(material, isClient: true)
    var server = try SRTPSession(material, isClient: false)
    let clientKey = SRTPMasterKey(key: Array(exported[..<key]), salt: Array(exported[(2 * key)..<(2 * key + salt)]))
    let serverKey = SRTPMasterKey(key: Array(exported[key..<(2 * key)]), salt: Array(exported[(2 * key + salt)...]))
    var expected = try SRTPSession(profile: profile, outgoing: clientKey, incoming: serverKey)
    for family in PacketFamily.allCases {
      let packet = family == .rtp ? rtp(3) : rtcp()
      let protected = try client.protect(packet, family)
      #expect(try protected == expected.protect(packet, family))
      #expect(try server.unprotect(protected, family) == packet)
      let reply = try server.protect(packet, family)
      #expect(reply != protected)
      #expect(try client.unprotect(reply, family) == packet)
      #expect(expected.refusal(reply, family) == nil)
      // What one end sends is no packet for itself.
      var echoed = try SRTPSession(material, isClient: true)
      #expect(echoed.refusal(protected, family) == .authenticationFailed)
    }
  }

  @Test("an array of which the caller keeps a reference stays as it is")
  func keptBytesStay() throws {
    let exported = [UInt8](repeating: 7, count: 56)
    #expect(SRTPKeyingMaterial(profile: .aeadAES128GCM, exported: exported) != nil)
    #expect(exported == [UInt8](repeating: 7, count: 56))
  }

  @Test("a key or salt of another length is refused", arguments: SRTPProfile.allCases)
  func wrongKeyLength(profile: SRTPProfile) throws {
    let good = SRTPMasterKey.example(profile)
    for (key, salt) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-profile.keyLength, 0), (-2, 2)] {
      let wrong = SRTPMasterKey(
        key: [UInt8](repeating: 1, count: profile.keyLength + key),
        salt: [UInt8](repeating: 2, count: profile.saltLength + salt))
      #expect(throws: SRTPError.wrongKeyLength) {
        _ = try SRTPSession(profile: profile, outgoing: wrong, incoming: good)
      }
      #expect(throws: SRTPError.wrongKeyLength) {
        _ = try SRTPSession(profile: profile, outgoing: good, incoming: wrong)
      }
    }
  }

  @Test(
    "the trailers have the lengths of their profiles, and nothing is written behind them",
    arguments: SRTPProfile.allCases)
  func trailers(profile: SRTPProfile) throws {
    let tags: [SRTPProfile: Int] = [.aes128CMSHA1: 10, .aeadAES128GCM: 16, .aeadAES256GCM: 16]
    let tag = try #require(tags[profile])
    var session = try SRTPSession.looped(profile)
    for length in [0, 1, 15, 16, 17, 1_000] {
      for family in PacketFamily.allCases {
        let packet =
          family == .rtp
          ? rtp(length, payload: .init(repeating: 5, count: length)) : rtcp(more: .init(repeating: 5, count: length))
        let grown = packet.count + tag + (family == .rtp ? 0 : 4)
        // A span that is longer by 200 bytes, which must stay as they are, and begins at an odd address.
        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: grown + 201, alignment: 16)
        defer { storage.deallocate() }
        storage.initializeMemory(as: UInt8.self, repeating: 0xa5)
        let odd = UnsafeMutableRawBufferPointer(rebasing: storage[1...])
        var out = OutputRawSpan(buffer: odd, initializedCount: 0)
        switch family {
        case .rtp: try session.protectRTP(packet.rawSpan, into: &out)
        case .rtcp: try session.protectRTCP(packet.rawSpan, into: &out)
        }
        let count = out.finalize(for: odd)
        #expect(count == grown)
        #expect(odd[count...].allSatisfy { $0 == 0xa5 })
        #expect(try session.unprotect(Array(odd[..<count]), family) == packet)
      }
    }
    #expect(profile.rtpTrailerLength == tag && profile.rtcpTrailerLength == tag + 4)
    #expect(profile.rtcpTrailerLength <= SRTPSession.maximumTrailer)
  }

  @Test(
    "RTP headers that end behind the packet, and other versions, are refused both ways", arguments: SRTPProfile.allCases
  )
  func malformedHeaders(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let trailer = [UInt8](repeating: 3, count: profile.rtpTrailerLength)
    let extensionOf = { (words: Int, present: Int) in
      [0xbe, 0xde] + bigEndian(UInt16(words)) + [UInt8](repeating: 0, count: present)
    }
    let malformed: [[UInt8]] = [
      rtp(1, first: 0x00), rtp(1, first: 0x40), rtp(1, first: 0xc0),  // versions 0, 1 and 3
      rtp(1, first: 0x81, payload: [1, 2, 3]), rtp(1, first: 0x8f, payload: [UInt8](repeating: 0, count: 59)),
      rtp(1, first: 0x90, payload: []), rtp(1, first: 0x90, payload: [0xbe, 0xde, 0]),
      rtp(1, first: 0x90, payload: extensionOf(1, 3)), rtp(1, first: 0x90, payload: extensionOf(0xffff, 1_000)),
      rtp(1, first: 0x9f, payload: [UInt8](repeating: 0, count: 60)),
    ]
    for packet in malformed {
      #expect(session.protectRefusal(packet) == .malformed, "\(packet)")
      #expect(session.refusal(packet) == .malformed, "\(packet)")
      // The tag is not part of what a header may cover.
      if packet[0] >> 6 == 2, packet.count < 100 {
        #expect(session.refusal(packet + trailer) == .malformed, "\(packet)")
      }
    }
    #expect(session.protectRefusal(rtp(1, first: 0x8f, payload: [UInt8](repeating: 0, count: 60))) == nil)
    #expect(session.protectRefusal(rtp(2, first: 0x90, payload: extensionOf(1, 4))) == nil)
    #expect(session.protectRefusal([0x40] + rtcp().dropFirst(), .rtcp) == .malformed)
    #expect(session.outgoingSSRCCount == 1 && session.incomingSSRCCount == 0)
  }

  @Test("a header up to 2,048 bytes goes, a longer one is refused both ways", arguments: SRTPProfile.allCases)
  func longHeaders(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let packet = { (words: Int, number: Int) in
      rtp(
        number, first: 0x90,
        payload: [0xbe, 0xde] + bigEndian(UInt16(words)) + [UInt8](repeating: 0, count: 4 * words + 9))
    }
    #expect(session.refusal(try session.protect(packet(508, 1))) == nil)
    #expect(session.protectRefusal(packet(509, 2)) == .packetTooLarge)
    #expect(session.refusal(packet(509, 2) + [UInt8](repeating: 0, count: 16)) == .packetTooLarge)
    #expect(session.refusal(try session.protect(rtp(3))) == nil)
  }

  @Test("a packet for which the caller has no room is refused, not written", arguments: SRTPProfile.allCases)
  func noRoom(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let packet = rtp(1)
    let protected = try session.protect(packet)
    for room in [0, 5, protected.count - 1] {
      let written = collectBytes(capacity: room) { out in
        do throws(SRTPError) {
          try session.unprotectRTP(protected.rawSpan, into: &out)
          Issue.record("it fits")
        } catch {
          #expect(error == .packetTooLarge)
        }
        do throws(SRTPError) {
          try session.protectRTP(packet.rawSpan, into: &out)
          Issue.record("it fits")
        } catch {
          #expect(error == .packetTooLarge)
        }
      }
      #expect(written.isEmpty)
    }
    #expect(try session.unprotect(protected) == packet)
  }

  @Test(
    "SRTCP that says it is not encrypted is refused, and cannot spoil what follows", arguments: SRTPProfile.allCases)
  func unencryptedReports(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    // libsrtp over NSS keeps the first 2,048 bytes of additional data of a packet that it then finds too long.
    for length in [40, 2_044 + 20, 2_045 + 20, 2_048 + 20, 2_049 + 20, 9_000] {
      var forged = [0x80, 201, 0, 1] + bigEndian(UInt32(1)) + [UInt8](repeating: 0, count: length - 8)
      #expect(session.refusal(forged, .rtcp) == .malformed)
      forged[length - (profile == .aes128CMSHA1 ? 14 : 4)] = 0x80
      #expect(session.refusal(forged, .rtcp) == .authenticationFailed)
    }
    #expect(session.refusal(try session.protect(rtcp(), .rtcp), .rtcp) == nil)
  }

  @Test("10,000 forged packets with random SSRCs take no place and no memory", arguments: SRTPProfile.allCases)
  func forgedSSRCs(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let genuine = try (1...3).map { try session.protect(rtp($0)) }
    let report = try session.protect(rtcp(), .rtcp)
    #expect(session.refusal(genuine[0]) == nil)
    let seed: UInt64 = 0x5eed
    var random = RandomSource.seeded(state: seed)
    var forged = genuine[1]
    var forgedReport = report
    #expect(session.refusal(random.bytes(200)) != nil)
    let before = thread_live_bytes()
    var letIn = 0
    for _ in 0..<5_000 {
      let ssrc = bigEndian(UInt32(truncatingIfNeeded: random.next()))
      forged.replaceSubrange(8..<12, with: ssrc)
      forgedReport.replaceSubrange(4..<8, with: ssrc)
      if session.refusal(forged) != .authenticationFailed { letIn += 1 }
      if session.refusal(forgedReport, .rtcp) != .authenticationFailed { letIn += 1 }
    }
    let grown = thread_live_bytes() - before
    #expect(letIn == 0, "seed \(seed)")
    #expect(session.incomingSSRCCount == 1)
    #expect(session.counters.authentication >= 10_000)
    if allocations_are_counted() { #expect(grown < 32_768, "grew by \(grown) bytes") }
    #expect(session.refusal(genuine[1]) == nil && session.refusal(genuine[2]) == nil)
    #expect(session.refusal(report, .rtcp) == nil)
  }

  @Test(
    "SSRCs are bounded each way, and a place that is given up serves another SSRC, not the same",
    arguments: SRTPProfile.allCases)
  func boundedSSRCs(profile: SRTPProfile) throws {
    var limits = SRTPLimits()
    (limits.incomingSSRCs, limits.outgoingSSRCs, limits.retiredSSRCs) = (4, 8, 6)
    var session = try SRTPSession.looped(profile, limits: limits)
    let protected = try (1...8).map { try session.protect(rtp(1, ssrc: $0)) }
    #expect(session.protectRefusal(rtp(1, ssrc: 9)) == .tooManySSRCs)
    #expect(session.protectRefusal(rtcp(ssrc: 9), .rtcp) == .tooManySSRCs)
    #expect(session.protectRefusal(rtcp(ssrc: 8), .rtcp) == nil)
    for packet in protected.prefix(4) { #expect(session.refusal(packet) == nil) }
    for packet in protected.suffix(4) { #expect(session.refusal(packet) == .tooManySSRCs) }
    #expect(session.incomingSSRCCount == 4 && session.counters.refusedSSRC == 4)

    session.removeIncoming(2)
    session.removeIncoming(2)
    session.removeIncoming(77)
    #expect(session.incomingSSRCCount == 3)
    #expect(session.refusal(protected[1]) == .retiredSSRC)  // a recorded packet would come in again otherwise
    #expect(session.refusal(protected[4]) == nil)
    #expect(session.refusal(protected[5]) == .tooManySSRCs)
    #expect(session.refusal(try session.protect(rtp(2, ssrc: 1))) == nil)

    session.removeOutgoing(8)
    #expect(session.protectRefusal(rtp(1, ssrc: 8, payload: [])) == .retiredSSRC)  // the keystream would repeat
    #expect(session.protectRefusal(rtcp(ssrc: 8), .rtcp) == .retiredSSRC)
    #expect(session.protectRefusal(rtp(1, ssrc: 9)) == nil)

    // The memory of what was removed is bounded too.
    for ssrc: UInt32 in [1, 2, 3, 4, 5] { session.removeOutgoing(ssrc) }
    #expect(session.outgoingSSRCCount == 3)
    #expect(session.protectRefusal(rtp(1, ssrc: 10)) == .tooManySSRCs)
    #expect(session.protectRefusal(rtp(2, ssrc: 9)) == nil)
  }

  @Test("sessions give back all their memory", arguments: SRTPProfile.allCases)
  func memoryIsFreed(profile: SRTPProfile) throws {
    guard allocations_are_counted() else { return }
    func live(sessions: Int) throws -> Int64 {
      for _ in 0..<sessions {
        var session = try SRTPSession.looped(profile)
        for ssrc: UInt32 in 1...4 {
          #expect(session.refusal(try session.protect(rtp(1, ssrc: ssrc))) == nil)
          #expect(session.refusal(try session.protect(rtcp(ssrc: ssrc), .rtcp), .rtcp) == nil)
        }
        session.removeIncoming(3)
        session.removeOutgoing(4)
      }
      return thread_live_bytes()
    }
    let before = try live(sessions: 10)
    let after = try live(sessions: 1_000)
    // NSS keeps some objects for the next who wants one, on whatever thread. A stream is longer than 200 bytes.
    #expect(after - before < 200_000, "\(after - before) bytes more after 1,000 sessions")
  }
}
