// FeedbackTests.swift — NACK, REMB and transport-wide feedback: what the fields can say, both ways.

import RTP
import TestSupport
import Testing
import Wire

@Suite struct FeedbackTests {
  private func lost(_ pairs: [RTCPNackPair]) throws -> [UInt16] {
    let bytes = try WrittenPackets.reduced("") { (writer, out) throws(RTPEncodingError) in
      try writer.nack(sender: 1, media: 2, pairs, into: &out)
    }.bytes
    var compound = try RTCPCompound(bytes.rawSpan, form: .reducedSize)
    guard case .nack(let nack) = try compound.next() else {
      Issue.record("a NACK is read as one")
      return []
    }
    #expect((0..<nack.pairCount).map { nack.pair($0) } == pairs)
    var numbers: [UInt16] = []
    var iterator = nack.sequenceNumbers
    while let number = iterator.next() { numbers.append(number) }
    return numbers
  }

  @Test("a NACK names the same numbers with the fewest pairs")
  func nack() throws {
    let cases: [([UInt16], Int)] = [
      ([5], 1), (Array(5...21), 1), (Array(5...22), 2), ([5, 21, 22, 38], 2), ([0, 17, 34], 3),
      ([65_535, 0, 15], 1), ([65_535, 0, 16], 2), ([7, 7, 8, 8], 1),
    ]
    for (numbers, count) in cases {
      let pairs = RTCPNackPair.pairs(numbers)
      #expect(pairs.count == count, "\(numbers)")
      #expect(try lost(pairs) == numbers.reduce(into: []) { list, n in if list.last != n { list.append(n) } })
    }
    #expect(RTCPNackPair.pairs([]).isEmpty)
  }

  @Test("any numbers in any order are named, if not by the fewest pairs", arguments: 1...20 as ClosedRange<UInt64>)
  func nackOfAnything(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    let numbers = (0..<50).map { _ in UInt16(truncatingIfNeeded: random.next() % 100) &+ 65_500 }
    #expect(Set(try lost(RTCPNackPair.pairs(numbers))) == Set(numbers), "seed \(seed)")
  }

  @Test("a bitrate keeps eighteen bits, and one beyond 64 bits is the largest")
  func bitrate() throws {
    func read(_ word: UInt32) throws -> String {
      let bytes: [UInt8] =
        [0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0x52, 0x45, 0x4d, 0x42]
        + (0..<4).map { UInt8(word >> (24 - 8 * $0) & 0xff) }
      return try summary(ofRTCP: bytes)
    }
    #expect(try read(0) == "remb 1 0 []")
    #expect(try read(0x0003_ffff) == "remb 1 262143 []")
    #expect(try read(46 << 18 | 0x3_ffff) == "remb 1 \((0x3_ffff as UInt64) << 46) []")
    #expect(try read(47 << 18 | 0x3_ffff) == "remb 1 \(UInt64.max) []")
    #expect(try read(63 << 18 | 1) == "remb 1 \((1 as UInt64) << 63) []")
    #expect(try read(63 << 18 | 2) == "remb 1 \(UInt64.max) []")
    #expect(try read(63 << 18) == "remb 1 0 []")
    for bitrate in [0, 1, 262_143, 262_144, 999_999_999, .max] as [UInt64] {
      let bytes = try WrittenPackets.reduced("") { (writer, out) throws(RTPEncodingError) in
        try writer.maximumBitrate(sender: 1, bitrate: bitrate, sources: [], into: &out)
      }.bytes
      let dropped = max(0, 46 - bitrate.leadingZeroBitCount)
      #expect(try summary(ofRTCP: bytes) == "remb 1 \((bitrate >> dropped) << dropped) []")
    }
  }

  // MARK: Transport-wide

