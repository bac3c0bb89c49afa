// PortRange.swift — a port out of a range that a firewall lets through.

import Glibc
import Wire

enum PortRange {
  /// Binds with `body`: once to `address` as it is, or, when it has port 0 and a range is given, to one port of the range
  /// after the other until one is free. The first is chosen at random, so that sockets rarely meet and nobody can guess
  /// the port.
  static func bind<Socket>(
    _ address: SocketAddress, in range: ClosedRange<UInt16>?, _ body: (SocketAddress) throws(NetError) -> Socket
  ) throws(NetError) -> Socket {
    guard let range, address.port == 0 else { return try body(address) }
    let start = Int.random(in: 0..<range.count)
    for step in 0..<min(range.count, maximumAttempts) {
      let port = UInt16(Int(range.lowerBound) + (start + step) % range.count)
      do throws(NetError) {
        return try body(SocketAddress(ip: address.ip, port: port))
      } catch {
        guard error.code == EADDRINUSE || error.code == EACCES else { throw error }
      }
    }
    throw NetError(
      "bind", code: EADDRINUSE,
      detail: "\(address.ip): none of \(min(range.count, maximumAttempts)) ports in \(range) is free")
  }

  /// Each costs a few microseconds of the loop's thread; a range in which so many neighbours are taken is as good as full.
  private static let maximumAttempts = 512
}
