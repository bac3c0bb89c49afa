// PacketKind.swift — which protocol a datagram belongs to, told by its first byte (RFC 7983 §7).

import Wire

/// The protocols that share one UDP socket.
package enum PacketKind: Sendable {
  case stun, dtls, turnChannel, rtp
  /// Nothing that RFC 7983 assigns: dropped.
  case unknown

  /// Reads the first byte only; the protocol itself checks the rest.
  package init(_ datagram: RawSpan) {
    guard datagram.byteCount > 0 else {
      self = .unknown
      return
    }
    switch datagram.byte(at: 0) {
    case 0...3: self = .stun
    case 20...63: self = .dtls
    case 64...79: self = .turnChannel
    case 128...191: self = .rtp
    default: self = .unknown
    }
  }
}
