// JSONWriter.swift — a JSONValue as compact UTF-8 text.
//
// The text is the same for equal values (members are sorted by name), has no space in it, escapes what JavaScript's
// `JSON.stringify` escapes and nothing else, and every number reads back as the same case with the same value.

extension JSONValue: CustomStringConvertible {
  /// The value as JSON text.
  public var text: String { String(decoding: utf8Bytes, as: UTF8.self) }
  public var description: String { text }

  /// The value as JSON text in UTF-8.
  public var utf8Bytes: [UInt8] {
    var out: [UInt8] = []
    write(to: &out)
    return out
  }

  private func write(to out: inout [UInt8]) {
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): out.append(contentsOf: value.description.utf8)
    case .double(let value):
      // JSON has no word for infinity; JSON.stringify writes null too.
      out.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
    case .string(let value): Self.write(value, to: &out)
    case .utf16(let units): Self.write(units, to: &out)
    case .array(let values):
      out.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        value.write(to: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let members):
      out.append(UInt8(ascii: "{"))
      for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        Self.write(member.key, to: &out)
        out.append(UInt8(ascii: ":"))
        member.value.write(to: &out)
      }
      out.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ string: String, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    out.reserveCapacity(out.count + string.utf8.count)
    for byte in string.utf8 { writeEscaped(byte, to: &out) }
    out.append(UInt8(ascii: "\""))
  }

  /// Pairs become one UTF-8 sequence; a lone surrogate becomes its `\uXXXX`.
  private static func write(_ units: [UInt16], to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    var index = 0
    while index < units.count {
      let unit = units[index]
      index += 1
      guard let scalar = Unicode.Scalar(unit) else {
        if unit < 0xDC00, index < units.count, let low = lowSurrogate(units[index]) {
          index += 1
          appendUTF8(0x10000 + (UInt32(unit & 0x3FF) << 10) + low, to: &out)
        } else {
          writeUnicodeEscape(unit, to: &out)
        }
        continue
      }
      if scalar.isASCII { writeEscaped(UInt8(unit), to: &out) } else { appendUTF8(UInt32(unit), to: &out) }
    }
    out.append(UInt8(ascii: "\""))
  }

  private static func lowSurrogate(_ unit: UInt16) -> UInt32? {
    (0xDC00...0xDFFF).contains(unit) ? UInt32(unit & 0x3FF) : nil
  }

  private static func appendUTF8(_ value: UInt32, to out: inout [UInt8]) {
    guard let scalar = Unicode.Scalar(value) else { return }
    out.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
  }

  private static func writeEscaped(_ byte: UInt8, to out: inout [UInt8]) {
    switch byte {
    case UInt8(ascii: "\""): out.append(contentsOf: #"\""#.utf8)
    case UInt8(ascii: "\\"): out.append(contentsOf: #"\\"#.utf8)
    case 0x08: out.append(contentsOf: #"\b"#.utf8)
    case 0x09: out.append(contentsOf: #"\t"#.utf8)
    case 0x0A: out.append(contentsOf: #"\n"#.utf8)
    case 0x0C: out.append(contentsOf: #"\f"#.utf8)
    case 0x0D: out.append(contentsOf: #"\r"#.utf8)
    case 0..<0x20: writeUnicodeEscape(UInt16(byte), to: &out)
    default: out.append(byte)
    }
  }

  private static func writeUnicodeEscape(_ unit: UInt16, to out: inout [UInt8]) {
    out.append(contentsOf: #"\u"#.utf8)
    for shift in [12, 8, 4, 0] {
      let digit = UInt8(truncatingIfNeeded: unit >> UInt16(shift)) & 0xF
      out.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}
