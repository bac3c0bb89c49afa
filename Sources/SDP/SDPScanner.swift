// SDPScanner.swift — cuts a description into lines (RFC 8866 §5), within limits, in linear time.
//
// Lines end with CR LF or with LF alone; empty lines are skipped. No line that is handed on contains a control
// character, so nothing read from a description can add a line to one that is written.

/// One line `<type>=<value>`.
struct SDPLine {
  /// Counted from 1.
  let number: Int
  let type: UInt8
  let value: Substring
}

struct SDPScanner {
  private var rest: Substring.UTF8View
  private var number = 0
  private let maximumLineLength: Int

  init(_ text: String, limits: SDPLimits) throws(SDPError) {
    guard text.utf8.count <= limits.maximumLength else { throw .tooLong }
    var (lines, sections, atStart) = (1, 0, true)
    for byte in text.utf8 {
      if byte == UInt8(ascii: "\n") { lines += 1 }
      if atStart, byte == UInt8(ascii: "m") { sections += 1 }
      atStart = byte == UInt8(ascii: "\n")
    }
    guard lines <= limits.maximumLines else { throw .tooManyLines }
    guard sections <= limits.maximumSections else { throw .tooManySections }
    rest = text[...].utf8
    maximumLineLength = limits.maximumLineLength
  }

  /// The next line; nil at the end.
  mutating func next() throws(SDPError) -> SDPLine? {
    while !rest.isEmpty {
      number += 1
      var line = rest.prefix { $0 != UInt8(ascii: "\n") }
      rest = rest[line.endIndex...].dropFirst()
      if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
      if line.isEmpty { continue }
      guard line.count <= maximumLineLength else { throw .lineTooLong(line: number) }
      guard !line.contains(where: isControl) else { throw .controlCharacter(line: number) }
      guard let type = line.first, isLowercase(type), line.dropFirst().first == UInt8(ascii: "=") else {
        throw .malformedLine(line: number)
      }
      return SDPLine(number: number, type: type, value: Substring(line.dropFirst(2)))
    }
    return nil
  }
}

func isControl(_ byte: UInt8) -> Bool { byte < 0x20 || byte == 0x7f }
func isLowercase(_ byte: UInt8) -> Bool { UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte }
func isAlphanumeric(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "a")...UInt8(ascii: "z"):
    true
  default: false
  }
}

/// The words of a line, separated by any number of spaces.
func words(_ text: some StringProtocol) -> [String] {
  Substring(text).utf8.split(separator: UInt8(ascii: " ")).map { String(Substring($0)) }
}

/// A decimal number without sign, spaces or anything else around it; nil also when it does not fit.
func decimal<Number: FixedWidthInteger>(_ text: some StringProtocol, as type: Number.Type = Number.self) -> Number? {
  guard let first = text.utf8.first, UInt8(ascii: "0")...UInt8(ascii: "9") ~= first else { return nil }
  return Number(text)
}
