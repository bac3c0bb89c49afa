// Negotiation+Offer.swift — our offers: the first, and those that follow (RFC 9429 §5.2).
//
// A section never changes its place or its name. What was stopped keeps its place with port 0, until a new section of its
// kind takes it over under a new name. What a number stood for it stands for: payload types and header extensions keep the
// meaning that they were given, by whichever side, and nothing else in the bundle gets them (RFC 9143 §9.1.1, §12).

extension Negotiation {
  /// Gives names to those that have none yet: numbers that no section has had, so far as `previous` tells.
  package static func assignMids(_ media: inout [LocalMedia], following previous: SDPDocument?) {
    var next = nextMid(media, following: previous)
    for index in media.indices where media[index].mid == nil && !media[index].isStopped {
      media[index].mid = "\(next)"
      next += 1
    }
  }

  private static func nextMid(_ media: [LocalMedia], following previous: SDPDocument?) -> UInt64 {
    let mids = (previous?.sections.compactMap(\.mid) ?? []) + media.compactMap(\.mid)
    // A 64-bit number cannot be overtaken by 32-bit ones.
    return mids.compactMap { decimal($0, as: UInt32.self) }.map { UInt64($0) + 1 }.max() ?? 0
  }

  /// Our offer.
  /// - Parameters:
  ///   - local: media without a mid get one, as by `assignMids`.
  ///   - previous: our last description in this session, when there was one. Its sections keep their place and name, and its
  ///     version is raised by one.
  ///   - isAgreed: whether both sides have agreed on `previous`. While it is an offer without an answer, the places of
  ///     sections that it stops are not given to others.
  package static func offer(
    _ local: LocalDescription, following previous: SDPDocument? = nil, isAgreed: Bool = true
  ) throws(SDPError) -> SDPDocument {
    var media = local.media
    assignMids(&media, following: previous)
    media.removeAll(where: \.isStopped)
    var places = try OfferPlaces(media, following: previous, isRecycling: isAgreed)
    let data = local.data == nil ? nil : places.placeData(name: "\(nextMid(media, following: previous))")
    guard let carrier = places.living.first else { throw .noDataSection }

    var numbers = SDPNumbering()
    for (index, one) in places.media {
      guard let section = previous?.sections[checking: index], section.mid == one.mid, !section.isRejected else {
        continue
      }
      try numbers.keep(MediaDescription(reading: index, kind: one.kind, of: previous ?? places.document))
    }

    let writer = SDPSectionWriter(local, setup: .actpass, carrier: carrier)
    for (index, one) in places.media {
      places.document.sections[index] = try writer.media(
        try numbers.numbered(one), at: index, usesReducedSize: true)
    }
    if let data, let ours = local.data {
      places.document.sections[data] = try writer.data(ours, at: data, like: places.document.sections[data])
    }
    var attributes = sessionAttributes(local)
    let mids = places.living.compactMap { places.document.sections[$0].mid }
    attributes.append(SDPAttribute("group", (["BUNDLE"] + mids).joined(separator: " ")))
    if !places.media.isEmpty { attributes.append(SDPAttribute("extmap-allow-mixed")) }
    return SDPDocument(
      origin: origin(local, following: previous), attributes: attributes, sections: places.document.sections)
  }
}

/// Where each section goes.
private struct OfferPlaces {
  /// Sections of the last description, refused; new ones at the end.
  var document: SDPDocument
  private(set) var media: [(index: Int, media: LocalMedia)] = []
  private var data: Int?
  /// Where the data section was, living or not.
  private let formerData: Int?

  init(_ wanted: [LocalMedia], following previous: SDPDocument?, isRecycling: Bool) throws(SDPError) {
    let former = previous?.sections ?? []
    try previous?.checkMids()
    document = SDPDocument(
      origin: SDPOrigin(sessionID: 0, version: 0), sections: former.map(\.rejected))
    formerData = previous?.dataSectionIndex ?? former.firstIndex(where: \.isData)
    var names: Set<String> = []
    var recyclable = isRecycling ? former.indices.filter { former[$0].isRejected } : []
    for one in wanted {
      guard let mid = one.mid, names.insert(mid).inserted else { throw .duplicateMid(one.mid ?? "") }
      if let index = former.firstIndex(where: { $0.mid == mid }) {
        guard former[index].media == one.kind.rawValue else { throw .duplicateMid(mid) }
        // What was refused under a name stays refused under it.
        if !former[index].isRejected { media.append((index, one)) }
        continue
      }
      let place = recyclable.firstIndex { former[$0].media == one.kind.rawValue }
      let index = place.map { recyclable.remove(at: $0) } ?? document.sections.count
      if place == nil {
        document.sections.append(
          SDPSection(media: one.kind.rawValue, port: 0, transport: SDPSection.mediaProfile, formats: []))
      }
      document.sections[index].attributes = [SDPAttribute("mid", mid)]
      media.append((index, one))
    }
    media.sort { $0.index < $1.index }
  }

  /// The data section, where it was; behind all others when it is new.
  mutating func placeData(name: String) -> Int {
    let index = formerData ?? document.sections.count
    if index == document.sections.count {
      document.sections.append(
        SDPSection(
          media: "application", port: 0, transport: "UDP/DTLS/SCTP", formats: [SDPSection.dataFormat]))
    }
    let mid = document.sections[index].mid ?? name
    document.sections[index] = SDPSection(
      media: "application", port: 0, transport: "UDP/DTLS/SCTP", formats: [SDPSection.dataFormat],
      attributes: [SDPAttribute("mid", mid)])
    data = index
    return index
  }

  /// In order.
  var living: [Int] { (media.map(\.index) + (data.map { [$0] } ?? [])).sorted() }
}

extension Array {
  /// nil outside of the bounds.
  fileprivate subscript(checking index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
