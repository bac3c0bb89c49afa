// Admission.swift — who may speak to a signalling server: the checks before the WebSocket handshake (WIRE §4.1).

internal import Digest
internal import NIOCore
internal import NIOHTTP1
internal import Wire

/// Whom a server lets in.
public enum SignalingAccess: Hashable, Sendable {
  /// Peers on this host: loopback addresses only, and pages that were served from this host (or no page at all).
  case localOnly
  /// Peers from anywhere that show `?access_token=…`. A request that carries `Origin` comes from a page; the page's
  /// origin must be in the list, exactly (scheme, host and port). Programs send none and need the token only.
  /// An empty token lets nobody in.
  case remote(accessToken: String, allowedOrigins: [String] = [])
  /// Anybody, without any check: for networks where everybody may know and disturb every open room.
  case anyone
}

/// What a request is about to get.
enum Admission: Equatable {
  case webSocket
  case health
  case statistics
  case refused(HTTPResponseStatus, String)

  init(_ request: HTTPRequestHead, from address: NIOCore.SocketAddress?, path: String, access: SignalingAccess) {
    self = Self.decide(request, from: address, path: path, access: access)
  }

  private static func decide(
    _ request: HTTPRequestHead, from address: NIOCore.SocketAddress?, path: String, access: SignalingAccess
  ) -> Admission {
    let parts = request.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let query = parts.count > 1 ? parts[1] : ""
    switch parts.first.map(String.init) {
    case path: break
    case "/healthz": return request.method == .GET ? .health : .refused(.methodNotAllowed, "GET only")
    case "/api/signaling/stats":
      guard request.method == .GET else { return .refused(.methodNotAllowed, "GET only") }
      return mayReadStatistics(request, from: address, query: query, access: access)
        ? .statistics : .refused(.forbidden, "Signaling access denied")
    default: return .refused(.notFound, "Not found")
    }

    switch access {
    case .localOnly:
      guard isLoopback(address) else { return .refused(.forbidden, "Loopback connections only") }
      guard origins(of: request).allSatisfy(isLocal(origin:)) else { return .refused(.forbidden, "Origin not allowed") }
    case .remote(let token, let allowed):
      let allowed = Set(allowed.map { $0.lowercased() })
      guard origins(of: request).allSatisfy({ allowed.contains($0.lowercased()) }) else {
        return .refused(.forbidden, "Origin not allowed")
      }
      guard !token.isEmpty else { return .refused(.serviceUnavailable, "Remote signaling requires an access token") }
      guard isShown(token, in: query) else { return .refused(.forbidden, "Signaling access denied") }
    case .anyone: break
    }
    return webSocket(request)
  }

  /// Whether the request can become a WebSocket; a body or HTTP/1.0 would leave the bytes behind it ambiguous.
  private static func webSocket(_ request: HTTPRequestHead) -> Admission {
    let upgrades = request.headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
    guard request.method == .GET, upgrades else { return .refused(.upgradeRequired, "WebSocket only") }
    guard request.version == .http1_1, !request.headers.contains(name: "transfer-encoding"),
      request.headers["content-length"].allSatisfy({ $0 == "0" }),
      request.headers["sec-websocket-version"] == ["13"], request.headers["sec-websocket-key"].count == 1
    else { return .refused(.badRequest, "Not a WebSocket handshake") }
    return .webSocket
  }

  /// Statistics name rooms and peers (B-12): for this host, or for who shows the token.
  private static func mayReadStatistics(
    _ request: HTTPRequestHead, from address: NIOCore.SocketAddress?, query: Substring, access: SignalingAccess
  ) -> Bool {
    if case .remote(let token, _) = access, !token.isEmpty, isShown(token, in: query) { return true }
    // A page elsewhere can point its own name at this host; the name it then asks for is not local.
    guard isLoopback(address), let host = request.headers.first(name: "host") else { return false }
    return isLocal(origin: "http://\(host)") && origins(of: request).allSatisfy(isLocal(origin:))
  }

  private static func origins(of request: HTTPRequestHead) -> [String] { request.headers["origin"] }

  static func isLoopback(_ address: NIOCore.SocketAddress?) -> Bool {
    guard let address = address?.ipAddress else { return false }
    return isLoopbackLiteral(address)
  }

  private static func isLoopbackLiteral(_ literal: String) -> Bool {
    if literal == "::1" || literal.hasPrefix("::ffff:127.") { return true }
    let parts = literal.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  /// `scheme://host[:port]` with this host's name; any port, because development servers use many.
  static func isLocal(origin: String) -> Bool {
    let origin = origin.lowercased()
    let authority: Substring
    if origin.hasPrefix("http://") {
      authority = origin.dropFirst("http://".count)
    } else if origin.hasPrefix("https://") {
      authority = origin.dropFirst("https://".count)
    } else {
      return false
    }
    let host: Substring
    let rest: Substring
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      host = authority[authority.index(after: authority.startIndex)..<end]
      rest = authority[authority.index(after: end)...]
    } else {
      host = authority.prefix { $0 != ":" }
      rest = authority[host.endIndex...]
    }
    guard rest.isEmpty || (rest.hasPrefix(":") && UInt16(rest.dropFirst()) != nil) else { return false }
    return host == "localhost" || isLoopbackLiteral(String(host))
  }

  /// Whether the query shows the token; the time it takes tells nothing about the token but its length.
  private static func isShown(_ token: String, in query: Substring) -> Bool {
    let expected = Array(token.utf8)
    for pair in query.split(separator: "&") {
      guard pair.hasPrefix("access_token=") else { continue }
      guard let shown = percentDecoded(pair.dropFirst("access_token=".count)) else { return false }
      return constantTimeEqual(shown.rawSpan, expected.rawSpan)
    }
    return false
  }

  private static func percentDecoded(_ text: Substring) -> [UInt8]? {
    var bytes: [UInt8] = []
    var rest = text.utf8
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
        continue
      }
      guard let digits = String(rest.prefix(2)), digits.count == 2, let value = UInt8(digits, radix: 16) else {
        return nil
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return bytes
  }
}
