// SDPCodec+Matching.swift — which codecs two sides have in common (RFC 3264 §6.1, RFC 9429 §5.3.1).
//
// A name and a clock rate do not make a codec: H.264 (RFC 6184 §8.2.2), VP9 (RFC 9628 §6.1), AV1 and H.265 (RFC 7798 §7.2)
// say in their parameters what else has to be equal. What only tells a preference of the receiver is left to whoever says it.

extension SDPCodec {
  /// The codecs of an offer that we have, too, with the offer's payload types, in our order of preference.
  ///
  /// Retransmission (RFC 4588) comes along with the codec that it repeats, when we list it for ours. `red`, FEC, comfort noise
  /// and events are taken when we list them, and never alone: without a codec to accompany, there is nothing in common.
  package static func matching(offered: [SDPCodec], ours: [SDPCodec]) -> [SDPCodec] {
    var result: [SDPCodec] = []
    var taken: Set<UInt8> = []
    // What of ours stands for which payload type of theirs.
    var pairs: [(ours: UInt8, theirs: UInt8)] = []
    for own in ours where !own.accompaniesOthers {
      guard let codec = offered.first(where: { !taken.contains($0.payloadType) && own.accepts($0) }) else { continue }
      taken.insert(codec.payloadType)
      pairs.append((own.payloadType, codec.payloadType))
      result.append(own.answering(codec))
    }
    guard !result.isEmpty else { return [] }
    let codecs = result
    for own in ours where own.accompaniesOthers {
      for codec in offered where !taken.contains(codec.payloadType) && own.isNamed(like: codec) {
        let isWanted =
          if own.isRetransmission {
            pairs.contains { pair in
              codec.repairedPayloadType == pair.theirs
                && (own.repairedPayloadType == nil || own.repairedPayloadType == pair.ours)
            }
          } else {
            codec.redundantPayloadTypes.allSatisfy { type in pairs.contains { $0.theirs == type } }
          }
        guard isWanted else { continue }
        taken.insert(codec.payloadType)
        result.append(own.answering(codec))
        // `rtx` without a reference stands for that of every codec.
        if !own.isRetransmission || own.repairedPayloadType != nil { break }
      }
    }
    // Retransmission right behind what it repeats, as is the custom.
    let others = result[codecs.count...]
    return codecs.flatMap { codec in [codec] + others.filter { $0.repairedPayloadType == codec.payloadType } }
      + others.filter { !$0.isRetransmission }
  }

  /// Whether it is of use only beside another codec of the same section.
  package var accompaniesOthers: Bool {
    ["rtx", "red", "ulpfec", "flexfec", "flexfec-03", "cn", "telephone-event"].contains(name.lowercased())
  }

  package var isRetransmission: Bool { name.lowercased() == "rtx" }

  /// The payload type that `rtx` repeats (RFC 4588 §8.1).
  package var repairedPayloadType: UInt8? { isRetransmission ? parameter("apt").flatMap { decimal($0) } : nil }

  /// The payload types in the parameters of audio `red` (RFC 2198 §5): `111/111`.
  var redundantPayloadTypes: [UInt8] {
    guard name.lowercased() == "red", parameters.utf8.contains(UInt8(ascii: "/")) else { return [] }
    return parameters.utf8.split(separator: UInt8(ascii: "/")).compactMap { decimal(Substring($0)) }
  }

  /// The value of a parameter `name=value`; names are compared without case.
  package func parameter(_ name: String) -> String? {
    for part in parameters.utf8.split(separator: UInt8(ascii: ";")) {
      let sides = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard let key = sides.first, trimmed(Substring(key)).lowercased() == name else { continue }
      return sides.count > 1 ? trimmed(Substring(sides[1])) : ""
    }
    return nil
  }

  private func trimmed(_ text: Substring) -> String { words(text).joined(separator: " ") }

  // MARK: One of ours and one of theirs

  private func isNamed(like other: SDPCodec) -> Bool {
    name.lowercased() == other.name.lowercased() && clockRate == other.clockRate && channels == other.channels
  }

  /// Whether the same stream can be meant by this one of ours and that one of theirs.
  func accepts(_ other: SDPCodec) -> Bool {
    guard isNamed(like: other) else { return false }
    func isEqual(_ name: String, default value: String) -> Bool {
      (parameter(name) ?? value).lowercased() == (other.parameter(name) ?? value).lowercased()
    }
    switch name.lowercased() {
    case "h264":
      // Ours without parameters is one that only passes packets on: it takes any.
      guard !parameters.isEmpty else { return true }
      guard isEqual("packetization-mode", default: "0") else { return false }
      return H264Profile(self).name == H264Profile(other).name
    case "vp9": return isEqual("profile-id", default: "0")
    case "av1": return isEqual("profile", default: "0")
    case "h265": return isEqual("profile-id", default: "1") && isEqual("tx-mode", default: "SRST")
    default: return true
    }
  }

