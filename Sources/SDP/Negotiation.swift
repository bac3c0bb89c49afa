// Negotiation.swift — offers and answers for one data-channel association, as functions (RFC 9429 §5, RFC 8841 §10).
//
// Audio, video and whatever else a browser offers keep their place in the answer, with port 0.

/// The peer's description, and the role that follows from it for us.
package struct RemoteDescription: Hashable, Sendable {
  package var transport: TransportDescription
  /// nil when there is no data section, or none that lives.
  package var data: DataDescription?
  /// All audio and video sections in order, refused ones included.
  package var media: [MediaDescription]
  package var localRole: SDPRole

  package init(
    transport: TransportDescription, data: DataDescription?, media: [MediaDescription] = [], localRole: SDPRole
  ) {
    self.transport = transport
    self.data = data
    self.media = media
    self.localRole = localRole
  }
}

package enum Negotiation {
  // MARK: Offering

  /// Our offer.
  /// - Parameter previous: our last description in this session, when there was one. Its sections keep their place, its
  ///   mid stays, and its version is raised by one.
  package static func offer(
    _ local: LocalDescription, following previous: SDPDocument? = nil
  ) throws(SDPError) -> SDPDocument {
    var sections = previous?.sections.map(\.rejected) ?? []
    let index =
      previous?.dataSectionIndex ?? previous?.sections.firstIndex(where: \.isData) ?? sections.count
    let mid = previous.flatMap { $0.sections.indices.contains(index) ? $0.sections[index].mid : nil } ?? "0"
    let section = try dataSection(
      like: SDPSection(
        media: "application", port: 9, transport: "UDP/DTLS/SCTP", formats: [SDPSection.dataFormat],
        attributes: [SDPAttribute("mid", mid)]),
      local, setup: .actpass)
    if index < sections.count { sections[index] = section } else { sections.append(section) }
    return SDPDocument(
      origin: origin(local, following: previous),
      attributes: sessionAttributes(local) + [SDPAttribute("group", "BUNDLE \(mid)")], sections: sections)
  }

  /// Reads the answer to our offer.
  /// - Parameter role: the role we have on a DTLS association that goes on; nil when there is none.
  package static func read(
    answer: SDPDocument, to offer: SDPDocument, keeping role: SDPRole? = nil
  ) throws(SDPError) -> RemoteDescription {
    try answer.checkMids()
    guard let index = offer.dataSectionIndex else { throw .noDataSection }
    guard answer.sections.count == offer.sections.count else { throw .answerMismatch }
    for (ours, theirs) in zip(offer.sections, answer.sections) {
      guard ours.media == theirs.media, theirs.mid == nil || ours.mid == theirs.mid else { throw .answerMismatch }
    }
    guard !answer.sections[index].isRejected else { throw .dataSectionRejected }
    guard answer.sections[index].isData else { throw .answerMismatch }
    let data = try DataDescription(reading: index, of: answer)
    let transport = try TransportDescription(sharedBy: [index], of: answer)
    switch transport.setup {
    case .active where role != .active:
      return RemoteDescription(transport: transport, data: data, localRole: .passive)
    case .passive where role != .passive:
      return RemoteDescription(transport: transport, data: data, localRole: .active)
    case .active, .passive, .actpass, .holdconn: throw .setupConflict  // RFC 8842 §5.3
    }
  }

  // MARK: Answering

  /// Reads an offer.
  /// - Parameter role: the role we have on a DTLS association that goes on; nil leaves the choice to the offer, and to
  ///   `active` when the offer leaves it to us.
  package static func read(
    offer: SDPDocument, keeping role: SDPRole? = nil
  ) throws(SDPError) -> RemoteDescription {
    try offer.checkMids()
    guard let index = offer.dataSectionIndex else { throw .noDataSection }
    let data = try DataDescription(reading: index, of: offer)
    let transport = try TransportDescription(sharedBy: [index], of: offer)
    let localRole: SDPRole
    switch transport.setup {
    case .actpass: localRole = role ?? .active
    case .active where role != .active: localRole = .passive
    case .passive where role != .passive: localRole = .active
    case .active, .passive, .holdconn: throw .setupConflict
    }
    return RemoteDescription(transport: transport, data: data, localRole: localRole)
  }

  /// Our answer to an offer: its sections in its order, all but the data section refused, and its bundle with what is left.
  /// - Parameters:
  ///   - role: as for `read(offer:keeping:)`.
  ///   - previous: our last description in this session, when there was one; its version is raised by one.
  package static func answer(
    to offer: SDPDocument, _ local: LocalDescription, keeping role: SDPRole? = nil,
    following previous: SDPDocument? = nil
  ) throws(SDPError) -> SDPDocument {
    let remote = try read(offer: offer, keeping: role)
    var sections = offer.sections.map(\.rejected)
    let index = remote.transport.sectionIndex
    let offered = offer.sections[index]
    sections[index] = try dataSection(like: offered, local, setup: remote.localRole.setup)
    var attributes = sessionAttributes(local)
    if let mid = offered.mid, offer.bundle(containing: mid) != nil {
      attributes.append(SDPAttribute("group", "BUNDLE \(mid)"))
    }
    return SDPDocument(origin: origin(local, following: previous), attributes: attributes, sections: sections)
  }

  // MARK: Parts

  private static func origin(_ local: LocalDescription, following previous: SDPDocument?) -> SDPOrigin {
    guard let origin = previous?.origin else { return SDPOrigin(sessionID: local.sessionID, version: 1) }
    return SDPOrigin(sessionID: origin.sessionID, version: origin.version &+ 1)
  }

  /// Only here may `a=ice-lite` stand (RFC 8839 §5.3).
  private static func sessionAttributes(_ local: LocalDescription) -> [SDPAttribute] {
    local.isLite ? [SDPAttribute("ice-lite")] : []
  }

  /// Our data section, in the transport, syntax and name of `model`.
  private static func dataSection(
    like model: SDPSection, _ local: LocalDescription, setup: SDPSetup
  ) throws(SDPError) -> SDPSection {
    guard let data = local.data else { throw .noDataSection }
    var attributes: [SDPAttribute] = []
    for candidate in local.candidates {
      guard candidate.hasPrefix("candidate:") else { throw .unwritableField(candidate) }
      attributes.append(SDPAttribute("candidate", String(candidate.dropFirst("candidate:".count))))
    }
    if local.hasAllCandidates { attributes.append(SDPAttribute("end-of-candidates")) }
    attributes.append(SDPAttribute("ice-ufrag", local.credentials.usernameFragment))
    attributes.append(SDPAttribute("ice-pwd", local.credentials.password))
    if !local.iceOptions.isEmpty {
      attributes.append(SDPAttribute("ice-options", local.iceOptions.joined(separator: " ")))
    }
    for fingerprint in local.fingerprints {
      attributes.append(SDPAttribute("fingerprint", fingerprint.description))
    }
    if let tlsID = local.tlsID { attributes.append(SDPAttribute("tls-id", tlsID)) }
    attributes.append(SDPAttribute("setup", setup.rawValue))
    if let mid = model.mid { attributes.append(SDPAttribute("mid", mid)) }
    var formats = [SDPSection.dataFormat]
    if model.oldSCTPPort != nil {
      formats = ["\(data.sctpPort)"]
      attributes.append(SDPAttribute("sctpmap", "\(data.sctpPort) \(SDPSection.dataFormat) 65535"))
    } else {
      attributes.append(SDPAttribute("sctp-port", "\(data.sctpPort)"))
    }
    attributes.append(SDPAttribute("max-message-size", "\(data.maximumMessageSize)"))
    if let sctpInit = data.sctpInit { attributes.append(SDPAttribute("sctp-init", Base64.encode(sctpInit))) }
    return SDPSection(
      media: model.media, port: 9, transport: model.transport, formats: formats, attributes: attributes)
  }
}

extension SDPSection {
  package var mid: String? { attributes.values("mid").first }

  /// The section as we refuse it (RFC 9429 §5.3.1): what it is and its name, and nothing else.
  var rejected: SDPSection {
    SDPSection(
      media: media, port: 0, transport: transport, formats: formats,
      attributes: (mid.map { [SDPAttribute("mid", $0)] } ?? []) + [SDPAttribute("inactive")])
  }
}
