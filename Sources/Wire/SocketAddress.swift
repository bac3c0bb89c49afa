// SocketAddress.swift — IP addresses and ports as values, with their text forms (RFC 4291 §2.2, RFC 5952).

/// An IPv4 or IPv6 address.
@frozen
public enum IPAddress: Hashable, Sendable {
  /// The 32 bits in host order: 127.0.0.1 is 0x7f00_0001.
  case v4(UInt32)
  /// The upper and lower 64 bits in host order, and the zone (0: none) that a link-local address needs.
  case v6(UInt64, UInt64, zone: UInt32)

  public static var loopbackV4: IPAddress { .v4(0x7f00_0001) }
  public static var loopbackV6: IPAddress { .v6(0, 1, zone: 0) }

  @inlinable public var isV4: Bool { if case .v4 = self { true } else { false } }

  public var isLoopback: Bool {
    switch self {
    case .v4(let bits): bits >> 24 == 127
    case .v6(let high, let low, _): high == 0 && low == 1
    }
  }

  /// Link-local unicast: 169.254/16 and fe80::/10.
  public var isLinkLocal: Bool {
    switch self {
    case .v4(let bits): bits >> 16 == 0xa9fe
    case .v6(let high, _, _): high >> 54 == 0x3fa
    }
  }

  /// The unspecified address, 0.0.0.0 or ::.
  public var isUnspecified: Bool {
    switch self {
    case .v4(let bits): bits == 0
    case .v6(let high, let low, _): high == 0 && low == 0
    }
  }

  /// Multicast: 224/4 and ff00::/8.
  public var isMulticast: Bool {
    switch self {
    case .v4(let bits): bits >> 28 == 0xe
    case .v6(let high, _, _): high >> 56 == 0xff
    }
  }
}

/// An address and a UDP or TCP port.
@frozen
public struct SocketAddress: Hashable, Sendable {
  public var ip: IPAddress
  public var port: UInt16

  @inlinable public init(ip: IPAddress, port: UInt16) {
    self.ip = ip
    self.port = port
  }
}

/// Names one local UDP socket towards the layer that owns it; opaque to the protocols.
@frozen
public struct SocketID: Hashable, Sendable {
  public var rawValue: UInt32
  @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Names something that is addressed as a socket and that no kernel has, as an allocation on a relay. The loop leaves
  /// the topmost bit to these.
  @inlinable public static func virtual(_ number: UInt32) -> SocketID { SocketID(rawValue: 1 << 31 | number) }
  @inlinable public var isVirtual: Bool { rawValue >> 31 == 1 }
}

/// Where a datagram leaves from or arrives at, and the address at the other end.
@frozen
public struct Route: Hashable, Sendable {
  public var socket: SocketID
  public var remote: SocketAddress

  @inlinable public init(socket: SocketID, remote: SocketAddress) {
    self.socket = socket
    self.remote = remote
  }
}

// MARK: Text

extension IPAddress: CustomStringConvertible {
  /// The usual text: dotted quad, or RFC 5952's shortest form, with `%zone` when there is one.
  public var description: String {
    switch self {
    case .v4(let bits):
      return "\(bits >> 24).\(bits >> 16 & 0xff).\(bits >> 8 & 0xff).\(bits & 0xff)"
    case .v6(let high, let low, let zone):
      let text = Self.describe(groups: Self.groups(high, low))
      return zone == 0 ? text : "\(text)%\(zone)"
    }
  }

  /// Reads a dotted quad or an IPv6 literal without brackets; nil for anything else, host names included. A zone is
  /// taken only as a number.
  public init?(_ text: some StringProtocol) {
    guard text.utf8.count <= 64 else { return nil }
    if text.utf8.contains(UInt8(ascii: ":")) {
      guard let address = Self.parseV6(text) else { return nil }
      self = address
    } else {
      guard let bits = Self.parseV4(text) else { return nil }
      self = .v4(bits)
    }
  }

