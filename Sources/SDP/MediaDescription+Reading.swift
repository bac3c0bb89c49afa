// MediaDescription+Reading.swift — an audio or video section's lines, read within limits (RFC 9429 §5.8).
//
// What we do not know is passed over. What we know and cannot be right fails the description, with the attribute's name.

extension MediaDescription {
  /// Reads the section at `index`, which is audio or video and lives.
  package init(
    reading index: Int, kind: SDPMediaKind, of document: SDPDocument, limits: SDPLimits = SDPLimits()
  ) throws(SDPError) {
    let section = document.sections[index]
    let attributes = section.attributes
    self.init(sectionIndex: index, mid: try attributes.single("mid"), kind: kind)
    let leader = mid.flatMap { document.leader(of: $0) }?.attributes ?? []
    // Both belong to the transport, and stand where the transport stands (RFC 9143 §7.1.3).
    hasRTCPMux = Self.multiplexes(attributes) || Self.multiplexes(leader)
    usesReducedSize = attributes.contains(name: "rtcp-rsize") || leader.contains(name: "rtcp-rsize")
    allowsMixedExtensions =
      attributes.contains(name: "extmap-allow-mixed") || document.attributes.contains(name: "extmap-allow-mixed")
    let session = try Self.direction(document.attributes)
    let said = try Self.direction(attributes)
    direction = said ?? session ?? .sendReceive
    codecs = try Self.codecs(of: section, kind: kind, hasMux: hasRTCPMux, limits: limits)
    extensions = try Self.extensions(document.attributes + attributes, mixed: allowsMixedExtensions, limits: limits)
    try readSources(attributes, limits: limits)
    try readStreams(attributes, limits: limits)
    try readRids(attributes, formats: Set(codecs.map(\.payloadType)), limits: limits)
  }

  private static func multiplexes(_ attributes: [SDPAttribute]) -> Bool {
    attributes.contains(name: "rtcp-mux") || attributes.contains(name: "rtcp-mux-only")
  }

  private static func direction(_ attributes: [SDPAttribute]) throws(SDPError) -> SDPDirection? {
    var direction: SDPDirection?
    for attribute in attributes {
      guard let said = SDPDirection(rawValue: attribute.name), attribute.value == nil else { continue }
      guard direction == nil || direction == said else { throw .conflictingAttribute(name: attribute.name) }
      direction = said
    }
    return direction
  }

  // MARK: Codecs

  private static func codecs(
    of section: SDPSection, kind: SDPMediaKind, hasMux: Bool, limits: SDPLimits
  ) throws(SDPError) -> [SDPCodec] {
    guard section.formats.count <= limits.maximumCodecs else { throw .tooManyCodecs }
    var maps: [UInt8: SDPCodec] = [:]
    for value in section.attributes.values("rtpmap") {
      let codec = try SDPCodec(rtpmap: value, kind: kind)
      if let other = maps[codec.payloadType], other != codec { throw .conflictingAttribute(name: "rtpmap") }
      maps[codec.payloadType] = codec
    }
    var codecs: [SDPCodec] = []
    var seen: Set<UInt8> = []
    for format in section.formats {
      guard let type: UInt8 = decimal(format), type < 128 else { throw .malformedFormat(format) }
      // The second byte of such packets would read as an RTCP packet type (RFC 5761 §4): we never use them.
      if hasMux, SDPCodec.conflictingTypes.contains(type) { continue }
      guard seen.insert(type).inserted, let codec = maps[type] ?? SDPCodec(staticType: type, kind: kind) else {
        continue
      }
      codecs.append(codec)
    }
    try readParameters(section.attributes, into: &codecs)
    try readFeedback(section.attributes, into: &codecs, limits: limits)
    return codecs
  }

  private static func readParameters(_ attributes: [SDPAttribute], into codecs: inout [SDPCodec]) throws(SDPError) {
    var said: Set<UInt8> = []
    for value in attributes.values("fmtp") {
      guard let (type, parameters) = formatAndRest(value) else { throw .malformedAttribute(name: "fmtp") }
      guard let index = codecs.firstIndex(where: { $0.payloadType == type }) else { continue }
      guard said.insert(type).inserted || codecs[index].parameters == parameters else {
        throw .conflictingAttribute(name: "fmtp")
      }
      codecs[index].parameters = parameters
    }
  }

