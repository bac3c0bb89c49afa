// RTCPCompound.swift — the RTCP packets of a datagram, one after another (RFC 3550 §6.1, §6.4.1, Appendix A.2).
//
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |V=2|P|  count  |  packet type  |  length in words, minus one   |
// |                          what the type says …                 |
//
// Invariants: the lengths of a compound that exists add up to its datagram, and only its last packet is padded. Every step
// moves at least four bytes ahead; a packet sees no byte beyond its own length.

package import Wire

package enum RTCPType {
  package static let senderReport: UInt8 = 200
  package static let receiverReport: UInt8 = 201
  package static let sourceDescription: UInt8 = 202
  package static let goodbye: UInt8 = 203
  package static let application: UInt8 = 204
  /// RTPFB and PSFB (RFC 4585 §6.1)
  package static let transportFeedback: UInt8 = 205
  package static let payloadFeedback: UInt8 = 206
  /// XR (RFC 3611), which is `.other` here.
  package static let extendedReport: UInt8 = 207
}

/// The five bits of a feedback packet that say what it is about.
package enum RTCPFeedbackFormat {
  /// RFC 4585 §6.2.1
  package static let nack: UInt8 = 1
  /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1
  package static let transportWide: UInt8 = 15
  /// RFC 4585 §6.3.1
  package static let pictureLoss: UInt8 = 1
  /// RFC 5104 §4.3.1
  package static let fullIntraRequest: UInt8 = 4
  /// RFC 4585 §6.4; REMB is told by its name.
  package static let applicationLayer: UInt8 = 15
}

enum RTCPHeader {
  static let byteCount = 4
  /// The count has five bits.
  static let maximumCount = 31
}

/// Which datagrams are taken.
package enum RTCPForm: Hashable, Sendable {
  /// A report first (RFC 3550 §6.1).
  case compound
  /// Any packets in any order (RFC 5506 §3.4). What a receiver should use with a browser: it sends feedback by itself
  /// even when `a=rtcp-rsize` was not agreed on.
  case reducedSize
}

/// One RTCP packet, borrowed from its datagram; well-formed when it exists.
package enum RTCPPacket: ~Escapable {
  case senderReport(RTCPSenderReport)
  case receiverReport(RTCPReceiverReport)
  case sourceDescription(RTCPSourceDescription)
  case goodbye(RTCPGoodbye)
  case application(RTCPApplication)
  case nack(RTCPNack)
  case transportFeedback(RTCPTransportFeedback)
  case pictureLossIndication(RTCPPictureLossIndication)
  case fullIntraRequest(RTCPFullIntraRequest)
  case receiverEstimatedMaximumBitrate(RTCPMaximumBitrate)
  /// A type, or a format of feedback, that is not ours: `count` are the five bits beside version and padding.
  case other(type: UInt8, count: UInt8, body: RawSpan)

  /// - Parameter body: what follows the four common bytes, without padding.
  @_lifetime(copy body)
  init(type: UInt8, count: UInt8, body: RawSpan) throws(Malformed) {
    switch (type, count) {
    case (RTCPType.senderReport, _): self = .senderReport(try RTCPSenderReport(body, blocks: Int(count)))
    case (RTCPType.receiverReport, _): self = .receiverReport(try RTCPReceiverReport(body, blocks: Int(count)))
    case (RTCPType.sourceDescription, _):
      self = .sourceDescription(try RTCPSourceDescription(body, chunks: Int(count)))
    case (RTCPType.goodbye, _): self = .goodbye(try RTCPGoodbye(body, sources: Int(count)))
    case (RTCPType.application, _): self = .application(try RTCPApplication(body, subtype: count))
    case (RTCPType.transportFeedback, RTCPFeedbackFormat.nack): self = .nack(try RTCPNack(body))
    case (RTCPType.transportFeedback, RTCPFeedbackFormat.transportWide):
      self = .transportFeedback(try RTCPTransportFeedback(body))
    case (RTCPType.payloadFeedback, RTCPFeedbackFormat.pictureLoss):
      self = .pictureLossIndication(try RTCPPictureLossIndication(body))
    case (RTCPType.payloadFeedback, RTCPFeedbackFormat.fullIntraRequest):
      self = .fullIntraRequest(try RTCPFullIntraRequest(body))
    case (RTCPType.payloadFeedback, RTCPFeedbackFormat.applicationLayer) where RTCPMaximumBitrate.isOne(body):
      self = .receiverEstimatedMaximumBitrate(try RTCPMaximumBitrate(body))
    default: self = .other(type: type, count: count, body: body)
    }
  }
}

/// Walks the packets of a datagram without allocating.
package struct RTCPCompound: ~Escapable {
  private let datagram: RawSpan
  private var offset = 0

  @_lifetime(copy datagram)
  package init(_ datagram: RawSpan, form: RTCPForm) throws(Malformed) {
    self.datagram = datagram
    let count = datagram.byteCount
    guard count >= RTCPHeader.byteCount else { throw .truncated }
    if form == .compound {
      let first = datagram.byte(at: 1)
      guard first == RTCPType.senderReport || first == RTCPType.receiverReport else { throw .badValue }
    }
    var at = 0
    while at < count {
      guard count - at >= RTCPHeader.byteCount else { throw .truncated }
      let flags = datagram.byte(at: at)
      guard flags >> 6 == RTPHeader.version else { throw .badValue }
      let length = 4 * (Int(datagram.uint16(at: at + 2)) + 1)
      guard length <= count - at else { throw .badLength }
      at += length
      if flags & 0x20 != 0 {
        // §6.4.1: only the last is padded. Its count should be a multiple of four, but transport-wide feedback of
        // browsers fills up its last word with one to three bytes, so any that fits is taken.
        let padding = Int(datagram.byte(at: count - 1))
        guard at == count, padding > 0, padding <= length - RTCPHeader.byteCount else { throw .badLength }
      }
    }
  }

  package var isAtEnd: Bool { offset == datagram.byteCount }

  /// The next packet; nil when none is left. A throw is about one packet only: the next call reads the one behind it.
  @_lifetime(copy self)
  package mutating func next() throws(Malformed) -> RTCPPacket? {
    guard !isAtEnd else { return nil }
    let flags = datagram.byte(at: offset)
    let type = datagram.byte(at: offset + 1)
    let start = offset + RTCPHeader.byteCount
    offset += 4 * (Int(datagram.uint16(at: offset + 2)) + 1)
    let padding = flags & 0x20 != 0 ? Int(datagram.byte(at: offset - 1)) : 0
    return try RTCPPacket(type: type, count: flags & 0x1f, body: datagram.extracting(start..<(offset - padding)))
  }
}
