// Envelope.swift — one text message of a data channel: profile B's envelope, or profile A's bare object (WIRE §3, §5).

import Signaling

/// What is in a text message, checked as far as that is possible without knowing its type.
enum IncomingFrame {
  /// `timestamp` is nil when it is a number, but none that a clock could follow.
  case envelope(type: String, payload: JSONFields, timestamp: Int64?)
  case bare(type: String, fields: JSONFields)
}

/// Why a message was dropped. The references drop silently; we count. `late` is nobody's fault: what the message answers
/// is over.
package enum Rejection: String, CaseIterable, Sendable {
  case frameTooLarge, notJSON, notAnObject, badVersion, badType, spoofedSender, badTimestamp, payloadTooLarge,
    badPayload
  case wrongDialect, unexpectedBinary, unsolicited, tableFull, late
}

extension Rejection: Error {}

extension IncomingFrame {
  /// Reads `text` as it came from `peer`. The sender named inside must be the peer the channel belongs to.
  init(_ text: String, from peer: PeerID) throws(Rejection) {
    // A string has at least as many UTF-8 bytes as UTF-16 units, so the count is only taken when it could matter.
    if text.utf8.count > SwarmLimits.maximumFrameUnits, text.utf16.count > SwarmLimits.maximumFrameUnits {
      throw .frameTooLarge
    }
    let value: JSONValue
    do { value = try JSONValue(parsing: text) } catch { throw .notJSON }
    guard case .object(var fields) = value else { throw .notAnObject }
    guard let type = fields.text("type"), (1...SwarmLimits.maximumTypeUnits).contains(type.utf16.count) else {
      throw .badType
    }
    guard let version = fields["protocolVersion"] else {
      fields["type"] = nil
      self = .bare(type: type, fields: fields)
      return
    }
    guard version.safeInteger == 1 else { throw .badVersion }
    guard fields.text("peerId") == peer else { throw .spoofedSender }
    guard let timestamp = fields["timestamp"], timestamp.doubleValue != nil else { throw .badTimestamp }
    let payload: JSONFields
    switch fields["payload"] {
    case .object(let members)?: payload = members
    case nil, .null?: payload = [:]
    default: throw .badPayload
    }
    try Self.checkSize(of: payload, stated: fields["payloadSize"], frame: text)
    self = .envelope(type: type, payload: payload, timestamp: timestamp.safeInteger)
  }

  private static func checkSize(of payload: JSONFields, stated: JSONValue?, frame: String) throws(Rejection) {
    let maximum = SwarmLimits.maximumPayloadUnits
    switch stated {
    case nil, .null?: break
    case let size?:
      guard let size = size.safeInteger, size >= 0 else { throw .badPayload }
      guard size <= Int64(maximum) else { throw .payloadTooLarge }
    }
    // Whatever is stated: the payload is a part of the frame, so only a large frame needs measuring.
    if frame.utf8.count > maximum, JSONValue.object(payload).unitCount > maximum { throw .payloadTooLarge }
  }
}

/// The text of an outgoing message.
enum OutgoingFrame {
  /// The payload is written once: its length belongs into the envelope, its text too.
  static func envelope(type: String, payload: JSONFields, from peer: PeerID, timestamp: Int64) throws(PayloadTooLarge)
    -> String
  {
    let text = JSONValue.object(payload).text
    let size = text.utf16.count
    guard size <= SwarmLimits.maximumPayloadUnits else { throw PayloadTooLarge() }
    let type = JSONValue.string(type).text
    let peer = JSONValue.string(peer).text
    return "{\"protocolVersion\":1,\"type\":\(type),\"peerId\":\(peer),\"timestamp\":\(timestamp)"
      + ",\"payload\":\(text),\"payloadSize\":\(size)}"
  }

  static func bare(type: String, fields: JSONFields) throws(PayloadTooLarge) -> String {
    var fields = fields
    fields["type"] = .string(type)
    let text = JSONValue.object(fields).text
    guard text.utf16.count <= SwarmLimits.maximumPayloadUnits else { throw PayloadTooLarge() }
    return text
  }
}

struct PayloadTooLarge: Error {}
