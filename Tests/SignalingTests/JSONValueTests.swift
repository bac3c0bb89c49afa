// JSONValueTests.swift — the JSON reader and writer, against what JavaScript's JSON.parse and JSON.stringify do.

import Signaling
import Testing

@Suite struct JSONValueTests {
  @Test("reads every kind of value")
  func everyKind() throws {
    let text = #" { "a" : [ null , true , false , 0 , -12 , 3.5 , 1e3 , "x" ] , "b" : { } , "c" : [ ] } "#
    let value = try JSONValue(parsing: text)
    #expect(value == ["a": [nil, true, false, 0, -12, 3.5, 1000.0, "x"], "b": [:], "c": []])
    #expect(value.text == #"{"a":[null,true,false,0,-12,3.5,1000.0,"x"],"b":{},"c":[]}"#)
  }

  @Test(
    "refuses what JSON.parse refuses, with a typed error",
    arguments: [
      "", " ", "{", "[", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "'a'", "nul", "nulL", "tru",
      "01", "-",
      "+1", ".5", "1.", "1e", "1e+", "--1", "0x10", "NaN", "Infinity", "\"", "\"\\", "\"\\x\"", "\"\\u12\"",
      "\"\\u12g4\"",
      "\"a\nb\"", "\"a\u{1}b\"", "1 2", "[] []", "{\"a\":1}}", "\u{FEFF}1", "]", "}", ":", ",",
    ])
  func refused(text: String) {
    #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
  }

