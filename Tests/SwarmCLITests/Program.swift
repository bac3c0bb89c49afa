// Program.swift — the built command, run as its users run it: a process with arguments, lines in and lines out.

import Foundation
import Signaling
import Testing

@testable import SwarmCLI

/// One after the other: each test starts several processes, and the demo's own limits are for a machine it has to itself.
@Suite(.serialized, .timeLimit(.minutes(2)))
enum CommandTests {}

/// One run of `swarm`. Killed when the test lets go of it.
final class Program: Sendable {
  struct Ending: Equatable, CustomStringConvertible {
    var code: CInt
    var isSignal = false
    var description: String { isSignal ? "killed by signal \(code)" : "exit code \(code)" }
  }

  /// The output ended without a line that was waited for.
  struct Missing: Error, CustomStringConvertible { let description: String }

  let pid: CInt
  private let process: Process
  private let input: FileHandle
  private let output: Transcript
  private let errors: Transcript
  private let ending: AsyncStream<Ending>

  init(_ arguments: [String], in folder: String? = nil) throws {
    let process = Process()
    process.executableURL = try Self.executable
    process.arguments = arguments
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    let (input, output, errors) = (Pipe(), Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    process.standardError = errors
    let (ending, sink) = AsyncStream<Ending>.makeStream()
    process.terminationHandler = { process in
      sink.yield(Ending(code: process.terminationStatus, isSignal: process.terminationReason == .uncaughtSignal))
      sink.finish()
    }
    try process.run()
    self.process = process
    self.input = input.fileHandleForWriting
    self.ending = ending
    self.output = Transcript(of: output.fileHandleForReading)
    self.errors = Transcript(of: errors.fileHandleForReading)
    pid = process.processIdentifier
  }

  deinit { if process.isRunning { kill(pid, SIGKILL) } }

  /// The product lies beside the tests' own executable.
  private static var executable: URL {
    get throws {
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("swarm")
    }
  }

  func write(_ line: String) throws { try input.write(contentsOf: Data((line + "\n").utf8)) }
  func endInput() throws { try input.close() }
  func signal(_ number: CInt) { kill(pid, number) }

  /// The first line of the output, past or to come, that is an event with this name; nil when the output ends before.
  func event(_ name: String, where matches: @escaping @Sendable (JSONValue) -> Bool = { _ in true }) async throws
    -> JSONValue
  {
    let line = await output.first { line in
      guard let value = try? JSONValue(parsing: line) else { return false }
      return value["event"]?.stringValue == name && matches(value)
    }
    guard let line else {
      let errors = await errors.all()
      throw Missing(description: "no \(name): \(errors)")
    }
    return try JSONValue(parsing: line)
  }

  /// The first line of the output, past or to come, that has all of these in it.
  func line(with parts: String...) async throws -> String {
    if let line = await output.first(where: { line in parts.allSatisfy { line.contains($0) } }) { return line }
    throw Missing(description: "no line with \(parts): \(await errors.all())")
  }

  func errorLine(containing text: String) async throws -> String {
    if let line = await errors.first(where: { $0.contains(text) }) { return line }
    throw Missing(description: "no '\(text)': \(await errors.all())")
  }

  /// Everything, once the process has ended.
  func finish() async -> (ending: Ending?, output: [String], errors: [String]) {
    let lines = (await output.all(), await errors.all())
    for await ending in ending { return (ending, lines.0, lines.1) }
    return (nil, lines.0, lines.1)
  }
}

/// The lines of a stream; all are kept.
private actor Transcript {
  private var lines: [String] = []
  private var hasEnded = false
  private var changes: [CheckedContinuation<Void, Never>] = []

  init(of file: FileHandle) {
    let pieces = PipeLines.lines(of: file)
    Task { await self.read(pieces) }
  }

  private func read(_ pieces: AsyncStream<[UInt8]>) async {
    for await line in pieces {
      lines.append(String(decoding: line, as: UTF8.self))
      wake()
    }
    hasEnded = true
    wake()
  }

  private func wake() {
    let waiting = changes
    changes = []
    for waiter in waiting { waiter.resume() }
  }

  func first(where matches: @Sendable (String) -> Bool) async -> String? {
    var seen = 0
    while true {
      if let line = lines[seen...].first(where: matches) { return line }
      seen = lines.count
      if hasEnded || Task.isCancelled { return nil }
      await change()
    }
  }

  /// All lines, once the stream has ended; those until now, when the test's time limit cancels it.
  func all() async -> [String] {
    while !hasEnded, !Task.isCancelled { await change() }
    return lines
  }

  private func change() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { changes.append($0) }
    } onCancel: {
      Task { await wake() }
    }
  }
}

/// A folder of one test.
final class TemporaryFolder: Sendable {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("swarm-cli-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    path = url.path
  }

  deinit { do { try FileManager.default.removeItem(atPath: path) } catch { Issue.record(error) } }

  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = "\(path)/\(name)"
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }
}
