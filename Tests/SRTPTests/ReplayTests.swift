// ReplayTests.swift — each packet once, late ones within the window, and the index as it passes 2^16 and ends.

import SRTP
import Testing
import Wire

@Suite struct ReplayTests {
  private static let ssrc: UInt32 = 0x5eed_0001

  @Test("R4: the same packet twice is refused, of RTP and of RTCP", arguments: SRTPProfile.allCases)
  func samePacketTwice(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    for family in PacketFamily.allCases {
      let packet = family == .rtp ? rtp(1) : rtcp()
      let protected = try session.protect(packet, family)
      #expect(try session.unprotect(protected, family) == packet)
      #expect(session.refusal(protected, family) == .replayed)
      #expect(session.refusal(protected, family) == .replayed)
    }
    #expect(session.counters.replay == 4 && session.counters.unprotected == 2)
  }

  @Test(
    "R4: late packets come in while they are within the window, once, and no later", arguments: SRTPProfile.allCases)
  func windowEdges(profile: SRTPProfile) throws {
    let window = SRTPSession.replayWindow
    var session = try SRTPSession.looped(profile)
    let newest = 5_000
    let protected = try (0...newest).map { try session.protect(rtp($0)) }
    #expect(session.refusal(protected[newest]) == nil)
    #expect(session.refusal(protected[newest - window]) == .tooOld)
    #expect(session.refusal(protected[newest - window + 1]) == nil)
    #expect(session.refusal(protected[newest - window + 1]) == .replayed)
    #expect(session.refusal(protected[newest - 1]) == nil)
    #expect(session.refusal(protected[newest]) == .replayed)
    #expect(session.refusal(protected[0]) == .tooOld)
  }

  @Test("RTCP: the window is 128 reports long")
  func reportWindow() throws {
    var session = try SRTPSession.looped(.aeadAES128GCM)
    let protected = try (0..<400).map { _ in try session.protect(rtcp(), .rtcp) }
    #expect(session.refusal(protected[399], .rtcp) == nil)
    #expect(session.refusal(protected[271], .rtcp) == .tooOld)
    #expect(session.refusal(protected[272], .rtcp) == nil)
    #expect(session.refusal(protected[272], .rtcp) == .replayed)
  }

  @Test("R4: a gap of less than 2^15 is bridged", arguments: [1, 1_023, 1_024, 2_047, 2_048, 32_767])
  func gaps(gap: Int) throws {
    var session = try SRTPSession.looped(.aeadAES128GCM)
    #expect(session.refusal(try session.protect(rtp(40_000))) == nil)
    let after = try session.protect(rtp(40_000 + gap))
    #expect(session.refusal(after) == nil)
    #expect(session.refusal(after) == .replayed)
    let counter: UInt32 = 40_000 + gap > 0xffff ? 1 : 0
    #expect(session.incomingRolloverCounter(of: Self.ssrc) == counter)
    #expect(session.outgoingRolloverCounter(of: Self.ssrc) == counter)
  }

