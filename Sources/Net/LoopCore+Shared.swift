// LoopCore+Shared.swift — sockets that several participants share: opening, joining, and giving each its datagrams.

import Glibc
import Wire

extension LoopCore {
  func openShared(
    _ address: SocketAddress, portRange: ClosedRange<UInt16>?, options: UDPSocketOptions,
    classify: @escaping @Sendable (RawSpan) -> SharedDatagramKind
  ) throws(NetError) -> EventLoopSocket {
    try withNewSlot { (index, id) throws(NetError) in
      let socket = try PortRange.bind(address, in: portRange) { address throws(NetError) in
        try UDPSocket(id: id, binding: address, options: options)
      }
      try poller.add(socket.descriptor, token: Poller.Token(socket: id))
      sockets[index].bound = BoundSocket(socket, owner: -1, shared: SharedDirectory(classify: classify))
      return EventLoopSocket(socket)
    }.0
  }

  func join(_ id: SocketID, _ registration: EventLoopRegistration, fragment: String) throws(NetError) {
    guard isCurrent(registration) else { throw NetError("join", code: ECANCELED) }
    guard let shared = socket(id)?.shared else { throw NetError("join", code: EBADF) }
    try shared.add(registration.slot, fragment: fragment)
    members[registration.slot].sockets.append(id)
    members[registration.slot].sharedSockets += 1
  }

  func addFragment(
    _ fragment: String, on id: SocketID, for registration: EventLoopRegistration
  ) throws(NetError) {
    guard isCurrent(registration), let shared = socket(id)?.shared else { throw NetError("join", code: EBADF) }
    try shared.addFragment(fragment, for: registration.slot)
  }

  func removeFragment(_ fragment: String, on id: SocketID, for registration: EventLoopRegistration) {
    guard isCurrent(registration) else { return }
    socket(id)?.shared?.removeFragment(fragment, of: registration.slot)
  }

  func closeShared(_ id: SocketID) {
    guard let bound = socket(id), let shared = bound.shared else { return }
    for slot in shared.everybody {
      members[slot].sockets.removeAll { $0 == id }
      members[slot].sharedSockets -= 1
    }
    for slot in shared.takeWaiting() { touch(slot) }
    release(id)
  }

  /// Whether `slot` shares a socket that is full; then its turn comes once that is not.
  func waitsForShared(_ slot: Int) -> Bool {
    guard members[slot].sharedSockets > 0 else { return false }
    for id in members[slot].sockets {
      guard let bound = socket(id), bound.isBlocked, let shared = bound.shared else { continue }
      shared.wait(slot)
      return true
    }
    return false
  }

  /// Gives each participant its part of the received batch, in one call.
  func distribute(_ bound: BoundSocket, _ shared: SharedDirectory) {
    receiveBatch.separateSTUN()
    shared.owners.removeAll(keepingCapacity: true)
    receiveBatch.forEachSlot { first, remote in shared.owners.append(shared.owner(of: first, from: remote)) }
    guard let first = shared.owners.first else { return }
    if let first, shared.owners.allSatisfy({ $0 == first }) { return deliver(to: first, from: bound.socket.id) }
    shared.slots.removeAll(keepingCapacity: true)
    receiveBatch.moveSlots(to: &shared.slots)
    for index in shared.owners.indices {
      guard let owner = shared.owners[index] else { continue }
      receiveBatch.removeAll()
      for other in index..<shared.owners.count where shared.owners[other] == owner {
        receiveBatch.append(shared.slots[other])
        shared.owners[other] = nil
      }
      // Whoever has left meanwhile, through another's call, has no place here any more; its slot may be another's.
      guard members[owner].sockets.contains(bound.socket.id) else { continue }
      deliver(to: owner, from: bound.socket.id)
    }
    receiveBatch.removeAll()
  }
}

extension ReceiveBatch {
  /// Makes each datagram of a joined run a slot of its own, where the run is STUN's: several participants may be meant.
  mutating func separateSTUN() {
    let count = slotCount
    for index in 0..<count {
      var slot = unsafe slots[index]
      guard slot.byteCount > slot.segmentSize, unsafe bytes[slot.offset] <= 3 else { continue }
      let end = slot.offset + slot.byteCount
      var start = slot.offset + slot.segmentSize
      while start < end, slotCount < Self.streamSlotCapacity {
        slot.offset = start
        slot.byteCount = min(slot.segmentSize, end - start)
        append(slot)
        start += slot.segmentSize
      }
      // Without room the rest stays with the first.
      guard start >= end else { return }
      unsafe slots[index].byteCount = unsafe slots[index].segmentSize
    }
  }

  /// Calls `body` with the first datagram of each slot.
  func forEachSlot(_ body: (RawSpan, SocketAddress) -> Void) {
    for index in 0..<slotCount {
      let slot = unsafe slots[index]
      let end = slot.offset + min(slot.segmentSize, slot.byteCount)
      let first = unsafe UnsafeRawBufferPointer(rebasing: bytes[slot.offset..<end])
      body(unsafe first.bytes, slot.remote)
    }
  }

  mutating func moveSlots(to array: inout [Slot]) {
    for index in 0..<slotCount { array.append(unsafe slots[index]) }
    slotCount = 0
  }

  mutating func append(_ slot: Slot) {
    unsafe (slots + slotCount).initialize(to: slot)
    slotCount += 1
  }
}