  private static func groups(_ high: UInt64, _ low: UInt64) -> [UInt16] {
    (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> UInt64((3 - $0 % 4) * 16)) }
  }

  private static func describe(groups: [UInt16]) -> String {
    // RFC 5952 §4.2: the longest run of at least two zero groups, the first of equals, becomes "::".
    var best = 0..<0
    var start = 0
    while start < 8 {
      guard groups[start] == 0 else {
        start += 1
        continue
      }
      var end = start
      while end < 8, groups[end] == 0 { end += 1 }
      if end - start > max(best.count, 1) { best = start..<end }
      start = end
    }
    let hex = groups.map { String($0, radix: 16) }
    guard !best.isEmpty else { return hex.joined(separator: ":") }
    return hex[..<best.lowerBound].joined(separator: ":") + "::" + hex[best.upperBound...].joined(separator: ":")
  }

  private static func parseV4(_ text: some StringProtocol) -> UInt32? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bits: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        part.utf8.count == 1 || part.utf8.first != 0x30, let value = UInt8(part)
      else { return nil }
      bits = bits << 8 | UInt32(value)
    }
    return bits
  }

  private static func parseV6(_ text: some StringProtocol) -> IPAddress? {
    let zoned = text.split(separator: "%", omittingEmptySubsequences: false)
    guard zoned.count <= 2 else { return nil }
    var zone: UInt32 = 0
    if zoned.count == 2 {
      guard let number = UInt32(zoned[1]) else { return nil }
      zone = number
    }
    // At most one "::" splits the groups; three colons in a row leave an empty group, which is refused.
    var halves: [[UInt16]] = []
    for half in splitOnDoubleColon(zoned[0]) {
      guard let groups = parseGroups(half) else { return nil }
      halves.append(groups)
    }
    var groups: [UInt16]
    switch halves.count {
    case 1: groups = halves[0]
    case 2 where halves[0].count + halves[1].count <= 7:
      groups = halves[0] + [UInt16](repeating: 0, count: 8 - halves[0].count - halves[1].count) + halves[1]
    default: return nil
    }
    guard groups.count == 8 else { return nil }
    let high = groups[..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
    let low = groups[4...].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
    return .v6(high, low, zone: zone)
  }

  private static func splitOnDoubleColon(_ text: some StringProtocol) -> [String] {
    let utf8 = Array(text.utf8)
    var parts: [String] = []
    var start = 0
    var i = 0
    while i + 1 < utf8.count {
      if utf8[i] == 0x3a, utf8[i + 1] == 0x3a {
        parts.append(String(decoding: utf8[start..<i], as: UTF8.self))
        i += 2
        start = i
      } else {
        i += 1
      }
    }
    parts.append(String(decoding: utf8[start...], as: UTF8.self))
    return parts
  }

  private static func parseGroups(_ text: String) -> [UInt16]? {
    guard !text.isEmpty else { return [] }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count <= 8 else { return nil }
    var groups: [UInt16] = []
    for (index, part) in parts.enumerated() {
      if index == parts.count - 1, part.contains("."), let v4 = parseV4(part) {
        groups += [UInt16(v4 >> 16), UInt16(v4 & 0xffff)]
      } else {
        guard (1...4).contains(part.utf8.count), part.utf8.first != 0x2b, part.utf8.first != 0x2d,
          let value = UInt16(part, radix: 16)
        else { return nil }
        groups.append(value)
      }
    }
    return groups
  }
}

extension SocketAddress: CustomStringConvertible {
  /// `192.0.2.1:5000`, or `[2001:db8::1]:5000`.
  public var description: String { ip.isV4 ? "\(ip):\(port)" : "[\(ip)]:\(port)" }

  /// Reads `ADDRESS:PORT` or `[ADDRESS]:PORT`; nil for anything else.
  public init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard let ip = IPAddress(host) else { return nil }
    self.init(ip: ip, port: port)
  }
}
