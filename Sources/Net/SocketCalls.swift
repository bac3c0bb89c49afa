// SocketCalls.swift — the calls that set up a socket of any kind.

import CPosix
import Glibc
import Wire

enum SocketCalls {
  /// - Parameter kind: what the error says was to be bound.
  static func bind(_ descriptor: Int32, to address: SocketAddress, _ kind: String) throws(NetError) {
    let result = unsafe withName(of: address) { unsafe Glibc.bind(descriptor, $0, $1) }
    guard result == 0 else { throw .current("bind", "\(kind) \(address)") }
  }

  /// Begins to connect; 0, or errno, which is EINPROGRESS when it takes time.
  static func connect(_ descriptor: Int32, to address: SocketAddress) -> Int32 {
    let result = unsafe withName(of: address) { unsafe Glibc.connect(descriptor, $0, $1) }
    return result == 0 ? 0 : errno
  }

  private static func withName(
    of address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) -> Int32 {
    var name = sockaddr_in6()
    let length = unsafe address.write(to: &name)
    return unsafe withUnsafePointer(to: &name) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
    }
  }

  /// The address that a socket has on this side.
  static func boundAddress(of descriptor: Int32) throws(NetError) -> SocketAddress {
    var name = sockaddr_in6()
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let result = unsafe withUnsafeMutablePointer(to: &name) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe getsockname(descriptor, $0, &length)
      }
    }
    guard result == 0 else { throw .current("getsockname") }
    guard let address = unsafe SocketAddress(reading: &name) else { throw NetError("getsockname", code: EAFNOSUPPORT) }
    return address
  }

  /// The error that a socket has met on its own, 0 if none; asking clears it.
  static func pendingError(of descriptor: Int32) -> Int32 {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return errno }
    return code
  }

  static func set(
    _ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32, _ name: String
  ) throws(NetError) {
    guard trySet(descriptor, level, option, value) else { throw .current(name) }
  }

  static func trySet(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
    unsafe withUnsafePointer(to: value) {
      unsafe setsockopt(descriptor, level, option, $0, socklen_t(MemoryLayout<Int32>.size)) == 0
    }
  }
}
