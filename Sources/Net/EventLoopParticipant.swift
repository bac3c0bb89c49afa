// EventLoopParticipant.swift — what an object on the loop is told, and what it may ask for.

import Synchronization
package import Wire

/// An object that the loop drives, as a peer connection. The loop calls it on its own thread only, so an actor with the
/// loop as its executor enters through `assumeIsolated`. That door costs 150 to 300 ns and an allocation each time, which
/// is why there is one call per batch and not per datagram; a plain class that only the loop's thread touches costs 20 ns.
///
/// The order in a turn: datagrams, timeouts, jobs, and then one `drain` for each participant that any of these touched.
/// `deadline` is read after each drain, and at no other time.
package protocol EventLoopParticipant: AnyObject, Sendable {
  /// Datagrams arrived at one of the participant's sockets. They are lent for this call.
  func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant)

  /// `deadline` has passed. Afterwards it must be later than `now`, or nil.
  func timeout(now: Instant)

  /// Writes what is to be sent. Not called while one of the participant's sockets is blocked, so that what cannot be
  /// sent stays where congestion control and the application's back-pressure see it.
  ///
  /// - Returns: whether there is more than `batch` had room for.
  func drain(into batch: inout TransmitBatch, now: Instant) -> Bool

  /// When `timeout` is to be called next; nil: never.
  var deadline: Instant? { get }

  /// The participation has ended: what was drained before has been handed to the kernel, and nothing is called again.
  func didLeave()

  /// A connection of one of the participant's stream sockets has ended, or could not be made: what was sent on `route`
  /// and has not arrived is lost. The next datagram for it makes an active socket connect anew.
  ///
  /// - Parameter error: nil when the other side closed in good order.
  func routeClosed(_ route: Route, error: NetError?, now: Instant)

  /// The host's addresses have changed; comes after `watchInterfaces()` only.
  func interfacesChanged(_ addresses: [InterfaceAddress], now: Instant)
}

extension EventLoopParticipant {
  package func didLeave() {}
  package func routeClosed(_ route: Route, error: NetError?, now: Instant) {}
  package func interfacesChanged(_ addresses: [InterfaceAddress], now: Instant) {}
}

/// A participant's place on its loop. All but `touchFromAnyThread` is for the loop's thread only, and traps elsewhere.
///
/// The loop keeps the participant alive until `leave()`.
package final class EventLoopRegistration: Sendable {
  package let loop: EventLoop
  let slot: Int
  let generation: UInt32
  /// True while a touch from another thread is on its way, so that there is never a second one.
  private let isTouchComing = Atomic<Bool>(false)

  init(loop: EventLoop, slot: Int, generation: UInt32) {
    self.loop = loop
    self.slot = slot
    self.generation = generation
  }

  /// Asks for a drain at the end of this turn, and for `deadline` to be read again.
  package func touch() { loop.isolatedCore.touch(self) }

  /// Asks for a drain in the loop's next turn. It costs no task, and a wake-up only if the loop sleeps: what another
  /// thread has put where `drain` finds it before this call, the drain sees.
  package func touchFromAnyThread() {
    guard !isTouchComing.exchange(true, ordering: .sequentiallyConsistent) else { return }
    loop.touchSoon(self)
  }

  /// The touch has arrived: whatever is asked for from now on needs another.
  func touchArrived() { isTouchComing.store(false, ordering: .sequentiallyConsistent) }

  /// Opens a socket whose datagrams go to this participant.
  ///
  /// - Parameter portRange: where the port is to be from, if `address` has port 0.
  package func openSocket(
    _ address: SocketAddress, portRange: ClosedRange<UInt16>? = nil, options: UDPSocketOptions = UDPSocketOptions()
  ) throws(NetError) -> EventLoopSocket {
    try loop.isolatedCore.openSocket(address, portRange: portRange, options: options, for: self)
  }

  /// Closes a socket of this participant, or leaves one that it shares; what is not sent yet is lost.
  package func closeSocket(_ id: SocketID) { loop.isolatedCore.closeSocket(id, of: self) }

  package func statistics(of id: SocketID) -> UDPSocketStatistics? {
    loop.isolatedCore.socket(id)?.socket.statistics
  }

  /// Whether one of the sockets waits until it can send again.
  package var isBlocked: Bool { loop.isolatedCore.isBlocked(self) }

  /// Ends the participation: closes the sockets and forgets the participant. Calling it again does nothing.
  ///
  /// - Parameter afterDrain: first drains what the participant still has to say (as an ABORT or a close_notify) at the
  ///   end of this turn. What a full socket does not take then is lost.
  package func leave(afterDrain: Bool = false) { loop.isolatedCore.leave(self, afterDrain: afterDrain) }
}

/// A socket on a loop: UDP, TCP, or one that is shared.
package struct EventLoopSocket: Hashable, Sendable {
  package let id: SocketID
  /// With the port that the kernel chose, if none was asked for.
  package let localAddress: SocketAddress
  /// Bytes granted for receiving and sending, the kernel's own bookkeeping (about half) included.
  package let receiveBufferSize: Int
  package let sendBufferSize: Int

  init(_ socket: UDPSocket) {
    id = socket.id
    localAddress = socket.localAddress
    receiveBufferSize = socket.receiveBufferSize
    sendBufferSize = socket.sendBufferSize
  }

  init(id: SocketID, localAddress: SocketAddress, receiveBufferSize: Int, sendBufferSize: Int) {
    self.id = id
    self.localAddress = localAddress
    self.receiveBufferSize = receiveBufferSize
    self.sendBufferSize = sendBufferSize
  }
}

/// What a loop has done, and what it had to drop.
package struct EventLoopStatistics: Hashable, Sendable {
  package var turns: UInt64 = 0
  package var jobs: UInt64 = 0
  /// Deadlines that were still due after their timeout had been handled: a participant's error, slowed down.
  package var stalledDeadlines: UInt64 = 0
  /// Datagrams drained for a socket that is closed.
  package var droppedWithoutSocket: UInt64 = 0
  /// Datagrams that a blocked socket had no room to keep.
  package var droppedUnsent: UInt64 = 0
  /// Changes of interest that epoll refused.
  package var pollerErrors: UInt64 = 0
}
