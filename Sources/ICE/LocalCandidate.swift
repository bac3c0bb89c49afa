// LocalCandidate.swift — a candidate of ours with the socket behind it, and which remote ones it can be paired with
// (RFC 8445 §6.1.2.2, RFC 6544 §6.2).

package import Wire

/// How we talk to the server of a relayed candidate; the better ways are preferred.
package enum ICERelayTransport: UInt16, Hashable, Sendable { case udp, dtls, tcp, tls }

/// A candidate that can be sent from: a socket of this host, or an allocation on a relay.
struct LocalCandidate: Sendable {
  private(set) var candidate: ICECandidate
  /// With its zone.
  let address: SocketAddress
  let socket: SocketID
  let peerReflexivePriority: UInt32

  init(candidate: ICECandidate, address: SocketAddress, socket: SocketID, peerReflexivePriority: UInt32) {
    self.candidate = candidate
    self.address = address
    self.socket = socket
    self.peerReflexivePriority = peerReflexivePriority
  }

  var isStream: Bool { candidate.transport == .tcp }

  /// The same in another generation.
  func renamed(_ usernameFragment: String) -> LocalCandidate {
    var copy = self
    copy.candidate.usernameFragment = usernameFragment
    return copy
  }

  /// The route to a signalled remote candidate, or nil when the two can make no pair that we check.
  func route(to remote: ICECandidate) -> Route? {
    guard candidate.transport == remote.transport, let remoteAddress = remote.socketAddress else { return nil }
    // Who only accepts connections never checks first: a pair of it comes into being with the peer's connection.
    if isStream {
      switch (candidate.tcpType, remote.tcpType) {
      case (.active, .passive), (.so, .so): break
      default: return nil
      }
    }
    return route(to: remoteAddress)
  }

  private func route(to remote: SocketAddress) -> Route? {
    guard address.ip.isV4 == remote.ip.isV4 else { return nil }
    // A loopback socket reaches nothing else, and no candidate list shall aim checks at our own host's services
    // through another socket.
    guard address.ip.isLoopback == remote.ip.isLoopback else { return nil }
    guard case .v6(let high, let low, _) = remote.ip else { return Route(socket: socket, remote: remote) }
    guard address.ip.isLinkLocal == remote.ip.isLinkLocal else { return nil }
    // The remote address of a link-local pair lies on our socket's link.
    guard remote.ip.isLinkLocal, case .v6(_, _, let zone) = address.ip else {
      return Route(socket: socket, remote: remote)
    }
    return Route(socket: socket, remote: SocketAddress(ip: .v6(high, low, zone: zone), port: remote.port))
  }

  /// How a peer connects that is found at the other end of one of our connections.
  var oppositeTCPType: ICECandidate.TCPType? {
    switch candidate.tcpType {
    case .active: .passive
    case .passive: .active
    case .so: .so
    case nil: nil
    }
  }
}

/// What a reflexive candidate of ours looks like to the peer. It is signalled but never paired: its base is.
struct ReflexiveCandidate: Sendable {
  var candidate: ICECandidate
  let socket: SocketID

  func renamed(_ usernameFragment: String) -> ReflexiveCandidate {
    var copy = self
    copy.candidate.usernameFragment = usernameFragment
    return copy
  }
}

/// Candidates with equal keys have equal foundations (RFC 8445 §5.1.1.3): the same kind, from the same base address,
/// over the same transport, from the same server.
struct FoundationKey: Hashable, Sendable {
  var kind: ICECandidate.Kind
  var base: IPAddress
  var transport: ICECandidate.Transport
  var server: IPAddress?
}

/// The order in which addresses of both families are best added to an agent (RFC 8421 §4).
package enum ICEAddressOrder {
  /// IPv6 first, but IPv4 mixed in evenly, so that a broken path of one family does not hold up the other for long; all
  /// loopback addresses last, where a check that leads nowhere costs no time. Within a family the order stays.
  package static func preferred(_ addresses: [IPAddress]) -> [IPAddress] {
    mixed(addresses.filter { !$0.isLoopback }) + mixed(addresses.filter(\.isLoopback))
  }

  private static func mixed(_ addresses: [IPAddress]) -> [IPAddress] {
    let six = addresses.filter { !$0.isV4 }
    let four = addresses.filter(\.isV4)
    guard !six.isEmpty, !four.isEmpty else { return addresses }
    // So many places are there for each IPv4 address, of which the last is its own.
    let stride = max((six.count + four.count) / four.count, 2)
    var result: [IPAddress] = []
    var (nextSix, nextFour) = (six.startIndex, four.startIndex)
    while result.count < addresses.count {
      let isTurnOfFour = (result.count + 1).isMultiple(of: stride)
      if nextFour < four.endIndex, isTurnOfFour || nextSix == six.endIndex {
        result.append(four[nextFour])
        nextFour += 1
      } else {
        result.append(six[nextSix])
        nextSix += 1
      }
    }
    return result
  }
}
