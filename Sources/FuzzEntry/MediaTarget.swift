// MediaTarget.swift — a media session driven by commands read from the input: packets in, packets out, time, negotiations.
//
// After each command what must hold is checked: what leaves is well-formed, no number of a source carries two packets, the
// bounds are kept, and a deadline that has been handled is past.

internal import Media
internal import RTP
internal import Wire

/// Runs the input's commands.
public func fuzzMedia(_ input: RawSpan) {
  var reader = ByteReader(input)
  do throws(Malformed) {
    var world = MediaFuzz(seed: UInt64(try reader.readUInt8()))
    var commands = 0
    while !reader.isAtEnd, commands < 1_000 {
      commands += 1
      let command = try reader.readUInt8()
      let operand = reader.isAtEnd ? 0 : try reader.readUInt8()
      switch command & 7 {
      case 0, 1: world.handle(try reader.readBytes(min(Int(operand), reader.remaining)), isRTCP: false)
      case 2, 3: world.handle(try reader.readBytes(min(Int(operand), reader.remaining)), isRTCP: true)
      case 4: world.advance(.milliseconds(Int64(operand) * (command & 8 == 0 ? 1 : 20)))
      case 5: world.send(step: operand, isLarge: command & 8 != 0)
      case 6: world.receive(step: operand, isRetransmission: command & 8 != 0)
      default: world.change(operand)
      }
    }
    world.close()
  } catch {
    return  // fewer bytes than the last command wants
  }
}

private struct MediaFuzz: ~Copyable {
  private var session: MediaSession
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var nextSent: UInt16 = 65_500
  private var nextReceived: UInt16 = 65_500
  /// By SSRC: the highest index that has left, and what left under each.
  private var highest: [UInt32: Int] = [:]
  private var packets: [UInt32: [Int: [UInt8]]] = [:]

  private static let limits = {
    var limits = MediaLimits()
    limits.maximumSSRCsPerSection = 4
    limits.maximumQueuedPackets = 16
    limits.maximumHistoryPackets = 32
    limits.maximumRequestedPackets = 32
    limits.maximumEvents = 64
    return limits
  }()

  init(seed: UInt64) {
    session = MediaSession(limits: Self.limits, cname: "fuzz", random: .seeded(state: seed))
    session.configure(Self.sections(variant: 0), now: now)
    session.start(now: now)
  }

  mutating func handle(_ packet: RawSpan, isRTCP: Bool) {
    if isRTCP { session.handleRTCP(packet, now: now) } else { session.handleRTP(packet, now: now) }
    drain()
  }

  mutating func advance(_ interval: Interval) {
    now = now + interval
    session.handleTimeout(now: now)
    if let deadline = session.deadline { precondition(deadline > now, "a deadline that was handled is past") }
    drain()
  }

  /// A packet that is `step` ahead of the last, or behind.
  mutating func send(step: UInt8, isLarge: Bool) {
    nextSent &+= UInt16(bitPattern: Int16(Int8(bitPattern: step)))
    let payload = [UInt8](repeating: step, count: isLarge ? 1_000 : 10)
    let packet = OutgoingRTP(
      payloadType: 96, marker: step & 1 == 1, sequenceNumber: nextSent, timestamp: UInt32(nextSent) &* 90,
      payload: payload)
    do throws(MediaSendError) {
      try session.send(packet, on: 0, now: now)
    } catch {
      return  // which, the ordinary tests say
    }
  }

  /// A well-formed packet of the peer's, so that the rest has something to work with.
  mutating func receive(step: UInt8, isRetransmission: Bool) {
    if !isRetransmission { nextReceived &+= UInt16(bitPattern: Int16(Int8(bitPattern: step))) }
    let header = RTPHeader(
      payloadType: isRetransmission ? 97 : 96, sequenceNumber: isRetransmission ? UInt16(step) : nextReceived,
      timestamp: UInt32(nextReceived) &* 90, ssrc: isRetransmission ? 0x21 : 0x20)
    let original = nextReceived &- UInt16(step)
    let payload: [UInt8] = [UInt8(original >> 8), UInt8(truncatingIfNeeded: original), step]
    let bytes = collectBytes(capacity: 100) { out in
      do throws(RTPEncodingError) {
        try RTPWriter.write(
          header, extensions: [RTPExtension(id: 3, transportSequence: nextReceived)], payload: payload.rawSpan,
          into: &out)
      } catch {
        preconditionFailure("a small packet is written: \(error)")
      }
    }
    handle(bytes.rawSpan, isRTCP: false)
  }

