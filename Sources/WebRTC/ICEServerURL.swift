// ICEServerURL.swift — the URLs of STUN and TURN servers (RFC 7064 §3.1, RFC 7065 §3.1).
//
//   stun:stun.example.org   stuns:[2001:db8::1]:5350   turn:192.0.2.1:3478?transport=tcp   turns:turn.example.org
//
// These are no hierarchical URLs: no `//`, no user, no path. What does not fit the grammar is refused with the place, as a
// server that is silently ignored is found only when somebody cannot connect.

package import Wire

/// Where a STUN or TURN server is, and how to speak to it.
public struct ICEServerURL: Sendable, Hashable {
  public enum Scheme: String, Sendable, Hashable, CaseIterable {
    /// STUN, in the clear.
    case stun
    /// STUN over DTLS (RFC 7350).
    case stuns
    /// TURN, in the clear.
    case turn
    /// TURN over TLS, or over DTLS with `?transport=udp`.
    case turns

    public var isSecure: Bool { self == .stuns || self == .turns }
    public var isRelay: Bool { self == .turn || self == .turns }
    /// The port when the URL names none (RFC 8489 §8.1, RFC 8656 §15).
    public var defaultPort: UInt16 { isSecure ? 5_349 : 3_478 }
  }

  public enum Transport: String, Sendable, Hashable { case udp, tcp }

  public var scheme: Scheme
  /// A name in lower case, or an address without brackets.
  public var host: String
  public var port: UInt16
  /// As the URL says or its scheme implies: TCP for `turns`, otherwise UDP.
  public var transport: Transport

  public init(scheme: Scheme, host: String, port: UInt16? = nil, transport: Transport? = nil) {
    self.scheme = scheme
    self.host = host
    self.port = port ?? scheme.defaultPort
    self.transport = transport ?? Self.impliedTransport(scheme)
  }

  /// - Throws: `ICEServerURLError`, which says what is wrong.
  public init(_ text: some StringProtocol) throws(ICEServerURLError) {
    guard text.utf8.count <= Self.maximumLength else { throw .tooLong }
    guard text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { throw .badCharacter }
    guard let colon = text.firstIndex(of: ":") else { throw .missingScheme }
    let name = text[..<colon].lowercased()
    guard let scheme = Scheme(rawValue: name) else { throw .unknownScheme(name) }
    var rest = Substring(text[text.index(after: colon)...])
    guard !rest.hasPrefix("//") else { throw .hierarchical }

    var transport: Transport?
    if let mark = rest.firstIndex(of: "?") {
      transport = try Self.readTransport(rest[rest.index(after: mark)...], of: scheme)
      rest = rest[..<mark]
    }
    let (host, portText) = try Self.split(rest)
    self.init(scheme: scheme, host: host, port: try Self.readPort(portText), transport: transport)
  }

  /// The address, when the host is one.
  package var literalAddress: SocketAddress? { IPAddress(host).map { SocketAddress(ip: $0, port: port) } }

  // MARK: Parts

  private static func impliedTransport(_ scheme: Scheme) -> Transport { scheme == .turns ? .tcp : .udp }

  private static func readTransport(
    _ query: Substring, of scheme: Scheme
  ) throws(ICEServerURLError) -> Transport {
    guard scheme.isRelay else { throw .unexpectedQuery }
    guard query.hasPrefix("transport=") else { throw .badQuery(String(query)) }
    let name = query.dropFirst("transport=".count).lowercased()
    guard let transport = Transport(rawValue: name) else { throw .unknownTransport(name) }
    return transport
  }

