// Negotiation.swift — offers and answers for one transport with data channels and media, as functions (RFC 9429 §5,
// RFC 3264, RFC 8841 §10).
//
// Whatever is offered and not taken keeps its place in the answer, with port 0. Offers are made in Negotiation+Offer.swift.

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
  // MARK: Reading

  /// Reads an offer.
  /// - Parameters:
  ///   - role: the role we have on a DTLS association that goes on; nil leaves the choice to the offer, and to `active` when
  ///     the offer leaves it to us.
  ///   - isAccepted: whether a media section is to be taken. Those that are not, say so, and are not looked at for the
  ///     transport, which is that of the first section that is taken.
  package static func read(
    offer: SDPDocument, keeping role: SDPRole? = nil, limits: SDPLimits = SDPLimits(),
    accepting isAccepted: (MediaDescription) -> Bool = { _ in true }
  ) throws(SDPError) -> RemoteDescription {
    try offer.checkMids()
    let bundle = try SDPBundle(of: offer, takingData: true, limits: limits, accepting: isAccepted)
    return try read(offer: offer, bundle, keeping: role)
  }

  private static func read(
    offer: SDPDocument, _ bundle: SDPBundle, keeping role: SDPRole?
  ) throws(SDPError) -> RemoteDescription {
    guard !bundle.indices.isEmpty else { throw .noDataSection }
    let transport = try TransportDescription(sharedBy: bundle.indices, of: offer)
    let localRole: SDPRole
    switch transport.setup {
    case .actpass: localRole = role ?? .active
    case .active where role != .active: localRole = .passive
    case .passive where role != .passive: localRole = .active
    case .active, .passive, .holdconn: throw .setupConflict  // RFC 8842 §5.3
    }
    return RemoteDescription(transport: transport, data: bundle.data, media: bundle.media, localRole: localRole)
  }

  /// Reads the answer to our offer.
  /// - Parameter role: the role we have on a DTLS association that goes on; nil when there is none.
  package static func read(
    answer: SDPDocument, to offer: SDPDocument, keeping role: SDPRole? = nil, limits: SDPLimits = SDPLimits()
  ) throws(SDPError) -> RemoteDescription {
    try answer.checkMids()
    guard answer.sections.count == offer.sections.count else { throw .answerMismatch }
    var answer = answer
    let offeredData = offer.dataSectionIndex
    for (index, (ours, theirs)) in zip(offer.sections, answer.sections).enumerated() {
      guard ours.media == theirs.media, theirs.mid == nil || ours.mid == theirs.mid else { throw .answerMismatch }
      guard index != offeredData || theirs.isRejected || theirs.isData else { throw .answerMismatch }
      // What was not offered cannot be accepted (RFC 3264 §6). Pion 3 gives a stopped section a port all the same.
      if ours.isRejected { answer.sections[index] = theirs.rejected }
    }
    let bundle = try SDPBundle(of: answer, takingData: offeredData != nil, limits: limits) { _ in true }
    for media in bundle.media {
      switch media.refusal {
      case .none: try check(media, of: answer, against: offer, limits: limits)
      case .rejected: continue
      case .notBundled: throw .notBundled(section: media.sectionIndex)
      case .noRTCPMux: throw .noRTCPMux(section: media.sectionIndex)
      case .notAccepted: throw .noCommonCodec(section: media.sectionIndex)
      case .profile: throw .answerMismatch
      }
    }
    guard !bundle.indices.isEmpty else {
      if offeredData != nil { throw .dataSectionRejected }
      throw offer.sections.contains { !$0.isRejected } ? .allSectionsRejected : .noDataSection
    }
    let transport = try TransportDescription(sharedBy: bundle.indices, of: answer)
    let localRole: SDPRole
    switch transport.setup {
    case .active where role != .active: localRole = .passive
    case .passive where role != .passive: localRole = .active
    case .active, .passive, .actpass, .holdconn: throw .setupConflict  // RFC 8842 §5.3
    }
    return RemoteDescription(transport: transport, data: bundle.data, media: bundle.media, localRole: localRole)
  }

  /// Whether an answered section speaks of something that we offered, in the bundle in which we offered it (RFC 9143 §7.4).
  private static func check(
    _ media: MediaDescription, of answer: SDPDocument, against offer: SDPDocument, limits: SDPLimits
  ) throws(SDPError) {
    let index = media.sectionIndex
    if let mid = media.mid, answer.bundle(containing: mid) != nil {
      guard offer.bundle(containing: mid) != nil else { throw .notBundled(section: index) }
    }
    let ours = try MediaDescription(reading: index, kind: media.kind, of: offer, limits: limits)
    guard media.codecs.contains(where: { theirs in ours.codecs.contains { $0.isSameFormat(as: theirs) } }) else {
      throw .noCommonCodec(section: index)
    }
  }

  // MARK: Answering

  /// Our answer to an offer: its sections in its order, those that we do not take refused, and its bundle with what is left.
  /// - Parameters:
  ///   - local: a media section is taken when `local.media` has one of its mid and kind that is not stopped and shares a codec.
  ///   - role: as for `read(offer:keeping:)`.
  ///   - previous: our last description in this session, when there was one; its version is raised by one.
  package static func answer(
    to offer: SDPDocument, _ local: LocalDescription, keeping role: SDPRole? = nil,
    following previous: SDPDocument? = nil, limits: SDPLimits = SDPLimits()
  ) throws(SDPError) -> SDPDocument {
    try offer.checkMids()
    let bundle = try SDPBundle(of: offer, takingData: local.data != nil, limits: limits, accepting: local.accepts)
    let remote = try read(offer: offer, bundle, keeping: role)
    var writer = SDPSectionWriter(local, setup: remote.localRole.setup, carrier: bundle.indices[0])
    // RFC 8842 §5.3: the answer names the association when the offer did.
    if remote.transport.tlsID == nil { writer.tlsID = nil }
    var sections = offer.sections.map(\.rejected)
    if let data = remote.data, let ours = local.data {
      sections[data.sectionIndex] = try writer.data(
        ours, at: data.sectionIndex, like: offer.sections[data.sectionIndex])
    }
    var allowsMixed = false
    for offered in remote.media where !offered.isRejected {
      guard let ours = local.media(for: offered) else { continue }
      let index = offered.sectionIndex
      sections[index] = try writer.media(
        ours.answering(offered), at: index, transport: offer.sections[index].transport,
        usesReducedSize: offered.usesReducedSize)
      if offered.allowsMixedExtensions { allowsMixed = true }
    }
    var attributes = sessionAttributes(local)
    if bundle.isGrouped {
      let mids = bundle.indices.compactMap { offer.sections[$0].mid }
      attributes.append(SDPAttribute("group", (["BUNDLE"] + mids).joined(separator: " ")))
    }
    if allowsMixed { attributes.append(SDPAttribute("extmap-allow-mixed")) }
    return SDPDocument(origin: origin(local, following: previous), attributes: attributes, sections: sections)
  }

  // MARK: Parts

  static func origin(_ local: LocalDescription, following previous: SDPDocument?) -> SDPOrigin {
    guard let origin = previous?.origin else { return SDPOrigin(sessionID: local.sessionID, version: 1) }
    return SDPOrigin(sessionID: origin.sessionID, version: origin.version &+ 1)
  }

  /// Only here may `a=ice-lite` stand (RFC 8839 §5.3).
  static func sessionAttributes(_ local: LocalDescription) -> [SDPAttribute] {
    local.isLite ? [SDPAttribute("ice-lite")] : []
  }
}

