// ControlMessage.swift — DCEP, the two messages that open a data channel (RFC 8832 §5).
//
// Both travel reliably and in order on the stream of the channel they speak of. The label and protocol lengths are
// checked against the bytes that are there, added as `Int`, where the sum of two 16-bit numbers cannot wrap.

internal import SCTP
package import Wire

/// A DCEP message.
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |   Type 0x03   | Channel type  |            Priority           |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                     Reliability parameter                     |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |         Label length          |        Protocol length        |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                      Label, then protocol                     |
package enum ControlMessage: Hashable, Sendable {
  /// DATA_CHANNEL_OPEN. What it carries never names a negotiated stream.
  case open(ChannelParameters)
  /// DATA_CHANNEL_ACK, one byte.
  case acknowledge
  /// A type nobody has assigned yet.
  case unknown(type: UInt8)

  package init(parsing bytes: RawSpan) throws(Malformed) {
    var reader = ByteReader(bytes)
    switch try reader.readUInt8() {
    case Self.acknowledgeType:
      guard reader.isAtEnd else { throw .badLength }
      self = .acknowledge
    case Self.openType:
      self = .open(try ChannelParameters(readingOpen: &reader))
    case let other:
      self = .unknown(type: other)
    }
  }

  /// Whether these bytes mean to be an OPEN, well-formed or not.
  static func claimsToOpen(_ bytes: [UInt8]) -> Bool { bytes.first == openType }

  /// The ACK as it is sent.
  package static let acknowledgement: [UInt8] = [acknowledgeType]

  private static let acknowledgeType: UInt8 = 0x02
  fileprivate static let openType: UInt8 = 0x03
}

extension ChannelParameters {
  /// Reads what follows the type byte of an OPEN.
  init(readingOpen reader: inout ByteReader) throws(Malformed) {
    let channelType = try reader.readUInt8()
    let priority = try reader.readUInt16()
    let parameter = try reader.readUInt32()
    let labelLength = Int(try reader.readUInt16())
    let protocolLength = Int(try reader.readUInt16())
    guard reader.remaining == labelLength + protocolLength else {
      throw reader.remaining < labelLength + protocolLength ? .truncated : .badLength
    }
    // The field has 32 bits, the W3C's options 16: what is larger means "practically for ever" and is clamped.
    let limit = UInt16(clamping: parameter)
    let reliability: Reliability
    switch channelType & ~Self.unorderedBit {
    case 0x00: reliability = .reliable  // the parameter is ignored (§5.1)
    case 0x01: reliability = .maximumRetransmits(limit)
    case 0x02: reliability = .maximumLifetime(milliseconds: limit)
    default: throw .badValue
    }
    self.init(
      label: try Self.readText(labelLength, from: &reader),
      subprotocol: try Self.readText(protocolLength, from: &reader),
      isOrdered: channelType & Self.unorderedBit == 0, reliability: reliability, priority: priority)
  }

  /// The OPEN that asks the peer for this channel. The texts are within their limit: the table checks before it keeps them.
  package func openMessage() -> [UInt8] {
    let (label, subprotocol) = (Array(label.utf8), Array(subprotocol.utf8))
    return collectBytes(capacity: openMessageLength) { out in
      var channelType: UInt8 = isOrdered ? 0 : Self.unorderedBit
      var parameter: UInt32 = 0
      switch reliability {
      case .reliable: break
      case .maximumRetransmits(let count): (channelType, parameter) = (channelType | 0x01, UInt32(count))
      case .maximumLifetime(let milliseconds): (channelType, parameter) = (channelType | 0x02, UInt32(milliseconds))
      }
      out.writeUInt8(ControlMessage.openType)
      out.writeUInt8(channelType)
      out.writeUInt16(priority)
      out.writeUInt32(parameter)
      out.writeUInt16(UInt16(label.count))
      out.writeUInt16(UInt16(subprotocol.count))
      out.writeBytes(label)
      out.writeBytes(subprotocol)
    }
  }

  /// The size of `openMessage()`, without building it.
  var openMessageLength: Int { 12 + label.utf8.count + subprotocol.utf8.count }

  private static func readText(_ count: Int, from reader: inout ByteReader) throws(Malformed) -> String {
    let bytes = try reader.readBytes(count).copyBytes()
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .badValue }
    return text
  }

  private static let unorderedBit: UInt8 = 0x80
}
