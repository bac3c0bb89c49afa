// TwoAssociations.swift — two SCTP associations over a virtual network under a virtual clock, without what is below and
// above them. Nothing waits: the clock jumps to the next thing due.

package import SCTP
package import Wire

/// One association, and what it has told its owner.
package struct AssociationEnd: ~Copyable {
  package enum Output: Sendable {
    case message(IncomingMessage)
    case event(SCTPAssociation.Event)
  }

  package var association: SCTPAssociation
  /// In the order in which it was polled; the test takes it.
  package var output: [Output] = []
  /// The application does not read: what has arrived fills the window.
  package var dawdles = false
  /// Counted against the window with each message, for what the application needs beside it.
  package var chargePerMessage = 0
  private var unreadBytes = 0

  package init(_ configuration: SCTPConfiguration, seed: UInt64) {
    association = SCTPAssociation(configuration: configuration, random: .seeded(state: seed))
  }

  /// The next packet, if one is due.
  mutating func packet(now: Instant) -> [UInt8]? {
    var isWritten = false
    let bytes = collectBytes(capacity: 2_048) { out in isWritten = association.pollTransmit(into: &out, now: now) }
    return isWritten ? bytes : nil
  }

  mutating func collect(now: Instant) {
    while let message = association.pollMessage() {
      if chargePerMessage > 0 { association.chargeReceived(chargePerMessage) }
      unreadBytes += message.payload.count + chargePerMessage
      output.append(.message(message))
    }
    if !dawdles, unreadBytes > 0 {
      association.releaseReceived(unreadBytes, now: now)
      unreadBytes = 0
    }
    while let event = association.pollEvent() { output.append(.event(event)) }
  }

  mutating func wakeUp(now: Instant) {
    if let due = association.deadline, due <= now { association.handleTimeout(now: now) }
  }
}

package struct TwoAssociations: ~Copyable {
  package enum Side: Int, Sendable, CaseIterable {
    case left, right
    package var other: Side { self == .left ? .right : .left }

    var address: SocketAddress { SocketAddress(ip: .v4(0xC000_0201 + UInt32(rawValue)), port: 5_000) }
  }

  package var left: AssociationEnd
  package var right: AssociationEnd
  package var network: VirtualNetwork
  // Not zero: a clock that starts at its origin hides mistakes with differences.
  package private(set) var now = Instant(nanoseconds: 1_000_000_000)
  package private(set) var packetsSent = 0
  /// Packets leave without a pause in a drain; one that does not end is a mistake.
  package private(set) var longestDrain = 0

  package init(left: SCTPConfiguration, right: SCTPConfiguration, conditions: PathConditions, seed: UInt64) {
    var random = RandomSource.seeded(state: seed)
    self.left = AssociationEnd(left, seed: random.next())
    self.right = AssociationEnd(right, seed: random.next())
    network = VirtualNetwork(conditions: conditions, seed: random.next())
  }

  /// Sends what is due and collects what has been delivered.
  package mutating func drain() {
    Self.drain(&left, .left, network: &network, packetsSent: &packetsSent, longest: &longestDrain, now: now)
    Self.drain(&right, .right, network: &network, packetsSent: &packetsSent, longest: &longestDrain, now: now)
  }

  package var nextDue: Instant? {
    earliest(earliest(left.association.deadline, right.association.deadline), network.nextArrival)
  }

  /// To the next moment at which something is due.
  ///
  /// - Returns: false when nothing is, or it is later than `limit`; the clock stands still then.
  package mutating func step(limit: Instant) -> Bool {
    drain()
    guard let due = nextDue, due <= limit else { return false }
    now = max(now, due)
    while let datagram = network.receive(now: now) {
      if datagram.to == Side.left.address {
        left.association.handle(datagram.bytes.rawSpan, now: now)
      } else {
        right.association.handle(datagram.bytes.rawSpan, now: now)
      }
    }
    left.wakeUp(now: now)
    right.wakeUp(now: now)
    drain()
    return true
  }

  /// Moves the clock although nothing is due.
  package mutating func idle(until moment: Instant) { now = max(now, moment) }

  /// The most packets that one drain may take: the largest window over the smallest packets, with much to spare.
  package static let longestDrainAllowed = 100_000

  private static func drain(
    _ end: inout AssociationEnd, _ side: Side, network: inout VirtualNetwork, packetsSent: inout Int,
    longest: inout Int, now: Instant
  ) {
    var count = 0
    end.collect(now: now)
    // Reading opens the window, of which the peer may have to be told.
    while let packet = end.packet(now: now), count < longestDrainAllowed {
      count += 1
      network.send(.init(from: side.address, to: side.other.address, bytes: packet), now: now)
      end.collect(now: now)
    }
    packetsSent += count
    longest = max(longest, count)
  }
}
