// ValueTests.swift — the values of header extensions, and times.

import RTP
import TestSupport
import Testing
import Wire

@Suite struct ValueTests {
  private func mid(_ text: [UInt8]) -> String? {
    do throws(Malformed) { return try RTPExtensionValue.mid(text.rawSpan) } catch { return nil }
  }
  private func rid(_ text: [UInt8]) -> String? {
    do throws(Malformed) { return try RTPExtensionValue.rid(text.rawSpan) } catch { return nil }
  }

  @Test("an identifier is a token of bounded length")
  func identifiers() {
    #expect(mid(Array("0".utf8)) == "0")
    #expect(mid(Array("audio.1!#$%&'*+^_`{|}~".utf8)) == "audio.1!#$%&'*+^_`{|}~")
    #expect(mid(Array(repeating: 0x61, count: 64))?.count == 64)
    #expect(mid(Array(repeating: 0x61, count: 65)) == nil)
    #expect(mid([]) == nil)
    for byte in 0...255 as ClosedRange<UInt8> {
      let isToken = byte > 0x20 && byte < 0x7f && !"\"(),/:;<=>?@[\\]".utf8.contains(byte)
      #expect((mid([0x61, byte]) != nil) == isToken, "\(byte)")
      let isRid = byte < 0x80 && (Character(UnicodeScalar(byte)).isLetter || Character(UnicodeScalar(byte)).isNumber)
      #expect((rid([0x61, byte]) != nil) == (isRid || byte == 0x2d || byte == 0x5f), "\(byte)")
    }
  }

  @Test("numbers have exactly their lengths")
  func lengths() throws {
    for count in 0...5 {
      let value = [UInt8](repeating: 1, count: count)
      #expect((count == 2) == ((try? RTPExtensionValue.transportSequence(value.rawSpan)) != nil))
      #expect((count == 3) == ((try? AbsoluteSendTime(value.rawSpan)) != nil))
      #expect((1...2).contains(count) == ((try? AudioLevel(value.rawSpan)) != nil))
      #expect((count == 1) == ((try? VideoOrientation(value.rawSpan)) != nil))
    }
  }

  @Test("audio levels and orientations keep their bits")
  func bits() throws {
    #expect(AudioLevel(isVoice: true, level: 200).rawValue == 0xff)
    #expect(AudioLevel(isVoice: false, level: 0).rawValue == 0)
    let level = try AudioLevel(([0x85] as [UInt8]).rawSpan)
    #expect(level.isVoice && level.level == 5)
    let orientation = try VideoOrientation(([0xf9] as [UInt8]).rawSpan)
    #expect(orientation.isBackCamera && !orientation.isFlipped && orientation.quarterTurns == 1)
    #expect(VideoOrientation(isBackCamera: true, isFlipped: true, quarterTurns: 7).rawValue == 0x0f)
  }

  @Test("an absolute send time is the NTP time's seconds modulo 64")
  func sendTime() {
    // 10.5 s into 1970, which is 64 × 34,515,450 s + 0 s into NTP's first era.
    let seconds = (2_208_988_800 + 10) % 64
    let time = AbsoluteSendTime(NTPTime(unixNanoseconds: 10_500_000_000))
    #expect(time.rawValue == UInt32(seconds) << 18 | 1 << 17)
    #expect(time.interval == Interval(nanoseconds: Int64(seconds) * 1_000_000_000 + 500_000_000))
  }

  @Test("wall-clock times go to NTP and back without losing a nanosecond")
  func ntp() {
    // RFC 5905, figure 4: the first day of Unix, and of the second era.
    #expect(NTPTime(unixNanoseconds: 0).rawValue == 2_208_988_800 << 32)
    #expect(NTPTime(unixNanoseconds: 2_085_978_496_000_000_000).rawValue == 0)
    var random = RandomSource.seeded(state: 4)
    for second in [-61_505_152, -1, 0, 1, 1_700_000_000, 2_085_978_495, 2_085_978_496, 4_230_000_000] as [Int64] {
      for rest in [0, 1, 2, 499_999_999, 500_000_000, 999_999_998, 999_999_999, Int64(random.next() % 1_000_000_000)] {
        let time = second * 1_000_000_000 + rest
        #expect(NTPTime(unixNanoseconds: time).unixNanoseconds == time)
      }
    }
    // No 64 bits trap.
    for raw in [0, 1, .max, 1 << 63, 1 << 63 - 1] as [UInt64] { _ = NTPTime(rawValue: raw).unixNanoseconds }
    for time in [Int64.min, .max] { _ = NTPTime(unixNanoseconds: time) }
    #expect(NTPTime(rawValue: 0x1122_3344_5566_7788).middle == 0x3344_5566)
  }

  @Test("spans are in 65536ths, and do not wrap")
  func spans() {
    #expect(NTPInterval(.milliseconds(500)).rawValue == 0x8000)
    #expect(NTPInterval(.seconds(-1)).rawValue == 0)
    #expect(NTPInterval(.seconds(65_535)).rawValue == 0xffff_0000)
    #expect(NTPInterval(.seconds(65_536)).rawValue == .max)
    #expect(NTPInterval(Interval(nanoseconds: .max)).rawValue == .max)
    #expect(NTPInterval(rawValue: 0x0001_8000).interval == .milliseconds(1500))
  }

  @Test("a round trip is what RFC 3550's figure says")
  func roundTrip() {
    // §6.4.1, figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000 make 6.125 s.
    let arrival = NTPTime(rawValue: 0xb44d_b710_8000_0000 as UInt64)
    #expect(
      NTPInterval.roundTrip(arrival: arrival, lastSenderReport: 0xb705_2000, delay: 0x0005_4000)
        == .milliseconds(6125))
    #expect(NTPInterval.roundTrip(arrival: arrival, lastSenderReport: 0, delay: 5) == nil)
    #expect(NTPInterval.roundTrip(arrival: arrival, lastSenderReport: 0xb710_7fff, delay: 2) == .zero)
    // Over the wrap of the middle 32 bits.
    let late = NTPTime(rawValue: 0x0000_0001_0000_0000)
    #expect(NTPInterval.roundTrip(arrival: late, lastSenderReport: 0xffff_0000, delay: 0x8000) == .milliseconds(1500))
  }
}
