// BundleNumbers.swift — payload types and extension identifiers: one number, one meaning in all sections of a bundle, for as
// long as the connection lasts (RFC 8843 §9.1, §15; RFC 3264 §8.3.2). What the peer has used is not used for anything else.

import RTP
import SDP

package struct BundleNumbers: Sendable {
  private var codecs: [UInt8: SDPCodec] = [:]
  private var extensions: [UInt8: String] = [:]

  /// Takes note of the numbers of a peer's description.
  mutating func learn(from sections: [MediaDescription]) {
    for section in sections where !section.isRejected {
      for codec in section.codecs where codecs[codec.payloadType] == nil { codecs[codec.payloadType] = codec }
      for known in section.extensions where extensions[known.id] == nil { extensions[known.id] = known.uri }
    }
  }

  /// The codecs with their numbers: those that they have already, or wish for, or free ones. Behind each that is to be
  /// repeated comes its retransmission (RFC 4588). Codecs for which no number is left are left out.
  mutating func number(_ wanted: [SDPCodec]) -> [SDPCodec] {
    var numbered: [SDPCodec] = []
    for codec in wanted {
      guard let chosen = number(codec) else { continue }
      numbered.append(chosen)
      guard chosen.feedback.contains("nack") else { continue }
      let retransmission = SDPCodec(
        payloadType: chosen.payloadType &+ 1, name: "rtx", clockRate: chosen.clockRate,
        parameters: "apt=\(chosen.payloadType)")
      if let repeated = number(retransmission) { numbered.append(repeated) }
    }
    return numbered
  }

  private mutating func number(_ codec: SDPCodec) -> SDPCodec? {
    var codec = codec
    let known = codecs.filter { Self.isSame($0.value, codec) }.keys.min()
    let candidates = [codec.payloadType] + Array(96...127) + Array(35...63)
    guard let number = known ?? candidates.first(where: { codecs[$0] == nil && Self.isUsable($0) }) else { return nil }
    codec.payloadType = number
    codecs[number] = codec
    return codec
  }

  private static func isSame(_ a: SDPCodec, _ b: SDPCodec) -> Bool {
    a.name.lowercased() == b.name.lowercased() && a.clockRate == b.clockRate && a.channels == b.channels
      && a.parameters == b.parameters
  }

  /// What is between would look like RTCP (RFC 5761 §4).
  private static func isUsable(_ number: UInt8) -> Bool { number < 64 || (96...127).contains(number) }

  /// A number that no codec can have, for those that wish for none.
  package static let noWish: UInt8 = 255

  /// The header extensions that we read and write, for a section of this kind.
  mutating func extensions(for kind: MediaKind) -> [SDPExtension] {
    let uris = [HeaderExtension.mid, HeaderExtension.transportSequence]
    let video = [HeaderExtension.absoluteSendTime, HeaderExtension.rid, HeaderExtension.repairedRid]
    return (kind == .video ? uris + video : uris).compactMap { uri in
      let known = extensions.filter { $0.value == uri }.keys.min()
      // One-byte headers have no more (RFC 8285 §4.2).
      guard let id = known ?? (1...14).first(where: { extensions[$0] == nil }) else { return nil }
      extensions[id] = uri
      return SDPExtension(id: id, uri: uri)
    }
  }
}
