// SDPNumbering.swift — payload types and header extension numbers within one bundle.
//
// One payload type means one configuration, and one number one extension, in all sections of a bundle (RFC 9143 §9.1.1, §12);
// and what a section has once given a number keeps it (RFC 3264 §8.3.2).

struct SDPNumbering {
  /// What makes a codec the same one wherever its number stands.
  private struct Configuration: Hashable {
    let kind: SDPMediaKind
    let name: String
    let clockRate: UInt32
    let channels: Int
    let parameters: String

    init(_ kind: SDPMediaKind, _ codec: SDPCodec) {
      self.kind = kind
      name = codec.name.lowercased()
      clockRate = codec.clockRate
      channels = codec.channels
      parameters = codec.parameters
    }
  }

  private var types: [UInt8: Configuration] = [:]
  private var extensions: [UInt8: String] = [:]
  /// What sections had said before, by mid.
  private var kept: [String: MediaDescription] = [:]

  /// Takes down what a section of our last description says.
  mutating func keep(_ section: MediaDescription) throws(SDPError) {
    for codec in section.codecs where types[codec.payloadType] == nil {
      types[codec.payloadType] = Configuration(section.kind, codec)
    }
    for one in section.extensions where extensions[one.id] == nil { extensions[one.id] = one.uri }
    if let mid = section.mid { kept[mid] = section }
  }

  /// A section of ours with the numbers that it can have.
  mutating func numbered(_ media: LocalMedia) throws(SDPError) -> LocalMedia {
    var result = media
    let former = media.mid.flatMap { kept[$0] }
    var changes: [UInt8: UInt8] = [:]
    var used: Set<UInt8> = []
    // Those that are referred to come first: a reference is part of the configuration of `rtx` and `red`.
    for index in result.codecs.indices where !result.codecs[index].accompaniesOthers {
      let codec = result.codecs[index]
      let before = former?.codecs.first { !used.contains($0.payloadType) && codec.isSameFormat(as: $0) }
      result.codecs[index].payloadType = try number(codec, media.kind, before: before?.payloadType, used: &used)
      changes[codec.payloadType] = changes[codec.payloadType] ?? result.codecs[index].payloadType
    }
    for index in result.codecs.indices where result.codecs[index].accompaniesOthers {
      result.codecs[index].refer(to: changes)
      let codec = result.codecs[index]
      let before = former?.codecs.first { !used.contains($0.payloadType) && codec.isSameFormat(as: $0) }
      result.codecs[index].payloadType = try number(codec, media.kind, before: before?.payloadType, used: &used)
    }
    for index in result.extensions.indices {
      let uri = result.extensions[index].uri
      result.extensions[index].id = try number(uri, wanted: result.extensions[index].id)
    }
    return result
  }

  private mutating func number(
    _ codec: SDPCodec, _ kind: SDPMediaKind, before: UInt8?, used: inout Set<UInt8>
  ) throws(SDPError) -> UInt8 {
    let configuration = Configuration(kind, codec)
    if let before {
      used.insert(before)
      return before
    }
    let choices = [codec.payloadType] + Self.dynamicTypes
    guard
      let type = choices.first(where: {
        $0 < 128 && !used.contains($0) && !SDPCodec.conflictingTypes.contains($0)
          && (types[$0] == nil || types[$0] == configuration)
      })
    else { throw .noFreeNumber }
    used.insert(type)
    types[type] = configuration
    return type
  }

  private mutating func number(_ uri: String, wanted: UInt8) throws(SDPError) -> UInt8 {
    if let known = extensions.first(where: { $0.value == uri }) { return known.key }
    let choices = [wanted] + Self.extensionNumbers
    guard let id = choices.first(where: { extensions[$0] == nil && SDPExtension.isUsable($0, mixed: true) }) else {
      throw .noFreeNumber
    }
    extensions[id] = uri
    return id
  }

  /// RFC 3551 §6, and below them what RFC 5761 §4 leaves.
  private static let dynamicTypes = Array(UInt8(96)...127) + Array(UInt8(35)...63)
  /// Those of one-byte headers first.
  private static let extensionNumbers = Array(UInt8(1)...14) + Array(UInt8(16)...255)
}

extension SDPCodec {
  /// Whether a number that stands for the one can stand for the other.
  func isSameFormat(as other: SDPCodec) -> Bool {
    guard accepts(other) else { return false }
    return isRetransmission ? repairedPayloadType == other.repairedPayloadType : true
  }

  /// Renames the payload types in `apt=` and in the list of `red`.
  mutating func refer(to changes: [UInt8: UInt8]) {
    if let type = repairedPayloadType, let changed = changes[type] {
      parameters = "apt=\(changed)"
    } else if !redundantPayloadTypes.isEmpty {
      parameters = redundantPayloadTypes.map { "\(changes[$0] ?? $0)" }.joined(separator: "/")
    }
  }
}
