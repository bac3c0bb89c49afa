// SharedSocket.swift — one UDP socket, and so one port, for many participants of a loop.
//
// A datagram goes to whom it names: a STUN request to the participant with the fragment in its USERNAME, a response to the
// one that sent the request, everything else to the one that sends to the address it comes from. Only what a participant
// itself sends is remembered, so strangers leave no trace, however many there are and whatever addresses they forge.
//
// Two participants cannot use one remote address at a time: their DTLS could not be told apart. Who was there first keeps
// it while it sends.

package import Wire

/// What a datagram says about whom it is for. The loop knows no STUN, so whoever opens a shared socket brings a function
/// that reads it.
package enum SharedDatagramKind: Hashable, Sendable {
  /// A STUN request. As the receiver's agent sees it, the local fragment is what stands before the colon of its USERNAME
  /// (RFC 8445 §7.2.2); nil when it has none. In a request that is sent, the fragment does not matter.
  case request(localFragment: String?, transaction: SharedTransaction)
  /// A STUN response of either class.
  case response(SharedTransaction)
  /// Anything else.
  case other
}

/// The 96 bits of a STUN transaction.
package struct SharedTransaction: Hashable, Sendable {
  package var high: UInt32
  package var low: UInt64

  package init(high: UInt32, low: UInt64) {
    self.high = high
    self.low = low
  }
}

package struct SharedSocketStatistics: Hashable, Sendable {
  package var participants = 0
  /// Remote addresses that belong to a participant.
  package var addresses = 0
  /// Datagrams that arrived for nobody here.
  package var droppedUnknown: UInt64 = 0
}

/// A UDP socket that participants of its loop share.
package final class SharedSocket: Sendable {
  package let loop: EventLoop
  package let socket: EventLoopSocket

  fileprivate init(loop: EventLoop, socket: EventLoopSocket) {
    self.loop = loop
    self.socket = socket
  }

  /// Closes the socket for all. On the loop's thread only.
  package func close() { loop.isolatedCore.closeShared(socket.id) }

  /// On the loop's thread only.
  package var statistics: SharedSocketStatistics? { loop.isolatedCore.socket(socket.id)?.shared?.statistics }
}

extension EventLoop {
  /// Opens a socket that participants of this loop may share; it stays open until `close()`. On the loop's thread only.
  ///
  /// - Parameter classify: reads a datagram whose first byte is that of STUN (RFC 7983 §7). Called on the loop's thread.
  package func openSharedSocket(
    _ address: SocketAddress, portRange: ClosedRange<UInt16>? = nil, options: UDPSocketOptions = UDPSocketOptions(),
    classify: @escaping @Sendable (RawSpan) -> SharedDatagramKind
  ) throws(NetError) -> SharedSocket {
    let socket = try isolatedCore.openShared(address, portRange: portRange, options: options, classify: classify)
    return SharedSocket(loop: self, socket: socket)
  }
}

extension EventLoopRegistration {
  /// Makes this participant one of those that share `shared`, which must be on the same loop: it gets the requests whose
  /// USERNAME begins with `fragment`, the responses to its own requests, and everything from addresses that it has sent
  /// to. It sends through the socket's identifier as through one of its own, and leaves with `closeSocket`.
  package func join(_ shared: SharedSocket, fragment: String) throws(NetError) -> EventLoopSocket {
    guard shared.loop === loop else { throw NetError("join", code: 22, detail: "a socket of another loop") }  // EINVAL
    try loop.isolatedCore.join(shared.socket.id, self, fragment: fragment)
    return shared.socket
  }

  /// Another fragment for this participant, as after an ICE restart; the earlier ones stay until `removeFragment`.
  package func addFragment(_ fragment: String, on id: SocketID) throws(NetError) {
    try loop.isolatedCore.addFragment(fragment, on: id, for: self)
  }

  package func removeFragment(_ fragment: String, on id: SocketID) {
    loop.isolatedCore.removeFragment(fragment, on: id, for: self)
  }
}
