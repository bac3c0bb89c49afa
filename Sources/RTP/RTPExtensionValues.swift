// RTPExtensionValues.swift — the header extensions that WebRTC peers use: their names in SDP, and their values.

package import Wire

/// What an extension is called in `a=extmap` (RFC 8285 §5).
package enum RTPExtensionURI {
  /// RFC 9143 §15.2
  package static let mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
  /// RFC 8852 §3.1
  package static let rid = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
  /// RFC 8852 §3.2
  package static let repairedRid = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
  /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §2
  package static let transportSequence =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
  package static let absoluteSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
  /// RFC 6464 §4
  package static let audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
  /// 3GPP TS 26.114 §7.4.5
  package static let videoOrientation = "urn:3gpp:video-orientation"
}

/// An element that owns its value, for writing and for keeping.
package struct RTPExtension: Hashable, Sendable {
  package var id: UInt8
  package var value: [UInt8]

  package init(id: UInt8, value: [UInt8]) {
    self.id = id
    self.value = value
  }

  /// mid, rid, repaired-rid.
  package init(id: UInt8, text: String) { self.init(id: id, value: Array(text.utf8)) }
  package init(id: UInt8, transportSequence: UInt16) {
    self.init(id: id, value: [UInt8(transportSequence >> 8), UInt8(truncatingIfNeeded: transportSequence)])
  }
  package init(id: UInt8, _ time: AbsoluteSendTime) {
    let raw = time.rawValue
    self.init(id: id, value: [UInt8(raw >> 16), UInt8(raw >> 8 & 0xff), UInt8(raw & 0xff)])
  }
  package init(id: UInt8, _ level: AudioLevel) { self.init(id: id, value: [level.rawValue]) }
  package init(id: UInt8, _ orientation: VideoOrientation) { self.init(id: id, value: [orientation.rawValue]) }
}

/// Reads identifiers and numbers out of an element's value.
package enum RTPExtensionValue {
  /// A longer identifier is refused: tables are keyed by them. Browsers' mids and rids have one to sixteen bytes.
  package static let maximumText = 64

  /// A mid: a token of SDP (RFC 8866 §9), of 1 … 64 bytes.
  package static func mid(_ value: RawSpan) throws(Malformed) -> String {
    try text(value, isMember: isTokenByte)
  }

  /// A rid or repaired-rid: letters, digits, `-` and `_` (RFC 8851 §10), 1 … 64 of them.
  package static func rid(_ value: RawSpan) throws(Malformed) -> String {
    try text(value, isMember: isRidByte)
  }

  package static func transportSequence(_ value: RawSpan) throws(Malformed) -> UInt16 {
    guard value.byteCount == 2 else { throw .badLength }
    return value.uint16(at: 0)
  }

  private static func text(_ value: RawSpan, isMember: (UInt8) -> Bool) throws(Malformed) -> String {
    guard (1...maximumText).contains(value.byteCount) else { throw .badLength }
    for index in 0..<value.byteCount where !isMember(value.byte(at: index)) { throw .badValue }
    return String(decoding: value.copyBytes(), as: UTF8.self)
  }

  private static func isRidByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2e, 0x30...0x39, 0x41...0x5a, 0x5e...0x7e: true
    default: false
    }
  }
}

/// When a packet left, in seconds of 6.18 fixed point that wrap every 64 s: the middle of an NTP time.
package struct AbsoluteSendTime: Hashable, Sendable {
  /// 24 bits.
  package let rawValue: UInt32

  package init(_ time: NTPTime) { rawValue = UInt32(truncatingIfNeeded: time.rawValue >> 14) & 0xff_ffff }

  package init(_ value: RawSpan) throws(Malformed) {
    guard value.byteCount == 3 else { throw .badLength }
    rawValue = UInt32(value.uint16(at: 0)) << 8 | UInt32(value.byte(at: 2))
  }

  /// Since the start of the current 64 s.
  package var interval: Interval { Interval(nanoseconds: (Int64(rawValue) * 1_000_000_000) >> 18) }
}

/// How loud an audio packet is (RFC 6464 §3).
package struct AudioLevel: Hashable, Sendable {
  package let rawValue: UInt8

  /// - Parameter level: -dBov, 0 (loudest) … 127 (silence); larger numbers count as 127.
  package init(isVoice: Bool, level: UInt8) { rawValue = (isVoice ? 0x80 : 0) | min(level, 127) }

  package init(_ value: RawSpan) throws(Malformed) {
    // The two-byte form may carry a byte more, which is ignored (§3).
    guard (1...2).contains(value.byteCount) else { throw .badLength }
    rawValue = value.byte(at: 0)
  }

  package var isVoice: Bool { rawValue & 0x80 != 0 }
  /// -dBov.
  package var level: UInt8 { rawValue & 0x7f }
}

/// How a picture is to be turned before it is shown (3GPP TS 26.114 §7.4.5): `0 0 0 0 C F R1 R0`.
package struct VideoOrientation: Hashable, Sendable {
  package let rawValue: UInt8

  /// - Parameter quarterTurns: clockwise, of which the two low bits count.
  package init(isBackCamera: Bool = false, isFlipped: Bool = false, quarterTurns: UInt8) {
    rawValue = (isBackCamera ? 8 : 0) | (isFlipped ? 4 : 0) | quarterTurns & 3
  }

  package init(_ value: RawSpan) throws(Malformed) {
    guard value.byteCount == 1 else { throw .badLength }
    rawValue = value.byte(at: 0) & 0x0f
  }

  package var isBackCamera: Bool { rawValue & 8 != 0 }
  package var isFlipped: Bool { rawValue & 4 != 0 }
  package var quarterTurns: UInt8 { rawValue & 3 }
}
