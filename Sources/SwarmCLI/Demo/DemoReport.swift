// DemoReport.swift — what the demo found, as a table and as JSON.

import Foundation
import Signaling

struct DemoReport: Sendable {
  struct Work: Sendable {
    var names: [String]
    var delegator: String
    var worker: String
    var duration: Duration
  }

  struct File: Sendable {
    var path: String
    var size: Int
    var sha256: String
    var receivers: [String]
    var duration: Duration
  }

  struct Vote: Sendable {
    var type: String
    var isAccepted: Bool
    var yes: Int
    var no: Int
    var electorate: Int
  }

  /// One peer, by its own account.
  struct Peer: Sendable {
    struct Link: Sendable {
      var peer: String
      var state: String
      var pair: String
      var roundTripMilliseconds: Double
      var bytesIn: Int
      var bytesOut: Int
    }

    var id: String
    var pid: Int
    var links: [Link]
    var tasksDelegated: Int
    var tasksDone: Int
    var peakMemoryKilobytes: Int
  }

  var setUp = Duration.zero
  var task: Work?
  var file: File?
  var votes: [Vote] = []
  var peers: [Peer] = []
  var duration = Duration.zero
}

extension DemoReport.Peer {
  /// - Parameter stats: the answer of `swarm join` to `stats`.
  /// - Throws: when it is not connected to all others over a known pair.
  init(_ stats: JSONValue, peer: DemoPeer, expectedLinks: Int) throws(DemoFailure) {
    func wrong(_ reason: String) -> DemoFailure { .wrong(peer: peer.id, step: "statistics", reason: reason) }
    id = peer.id
    links = []
    tasksDelegated = 0
    tasksDone = 0
    guard let pid = stats["pid"]?.intValue, pid == Int(peer.pid), let others = stats["peers"]?.arrayValue,
      let memory = stats["peakMemoryKilobytes"]?.intValue
    else { throw wrong("cannot be understood: \(stats.text)") }
    self.pid = pid
    peakMemoryKilobytes = memory
    guard others.count == expectedLinks else { throw wrong("\(others.count) connections instead of \(expectedLinks)") }
    for other in others {
      guard let name = other["peer"]?.stringValue, let state = other["state"]?.stringValue,
        let bytesIn = other["bytesIn"]?.intValue, let bytesOut = other["bytesOut"]?.intValue
      else { throw wrong("cannot be understood: \(other.text)") }
      guard state == "connected", other["connected"]?.boolValue == true else { throw wrong("\(name) is \(state)") }
      guard let pair = other["candidatePair"]?.stringValue else { throw wrong("no candidate pair to \(name)") }
      guard let roundTrip = other["roundTripMilliseconds"]?.doubleValue else { throw wrong("no round trip to \(name)") }
      links.append(
        Link(
          peer: name, state: state, pair: pair, roundTripMilliseconds: roundTrip, bytesIn: bytesIn, bytesOut: bytesOut))
      tasksDelegated += other["tasksDelegated"]?.intValue ?? 0
      tasksDone += other["tasksDone"]?.intValue ?? 0
    }
  }
}

// MARK: For people

extension DemoReport {
  /// A row a connection, those of one peer under each other.
  var table: String {
    var rows = [["PEER", "PID", "STATE", "TO", "CANDIDATE PAIR", "ROUND TRIP", "IN", "OUT", "TASKS", "MEMORY"]]
    for peer in peers {
      for (index, link) in peer.links.prefix(Self.maximumRows).enumerated() {
        let about = index == 0 ? [peer.id, "\(peer.pid)"] : ["", ""]
        let end = index == 0 ? [peer.tasks, (peer.peakMemoryKilobytes * 1_024).readableBytes] : ["", ""]
        rows.append(
          about + [link.state, link.peer, link.pair, String(format: "%.2f ms", link.roundTripMilliseconds)]
            + [link.bytesIn.readableBytes, link.bytesOut.readableBytes] + end)
      }
      if peer.links.count > Self.maximumRows {
        rows.append(["", "", "connected", "… \(peer.links.count - Self.maximumRows) more"])
      }
    }
    return (Self.align(rows) + [summary]).joined(separator: "\n")
  }

