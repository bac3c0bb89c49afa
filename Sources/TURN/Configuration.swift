// Configuration.swift — what a TURN client is told, what it reports, and its bounds and timers with where they come from.

package import STUN
package import Wire

package struct TURNConfiguration: Hashable, Sendable {
  /// What carries the messages to the server. TLS and TCP are streams; UDP and DTLS are datagrams.
  package enum Transport: Hashable, Sendable { case datagram, stream }

  package var transport: Transport
  /// Nil for a server that asks for none.
  package var credential: STUNCredential?
  /// What relayed address is asked for; nil leaves it to the server, which then gives IPv4 (RFC 8656 §7.1).
  package var family: STUNAddressFamily?
  /// The lifetime asked for, in seconds; the server may grant less.
  package var lifetime: UInt32 = 600
  /// SOFTWARE of the requests; nil leaves it out.
  package var software: String?
  /// The first RTO over datagrams (RFC 8489 §6.2.1).
  package var initialTimeout = Interval.milliseconds(500)

  package init(
    transport: Transport = .datagram, credential: STUNCredential? = nil, family: STUNAddressFamily? = nil
  ) {
    self.transport = transport
    self.credential = credential
    self.family = family
  }
}

package enum TURNError: Error, Hashable, Sendable {
  /// The server did not answer; or what it answered was not authentic, when `integrityFailed`.
  case timedOut(integrityFailed: Bool)
  /// The server wants credentials and none were given, or it refuses those that were.
  case unauthorized
  /// The server offers no way to authenticate that we know, or one that somebody has weakened on its way.
  case authenticationUnsupported
  /// 437: the server has, or no longer has, an allocation for this client address. After an Allocate, another local
  /// port helps.
  case mismatch
  /// Any other refusal: 403, 440, 442, 486, 500, 508 …
  case refused(code: UInt16)
  /// A success response that misses what it must hold.
  case malformedResponse
  /// The allocation has run out.
  case expired
  /// The connection to the server has ended.
  case disconnected
}

/// What a datagram from the server was.
package enum TURNInbound: Hashable, Sendable {
  /// A message of the protocol, or nothing of use.
  case consumed
  /// What `peer` sent: these bytes of the datagram.
  case payload(peer: SocketAddress, range: Range<Int>)
  /// Neither TURN nor an answer to a request of this client.
  case notForUs
}

package struct TURNStatistics: Hashable, Sendable {
  package var requestsSent = 0
  package var retransmissions = 0
  package var malformed = 0
  /// Well-formed, but from a peer without a permission, on a channel that is not bound, or an answer to nothing.
  package var ignored = 0
  /// Answers whose integrity was missing or wrong.
  package var unauthenticated = 0
}

enum TURNLimits {
  /// Requests under way at once, for permissions and channels; others wait for an answer.
  static let requests = 32
  /// Attempts at one request: the first without credentials, the second with, and for a nonce that went stale on the way.
  static let attempts = 4
  /// Addresses in one CreatePermission: IPv6 ones then still fit a datagram of the smallest MTU with the credentials.
  static let permissionsPerRequest = 16

  /// Addresses with a permission. An ICE agent has 100 pairs at most.
  static let permissions = 128
  /// Peers that something was sent to.
  static let peers = 128
  /// Channels; a connection uses one, or a few while it changes routes. Their numbers cannot be used again for 15 minutes.
  static let channels = 64

  /// In seconds. What an answer without LIFETIME means; what a longer one is taken for; what is no use.
  static let defaultLifetime: UInt32 = 600
  static let maximumLifetime: Int64 = 3_600
  static let minimumLifetime: Int64 = 10
  static let refreshMargin = Interval.seconds(60)
  static let refreshRetry = Interval.seconds(5)

  /// RFC 8656 §9, §12: how long the server keeps what it was asked for. Renewed a minute before.
  static let permissionLifetime = Interval.seconds(300)
  static let channelLifetime = Interval.seconds(600)
  static let renewalMargin = Interval.seconds(60)
  /// After its end a channel's number is not bound to another peer for so long (RFC 8656 §12).
  static let channelQuarantine = Interval.seconds(300)
  /// What nothing was sent to for so long is not renewed.
  static let idle = Interval.seconds(600)
  /// A permission or channel that was refused is not asked for again for so long.
  static let refusal = Interval.seconds(60)
  /// From this payload on a peer is worth a channel: more than the checks of a pair that is not chosen.
  static let payloadsBeforeChannel = 10
}
