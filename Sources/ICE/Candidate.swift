// Candidate.swift — an address at which a side may be reached, and the priorities of candidates and pairs
// (RFC 8445 §5.1, §6.1.2.3).

package import Wire

package struct ICECandidate: Hashable, Sendable {
  package enum Kind: String, Hashable, Sendable {
    case host
    case serverReflexive = "srflx"
    case peerReflexive = "prflx"
    case relayed = "relay"
  }

  package enum Transport: Hashable, Sendable {
    case udp, tcp
    /// Any other, in lower case.
    case other(String)
  }

  /// How a TCP candidate connects (RFC 6544 §4.5): it opens connections, it accepts them, or both at once.
  package enum TCPType: String, Hashable, Sendable { case active, passive, so }

  package enum Address: Hashable, Sendable {
    case ip(SocketAddress)
    /// A host name, such as the `.local` names that browsers hide addresses behind. Never resolved here.
    case name(String, port: UInt16)
  }

  /// Equal for candidates of the same kind, base address and transport.
  package var foundation: String
  package var component: UInt16
  package var transport: Transport
  package var priority: UInt32
  package var address: Address
  package var kind: Kind
  /// The base of a reflexive candidate, the mapped address of a relayed one.
  package var relatedAddress: SocketAddress?
  package var tcpType: TCPType?
  /// Ties a trickled candidate to its generation (RFC 8839 §5.1, extension `ufrag`).
  package var usernameFragment: String?

  package init(
    foundation: String, component: UInt16 = 1, transport: Transport = .udp, priority: UInt32, address: Address,
    kind: Kind, relatedAddress: SocketAddress? = nil, tcpType: TCPType? = nil, usernameFragment: String? = nil
  ) {
    self.foundation = foundation
    self.component = component
    self.transport = transport
    self.priority = priority
    self.address = address
    self.kind = kind
    self.relatedAddress = relatedAddress
    self.tcpType = tcpType
    self.usernameFragment = usernameFragment
  }

  /// The address when it is a literal one.
  package var socketAddress: SocketAddress? {
    if case .ip(let address) = address { address } else { nil }
  }

  /// RFC 8445 §5.1.2.1: 2^24 × type + 2^8 × local + (256 − component).
  ///
  /// - Parameter isStream: lowers the type preference, as RFC 6544 §4.2 wants of those for whom datagrams are better: a
  ///   host candidate of TCP then comes behind a reflexive one of UDP and before a relayed one.
  package static func priority(
    _ kind: Kind, localPreference: UInt16 = 65_535, component: UInt16 = 1, isStream: Bool = false
  ) -> UInt32 {
    var typePreference: UInt32 =
      switch kind {
      case .host: 126
      case .peerReflexive: 110
      case .serverReflexive: 100
      case .relayed: 0
      }
    if isStream, kind != .relayed { typePreference -= streamPenalty }
    return typePreference << 24 | UInt32(localPreference) << 8 | UInt32(256 - min(component, 256))
  }

  /// RFC 6544 §4.2: 2^13 × direction + other, where a host had better open connections itself, and what is behind a NAT
  /// had better open them from both sides.
  ///
  /// - Parameter other: 0…8,191.
  package static func streamPreference(_ kind: Kind, _ type: TCPType, other: UInt16) -> UInt16 {
    let direction: UInt16 =
      switch (kind, type) {
      case (.host, .active), (.relayed, .active): 6
      case (.host, .passive), (.relayed, .passive): 4
      case (.host, .so), (.relayed, .so): 2
      case (.serverReflexive, .so), (.peerReflexive, .so): 6
      case (.serverReflexive, .active), (.peerReflexive, .active): 4
      case (.serverReflexive, .passive), (.peerReflexive, .passive): 2
      }
    return direction << 13 | min(other, 8_191)
  }

  private static let streamPenalty: UInt32 = 27

  /// RFC 8445 §6.1.2.3: 2^32 × min(G, D) + 2 × max(G, D) + (G > D ? 1 : 0), where G is the controlling side's.
  package static func pairPriority(controlling: UInt32, controlled: UInt32) -> UInt64 {
    let low = UInt64(min(controlling, controlled))
    let high = UInt64(max(controlling, controlled))
    // Priorities of candidates stay below 2^31, but a PRIORITY attribute may claim 2^32 - 1; two of these exceed 64 bits.
    let (sum, overflow) = (low << 32).addingReportingOverflow(2 * high + (controlling > controlled ? 1 : 0))
    return overflow ? .max : sum
  }
}

/// One route between the two sides, for those who want to show it.
package struct ICEPairSummary: Hashable, Sendable {
  package var local: ICECandidate
  package var remote: ICECandidate
  package var route: Route
  /// The latest measured round trip.
  package var roundTrip: Interval?
}

extension SocketAddress {
  /// The address as the other side names it: a zone means something on this host only.
  package var withoutZone: SocketAddress {
    guard case .v6(let high, let low, let zone) = ip, zone != 0 else { return self }
    return SocketAddress(ip: .v6(high, low, zone: 0), port: port)
  }
}
