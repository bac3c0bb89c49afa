// RTCPTarget.swift — a datagram as RTCP: every list is walked to its end, what is taken is written again and reads the same;
// and the input as arrivals, from which transport-wide feedback is built.

internal import RTP
internal import Wire

/// Reads the input as a compound, and as a script for the builder of feedback.
public func fuzzRTCP(_ input: RawSpan) {
  do throws(Malformed) {
    var compound = try RTCPCompound(input, form: .reducedSize)
    var budget = input.byteCount / 4
    while !compound.isAtEnd {
      budget -= 1
      precondition(budget >= 0, "each packet moves the reader ahead")
      do throws(Malformed) {
        guard let packet = try compound.next() else { preconditionFailure("the end was asked for") }
        rewrite(packet, room: input.byteCount)
      } catch {
        continue  // the next packet is read all the same
      }
    }
  } catch {
    // Refused.
  }
  buildFeedback(input)
}

/// Writes what a packet says, and reads it again.
private func rewrite(_ packet: borrowing RTCPPacket, room: Int) {
  let writer = RTCPWriter.reducedSize()
  // Each is written in no more bytes than it came in, but for the rounding of text.
  let capacity = 2 * room + 64
  switch packet {
  case .senderReport(let report):
    rewrite(RTCPReport(ssrc: report.ssrc, senderInfo: report.info, blocks: owned(report.blocks)))
  case .receiverReport(let report):
    rewrite(RTCPReport(ssrc: report.ssrc, senderInfo: nil, blocks: owned(report.blocks)))
  case .sourceDescription(let description):
    let copy = owned(description)
    let bytes = collect(capacity: capacity) { (out) throws(RTPEncodingError) in
      try writer.sourceDescription(copy, into: &out)
    }
    reread(bytes.rawSpan) { again in
      guard case .sourceDescription(let description) = again else { return false }
      return owned(description) == copy
    }
  case .goodbye(let bye):
    let sources = (0..<bye.sourceCount).map { bye.source($0) }
    let reason = owned(reasonOf: bye)
    let bytes = collect(capacity: RTCPByteCount.goodbye(sources: sources.count, reason: reason?.count)) {
      (out) throws(RTPEncodingError) in
      try writer.goodbye(sources, reason: reason, into: &out)
    }
    reread(bytes.rawSpan) { again in
      guard case .goodbye(let bye) = again else { return false }
      return (0..<bye.sourceCount).map { bye.source($0) } == sources && owned(reasonOf: bye) == reason
    }
  case .application(let application):
    let (subtype, ssrc, name) = (application.subtype, application.ssrc, application.name)
    let data = application.data.copyBytes()
    guard data.count & 3 == 0 else { return }
    let bytes = collect(capacity: capacity) { (out) throws(RTPEncodingError) in
      try writer.application(subtype: subtype, ssrc: ssrc, name: name, data: data.rawSpan, into: &out)
    }
    reread(bytes.rawSpan) { again in
      guard case .application(let application) = again else { return false }
      return application.subtype == subtype && application.name == name && application.data.copyBytes() == data
    }
  case .nack(let nack): rewriteNack(nack, capacity: capacity)
  case .transportFeedback(let feedback): walk(feedback, bytes: room)
  case .pictureLossIndication(let loss):
    let bytes = collect(capacity: RTCPByteCount.pictureLossIndication) { (out) throws(RTPEncodingError) in
      try writer.pictureLossIndication(sender: loss.sender, media: loss.media, into: &out)
    }
    reread(bytes.rawSpan) { again in
      guard case .pictureLossIndication(let read) = again else { return false }
      return read == loss
    }
  case .fullIntraRequest(let request):
    let (sender, entries) = (request.sender, (0..<request.entryCount).map { request.entry($0) })
    let bytes = collect(capacity: capacity) { (out) throws(RTPEncodingError) in
      try writer.fullIntraRequest(sender: sender, entries, into: &out)
    }
    reread(bytes.rawSpan) { again in
      guard case .fullIntraRequest(let request) = again else { return false }
      return (0..<request.entryCount).map { request.entry($0) } == entries
    }
  case .receiverEstimatedMaximumBitrate(let remb):
    let (sender, bitrate) = (remb.sender, remb.bitrate)
    let sources = (0..<remb.sourceCount).map { remb.source($0) }
    let bytes = collect(capacity: capacity) { (out) throws(RTPEncodingError) in
      try writer.maximumBitrate(sender: sender, bitrate: bitrate, sources: sources, into: &out)
    }
    reread(bytes.rawSpan) { again in
      guard case .receiverEstimatedMaximumBitrate(let remb) = again else { return false }
      // What did not fit 64 bits is written with the eighteen highest.
      let isSame = bitrate == .max ? remb.bitrate >> 46 == bitrate >> 46 : remb.bitrate == bitrate
      return isSame && (0..<remb.sourceCount).map { remb.source($0) } == sources
    }
  case .other: break
  }
}

