// JSONParser.swift — JSON text (RFC 8259) to JSONValue, bounded in bytes and in depth.
//
// Accepts exactly what JavaScript's `JSON.parse` accepts, short of the limits and of numbers no Double holds. Each byte
// is looked at a constant number of times, and memory stays proportional to the input. Wrong input is a `JSONError`.

/// What is wrong with a text that should have been JSON; offsets count bytes.
public enum JSONError: Error, Hashable, Sendable {
  case tooLarge(limit: Int)
  case tooDeep(limit: Int)
  case unexpectedEnd
  case unexpectedByte(offset: Int)
  case invalidEscape(offset: Int)
  case invalidUTF8(offset: Int)
  case numberOutOfRange(offset: Int)
}

/// How much a parser takes from a stranger.
public struct JSONLimits: Hashable, Sendable {
  /// Longer texts are refused before they are read.
  public var byteCount: Int
  /// Arrays and objects inside each other; each level costs a stack frame.
  public var depth: Int

  public init(byteCount: Int = 1 << 20, depth: Int = 64) {
    self.byteCount = byteCount
    self.depth = depth
  }
}

extension JSONValue {
  public init(utf8 bytes: Span<UInt8>, limits: JSONLimits = JSONLimits()) throws(JSONError) {
    guard bytes.count <= limits.byteCount else { throw .tooLarge(limit: limits.byteCount) }
    var parser = JSONParser(bytes, depth: limits.depth)
    self = try parser.readDocument()
  }

  public init(utf8 bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(JSONError) {
    try self.init(utf8: bytes.span, limits: limits)
  }

  public init(parsing text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) {
    try self.init(utf8: Array(text.utf8), limits: limits)
  }
}

private struct JSONParser: ~Escapable {
  private let bytes: Span<UInt8>
  private var offset = 0
  private let depth: Int

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>, depth: Int) {
    self.bytes = bytes
    self.depth = depth
  }

  @_lifetime(self: copy self)
  mutating func readDocument() throws(JSONError) -> JSONValue {
    let value = try readValue(level: 0)
    skipSpace()
    guard offset == bytes.count else { throw .unexpectedByte(offset: offset) }
    return value
  }

  // MARK: Values

