// Netlink.swift — what the kernel tells about interfaces and addresses beyond getifaddrs: kinds, and the state of an IPv6
// address (rtnetlink(7)). Numbers are in the host's own order.

import CPosix
import Glibc
import Wire

/// What rtnetlink knows of the host's interfaces.
struct InterfaceDetails {
  struct Key: Hashable {
    var index: UInt32
    /// Without zone.
    var address: IPAddress
  }
  /// The kind of a software interface, as `bridge`, by index.
  var kinds: [UInt32: String] = [:]
  /// The `IFA_F_` flags of each address.
  var addressFlags: [Key: UInt32] = [:]

  /// Asks the kernel; what it does not answer is missing.
  static func read() -> InterfaceDetails {
    var details = InterfaceDetails()
    guard let socket = Netlink.open(groups: 0) else { return details }
    Netlink.dump(Netlink.getLink, bodySize: 16, through: socket.rawValue) { type, body in
      if type == Netlink.newLink { details.takeLink(body) }
    }
    Netlink.dump(Netlink.getAddress, bodySize: 8, through: socket.rawValue) { type, body in
      if type == Netlink.newAddress { details.takeAddress(body) }
    }
    return details
  }

  /// `struct ifinfomsg` and attributes.
  mutating func takeLink(_ body: RawSpan) {
    guard body.byteCount >= 16 else { return }
    let index = body.hostUInt32(at: 4)
    var kinds = self.kinds
    Netlink.forEachAttribute(body.extracting(16..<body.byteCount)) { type, value in
      guard type == Netlink.linkInfo else { return }
      Netlink.forEachAttribute(value) { type, value in
        guard type == Netlink.linkInfoKind else { return }
        let name = value.copyBytes().prefix { $0 != 0 }
        kinds[index] = String(decoding: name, as: UTF8.self)
      }
    }
    self.kinds = kinds
  }

  /// `struct ifaddrmsg` and attributes.
  mutating func takeAddress(_ body: RawSpan) {
    guard body.byteCount >= 8 else { return }
    let index = body.hostUInt32(at: 4)
    var flags = UInt32(body.byte(at: 2))
    var address: IPAddress?
    var local: IPAddress?
    Netlink.forEachAttribute(body.extracting(8..<body.byteCount)) { type, value in
      switch type {
      case Netlink.address: address = Netlink.address(value)
      case Netlink.localAddress: local = Netlink.address(value)
      case Netlink.flags where value.byteCount == 4: flags = value.hostUInt32(at: 0)
      default: break
      }
    }
    // Of a point-to-point interface, the address is the other end's.
    guard let own = local ?? address else { return }
    addressFlags[Key(index: index, address: own)] = flags
  }
}

enum Netlink {
  static let groupsOfAddresses: UInt32 = 0x1 | 0x10 | 0x100  // RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
  static let newLink: UInt16 = 16
  static let getLink: UInt16 = 18
  static let newAddress: UInt16 = 20
  static let getAddress: UInt16 = 22
  static let linkInfo: UInt16 = 18
  static let linkInfoKind: UInt16 = 1
  static let address: UInt16 = 1
  static let localAddress: UInt16 = 2
  static let flags: UInt16 = 8
  private static let errorMessage: UInt16 = 2
  private static let doneMessage: UInt16 = 3
  private static let headerSize = 16
  private static let requestDump: UInt16 = 0x301  // NLM_F_REQUEST | NLM_F_DUMP

  /// A socket that hears the changes of `groups`.
  static func open(groups: UInt32) -> Descriptor? {
    do throws(NetError) {
      return try Descriptor(swarm_netlink_open(groups), "socket")
    } catch {
      return nil
    }
  }

  /// Asks for a table, and calls `body` with each message of the answer.
  static func dump(
    _ type: UInt16, bodySize: Int, through descriptor: Int32, _ body: (UInt16, RawSpan) -> Void
  ) {
    var request = [UInt8](repeating: 0, count: headerSize + bodySize)
    unsafe request.withUnsafeMutableBytes { bytes in
      unsafe bytes.storeBytes(of: UInt32(bytes.count), as: UInt32.self)
      unsafe bytes.storeBytes(of: type, toByteOffset: 4, as: UInt16.self)
      unsafe bytes.storeBytes(of: requestDump, toByteOffset: 6, as: UInt16.self)
    }
    let sent = unsafe request.withUnsafeBytes { unsafe swarm_stream_send(descriptor, $0.baseAddress, $0.count) }
    guard sent == request.count else { return }
    var buffer = [UInt8](repeating: 0, count: bufferSize)
    // The kernel writes each part of the answer when the one before has been read: there is nothing to wait for.
    for _ in 0..<maximumParts {
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe swarm_stream_receive(descriptor, $0.baseAddress, $0.count)
      }
      if count == -Int(EINTR) { continue }
      guard count > 0 else { return }
      guard forEachMessage(buffer.rawSpan.extracting(0..<count), body) else { return }
    }
  }

  /// Reads everything that has come, unread; false when the socket is broken.
  static func discard(_ descriptor: Int32) -> Bool {
    var buffer = [UInt8](repeating: 0, count: bufferSize)
    for _ in 0..<maximumParts {
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe swarm_stream_receive(descriptor, $0.baseAddress, $0.count)
      }
      // ENOBUFS: changes were lost, which is a change as well.
      if count > 0 || count == -Int(EINTR) || count == -Int(ENOBUFS) { continue }
      return count == -Int(EAGAIN)
    }
    return true
  }

  /// False at the end of the answer.
  private static func forEachMessage(_ bytes: RawSpan, _ body: (UInt16, RawSpan) -> Void) -> Bool {
    var start = 0
    while bytes.byteCount - start >= headerSize {
      let length = Int(bytes.hostUInt32(at: start))
      let type = bytes.hostUInt16(at: start + 4)
      guard length >= headerSize, length <= bytes.byteCount - start, type != doneMessage, type != errorMessage else {
        return false
      }
      body(type, bytes.extracting((start + headerSize)..<(start + length)))
      start += (length + 3) & ~3
    }
    return true
  }

  static func forEachAttribute(_ bytes: RawSpan, _ body: (UInt16, RawSpan) -> Void) {
    var start = 0
    while bytes.byteCount - start >= 4 {
      let length = Int(bytes.hostUInt16(at: start))
      guard length >= 4, length <= bytes.byteCount - start else { return }
      let type = bytes.hostUInt16(at: start + 2) & 0x3fff  // without the flags of nesting and byte order
      body(type, bytes.extracting((start + 4)..<(start + length)))
      start += (length + 3) & ~3
    }
  }

  static func address(_ value: RawSpan) -> IPAddress? {
    switch value.byteCount {
    case 4: .v4(value.uint32(at: 0))
    case 16:
      .v6(
        UInt64(value.uint32(at: 0)) << 32 | UInt64(value.uint32(at: 4)),
        UInt64(value.uint32(at: 8)) << 32 | UInt64(value.uint32(at: 12)), zone: 0)
    default: nil
    }
  }

  private static let bufferSize = 32_768  // what the kernel fills at most in one part
  private static let maximumParts = 1_024  // 32 MiB of interfaces
}

extension RawSpan {
  /// Swaps the bytes back that reading as big-endian may have swapped.
  fileprivate func hostUInt32(at offset: Int) -> UInt32 { uint32(at: offset).bigEndian }
  fileprivate func hostUInt16(at offset: Int) -> UInt16 { uint16(at: offset).bigEndian }
}
