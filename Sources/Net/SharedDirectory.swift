// SharedDirectory.swift — who of a shared socket's participants gets a datagram.
//
// Invariants: `claims[a].owner == s` exactly when `members[s].addresses` contains `a`; the same holds for fragments. Each
// participant has at most `maximumAddresses` and `maximumFragments` of them, and they go with it.

import Glibc
import Wire

final class SharedDirectory {
  private struct Member {
    var fragments: [String] = []
    var addresses: [SocketAddress] = []
  }
  private struct Claim {
    var owner: Int
    var usedAt: Instant
  }

  private let classify: @Sendable (RawSpan) -> SharedDatagramKind
  private var members: [Int: Member] = [:]
  private var fragments: [String: Int] = [:]
  private var claims: [SocketAddress: Claim] = [:]
  private var transactions: [SharedTransaction: Int] = [:]
  /// The transactions in the order in which they began, in a ring once there are `maximumTransactions`.
  private var transactionOrder: [SharedTransaction] = []
  private var oldestTransaction = 0
  /// Participants that wait until the socket takes datagrams again, in the order in which they came.
  private var waiting: [Int] = []
  private var isWaiting: Set<Int> = []
  private var droppedUnknown: UInt64 = 0

  /// For `LoopCore.distribute`: a batch's slots, and for whom each is.
  var slots: [ReceiveBatch.Slot] = []
  var owners: [Int?] = []

  init(classify: @escaping @Sendable (RawSpan) -> SharedDatagramKind) { self.classify = classify }

  var statistics: SharedSocketStatistics {
    SharedSocketStatistics(participants: members.count, addresses: claims.count, droppedUnknown: droppedUnknown)
  }

  // MARK: Participants

  func add(_ slot: Int, fragment: String) throws(NetError) {
    guard members[slot] == nil, members.count < Self.maximumMembers else {
      throw NetError("join", code: members[slot] == nil ? ENOSPC : EALREADY)
    }
    guard fragments[fragment] == nil else { throw NetError("join", code: EADDRINUSE, detail: fragment) }
    members[slot] = Member()
    try addFragment(fragment, for: slot)
  }

  func addFragment(_ fragment: String, for slot: Int) throws(NetError) {
    guard fragments[fragment] != slot else { return }
    guard fragments[fragment] == nil else { throw NetError("join", code: EADDRINUSE, detail: fragment) }
    guard let count = members[slot]?.fragments.count, count < Self.maximumFragments else {
      throw NetError("join", code: ENOSPC, detail: fragment)
    }
    fragments[fragment] = slot
    members[slot]?.fragments.append(fragment)
  }

  func removeFragment(_ fragment: String, of slot: Int) {
    guard fragments[fragment] == slot else { return }
    fragments[fragment] = nil
    members[slot]?.fragments.removeAll { $0 == fragment }
  }

  func remove(_ slot: Int) {
    guard let member = members.removeValue(forKey: slot) else { return }
    for fragment in member.fragments { fragments[fragment] = nil }
    for address in member.addresses { claims[address] = nil }
    // Its transactions stay in their ring until they are the oldest, but the next in its slot is not to get the answers.
    for (transaction, owner) in transactions where owner == slot { transactions[transaction] = nil }
    if isWaiting.remove(slot) != nil { waiting.removeAll { $0 == slot } }
  }

  var everybody: [Int] { Array(members.keys) }

  // MARK: In

  /// For whom a datagram is; nil: for nobody.
  func owner(of datagram: RawSpan, from remote: SocketAddress) -> Int? {
    let owner = find(datagram, from: remote)
    if owner == nil { droppedUnknown += 1 }
    return owner
  }

  private func find(_ datagram: RawSpan, from remote: SocketAddress) -> Int? {
    if isSTUN(datagram) {
      switch classify(datagram) {
      case .request(let fragment?, _): return fragments[fragment]
      case .response(let transaction):
        if let owner = transactions[transaction] { return owner }
      case .request(nil, _), .other: break
      }
    }
    return claims[remote]?.owner
  }

  // MARK: Out

  /// Remembers where participant `slot` sends to, and its requests.
  ///
  /// - Returns: whether it is one of the participants.
  func note(_ range: Range<Int>, of batch: borrowing TransmitBatch, by slot: Int, now: Instant) -> Bool {
    guard members[slot] != nil else { return false }
    let datagrams = batch.datagrams
    var last: SocketAddress?
    for index in range {
      let datagram = datagrams[index]
      if datagram.route.remote != last {
        claim(datagram.route.remote, for: slot, now: now)
        last = datagram.route.remote
      }
      let bytes = batch.bytes(of: datagram.range)
      guard isSTUN(bytes), case .request(_, let transaction) = classify(bytes) else { continue }
      record(transaction, of: slot)
    }
    return true
  }

  private func claim(_ remote: SocketAddress, for slot: Int, now: Instant) {
    if let claim = claims[remote], claim.owner != slot {
      guard claim.usedAt + Self.claimLifetime <= now else { return }
      members[claim.owner]?.addresses.removeAll { $0 == remote }
      claims[remote] = nil
    }
    if claims[remote] == nil {
      if let addresses = members[slot]?.addresses, addresses.count >= Self.maximumAddresses {
        forgetOldest(of: addresses, by: slot)
      }
      members[slot]?.addresses.append(remote)
    }
    claims[remote] = Claim(owner: slot, usedAt: now)
  }

  private func forgetOldest(of addresses: [SocketAddress], by slot: Int) {
    let oldest = addresses.enumerated().min { a, b in
      guard let first = claims[a.element], let second = claims[b.element] else { return false }
      return first.usedAt < second.usedAt
    }
    guard let oldest else { return }
    claims[oldest.element] = nil
    members[slot]?.addresses.remove(at: oldest.offset)
  }

  private func record(_ transaction: SharedTransaction, of slot: Int) {
    guard transactions.updateValue(slot, forKey: transaction) == nil else { return }  // a retransmission
    if transactionOrder.count < Self.maximumTransactions {
      transactionOrder.append(transaction)
    } else {
      transactions[transactionOrder[oldestTransaction]] = nil
      transactionOrder[oldestTransaction] = transaction
      oldestTransaction = (oldestTransaction + 1) % Self.maximumTransactions
    }
  }

  private func isSTUN(_ datagram: RawSpan) -> Bool { datagram.byteCount > 0 && datagram.byte(at: 0) <= 3 }

  // MARK: Waiting

  /// Participant `slot` had its turn while the socket was full.
  func wait(_ slot: Int) {
    guard isWaiting.insert(slot).inserted else { return }
    waiting.append(slot)
  }

  /// Those who waited, in their order.
  func takeWaiting() -> [Int] {
    defer {
      waiting.removeAll()
      isWaiting.removeAll()
    }
    return waiting
  }

  /// A port's peers; each costs some hundred bytes here.
  private static let maximumMembers = 65_536
  /// The current ICE generation's, the one before, and a few that are being left.
  private static let maximumFragments = 8
  /// More remote candidates than a peer checks are never sent to.
  private static let maximumAddresses = 128
  /// Requests whose responses may still come. A response to an older one is found by its address.
  private static let maximumTransactions = 4_096
  /// How long an address stays with a participant that has stopped sending to it: as long as consent lasts (RFC 7675).
  private static let claimLifetime = Interval.seconds(30)
}
