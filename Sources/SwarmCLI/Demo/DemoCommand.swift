// DemoCommand.swift — `swarm demo`: a whole swarm on this machine, every peer a process of its own.
//
// Nothing in it is a rehearsal: the peers are `swarm join`, they meet through a signalling server, and what they send
// goes over UDP. What they answer is compared with what this process has worked out for itself.

import ArgumentParser
import Foundation
import Signaling
import SignalingTransport

struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Start a swarm of several processes, let it work, and check what it did.",
    discussion: """
      The peers join one room, connect to each other over UDP, exchange messages and knowledge, delegate a task, send \
      FILE to everyone, and vote. Progress goes to standard error, the table to standard output. The exit code is 0 when \
      everything came out right; whatever did not is named.
      """)

  @Option(help: "How many peers, from 2 to 16.") var peers = 3
  @Option(help: "The file to send. Default: the README.md of the current folder.") var file: String?
  @Flag(help: "Print one JSON object instead of the table.") var json = false

  private var path: String { file ?? "README.md" }

  func validate() throws {
    guard (2...16).contains(peers) else { throw ValidationError("--peers goes from 2 to 16, not \(peers)") }
    var isFolder: ObjCBool = false
    guard unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw ValidationError(
        file == nil ? "there is no README.md here to send: name a file with --file" : "--file does not exist: \(path)")
    }
    guard !isFolder.boolValue else { throw ValidationError("--file is a folder: \(path)") }
    guard FileManager.default.isReadableFile(atPath: path) else {
      throw ValidationError("--file cannot be read: \(path)")
    }
  }

  func run() async throws {
    let signals = TerminationSignals.stream()
    let run = DemoRun(peerCount: peers, path: path)
    let outcome = await run.perform(endingOn: signals)
    switch outcome {
    case .success(let report):
      if json { JSONLines.write(report.json) } else { JSONLines.write(line: report.table) }
    case .failure(let failure):
      StandardError.write("swarm demo: \(failure)")
      if json { JSONLines.write(["ok": false, "error": .string("\(failure)")]) }
      throw ExitCode(failure.exitCode)
    }
  }
}

/// Why a demo did not succeed.
enum DemoFailure: Error, CustomStringConvertible, Sendable {
  /// The embedded server or a process could not be started, a file not be read.
  case setUp(String)
  /// A peer's process ended before its time.
  case died(peer: String, how: String)
  case timedOut(peer: String, step: String, limit: Duration)
  /// A peer answered that it could not do what it was asked for.
  case refused(peer: String, step: String, reason: String)
  /// What a peer did is not what it should have done.
  case wrong(peer: String, step: String, reason: String)
  case interrupted(CInt)

  var description: String {
    switch self {
    case .setUp(let reason): reason
    case .died(let peer, let how): "\(peer) \(how) before its time"
    case .timedOut(let peer, let step, let limit): "\(step): \(peer) took longer than \(limit)"
    case .refused(let peer, let step, let reason): "\(step): \(peer) says: \(reason)"
    case .wrong(let peer, let step, let reason): "\(step): \(peer): \(reason)"
    case .interrupted(let signal): "ended by \(TerminationSignals.name(of: signal))"
    }
  }

  var exitCode: CInt { if case .interrupted(let signal) = self { 128 + signal } else { 1 } }
}