  /// A body after base 1, this count, reference 0.
  private func feedback(_ count: UInt16, _ rest: [UInt8]) -> [UInt8] {
    let body: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 2, 0, 1, UInt8(count >> 8), UInt8(count & 0xff), 0, 0, 0, 0] + rest
    let padded = body + Array(repeating: 0, count: -body.count & 3)
    return [0x8f, 205, 0, UInt8(padded.count / 4)] + padded
  }

  private func error(_ bytes: [UInt8]) -> Malformed? {
    do {
      _ = try summary(ofRTCP: bytes)
      return nil
    } catch { return error as? Malformed }
  }

  @Test("feedback that does not hold what it counts is refused")
  func refusals() {
    #expect(error(feedback(1, [])) == .truncated)  // no chunk
    #expect(error(feedback(8, [0x20, 8, 1, 1])) == .truncated)  // eight small deltas claimed
    #expect(error(feedback(2, [0x40, 2, 1, 1])) == .truncated)  // two large ones
    #expect(error(feedback(8191, [0x00, 5, 0x00, 6])) == .truncated)  // chunks of 11
    #expect(error(feedback(1, [0x60, 1, 0, 0])) == .badValue)  // the reserved symbol, as a run
    #expect(error(feedback(2, [0xcc, 0, 0, 0])) == .badValue)  // and in a vector
    #expect(error(feedback(2, [0xc0, 3, 0, 0])) == nil)  // where nobody counts it
    #expect(error(feedback(65_535, [0x9f, 0xff] + Array(repeating: 0, count: 20))) == .truncated)
  }

  @Test("no more is told than the count, whatever the chunks hold")
  func bounded() throws {
    #expect(try summary(ofRTCP: feedback(0, [])) == "tcc 1 2 base=1 ref=0 count=0 []")
    #expect(try summary(ofRTCP: feedback(1, [0x3f, 0xff, 7, 0])) == "tcc 1 2 base=1 ref=0 count=0 [7]")
    #expect(try summary(ofRTCP: feedback(3, [0xbf, 0xff, 7, 8, 9, 10])) == "tcc 1 2 base=1 ref=0 count=0 [7,8,9]")
    // Empty runs are passed by.
    #expect(try summary(ofRTCP: feedback(1, [0x20, 0, 0, 0, 0x20, 1, 4])) == "tcc 1 2 base=1 ref=0 count=0 [4]")
  }

  @Test("65,535 lost packets in 16 bytes of chunks are stepped over at once")
  func lostRuns() throws {
    let run: [UInt8] = [0x1f, 0xff]
    let chunks: [UInt8] = (0..<8).flatMap { _ in run } + [0x20, 1]
    let bytes = feedback(8 * 8191 + 1, chunks + [9])
    var compound = try RTCPCompound(bytes.rawSpan, form: .reducedSize)
    guard case .transportFeedback(let told) = try compound.next() else {
      Issue.record("feedback is read as feedback")
      return
    }
    var statuses = told.statuses
    let first = statuses.nextReceived()
    #expect(first == RTCPPacketStatus(sequenceNumber: UInt16(truncatingIfNeeded: 1 + 8 * 8191), delta: 9))
    let second = statuses.nextReceived()
    #expect(second == nil)
  }

  /// Arrivals by sequence number, as deltas tell them; nil where none.
  private func arrivals(_ bytes: [UInt8]) throws -> [(UInt16, Int64)] {
    var compound = try RTCPCompound(bytes.rawSpan, form: .reducedSize)
    guard case .transportFeedback(let told) = try compound.next() else { return [] }
    var tick = Int64(told.referenceTime) * 256
    var result: [(UInt16, Int64)] = []
    var all = told.statuses
    var count = 0
    while let status = all.next() {
      count += 1
      guard let delta = status.delta else { continue }
      tick += Int64(delta)
      result.append((status.sequenceNumber, tick))
    }
    #expect(count == told.statusCount)
    // The shorter walk tells of the same packets.
    var received = told.statuses
    var index = 0
    while let status = received.nextReceived() {
      #expect(status.sequenceNumber == result[index].0)
      index += 1
    }
    #expect(index == result.count)
    return result
  }

  @Test("what a receiver adds is what a sender reads, to 250 µs", arguments: 1...200 as ClosedRange<UInt64>)
  func roundTrip(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    func pick(_ n: Int) -> Int { Int(random.next() % UInt64(n)) }
    let maximum = [RTCPTransportFeedbackBuilder.minimumByteCount, 64, 200, 1200][pick(4)]
    var sequence = UInt16(truncatingIfNeeded: random.next())
    var now = Int64(pick(1 << 40)) - (1 << 39)
    // How often packets are lost, and how unevenly they come, differs from seed to seed.
    let (loss, spread) = ([1, 2, 10, 300][pick(4)], [100_000, 20_000_000, 400_000_000][pick(3)])
    var sent: [(UInt16, Int64)] = []
    var builder: RTCPTransportFeedbackBuilder?
    var expected: [(UInt16, Int64)] = []
    var packets = 0
    func check(_ builder: RTCPTransportFeedbackBuilder, _ expected: [(UInt16, Int64)]) throws {
      packets += 1
      let bytes = try WrittenPackets.reduced("") { (writer, out) throws(RTPEncodingError) in
        try writer.transportFeedback(builder, sender: 1, media: 2, feedbackCount: 3, into: &out)
      }.bytes
      #expect(bytes.count == builder.byteCount && bytes.count <= (maximum + 3) & ~3, "seed \(seed)")
      let told = try arrivals(bytes)
      #expect(told.map(\.0) == expected.map(\.0), "seed \(seed)")
      #expect(told.map { $0.1 & 0xffff_ffff } == expected.map { $0.1 & 0xffff_ffff }, "seed \(seed)")
    }
    for _ in 0..<600 {
      sequence &+= UInt16(1 + (pick(4) == 0 ? pick(loss) : 0))
      now += Int64(pick(spread)) - (pick(10) == 0 ? Int64(spread) / 2 : 0)
      let arrival = Instant(nanoseconds: now)
      sent.append((sequence, now))
      // Floored to the unit; the builder's deltas lead there exactly.
      let tick = (now - ((now % 250_000) + 250_000) % 250_000) / 250_000
      if var current = builder {
        if current.add(sequenceNumber: sequence, arrival: arrival) {
          builder = current
          expected.append((sequence, tick))
          continue
        }
        try check(current, expected)
      }
      builder = RTCPTransportFeedbackBuilder(sequenceNumber: sequence, arrival: arrival, maximumByteCount: maximum)
      expected = [(sequence, tick)]
    }
    if let builder { try check(builder, expected) }
    #expect(packets > 0)
  }

  @Test("what does not fit is refused, and changes nothing")
  func limits() throws {
    let start = Instant(nanoseconds: 640_000_000)
    var builder = RTCPTransportFeedbackBuilder(sequenceNumber: 10, arrival: start, maximumByteCount: 1200)
    let before = builder.byteCount
    // Told already, behind it, and too long before and after it.
    var taken = [
      builder.add(sequenceNumber: 10, arrival: start), builder.add(sequenceNumber: 9, arrival: start),
      builder.add(sequenceNumber: 11, arrival: start + .milliseconds(8192)),
      builder.add(sequenceNumber: 11, arrival: start + .microseconds(-8_192_250)),
    ]
    #expect(taken == [false, false, false, false])
    #expect(builder.byteCount == before && builder.statusCount == 1)
    taken = [
      builder.add(sequenceNumber: 11, arrival: start + .microseconds(8_191_750)),
      builder.add(sequenceNumber: 12, arrival: start + .microseconds(-250)),
    ]
    #expect(taken == [true, true])
    #expect(builder.statusCount == 3)
    // The longest feedback that the count can say.
    var far = RTCPTransportFeedbackBuilder(sequenceNumber: 0, arrival: start, maximumByteCount: 1200)
    taken = [0x8001, 0x8000, 0xfffd, 0xfffe, 0xffff].map { far.add(sequenceNumber: $0, arrival: start) }
    #expect(taken == [false, true, true, true, false])
    #expect(far.statusCount == 0xffff)
    let bytes = try WrittenPackets.reduced("") { (writer, out) throws(RTPEncodingError) in
      try writer.transportFeedback(far, sender: 1, media: 2, feedbackCount: 3, into: &out)
    }.bytes
    #expect(bytes.count < 60)
    #expect(try arrivals(bytes).map(\.0) == [0, 0x8000, 0xfffd, 0xfffe])
  }
}
