// SocketAddress+Posix.swift — socket addresses to and from the kernel's structures.
//
// Both families fit in a `sockaddr_in6`, the larger of the two, so that is the slot every name is kept in.

import Wire
import CPosix
import Glibc

extension SocketAddress {
  /// Writes the address into `slot` and returns the length that the kernel wants with it.
  func write(to slot: UnsafeMutablePointer<sockaddr_in6>) -> socklen_t {
    switch ip {
    case .v4(let bits):
      unsafe UnsafeMutableRawPointer(slot).withMemoryRebound(to: sockaddr_in.self, capacity: 1) { name in
        unsafe name.pointee = sockaddr_in()
        unsafe name.pointee.sin_family = sa_family_t(AF_INET)
        unsafe name.pointee.sin_port = port.bigEndian
        unsafe name.pointee.sin_addr.s_addr = bits.bigEndian
      }
      return socklen_t(MemoryLayout<sockaddr_in>.size)
    case .v6(let high, let low, let zone):
      unsafe slot.pointee = sockaddr_in6()
      unsafe slot.pointee.sin6_family = sa_family_t(AF_INET6)
      unsafe slot.pointee.sin6_port = port.bigEndian
      unsafe slot.pointee.sin6_scope_id = zone
      unsafe withUnsafeMutableBytes(of: &slot.pointee.sin6_addr) { bytes in
        unsafe bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
        unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
  }

  /// Reads what the kernel wrote; nil for another family.
  init?(reading slot: UnsafePointer<sockaddr_in6>) {
    switch Int32(unsafe slot.pointee.sin6_family) {
    case AF_INET:
      let name = unsafe UnsafeRawPointer(slot).load(as: sockaddr_in.self)
      self.init(ip: .v4(UInt32(bigEndian: name.sin_addr.s_addr)), port: UInt16(bigEndian: name.sin_port))
    case AF_INET6:
      let name = unsafe slot.pointee
      let (high, low) = unsafe withUnsafeBytes(of: name.sin6_addr) { bytes in
        (unsafe bytes.load(as: UInt64.self), unsafe bytes.load(fromByteOffset: 8, as: UInt64.self))
      }
      // The kernel names a zone only for addresses that need one; a route compares equal either way then.
      self.init(
        ip: .v6(UInt64(bigEndian: high), UInt64(bigEndian: low), zone: name.sin6_scope_id),
        port: UInt16(bigEndian: name.sin6_port))
    default: return nil
    }
  }
}
