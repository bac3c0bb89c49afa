// SDPDocument.swift — a description as it is written: an origin, attributes, and media sections in order (RFC 8866).
//
// It keeps what offer/answer needs (RFC 9429) and drops what it has no use for: bandwidths, times, encryption keys,
// names and addresses of people. `SDPDocument(parsing: document.text())` equals `document`.

package struct SDPDocument: Hashable, Sendable {
  package var origin: SDPOrigin
  /// Session level, in order.
  package var attributes: [SDPAttribute]
  package var sections: [SDPSection]

  package init(origin: SDPOrigin, attributes: [SDPAttribute] = [], sections: [SDPSection] = []) {
    self.origin = origin
    self.attributes = attributes
    self.sections = sections
  }
}

/// `o=`: who made the description, and which version of it this is (§5.2).
package struct SDPOrigin: Hashable, Sendable {
  package var username = "-"
  package var sessionID: UInt64
  package var version: UInt64
  /// Network type, address type and address; nothing depends on them.
  package var address = "IN IP4 127.0.0.1"

  package init(sessionID: UInt64, version: UInt64) {
    self.sessionID = sessionID
    self.version = version
  }
}

/// `a=name` or `a=name:value` (§5.13).
package struct SDPAttribute: Hashable, Sendable {
  package var name: String
  package var value: String?

  package init(_ name: String, _ value: String? = nil) {
    self.name = name
    self.value = value
  }
}

/// `m=` and all that belongs to it (§5.14).
package struct SDPSection: Hashable, Sendable {
  /// `application`, `audio`, `video`, …
  package var media: String
  package var port: UInt16
  /// How many ports follow one another (`m=video 49170/2 …`); nil when not said.
  package var portCount: UInt16?
  package var transport: String
  package var formats: [String]
  package var attributes: [SDPAttribute]

  package init(
    media: String, port: UInt16, portCount: UInt16? = nil, transport: String, formats: [String],
    attributes: [SDPAttribute] = []
  ) {
    self.media = media
    self.port = port
    self.portCount = portCount
    self.transport = transport
    self.formats = formats
    self.attributes = attributes
  }
}

extension [SDPAttribute] {
  /// The values of all attributes of this name; an attribute without value counts as the empty one.
  package func values(_ name: String) -> [String] { compactMap { $0.name == name ? $0.value ?? "" : nil } }

  package func contains(name: String) -> Bool { contains { $0.name == name } }

  /// The value of an attribute that may be said once: nil when absent, refused when said twice and differently.
  func single(_ name: String) throws(SDPError) -> String? {
    let values = values(name)
    guard let first = values.first else { return nil }
    guard values.allSatisfy({ $0 == first }) else { throw .conflictingAttribute(name: name) }
    return first
  }

  /// The same, of a section's attributes: what they say wins over what the session says.
  func single(_ name: String, orFrom session: [SDPAttribute]) throws(SDPError) -> String? {
    if let value = try single(name) { return value }
    return try session.single(name)
  }
}

// MARK: Parsing

extension SDPDocument {
  package init(parsing text: String, limits: SDPLimits = SDPLimits()) throws(SDPError) {
    var scanner = try SDPScanner(text, limits: limits)
    guard let first = try scanner.next(), first.type == UInt8(ascii: "v"), first.value == "0" else {
      throw .unknownVersion
    }
    var origin: SDPOrigin?
    var sessionAttributes: [SDPAttribute] = []
    var sections: [SDPSection] = []
    var candidates = 0
    while let line = try scanner.next() {
      switch line.type {
      case UInt8(ascii: "o"):
        guard origin == nil, sections.isEmpty else { throw .malformedOrigin(line: line.number) }
        origin = try SDPOrigin(parsing: line)
      case UInt8(ascii: "m"):
        guard origin != nil else { throw .missingOrigin }
        sections.append(try SDPSection(parsing: line))
        candidates = 0
      case UInt8(ascii: "a"):
        let attribute = try SDPAttribute(parsing: line)
        if attribute.name == "candidate" {
          candidates += 1
          guard candidates <= limits.maximumCandidates else { throw .tooManyCandidates }
        }
        if sections.isEmpty {
          sessionAttributes.append(attribute)
        } else {
          sections[sections.count - 1].attributes.append(attribute)
        }
      case UInt8(ascii: "v"):
        throw .malformedLine(line: line.number)  // one description at a time
      default:
        break  // s, t, c, b, i, k, …: nothing that data channels need
      }
    }
    guard let origin else { throw .missingOrigin }
    self.init(origin: origin, attributes: sessionAttributes, sections: sections)
  }
}

