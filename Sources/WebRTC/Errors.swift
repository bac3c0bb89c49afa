// Errors.swift — everything that a caller's use of the API can run into.

/// Why an operation on a connection was refused. The connection itself is unharmed unless it says `closed`.
public enum PeerConnectionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// `close()` was called or the connection failed.
  case closed
  /// The operation does not fit the state of the negotiation (W3C `InvalidStateError`).
  case invalidState(String)
  /// The description or candidate cannot be read or does not fit; the text says where.
  case invalidDescription(String)
  /// A label, protocol or option is out of its range.
  case invalidParameter(String)
  /// The certificate has expired (W3C `InvalidAccessError`).
  case invalidAccess(String)
  /// The operating system refused a socket or a key; the text is its own.
  case system(String)

  public var description: String {
    switch self {
    case .closed: "the connection is closed"
    case .invalidState(let why): "not possible in this state: \(why)"
    case .invalidDescription(let why): "invalid description: \(why)"
    case .invalidParameter(let why): "invalid parameter: \(why)"
    case .invalidAccess(let why): "not usable: \(why)"
    case .system(let why): "the system refused: \(why)"
    }
  }
}

/// Why a message was not taken. Nothing of it has been sent.
public enum SendError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The channel is not open yet; wait for it.
  case notOpen
  /// The channel or its connection is closed.
  case closed
  /// The queue is full; only `trySend` reports this, `send` waits.
  case bufferFull
  /// The message is larger than the peer accepts; the limit is in bytes.
  case messageTooLarge(limit: Int)

  public var description: String {
    switch self {
    case .notOpen: "the channel is not open yet"
    case .closed: "the channel is closed"
    case .bufferFull: "the send buffer is full"
    case .messageTooLarge(let limit): "the message is larger than the \(limit) bytes that the peer accepts"
    }
  }
}
