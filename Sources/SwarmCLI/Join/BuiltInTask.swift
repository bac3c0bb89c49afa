// BuiltInTask.swift — the tasks that every `swarm join` does for others.

import Digest
import Signaling
import Wire

enum BuiltInTask: String, CaseIterable, Sendable {
  /// Gives its data back.
  case echo
  /// The SHA-256 of a text's UTF-8, in hexadecimal.
  case sha256
  /// How many words, separated by white space, a text has.
  case wordCount = "word-count"

  func perform(_ data: JSONValue) throws(JoinTaskFailure) -> JSONValue {
    switch self {
    case .echo: return data
    case .sha256: return .string(SHA256.hash(Array(try text(data).utf8).rawSpan).hexText)
    case .wordCount: return .integer(try text(data).split(whereSeparator: \.isWhitespace).count)
    }
  }

  private func text(_ data: JSONValue) throws(JoinTaskFailure) -> String {
    guard let text = data.stringValue else { throw JoinTaskFailure("\(rawValue) needs a text as its data") }
    return text
  }
}