  /// The host, and what follows the colon behind it, if there is one.
  private static func split(_ authority: Substring) throws(ICEServerURLError) -> (host: String, port: Substring?) {
    guard !authority.isEmpty else { throw .missingHost }
    if authority.hasPrefix("[") {
      guard let end = authority.firstIndex(of: "]") else { throw .badHost(String(authority)) }
      let literal = authority[authority.index(after: authority.startIndex)..<end]
      // A zone would name an interface of whoever wrote the URL.
      guard !literal.contains("%"), let address = IPAddress(literal), !address.isV4 else {
        throw .badHost(String(literal))
      }
      let rest = authority[authority.index(after: end)...]
      guard rest.isEmpty || rest.hasPrefix(":") else { throw .badHost(String(authority)) }
      return ("\(address)", rest.isEmpty ? nil : rest.dropFirst())
    }
    let colon = authority.firstIndex(of: ":") ?? authority.endIndex
    let host = authority[..<colon]
    guard !host.isEmpty else { throw .missingHost }
    let rest = authority[colon...]
    // Two colons: an IPv6 address that lacks its brackets.
    guard !rest.dropFirst().contains(":") else { throw .bareIPv6(String(authority)) }
    if let address = IPAddress(host) { return ("\(address)", rest.isEmpty ? nil : rest.dropFirst()) }
    guard isName(host) else { throw .badHost(String(host)) }
    return (host.lowercased(), rest.isEmpty ? nil : rest.dropFirst())
  }

  /// RFC 3986 §3.2.3 lets a port be empty: then it is the default one.
  private static func readPort(_ text: Substring?) throws(ICEServerURLError) -> UInt16? {
    guard let text, !text.isEmpty else { return nil }
    guard text.utf8.count <= 5, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(text), port > 0
    else { throw .badPort(String(text)) }
    return port
  }

  /// A host name (RFC 1123 §2.1); digits and dots alone would be a broken address.
  private static func isName(_ host: Substring) -> Bool {
    guard host.utf8.count <= 253 else { return false }
    let name = host.hasSuffix(".") ? host.dropLast() : host
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.allSatisfy({ (1...63).contains($0.utf8.count) && !$0.hasPrefix("-") && !$0.hasSuffix("-") }) else {
      return false
    }
    let hasOnlyLetters = name.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
      default: false
      }
    }
    return hasOnlyLetters && labels.last?.utf8.contains { !(0x30...0x39).contains($0) } == true
  }

  private static let maximumLength = 512  // the longest name, a port and a transport fit twice
}

extension ICEServerURL: CustomStringConvertible {
  /// The URL in its shortest form.
  public var description: String {
    var text = scheme.rawValue + ":" + (host.contains(":") ? "[\(host)]" : host)
    if port != scheme.defaultPort { text += ":\(port)" }
    if transport != Self.impliedTransport(scheme) { text += "?transport=\(transport.rawValue)" }
    return text
  }
}

/// Why a text is no URL of a STUN or TURN server.
public enum ICEServerURLError: Error, Hashable, Sendable, CustomStringConvertible {
  case tooLong
  /// A space, a control character, or something beyond ASCII.
  case badCharacter
  case missingScheme
  case unknownScheme(String)
  /// `stun://…`: these URLs have no slashes.
  case hierarchical
  case missingHost
  case badHost(String)
  /// An IPv6 address without brackets.
  case bareIPv6(String)
  case badPort(String)
  /// A STUN server has no `?transport=`.
  case unexpectedQuery
  case badQuery(String)
  case unknownTransport(String)

  public var description: String {
    switch self {
    case .tooLong: "the URL is too long"
    case .badCharacter: "the URL has a character that is not printable ASCII"
    case .missingScheme: "the URL has no scheme: stun:, stuns:, turn: or turns:"
    case .unknownScheme(let name): "'\(name)' is none of stun, stuns, turn and turns"
    case .hierarchical: "these URLs have no '//' after the scheme"
    case .missingHost: "the URL names no host"
    case .badHost(let host): "'\(host)' is no host name and no address"
    case .bareIPv6(let host): "'\(host)': an IPv6 address stands in brackets"
    case .badPort(let port): "'\(port)' is no port from 1 to 65535"
    case .unexpectedQuery: "only turn: and turns: take '?transport='"
    case .badQuery(let query): "'?\(query)' is not '?transport=udp' or '?transport=tcp'"
    case .unknownTransport(let name): "the transport '\(name)' is neither udp nor tcp"
    }
  }
}