  mutating func change(_ operand: UInt8) {
    if operand & 8 == 0 {
      _ = session.requestKeyframe(Int(operand & 1), now: now)
    } else {
      session.configure(Self.sections(variant: operand), now: now)
    }
    drain()
  }

  mutating func close() {
    session.close(now: now)
    drain()
    precondition(session.deadline == nil, "a closed session waits for nothing")
  }

  // MARK: Checks

  private mutating func drain() {
    var count = 0
    while let (kind, bytes) = poll() {
      count += 1
      precondition(count < 1_000, "what one command makes a session send is bounded")
      precondition(bytes.count <= session.transmitCapacity, "a packet has the room that was asked for")
      switch kind {
      case .rtp: checkRTP(bytes)
      case .rtcp: checkRTCP(bytes)
      }
    }
    var events = 0
    while session.pollEvent() != nil { events += 1 }
    precondition(events <= Self.limits.maximumEvents, "events are bounded")
    for section in 0..<2 {
      let streams = session.statistics(of: section).streams
      precondition(streams <= Self.limits.maximumSSRCsPerSection, "sources are bounded")
    }
  }

  private mutating func poll() -> (MediaPacketKind, [UInt8])? {
    var kind: MediaPacketKind?
    let bytes = collectBytes(capacity: session.transmitCapacity) { out in
      kind = session.pollTransmit(into: &out, now: now)
    }
    return kind.map { ($0, bytes) }
  }

  private mutating func checkRTP(_ bytes: [UInt8]) {
    do throws(Malformed) {
      let header = try RTPPacketView(bytes.rawSpan).header
      let before = highest[header.ssrc] ?? Int(header.sequenceNumber)
      let index = before + Int(Int16(truncatingIfNeeded: Int(header.sequenceNumber) - before))
      highest[header.ssrc] = max(before, index)
      if let known = packets[header.ssrc]?[index] { precondition(known == bytes, "one number, one packet") }
      packets[header.ssrc, default: [:]][index] = bytes
    } catch {
      preconditionFailure("what is sent is read: \(error)")
    }
  }

  private func checkRTCP(_ bytes: [UInt8]) {
    do throws(Malformed) {
      var compound = try RTCPCompound(bytes.rawSpan, form: .reducedSize)
      while try compound.next() != nil {}
    } catch {
      preconditionFailure("what is sent is read: \(error)")
    }
  }

  // MARK: Sections

  private static func sections(variant: UInt8) -> [MediaSection] {
    let codec = MediaCodec(
      name: "VP8", clockRate: 90_000, hasNACK: true, hasPLI: variant & 1 == 0, hasFIR: true, hasREMB: true,
      hasTransportCC: true)
    let rtx = MediaCodec(name: "rtx", clockRate: 90_000, rtxFor: 96)
    let video = MediaSection(
      id: 0, mid: variant & 2 == 0 ? "v" : "w", kind: .video, sends: variant & 4 == 0, receives: variant & 16 == 0,
      payloadTypes: [96: codec, 97: rtx],
      extensionIDs: MediaExtensionIDs(mid: 1, rid: 4, repairedRid: 5, transportSequence: 3, absoluteSendTime: 2),
      localSSRC: 0x10, localRTXSSRC: variant & 32 == 0 ? 0x11 : nil, remoteSSRCs: [0x20],
      remoteRTX: variant & 64 == 0 ? [0x21: 0x20] : [:], rids: ["r"], usesReducedSize: variant & 128 == 0)
    let audio = MediaSection(
      id: 1, mid: "a", kind: .audio, sends: true, receives: true,
      payloadTypes: [111: MediaCodec(name: "opus", clockRate: 48_000, channels: 2)],
      extensionIDs: MediaExtensionIDs(mid: 1), localSSRC: 0x12, remoteSSRCs: [])
    return variant & 8 == 0 ? [video, audio] : [audio, video]
  }
}