  @Test("every prefix of a document is refused, and nothing traps")
  func truncatedAtEveryLength() throws {
    let text = Array(#"{"k\u00e9\ud83d\ude00":[-1.5e-3,"\ud800x",true,null,{"s":"ü\n"}]}"#.utf8)
    let whole = try JSONValue(utf8: text)
    #expect(try JSONValue(utf8: whole.utf8Bytes) == whole)
    for length in text.indices {
      #expect(throws: JSONError.self, "\(length) bytes") { try JSONValue(utf8: Array(text[..<length])) }
    }
  }

  @Test("every single changed byte gives a value or a typed error, and a value survives writing and reading")
  func everyByteChanged() throws {
    let text = Array(#"{"a":[-1.5e-3,"\ud83d\ude00\n",true],"b":{"c":null}}"#.utf8)
    var accepted = 0
    for index in text.indices {
      for byte in UInt8.min...UInt8.max {
        var changed = text
        changed[index] = byte
        let value: JSONValue
        do { value = try JSONValue(utf8: changed) } catch { continue }
        accepted += 1
        #expect(try JSONValue(utf8: value.utf8Bytes) == value)
      }
    }
    #expect(accepted > text.count)  // at least each text itself
  }

  @Test("text that is not UTF-8 is refused where it stands")
  func invalidUTF8() {
    for bytes: [UInt8] in [[0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xC0, 0x80], [0xF4, 0x90, 0x80, 0x80]] {
      #expect(throws: JSONError.invalidUTF8(offset: 2)) { try JSONValue(utf8: [0x22, 0x61] + bytes + [0x22]) }
    }
  }

  @Test("escapes become their characters, pairs of surrogates one character")
  func escapes() throws {
    #expect(
      try JSONValue(parsing: #""\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00""#)
        == .string("\"\\/\u{8}\u{c}\n\r\tAé€😀"))
    #expect(try JSONValue(parsing: "\"😀\"") == .string("😀"))
    #expect(
      JSONValue.string("\u{0}\u{1f}\"\\/\u{7f}\u{2028}é\n").text == "\"\\u0000\\u001f\\\"\\\\/\u{7f}\u{2028}é\\n\"")
  }

  @Test("a lone surrogate survives, and two chunks of a cut pair join")
  func loneSurrogates() throws {
    let first = try JSONValue(parsing: #""abc\ud83d""#)
    let second = try JSONValue(parsing: #""\ude00déf""#)
    #expect(first == .utf16(Array("abc".utf16) + [0xD83D]))
    #expect(first.text == #""abc\ud83d""#)
    #expect(second.text == #""\ude00déf""#)
    #expect(first.stringValue == "abc\u{FFFD}")
    let units = try #require(first.utf16Units) + (try #require(second.utf16Units))
    #expect(JSONValue.string(units: units) == .string("abc😀déf"))
    for text in [#""\ud800\ud800""#, #""\udc00\ud800""#, #""\ud83d\u0041""#, #""\ud83dA😀\udc00""#] {
      #expect(try JSONValue(parsing: text) != .string(""))
      #expect(try JSONValue(utf8: JSONValue(parsing: text).utf8Bytes) == JSONValue(parsing: text))
    }
    #expect(try JSONValue(parsing: #""\ud800\ud83d\ude00""#).text == "\"\\ud800😀\"")
    #expect(try JSONValue(parsing: #"{"\ud800":1}"#) == ["\u{FFFD}": 1])
  }

  @Test("numbers keep their value and their kind")
  func numbers() throws {
    #expect(try JSONValue(parsing: "9223372036854775807") == .integer(.max))
    #expect(try JSONValue(parsing: "-9223372036854775808") == .integer(.min))
    #expect(try JSONValue(parsing: "9223372036854775808") == .double(9223372036854775808))
    #expect(try JSONValue(parsing: "1e308").doubleValue == 1e308)
    #expect(try JSONValue(parsing: "1e-400").doubleValue == 0)
    #expect(throws: JSONError.numberOutOfRange(offset: 1)) { try JSONValue(parsing: "[1e309]") }
    #expect(try JSONValue(parsing: "1.0").intValue == 1)
    #expect(try JSONValue(parsing: "1.5").intValue == nil)
    #expect(try JSONValue(parsing: "1e300").intValue == nil)
    #expect(JSONValue.double(.infinity).text == "null" && JSONValue.double(.nan).text == "null")
    for number in [0.1, -0.0, 1e21, 1.7976931348623157e308, 123456789.123] {
      let text = JSONValue.double(number).text
      #expect(try JSONValue(parsing: text) == .double(number), "\(text)")
    }
  }

  @Test("depth and size are bounded")
  func bounds() throws {
    func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    let limits = JSONLimits(byteCount: 300, depth: 10)
    #expect(try JSONValue(parsing: nested(10), limits: limits) != .null)
    #expect(throws: JSONError.tooDeep(limit: 10)) { try JSONValue(parsing: nested(11), limits: limits) }
    #expect(throws: JSONError.tooDeep(limit: 64)) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
    #expect(throws: JSONError.tooDeep(limit: 64)) {
      try JSONValue(parsing: String(repeating: "{\"a\":", count: 100_000))
    }
    #expect(throws: JSONError.tooLarge(limit: 300)) {
      try JSONValue(parsing: "\"" + String(repeating: "a", count: 299) + "\"", limits: limits)
    }
  }

  @Test("of equal names the last one wins")
  func duplicateNames() throws {
    #expect(try JSONValue(parsing: #"{"a":1,"a":2}"#) == ["a": 2])
    #expect(["a": 1, "a": 2] as JSONValue == ["a": 2])
  }

  @Test("reading and changing a value is short")
  func accessors() throws {
    var value: JSONValue = ["list": [1, "two"], "flag": false, "none": nil]
    #expect(value["list"]?[1]?.stringValue == "two")
    #expect(value["list"]?[2] == nil && value["list"]?[-1] == nil && value["absent"] == nil && value[0] == nil)
    #expect(value["none"] == .null && value["none"]?.isTruthy == false && value["flag"]?.isTruthy == false)
    value["list"] = .strings(["a", "b"])
    value["flag"] = nil
    #expect(value.text == #"{"list":["a","b"],"none":null}"#)
    #expect(value["list"]?.stringArrayValue == ["a", "b"])
    #expect((["a", 1] as JSONValue).stringArrayValue == nil)
    value["list"]?["a"] = 1  // no object: nothing happens
    #expect(value["list"] == ["a", "b"])
    #expect(("" as JSONValue).isTruthy == false && (0 as JSONValue).isTruthy == false && ([] as JSONValue).isTruthy)
  }
}
