// TURNClient.swift — one allocation on one TURN server (RFC 8656), over datagrams or a stream.
//
// In: start, datagrams from the server, peers to talk to, the time. Out: control messages to the server, events, and the
// headers that make a payload one for the relay. An allocation that is lost stays lost: its owner makes a new client.
//
// Invariants: at most one Allocate, one Refresh and `TURNLimits.requests` other requests are under way; permissions and
// peers are bounded; an answer counts only when its integrity code was made with our key, a refusal without one only when
// nothing better comes until the next retransmission; after `.failed`, `.redirected` or `.lost` nothing follows.

import DequeModule
import STUN
package import Wire

package struct TURNClient: ~Copyable {
  package enum Event: Hashable, Sendable {
    case allocated(relayed: SocketAddress, mapped: SocketAddress)
    /// There is no allocation and this client will get none.
    case failed(TURNError)
    /// 300: ask that server (RFC 8489 §10). The domain is what its certificate must name; nil: the one asked for. How
    /// often one follows is the owner's to bound.
    case redirected(to: SocketAddress, domain: String?)
    /// The server will not relay to or from this address.
    case permissionRefused(IPAddress, code: UInt16)
    /// There was an allocation and there is none any more.
    case lost(TURNError)
  }

  enum State: Sendable {
    case idle, allocating
    case allocated(Allocation)
    /// The allocation is being given back.
    case closing
    case ended
  }

  struct Allocation: Sendable {
    var relayed: SocketAddress
    var mapped: SocketAddress
    var expiresAt: Instant
    /// Nil while a Refresh is under way.
    var refreshAt: Instant?
  }

  /// The longest control message; `pollTransmit` wants that much room.
  package static let maximumMessageSize = 3_000

  package internal(set) var statistics = TURNStatistics()
  let configuration: TURNConfiguration
  var random: RandomSource
  var state = State.idle
  var authentication: LongTermClient
  var requests: [TURNRequest] = []
  /// Requests to be sent, or sent again.
  var outbox = Deque<TransactionID>()
  /// Drained after each call. At most one of each kind but `.permissionRefused`, of which each permission has one.
  var events = Deque<Event>()
  var peers = PeerTable()
  /// Set when a payload or `prepare` has left a request to be made, which `pollTransmit` makes.
  var workSince: Instant?

  package init(configuration: TURNConfiguration, random: RandomSource) {
    self.configuration = configuration
    self.random = random
    authentication = LongTermClient(configuration.credential)
  }

  // MARK: In

  /// Asks for an allocation: first without credentials, then with, as the server demands.
  package mutating func start(now: Instant) {
    guard case .idle = state else { return }
    state = .allocating
    begin(.allocate, now: now)
  }

  package mutating func handleTimeout(now: Instant) {
    expireRequests(now: now)
    settle(now: now)
  }

  /// Asks for a permission for this peer's address.
  ///
  /// - Returns: false when there is no allocation, the peer's family is not that of the relayed address, the server has
  ///   refused it, or there are too many others.
  @discardableResult
  package mutating func prepare(peer: SocketAddress, now: Instant) -> Bool {
    guard canRelay(to: peer) else { return false }
    switch peers.want(peer.ip, now: now) {
    case .permitted: return true
    case .asked:
      workSince = workSince ?? now
      return true
    case .refused: return false
    }
  }

  /// The connection that carried the messages has ended.
  package mutating func transportClosed() { end(.disconnected) }

  /// Gives the allocation back. Done when `isFinished`, or when the owner loses patience.
  package mutating func close(now: Instant) {
    // An Allocate that is under way may succeed unseen; to give back what is not there does no harm.
    let mayHaveAllocation =
      switch state {
      case .allocated: true
      case .allocating: authentication.hasSession
      case .idle, .closing, .ended: false
      }
    if case .closing = state { return }
    clear()
    guard mayHaveAllocation else {
      state = .ended
      return
    }
    state = .closing
    begin(.release, now: now)
  }

  // MARK: Out

  package mutating func pollEvent() -> Event? { events.popFirst() }

  /// When `handleTimeout` is wanted at the latest; nil: never.
  package var deadline: Instant? {
    var due = workSince
    for request in requests { due = earliest(due, request.transaction.deadline) }
    guard case .allocated(let allocation) = state else { return due }
    due = earliest(due, allocation.expiresAt)
    due = earliest(due, allocation.refreshAt)
    return earliest(due, peers.nextDue)
  }

  /// Whether nothing will come of this client any more.
  package var isFinished: Bool { if case .ended = state { true } else { false } }

  package var relayedAddress: SocketAddress? {
    if case .allocated(let allocation) = state { allocation.relayed } else { nil }
  }

  // MARK: Inside

  /// Port 0 is no address, and no server relays to a group or to nobody.
  func canRelay(to peer: SocketAddress) -> Bool {
    guard case .allocated(let allocation) = state else { return false }
    return peer.ip.isV4 == allocation.relayed.ip.isV4 && peer.port != 0 && !peer.ip.isMulticast
      && !peer.ip.isUnspecified
  }

  /// Brings everything that follows from the time up to date; the last step of every in.
  mutating func settle(now: Instant) {
    workSince = nil
    guard case .allocated(let allocation) = state else { return }
    guard allocation.expiresAt > now else { return end(.expired) }
    if let due = allocation.refreshAt, due <= now {
      var changed = allocation
      changed.refreshAt = nil
      state = .allocated(changed)
      begin(.refresh, now: now)
    }
    peers.maintain(now: now)
    while requests.count < TURNLimits.requests, let batch = peers.nextPermissions() {
      begin(.permission(batch), now: now)
    }
    while requests.count < TURNLimits.requests, let (number, peer) = peers.nextChannel(now: now) {
      begin(.channel(number, peer), now: now)
    }
  }

  /// Ends for good.
  mutating func end(_ error: TURNError) {
    switch state {
    case .ended: return
    case .idle, .allocating: events.append(.failed(error))
    case .allocated: events.append(.lost(error))
    case .closing: break
    }
    clear()
    state = .ended
  }

  mutating func clear() {
    requests.removeAll()
    outbox.removeAll()
    peers = PeerTable()
    workSince = nil
  }
}
