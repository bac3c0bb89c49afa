// AgreedMedia.swift — what both descriptions together say about a media section: what a media session needs to know.

/// A section that lives in both descriptions, as this side sees it.
package struct AgreedMedia: Hashable, Sendable {
  package var sectionIndex: Int
  package var mid: String?
  package var kind: SDPMediaKind
  package var direction: SDPDirection
  /// What we may send, with the numbers of the peer, which receives it (RFC 3264 §5.1).
  package var sendCodecs: [SDPCodec]
  /// What may come, with our numbers.
  package var receiveCodecs: [SDPCodec]
  /// Those that both know; the number is the same both ways (RFC 8285 §5). The direction is ours.
  package var extensions: [SDPExtension]
  package var usesReducedSize: Bool
  /// All that we said.
  package var local: MediaDescription
  /// All that the peer said, as it sees it.
  package var remote: MediaDescription
}

extension Negotiation {
  /// What has been agreed on when an answer, of either side, is set.
  package static func agreed(local: SDPDocument, remote: RemoteDescription) throws(SDPError) -> [AgreedMedia] {
    var result: [AgreedMedia] = []
    for theirs in remote.media where !theirs.isRejected {
      let index = theirs.sectionIndex
      guard local.sections.indices.contains(index), !local.sections[index].isRejected,
        local.sections[index].media == theirs.kind.rawValue
      else { continue }
      let ours = try MediaDescription(reading: index, kind: theirs.kind, of: local)
      result.append(
        AgreedMedia(
          sectionIndex: index, mid: ours.mid, kind: ours.kind,
          direction: ours.direction.intersection(theirs.direction.reversed),
          sendCodecs: theirs.codecs.common(with: ours.codecs), receiveCodecs: ours.codecs.common(with: theirs.codecs),
          extensions: ours.extensions.compactMap { one in
            guard theirs.extensions.contains(where: { $0.uri == one.uri }) else { return nil }
            return one
          },
          usesReducedSize: ours.usesReducedSize && theirs.usesReducedSize, local: ours, remote: theirs))
    }
    return result
  }
}

extension [SDPCodec] {
  /// These, as far as the others have them, with the feedback that both have.
  fileprivate func common(with others: [SDPCodec]) -> [SDPCodec] {
    compactMap { codec in
      // By number where the number means the same on both sides, which is nearly always.
      let same = others.first { $0.payloadType == codec.payloadType && codec.isSameFormat(as: $0) }
      guard let other = same ?? others.first(where: { codec.isSame(as: $0, in: others, of: self) }) else { return nil }
      var common = codec
      common.feedback = codec.feedback.filter { other.feedback.contains($0) }
      return common
    }
  }
}

extension SDPCodec {
  /// The same under another number: retransmission belongs to the codec that it repeats, whatever number that has.
  fileprivate func isSame(as other: SDPCodec, in others: [SDPCodec], of own: [SDPCodec]) -> Bool {
    guard isRetransmission else { return isSameFormat(as: other) }
    guard other.isRetransmission, clockRate == other.clockRate,
      let repaired = own.first(where: { $0.payloadType == repairedPayloadType }),
      let theirs = others.first(where: { $0.payloadType == other.repairedPayloadType })
    else { return false }
    return !repaired.isRetransmission && repaired.isSameFormat(as: theirs)
  }
}
