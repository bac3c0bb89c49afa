// PeerTable.swift — to whom the relay may send and from whom it takes, and over which channel (RFC 8656 §9, §12).
//
// A permission is for an address, a channel for an address and a port. Both are asked for, granted for a time, renewed
// while something is sent, and forgotten.
//
// Invariants: a peer that is marked permitted has a permission that is granted or asked for and will be renewed while it
// is used; each channel number belongs to one peer, until its quarantine has passed; all tables are bounded.

import DequeModule
import Wire

struct PeerTable: Sendable {
  enum Wish { case permitted, asked, refused }

  enum Use {
    case channel(UInt16)
    case indication(wantsChannel: Bool)
    /// Its permission is to be asked for anew.
    case unpermitted
    case unknown
  }

  private var permissions: [Permission] = []
  private var peers: [Peer] = []
  private var nextNumber = Self.firstChannel
  /// Where the last one was found: payloads come in runs.
  private var lastPeer = 0
  private var lastChannel = 0
  private var lastPermission = 0

  /// When `maintain` has something to do; nil: not before something is asked for.
  private(set) var nextDue: Instant?

  // RFC 8656 §12: 0x4000 through 0x4FFF.
  static let firstChannel: UInt16 = 0x4000
  static let lastChannelNumber: UInt16 = 0x4fff

  // MARK: Permissions

  /// Makes sure that there is a permission for `ip`, or will be.
  mutating func want(_ ip: IPAddress, now: Instant) -> Wish {
    if let index = permissions.firstIndex(where: { $0.ip == ip }) {
      guard permissions[index].refusedUntil == nil else { return .refused }
      permissions[index].wantedAt = now
      // Granted, but idle for so long that it was not going to be renewed.
      let isEnding = permissions[index].grantedUntil != nil && permissions[index].renewAt == nil
      guard isEnding, !permissions[index].isUnderWay else { return .permitted }
      permissions[index].isWanted = true
      return .asked
    }
    if permissions.count >= TURNLimits.permissions, !forgetIdlePermission(now: now) { return .refused }
    permissions.append(Permission(ip: ip, wantedAt: now))
    return .asked
  }

  /// The addresses for the next CreatePermission; nil when none is wanted.
  mutating func nextPermissions() -> [IPAddress]? {
    var batch: [IPAddress] = []
    for index in permissions.indices where permissions[index].isWanted {
      if permissions[index].isAskedAlone {
        guard batch.isEmpty else { continue }
        permissions[index].ask()
        return [permissions[index].ip]
      }
      permissions[index].ask()
      batch.append(permissions[index].ip)
      if batch.count == TURNLimits.permissionsPerRequest { break }
    }
    return batch.isEmpty ? nil : batch
  }

  mutating func granted(_ ip: IPAddress, since: Instant, now: Instant) {
    guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
    permissions[index].grant(since: since, now: now)
    schedule()
  }

  /// It was refused together with others.
  mutating func askAlone(_ ip: IPAddress) {
    guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
    permissions[index].isAskedAlone = true
    permissions[index].isUnderWay = false
    permissions[index].isWanted = true
  }

  mutating func refused(_ ip: IPAddress, now: Instant) {
    guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
    permissions[index].refuse(until: now + TURNLimits.refusal)
    unpermit(ip)
    schedule()
  }

