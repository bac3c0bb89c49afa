// SDPBundle.swift — which sections of a description share our one transport (RFC 9143, RFC 9429 §4.1.1 `max-bundle`).
//
// There is one bundle: that of the data section, and without one that of the first media section that is taken. What is
// outside of it would need a transport of its own, and is refused.

/// The sections that are taken, and all media sections with the reason why the others are not.
struct SDPBundle {
  var data: DataDescription?
  /// All audio and video sections in their order.
  var media: [MediaDescription] = []
  /// The sections that are taken, in the order of the group: the first carries the transport (RFC 9143 §7.3.1).
  var indices: [Int] = []
  /// Whether a group holds them together. Without one there is a single section.
  var isGrouped = false

  init(
    of document: SDPDocument, takingData: Bool, limits: SDPLimits, accepting isAccepted: (MediaDescription) -> Bool
  ) throws(SDPError) {
    var group: [String]?
    var members: [Int] = []
    if takingData, let index = document.dataSectionIndex {
      data = try DataDescription(reading: index, of: document)
      members = [index]
      group = data?.mid.flatMap { document.bundle(containing: $0) }
    }
    for (index, section) in document.sections.enumerated() {
      guard let kind = SDPMediaKind(rawValue: section.media) else { continue }
      var description = MediaDescription(sectionIndex: index, mid: section.mid, kind: kind)
      description.refusal = document.refusal(ofMedia: section)
      let own = section.mid.flatMap { document.bundle(containing: $0) }
      if description.refusal == nil, !members.isEmpty, group == nil || own != group {
        description.refusal = .notBundled
      }
      if description.refusal == nil {
        description = try MediaDescription(reading: index, kind: kind, of: document, limits: limits)
        if !description.hasRTCPMux {
          description.refusal = .noRTCPMux
        } else if description.codecs.isEmpty || !isAccepted(description) {
          description.refusal = .notAccepted
        }
      }
      if description.refusal == nil {
        if members.isEmpty { group = own }
        members.append(index)
      }
      media.append(description)
    }
    isGrouped = group != nil
    guard let group else {
      indices = members
      return
    }
    // What is only to be had within the bundle has no transport to give (RFC 9143 §7.3.1).
    let ordered = group.compactMap { mid in members.first { document.sections[$0].mid == mid } }
    indices = ordered.filter { document.sections[$0].port != 0 } + ordered.filter { document.sections[$0].port == 0 }
  }
}

extension SDPDocument {
  /// The mids of each `a=group:BUNDLE` (RFC 9143 §5).
  var bundles: [[String]] {
    attributes.values("group").map { words($0) }.filter { $0.first == "BUNDLE" }.map { Array($0.dropFirst()) }
  }

  func bundle(containing mid: String) -> [String]? { bundles.first { $0.contains(mid) } }

  /// The section that leads the bundle of `mid`.
  func leader(of mid: String) -> SDPSection? {
    bundle(containing: mid)?.first.flatMap { first in sections.first { $0.mid == first } }
  }

  /// What can be said against a media section without reading it.
  fileprivate func refusal(ofMedia section: SDPSection) -> MediaDescription.Refusal? {
    if section.isRejected { return .rejected }
    return SDPSection.mediaProfiles.contains(section.transport) ? nil : .profile
  }

  /// The section that carries data channels: the first that is not rejected.
  package var dataSectionIndex: Int? { sections.firstIndex { $0.isData && !$0.isRejected } }

  /// The section that carries the transport, in a description of ours: the first of our bundle (RFC 9143 §7.2.1, §7.3.1).
  package var transportSectionIndex: Int? {
    if let first = bundles.first?.first, let index = sections.firstIndex(where: { $0.mid == first }) { return index }
    return sections.firstIndex { !$0.isRejected }
  }

  /// Every section has a mid of its own, or none.
  func checkMids() throws(SDPError) {
    var seen: Set<String> = []
    for section in sections {
      guard let mid = try section.attributes.single("mid") else { continue }
      guard SDPSection.isValid(word: mid) else { throw .malformedAttribute(name: "mid") }
      guard seen.insert(mid).inserted else { throw .duplicateMid(mid) }
    }
  }
}

extension SDPSection {
  package var mid: String? { attributes.values("mid").first }

  /// Refused or removed: port 0, unless that says that the section is only to be had within its bundle (RFC 9143 §6).
  var isRejected: Bool { port == 0 && !attributes.contains(name: "bundle-only") }

  /// The section as we refuse it (RFC 9429 §5.3.1): what it is and its name, and nothing else.
  var rejected: SDPSection {
    SDPSection(
      media: media, port: 0, transport: transport, formats: formats,
      attributes: (mid.map { [SDPAttribute("mid", $0)] } ?? []) + [SDPAttribute("inactive")])
  }

  /// All are taken to mean RTP over DTLS-SRTP with feedback (RFC 9429 §5.1.2): a fingerprint is always asked for.
  static let mediaProfiles: Set<String> = [
    mediaProfile, "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP", "RTP/AVPF",
    "RTP/AVP",
  ]
  static let mediaProfile = "UDP/TLS/RTP/SAVPF"

  /// One word, without anything in it that ends a word.
  static func isValid(word: String) -> Bool {
    !word.isEmpty && !word.utf8.contains { isControl($0) || $0 == UInt8(ascii: " ") }
  }
}
