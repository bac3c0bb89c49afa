// DemoSteps.swift — what the demo's swarm does, and how each result is checked.

import Digest
import Foundation
import Signaling
import Wire

struct DemoSteps: Sendable {
  static let capability = "text-analysis"

  let peers: [DemoPeer]
  let path: String
  /// Where each receiver gets a folder for the file.
  let folder: String

  private var first: DemoPeer { peers[0] }
  private var others: ArraySlice<DemoPeer> { peers[1...] }

  func run() async throws -> DemoReport {
    var report = DemoReport()
    report.setUp = try await measure {
      try await join()
      try await connect()
    }
    try await exchangeMessages()
    try await shareKnowledge()
    report.task = try await delegateTask()
    report.file = try await sendFile()
    report.votes = [
      try await vote("goal-change", "leave nobody behind", shallPass: true),
      // Every voter looks into the code, and this one is dangerous.
      try await vote("code-modification", "eval(input)", shallPass: false),
    ]
    report.peers = try await collect { peer in
      let stats = try await peer.ask(["stats": true], step: "statistics", within: Self.patience)
      return try DemoReport.Peer(stats, peer: peer, expectedLinks: peers.count - 1)
    }
    _ = try await collect { try await $0.leave(within: Self.patience) }
    return report
  }

  // MARK: Coming together

  private func join() async throws {
    _ = try await collect { peer in
      try await peer.expect("joining", within: Self.patience) { $0.isEvent("joined") }
    }
    say(
      "\(peers.count) processes have joined the room: \(peers.map { "\($0.id) (\($0.pid))" }.joined(separator: ", "))")
  }

  private func connect() async throws {
    // Every process makes a connection to every other one, two processors or not.
    let limit = Self.patience + .seconds(peers.count * 2)
    _ = try await collect { peer in
      for other in peers where other.id != peer.id {
        _ = try await peer.expect("connecting to \(other.id)", within: limit) {
          $0.isEvent("connected") && $0["peer"]?.stringValue == other.id
        }
      }
    }
    say("all \(peers.count * (peers.count - 1) / 2) connections are open")
  }

  // MARK: Working together

  /// Everybody says something of their own to everybody else.
  private func exchangeMessages() async throws {
    let step = "messages"
    _ = try await collect { peer in
      let word = UUID().uuidString
      let answer = try await peer.ask(
        ["broadcast": ["type": "greeting", "payload": ["word": .string(word)]]], step: step, within: Self.patience)
      guard answer["count"]?.intValue == peers.count - 1 else {
        throw DemoFailure.wrong(peer: peer.id, step: step, reason: "reached \(answer["count"]?.text ?? "?") peers")
      }
      for other in peers where other.id != peer.id {
        _ = try await other.expect("\(step) from \(peer.id)", within: Self.patience) {
          $0.isEvent("message") && $0["from"]?.stringValue == peer.id && $0["payload"]?["word"]?.stringValue == word
        }
      }
    }
    say("every peer has heard every other one")
  }

  private func shareKnowledge() async throws {
    let step = "knowledge"
    let value = JSONValue.string(UUID().uuidString)
    let writer = peers[peers.count - 1]
    _ = try await writer.ask(["share": ["id": "demo", "value": value]], step: step, within: Self.patience)
    _ = try await collect { peer in
      if peer.id == writer.id { return }
      _ = try await peer.expect(step, within: Self.patience) {
        $0.isEvent("knowledge-changed") && $0["key"] == "demo" && $0["value"] == value
      }
    }
    say("what \(writer.id) knows, all know")
  }

  /// The first peer has a text hashed and counted by whoever can.
  private func delegateTask() async throws -> DemoReport.Work {
    let step = "task"
    let words = (0..<2_000).map { _ in String(UInt32.random(in: 0...UInt32.max), radix: 36) }
    let text = words.joined(separator: " ")
    let expected: [(name: String, result: JSONValue)] = [
      ("sha256", .string(Self.sha256(text))), ("word-count", .integer(words.count)),
    ]
    let start = ContinuousClock.now
    for (name, result) in expected {
      let command: JSONValue = [
        "name": .string(name), "requirements": [.string(Self.capability)], "data": .string(text),
      ]
      let answer = try await first.ask(["delegate": command], step: "\(step) \(name)", within: Self.patience)
      guard answer["value"] == result else {
        throw DemoFailure.wrong(
          peer: first.id, step: "\(step) \(name)",
          reason: "got \(answer["value"]?.text ?? "nothing"), not \(result.text)")
      }
    }
    let duration = ContinuousClock.now - start
    let worker = peers[peers.count - 1].id
    say("\(worker) has done \(expected.count) tasks for \(first.id) in \(duration.readable)")
    return DemoReport.Work(names: expected.map(\.name), delegator: first.id, worker: worker, duration: duration)
  }

