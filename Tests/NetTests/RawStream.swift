// RawStream.swift — a plain blocking TCP connection: the other side of a stream socket, as well or ill behaved as a test
// wants it.

import CPosix
import Glibc
import Wire

@testable import Net

final class RawStream: Sendable {
  let descriptor: Int32

  init(descriptor: Int32) { self.descriptor = descriptor }

  /// Connects to a listener; the kernel completes that without anybody accepting.
  init(to address: SocketAddress) throws {
    descriptor = socket(address.ip.isV4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    let code = SocketCalls.connect(descriptor, to: address)
    guard code == 0 else {
      _ = close(descriptor)
      throw NetError("connect", code: code)
    }
    _ = SocketCalls.trySet(descriptor, Int32(IPPROTO_TCP), Int32(SWARM_TCP_NODELAY), 1)
    var patience = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { _ = close(descriptor) }

  var localAddress: SocketAddress { get throws { try SocketCalls.boundAddress(of: descriptor) } }

  func send(_ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
      let result = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress! + sent, $0.count - sent, 0x4000) }
      guard result > 0 else { return }
      sent += result
    }
  }

  /// At least one byte; empty at the end of the stream, or when nothing came for too long.
  func receive(atMost count: Int = 65_536) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let received = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
    return Array(bytes.prefix(max(0, received)))
  }

  /// Exactly so many bytes, or what came before the end.
  func receive(exactly count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let more = receive(atMost: count - bytes.count)
      if more.isEmpty { break }
      bytes += more
    }
    return bytes
  }

  /// Whether the other side has closed, once everything it sent has been read. Waits for it.
  func isClosedByPeer() -> Bool {
    while true {
      var byte: UInt8 = 0
      let received = recv(descriptor, &byte, 1, 0)
      if received <= 0 { return received == 0 || errno == ECONNRESET }
    }
  }

  func shut() { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// A plain listener.
final class RawListener: Sendable {
  let descriptor: Int32
  let address: SocketAddress

  init(_ address: SocketAddress = .anyPortV4) throws {
    descriptor = socket(address.ip.isV4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    _ = SocketCalls.trySet(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
    try SocketCalls.bind(descriptor, to: address, "TCP")
    guard listen(descriptor, 16) == 0 else { throw NetError.current("listen") }
    self.address = try SocketCalls.boundAddress(of: descriptor)
  }

  deinit { _ = close(descriptor) }

  func accept() throws -> RawStream {
    let accepted = Glibc.accept(descriptor, nil, nil)
    guard accepted >= 0 else { throw NetError.current("accept") }
    return RawStream(descriptor: accepted)
  }
}

/// A STUN Binding request without attributes that says which one it is: what a stream begins with.
func stunMessage(_ number: Int = 0) -> [UInt8] {
  var bytes: [UInt8] = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42] + [UInt8](repeating: 0, count: 12)
  for shift in 0..<4 { bytes[16 + shift] = UInt8(truncatingIfNeeded: number >> (24 - 8 * shift)) }
  return bytes
}

/// ChannelData with `payload` (RFC 8656 §12.4), not padded.
func channelData(_ payload: [UInt8]) -> [UInt8] {
  [0x40, 0x00, UInt8(payload.count >> 8), UInt8(truncatingIfNeeded: payload.count)] + payload
}

func framed(_ datagram: [UInt8], _ framing: StreamFraming = .rfc4571) -> [UInt8] {
  switch framing {
  case .rfc4571: [UInt8(datagram.count >> 8), UInt8(truncatingIfNeeded: datagram.count)] + datagram
  case .turn: datagram + [UInt8](repeating: 0, count: -datagram.count & 3)
  }
}