  private static func readFeedback(
    _ attributes: [SDPAttribute], into codecs: inout [SDPCodec], limits: SDPLimits
  ) throws(SDPError) {
    for value in attributes.values("rtcp-fb") {
      let fields = words(value)
      guard fields.count >= 2 else { throw .malformedAttribute(name: "rtcp-fb") }
      var type: UInt8?  // nil: all of them
      if fields[0] != "*" {
        type = decimal(fields[0])
        guard let type, type < 128 else { throw .malformedAttribute(name: "rtcp-fb") }
      }
      let feedback = fields[1...].joined(separator: " ")
      for index in codecs.indices where type == nil || codecs[index].payloadType == type {
        if codecs[index].feedback.contains(feedback) { continue }
        guard codecs[index].feedback.count < limits.maximumFeedback else { throw .tooManyCodecs }
        codecs[index].feedback.append(feedback)
      }
    }
  }

  /// `111 minptime=10`: a payload type and the rest of the line.
  private static func formatAndRest(_ value: String) -> (UInt8, String)? {
    let parts = value.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
    guard let first = parts.first, let type: UInt8 = decimal(Substring(first)), type < 128 else { return nil }
    return (type, parts.count > 1 ? words(Substring(parts[1])).joined(separator: " ") : "")
  }

  // MARK: Header extensions

  private static func extensions(
    _ attributes: [SDPAttribute], mixed: Bool, limits: SDPLimits
  ) throws(SDPError) -> [SDPExtension] {
    var extensions: [SDPExtension] = []
    for value in attributes.values("extmap") {
      let fields = words(value)
      guard fields.count >= 2 else { throw .malformedAttribute(name: "extmap") }
      let name = fields[0].utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(
        Substring.init)
      guard name.count <= 2, let number: UInt16 = decimal(name[0]), number > 0, number <= SDPExtension.highestNumber
      else {
        throw .malformedAttribute(name: "extmap")
      }
      let direction = name.count > 1 ? SDPDirection(rawValue: String(name[1])) : nil
      guard name.count == 1 || direction != nil else { throw .malformedAttribute(name: "extmap") }
      // 15 means something else in a header; above 255 only offers more than there are numbers for (RFC 8285 §4.2, §5).
      guard let id = UInt8(exactly: number), SDPExtension.isUsable(id, mixed: mixed) else { continue }
      if let other = extensions.first(where: { $0.id == id }) {
        guard other.uri == fields[1] else { throw .conflictingAttribute(name: "extmap") }
        continue
      }
      guard !extensions.contains(where: { $0.uri == fields[1] }) else { continue }
      guard extensions.count < limits.maximumExtensions else { throw .tooManyExtensions }
      extensions.append(SDPExtension(id: id, uri: fields[1], direction: direction))
    }
    return extensions
  }

  // MARK: Sources and streams

  private mutating func readSources(_ attributes: [SDPAttribute], limits: SDPLimits) throws(SDPError) {
    var seen: Set<UInt32> = []
    for value in attributes.values("ssrc") {
      let parts = value.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
      guard let first = parts.first, let ssrc: UInt32 = decimal(Substring(first)) else {
        throw .malformedAttribute(name: "ssrc")
      }
      if seen.insert(ssrc).inserted {
        guard ssrcs.count < limits.maximumSSRCs else { throw .tooManySSRCs }
        ssrcs.append(ssrc)
      }
      guard cname == nil, parts.count > 1 else { continue }
      let said = Substring(parts[1])
      if said.hasPrefix("cname:") { cname = String(said.dropFirst("cname:".count)) }
    }
    for value in attributes.values("ssrc-group") {
      let fields = words(value)
      guard let semantics = fields.first, fields.count > 1 else { throw .malformedAttribute(name: "ssrc-group") }
      guard ssrcGroups.count < limits.maximumSSRCs, fields.count <= limits.maximumSSRCs + 1 else { throw .tooManySSRCs }
      var members: [UInt32] = []
      for field in fields.dropFirst() {
        guard let ssrc: UInt32 = decimal(field) else { throw .malformedAttribute(name: "ssrc-group") }
        members.append(ssrc)
      }
      ssrcGroups.append(SDPSourceGroup(semantics: semantics, ssrcs: members))
    }
  }

