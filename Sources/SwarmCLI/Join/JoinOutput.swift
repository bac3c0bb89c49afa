// JoinOutput.swift — what `swarm join` says: events as JSON lines, or as lines for people.

import Foundation
import Signaling
import Swarm

struct JoinOutput: Sendable {
  /// For people rather than for scripts.
  let isReadable: Bool

  func write(_ event: String, _ members: [String: JSONValue]) {
    if isReadable {
      JSONLines.write(line: Self.readable(event, members))
    } else {
      JSONLines.write(.object(members.merging(["event": .string(event)]) { member, _ in member }))
    }
  }

  /// An event that answers the line with this `id`.
  func answer(_ id: JSONValue?, _ event: String, _ members: [String: JSONValue]) {
    var members = members
    if let id { members["id"] = id }
    write(event, members)
  }

  private static func readable(_ event: String, _ members: [String: JSONValue]) -> String {
    if event == "message", let text = members["payload"]?["text"]?.stringValue,
      let sender = members["from"]?.stringValue
    {
      return "\(sender): \(printable(text))"
    }
    if event == "stats", let peers = members["peers"]?.arrayValue {
      return (["\(peers.count) peers"] + peers.map { "  \(printable($0.text))" }).joined(separator: "\n")
    }
    let details = members.sorted { $0.key < $1.key }.map { name, value in
      "\(name) \(printable(value.stringValue ?? value.text))"
    }
    return ([event] + details).joined(separator: "  ")
  }

  /// What strangers write moves no cursor and changes no colour.
  private static func printable(_ text: String) -> String {
    String(
      String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{fffd}" : $0 }))
  }
}

// MARK: The swarm's values as JSON

extension ArtifactDescription {
  var json: JSONValue {
    [
      "id": .string(id), "name": .string(name), "size": .integer(Int(size)),
      "sha256": .string(sha256.hexText),
    ]
  }
}

extension ReceivedArtifact {
  /// What has been stored, hashed once more from where it is.
  func verifiedJSON() throws -> [String: JSONValue] {
    guard let path else { throw JoinLineError("\(artifact.id) was not stored") }
    let stored = try FileDigest.sha256(ofFileAt: path)
    guard stored.sha256 == artifact.sha256.hexText else { throw JoinLineError("\(path) was changed") }
    return [
      "path": .string(path), "sha256": .string(stored.sha256), "size": .integer(stored.size), "artifact": artifact.json,
    ]
  }
}

extension Proposal {
  /// Without the id: that is the proposer's, and the script answers to a number.
  var json: [String: JSONValue] { ["type": .string(type), "content": content, "from": .string(proposer)] }
}

extension ConsensusOutcome {
  var json: [String: JSONValue] {
    [
      "accepted": .bool(isAccepted), "timedOut": .bool(isTimedOut), "yes": .integer(yes), "no": .integer(no),
      "electorate": .integer(electorate),
    ]
  }
}

extension SwarmStatistics {
  var json: [String: JSONValue] {
    [
      "peer": .string(id), "room": .string(room), "signalingConnected": .bool(isSignalingConnected),
      "pid": .integer(Int(ProcessInfo.processInfo.processIdentifier)),
      "peakMemoryKilobytes": .integer(Usage.peakResidentKilobytes),
      "peers": .array(peers.map(\.json)), "delegationsUnderWay": .integer(delegationsUnderWay),
      "tasksUnderWay": .integer(tasksUnderWay), "droppedMessages": .integer(droppedMessages),
      "rejections": .object(rejections.mapValues { .integer($0) }),
    ]
  }
}

extension SwarmStatistics.Peer {
  var json: JSONValue {
    [
      "peer": .string(id), "state": .string(state), "connected": .bool(isConnected), "extended": .bool(isExtended),
      "candidatePair": candidatePair.map { .string($0) } ?? .null,
      "roundTripMilliseconds": roundTrip.map { .double($0.inSeconds * 1_000) } ?? .null,
      "bytesIn": .integer(Int(clamping: bytesIn)), "bytesOut": .integer(Int(clamping: bytesOut)),
      "messagesIn": .integer(counters.messagesIn), "messagesOut": .integer(counters.messagesOut),
      "tasksDelegated": .integer(counters.tasksDelegated), "tasksDone": .integer(counters.tasksDone),
      "capabilities": .strings(capabilities),
    ]
  }
}

extension Usage {
  /// The most memory that this process has ever held, in kilobytes; 0 where the system does not tell.
  static var peakResidentKilobytes: Int {
    guard let status = FileManager.default.contents(atPath: "/proc/self/status") else { return 0 }
    for line in String(decoding: status, as: UTF8.self).split(separator: "\n") where line.hasPrefix("VmHWM:") {
      return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
    }
    return 0
  }
}
