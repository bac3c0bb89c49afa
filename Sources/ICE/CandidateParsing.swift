// CandidateParsing.swift — the text form of a candidate (RFC 8839 §5.1, RFC 6544 §4.5).
//
//   candidate:1 1 UDP 1694498815 203.0.113.5 45664 typ srflx raddr 10.0.1.1 rport 8998 generation 0
//
// Strict where a lenient reading could smuggle something in (control characters, zones, numbers out of range), lenient
// where the grammar wants extensions: unknown name-value pairs are skipped.

import Wire

package enum ICECandidateError: Error, Equatable, Sendable {
  case tooLong
  case missingPrefix
  case missingField
  /// Something else than printable ASCII.
  case badCharacter
  case badFoundation
  case badComponent
  case badTransport
  case badPriority
  case badAddress
  case badPort
  case badKind
  case badRelatedAddress
  case badTCPType
  case badUsernameFragment
}

extension ICECandidate {
  /// Reads `candidate:…` or `a=candidate:…`.
  package init(parsing text: some StringProtocol) throws(ICECandidateError) {
    guard text.utf8.count <= Self.maximumTextLength else { throw .tooLong }
    guard text.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) else { throw .badCharacter }
    var line = Substring(text)
    if line.hasPrefix("a=") { line = line.dropFirst(2) }
    guard line.hasPrefix("candidate:") else { throw .missingPrefix }
    var fields = CandidateFields(line.dropFirst("candidate:".count))

    let foundation = try fields.next()
    guard (1...32).contains(foundation.utf8.count), foundation.utf8.allSatisfy(isICECharacter) else {
      throw .badFoundation
    }
    guard let component = number(try fields.next(), in: 1...256) else { throw .badComponent }
    let transport = try Self.transport(try fields.next())
    guard let priority = number(try fields.next(), in: 1...0x7fff_ffff) else { throw .badPriority }
    let host = try fields.next()
    guard let port = number(try fields.next(), in: 0...65_535) else { throw .badPort }
    // Nobody can be reached at port 0; TCP's active side is not reached but reaches.
    guard port != 0 || transport == .tcp else { throw .badPort }
    let address = try Self.address(host, port: UInt16(port))
    guard try fields.next() == "typ", let kind = Kind(rawValue: String(try fields.next())) else { throw .badKind }

    self.init(
      foundation: String(foundation), component: UInt16(component), transport: transport, priority: UInt32(priority),
      address: address, kind: kind)
    try readExtensions(&fields)
  }

  private mutating func readExtensions(_ fields: inout CandidateFields) throws(ICECandidateError) {
    var relatedIP: IPAddress?
    while !fields.isAtEnd {
      let name = try fields.next()
      let value = try fields.next()
      switch name {
      case "raddr":
        // A name may stand here too; then there is no address to tell.
        relatedIP = IPAddress(value)
        guard relatedIP != nil || Self.isName(value) else { throw .badRelatedAddress }
      case "rport":
        guard let port = number(value, in: 0...65_535) else { throw .badRelatedAddress }
        relatedAddress = relatedIP.map { SocketAddress(ip: $0, port: UInt16(port)).withoutZone }
      case "tcptype":
        guard let type = TCPType(rawValue: String(value)) else { throw .badTCPType }
        tcpType = type
      case "ufrag":
        guard (1...256).contains(value.utf8.count), value.utf8.allSatisfy(isICECharacter) else {
          throw .badUsernameFragment
        }
        usernameFragment = String(value)
      default: break
      }
    }
  }

  private static func transport(_ text: Substring) throws(ICECandidateError) -> Transport {
    let lower = text.lowercased()
    switch lower {
    case "udp": return .udp
    case "tcp": return .tcp
    default:
      guard text.utf8.count <= 32 else { throw .badTransport }
      return .other(lower)
    }
  }

  private static func address(_ host: Substring, port: UInt16) throws(ICECandidateError) -> Address {
    // A zone names one of the sender's interfaces, never one of ours.
    guard !host.utf8.contains(UInt8(ascii: "%")) else { throw .badAddress }
    if let ip = IPAddress(host) { return .ip(SocketAddress(ip: ip, port: port)) }
    guard isName(host) else { throw .badAddress }
    return .name(host.lowercased(), port: port)
  }

  /// A host name; what consists of digits and dots alone is a broken address instead.
  private static func isName(_ text: Substring) -> Bool {
    guard (1...255).contains(text.utf8.count), text.utf8.contains(where: { !(0x30...0x39).contains($0) && $0 != 0x2e })
    else { return false }
    return text.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
      default: false
      }
    }
  }

  /// `candidate:…` without `a=`.
  package var sdpText: String {
    let transportText =
      switch transport {
      case .udp: "udp"
      case .tcp: "tcp"
      case .other(let name): name
      }
    let (host, port) =
      switch address {
      case .ip(let address): ("\(address.withoutZone.ip)", address.port)
      case .name(let name, let port): (name, port)
      }
    var text = "candidate:\(foundation) \(component) \(transportText) \(priority) \(host) \(port) typ \(kind.rawValue)"
    if let related = relatedAddress { text += " raddr \(related.withoutZone.ip) rport \(related.port)" }
    if let tcpType { text += " tcptype \(tcpType.rawValue)" }
    if let usernameFragment { text += " ufrag \(usernameFragment)" }
    return text
  }

  /// Two names of 255 characters and the fixed fields fit; a line from an attacker is refused before it is read.
  private static let maximumTextLength = 1_024
}

/// The space-separated fields of a line; two spaces in a row hold an empty field between them, which is refused.
private struct CandidateFields {
  private var rest: Substring?
  init(_ text: Substring) { rest = text }

  var isAtEnd: Bool { rest == nil }

  mutating func next() throws(ICECandidateError) -> Substring {
    guard let text = rest else { throw .missingField }
    let field = text.prefix { $0 != " " }
    guard !field.isEmpty else { throw .missingField }
    rest = field.endIndex == text.endIndex ? nil : text[text.index(after: field.endIndex)...]
    return field
  }
}

/// An unsigned decimal number of at most ten digits, without a sign.
private func number(_ text: Substring, in range: ClosedRange<UInt64>) -> UInt64? {
  guard (1...10).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
    let value = UInt64(text), range.contains(value)
  else { return nil }
  return value
}
