// LoopCore+Sockets.swift — a loop's sockets: opening and closing, receiving, sending, and waiting while one is full.

import Glibc
import Wire

/// A socket, who owns it, and what it could not send yet.
final class BoundSocket {
  let socket: UDPSocket
  /// The owner's slot; means nothing when the socket is shared.
  let owner: Int
  /// Who shares it.
  let shared: SharedDirectory?
  /// Bounded by one drain: the owner is not drained again before these are gone.
  var unsent = TransmitBatch(capacity: 0)
  var nextUnsent = 0
  var isBlocked = false

  init(_ socket: UDPSocket, owner: Int, shared: SharedDirectory? = nil) {
    self.socket = socket
    self.owner = owner
    self.shared = shared
  }
}

/// A place in the loop's table of sockets. Its generation is part of the `SocketID`, so that a datagram or an event for
/// a socket that is closed does not reach the next one in its place.
struct SocketSlot {
  var bound: BoundSocket?
  /// Instead of `bound`, when it is a stream socket.
  var stream: StreamSocket?
  var generation: UInt32 = 0

  static let indexBits: UInt32 = 20
  static let maximumCount = 1 << 20  // as many as the index can name; file descriptors end earlier
  /// The topmost bit stays free: it marks the identifiers of sockets that no kernel has, as a TURN allocation's.
  static let generationMask: UInt32 = 1 << 11 - 1

  /// What is called `index` in this generation.
  func id(_ index: Int) -> SocketID { SocketID(rawValue: generation << Self.indexBits | UInt32(index)) }
}

extension LoopCore {
  func openSocket(
    _ address: SocketAddress, portRange: ClosedRange<UInt16>?, options: UDPSocketOptions,
    for registration: EventLoopRegistration
  ) throws(NetError) -> EventLoopSocket {
    guard isCurrent(registration) else { throw NetError("socket", code: ECANCELED) }
    let (opened, id) = try withNewSlot { (index, id) throws(NetError) in
      let socket = try PortRange.bind(address, in: portRange) { address throws(NetError) in
        try UDPSocket(id: id, binding: address, options: options)
      }
      try poller.add(socket.descriptor, token: Poller.Token(socket: id))
      sockets[index].bound = BoundSocket(socket, owner: registration.slot)
      return EventLoopSocket(socket)
    }
    members[registration.slot].sockets.append(id)
    return opened
  }

  /// Lets `fill` put a socket into a free slot.
  func withNewSlot<Result>(
    _ fill: (_ index: Int, _ id: SocketID) throws(NetError) -> Result
  ) throws(NetError) -> (Result, SocketID) {
    guard let index = freeSocketSlots.popLast() ?? newSocketSlot() else { throw NetError("socket", code: EMFILE) }
    let id = sockets[index].id(index)
    do throws(NetError) {
      return (try fill(index, id), id)
    } catch {
      freeSocketSlots.append(index)
      throw error
    }
  }

  private func newSocketSlot() -> Int? {
    guard sockets.count < SocketSlot.maximumCount else { return nil }
    sockets.append(SocketSlot())
    return sockets.count - 1
  }

  func socket(_ id: SocketID) -> BoundSocket? {
    let index = Int(id.rawValue & (1 << SocketSlot.indexBits - 1))
    guard index < sockets.count, let bound = sockets[index].bound, bound.socket.id == id else { return nil }
    return bound
  }

  func stream(_ id: SocketID) -> StreamSocket? {
    let index = Int(id.rawValue & (1 << SocketSlot.indexBits - 1))
    guard index < sockets.count, let stream = sockets[index].stream, stream.id == id else { return nil }
    return stream
  }

  func closeSocket(_ id: SocketID, of registration: EventLoopRegistration) {
    guard isCurrent(registration), members[registration.slot].sockets.contains(id) else { return }
    members[registration.slot].sockets.removeAll { $0 == id }
    if let bound = socket(id) {
      if bound.shared != nil {
        members[registration.slot].sharedSockets -= 1
      } else if bound.isBlocked {
        unblock(bound)
      }
    }
    release(id, of: registration.slot)
  }

  /// Closes a socket of `owner`'s, or leaves one that it shares.
  func release(_ id: SocketID, of owner: Int) {
    if let shared = socket(id)?.shared { shared.remove(owner) } else { release(id) }
  }

  /// Closes a socket whose owner no longer lists it, or is about to be forgotten.
  func release(_ id: SocketID) {
    if let bound = socket(id) {
      poller.remove(bound.socket.descriptor)
    } else if let stream = stream(id) {
      stream.closeAll(in: self)
    } else {
      return
    }
    let index = Int(id.rawValue & (1 << SocketSlot.indexBits - 1))
    sockets[index] = SocketSlot(generation: (sockets[index].generation + 1) & SocketSlot.generationMask)
    freeSocketSlots.append(index)
  }

