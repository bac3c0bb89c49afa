// Message.swift — what travels through a data channel.

/// One message of a data channel: a whole, as it was sent (RFC 8831 §6.6).
public enum Message: Sendable, Hashable {
  case text(String)
  case binary([UInt8])

  /// The length of the payload in bytes; text counts as UTF-8.
  public var byteCount: Int {
    switch self {
    case .text(let text): text.utf8.count
    case .binary(let bytes): bytes.count
    }
  }

  /// The payload; text as UTF-8.
  public var bytes: [UInt8] {
    switch self {
    case .text(let text): Array(text.utf8)
    case .binary(let bytes): bytes
    }
  }

  init(isText: Bool, payload: [UInt8]) {
    // A text message with bytes that are not UTF-8 arrives with U+FFFD in their place, as browsers deliver it.
    self = isText ? .text(String(decoding: payload, as: UTF8.self)) : .binary(payload)
  }
}