  private func sendFile() async throws -> DemoReport.File {
    let step = "file"
    let (size, sha256) = try FileDigest.sha256(ofFileAt: path)
    let limit = Self.patience + .seconds(size * peers.count / Self.slowestBytesPerSecond)
    say(
      "\(first.id) sends \(path), \(size.readableBytes), to \(others.count == 1 ? "1 peer" : "\(others.count) peers")")
    let id = "/demo/file"
    let start = ContinuousClock.now
    let absolute = URL(fileURLWithPath: path).path
    _ = try await first.ask(["offerFile": ["path": .string(absolute), "id": .string(id)]], step: step, within: limit)
    let progress = Task { await tellProgress(of: size) }
    defer { progress.cancel() }
    _ = try await collect { peer in
      if peer.id == first.id { return }
      try await fetch(id, peer, size: size, sha256: sha256, within: limit)
    }
    let duration = ContinuousClock.now - start
    say("\(others.map(\.id).joined(separator: ", ")) have it: SHA-256 \(sha256), after \(duration.readable)")
    return DemoReport.File(
      path: path, size: size, sha256: sha256, receivers: others.map(\.id), duration: duration)
  }

  private func fetch(_ id: String, _ peer: DemoPeer, size: Int, sha256: String, within limit: Duration) async throws {
    let step = "file"
    _ = try await peer.expect(step, within: limit) {
      $0.isEvent("artifact") && $0["artifact"]?["id"]?.stringValue == id
    }
    let command: JSONValue = [
      "id": .string(id), "from": .string(first.id), "to": .string(place(of: peer)),
    ]
    let answer = try await peer.ask(["getFile": command], step: step, within: limit)
    guard answer["sha256"]?.stringValue == sha256, answer["size"]?.intValue == size else {
      throw DemoFailure.wrong(
        peer: peer.id, step: step, reason: "SHA-256 \(answer["sha256"]?.text ?? "?") instead of \(sha256)")
    }
  }

  private func place(of peer: DemoPeer) -> String { "\(folder)/\(peer.id)" }

  /// While it lasts, how much of the file the slowest receiver has.
  private func tellProgress(of size: Int) async {
    while true {
      do { try await Task.sleep(for: .seconds(1)) } catch { return }
      let least = others.map { stored(by: $0) }.min() ?? 0
      say("  \(least.readableBytes) of \(size.readableBytes)")
    }
  }

  /// A file on its way is stored beside its place, under a name that begins with the place's.
  private func stored(by peer: DemoPeer) -> Int {
    do {
      let names = try FileManager.default.contentsOfDirectory(atPath: folder)
      let sizes = try names.filter { $0 == peer.id || $0.hasPrefix(peer.id + ".") }.map { name in
        try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.size] as? Int ?? 0
      }
      return sizes.max() ?? 0
    } catch {
      return 0  // renamed between two looks
    }
  }

  private func vote(_ type: String, _ content: String, shallPass: Bool) async throws -> DemoReport.Vote {
    let step = "vote on a \(type)"
    let answer = try await first.ask(
      ["propose": ["type": .string(type), "content": .string(content)]], step: step, within: Self.votePatience)
    guard answer["accepted"]?.boolValue == shallPass, answer["timedOut"]?.boolValue == false,
      answer["electorate"]?.intValue == peers.count, let yes = answer["yes"]?.intValue, let no = answer["no"]?.intValue
    else {
      throw DemoFailure.wrong(peer: first.id, step: step, reason: "ended as \(answer.text)")
    }
    // It is decided before all have voted; here all are to have voted.
    _ = try await collect { peer in
      if peer.id == first.id { return }
      _ = try await peer.expect(step, within: Self.patience) {
        $0.isEvent("voted") && $0["type"]?.stringValue == type && $0["yes"]?.boolValue == shallPass
      }
    }
    say("\(type): \(shallPass ? "accepted" : "refused") by the \(peers.count) peers")
    return DemoReport.Vote(type: type, isAccepted: shallPass, yes: yes, no: no, electorate: peers.count)
  }

  // MARK: Shared

  /// Does the same with every peer at the same time.
  ///
  /// - Returns: the results in the order of the peers.
  private func collect<Value: Sendable>(
    _ body: @escaping @Sendable (DemoPeer) async throws -> Value
  ) async throws -> [Value] {
    try await withThrowingTaskGroup(of: (Int, Value).self) { group in
      for (index, peer) in peers.enumerated() { group.addTask { (index, try await body(peer)) } }
      var values: [(Int, Value)] = []
      for try await value in group { values.append(value) }
      return values.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  private func measure(_ body: () async throws -> Void) async throws -> Duration {
    let start = ContinuousClock.now
    try await body()
    return ContinuousClock.now - start
  }

  private func say(_ line: String) { DemoRun.say(line) }

  private static func sha256(_ text: String) -> String { SHA256.hash(Array(text.utf8).rawSpan).hexText }

  /// For a step that takes milliseconds on a machine with nothing else to do.
  private static let patience = Duration.seconds(20)
  /// Longer than the swarm's own limit of 30 seconds, whose end then has a name.
  private static let votePatience = Duration.seconds(40)
  /// All receivers together; a debug build on a busy machine is faster.
  private static let slowestBytesPerSecond = 4 << 20
}