  /// `a=msid` (RFC 8830 §2), or what came before it: the same as an attribute of an SSRC.
  private mutating func readStreams(_ attributes: [SDPAttribute], limits: SDPLimits) throws(SDPError) {
    var values = attributes.values("msid")
    if values.isEmpty {
      let old = attributes.values("ssrc").lazy.map { words($0) }
        .first { $0.count > 1 && $0[1].hasPrefix("msid:") }
      if let old { values = [(old[1].dropFirst("msid:".count) + " " + old.dropFirst(2).joined(separator: " "))] }
    }
    guard values.count <= limits.maximumStreams else { throw .tooManySSRCs }
    for value in values {
      let fields = words(value)
      guard (1...2).contains(fields.count) else { throw .malformedAttribute(name: "msid") }
      if fields[0] != "-", !streamIDs.contains(fields[0]) { streamIDs.append(fields[0]) }
      if trackID == nil, fields.count > 1 { trackID = fields[1] }
    }
  }

  // MARK: Simulcast

  private mutating func readRids(
    _ attributes: [SDPAttribute], formats: Set<UInt8>, limits: SDPLimits
  ) throws(SDPError) {
    for value in attributes.values("rid") {
      let rid = try SDPRid(parsing: value)
      if let other = rids.first(where: { $0.id == rid.id }) {
        guard other == rid else { throw .conflictingAttribute(name: "rid") }
        continue
      }
      guard rids.count < limits.maximumRids else { throw .tooManyRids }
      // A restriction to what the section does not have leaves nothing (RFC 8851 §6.3).
      guard rid.payloadTypes.isEmpty || rid.payloadTypes.contains(where: formats.contains) else { continue }
      rids.append(rid)
    }
    guard let text = try attributes.single("simulcast") else { return }
    var read = try SDPSimulcast(parsing: text)
    // A stream without its `a=rid` is none (RFC 8853 §5.2).
    func keep(_ streams: [[SDPSimulcast.Alternative]], _ direction: SDPRid.Direction) -> [[SDPSimulcast.Alternative]] {
      streams.map { $0.filter { one in rids.contains { $0.id == one.rid && $0.direction == direction } } }
        .filter { !$0.isEmpty }
    }
    read.send = keep(read.send, .send)
    read.receive = keep(read.receive, .receive)
    simulcast = read
  }
}

extension SDPExtension {
  /// RFC 8285 §5: up to 4351.
  static let highestNumber: UInt16 = 4351

  static func isUsable(_ id: UInt8, mixed: Bool) -> Bool { id != 0 && id != 15 && (id < 15 || mixed) }
}

extension SDPCodec {
  /// What RTP and RTCP on one port leave out (RFC 5761 §4).
  static let conflictingTypes: ClosedRange<UInt8> = 64...95

