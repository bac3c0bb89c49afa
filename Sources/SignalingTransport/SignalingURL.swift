// SignalingURL.swift — the address of a signalling server: `ws://host[:port][/path][?query]`, or `wss`.

struct SignalingURL: Hashable, Sendable {
  var isSecure: Bool
  /// Without the brackets of an IPv6 literal.
  var host: String
  var port: Int
  /// Path and query, as it goes into the request line.
  var target: String

  init(_ text: String) throws(SignalingError) {
    guard let separator = text.firstRange(of: "://"), text.utf8.count <= Self.maximumLength,
      text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })  // no space and no line break reaches the request
    else { throw .invalidURL(text) }
    switch text[..<separator.lowerBound].lowercased() {
    case "ws": isSecure = false
    case "wss": isSecure = true
    default: throw .invalidURL(text)
    }
    let rest = text[separator.upperBound...].prefix { $0 != "#" }
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let path = rest[authority.endIndex...]
    target = path.hasPrefix("/") ? String(path) : "/" + path

    guard !authority.contains("@") else { throw .invalidURL(text) }
    let portText: Substring
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      host = String(authority[authority.index(after: authority.startIndex)..<end])
      portText = authority[authority.index(after: end)...]
    } else {
      host = String(authority.prefix { $0 != ":" })
      portText = authority.dropFirst(host.count)
    }
    guard !host.isEmpty else { throw .invalidURL(text) }
    if portText.isEmpty {
      port = isSecure ? 443 : 80
    } else {
      guard portText.hasPrefix(":"), let number = UInt16(portText.dropFirst()), number > 0 else {
        throw .invalidURL(text)
      }
      port = Int(number)
    }
  }

  /// The value of the `Host` header (RFC 9110 §7.2).
  var hostHeader: String {
    let name = host.contains(":") ? "[\(host)]" : host
    return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
  }

  private static let maximumLength = 4_096  // a request line that every server takes
}
