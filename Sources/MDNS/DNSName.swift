// DNSName.swift — a domain name as DNS messages carry it (RFC 1035 §3.1, §4.1.4; compared as RFC 6762 §16 asks).
//
// Invariant: `bytes` are labels of 1…63 bytes, each after its length, and the empty label at the end; at most 255 bytes
// together, with A–Z made lower case. So two names are the same when their bytes are.

package import Wire

package struct DNSName: Hashable, Sendable {
  package private(set) var bytes: [UInt8]

  /// A name in the usual text form, as `7c4b….local`; nil when a label is empty or longer than 63 bytes, the whole is
  /// longer than 255, or a byte is no printable ASCII.
  package init?(_ text: some StringProtocol) {
    var bytes: [UInt8] = []
    let trimmed = text.hasSuffix(".") ? text.dropLast() : text[...]
    for label in trimmed.split(separator: ".", omittingEmptySubsequences: false) {
      guard (1...Self.maximumLabel).contains(label.utf8.count), label.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
      else { return nil }
      bytes.append(UInt8(label.utf8.count))
      for byte in label.utf8 { bytes.append(Self.lowercased(byte)) }
    }
    bytes.append(0)
    guard bytes.count <= Self.maximumLength else { return nil }
    self.bytes = bytes
  }

  /// Reads the name at `offset` of a whole message, and moves `offset` behind it.
  ///
  /// A compression pointer must lead backwards, to before everything that was read of this name: so the walk ends.
  package init(reading message: RawSpan, at offset: inout Int) throws(Malformed) {
    var bytes: [UInt8] = []
    var position = offset
    var earliest = offset
    var end: Int?
    while true {
      guard position < message.byteCount else { throw .truncated }
      let length = message.byte(at: position)
      switch length {
      case 0:
        bytes.append(0)
        offset = end ?? position + 1
        self.bytes = bytes
        return
      case 1...UInt8(Self.maximumLabel):
        let next = position + 1 + Int(length)
        guard next <= message.byteCount else { throw .truncated }
        guard bytes.count + Int(length) + 2 <= Self.maximumLength else { throw .badLength }
        bytes.append(length)
        for index in (position + 1)..<next { bytes.append(Self.lowercased(message.byte(at: index))) }
        position = next
      case 0xc0...0xff:
        guard position + 1 < message.byteCount else { throw .truncated }
        let target = Int(message.uint16(at: position) & 0x3fff)
        guard target < earliest else { throw .badValue }
        if end == nil { end = position + 2 }
        earliest = target
        position = target
      default: throw .badValue  // 0x40 and 0x80 were never assigned
      }
    }
  }

  /// Whether the last label is `local`, and there is one before it: the names that mDNS answers for (RFC 6762 §3).
  package var isLocal: Bool {
    let suffix: [UInt8] = [5, 0x6c, 0x6f, 0x63, 0x61, 0x6c, 0]
    guard bytes.count > suffix.count, bytes.suffix(suffix.count).elementsEqual(suffix) else { return false }
    // The suffix must begin where a label does, which bytes within one could pretend.
    var position = 0
    while bytes[position] != 0 {
      if position == bytes.count - suffix.count { return true }
      position += 1 + Int(bytes[position])
    }
    return false
  }

  private static func lowercased(_ byte: UInt8) -> UInt8 { (0x41...0x5a).contains(byte) ? byte | 0x20 : byte }

  private static let maximumLabel = 63
  private static let maximumLength = 255
}

extension DNSName: CustomStringConvertible {
  /// The text form without the last dot; bytes that are not printable ASCII, and dots within a label, as `\DDD`
  /// (RFC 1035 §5.1).
  package var description: String {
    var text = ""
    var position = 0
    while position < bytes.count, bytes[position] != 0 {
      if position > 0 { text += "." }
      let end = position + 1 + Int(bytes[position])
      for byte in bytes[(position + 1)..<end] {
        if (0x21...0x7e).contains(byte), byte != 0x2e, byte != 0x5c {
          text.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
          text += "\\" + String(repeating: "0", count: byte < 10 ? 2 : byte < 100 ? 1 : 0) + "\(byte)"
        }
      }
      position = end
    }
    return text
  }

  /// A fresh name that tells nothing: a version 4 UUID below `local` (draft-ietf-mmusic-mdns-ice-candidates §3.1.1).
  package static func random(using random: inout RandomSource) -> DNSName {
    let high = random.next() & 0xffff_ffff_ffff_0fff | 0x4000
    let low = random.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
    let digits = hex(high) + hex(low)
    var text = ""
    for (index, digit) in digits.enumerated() {
      if [8, 12, 16, 20].contains(index) { text += "-" }
      text.append(digit)
    }
    guard let name = DNSName(text + ".local") else { preconditionFailure("a UUID is a label of 36 letters") }
    return name
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