  /// Whether what the relay says comes from `ip` may come from there.
  mutating func isPermitted(_ ip: IPAddress) -> Bool {
    if lastPermission < permissions.count, permissions[lastPermission].ip == ip {
      return permissions[lastPermission].refusedUntil == nil
    }
    guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return false }
    lastPermission = index
    return permissions[index].refusedUntil == nil
  }

  private mutating func forgetIdlePermission(now: Instant) -> Bool {
    guard
      let index = permissions.firstIndex(where: { permission in
        !permission.isUnderWay && !permission.isWanted && permission.refusedUntil == nil
          && !isInUse(permission, now: now)
      })
    else { return false }
    unpermit(permissions[index].ip)
    permissions.remove(at: index)
    return true
  }

  private func isInUse(_ permission: Permission, now: Instant) -> Bool {
    permission.wantedAt + TURNLimits.idle > now
      || peers.contains { $0.address.ip == permission.ip && $0.usedAt + TURNLimits.idle > now }
  }

  private mutating func unpermit(_ ip: IPAddress) {
    for index in peers.indices where peers[index].address.ip == ip { peers[index].isPermitted = false }
  }

  // MARK: Peers

  /// Something is to be sent to `address`.
  mutating func use(_ address: SocketAddress, now: Instant) -> Use {
    if lastPeer >= peers.count || peers[lastPeer].address != address {
      guard let index = peers.firstIndex(where: { $0.address == address }) else { return .unknown }
      lastPeer = index
    }
    let index = lastPeer
    peers[index].usedAt = now
    guard peers[index].isPermitted else { return .unpermitted }
    if let channel = peers[index].channel, let end = channel.boundUntil, end > now { return .channel(channel.number) }
    peers[index].payloads &+= 1
    return .indication(wantsChannel: wantsChannel(peers[index], now: now))
  }

  /// A new peer whose permission is there or asked for. False: there are too many.
  mutating func add(_ address: SocketAddress, now: Instant) -> Bool {
    if peers.count >= TURNLimits.peers {
      // One with a channel keeps its place until the number may be used again.
      let idlest = peers.indices.filter { peers[$0].channel == nil }.min { peers[$0].usedAt < peers[$1].usedAt }
      guard let idlest else { return false }
      peers.remove(at: idlest)
    }
    peers.append(Peer(address: address, usedAt: now))
    return true
  }

  mutating func permit(_ address: SocketAddress) {
    guard let index = peers.firstIndex(where: { $0.address == address }) else { return }
    peers[index].isPermitted = true
  }

  // MARK: Channels

  private func wantsChannel(_ peer: Peer, now: Instant) -> Bool {
    guard peer.isPermitted, peer.payloads >= TURNLimits.payloadsBeforeChannel, peer.channelRefusedUntil ?? now <= now
    else { return false }
    return peer.channel.map { !$0.isUnderWay && $0.boundUntil ?? now <= now } ?? true
  }

  /// The next channel to bind, or to bind again; nil when there is none.
  mutating func nextChannel(now: Instant) -> (UInt16, SocketAddress)? {
    for index in peers.indices {
      if var channel = peers[index].channel {
        let isDue = channel.isRenewalWanted || wantsChannel(peers[index], now: now)
        guard isDue, !channel.isUnderWay else { continue }
        channel.ask()
        peers[index].channel = channel
        return (channel.number, peers[index].address)
      }
      guard wantsChannel(peers[index], now: now), let number = freeNumber() else { continue }
      var channel = Channel(number: number)
      channel.ask()
      peers[index].channel = channel
      return (number, peers[index].address)
    }
    return nil
  }

  private mutating func freeNumber() -> UInt16? {
    var used = 0
    for peer in peers where peer.channel != nil { used += 1 }
    guard used < TURNLimits.channels else { return nil }
    // There are far more numbers than channels, so one is found soon.
    while true {
      let number = nextNumber
      nextNumber = number == Self.lastChannelNumber ? Self.firstChannel : number + 1
      if !peers.contains(where: { $0.channel?.number == number }) { return number }
    }
  }

  mutating func bound(_ number: UInt16, to address: SocketAddress, since: Instant, now: Instant) {
    guard let index = peers.firstIndex(where: { $0.channel?.number == number && $0.address == address }) else { return }
    peers[index].channel?.bind(since: since, now: now)
    // A binding is a permission, too (RFC 8656 §12.2).
    granted(address.ip, since: since, now: now)
  }

  /// The server has refused it. What was bound before stays so until its time is up.
  mutating func notBound(_ number: UInt16, now: Instant) {
    guard let index = peers.firstIndex(where: { $0.channel?.number == number }) else { return }
    peers[index].channelRefusedUntil = now + TURNLimits.refusal
    if peers[index].channel?.boundUntil == nil {
      peers[index].channel = nil
    } else {
      peers[index].channel?.isUnderWay = false
    }
    schedule()
  }

  /// Whose channel that is. While a binding is under way the server may use it before its answer is here.
  mutating func peer(ofChannel number: UInt16) -> SocketAddress? {
    if lastChannel >= peers.count || peers[lastChannel].channel?.number != number {
      guard let index = peers.firstIndex(where: { $0.channel?.number == number }) else { return nil }
      lastChannel = index
    }
    guard let channel = peers[lastChannel].channel, channel.isUnderWay || !channel.hasEnded else { return nil }
    return peers[lastChannel].address
  }

  // MARK: Time

  /// Marks what is to be renewed, and forgets what has ended.
  mutating func maintain(now: Instant) {
    maintainPermissions(now: now)
    for index in peers.indices {
      if let until = peers[index].channelRefusedUntil, until <= now { peers[index].channelRefusedUntil = nil }
      guard var channel = peers[index].channel else { continue }
      if let due = channel.renewAt, due <= now {
        channel.renewAt = nil
        channel.isRenewalWanted = peers[index].usedAt + TURNLimits.idle > now
      }
      if let end = channel.boundUntil, end <= now { channel.hasEnded = true }
      peers[index].channel = channel.isReusable(now: now) ? nil : channel
    }
    schedule()
  }

  private mutating func maintainPermissions(now: Instant) {
    for index in permissions.indices {
      guard let due = permissions[index].renewAt, due <= now else { continue }
      permissions[index].renewAt = nil
      if isInUse(permissions[index], now: now) {
        permissions[index].isWanted = !permissions[index].isUnderWay
      } else {
        unpermit(permissions[index].ip)
      }
    }
    permissions.removeAll { permission in
      guard !permission.isWanted, !permission.isUnderWay else { return false }
      return permission.grantedUntil.map { $0 <= now } ?? (permission.refusedUntil.map { $0 <= now } ?? false)
    }
  }

  private mutating func schedule() {
    var due: Instant?
    for permission in permissions { due = earliest(due, permission.nextDue) }
    for peer in peers {
      due = earliest(due, peer.channelRefusedUntil)
      due = earliest(due, peer.channel?.nextDue)
    }
    nextDue = due
  }
}

