// RoutingTests.swift — to which section a packet belongs (RFC 8843 §9.2), and that strangers displace nobody.

import Media
import RTP
import Testing
import Wire

@Suite("Routing")
struct RoutingTests {
  private let now = Instant(nanoseconds: 1_000_000_000)

  /// Two of video, one of audio; payload type 96 belongs to both of the first.
  private func sections() -> [MediaSection] {
    var first = video()
    first.remoteSSRCs = [0x10]
    var second = video()
    second.id = 2
    second.mid = "w"
    second.localSSRC = 0x55
    second.remoteSSRCs = [0x20]
    second.payloadTypes[98] = vp8
    second.extensionIDs.rid = 5
    second.rids = ["hi", "lo"]
    var third = audio()
    third.remoteSSRCs = []
    return [first, second, third]
  }

  private func side(limits: MediaLimits = MediaLimits()) -> Side {
    var session = MediaSession(limits: limits, cname: "x", random: .seeded(state: 1))
    session.configure(sections(), now: now)
    session.start(now: now)
    return Side(session)
  }

  private func sectionsOfPackets(_ side: inout Side) -> [Int] {
    side.takeEvents().compactMap { if case .packet(let packet) = $0 { packet.section } else { nil } }
  }

  @Test("the mid decides, and latches the SSRC")
  func mid() throws {
    var side = side()
    side.handle(.rtp, try rtp(1, ssrc: 0x70, mid: "w"), now: now)
    side.handle(.rtp, try rtp(2, ssrc: 0x70), now: now)
    #expect(sectionsOfPackets(&side) == [2, 2])
    // Against what the description announced, too.
    side.handle(.rtp, try rtp(1, ssrc: 0x10, mid: "w"), now: now)
    #expect(sectionsOfPackets(&side) == [2])
    // And it may change its mind.
    side.handle(.rtp, try rtp(3, ssrc: 0x70, mid: "v"), now: now)
    side.handle(.rtp, try rtp(4, ssrc: 0x70), now: now)
    #expect(sectionsOfPackets(&side) == [0, 0])
  }

  @Test("an unknown mid is dropped and counted, whatever else the packet says")
  func unknownMid() throws {
    var side = side()
    side.handle(.rtp, try rtp(1, ssrc: 0x10, mid: "zz"), now: now)
    side.handle(.rtp, try rtp(1, ssrc: 0x71, payloadType: 111, mid: "zz"), now: now)
    #expect(side.takeEvents().isEmpty)
    #expect(side.session.statistics.unroutedPackets == 2)
  }

  @Test("an announced SSRC needs no mid and no probation")
  func announced() throws {
    var side = side()
    side.handle(.rtp, try rtp(1, ssrc: 0x10), now: now)
    side.handle(.rtp, try rtp(1, ssrc: 0x20), now: now)
    #expect(sectionsOfPackets(&side) == [0, 2])
  }

  @Test("a rid that one section has leads there, and names the stream from then on")
  func rid() throws {
    var side = side()
    side.handle(.rtp, try rtp(1, ssrc: 0x72, extensions: [RTPExtension(id: 5, text: "lo")]), now: now)
    side.handle(.rtp, try rtp(2, ssrc: 0x72), now: now)
    let rids = side.takeEvents().compactMap { if case .packet(let packet) = $0 { packet.rid } else { nil } }
    #expect(rids == ["lo", "lo"])
    side.handle(.rtp, try rtp(1, ssrc: 0x73, extensions: [RTPExtension(id: 5, text: "no")]), now: now)
    #expect(side.session.statistics.unroutedPackets == 1)
  }

  @Test("a payload type leads to its section only when no other has it")
  func payloadType() throws {
    var side = side()
    for number: UInt16 in 1...2 {
      side.handle(.rtp, try rtp(number, ssrc: 0x74, payloadType: 98), now: now)
      side.handle(.rtp, try rtp(number, ssrc: 0x75, payloadType: 111), now: now)
      side.handle(.rtp, try rtp(number, ssrc: 0x76, payloadType: 96), now: now)
      side.handle(.rtp, try rtp(number, ssrc: 0x77, payloadType: 50), now: now)
    }
    #expect(sectionsOfPackets(&side).sorted() == [1, 1, 2, 2])
    #expect(side.session.statistics.unroutedPackets == 4)
  }

