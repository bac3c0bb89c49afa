// JSONCodableTests.swift — a JSONValue inside somebody's Codable type, through Foundation's coders.

import Foundation
import Signaling
import Testing

@Suite struct JSONCodableTests {
  struct Holder: Codable, Equatable {
    var payload: JSONValue
    var more: [String: JSONValue]
  }

  @Test("survives Foundation's coders in a Codable type")
  func roundTrip() throws {
    let holder = Holder(
      payload: ["a": [1, 2.5, true, nil, "x", ["y": []]]], more: ["n": .integer(.max), "s": "é😀", "b": false])
    let data = try JSONEncoder().encode(holder)
    #expect(try JSONDecoder().decode(Holder.self, from: data) == holder)
  }

  @Test("agrees with Foundation's reader on a document that both can read")
  func agrees() throws {
    let text =
      #"{"sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n","n":[0,-1,1.25,1e3],"u":"\u00e9\ud83d\ude00","t":true,"z":null}"#
    let ours = try JSONValue(parsing: text)
    #expect(try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))["sdp"] == ours["sdp"])
    let theirs = try #require(try JSONSerialization.jsonObject(with: Data(ours.utf8Bytes)) as? NSDictionary)
    let reference = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? NSDictionary)
    #expect(theirs == reference)
  }
}
