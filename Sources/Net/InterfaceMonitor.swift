// InterfaceMonitor.swift — tells participants when the host's addresses change (rtnetlink(7)).
//
// Changes come in bursts, as when a link goes up: the list is read once, some time after the first of a burst, and told
// only if it differs from what was told last.

import CPosix
import Glibc
import Wire

final class InterfaceMonitor: LoopSource {
  private let netlink: Descriptor
  private var source: SourceID?
  private var watchers: [Int] = []
  private var isDue = false
  private(set) var addresses: [InterfaceAddress]

  init(in core: LoopCore) throws(NetError) {
    netlink = try Descriptor(swarm_netlink_open(Netlink.groupsOfAddresses), "socket(AF_NETLINK)")
    // Listening comes first, so that no change falls between.
    addresses = try NetworkInterfaces.addresses()
    let source = core.addSource(self)
    do throws(NetError) {
      try core.poller.add(netlink.rawValue, token: source.token)
    } catch {
      core.removeSource(source)
      throw error
    }
    self.source = source
  }

  func add(_ slot: Int) { if !watchers.contains(slot) { watchers.append(slot) } }

  /// Returns whether anybody still watches.
  func remove(_ slot: Int) -> Bool {
    watchers.removeAll { $0 == slot }
    return !watchers.isEmpty
  }

  func end(in core: LoopCore) {
    core.poller.remove(netlink.rawValue)
    if let source { core.removeSource(source) }
    source = nil
  }

  func handleReady(_ event: Poller.Event, in core: LoopCore) {
    guard let source else { return }
    // A socket that is broken would be reported for ever.
    if !Netlink.discard(netlink.rawValue) { core.poller.remove(netlink.rawValue) }
    guard !isDue else { return }
    isDue = true
    core.setDeadline(core.now + Self.settling, of: source)
  }

  func handleTimeout(in core: LoopCore) {
    isDue = false
    do throws(NetError) {
      let fresh = try NetworkInterfaces.addresses()
      guard Set(fresh) != Set(addresses) else { return }
      addresses = fresh
    } catch {
      // No memory or no descriptors at the moment: the next change asks again.
      return
    }
    for slot in watchers { core.reportInterfaces(addresses, to: slot) }
  }

  private static let settling = Interval.milliseconds(100)
}

extension LoopCore {
  func watchInterfaces(for registration: EventLoopRegistration) throws(NetError) -> [InterfaceAddress] {
    guard isCurrent(registration) else { throw NetError("watch", code: ECANCELED) }
    let monitor: InterfaceMonitor
    if let interfaceMonitor {
      monitor = interfaceMonitor
    } else {
      monitor = try InterfaceMonitor(in: self)
      interfaceMonitor = monitor
    }
    monitor.add(registration.slot)
    return monitor.addresses
  }

  /// The last who stops ends the watch.
  func stopWatchingInterfaces(_ slot: Int) {
    guard let monitor = interfaceMonitor, !monitor.remove(slot) else { return }
    monitor.end(in: self)
    interfaceMonitor = nil
  }

  func reportInterfaces(_ addresses: [InterfaceAddress], to slot: Int) {
    guard let participant = members[slot].participant else { return }
    touch(slot)
    participant.interfacesChanged(addresses, now: now)
  }
}

extension EventLoopRegistration {
  /// From now on `interfacesChanged` tells this participant of every change.
  ///
  /// - Returns: the addresses as they were told last to anybody on this loop; what has changed since is told soon.
  package func watchInterfaces() throws(NetError) -> [InterfaceAddress] {
    try loop.isolatedCore.watchInterfaces(for: self)
  }

  package func stopWatchingInterfaces() {
    let core = loop.isolatedCore
    if core.isCurrent(self) { core.stopWatchingInterfaces(slot) }
  }
}