private struct Permission: Sendable {
  let ip: IPAddress
  /// When it was asked for last, by whom it serves.
  var wantedAt: Instant
  /// To be requested.
  var isWanted = true
  var isUnderWay = false
  var isAskedAlone = false
  var grantedUntil: Instant?
  var renewAt: Instant?
  var refusedUntil: Instant?

  init(ip: IPAddress, wantedAt: Instant) {
    self.ip = ip
    self.wantedAt = wantedAt
  }

  mutating func ask() {
    isWanted = false
    isUnderWay = true
  }

  mutating func grant(since: Instant, now: Instant) {
    isWanted = false
    isUnderWay = false
    isAskedAlone = false
    grantedUntil = since + TURNLimits.permissionLifetime
    // Never in the past, so that a late answer is no cause of an endless loop.
    renewAt = max(since + (TURNLimits.permissionLifetime - TURNLimits.renewalMargin), now + TURNLimits.refreshRetry)
  }

  mutating func refuse(until: Instant) {
    isWanted = false
    isUnderWay = false
    grantedUntil = nil
    renewAt = nil
    refusedUntil = until
  }

  /// What is asked for waits for an answer and not for the time.
  var nextDue: Instant? { isWanted || isUnderWay ? nil : renewAt ?? grantedUntil ?? refusedUntil }
}

private struct Peer: Sendable {
  let address: SocketAddress
  var usedAt: Instant
  var isPermitted = true
  /// Sent without a channel.
  var payloads = 0
  var channel: Channel?
  var channelRefusedUntil: Instant?
}

private struct Channel: Sendable {
  let number: UInt16
  var isUnderWay = false
  var isRenewalWanted = false
  /// Nil before it was bound for the first time.
  var boundUntil: Instant?
  var renewAt: Instant?
  var hasEnded = false
  /// When the number, and the peer, are free for another binding. Counted from the answer, because the server may have
  /// taken the request late; what is ours to use is counted from the request.
  var freeAt: Instant?

  mutating func ask() {
    isUnderWay = true
    isRenewalWanted = false
  }

  mutating func bind(since: Instant, now: Instant) {
    isUnderWay = false
    hasEnded = false
    boundUntil = since + TURNLimits.channelLifetime
    freeAt = now + TURNLimits.channelLifetime + TURNLimits.channelQuarantine
    renewAt = max(since + (TURNLimits.channelLifetime - TURNLimits.renewalMargin), now + TURNLimits.refreshRetry)
  }

  func isReusable(now: Instant) -> Bool {
    guard !isUnderWay, !isRenewalWanted, let freeAt else { return false }
    return freeAt <= now
  }

  var nextDue: Instant? {
    guard !isUnderWay, !isRenewalWanted, let boundUntil else { return nil }
    if let renewAt { return renewAt }
    return hasEnded ? freeAt : boundUntil
  }
}