extension LocalDescription {
  /// Whether an answer with these takes an offered section: what `read(offer:)` is to be told.
  package func accepts(_ offered: MediaDescription) -> Bool {
    guard let ours = media(for: offered) else { return false }
    return !SDPCodec.matching(offered: offered.codecs, ours: ours.codecs).isEmpty
  }

  /// Ours for an offered section.
  func media(for offered: MediaDescription) -> LocalMedia? {
    media.first { $0.mid == offered.mid && $0.kind == offered.kind && !$0.isStopped }
  }
}

extension LocalMedia {
  /// Ours as the answer to an offered section: what both have, in the offer's numbers.
  func answering(_ offered: MediaDescription) -> LocalMedia {
    var answer = self
    answer.direction = direction.intersection(offered.direction.reversed)
    answer.codecs = SDPCodec.matching(offered: offered.codecs, ours: codecs)
    answer.extensions = offered.extensions.compactMap { theirs in
      guard let ours = extensions.first(where: { $0.uri == theirs.uri }) else { return nil }
      let said = ours.direction ?? .sendReceive
      let direction = theirs.direction.map { said.intersection($0.reversed) } ?? ours.direction
      return SDPExtension(id: theirs.id, uri: theirs.uri, direction: direction)
    }
    return answer
  }
}
