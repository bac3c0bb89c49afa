// RawClient.swift — a TCP client that says exactly what a test tells it, right or wrong, and waits no longer than it must.

import Glibc
import Testing

/// Blocking, with a deadline in the kernel; the server under test runs on threads of its own.
final class RawClient {
  struct TimedOut: Error {}
  struct Failed: Error { var call: String }

  /// One frame as it came.
  struct Frame: Equatable {
    var first: UInt8
    var payload: [UInt8]

    var opcode: UInt8 { first & 0x0F }
    var text: String { String(decoding: payload, as: UTF8.self) }
    /// Of a close frame.
    var closeCode: Int? { payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil }
  }

  private let descriptor: CInt
  private var buffer: [UInt8] = []

  init(port: Int, receiveBuffer: CInt? = nil) throws {
    descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Failed(call: "socket") }
    if var size = receiveBuffer {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
    }
    var patience = timeval(tv_sec: 5, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port).bigEndian)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw Failed(call: "connect") }
  }

  deinit { close(descriptor) }

  // MARK: Bytes

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failed(call: "send") }
      sent += count
    }
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  /// False at the end of the stream, however it came.
  private func fill() throws -> Bool {
    var chunk = [UInt8](repeating: 0, count: 65_536)
    let count = recv(descriptor, &chunk, chunk.count, 0)
    if count > 0 {
      buffer += chunk[..<count]
      return true
    }
    if count < 0, errno == EAGAIN || errno == EWOULDBLOCK { throw TimedOut() }
    return false
  }

  /// Everything up to the end of the stream.
  func readToEnd() throws -> String {
    while try fill() {}
    defer { buffer = [] }
    return String(decoding: buffer, as: UTF8.self)
  }

  /// Whether the server ends the stream in time; what comes before is thrown away.
  func isEnded() throws -> Bool {
    while try fill() {}
    return true
  }

  // MARK: WebSocket

  static let handshakeHeaders = """
    Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n
    """

  static func request(_ target: String = "/signaling", more: String = "", version: String = "HTTP/1.1") -> String {
    "GET \(target) \(version)\r\n\(handshakeHeaders)\(more)\r\n"
  }

  /// Shakes hands and reads the welcome. The accept value is the one RFC 6455 §1.3 gives for its key.
  func shakeHands(more: String = "") throws {
    try send(Self.request(more: more))
    let answer = try readHead()
    #expect(answer.hasPrefix("HTTP/1.1 101 "))
    #expect(answer.lowercased().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="))
    #expect(!answer.lowercased().contains("permessage-deflate"))
    let welcome = try readFrame()
    #expect(welcome?.text.contains(#""type":"welcome""#) == true)
  }

  func readHead() throws -> String {
    let end: [UInt8] = [13, 10, 13, 10]
    while true {
      if let range = buffer.firstRange(of: end) {
        defer { buffer.removeSubrange(..<range.upperBound) }
        return String(decoding: buffer[..<range.upperBound], as: UTF8.self)
      }
      guard try fill() else { return "" }
    }
  }

  /// The next frame; nil at the end of the stream.
  func readFrame() throws -> Frame? {
    while true {
      if let (frame, length) = Self.parse(buffer) {
        buffer.removeSubrange(..<length)
        return frame
      }
      guard try fill() else { return nil }
    }
  }

  private static func parse(_ bytes: [UInt8]) -> (Frame, Int)? {
    guard bytes.count >= 2 else { return nil }
    #expect(bytes[1] & 0x80 == 0, "servers do not mask")
    var length = Int(bytes[1] & 0x7F)
    var offset = 2
    let extended = length == 126 ? 2 : length == 127 ? 8 : 0
    if extended > 0 {
      guard bytes.count >= 2 + extended else { return nil }
      length = bytes[2..<(2 + extended)].reduce(0) { $0 << 8 | Int($1) }
      offset += extended
    }
    guard bytes.count >= offset + length else { return nil }
    return (Frame(first: bytes[0], payload: Array(bytes[offset..<(offset + length)])), offset + length)
  }

  /// A frame as a client must send it; `mask` nil sends what a client must not.
  static func frame(
    _ opcode: UInt8, _ payload: [UInt8], isLast: Bool = true, reserved: UInt8 = 0, mask: [UInt8]? = [1, 2, 3, 4]
  ) -> [UInt8] {
    var bytes: [UInt8] = [(isLast ? 0x80 : 0) | reserved | opcode]
    let marker: UInt8 = mask == nil ? 0 : 0x80
    switch payload.count {
    case 0..<126: bytes.append(marker | UInt8(payload.count))
    case 126..<65_536: bytes += [marker | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    default:
      bytes.append(marker | 127)
      for shift in stride(from: 56, through: 0, by: -8) {
        bytes.append(UInt8(truncatingIfNeeded: payload.count >> shift))
      }
    }
    guard let mask else { return bytes + payload }
    bytes += mask
    for (index, byte) in payload.enumerated() { bytes.append(byte ^ mask[index % 4]) }
    return bytes
  }

  func sendText(_ text: String) throws { try send(Self.frame(1, Array(text.utf8))) }
}
