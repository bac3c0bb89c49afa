// FrameAssembler.swift — WebSocket frames to messages (RFC 6455 §5), bounded in bytes and in fragments.
//
// NIO's decoder bounds one frame; this bounds the message that frames add up to, and checks what the decoder leaves to
// its user: masking, reserved bits, unknown opcodes, the order of fragments, the body of a close frame.

import NIOCore
import NIOWebSocket

struct FrameAssembler {
  enum Event {
    case text([UInt8])
    /// A binary message began; nobody here wants the rest of it.
    case binary
    case ping(ByteBuffer)
    case pong
    case close(code: UInt16?, reason: String)
  }

  /// What ends the connection, as the close code and reason to send.
  struct Violation: Error, Hashable {
    var code: UInt16
    var reason: String

    static func protocolError(_ reason: String) -> Violation { Violation(code: 1002, reason: reason) }
    static let tooLarge = Violation(code: 1009, reason: "Message exceeds max size")
    static let tooManyFragments = Violation(code: 1008, reason: "Too many fragments")
  }

  private let maximumByteCount: Int
  /// Servers hear masked frames only, clients unmasked ones (RFC 6455 §5.1).
  private let expectsMask: Bool
  private var gathered: [UInt8] = []
  private var fragmentCount = 0

  init(maximumByteCount: Int, expectsMask: Bool) {
    self.maximumByteCount = maximumByteCount
    self.expectsMask = expectsMask
  }

  /// Nil when the frame did not complete anything.
  mutating func receive(_ frame: WebSocketFrame) throws(Violation) -> Event? {
    guard (frame.maskKey != nil) == expectsMask else { throw .protocolError("Wrong masking") }
    guard frame.reservedBits.isEmpty else { throw .protocolError("Reserved bits without an extension") }
    let data = frame.unmaskedData
    switch frame.opcode {
    case .text:
      guard fragmentCount == 0 else { throw .protocolError("A message inside a message") }
      return try append(data, isLast: frame.fin)
    case .binary:
      guard fragmentCount == 0 else { throw .protocolError("A message inside a message") }
      return .binary
    case .continuation:
      guard fragmentCount > 0 else { throw .protocolError("A continuation of nothing") }
      return try append(data, isLast: frame.fin)
    case .ping: return .ping(data)
    case .pong: return .pong
    case .connectionClose: return try Self.close(data)
    default: throw .protocolError("Unknown opcode")
    }
  }

  private mutating func append(_ data: ByteBuffer, isLast: Bool) throws(Violation) -> Event? {
    guard data.readableBytes <= maximumByteCount - gathered.count else { throw .tooLarge }
    fragmentCount += 1
    guard fragmentCount <= Self.maximumFragments else { throw .tooManyFragments }
    gathered.append(contentsOf: data.readableBytesView)
    guard isLast else { return nil }
    defer {
      gathered = []
      fragmentCount = 0
    }
    return .text(gathered)
  }

  private static func close(_ body: ByteBuffer) throws(Violation) -> Event {
    var body = body
    if body.readableBytes == 0 { return .close(code: nil, reason: "") }
    guard let code = body.readInteger(as: UInt16.self), isSendable(code) else { throw .protocolError("Bad close code") }
    return .close(code: code, reason: String(decoding: body.readableBytesView, as: UTF8.self))
  }

  /// Codes that may stand in a close frame (RFC 6455 §7.4).
  private static func isSendable(_ code: UInt16) -> Bool {
    switch code {
    case 1000...1003, 1007...1014, 3000...4999: true
    default: false
    }
  }

  private static let maximumFragments = 1_024  // of a message of 64 KB; each costs its sender six bytes or more
}
