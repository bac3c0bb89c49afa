// JoinRequest.swift — what a `join` asks for, checked as far as it can be without knowing the rooms (WIRE §4.3).

internal import Digest
internal import Wire

struct JoinRequest {
  let peerID: String
  let roomID: String
  /// SHA-256 of the token; nil when the room is to be open. The token itself is not kept.
  let binding: [UInt8]?
  let metadata: JSONValue

  init(_ message: [String: JSONValue], policy: RoomPolicy, limits: RoomLimits) throws(RoomRefusal) {
    guard let peerID = message["peerId"]?.stringValue, !peerID.isEmpty,
      let roomID = message["roomId"]?.stringValue, !roomID.isEmpty
    else { throw .missingIDs }

    // A token that is the room's own name proves nothing; clients of early 2026 send it for rooms that were open.
    let token = message["token"] ?? .null
    let isOwnName = roomID == Self.namePrefix + (token.stringValue ?? "")
    let isOpen = policy == .open && (!token.isTruthy || isOwnName)
    // The names that the stricter protocol owns, it also rules.
    let isStrict = policy == .capability || (!isOpen && roomID.hasPrefix(Self.namePrefix))

    guard isStrict ? Self.isPeerID(peerID) : Self.isAcceptable(peerID, limits) else { throw .invalidPeerID }
    guard isStrict ? Self.isRoomID(roomID) : Self.isAcceptable(roomID, limits) else { throw .invalidRoomID }
    self.peerID = peerID
    self.roomID = roomID
    metadata = message["metadata"] ?? .null
    if isOpen {
      binding = nil
    } else {
      guard case .string(let secret) = token, secret.utf16.count >= Self.minimumTokenLength else {
        throw .capabilityRequired
      }
      let bytes = Array(secret.utf8)
      binding = SHA256.hash(bytes.rawSpan)
    }
  }

  /// `^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$`
  private static func isPeerID(_ text: String) -> Bool { isWord(text.utf8[...], lengths: 3...128) }

  /// `^reploid-swarm-[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`
  private static func isRoomID(_ text: String) -> Bool {
    text.hasPrefix(namePrefix) && isWord(text.utf8.dropFirst(namePrefix.utf8.count), lengths: 1...128)
  }

  private static func isWord(_ text: String.UTF8View.SubSequence, lengths: ClosedRange<Int>) -> Bool {
    guard lengths.contains(text.count), let first = text.first, isAlphanumeric(first) else { return false }
    return text.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "a")...UInt8(ascii: "z"):
      true
    default: false
    }
  }

  private static func isAcceptable(_ text: String, _ limits: RoomLimits) -> Bool {
    text.utf8.count <= limits.identifierByteCount && text.unicodeScalars.allSatisfy(isPrintable)
  }

  private static let namePrefix = "reploid-swarm-"
  private static let minimumTokenLength = 32  // UTF-16 units, as the protocol counts
}

extension RoomServer {
  /// Metadata as it is kept and shown to others: as it came in open rooms, flattened in bound ones.
  func metadata(
    _ json: JSONValue, isBound: Bool
  ) throws(RoomRefusal) -> (members: [String: JSONValue], byteCount: Int) {
    let members: [String: JSONValue]
    switch json {
    case .null: members = [:]
    case .object(let all): members = isBound ? Metadata.flattened(all) : all
    default: throw .metadataNotObject
    }
    let byteCount = JSONValue.object(members).utf8Bytes.count
    guard byteCount <= limits.metadataByteCount else { throw .metadataTooLarge }
    return (members, byteCount)
  }
}

/// Metadata in bound rooms (WIRE §4.3). "The first 16" members are the first by name: JSON objects have no order.
enum Metadata {
  static func flattened(_ members: [String: JSONValue]) -> [String: JSONValue] {
    var flat: [String: JSONValue] = [:]
    for (name, value) in members.sorted(by: { $0.key < $1.key }).prefix(maximumCount) {
      let name = String(String.UnicodeScalarView(trimmed(name).unicodeScalars.prefix(maximumNameLength)))
      switch value {
      case .null, .bool, .integer, .double, .string: flat[name] = value
      case .array(let values):
        flat[name] = .strings(values.prefix(maximumCount).map { trimmed(text(of: $0)) }.filter { !$0.isEmpty })
      case .utf16, .object: flat[name] = .string(text(of: value))
      }
    }
    return flat
  }

  /// What JavaScript's `String(value)` gives, short of how it writes unusual numbers.
  private static func text(of value: JSONValue) -> String {
    switch value {
    case .object: "[object Object]"
    case .array(let values): values.map { $0.isNull ? "" : text(of: $0) }.joined(separator: ",")
    default: value.stringValue ?? value.text
    }
  }

  private static func trimmed(_ text: String) -> String {
    let start = text.drop(while: \.isWhitespace)
    return String(start.reversed().drop(while: \.isWhitespace).reversed())
  }

  private static let maximumCount = 16
  private static let maximumNameLength = 64
}