  // MARK: In

  /// Handles the first `count` of the poller's events.
  func handleReady(_ count: Int) {
    for index in 0..<count {
      let event = poller.event(index)
      if event.token.isSource {
        handleSource(event)
        continue
      }
      guard event.token != .wake, event.token != .timer,
        let bound = socket(SocketID(rawValue: UInt32(truncatingIfNeeded: event.token.rawValue)))
      else { continue }
      if event.isWritable { flush(bound) }
      if event.isReadable { receive(bound) }
    }
  }

  /// Hands one batch to the owner. What is left is reported again in the next turn: sockets take turns, too.
  private func receive(_ bound: BoundSocket) {
    _ = bound.socket.receive(into: &receiveBatch)
    guard !receiveBatch.isEmpty else { return }
    if let shared = bound.shared { return distribute(bound, shared) }
    deliver(to: bound.owner, from: bound.socket.id)
  }

  /// Lends the batch to its receiver.
  func deliver(to owner: Int, from id: SocketID) {
    guard let participant = members[owner].participant else { return }
    touch(owner)
    participant.datagramsArrived(batch: receiveBatch, socket: id, now: now)
  }

  // MARK: Out

  /// Sends what the drain of `slot` wrote, and empties the batch.
  func transmit(from slot: Int) {
    let datagrams = transmitBatch.datagrams
    var start = 0
    while start < datagrams.count {
      let id = datagrams[start].route.socket
      var end = start + 1
      while end < datagrams.count, datagrams[end].route.socket == id { end += 1 }
      transmit(start..<end, through: id, from: slot)
      start = end
    }
    transmitBatch.removeAll()
  }

  private func transmit(_ range: Range<Int>, through id: SocketID, from slot: Int) {
    guard let bound = socket(id) else {
      if let stream = stream(id) { return stream.send(range, in: self) }
      statistics.droppedWithoutSocket += UInt64(range.count)
      return
    }
    if let shared = bound.shared, !shared.note(range, of: transmitBatch, by: slot, now: now) {
      statistics.droppedWithoutSocket += UInt64(range.count)
      return
    }
    var next = range.lowerBound
    // What is kept goes first.
    if !bound.isBlocked { next = bound.socket.send(transmitBatch, range, through: &sendArena) }
    if next < range.upperBound { keep(next..<range.upperBound, for: bound) }
  }

  private func keep(_ range: Range<Int>, for bound: BoundSocket) {
    if !bound.isBlocked {
      guard watchWritable(true, bound) else {
        statistics.droppedUnsent += UInt64(range.count)
        return
      }
      bound.isBlocked = true
      bound.unsent = TransmitBatch(capacity: configuration.transmitCapacity)
      bound.nextUnsent = 0
      if bound.shared == nil { members[bound.owner].blockedSockets += 1 }
    }
    for datagram in transmitBatch.datagrams[range] {
      guard bound.unsent.hasRoom(for: datagram.range.count) else {
        statistics.droppedUnsent += 1
        continue
      }
      Self.copy(datagram, of: transmitBatch, to: &bound.unsent)
    }
  }

  private static func copy(
    _ datagram: TransmitBatch.Datagram, of batch: borrowing TransmitBatch, to other: inout TransmitBatch
  ) {
    let bytes = batch.bytes(of: datagram.range)
    _ = other.append(maximum: bytes.byteCount) { out in
      out.writeBytes(bytes)
      return datagram.route
    }
  }

  private func flush(_ bound: BoundSocket) {
    guard bound.isBlocked else { return }
    let count = bound.unsent.datagrams.count
    bound.nextUnsent = bound.socket.send(bound.unsent, bound.nextUnsent..<count, through: &sendArena)
    if bound.nextUnsent == count { unblock(bound) }
  }

  private func unblock(_ bound: BoundSocket) {
    bound.isBlocked = false
    bound.unsent = TransmitBatch(capacity: 0)
    _ = watchWritable(false, bound)
    if let shared = bound.shared {
      for slot in shared.takeWaiting() { touch(slot) }
      return
    }
    members[bound.owner].blockedSockets -= 1
    if members[bound.owner].blockedSockets == 0 { touch(bound.owner) }
  }

  private func watchWritable(_ isWatched: Bool, _ bound: BoundSocket) -> Bool {
    do throws(NetError) {
      try poller.watchWritable(isWatched, bound.socket.descriptor, token: Poller.Token(socket: bound.socket.id))
      return true
    } catch {
      statistics.pollerErrors += 1
      return false
    }
  }
}
