// PlainSocket.swift — a UDP or TCP socket on loopback, as little as a test needs.

import Foundation
import Testing
import Wire

#if canImport(Glibc)
  import Glibc
#endif

final class PlainSocket {
  enum Kind { case datagram, stream }
  let descriptor: CInt
  private(set) var localAddress = SocketAddress(ip: .loopbackV4, port: 0)

  /// Bound to a free port on loopback.
  init(_ kind: Kind, isV6: Bool) throws {
    let type = kind == .datagram ? CInt(SOCK_DGRAM.rawValue) : CInt(SOCK_STREAM.rawValue)
    descriptor = socket(isV6 ? AF_INET6 : AF_INET, type | CInt(SOCK_CLOEXEC.rawValue), 0)
    try #require(descriptor >= 0, "socket: \(errno)")
    let any = SocketAddress(ip: isV6 ? .loopbackV6 : .loopbackV4, port: 0)
    let result = Self.withPosix(any) { bind(descriptor, $0, $1) }
    try #require(result == 0, "bind: \(errno)")
    localAddress = try ownAddress()
  }

  func close() { _ = Glibc.close(descriptor) }

  func connect(to address: SocketAddress) -> Bool { Self.withPosix(address) { Glibc.connect(descriptor, $0, $1) } == 0 }

  func send(_ bytes: [UInt8], to address: SocketAddress? = nil) throws {
    var count = 0
    if let address {
      count = Self.withPosix(address) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
    } else {
      count = Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
    }
    try #require(count == bytes.count, "send: \(errno)")
  }

  /// Waits at most so long; nil when nothing has come. An empty array is the end of a stream, or an empty datagram.
  func receive(milliseconds: Int) -> (bytes: [UInt8], source: SocketAddress)? {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&waiting, 1, CInt(max(0, milliseconds))) == 1 else { return nil }
    var buffer = [UInt8](repeating: 0, count: 65_536)
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let count = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
      }
    }
    guard count >= 0 else { return nil }
    return (Array(buffer[..<count]), Self.address(storage))
  }

  private func ownAddress() throws -> SocketAddress {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    try #require(result == 0, "getsockname: \(errno)")
    return Self.address(storage)
  }

  private static func withPosix<R>(_ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    switch address.ip {
    case .v4(let bits):
      var posix = sockaddr_in()
      posix.sin_family = sa_family_t(AF_INET)
      posix.sin_port = address.port.bigEndian
      posix.sin_addr.s_addr = bits.bigEndian
      return withUnsafePointer(to: &posix) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
    case .v6(let high, let low, _):
      var posix = sockaddr_in6()
      posix.sin6_family = sa_family_t(AF_INET6)
      posix.sin6_port = address.port.bigEndian
      withUnsafeMutableBytes(of: &posix.sin6_addr) {
        $0.storeBytes(of: high.bigEndian, as: UInt64.self)
        $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      return withUnsafePointer(to: &posix) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in6>.size)) }
      }
    }
  }

  private static func address(_ storage: sockaddr_storage) -> SocketAddress {
    withUnsafeBytes(of: storage) { bytes in
      let port = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      guard storage.ss_family == sa_family_t(AF_INET6) else {
        return SocketAddress(
          ip: .v4(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))), port: port)
      }
      let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
      return SocketAddress(ip: .v6(high, low, zone: 0), port: port)
    }
  }
}
