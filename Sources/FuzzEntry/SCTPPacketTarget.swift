// SCTPPacketTarget.swift — one packet: read chunk by chunk, and handed to associations in different states.
//
// A fuzzer does not guess checksums and tags, so both are set right; whoever forges packets inside DTLS could too.

internal import SCTP
internal import Wire

/// Reads the input as a packet; then lets associations that are new, waiting and established take it.
public func fuzzSCTPPacket(_ input: RawSpan) {
  readChunks(of: input)
  guard input.byteCount >= PacketHeader.byteCount else { return }
  for stage in 0..<4 {
    var pair = AssociationPair(seed: 11)
    if stage >= 1 { pair.connectLeft() }
    if stage >= 2 { pair.connectBoth() }
    if stage >= 3 { pair.leaveDataUnderWay() }
    pair.left.handle(repaired(input, tag: pair.leftTag), now: pair.now)
    pair.settle()
  }
}

/// The input with the right tag, unless it has none, as an INIT, and the right checksum.
private func repaired(_ input: RawSpan, tag: UInt32) -> [UInt8] {
  collectBytes(capacity: input.byteCount) { out in
    out.writeBytes(input)
    out.patchUInt32(0x1388_1388, at: 0)  // port 5000 on both sides
    if input.uint32(at: 4) != 0 { out.patchUInt32(tag, at: 4) }
    out.patchUInt32(0, at: 8)
    PacketChecksum.patch(&out, packetAt: 0)
  }
}

private func readChunks(of input: RawSpan) {
  do throws(Malformed) {
    _ = try PacketHeader(input)
    _ = PacketChecksum.isCorrect(input)
    var chunks = ChunkReader(input)
    var budget = input.byteCount / 4
    while let chunk = try chunks.next() {
      budget -= 1
      precondition(budget >= 0, "each chunk moves the reader ahead")
      read(chunk)
    }
  } catch {
    return  // what a refusal is
  }
}

private func read(_ chunk: borrowing Chunk) {
  do throws(Malformed) {
    switch chunk.type {
    case ChunkType.data: _ = try DataHeader(chunk)
    case ChunkType.initiation, ChunkType.initiationAck: _ = try InitChunk(chunk)
    case ChunkType.sack:
      let sack = try SackChunk(chunk)
      for index in 0..<sack.gapBlockCount { _ = sack.gapBlock(index) }
      for index in 0..<sack.duplicateCount { _ = sack.duplicate(index) }
    case ChunkType.forwardTSN:
      let forward = try ForwardTSNChunk(chunk)
      for index in 0..<forward.skippedCount { _ = forward.skipped(index) }
    case ChunkType.reconfig:
      var parameters = ParameterReader(chunk.value)
      while let parameter = try parameters.next() { _ = try ReconfigParameter(parameter) }
    default: return
    }
  } catch {
    return
  }
}

/// Two associations with nothing between them, of which the left one is under attack.
private struct AssociationPair: ~Copyable {
  var left: SCTPAssociation
  var right: SCTPAssociation
  var leftTag: UInt32 = 0
  var now = Instant(nanoseconds: 0)
  private var isLeftUsed = false

  init(seed: UInt64) {
    left = SCTPAssociation(configuration: Self.configuration, random: .seeded(state: seed))
    right = SCTPAssociation(configuration: Self.configuration, random: .seeded(state: seed + 1))
  }

  mutating func connectLeft() {
    left.connect(now: now)
    let initiation = left.nextPacket(now: now)
    // An INIT's first field is the tag that its sender wants to be called by.
    if let initiation, initiation.count >= 20 { leftTag = initiation.rawSpan.uint32(at: 16) }
    if let initiation { right.handle(initiation, now: now) }
  }

  mutating func connectBoth() {
    right.connect(now: now)
    exchange()
    precondition(left.state == .established, "two associations without loss connect")
  }

  /// Some messages are sent: the first packets arrive, the rest does not.
  mutating func leaveDataUnderWay() {
    for stream in 0..<3 as Range<UInt16> {
      do throws(SCTPSendError) {
        let payload = [UInt8](repeating: 1, count: 3000)
        try left.send(OutgoingMessage(stream: stream, payloadProtocol: .binary, payload: payload), now: now)
        try right.send(OutgoingMessage(stream: stream, payloadProtocol: .binary, payload: payload), now: now)
      } catch {
        preconditionFailure("a new association takes a few messages: \(error)")
      }
    }
    if let packet = right.nextPacket(now: now) { left.handle(packet, now: now) }
    while left.nextPacket(now: now) != nil {}
  }

  private mutating func exchange() {
    for _ in 0..<20 {
      while let packet = left.nextPacket(now: now) { right.handle(packet, now: now) }
      while let packet = right.nextPacket(now: now) { left.handle(packet, now: now) }
    }
  }

  /// Lets the left association answer and its timers run for a while; what it holds stays bounded and consistent.
  mutating func settle() {
    for _ in 0..<6 {
      var packets = 0
      while left.nextPacket(now: now) != nil {
        packets += 1
        precondition(packets < 1000, "one packet makes a bounded number of answers")
      }
      while left.pollMessage() != nil {}
      while left.pollEvent() != nil {}
      precondition(left.isConsistent, "counters are the sums they stand for")
      precondition(
        left.heldBytes <= Self.configuration.maximumReceiveWindow + Self.configuration.maximumIncomingMessageSize,
        "what a peer can make us hold is bounded")
      guard let deadline = left.deadline else { return }
      now = max(now, deadline)
      left.handleTimeout(now: now)
      if let next = left.deadline { precondition(next > now, "a timer that was due has moved") }
    }
  }

  private static let configuration: SCTPConfiguration = {
    var configuration = SCTPConfiguration()
    configuration.receiveWindow = 65_536
    configuration.maximumReceiveWindow = 262_144
    configuration.maximumIncomingMessageSize = 65_536
    return configuration
  }()
}

extension SCTPAssociation {
  mutating func handle(_ packet: [UInt8], now: Instant) { handle(packet.rawSpan, now: now) }

  /// The next packet that is due.
  mutating func nextPacket(now: Instant) -> [UInt8]? {
    let capacity = configurationPacketSize
    var isWritten = false
    let packet = collectBytes(capacity: capacity) { out in isWritten = pollTransmit(into: &out, now: now) }
    return isWritten ? packet : nil
  }

  private var configurationPacketSize: Int { SCTPConfiguration().maximumPacketSize }
}
