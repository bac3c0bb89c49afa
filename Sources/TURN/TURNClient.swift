// TURNClient.swift — one allocation on one TURN server (RFC 8656), over datagrams or a stream.

package import STUN
package import Wire

package struct TURNClient: ~Copyable {
  package enum Event: Hashable, Sendable {
    case allocated(relayed: SocketAddress, mapped: SocketAddress)
    /// There is no allocation and this client will get none.
    case failed(TURNError)
    /// 300: ask that server. The domain is what its certificate must name; nil: the one asked for.
    case redirected(to: SocketAddress, domain: String?)
    /// The server will not relay to or from this address.
    case permissionRefused(IPAddress, code: UInt16)
    /// There was an allocation and there is none any more.
    case lost(TURNError)
  }

  /// What `writeHeader` writes at most: a Send indication to an IPv6 peer.
  package static let maximumHeader = 48
  /// Header and padding.
  package static let maximumOverhead = maximumHeader + 3
  /// The longest control message.
  package static let maximumMessageSize = 1_400

  package private(set) var statistics = TURNStatistics()
  private var configuration: TURNConfiguration

  package init(configuration: TURNConfiguration, random: RandomSource) { self.configuration = configuration }

  // MARK: In

  /// Asks for an allocation: first without credentials, then with, as the server demands.
  package mutating func start(now: Instant) {}
  /// Takes a datagram, or a message that was cut from the stream (RFC 8656 §12.5), that came from the server.
  package mutating func handle(_ datagram: RawSpan, now: Instant) -> TURNInbound { .notForUs }
  package mutating func handleTimeout(now: Instant) {}
  /// Asks for a permission for this peer's address. False: there is no allocation yet, the family is not that of the
  /// relayed address, or there are too many peers.
  @discardableResult
  package mutating func prepare(peer: SocketAddress, now: Instant) -> Bool { false }
  /// The connection under a stream has ended.
  package mutating func transportClosed() {}
  /// Gives the allocation back. Done when `isFinished`, or when the owner loses patience.
  package mutating func close(now: Instant) {}

  // MARK: Out

  /// Writes the next control message to the server; `out` must have room for `maximumMessageSize` bytes.
  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> Bool { false }
  package mutating func pollEvent() -> Event? { nil }
  package var deadline: Instant? { nil }
  /// Whether nothing will come of this client any more.
  package var isFinished: Bool { false }
  package var relayedAddress: SocketAddress? { nil }

  // MARK: Payload

  /// Writes what precedes a payload for `peer`: ChannelData's 4 bytes, or a Send indication's 36 or 48. The payload is
  /// to follow, then `finishPayload`. Asks for the permission when there is none: drain `pollTransmit` before this goes
  /// out. False: it cannot be sent, and nothing was written.
  @_lifetime(out: copy out)
  package mutating func writeHeader(to peer: SocketAddress, into out: inout OutputRawSpan, now: Instant) -> Bool { false }

  /// Once the payload is there: sets the lengths in the header at `start`, and pads.
  @_lifetime(out: copy out)
  package func finishPayload(headerAt start: Int, into out: inout OutputRawSpan) {}
}
