// WireTests.swift — readers, writers, serial numbers, timers and addresses.

import Testing
import TestSupport
import Wire

@Suite struct ByteReaderTests {
  @Test func readsBigEndianAndRefusesPastTheEnd() throws {
    let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7]
    var reader = ByteReader(bytes.rawSpan)
    let (first, second, third) = (try reader.readUInt8(), try reader.readUInt16(), try reader.readUInt32())
    #expect((first, second, third) == (1, 0x0203, 0x0405_0607))
    var failure: Malformed?
    do { _ = try reader.readUInt8() } catch { failure = error }
    #expect(failure == .truncated)
    let offset = reader.offset
    #expect(offset == 7)
  }

  @Test func negativeCountIsRefused() {
    let bytes: [UInt8] = [1, 2]
    var reader = ByteReader(bytes.rawSpan)
    var failure: Malformed?
    do { try reader.skip(-1) } catch { failure = error }
    #expect(failure == .truncated)
  }

  @Test func writerPatchesWhatItWrote() {
    let bytes = collectBytes(capacity: 32) { out in
      out.writeUInt16(0)
      out.writeUInt32(0xdead_beef)
      out.writeBytes([9, 9, 9])
      out.writePadding(after: 3)
      out.patchUInt16(7, at: 0)
    }
    #expect(bytes == [0, 7, 0xde, 0xad, 0xbe, 0xef, 9, 9, 9, 0])
  }
}

private struct Number: SerialNumber { var rawValue: UInt32 }

@Suite struct SerialNumberTests {
  @Test func orderWrapsAround() {
    #expect(Number(rawValue: 0xffff_ffff) < Number(rawValue: 0))
    #expect(!(Number(rawValue: 0) < Number(rawValue: 0)))
    #expect(Number(rawValue: 5).distance(from: Number(rawValue: 0xffff_fffe)) == 7)
    #expect(!Number(rawValue: 0x8000_0000).isAfter(Number(rawValue: 0)))
  }
}

@Suite struct RetransmitTimerTests {
  @Test func doublesUpToItsCeiling() {
    var timer = RetransmitTimer(initial: .milliseconds(500), ceiling: .milliseconds(3_000))
    var now = Instant(nanoseconds: 0)
    timer.start(now: now)
    var gaps: [Int64] = []
    for _ in 0..<5 {
      guard let due = timer.deadline else { break }
      gaps.append((due - now).nanoseconds / 1_000_000)
      now = due
      let expired = timer.expire(now: now)
      #expect(expired)
    }
    #expect(gaps == [500, 1000, 2000, 3000, 3000])
    timer.stop()
    let expired = timer.expire(now: now)
    #expect(timer.deadline == nil && !expired)
  }

  @Test func tenThousandExpiriesStayAtTheCeiling() throws {
    var timer = RetransmitTimer(initial: .seconds(1), ceiling: .seconds(60))
    var now = Instant(nanoseconds: 0)
    timer.start(now: now)
    for _ in 0..<10_000 {
      let due = try #require(timer.deadline)
      #expect(due - now <= .seconds(60))
      now = due
      _ = timer.expire(now: now)
    }
    #expect(timer.expirations == 10_000)
  }
}

@Suite struct SocketAddressTests {
  @Test(arguments: [
    "0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1:2:3:4%3", "1::", "1:2:3:4:5:6:7:8",
    "2001:db8:0:1:1:1:1:1", "2001:0:0:1::1",
  ])
  func textRoundTrips(_ text: String) { #expect(IPAddress(text)?.description == text) }

  @Test func mappedFormIsRead() { #expect(IPAddress("::ffff:1.2.3.4") == .v6(0, 0xffff_0102_0304, zone: 0)) }

  @Test(arguments: [
    "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.-4", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "12345::",
    "g::",
    "1:2:3:4:5:6:7:8:9", "::1%x", "host", "+1::",
  ])
  func nonsenseIsRefused(_ text: String) { #expect(IPAddress(text) == nil) }

  @Test func socketAddresses() {
    #expect(SocketAddress("127.0.0.1:80")?.port == 80)
    #expect(SocketAddress("[::1]:65535")?.description == "[::1]:65535")
    for bad in ["::1:80", "127.0.0.1", "127.0.0.1:65536", "[::1]", ":80"] {
      #expect(SocketAddress(bad) == nil, "\(bad)")
    }
  }
}