  @Test("R4: a forged jump of 2^15 changes nothing of what comes in next", arguments: SRTPProfile.allCases)
  func forgedJump(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    #expect(session.refusal(try session.protect(rtp(40_000))) == nil)
    let genuine = try (40_001...40_010).map { try session.protect(rtp($0)) }
    for jump in [1_000, 32_767, 32_768, 40_000, 65_535] {
      var forged = genuine[0]
      forged.replaceSubrange(2..<4, with: bigEndian(UInt16(truncatingIfNeeded: 40_000 + jump)))
      #expect(session.refusal(forged) != nil)
    }
    #expect(session.incomingRolloverCounter(of: Self.ssrc) == 0)
    for packet in genuine { #expect(session.refusal(packet) == nil) }
  }

  @Test("R4: 2^17 packets pass the rollover twice, and old ones stay out", arguments: SRTPProfile.allCases)
  func rollover(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    var kept: [[UInt8]] = []
    var wrong = 0
    let newest = (1 << 17) + 100
    let lost = newest - 50
    for number in 0...newest {
      let protected = try session.protect(rtp(number, payload: [1]))
      if [0, 50, 51, 65_535, 65_586, 65_587, 131_071].contains(number) { kept.append(protected) }
      if number == lost { continue }
      if try session.unprotect(protected) != rtp(number, payload: [1]) { wrong += 1 }
    }
    #expect(wrong == 0)
    #expect(session.incomingRolloverCounter(of: Self.ssrc) == 2)
    #expect(session.outgoingRolloverCounter(of: Self.ssrc) == 2)
    // A number that came in lately is a replay; one that is still awaited is held against the new index.
    let refusals: [SRTPError?] = [
      .replayed, .authenticationFailed, .replayed, .replayed, .authenticationFailed, .replayed, .replayed,
    ]
    for (packet, refusal) in zip(kept, refusals) { #expect(session.refusal(packet) == refusal) }
    #expect(session.refusal(try session.protect(rtp(lost, payload: [1]))) == nil)
  }

  @Test("R4: packets that overtake each other across the rollover come in", arguments: SRTPProfile.allCases)
  func reorderedRollover(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let numbers = Array(65_500..<65_600)
    let protected = try numbers.map { try session.protect(rtp($0)) }
    var random = RandomSource.seeded(state: 7)
    // The first stays first: it tells the receiver where the numbers are.
    let order = [0] + numbers.indices.dropFirst().shuffled(using: &random)
    for place in order { #expect(try session.unprotect(protected[place]) == rtp(numbers[place])) }
    for place in order { #expect(session.refusal(protected[place]) == .replayed) }
    #expect(session.incomingRolloverCounter(of: Self.ssrc) == 1)
  }

  @Test("another SSRC has its own index, and one that is changed into another is not let in")
  func ssrcs() throws {
    var session = try SRTPSession.looped(.aes128CMSHA1)
    let first = try session.protect(rtp(7, ssrc: 1))
    let second = try session.protect(rtp(7, ssrc: 2))
    #expect(first != second)
    var forged = first
    forged[11] = 2
    #expect(session.refusal(forged) == .authenticationFailed)
    #expect(session.refusal(first) == nil && session.refusal(second) == nil)
    #expect(session.refusal(first) == .replayed)
    #expect(session.incomingSSRCCount == 2 && session.outgoingSSRCCount == 2)
  }

  @Test(
    "the identical packet goes out again with the same bytes; a changed one does not", arguments: SRTPProfile.allCases)
  func repeats(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let count = 5_000
    let oldest = count - SRTPSession.replayWindow
    let protected = try (0..<count).map { try session.protect(rtp($0)) }
    for number in [count - 1, count - 2, count - 1_500, oldest] {
      #expect(try session.protect(rtp(number)) == protected[number])
      #expect(session.protectRefusal(rtp(number, payload: Array("another".utf8))) == .alteredRepeat)
      var marked = rtp(number)
      marked[1] ^= 0x80
      #expect(session.protectRefusal(marked) == .alteredRepeat)
      #expect(try session.protect(rtp(number)) == protected[number])
    }
    #expect(session.protectRefusal(rtp(oldest - 1)) == .tooOld)
    // What was left out may still come, once it is new, even if a packet of a window ago had its place.
    _ = try session.protect(rtp(count + 100))
    _ = try session.protect(rtp(count + 50))
    #expect(session.protectRefusal(rtp(count + 50, payload: [])) == .alteredRepeat)
  }

  @Test("an altered repeat leaves nothing in the caller's span")
  func nothingOfAnAlteredRepeat() throws {
    var session = try SRTPSession.looped(.aeadAES128GCM)
    _ = try session.protect(rtp(1))
    let bytes = collectBytes(capacity: 200) { out in
      out.writeBytes([1, 2, 3].rawSpan)
      let altered = rtp(1, payload: [9, 9, 9])
      do throws(SRTPError) {
        try session.protectRTP(altered.rawSpan, into: &out)
        Issue.record("it went out")
      } catch {
        #expect(error == .alteredRepeat)
      }
    }
    #expect(bytes == [1, 2, 3])
  }

  @Test("the key ends with index 2^48 of RTP", arguments: SRTPProfile.allCases)
  func lastIndex(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    #expect(session.refusal(try session.protect(rtp(1))) == nil)
    let areSet = [
      session.setOutgoingRolloverCounter(.max, of: Self.ssrc), session.setIncomingRolloverCounter(.max, of: Self.ssrc),
      session.setOutgoingRolloverCounter(.max, of: 99), session.setIncomingRolloverCounter(.max, of: 99),
    ]
    #expect(areSet == [true, true, false, false])
    for number in [0xfff0, 0xfffe, 0xffff] { #expect(session.refusal(try session.protect(rtp(number))) == nil) }
    #expect(session.protectRefusal(rtp(0)) == .keyExhausted)
    #expect(session.protectRefusal(rtp(0x7000)) == .keyExhausted)
    #expect(session.outgoingRolloverCounter(of: Self.ssrc) == .max)
    // What is left of the last numbers may go, and another SSRC has its own.
    #expect(session.refusal(try session.protect(rtp(0xfffd))) == nil)
    #expect(session.refusal(try session.protect(rtp(0, ssrc: 2))) == nil)
  }

  @Test("the last index of RTCP, 2^31 - 1, comes in once", arguments: SRTPProfile.allCases)
  func lastReport(profile: SRTPProfile) throws {
    let packets = try ProtectedPacket.derived().filter { $0.profile == profile && $0.family == .rtcp }
    let last = try #require(packets.last)
    #expect(last.number == 0x7fff_ffff)
    var session = try last.session()
    #expect(try session.unprotect(last.protected, .rtcp) == last.plain)
    #expect(session.refusal(last.protected, .rtcp) == .replayed)
    // Nothing that is older than the window comes in any more.
    for packet in packets.dropLast() { #expect(session.refusal(packet.protected, .rtcp) == .tooOld) }
  }
}
