// UDPPort.swift — one UDP port of this machine for many connections: a server behind a firewall needs one rule.
//
// The loop finds out for which connection a datagram is (`SharedSocket`); here its sockets are opened, one for each address.

import Logging
public import Net
import STUN
import Wire

/// A UDP port for any number of connections (`PeerConnectionConfiguration.sharedPort`), all of which are on its event loop.
///
/// ```
/// let port = try await UDPPort(50_000)
/// configuration.sharedPort = port
/// let connections = try (0..<20).map { _ in try PeerConnection(configuration: configuration) }
/// ```
/// A peer's address belongs to one connection at a time, so two such ports have one connection with each other at most.
/// The port is open until `close()`.
public actor UDPPort {
  /// The loop that does the I/O of the port's connections.
  public nonisolated let eventLoop: EventLoop
  public nonisolated let number: UInt16
  nonisolated let interfaces: InterfaceFilter
  nonisolated let loopback: PeerConnectionConfiguration.Loopback
  private var sockets: [SharedSocket]
  private var isClosed = false

  public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe eventLoop.asUnownedSerialExecutor() }

  /// Opens the port on this machine's addresses; those that come later are added as connections find them.
  ///
  /// - Parameters:
  ///   - number: 0: one that the system chooses.
  ///   - eventLoop: nil: the next of the shared ones.
  ///   - interfaces: whose addresses; takes the place of what the connections' configuration says.
  ///   - loopback: as `interfaces`.
  /// - Throws: `PeerConnectionError.system` when the port is taken, or there is no address.
  public init(
    _ number: UInt16 = 0, eventLoop: EventLoop? = nil, interfaces: InterfaceFilter = .init(),
    loopback: PeerConnectionConfiguration.Loopback = .automatic
  ) async throws(PeerConnectionError) {
    let opened: [SharedSocket]
    do {
      let loop = try eventLoop ?? EventLoopGroup.shared.next()
      let addresses = interfaces.addresses(among: try NetworkInterfaces.addresses(), loopback: loopback)
      opened = try await PortOpening(loop: loop).open(number, on: addresses)
      self.eventLoop = loop
    } catch {
      throw .system("\(error)")
    }
    guard let first = opened.first else { throw .system("UDP port \(number): no address of this machine is allowed") }
    self.number = first.socket.localAddress.port
    self.interfaces = interfaces
    self.loopback = loopback
    sockets = opened
  }

  /// Closes the port. Connections that still have it lose their way; close them first.
  public func close() {
    isClosed = true
    for socket in sockets { socket.close() }
    sockets = []
  }

  /// How many connections share the port now.
  public var connectionCount: Int { sockets.compactMap { $0.statistics?.participants }.max() ?? 0 }

  // MARK: For connections

  /// The socket on an address, opened if there is none yet.
  func socket(on address: IPAddress) -> Result<SharedSocket, NetError> {
    if let known = sockets.first(where: { $0.socket.localAddress.ip == address }) { return .success(known) }
    do throws(NetError) {
      guard !isClosed else { throw NetError("join", code: Self.isShutDown, detail: "port \(number) is closed") }
      let socket = try PortOpening.open(SocketAddress(ip: address, port: number), on: eventLoop)
      sockets.append(socket)
      return .success(socket)
    } catch {
      return .failure(error)
    }
  }

  /// Closes the sockets whose addresses this machine no longer has.
  func keepOnly(_ isThere: (IPAddress) -> Bool) {
    for socket in sockets where !isThere(socket.socket.localAddress.ip) { socket.close() }
    sockets.removeAll { !isThere($0.socket.localAddress.ip) }
  }

  private static let isShutDown: Int32 = 108  // ESHUTDOWN
}

/// Opens a port's sockets, on the loop's thread.
private actor PortOpening {
  nonisolated let loop: EventLoop
  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

  init(loop: EventLoop) { self.loop = loop }

  /// The same port on all addresses. One that the system chooses on the first may be taken on another: then once more.
  func open(_ number: UInt16, on addresses: [IPAddress]) throws(NetError) -> [SharedSocket] {
    var attempts = number == 0 ? Self.maximumAttempts : 1
    while true {
      attempts -= 1
      var opened: [SharedSocket] = []
      do throws(NetError) {
        for address in addresses {
          let port = opened.first?.socket.localAddress.port ?? number
          opened.append(try Self.open(SocketAddress(ip: address, port: port), on: loop))
        }
        return opened
      } catch {
        for socket in opened { socket.close() }
        guard attempts > 0 else { throw error }
      }
    }
  }

  static func open(_ address: SocketAddress, on loop: EventLoop) throws(NetError) -> SharedSocket {
    try loop.openSharedSocket(address) { datagram in SharedDatagramKind(STUNAddressee(datagram)) }
  }

  private static let maximumAttempts = 16
}

extension SharedDatagramKind {
  init(_ addressee: STUNAddressee) {
    switch addressee {
    case .request(let fragment, let id): self = .request(localFragment: fragment, transaction: SharedTransaction(id))
    case .response(let id): self = .response(SharedTransaction(id))
    case .nobody: self = .other
    }
  }
}

extension SharedTransaction {
  init(_ id: TransactionID) { self.init(high: id.high, low: id.low) }
}