  /// Ours as the answer to theirs.
  private func answering(_ offered: SDPCodec) -> SDPCodec {
    var answer = self
    answer.payloadType = offered.payloadType
    answer.name = offered.name
    answer.feedback = offered.feedback.filter { feedback.contains($0) }
    if isRetransmission {
      answer.parameters = offered.repairedPayloadType.map { "apt=\($0)" } ?? ""
      answer.feedback = []
    } else if accompaniesOthers {
      answer.parameters = offered.parameters
    } else {
      switch name.lowercased() {
      case "h264": answer.parameters = H264Profile.answer(offered: offered, ours: self)
      case "vp9", "av1", "h265": if parameters.isEmpty { answer.parameters = offered.parameters }
      default: break
      }
    }
    return answer
  }
}

/// `profile-level-id` (RFC 6184 §8.1): three bytes, of which the first two name a profile in several ways.
private struct H264Profile {
  /// The profile: equal for those that RFC 6184's table 5 declares the same.
  let name: UInt16
  let bytes: (UInt8, UInt8, UInt8)

  init(_ codec: SDPCodec) {
    // Baseline at level 1 where nothing is said, or nothing sensible.
    let text = codec.parameter("profile-level-id") ?? ""
    let value = text.utf8.count == 6 && text.utf8.allSatisfy(isAlphanumeric) ? UInt32(text, radix: 16) : nil
    let id = value ?? 0x42_00_0a
    bytes = (UInt8(truncatingIfNeeded: id >> 16), UInt8(truncatingIfNeeded: id >> 8), UInt8(truncatingIfNeeded: id))
    let (profile, constraints) = (bytes.0, bytes.1)
    switch profile {
    // The lowest bits are reserved; the first three are constraint_set0 to 2.
    case 0x42 where constraints & 0x4f == 0x40, 0x4d where constraints & 0x8f == 0x80,
      0x58 where constraints & 0xcf == 0xc0:
      name = 0x42_40  // constrained baseline
    case 0x42 where constraints & 0x4f == 0, 0x58 where constraints & 0xcf == 0x80:
      name = 0x42_00  // baseline
    case 0x4d where constraints & 0xaf == 0: name = 0x4d_00  // main
    default: name = UInt16(profile) << 8 | UInt16(constraints)
    }
  }

  /// Levels in order. 1b stands between 1 and 1.1, and is written as 1.1 with constraint_set3 in the older profiles.
  private var level: Int {
    let isOld = bytes.0 == 0x42 || bytes.0 == 0x4d || bytes.0 == 0x58
    if isOld, bytes.2 == 11, bytes.1 & 0x10 != 0 { return 21 }
    return bytes.2 == 9 ? 21 : Int(bytes.2) * 2
  }

  private static let agreed = ["level-asymmetry-allowed", "packetization-mode", "profile-level-id"]

  /// The parameters of the answer: the profile as offered, at our own level where both sides allow the levels to differ, and
  /// at the lower of the two where not (RFC 6184 §8.2.2).
  static func answer(offered: SDPCodec, ours: SDPCodec) -> String {
    guard !ours.parameters.isEmpty else { return offered.parameters }
    let (theirs, own) = (H264Profile(offered), H264Profile(ours))
    let isAsymmetric = [offered, ours].allSatisfy { $0.parameter("level-asymmetry-allowed") == "1" }
    let isLower = own.level < theirs.level
    let source = isAsymmetric || isLower ? own : theirs
    let bytes = [source.bytes.0, source.bytes.1, source.bytes.2]
    let id = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    var parts = isAsymmetric ? ["level-asymmetry-allowed=1"] : []
    parts.append("packetization-mode=\(offered.parameter("packetization-mode") ?? "0")")
    parts.append("profile-level-id=\(id)")
    // The rest tells what we can receive, whatever they can.
    for part in ours.parameters.utf8.split(separator: UInt8(ascii: ";")).map({
      words(Substring($0)).joined(separator: " ")
    })
    where !agreed.contains(where: { part.lowercased().hasPrefix($0 + "=") }) {
      parts.append(part)
    }
    return parts.joined(separator: ";")
  }
}
