// JSONFields.swift — reads and writes the members of messages. Reading yields nil for a member of another type.

package import Signaling

package typealias JSONFields = [String: JSONValue]

extension JSONValue {
  static func number(_ value: Int64) -> JSONValue { .integer(Int(value)) }

  /// An integer that every JSON implementation agrees on; 1.0 is one, 1e308 is not.
  var safeInteger: Int64? {
    guard let value = intValue, abs(Double(value)) <= Double(SwarmLimits.maximumSafeInteger) else { return nil }
    return Int64(value)
  }

  /// Its length as JSON text in UTF-16 code units, which is how the references measure.
  var unitCount: Int { text.utf16.count }
}

extension Dictionary where Key == String, Value == JSONValue {
  /// A non-empty string short enough for an id.
  func id(_ key: String) -> String? {
    guard let text = self[key]?.stringValue, (1...SwarmLimits.maximumIDBytes).contains(text.utf8.count) else {
      return nil
    }
    return text
  }

  func text(_ key: String) -> String? { self[key]?.stringValue }
  func integer(_ key: String) -> Int64? { self[key]?.safeInteger }
  func strings(_ key: String) -> [String]? { self[key]?.arrayValue?.compactMap(\.stringValue) }
}

/// Lower-case hex, as `sha256` and transfer ids are written.
func hexText(_ bytes: some Sequence<UInt8>) -> String {
  var text = ""
  for byte in bytes {
    text.append(hexDigits[Int(byte >> 4)])
    text.append(hexDigits[Int(byte & 15)])
  }
  return text
}

func bytes(hexText text: String) -> [UInt8]? {
  let digits = text.utf8.map { digit -> UInt8? in
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }
  guard digits.count % 2 == 0 else { return nil }
  var bytes: [UInt8] = []
  for i in stride(from: 0, to: digits.count, by: 2) {
    guard let high = digits[i], let low = digits[i + 1] else { return nil }
    bytes.append(high << 4 | low)
  }
  return bytes
}

private let hexDigits = Array("0123456789abcdef")