  /// Reads `111 opus/48000/2` (RFC 8866 §6.6).
  init(rtpmap value: String, kind: SDPMediaKind) throws(SDPError) {
    let fields = words(value)
    guard fields.count == 2, let type: UInt8 = decimal(fields[0]), type < 128 else {
      throw .malformedAttribute(name: "rtpmap")
    }
    let parts = fields[1].utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Substring.init)
    guard (2...3).contains(parts.count), !parts[0].isEmpty, let clockRate: UInt32 = decimal(parts[1]), clockRate > 0
    else {
      throw .malformedAttribute(name: "rtpmap")
    }
    var channels: UInt8 = 1
    if kind == .audio, parts.count == 3 {
      guard let said: UInt8 = decimal(parts[2]), said > 0 else { throw .malformedAttribute(name: "rtpmap") }
      channels = said
    }
    self.init(payloadType: type, name: String(parts[0]), clockRate: clockRate, channels: Int(channels))
  }

  /// What a payload type means by itself (RFC 3551 §6); nil for the dynamic and the unassigned ones.
  init?(staticType type: UInt8, kind: SDPMediaKind) {
    let known: (name: String, clockRate: UInt32, channels: Int)? =
      switch (kind, type) {
      case (.audio, 0): ("PCMU", 8000, 1)
      case (.audio, 3): ("GSM", 8000, 1)
      case (.audio, 4): ("G723", 8000, 1)
      case (.audio, 5): ("DVI4", 8000, 1)
      case (.audio, 6): ("DVI4", 16000, 1)
      case (.audio, 7): ("LPC", 8000, 1)
      case (.audio, 8): ("PCMA", 8000, 1)
      case (.audio, 9): ("G722", 8000, 1)
      case (.audio, 10): ("L16", 44100, 2)
      case (.audio, 11): ("L16", 44100, 1)
      case (.audio, 12): ("QCELP", 8000, 1)
      case (.audio, 13): ("CN", 8000, 1)
      case (.audio, 14): ("MPA", 90000, 1)
      case (.audio, 15): ("G728", 8000, 1)
      case (.audio, 16): ("DVI4", 11025, 1)
      case (.audio, 17): ("DVI4", 22050, 1)
      case (.audio, 18): ("G729", 8000, 1)
      case (.video, 25): ("CelB", 90000, 1)
      case (.video, 26): ("JPEG", 90000, 1)
      case (.video, 28): ("nv", 90000, 1)
      case (.video, 31): ("H261", 90000, 1)
      case (.video, 32): ("MPV", 90000, 1)
      case (.video, 33): ("MP2T", 90000, 1)
      case (.video, 34): ("H263", 90000, 1)
      default: nil
      }
    guard let known else { return nil }
    self.init(payloadType: type, name: known.name, clockRate: known.clockRate, channels: known.channels)
  }
}

extension SDPRid {
  /// Reads `h send pt=96;max-width=1280` (RFC 8851 §10).
  init(parsing value: String) throws(SDPError) {
    let fields = words(value)
    guard fields.count >= 2, Self.isValid(fields[0]), let direction = Direction(rawValue: fields[1]) else {
      throw .malformedAttribute(name: "rid")
    }
    self.init(id: fields[0], direction: direction)
    var others: [String] = []
    for part in fields.dropFirst(2).joined(separator: " ").utf8.split(separator: UInt8(ascii: ";")) {
      let text = words(Substring(part)).joined(separator: " ")
      guard text.hasPrefix("pt=") else {
        others.append(text)
        continue
      }
      for number in text.dropFirst(3).utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
        guard let type: UInt8 = decimal(Substring(number)), type < 128, payloadTypes.count < 128 else {
          throw .malformedAttribute(name: "rid")
        }
        payloadTypes.append(type)
      }
    }
    restrictions = others.joined(separator: ";")
  }

  static func isValid(_ id: some StringProtocol) -> Bool {
    (1...255).contains(id.utf8.count)
      && id.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
  }
}

extension SDPSimulcast {
  /// Reads `send h;m,~l recv x` (RFC 8853 §5.1).
  init(parsing value: String) throws(SDPError) {
    let fields = words(value)
    guard fields.count == 2 || fields.count == 4 else { throw .malformedAttribute(name: "simulcast") }
    self.init()
    var said: Set<String> = []
    for start in stride(from: 0, to: fields.count, by: 2) {
      guard said.insert(fields[start]).inserted else { throw .malformedAttribute(name: "simulcast") }
      let streams = try Self.streams(fields[start + 1])
      switch fields[start] {
      case "send": send = streams
      case "recv": receive = streams
      default: throw .malformedAttribute(name: "simulcast")
      }
    }
  }

  private static func streams(_ text: String) throws(SDPError) -> [[Alternative]] {
    var streams: [[Alternative]] = []
    for stream in text.utf8.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false) {
      var alternatives: [Alternative] = []
      for one in stream.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
        let isPaused = one.first == UInt8(ascii: "~")
        let rid = Substring(isPaused ? one.dropFirst() : one)
        guard SDPRid.isValid(rid) else { throw .malformedAttribute(name: "simulcast") }
        alternatives.append(Alternative(rid: String(rid), isPaused: isPaused))
      }
      streams.append(alternatives)
    }
    return streams
  }
}
