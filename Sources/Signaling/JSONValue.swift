// JSONValue.swift — one JSON value (RFC 8259) as signalling and the swarm's channels carry it.
//
// Why not Foundation's decoder: it refuses a string that holds half a surrogate pair, and browsers send such strings
// (a page cuts an artifact's text between any two UTF-16 units). Here no text that JavaScript can write is lost:
// what a `String` cannot hold stays UTF-16. Parsing is bounded in bytes and depth, see JSONParser.swift.

public enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  /// A number written without fraction and exponent that fits 64 bits.
  case integer(Int)
  /// Any other number; always finite when it was parsed.
  case double(Double)
  case string(String)
  /// A string with a lone surrogate in it. Made only by the parser and `string(units:)`, and only where it is needed.
  case utf16([UInt16])
  case array([JSONValue])
  /// Of equal names the last one won. A lone surrogate in a *name* became U+FFFD.
  case object([String: JSONValue])

  /// The string of these UTF-16 code units, paired or not.
  public static func string(units: some Collection<UInt16>) -> JSONValue {
    if let text = String(validating: units, as: UTF16.self) { return .string(text) }
    return .utf16(Array(units))
  }
}

// MARK: Reading

extension JSONValue {
  public var isNull: Bool { self == .null }

  public var boolValue: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  /// The number when it is a whole one that fits 64 bits, however it was written (`1`, `1.0` and `1e0` are one number).
  public var intValue: Int? {
    switch self {
    case .integer(let value): value
    case .double(let value): Int(exactly: value)
    default: nil
    }
  }

  public var doubleValue: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The string; a lone surrogate in it reads as U+FFFD.
  public var stringValue: String? {
    switch self {
    case .string(let value): value
    case .utf16(let units): String(decoding: units, as: UTF16.self)
    default: nil
    }
  }

  /// The string's UTF-16 code units, exactly: what JavaScript's `length` and `slice` work on.
  public var utf16Units: [UInt16]? {
    switch self {
    case .string(let value): Array(value.utf16)
    case .utf16(let units): units
    default: nil
    }
  }

  public var arrayValue: [JSONValue]? {
    guard case .array(let value) = self else { return nil }
    return value
  }

  public var objectValue: [String: JSONValue]? {
    guard case .object(let value) = self else { return nil }
    return value
  }

  /// The strings of an array of strings; nil when this is no array or holds anything else.
  public var stringArrayValue: [String]? {
    guard case .array(let values) = self else { return nil }
    var strings: [String] = []
    strings.reserveCapacity(values.count)
    for value in values {
      guard let string = value.stringValue else { return nil }
      strings.append(string)
    }
    return strings
  }

  /// What JavaScript's `if (value)` decides; the reference implementations test for presence this way.
  public var isTruthy: Bool {
    switch self {
    case .null: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .double(let value): value != 0 && !value.isNaN
    case .string(let value): !value.isEmpty
    case .utf16, .array, .object: true
    }
  }

  /// A member of an object. Reading from anything else gives nil; assigning to anything but an object does nothing.
  public subscript(name: String) -> JSONValue? {
    get {
      guard case .object(let members) = self else { return nil }
      return members[name]
    }
    set {
      guard case .object(var members) = self else { return }
      self = .null  // so that `members` is the only owner and is changed in place
      members[name] = newValue
      self = .object(members)
    }
  }

  /// An element of an array; nil outside it and for anything but an array.
  public subscript(index: Int) -> JSONValue? {
    guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
    return elements[index]
  }
}

// MARK: Writing it in source code

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(nilLiteral: ()) { self = .null }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(integerLiteral value: Int) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(stringLiteral value: String) { self = .string(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  public init(dictionaryLiteral members: (String, JSONValue)...) {
    self = .object(Dictionary(members, uniquingKeysWith: { _, last in last }))
  }

  /// An array of strings, which a literal cannot make from a variable.
  public static func strings(_ strings: some Sequence<String>) -> JSONValue { .array(strings.map(JSONValue.string)) }
}

// MARK: Codable

extension JSONValue: Codable {
  public init(from decoder: any Decoder) throws {
    // A coder tells what a value is only by letting itself be asked: each failed attempt rules one kind out.
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .double(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  /// A lone surrogate is lost (U+FFFD): other coders have no way to carry it.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .double(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .utf16(let units): try container.encode(String(decoding: units, as: UTF16.self))
    case .array(let values): try container.encode(values)
    case .object(let members): try container.encode(members)
    }
  }
}
