// LocalNames.swift — multicast DNS for the connections of one event loop: the `.local` names that hide their addresses,
// and those of their peers (RFC 6762, draft-ietf-mmusic-mdns-ice-candidates).
//
// The sockets exist while a name is claimed or looked up, and no longer.

import MDNS
import Net
import Synchronization
import Wire

actor LocalNames: EventLoopParticipant {
  private static let all = Mutex<[ObjectIdentifier: LocalNames]>([:])

  private nonisolated let loop: EventLoop
  private var machine = MulticastNames()
  private var random = RandomSource.system
  private var registration: EventLoopRegistration?
  private var sockets: [EventLoopSocket] = []
  private var waiting: [DNSName: [CheckedContinuation<[IPAddress], Never>]] = [:]

  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

  private init(loop: EventLoop) { self.loop = loop }

  /// Those of this loop.
  static func on(_ loop: EventLoop) -> LocalNames {
    all.withLock { all in
      if let known = all[ObjectIdentifier(loop)] { return known }
      let names = LocalNames(loop: loop)
      all[ObjectIdentifier(loop)] = names
      return names
    }
  }

  // MARK: On the loop's thread

  /// A fresh name for this machine's `address`; nil when it could not be answered for.
  nonisolated func claim(_ address: IPAddress) -> DNSName? {
    assumeIsolated { names in
      names.open()
      let name = DNSName.random(using: &names.random)
      guard !names.sockets.isEmpty, names.machine.register(name, address) else { return nil }
      return name
    }
  }

  nonisolated func giveUp(_ name: DNSName) {
    assumeIsolated { names in
      names.machine.unregister(name)
      names.closeIfIdle()
    }
  }

  /// The addresses behind a name; none when nobody answers.
  func resolve(_ name: DNSName) async -> [IPAddress] {
    open()
    guard machine.resolve(name, now: loop.now) else { return [] }
    registration?.touch()
    return await withCheckedContinuation { continuation in
      waiting[name, default: []].append(continuation)
      takeEvents()
    }
  }

  // MARK: The loop

  nonisolated func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {
    assumeIsolated { names in
      batch.forEach { bytes, route in names.machine.handle(bytes, route: route, now: now) }
      names.takeEvents()
    }
  }

  nonisolated func timeout(now: Instant) {
    assumeIsolated { names in
      names.machine.handleTimeout(now: now)
      names.takeEvents()
    }
  }

  nonisolated func drain(into batch: inout TransmitBatch, now: Instant) -> Bool {
    assumeIsolated { names in names.drainIsolated(into: &batch) }
  }

  nonisolated var deadline: Instant? { assumeIsolated { names in names.machine.deadline } }

  private func drainIsolated(into batch: inout TransmitBatch) -> Bool {
    let room = DNSMessage.maximumSize * max(sockets.count, 1)
    while batch.hasRoom(for: room) {
      var destination: MulticastNames.Destination?
      let message = collectBytes(capacity: DNSMessage.maximumSize) { out in
        destination = machine.pollTransmit(into: &out)
      }
      switch destination {
      case .host(let route): Self.append(message, to: route, &batch)
      case .group:
        for socket in sockets {
          let group = socket.localAddress.ip.isV4 ? MulticastNames.groupV4 : MulticastNames.groupV6
          Self.append(
            message, to: Route(socket: socket.id, remote: SocketAddress(ip: group, port: MulticastNames.port)), &batch)
        }
      case nil: return false
      }
    }
    return true
  }

  private static func append(_ message: [UInt8], to route: Route, _ batch: inout TransmitBatch) {
    _ = batch.append(maximum: message.count) { out in
      out.writeBytes(message)
      return route
    }
  }

  private func takeEvents() {
    while let event = machine.pollEvent() {
      switch event {
      case .resolved(let name, let addresses):
        for continuation in waiting.removeValue(forKey: name) ?? [] { continuation.resume(returning: addresses) }
      case .unresolved(let name):
        for continuation in waiting.removeValue(forKey: name) ?? [] { continuation.resume(returning: []) }
      }
    }
    closeIfIdle()
  }

  // MARK: Sockets

  /// One for each interface and family, at the port that others share. Where none can be had, only names of this very
  /// process are found.
  private func open() {
    guard registration == nil else { return }
    let registration = loop.register(self)
    self.registration = registration
    let addresses: [InterfaceAddress]
    do { addresses = try NetworkInterfaces.addresses() } catch { return }
    let outer = addresses.filter { !$0.isLoopback }
    var seen: Set<String> = []
    for address in outer.isEmpty ? addresses : outer where seen.count < Self.maximumSockets {
      let isV4 = address.address.isV4
      guard seen.insert("\(address.name) \(isV4)").inserted else { continue }
      var options = UDPSocketOptions()
      options.sharesPort = true
      options.receiveBufferSize = Self.bufferSize
      options.sendBufferSize = Self.bufferSize
      options.multicast = MulticastOptions(
        interface: address.index, groups: [isV4 ? MulticastNames.groupV4 : MulticastNames.groupV6])
      let any: IPAddress = isV4 ? .v4(0) : .v6(0, 0, zone: 0)
      do {
        sockets.append(
          try registration.openSocket(SocketAddress(ip: any, port: MulticastNames.port), options: options))
      } catch {
        continue  // an interface without multicast
      }
    }
  }

  private func closeIfIdle() {
    guard machine.isIdle, waiting.isEmpty, let registration else { return }
    self.registration = nil
    sockets = []
    registration.leave(afterDrain: true)
    Self.all.withLock { $0[ObjectIdentifier(loop)] = nil }
  }

  /// A machine may have hundreds of interfaces; a peer on the same network is behind one of the first.
  private static let maximumSockets = 32
  private static let bufferSize = 256 << 10
}