  @Test("a payload type that the section has not is dropped, as is what a section does not receive")
  func unwanted() throws {
    var side = side()
    side.handle(.rtp, try rtp(1, ssrc: 0x10, payloadType: 98), now: now)
    side.handle(.rtp, try rtp(1, ssrc: 0x78, payloadType: 111, mid: "v"), now: now)
    #expect(side.session.statistics.unwantedPackets == 2)
    var changed = sections()
    changed[0].receives = false
    side.session.configure(changed, now: now)
    side.handle(.rtp, try rtp(2, ssrc: 0x79, mid: "v"), now: now)
    #expect(side.session.statistics.unwantedPackets == 3)
    #expect(side.takeEvents().isEmpty)
  }

  @Test("10,000 SSRCs displace neither the announced stream nor one that is in use", arguments: [true, false])
  func flood(carriesMid: Bool) throws {
    var side = side()
    var now = now
    var random = RandomSource.seeded(state: 99)
    side.handle(.rtp, try rtp(100, ssrc: 0x20), now: now)
    side.handle(.rtp, try rtp(100, ssrc: 0x7f, mid: "w"), now: now)
    side.handle(.rtp, try rtp(101, ssrc: 0x7f, mid: "w"), now: now)
    _ = side.takeEvents()
    for index in 0..<10_000 {
      now = now + .milliseconds(1)
      let ssrc = UInt32.random(in: 0x1000...UInt32.max, using: &random)
      let bytes = try rtp(UInt16(index % 7), ssrc: ssrc, payloadType: 98, mid: carriesMid ? "w" : nil)
      side.handle(.rtp, bytes, now: now)
      if index % 100 == 0 {
        let number = 102 + UInt16(index / 100)
        side.handle(.rtp, try rtp(number, ssrc: 0x20), now: now)
        side.handle(.rtp, try rtp(number, ssrc: 0x7f), now: now)
      }
    }
    var numbers: [UInt32: [UInt16]] = [:]
    for case .packet(let packet) in side.takeEvents() {
      numbers[packet.ssrc, default: []].append(packet.sequenceNumber)
    }
    #expect(numbers[0x20] == Array(102...201))
    #expect(numbers[0x7f] == Array(102...201))
    let statistics = side.session.statistics
    #expect(side.session.statistics(of: 2).streams <= MediaLimits().maximumSSRCsPerSection)
    #expect(statistics.refusedSources + statistics.invalidSequences > 9_000)
    // Another section is not touched at all.
    side.handle(.rtp, try rtp(1, ssrc: 0x10), now: now)
    #expect(sectionsOfPackets(&side) == [0])
  }

  @Test("an announced source always finds a place")
  func announcedFirst() throws {
    var side = side()
    for index: UInt32 in 0..<100 { side.handle(.rtp, try rtp(1, ssrc: 0x100 + index, mid: "v"), now: now) }
    _ = side.takeEvents()
    side.handle(.rtp, try rtp(1, ssrc: 0x10), now: now)
    #expect(sectionsOfPackets(&side) == [0])
    #expect(side.session.statistics(of: 0).streams == MediaLimits().maximumSSRCsPerSection)
  }

  @Test("a stream that fell silent gives way after five seconds")
  func idle() throws {
    var limits = MediaLimits()
    limits.maximumSSRCsPerSection = 2
    var side = side(limits: limits)
    side.handle(.rtp, try rtp(1, ssrc: 0x101, mid: "v"), now: now)
    side.handle(.rtp, try rtp(1, ssrc: 0x102, mid: "v"), now: now)
    side.handle(.rtp, try rtp(1, ssrc: 0x103, mid: "v"), now: now + .seconds(4))
    #expect(side.session.statistics.refusedSources == 1)
    side.handle(.rtp, try rtp(2, ssrc: 0x101), now: now + .seconds(4))
    side.handle(.rtp, try rtp(1, ssrc: 0x103, mid: "v"), now: now + .seconds(6))
    side.handle(.rtp, try rtp(3, ssrc: 0x101), now: now + .seconds(6))
    #expect(sectionsOfPackets(&side).count == 5)
    #expect(side.session.statistics(of: 0).streams == 2)
  }

  @Test("R3: bytes that are no RTP are dropped and counted", arguments: [0, 1, 11, 12, 40])
  func malformed(length: Int) {
    var side = side()
    var random = RandomSource.seeded(state: UInt64(length) + 1)
    for _ in 0..<200 {
      var bytes = random.bytes(length)
      if length > 0 { bytes[0] = 0x90 | bytes[0] & 0x2f }
      side.handle(.rtp, bytes, now: now)
      side.handle(.rtcp, bytes, now: now)
    }
    #expect(side.session.statistics.malformedRTP + side.session.statistics.unroutedPackets == 200)
    #expect(side.takeEvents().isEmpty)
  }
}