  @_lifetime(self: copy self)
  private mutating func readValue(level: Int) throws(JSONError) -> JSONValue {
    skipSpace()
    switch try peek() {
    case UInt8(ascii: "{"): return try readObject(level: level)
    case UInt8(ascii: "["): return try readArray(level: level)
    case UInt8(ascii: "\""): return try readString()
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try readNumber()
    case UInt8(ascii: "t"):
      try expect("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try expect("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try expect("null")
      return .null
    default: throw .unexpectedByte(offset: offset)
    }
  }

  @_lifetime(self: copy self)
  private mutating func readObject(level: Int) throws(JSONError) -> JSONValue {
    guard level < depth else { throw .tooDeep(limit: depth) }
    offset += 1
    var members: [String: JSONValue] = [:]
    skipSpace()
    if try skip(UInt8(ascii: "}")) { return .object(members) }
    while true {
      skipSpace()
      guard try peek() == UInt8(ascii: "\"") else { throw .unexpectedByte(offset: offset) }
      let name = try readString().stringValue ?? ""
      skipSpace()
      guard try skip(UInt8(ascii: ":")) else { throw .unexpectedByte(offset: offset) }
      members[name] = try readValue(level: level + 1)
      skipSpace()
      if try skip(UInt8(ascii: ",")) { continue }
      if try skip(UInt8(ascii: "}")) { return .object(members) }
      throw .unexpectedByte(offset: offset)
    }
  }

  @_lifetime(self: copy self)
  private mutating func readArray(level: Int) throws(JSONError) -> JSONValue {
    guard level < depth else { throw .tooDeep(limit: depth) }
    offset += 1
    var values: [JSONValue] = []
    skipSpace()
    if try skip(UInt8(ascii: "]")) { return .array(values) }
    while true {
      values.append(try readValue(level: level + 1))
      skipSpace()
      if try skip(UInt8(ascii: ",")) { continue }
      if try skip(UInt8(ascii: "]")) { return .array(values) }
      throw .unexpectedByte(offset: offset)
    }
  }

  // MARK: Numbers

  @_lifetime(self: copy self)
  private mutating func readNumber() throws(JSONError) -> JSONValue {
    let start = offset
    var isWhole = true
    _ = try skip(UInt8(ascii: "-"))
    if try !skip(UInt8(ascii: "0")) { try readDigits() }  // no digit may follow a leading zero
    if nextIs(UInt8(ascii: ".")) {
      isWhole = false
      offset += 1
      try readDigits()
    }
    if nextIs(UInt8(ascii: "e")) || nextIs(UInt8(ascii: "E")) {
      isWhole = false
      offset += 1
      if nextIs(UInt8(ascii: "+")) || nextIs(UInt8(ascii: "-")) { offset += 1 }
      try readDigits()
    }
    let text = try text(from: start, to: offset)
    if isWhole, let value = Int(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else { throw .numberOutOfRange(offset: start) }
    return .double(value)
  }

  @_lifetime(self: copy self)
  private mutating func readDigits() throws(JSONError) {
    guard Self.isDigit(try peek()) else { throw .unexpectedByte(offset: offset) }
    while offset < bytes.count, Self.isDigit(bytes[offset]) { offset += 1 }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  // MARK: Strings

  @_lifetime(self: copy self)
  private mutating func readString() throws(JSONError) -> JSONValue {
    offset += 1
    let start = offset
    try skipPlainText()
    if try skip(UInt8(ascii: "\"")) { return .string(try text(from: start, to: offset - 1)) }

    // There is an escape. Until a lone surrogate shows up the string is gathered as Swift text.
    var gathered = try text(from: start, to: offset)
    var units: [UInt16]?
    while true {
      if try skip(UInt8(ascii: "\"")) {
        guard let units else { return .string(gathered) }
        return .string(units: units)  // two halves may have met after all
      }
      if try peek() == UInt8(ascii: "\\") {
        let unit = try readEscape()
        if units == nil, let scalar = try pairedScalar(unit) {
          gathered.unicodeScalars.append(scalar)
        } else {
          var all = units ?? Array(gathered.utf16)
          units = nil
          all.append(unit)
          units = all
        }
      } else {
        let start = offset
        try skipPlainText()
        let plain = try text(from: start, to: offset)
        if units == nil { gathered += plain } else { units?.append(contentsOf: plain.utf16) }
      }
    }
  }

  /// The scalar of `unit`, together with the escaped low surrogate that may follow it; nil for a lone surrogate.
  @_lifetime(self: copy self)
  private mutating func pairedScalar(_ unit: UInt16) throws(JSONError) -> Unicode.Scalar? {
    if let scalar = Unicode.Scalar(unit) { return scalar }
    guard unit < 0xDC00, nextIs(UInt8(ascii: "\\")) else { return nil }
    let before = offset
    let low = try readEscape()
    guard (0xDC00...0xDFFF).contains(low) else {
      offset = before
      return nil
    }
    return Unicode.Scalar(0x10000 + (UInt32(unit & 0x3FF) << 10) + UInt32(low & 0x3FF))
  }

  @_lifetime(self: copy self)
  private mutating func readEscape() throws(JSONError) -> UInt16 {
    let start = offset
    offset += 1
    let kind = try peek()
    offset += 1
    switch kind {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UInt16(kind)
    case UInt8(ascii: "b"): return 0x08
    case UInt8(ascii: "f"): return 0x0C
    case UInt8(ascii: "n"): return 0x0A
    case UInt8(ascii: "r"): return 0x0D
    case UInt8(ascii: "t"): return 0x09
    case UInt8(ascii: "u"):
      var unit: UInt16 = 0
      for _ in 0..<4 {
        guard let digit = Self.hexValue(try peek()) else { throw .invalidEscape(offset: start) }
        unit = unit << 4 | digit
        offset += 1
      }
      return unit
    default: throw .invalidEscape(offset: start)
    }
  }

  private static func hexValue(_ byte: UInt8) -> UInt16? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt16(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  /// Moves to the next quote or backslash; a bare control character is an error.
  @_lifetime(self: copy self)
  private mutating func skipPlainText() throws(JSONError) {
    while true {
      let byte = try peek()
      if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return }
      guard byte >= 0x20 else { throw .unexpectedByte(offset: offset) }
      offset += 1
    }
  }

  private func text(from start: Int, to end: Int) throws(JSONError) -> String {
    do {
      return String(copying: try UTF8Span(validating: bytes.extracting(start..<end)))
    } catch {
      throw .invalidUTF8(offset: start + error.byteOffsets.lowerBound)
    }
  }

  // MARK: Bytes

  private func peek() throws(JSONError) -> UInt8 {
    guard offset < bytes.count else { throw .unexpectedEnd }
    return bytes[offset]
  }

  private func nextIs(_ byte: UInt8) -> Bool { offset < bytes.count && bytes[offset] == byte }

  /// Steps over `byte` if it is next; an error at the end of the text.
  @_lifetime(self: copy self)
  private mutating func skip(_ byte: UInt8) throws(JSONError) -> Bool {
    guard try peek() == byte else { return false }
    offset += 1
    return true
  }

  @_lifetime(self: copy self)
  private mutating func expect(_ word: StaticString) throws(JSONError) {
    for index in 0..<word.utf8CodeUnitCount {
      guard try peek() == (unsafe word.utf8Start[index]) else { throw .unexpectedByte(offset: offset) }
      offset += 1
    }
  }

  @_lifetime(self: copy self)
  private mutating func skipSpace() {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x09, 0x0A, 0x0D: offset += 1
      default: return
      }
    }
  }
}
