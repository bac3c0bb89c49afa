// ICEServer.swift — servers that help two peers to find each other (W3C `RTCIceServer`), and what is made of them.

import STUN
import TURN

/// A STUN or TURN server, under one or several URLs (W3C `RTCIceServer`).
public struct ICEServer: Sendable, Hashable, Codable {
  /// `stun:`, `stuns:`, `turn:` and `turns:` URLs (RFC 7064, RFC 7065).
  public var urls: [String]
  /// Needed by TURN.
  public var username: String?
  /// The password; needed by TURN.
  public var credential: String?

  public init(urls: [String], username: String? = nil, credential: String? = nil) {
    self.urls = urls
    self.username = username
    self.credential = credential
  }

  public init(_ url: String, username: String? = nil, credential: String? = nil) {
    self.init(urls: [url], username: username, credential: credential)
  }

  /// Two public STUN servers, which tell a peer how it looks from the Internet. They relay nothing.
  public static let defaults = [
    ICEServer(urls: ["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"])
  ]

  /// A TURN user with time-limited credentials, as servers with a shared secret check them (coturn's
  /// `use-auth-secret`): the name is `EXPIRY:SUBJECT`, the password its HMAC-SHA-1 in base64.
  ///
  /// - Parameters:
  ///   - expiresAt: seconds since 1970 after which the server refuses new allocations.
  ///   - subject: whom the credentials are for; may be empty.
  public static func temporary(
    urls: [String], sharedSecret: String, subject: String, expiresAt: Int64
  ) -> ICEServer {
    let credential = STUNCredential.timeLimited(
      secret: sharedSecret, subject: subject, expiry: UInt64(clamping: expiresAt))
    return ICEServer(urls: urls, username: credential.username, credential: credential.password)
  }

  /// The URLs, read.
  ///
  /// - Throws: `PeerConnectionError.invalidParameter` for a URL that cannot be read, or TURN without a name and password.
  package func endpoints() throws(PeerConnectionError) -> [ICEServerEndpoint] {
    guard !urls.isEmpty else { throw .invalidParameter("an ICE server without a URL") }
    var endpoints: [ICEServerEndpoint] = []
    for text in urls {
      let url: ICEServerURL
      do { url = try ICEServerURL(text) } catch { throw .invalidParameter("ICE server '\(text)': \(error)") }
      if url.scheme.isRelay {
        guard let username, let credential else {
          throw .invalidParameter("ICE server '\(text)': TURN needs a username and a credential")
        }
        guard (1...Self.maximumUsernameBytes).contains(username.utf8.count), !credential.isEmpty else {
          throw .invalidParameter("ICE server '\(text)': the username has 1 to 508 bytes, and the credential some")
        }
        endpoints.append(ICEServerEndpoint(url: url, username: username, credential: credential))
      } else {
        endpoints.append(ICEServerEndpoint(url: url, username: "", credential: ""))
      }
    }
    return endpoints
  }

  private static let maximumUsernameBytes = 508  // RFC 8489 §14.3
}

/// One URL of a server, with the credentials that go with it.
package struct ICEServerEndpoint: Sendable, Hashable {
  package var url: ICEServerURL
  package var username: String
  package var credential: String
}

extension PeerConnectionConfiguration {
  /// Every URL of every server, once.
  ///
  /// - Throws: `PeerConnectionError.invalidParameter` when one cannot be used, or there are too many.
  package func serverEndpoints() throws(PeerConnectionError) -> [ICEServerEndpoint] {
    var endpoints: [ICEServerEndpoint] = []
    for server in iceServers {
      for endpoint in try server.endpoints() where !endpoints.contains(endpoint) { endpoints.append(endpoint) }
    }
    guard endpoints.count <= Self.maximumServers else {
      throw .invalidParameter("more than \(Self.maximumServers) ICE servers: each costs every connection a candidate")
    }
    return endpoints
  }

  private static let maximumServers = 16
}
