// StreamSocket.swift — TCP connections that are addressed like a UDP socket: a datagram sent to `Route(socket, remote)`
// goes into the connection with `remote`, framed, and what that connection brings is handed up as datagrams.

package import Wire

/// How datagrams are told apart in a stream.
package enum StreamFraming: Hashable, Sendable {
  /// A length of two bytes before each datagram (RFC 4571), as ICE candidates over TCP have it (RFC 6544 §3).
  case rfc4571
  /// STUN messages and ChannelData, which say themselves how long they are; ChannelData is padded to four bytes
  /// (RFC 8656 §12.5). What is sent must be one of the two.
  case turn
}

/// Who begins the connections of a stream socket.
package enum StreamRole: Hashable, Sendable {
  /// The first datagram for a remote address connects to it.
  case active
  /// Others connect; datagrams for an address that has not are dropped.
  case passive
}

extension EventLoopRegistration {
  /// Opens a stream socket, whose datagrams go to this participant as those of a UDP socket do.
  ///
  /// Connections are made by the first datagram for a remote address, without waiting; datagrams are kept until it
  /// stands. What does not fit a connection's bounded buffer is dropped and counted. `routeClosed` tells when one ends.
  ///
  /// - Parameters:
  ///   - local: the address to listen at or to connect from; port 0 lets the kernel choose. An active socket with port 0
  ///     has one for each connection, and says 0.
  ///   - security: TLS, as the side that connects.
  ///   - portRange: where a passive socket's port is to be from, if `local` has port 0.
  package func openStreamSocket(
    local: SocketAddress, framing: StreamFraming, role: StreamRole, security: (any StreamSecurity)? = nil,
    portRange: ClosedRange<UInt16>? = nil
  ) throws(NetError) -> EventLoopSocket {
    throw NetError("socket", code: 38)
  }

  /// Closes one connection of a stream socket of this participant, after what it takes at once. `routeClosed` is not
  /// called. The next datagram for it makes an active socket connect anew.
  package func closeRoute(_ route: Route) {}

  package func streamStatistics(of id: SocketID) -> StreamSocketStatistics? { nil }
}

/// What a stream socket has done so far, all its connections together.
package struct StreamSocketStatistics: Hashable, Sendable {
  /// Connections that stand or are being made.
  package var connections = 0
  package var datagramsSent: UInt64 = 0
  package var datagramsReceived: UInt64 = 0
  /// Bytes of datagrams, without framing and TLS.
  package var bytesSent: UInt64 = 0
  package var bytesReceived: UInt64 = 0
  /// Datagrams that a connection's buffer had no room for.
  package var droppedNoRoom: UInt64 = 0
  /// Datagrams for an address that a passive socket has no connection with, or that an active one may not add.
  package var droppedWithoutConnection: UInt64 = 0
  /// Datagrams that cannot be framed: longer than 65,535 bytes, or neither STUN nor ChannelData in a TURN stream.
  package var droppedUnframable: UInt64 = 0
  /// Connections refused because there are too many, or too many that have said nothing yet.
  package var refusedConnections: UInt64 = 0
  /// Connections closed because their bytes are no frames of ours, or come too slowly.
  package var brokenConnections: UInt64 = 0

  package init() {}
}