  private var summary: String {
    let links = peers.map(\.links.count).reduce(0, +) / 2
    var parts = ["\(peers.count) peers, \(links) connections in \(setUp.readable)"]
    if let file {
      parts.append(
        "\(file.size.readableBytes) to \(file.receivers.count) in \(file.duration.readable)"
          + " (\(Int(file.megabitsPerSecond)) Mbit/s), SHA-256 equal everywhere")
    }
    parts.append("\(votes.count) votes as expected")
    return parts.joined(separator: "; ") + ". All done in \(duration.readable)."
  }

  private static func align(_ rows: [[String]]) -> [String] {
    var widths: [Int] = []
    for row in rows {
      for (column, cell) in row.enumerated() {
        if column == widths.count { widths.append(0) }
        widths[column] = max(widths[column], cell.count)
      }
    }
    return rows.map { row in
      let cells = zip(row, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
      return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
    }
  }

  /// Of one peer's connections; the JSON has all.
  private static let maximumRows = 5
}

extension DemoReport.Peer {
  fileprivate var tasks: String { "\(tasksDone) done, \(tasksDelegated) given" }
}

extension DemoReport.File {
  /// What all receivers together got.
  var megabitsPerSecond: Double {
    Double(size * receivers.count) * 8 / 1e6 / max(duration.inSeconds, 1e-9)
  }
}

extension Duration {
  var readable: String {
    inSeconds < 1 ? String(format: "%.0f ms", inSeconds * 1_000) : String(format: "%.1f s", inSeconds)
  }
}

extension Int {
  var readableBytes: String {
    switch self {
    case ..<1_000: "\(self) B"
    case ..<1_000_000: String(format: "%.1f kB", Double(self) / 1e3)
    case ..<1_000_000_000: String(format: "%.1f MB", Double(self) / 1e6)
    default: String(format: "%.2f GB", Double(self) / 1e9)
    }
  }
}

// MARK: For scripts

extension DemoReport {
  var json: JSONValue {
    [
      "ok": true, "seconds": .double(duration.inSeconds), "setUpSeconds": .double(setUp.inSeconds),
      "peers": .array(peers.map(\.json)),
      "task": task.map(\.json) ?? .null, "file": file.map(\.json) ?? .null, "votes": .array(votes.map(\.json)),
    ]
  }
}

extension DemoReport.Peer {
  fileprivate var json: JSONValue {
    let links: [JSONValue] = links.map { link in
      [
        "peer": .string(link.peer), "state": .string(link.state), "candidatePair": .string(link.pair),
        "roundTripMilliseconds": .double(link.roundTripMilliseconds), "bytesIn": .integer(link.bytesIn),
        "bytesOut": .integer(link.bytesOut),
      ]
    }
    return [
      "peer": .string(id), "pid": .integer(pid), "state": "connected", "connections": .array(links),
      "tasksDelegated": .integer(tasksDelegated), "tasksDone": .integer(tasksDone),
      "peakMemoryKilobytes": .integer(peakMemoryKilobytes),
    ]
  }
}

extension DemoReport.Work {
  fileprivate var json: JSONValue {
    [
      "names": .strings(names), "delegator": .string(delegator), "worker": .string(worker),
      "seconds": .double(duration.inSeconds),
    ]
  }
}

extension DemoReport.File {
  fileprivate var json: JSONValue {
    [
      "path": .string(path), "size": .integer(size), "sha256": .string(sha256), "receivers": .strings(receivers),
      "seconds": .double(duration.inSeconds), "mbitPerSecond": .double(megabitsPerSecond),
    ]
  }
}

extension DemoReport.Vote {
  fileprivate var json: JSONValue {
    [
      "type": .string(type), "accepted": .bool(isAccepted), "yes": .integer(yes), "no": .integer(no),
      "electorate": .integer(electorate),
    ]
  }
}
