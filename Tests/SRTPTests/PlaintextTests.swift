// PlaintextTests.swift — who has the key may still lie: lengths that are only seen after decryption.

import RTP
import SRTP
import Testing
import Wire

@Suite struct PlaintextTests {
  /// What the parser makes of a packet that came in: its payload and padding, or why not.
  private func parse(_ packet: [UInt8]) -> Result<(payload: [UInt8], padding: Int), Malformed> {
    do throws(Malformed) {
      let view = try RTPPacketView(packet.rawSpan)
      return .success((view.payload.copyBytes(), view.paddingCount))
    } catch {
      return .failure(error)
    }
  }

  @Test(
    "R3: a count of padding of 0, beyond the payload, or 255 in a short packet is refused",
    arguments: SRTPProfile.allCases)
  func padding(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    var number = 0
    for length in [0, 1, 2, 20, 254, 255, 256] {
      for count in [0, 1, length - 1, length, length + 1, 255] where (0...255).contains(count) {
        var payload = [UInt8](repeating: 0x77, count: length)
        if length > 0 { payload[length - 1] = UInt8(count) }
        let packet = rtp(number, first: 0xa0, payload: payload)
        number += 1
        let protected = try session.protect(packet)
        let opened = try session.unprotect(protected)
        #expect(opened == packet)
        switch parse(opened) {
        case .success(let (rest, padding)):
          #expect((1...length).contains(count) && padding == count && rest.count == length - count)
        case .failure: #expect(length == 0 || count == 0 || count > length)
        }
      }
    }
    #expect(session.counters.unprotected >= 30)
  }

  @Test(
    "R3: extension elements that run past their extension are refused after decryption", arguments: SRTPProfile.allCases
  )
  func extensions(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    let headers: [(bytes: [UInt8], isWellFormed: Bool)] = [
      ([0xbe, 0xde, 0, 1, 0x12, 1, 2, 3], true), ([0xbe, 0xde, 0, 1, 0x13, 1, 2, 3], false),
      ([0x10, 0x00, 0, 1, 1, 2, 1, 2], true), ([0x10, 0x00, 0, 1, 1, 3, 1, 2], false),
      ([0x10, 0x00, 0, 1, 0, 0, 0, 9], false), ([0xbe, 0xde, 0, 0], true),
    ]
    for (number, header) in headers.enumerated() {
      let packet = rtp(number, first: 0x90, payload: header.bytes + [9, 9])
      let opened = try session.unprotect(try session.protect(packet))
      #expect(opened == packet)
      switch parse(opened) {
      case .success(let (payload, _)): #expect(header.isWellFormed && payload == [9, 9], "\(header.bytes)")
      case .failure: #expect(!header.isWellFormed, "\(header.bytes)")
      }
    }
  }
}
