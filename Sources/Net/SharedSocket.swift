// SharedSocket.swift — one UDP socket, and so one port, for many participants of a loop.

package import Wire

/// What a datagram says about whom it is for. The loop knows no STUN, so whoever opens a shared socket brings a function
/// that reads it.
package enum SharedDatagramKind: Hashable, Sendable {
  /// A STUN request; the local part of its USERNAME as the receiver of the request sees it (RFC 8445 §7.2.2: what stands
  /// before the colon), nil when there is none.
  case request(localFragment: String?, transaction: SharedTransaction)
  /// A STUN response.
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

/// A UDP socket that participants of its loop share.
package final class SharedSocket: Sendable {
  package let loop: EventLoop
  package let socket: EventLoopSocket

  init(loop: EventLoop, socket: EventLoopSocket) {
    self.loop = loop
    self.socket = socket
  }

  /// Closes the socket for all. On the loop's thread only.
  package func close() {}
}

extension EventLoop {
  /// Opens a socket that participants of this loop may share. On the loop's thread only.
  package func openSharedSocket(
    _ address: SocketAddress, portRange: ClosedRange<UInt16>? = nil, options: UDPSocketOptions = UDPSocketOptions(),
    classify: @escaping @Sendable (RawSpan) -> SharedDatagramKind
  ) throws(NetError) -> SharedSocket {
    throw NetError("socket", code: 38)
  }
}

extension EventLoopRegistration {
  /// Makes this participant one of those that share `shared`: it gets the requests whose USERNAME begins with `fragment`,
  /// the responses to its own requests, and everything from addresses that it has sent to. It leaves with `closeSocket`.
  package func join(_ shared: SharedSocket, fragment: String) throws(NetError) -> EventLoopSocket {
    throw NetError("socket", code: 38)
  }

  /// Another fragment for this participant, as after an ICE restart; the earlier ones stay until `removeFragment`.
  package func addFragment(_ fragment: String, on id: SocketID) throws(NetError) {}

  package func removeFragment(_ fragment: String, on id: SocketID) {}
}
