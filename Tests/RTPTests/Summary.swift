// Summary.swift — packets in one line of text, in the words that the files of Vectors/rtp use. They own what they say, so
// that tests can compare and keep it.

import RTP
import Wire

/// - Parameter elements: the extension's elements, in the words wanted.
func summary(ofRTP bytes: [UInt8], elements: (UInt8, RawSpan) throws -> String) throws -> String {
  let view = try RTPPacketView(bytes.rawSpan)
  let header = view.header
  var texts: [String] = []
  var iterator = view.extensions
  while let element = iterator.next() { texts.append(try elements(element.id, element.value)) }
  return "rtp m=\(header.marker ? 1 : 0) pt=\(header.payloadType) seq=\(header.sequenceNumber) ts=\(header.timestamp)"
    + " ssrc=\(header.ssrc) csrcs=[\(view.contributingSources.map(String.init).joined(separator: ","))]"
    + " ext=[\(texts.joined(separator: ","))] padding=\(view.paddingCount) payload=\(hex(view.payload.copyBytes()))"
}

/// Elements as `id:hex`.
func summary(ofRTP bytes: [UInt8]) throws -> String {
  try summary(ofRTP: bytes) { id, value in "\(id):\(hex(value.copyBytes()))" }
}

/// Elements by the ids that aiortc's vectors use, in their order.
func namedSummary(ofRTP bytes: [UInt8]) throws -> String {
  try summary(ofRTP: bytes) { id, value in
    switch id {
    case 1: return "mid:\(try RTPExtensionValue.mid(value))"
    case 2: return "rid:\(try RTPExtensionValue.rid(value))"
    case 3: return "rrid:\(try RTPExtensionValue.rid(value))"
    case 4: return "abs:\(try AbsoluteSendTime(value).rawValue)"
    case 5:
      let level = try AudioLevel(value)
      return "level:\(level.isVoice ? 1 : 0)/\(level.level)"
    case 6: return "tsn:\(try RTPExtensionValue.transportSequence(value))"
    default: return "\(id):\(hex(value.copyBytes()))"
    }
  }
}

/// Every packet of a datagram, with `; ` between them.
func summary(ofRTCP bytes: [UInt8], form: RTCPForm = .reducedSize) throws -> String {
  var compound = try RTCPCompound(bytes.rawSpan, form: form)
  var texts: [String] = []
  while let packet = try compound.next() { texts.append(text(packet)) }
  return texts.joined(separator: "; ")
}

private func text(_ packet: borrowing RTCPPacket) -> String {
  switch packet {
  case .senderReport(let report):
    let info = report.info
    return "sr \(report.ssrc) \(info.ntp.rawValue) \(info.rtpTimestamp) \(info.packetCount) \(info.octetCount)"
      + " \(text(report.blocks))"
  case .receiverReport(let report): return "rr \(report.ssrc) \(text(report.blocks))"
  case .sourceDescription(let description): return "sdes [\(text(description))]"
  case .goodbye(let bye):
    let sources = (0..<bye.sourceCount).map { bye.source($0) }
    guard let reason = bye.reason else { return "bye \(list(sources)) -" }
    return "bye \(list(sources)) \(String(decoding: reason.copyBytes(), as: UTF8.self))"
  case .application(let application):
    return "app \(application.subtype) \(application.ssrc) \(application.name) \(hex(application.data.copyBytes()))"
  case .nack(let nack):
    var numbers: [UInt16] = []
    var iterator = nack.sequenceNumbers
    while let number = iterator.next() { numbers.append(number) }
    return "nack \(nack.sender) \(nack.media) \(list(numbers))"
  case .transportFeedback(let feedback):
    var words: [String] = []
    var iterator = feedback.statuses
    while let status = iterator.next() { words.append(status.delta.map { "\($0)" } ?? "-") }
    return "tcc \(feedback.sender) \(feedback.media) base=\(feedback.baseSequenceNumber) ref=\(feedback.referenceTime)"
      + " count=\(feedback.feedbackCount) [\(words.joined(separator: ","))]"
  case .pictureLossIndication(let loss): return "pli \(loss.sender) \(loss.media)"
  case .fullIntraRequest(let request):
    let entries = (0..<request.entryCount).map { request.entry($0) }
    return "fir \(request.sender) [\(entries.map { "\($0.ssrc):\($0.sequenceNumber)" }.joined(separator: ","))]"
  case .receiverEstimatedMaximumBitrate(let remb):
    return "remb \(remb.sender) \(remb.bitrate) \(list((0..<remb.sourceCount).map { remb.source($0) }))"
  case .other(let type, let count, let body): return "other \(type) \(count) \(hex(body.copyBytes()))"
  }
}

private func text(_ blocks: borrowing RTCPReportBlocks) -> String {
  let blocks = (0..<blocks.count).map { blocks.block($0) }
  let texts = blocks.map {
    "\($0.ssrc):\($0.fractionLost):\($0.cumulativeLost):\($0.extendedHighestSequence):\($0.jitter)"
      + ":\($0.lastSenderReport):\($0.delaySinceLastSenderReport)"
  }
  return "[\(texts.joined(separator: ","))]"
}

private func text(_ description: borrowing RTCPSourceDescription) -> String {
  var chunks: [String] = []
  var iterator = description.chunks
  while let chunk = iterator.next() {
    var items: [String] = []
    var walk = chunk.items
    while let item = walk.next() {
      items.append("\(item.type)=\(String(decoding: item.value.copyBytes(), as: UTF8.self))")
    }
    chunks.append("\(chunk.ssrc):\(items.joined(separator: "+"))")
  }
  return chunks.joined(separator: ",")
}

private func list(_ numbers: [some FixedWidthInteger]) -> String {
  "[\(numbers.map { "\($0)" }.joined(separator: ","))]"
}

func hex(_ bytes: [UInt8]) -> String {
  let digits = Array("0123456789abcdef")
  return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}