/// Reads the only packet of what was written; `isSame` says whether it tells what it should.
private func reread(_ bytes: RawSpan, _ isSame: (borrowing RTCPPacket) -> Bool) {
  do throws(Malformed) {
    var compound = try RTCPCompound(bytes, form: .reducedSize)
    guard let packet = try compound.next() else { preconditionFailure("something was written") }
    precondition(isSame(packet), "a packet reads as it was written")
    precondition(compound.isAtEnd, "one was written")
  } catch {
    preconditionFailure("what was written is read: \(error)")
  }
}

private func owned(reasonOf bye: borrowing RTCPGoodbye) -> [UInt8]? {
  guard let reason = bye.reason else { return nil }
  return reason.copyBytes()
}

private func owned(_ blocks: borrowing RTCPReportBlocks) -> [RTCPReportBlock] {
  (0..<blocks.count).map { blocks.block($0) }
}

private func owned(_ description: borrowing RTCPSourceDescription) -> [RTCPDescription] {
  var result: [RTCPDescription] = []
  var chunks = description.chunks
  while let chunk = chunks.next() {
    var copy = RTCPDescription(ssrc: chunk.ssrc, items: [])
    var items = chunk.items
    while let item = items.next() {
      copy.items.append(RTCPTextItem(type: item.type, value: item.value.copyBytes()))
    }
    let cname = chunk.item(RTCPDescriptionType.cname) != nil
    precondition(cname == copy.items.contains { $0.type == RTCPDescriptionType.cname }, "what is walked is found")
    result.append(copy)
  }
  precondition(result.count == description.chunkCount, "there are as many chunks as are counted")
  return result
}

private func rewrite(_ report: RTCPReport) {
  let count = RTCPByteCount.compound(isSender: report.senderInfo != nil, blocks: report.blocks.count, cname: 1)
  let bytes = collect(capacity: count) { (out) throws(RTPEncodingError) in
    _ = try RTCPWriter(report, cname: [0x61], into: &out)
  }
  precondition(bytes.count == count, "the size is foretold")
  // The CNAME behind it takes twelve bytes.
  reread(bytes.rawSpan.extracting(0..<(count - 12))) { again in
    switch again {
    case .senderReport(let read):
      return RTCPReport(ssrc: read.ssrc, senderInfo: read.info, blocks: owned(read.blocks)) == report
    case .receiverReport(let read):
      return RTCPReport(ssrc: read.ssrc, senderInfo: nil, blocks: owned(read.blocks)) == report
    default: return false
    }
  }
}

