// SignalingError.swift — everything that can go wrong with a signalling connection or server.

public enum SignalingError: Error, Hashable, Sendable {
  /// Not of the form `ws://host:port/path` or `wss://…`.
  case invalidURL(String)
  /// No TCP or TLS connection; the text says why, for people.
  case cannotConnect(String)
  /// The server answered the WebSocket handshake with another status than 101.
  case rejected(status: Int)
  /// The server's answer is no WebSocket handshake.
  case handshakeFailed(String)
  case timedOut
  /// `connect` while a connection exists or is being made.
  case alreadyConnected
  case notConnected
  /// The message is longer than the server takes; nothing was sent.
  case messageTooLarge(limit: Int)
  /// The server cannot listen on its address; the text says why.
  case cannotListen(String)
  /// `start` on a server that was started before.
  case alreadyStarted
  /// A certificate or key that cannot be used.
  case invalidCertificate(String)
}

extension SignalingError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .invalidURL(let url): "not a ws:// or wss:// URL: \(url)"
    case .cannotConnect(let reason): "cannot connect to the signalling server: \(reason)"
    case .rejected(let status): "the signalling server refused the connection with status \(status)"
    case .handshakeFailed(let reason): "this is no signalling server: \(reason)"
    case .timedOut: "the signalling server did not answer in time"
    case .alreadyConnected: "already connected to a signalling server"
    case .notConnected: "not connected to a signalling server"
    case .messageTooLarge(let limit): "the message is longer than \(limit) bytes"
    case .cannotListen(let reason): "cannot listen: \(reason)"
    case .alreadyStarted: "the server was started before"
    case .invalidCertificate(let reason): "unusable certificate or key: \(reason)"
    }
  }
}
