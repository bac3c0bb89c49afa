// SourceAddress.swift — which of this host's addresses the system would use towards another one.

import CPosix
import Glibc
package import Wire

package enum SourceAddress {
  /// Asks the routing table; nothing is sent.
  ///
  /// - Returns: nil when there is no way there.
  package static func toward(_ destination: SocketAddress) -> IPAddress? {
    let family = destination.ip.isV4 ? AF_INET : AF_INET6
    let descriptor = socket(family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), Int32(IPPROTO_UDP))
    guard descriptor >= 0 else { return nil }
    defer { _ = close(descriptor) }
    var name = sockaddr_in6()
    var length = unsafe destination.write(to: &name)
    let result = unsafe withUnsafeMutablePointer(to: &name) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        guard unsafe connect(descriptor, address, length) == 0 else { return Int32(-1) }
        length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        return unsafe getsockname(descriptor, address, &length)
      }
    }
    guard result == 0 else { return nil }
    return unsafe SocketAddress(reading: &name)?.ip
  }
}
