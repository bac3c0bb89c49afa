// Vectors.swift — finds and reads the byte vectors in `Vectors/`.

public import Foundation
public import Testing

public enum Vectors {
  /// The folder `Vectors/` of this package.
  public static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Vectors", isDirectory: true)

  public static func text(_ name: String) throws -> String {
    try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
  }
}

/// The bytes that hexadecimal text spells; spaces and line ends do not count. Nil when a digit is wrong or missing.
public func bytes(hex: some StringProtocol) -> [UInt8]? {
  let digits = hex.filter { !$0.isWhitespace }
  guard digits.count.isMultiple(of: 2) else { return nil }
  var result: [UInt8] = []
  var rest = Substring(digits)
  while !rest.isEmpty {
    guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
    result.append(byte)
    rest = rest.dropFirst(2)
  }
  return result
}

/// One record of a vector file: its name and its `key = value` lines. Hex blocks below a key that ends in `=` belong to
/// that key.
public struct VectorRecord: Sendable, CustomTestStringConvertible {
  public var name: String
  public var values: [String: String] = [:]
  public var testDescription: String { name }

  /// The bytes of the first key that starts with `prefix`.
  public func bytes(_ prefix: String) -> [UInt8]? {
    values.first { $0.key.hasPrefix(prefix) }.flatMap { TestSupport.bytes(hex: $0.value) }
  }

  /// Reads the records of a file in `Vectors/` that are written as `name:` and `key = value` lines.
  public static func read(_ file: String) throws -> [VectorRecord] {
    var records: [VectorRecord] = []
    var openKey: String?
    for line in try Vectors.text(file).split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("#") { continue }
      if line.isEmpty {
        openKey = nil
      } else if line.hasPrefix("name:") {
        records.append(VectorRecord(name: line.dropFirst(5).trimmingCharacters(in: .whitespaces)))
        openKey = nil
      } else if !records.isEmpty, let equals = line.range(of: " =") {
        let key = String(line[..<equals.lowerBound])
        records[records.count - 1].values[key] = line[equals.upperBound...].trimmingCharacters(in: .whitespaces)
        openKey = key
      } else if !records.isEmpty, let openKey {
        records[records.count - 1].values[openKey, default: ""] += line
      }
    }
    return records
  }
}