private func rewriteNack(_ nack: borrowing RTCPNack, capacity: Int) {
  let (sender, media) = (nack.sender, nack.media)
  let numbers = owned(nack)
  precondition(numbers.count <= 17 * nack.pairCount, "a pair names seventeen packets at most")
  // In any order; on the circle from the first one.
  let base = numbers.first ?? 0
  let pairs = RTCPNackPair.pairs(numbers.sorted { $0 &- base < $1 &- base })
  precondition(pairs.count <= nack.pairCount, "sorted numbers need no more pairs")
  let bytes = collect(capacity: capacity) { (out) throws(RTPEncodingError) in
    try RTCPWriter.reducedSize().nack(sender: sender, media: media, pairs, into: &out)
  }
  reread(bytes.rawSpan) { again in
    guard case .nack(let nack) = again else { return false }
    return nack.sender == sender && nack.media == media && Set(owned(nack)) == Set(numbers)
  }
}

private func owned(_ nack: borrowing RTCPNack) -> [UInt16] {
  var numbers: [UInt16] = []
  var iterator = nack.sequenceNumbers
  while let number = iterator.next() { numbers.append(number) }
  return numbers
}

/// Both walks end, within the count, and tell of the same packets.
private func walk(_ feedback: borrowing RTCPTransportFeedback, bytes: Int) {
  var all = feedback.statuses
  var received = feedback.statuses
  var count = 0
  var receivedCount = 0
  while let status = all.next() {
    precondition(status.sequenceNumber == feedback.baseSequenceNumber &+ UInt16(truncatingIfNeeded: count))
    count += 1
    guard status.delta != nil else { continue }
    receivedCount += 1
    guard let same = received.nextReceived() else { preconditionFailure("a packet that arrived is told twice") }
    precondition(same == status, "both walks tell the same")
  }
  precondition(count == feedback.statusCount, "no more and no fewer than are counted")
  precondition(receivedCount <= bytes, "each delta takes a byte")
  let last = received.nextReceived()
  precondition(last == nil, "the shorter walk ends too")
}

/// Each arrival is a byte of steps in sequence numbers and two of time; the feedback says them all.
private func buildFeedback(_ input: RawSpan) {
  var reader = ByteReader(input)
  do throws(Malformed) {
    let maximum = RTCPTransportFeedbackBuilder.minimumByteCount + Int(try reader.readUInt8())
    var sequence = try reader.readUInt16()
    var now = Int64(Int32(bitPattern: try reader.readUInt32())) * 1_000_000
    var builder = RTCPTransportFeedbackBuilder(
      sequenceNumber: sequence, arrival: Instant(nanoseconds: now), maximumByteCount: maximum)
    var arrived = [sequence]
    while !reader.isAtEnd {
      let step = try reader.readUInt8()
      sequence &+= step < 0xf0 ? UInt16(step & 7) : UInt16(step & 0x0f) << 6
      now += Int64(Int16(bitPattern: try reader.readUInt16())) * (step & 8 == 0 ? 10_000 : 500_000)
      if builder.add(sequenceNumber: sequence, arrival: Instant(nanoseconds: now)) {
        arrived.append(sequence)
      } else {
        check(builder, arrived: arrived, maximum: maximum)
        builder = RTCPTransportFeedbackBuilder(
          sequenceNumber: sequence, arrival: Instant(nanoseconds: now), maximumByteCount: maximum)
        arrived = [sequence]
      }
    }
    check(builder, arrived: arrived, maximum: maximum)
  } catch {
    return  // the input is used up
  }
}

private func check(_ builder: RTCPTransportFeedbackBuilder, arrived: [UInt16], maximum: Int) {
  let bytes = collect(capacity: builder.byteCount) { (out) throws(RTPEncodingError) in
    try RTCPWriter.reducedSize().transportFeedback(builder, sender: 1, media: 2, feedbackCount: 3, into: &out)
  }
  precondition(bytes.count == builder.byteCount && bytes.count <= maximum, "the size is foretold, and bounded")
  reread(bytes.rawSpan) { again in
    guard case .transportFeedback(let feedback) = again else { return false }
    walk(feedback, bytes: bytes.count)
    var told: [UInt16] = []
    var received = feedback.statuses
    while let status = received.nextReceived() { told.append(status.sequenceNumber) }
    return told == arrived
  }
}
