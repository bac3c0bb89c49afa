// SectionState.swift — one section of the bundle as the session keeps it: its parameters made quick to look up, its
// sending half, and its counts.

import RTP
import Wire

/// What a packet's payload type means. A retransmission's is that of the codec it repeats.
struct PayloadFormat {
  var clockRate: UInt32
  var hasNACK: Bool
  var hasPLI: Bool
  var hasFIR: Bool
  var hasTransportCC: Bool
  /// Not nil for RTX: the payload type of what it carries.
  var rtxFor: UInt8?
  /// The payload type of RTX that carries this one's packets.
  var repeatedBy: UInt8?
}

struct SectionState {
  private(set) var section: MediaSection
  /// The mid as packets carry it.
  private(set) var mid: [UInt8]
  /// By payload type.
  private(set) var formats: [PayloadFormat?]
  var send: SendStream?
  /// Of the peer, towards the application.
  var keyframeRequests = Coalescer(interval: SectionState.keyframeRequestInterval)
  var counts = MediaStatistics()

  init(_ section: MediaSection) {
    self.section = section
    mid = Array(section.mid.utf8)
    formats = Self.formats(of: section)
  }

  mutating func update(_ section: MediaSection) {
    self.section = section
    mid = Array(section.mid.utf8)
    formats = Self.formats(of: section)
  }

  var hasTransportCC: Bool {
    section.extensionIDs.transportSequence != nil && formats.contains { $0?.hasTransportCC == true }
  }

  private static func formats(of section: MediaSection) -> [PayloadFormat?] {
    var formats = [PayloadFormat?](repeating: nil, count: 128)
    for (type, codec) in section.payloadTypes where type < 128 && codec.rtxFor == nil {
      formats[Int(type)] = PayloadFormat(
        clockRate: codec.clockRate, hasNACK: codec.hasNACK, hasPLI: codec.hasPLI, hasFIR: codec.hasFIR,
        hasTransportCC: codec.hasTransportCC)
    }
    // In order, so that of two that repeat one codec always the same is used.
    for (type, codec) in section.payloadTypes.sorted(by: { $0.key < $1.key }) {
      guard type < 128, let original = codec.rtxFor, original < 128, var format = formats[Int(original)],
        format.rtxFor == nil
      else { continue }
      if format.repeatedBy == nil { formats[Int(original)]?.repeatedBy = type }
      format.rtxFor = original
      format.repeatedBy = nil
      formats[Int(type)] = format
    }
    return formats
  }

  /// A peer that asks more often gets one keyframe for all.
  private static let keyframeRequestInterval = Interval.milliseconds(100)
}