extension SDPOrigin {
  init(parsing line: SDPLine) throws(SDPError) {
    let fields = words(line.value)
    guard fields.count == 6, let sessionID: UInt64 = decimal(fields[1]), let version: UInt64 = decimal(fields[2]) else {
      throw .malformedOrigin(line: line.number)
    }
    self.init(sessionID: sessionID, version: version)
    username = fields[0]
    address = fields[3...].joined(separator: " ")
  }
}

extension SDPAttribute {
  init(parsing line: SDPLine) throws(SDPError) {
    let parts = line.value.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
    guard let name = parts.first, !name.isEmpty else { throw .malformedLine(line: line.number) }
    self.init(String(Substring(name)), parts.count > 1 ? String(Substring(parts[1])) : nil)
  }
}

extension SDPSection {
  init(parsing line: SDPLine) throws(SDPError) {
    let fields = words(line.value)
    guard fields.count >= 4 else { throw .malformedMediaLine(line: line.number) }
    let ports = fields[1].utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Substring.init)
    guard let port: UInt16 = ports.first.flatMap({ decimal($0) }) else { throw .malformedMediaLine(line: line.number) }
    var portCount: UInt16?
    if ports.count > 1 {
      portCount = decimal(ports[1])
      guard ports.count == 2, portCount != nil else { throw .malformedMediaLine(line: line.number) }
    }
    self.init(
      media: fields[0], port: port, portCount: portCount, transport: fields[2], formats: Array(fields[3...]))
  }
}

// MARK: Writing

extension SDPDocument {
  /// The description as it goes out.
  package func text() throws(SDPError) -> String {
    var lines = ["v=0"]
    try Self.check(word: origin.username)
    try Self.check(value: origin.address)
    guard words(origin.address).count == 3 else { throw .unwritableField(origin.address) }
    lines.append("o=\(origin.username) \(origin.sessionID) \(origin.version) \(origin.address)")
    lines += ["s=-", "t=0 0"]
    try Self.write(attributes, to: &lines)
    for section in sections {
      for word in [section.media, section.transport] + section.formats { try Self.check(word: word) }
      guard !section.formats.isEmpty else { throw .unwritableField(section.media) }
      let ports = section.portCount.map { "\(section.port)/\($0)" } ?? "\(section.port)"
      lines.append("m=\(section.media) \(ports) \(section.transport) \(section.formats.joined(separator: " "))")
      lines.append("c=IN IP4 0.0.0.0")  // the addresses are in the candidates (RFC 9429 §5.2.1)
      try Self.write(section.attributes, to: &lines)
    }
    return lines.joined(separator: "\r\n") + "\r\n"
  }

  private static func write(_ attributes: [SDPAttribute], to lines: inout [String]) throws(SDPError) {
    for attribute in attributes {
      try check(value: attribute.name)
      guard !attribute.name.isEmpty, !attribute.name.utf8.contains(UInt8(ascii: ":")) else {
        throw .unwritableField(attribute.name)
      }
      guard let value = attribute.value else {
        lines.append("a=\(attribute.name)")
        continue
      }
      try check(value: value)
      lines.append("a=\(attribute.name):\(value)")
    }
  }

  /// Words end at spaces, so they may not contain any.
  private static func check(word: String) throws(SDPError) {
    guard !word.isEmpty, !word.utf8.contains(where: { isControl($0) || $0 == UInt8(ascii: " ") }) else {
      throw .unwritableField(word)
    }
  }

  private static func check(value: String) throws(SDPError) {
    guard !value.utf8.contains(where: isControl) else { throw .unwritableField(value) }
  }
}
