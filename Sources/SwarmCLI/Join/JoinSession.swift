// JoinSession.swift — one run of `swarm join`: events to the output, lines of the input to the peer.
//
// Three things run side by side: the swarm's events, the input, and the wait for a signal. Whichever of the last two ends
// first ends the session. Messages go out in the order of their lines; what takes time (tasks, files, votes) runs beside.

import Foundation
import Signaling
import Swarm

struct JoinSession: Sendable {
  let peer: SwarmPeer
  let output: JoinOutput
  let options: JoinOptions
  private let questions = Questions()

  init(peer: SwarmPeer, output: JoinOutput, options: JoinOptions) {
    self.peer = peer
    self.output = output
    self.options = options
  }

  func run() async throws {
    let signals = TerminationSignals.stream()
    await register()
    do {
      try await peer.start()
    } catch {
      throw JoinFailure(reason: error.explanation)
    }
    let crowd = Crowd(wanted: options.awaitPeers)
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        for await event in peer.events { report(event, crowd) }
        return false
      }
      group.addTask {
        await crowd.isComplete()
        await readInput()
        return true
      }
      group.addTask {
        for await _ in signals { break }
        return true
      }
      for await isOver in group where isOver { break }
      group.cancelAll()
      await peer.disconnect()
    }
    output.write("left", [:])
  }

  // MARK: The swarm's events

  private func report(_ event: SwarmEvent, _ crowd: Crowd) {
    switch event {
    case .joinedRoom:
      output.write("joined", ["peer": .string(peer.id), "room": .string(peer.configuration.room)])
    case .signalingLost: output.write("signaling-lost", [:])
    case .peerJoined(let other): output.write("peer-joined", ["peer": .string(other)])
    case .peerLeft(let other): output.write("peer-left", ["peer": .string(other)])
    case .peerConnected(let other):
      output.write("connected", ["peer": .string(other)])
      crowd.connected()
    case .peerDisconnected(let other):
      output.write("disconnected", ["peer": .string(other)])
      crowd.disconnected()
    case .connectionFailed(let other, let reason):
      output.write("connection-failed", ["peer": .string(other), "reason": .string(reason)])
    case .capabilitiesChanged(let other, let capabilities):
      output.write("capabilities", ["peer": .string(other), "capabilities": .strings(capabilities)])
    case .message(let sender, let type, let payload):
      output.write("message", ["from": .string(sender), "type": .string(type), "payload": payload])
    case .knowledgeChanged(let entry):
      output.write(
        "knowledge-changed", ["key": .string(entry.id), "value": entry.value, "by": .string(entry.peerID)])
    case .artifactOffered(let sender, let artifact):
      output.write("artifact", ["from": .string(sender), "artifact": artifact.json])
    case .artifactReceived: break  // whoever asked for it is told
    }
  }

  // MARK: What others ask of this peer

  private func register() async {
    for task in BuiltInTask.allCases {
      await peer.registerTaskHandler(task.rawValue) { asked in try task.perform(asked.data) }
    }
    for name in options.tasks {
      await peer.registerTaskHandler(name) { task in
        try await questions.ask { number in
          output.write(
            "task",
            ["task": .string(number), "name": .string(task.name), "data": task.data, "from": .string(task.delegator)])
        } abandoned: { number in
          output.write("task-abandoned", ["task": .string(number)])
        }
      }
    }
    let rule = options.vote
    await peer.registerVoter { proposal in
      let isYes =
        switch rule {
        case .default: SwarmMachine.defaultVote(on: proposal)
        case .yes: true
        case .no: false
        case .ask: await askForVote(proposal)
        }
      output.write("voted", proposal.json.merging(["yes": .bool(isYes)]) { _, new in new })
      return isYes
    }
  }

  /// An unanswered question is a no.
  private func askForVote(_ proposal: Proposal) async -> Bool {
    do {
      let answer = try await questions.ask(within: Self.votePatience) { number in
        output.write("proposal", proposal.json.merging(["proposal": .string(number)]) { _, new in new })
      } abandoned: { _ in
      }
      return answer.boolValue == true
    } catch {
      return false
    }
  }

  // MARK: Input

  /// Carries out the lines of the input, and returns once `leave` or the end has come and nothing is under way.
  private func readInput() async {
    let isTerminal = Terminal.isStandardInput
    await withTaskGroup(of: Void.self) { group in
      var underWay = 0
      for await text in StandardInputLines() {
        if text.allSatisfy(\.isWhitespace) { continue }
        guard let line = understand(text, isTerminal: isTerminal) else { continue }
        if case .leave = line.request {
          await peer.disconnect()  // so that whatever is under way ends
          break
        }
        if line.request.isImmediate {
          await perform(line)
          continue
        }
        if underWay == Self.maximumUnderWay {
          await group.next()
          underWay -= 1
        }
        underWay += 1
        group.addTask { await perform(line) }
      }
    }
  }

  private func understand(_ text: String, isTerminal: Bool) -> JoinLine? {
    var id: JSONValue?
    do {
      let isSpoken = isTerminal && text.first { !$0.isWhitespace } != "{"
      let value: JSONValue =
        isSpoken
        ? ["broadcast": ["type": "text", "payload": ["text": .string(text)]]]
        : try JSONValue(parsing: text)
      id = value["id"]
      return try JoinLine(value)
    } catch let error as JSONError {
      output.write("error", ["reason": .string("a line that is no JSON: \(error)")])
    } catch {
      output.answer(id, "error", ["reason": .string("\(error)")])
    }
    return nil
  }

  private func perform(_ line: JoinLine) async {
    do {
      if let (event, members) = try await answer(to: line.request) { output.answer(line.id, event, members) }
    } catch {
      output.answer(line.id, "error", ["reason": .string(explanation(of: error))])
    }
  }

  /// - Returns: the answer's event and members; nil when there is nothing to say.
  private func answer(to request: JoinRequest) async throws -> (String, [String: JSONValue])? {
    switch request {
    case .send(let receiver, let type, let payload):
      let isSent = try await peer.sendToPeer(receiver, type, payload)
      return ("sent", ["count": isSent ? 1 : 0])
    case .broadcast(let type, let payload):
      return ("sent", ["count": .integer(try await peer.broadcast(type, payload))])
    case .delegate(let name, let requirements, let data, let timeout):
      let value = try await peer.delegateTask(name, requirements: requirements, data: data, timeout: timeout)
      return ("result", ["value": value])
    case .share(let id, let value):
      let entry = try await peer.shareKnowledge(id, value)
      return ("shared", ["key": .string(id), "clock": .integer(Int(entry.clock))])
    case .offerFile(let path, let id):
      return ("offered", ["artifact": try await peer.announceArtifact(file: path, id: id).json])
    case .getFile(let id, let source, let path):
      let destination = try await destination(of: id, source, path)
      let received = try await peer.requestArtifact(id, from: source, to: destination)
      return ("file", try received.verifiedJSON())
    case .propose(let type, let content, let timeout):
      return ("decided", try await peer.requestConsensus(type, content, timeout: timeout).json)
    case .capabilities(let names):
      try await peer.updateCapabilities(names)
      return ("updated", [:])
    case .result(let task, let result):
      guard questions.answer(task, result.mapError { $0 }) else { throw JoinLineError("no task \(task) is waiting") }
      return nil
    case .vote(let proposal, let isYes):
      guard questions.answer(proposal, .success(.bool(isYes))) else {
        throw JoinLineError("no proposal \(proposal) is waiting")
      }
      return nil
    case .knowledge:
      return ("knowledge", ["entries": .object(await peer.knowledge.mapValues(\.value))])
    case .stats: return ("stats", await peer.stats().json)
    case .leave: return nil
    }
  }

  /// A path that the script names may be replaced; a name that a stranger chose may not take another file's place.
  private func destination(of id: String, _ source: PeerID?, _ path: String?) async throws -> ArtifactDestination {
    if let path { return .file(path) }
    let offers = await peer.offeredArtifacts.filter { source == nil || $0.key == source }.values.joined()
    for artifact in offers where artifact.id == id {
      let path = URL(fileURLWithPath: options.folder).appendingPathComponent(artifact.name).path
      if FileManager.default.fileExists(atPath: path) {
        throw JoinLineError("\(path) is there already; name a path with \"to\"")
      }
    }
    return .folder(options.folder)
  }

  /// Lines whose answer takes time; more wait in the pipe.
  private static let maximumUnderWay = 256
  private static let votePatience = Duration.seconds(30)
}

/// Why a peer could not join.
struct JoinFailure: Error, CustomStringConvertible {
  let reason: String
  var description: String { "cannot join: \(reason)" }
}
