// JoinRequest.swift — a line of `swarm join`'s standard input: one JSON object with one command, and perhaps an `id` that
// the answer carries back.

import Signaling
import Swarm

/// What a script asks its peer to do.
enum JoinRequest: Sendable {
  case send(to: PeerID, type: String, payload: JSONValue)
  case broadcast(type: String, payload: JSONValue)
  case delegate(name: String, requirements: [String], data: JSONValue, timeout: Duration)
  case share(id: String, value: JSONValue)
  case offerFile(path: String, id: String?)
  case getFile(artifact: String, from: PeerID?, to: String?)
  case propose(type: String, content: JSONValue, timeout: Duration)
  case capabilities([String])
  case result(task: String, Result<JSONValue, JoinTaskFailure>)
  case vote(proposal: String, isYes: Bool)
  case knowledge
  case stats
  case leave

  /// Whether it takes no longer than its message needs to be queued: such requests are done in their order.
  var isImmediate: Bool {
    switch self {
    case .delegate, .offerFile, .getFile, .propose: false
    default: true
    }
  }
}

/// A line, understood.
struct JoinLine: Sendable {
  /// For the answer; nil when the line had none.
  let id: JSONValue?
  let request: JoinRequest

  /// - Parameter value: what the line holds.
  init(_ value: JSONValue) throws(JoinLineError) {
    guard let members = value.objectValue else { throw JoinLineError("a line must hold a JSON object") }
    id = members["id"]
    let commands = members.keys.filter { $0 != "id" }.sorted()
    guard let command = commands.first else { throw JoinLineError("a line without a command") }
    guard commands.count == 1 else {
      throw JoinLineError("a line holds one command, not \(commands.joined(separator: " and "))")
    }
    request = try Self.request(command, members[command] ?? .null)
  }

  private static func request(_ command: String, _ body: JSONValue) throws(JoinLineError) -> JoinRequest {
    switch command {
    case "send":
      let fields = try Fields(command, body, ["to", "type", "payload"])
      return .send(to: try fields.text("to"), type: try fields.text("type"), payload: fields.value("payload"))
    case "broadcast":
      let fields = try Fields(command, body, ["type", "payload"])
      return .broadcast(type: try fields.text("type"), payload: fields.value("payload"))
    case "delegate":
      let fields = try Fields(command, body, ["name", "requirements", "data", "timeout"])
      return .delegate(
        name: try fields.text("name"), requirements: try fields.texts("requirements"), data: fields.value("data"),
        timeout: try fields.seconds("timeout", default: 60))
    case "share":
      let fields = try Fields(command, body, ["id", "value"])
      return .share(id: try fields.text("id"), value: fields.value("value"))
    case "offerFile":
      if let path = body.stringValue { return .offerFile(path: path, id: nil) }
      let fields = try Fields(command, body, ["path", "id"])
      return .offerFile(path: try fields.text("path"), id: try fields.optionalText("id"))
    case "getFile":
      if let id = body.stringValue { return .getFile(artifact: id, from: nil, to: nil) }
      let fields = try Fields(command, body, ["id", "from", "to"])
      return .getFile(
        artifact: try fields.text("id"), from: try fields.optionalText("from"), to: try fields.optionalText("to"))
    case "propose":
      let fields = try Fields(command, body, ["type", "content", "timeout"])
      return .propose(
        type: try fields.text("type"), content: fields.value("content"),
        timeout: try fields.seconds("timeout", default: 30))
    case "capabilities":
      guard let names = body.stringArrayValue else { throw JoinLineError("capabilities must be an array of strings") }
      return .capabilities(names)
    case "result":
      let fields = try Fields(command, body, ["task", "value", "error"])
      if let error = try fields.optionalText("error") {
        return .result(task: try fields.text("task"), .failure(JoinTaskFailure(error)))
      }
      return .result(task: try fields.text("task"), .success(fields.value("value")))
    case "vote":
      let fields = try Fields(command, body, ["proposal", "yes"])
      return .vote(proposal: try fields.text("proposal"), isYes: try fields.bool("yes"))
    case "knowledge", "stats", "leave":
      guard body.boolValue == true else { throw JoinLineError("write {\"\(command)\":true}") }
      return command == "knowledge" ? .knowledge : command == "stats" ? .stats : .leave
    default: throw JoinLineError("unknown command \(String(command.prefix(40)))")
    }
  }
}

/// The members of one command. None may be there that the command does not know: a misspelt one would be lost quietly.
private struct Fields {
  let command: String
  let members: [String: JSONValue]

  init(_ command: String, _ body: JSONValue, _ known: Set<String>) throws(JoinLineError) {
    guard let members = body.objectValue else { throw JoinLineError("\(command) must be an object") }
    if let stranger = members.keys.sorted().first(where: { !known.contains($0) }) {
      throw JoinLineError("\(command) has no member \(String(stranger.prefix(40)))")
    }
    self.command = command
    self.members = members
  }

  func value(_ name: String) -> JSONValue { members[name] ?? .null }

  func text(_ name: String) throws(JoinLineError) -> String {
    guard let text = try optionalText(name) else { throw JoinLineError("\(command) needs \(name)") }
    return text
  }

  func optionalText(_ name: String) throws(JoinLineError) -> String? {
    guard let value = members[name] else { return nil }
    guard let text = value.stringValue, !text.isEmpty else {
      throw JoinLineError("\(name) of \(command) must be a string with something in it")
    }
    return text
  }

  func texts(_ name: String) throws(JoinLineError) -> [String] {
    guard let value = members[name] else { return [] }
    guard let texts = value.stringArrayValue else {
      throw JoinLineError("\(name) of \(command) must be an array of strings")
    }
    return texts
  }

  func bool(_ name: String) throws(JoinLineError) -> Bool {
    guard let value = members[name]?.boolValue else {
      throw JoinLineError("\(name) of \(command) must be true or false")
    }
    return value
  }

  func seconds(_ name: String, default seconds: Int) throws(JoinLineError) -> Duration {
    guard let value = members[name] else { return .seconds(seconds) }
    guard let seconds = value.doubleValue, seconds > 0, seconds <= 86_400 else {
      throw JoinLineError("\(name) of \(command) must be a number of seconds, at most a day")
    }
    return .seconds(seconds)
  }
}

/// Why a line was not carried out, for people.
struct JoinLineError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// What a script said went wrong with a task.
struct JoinTaskFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
