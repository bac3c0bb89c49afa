// DemoPeer.swift — one peer of the demo: a child process that runs `swarm join`, spoken to in JSON lines.
//
// Every event of the child is kept, so it does not matter whether it comes before or after somebody waits for it.
// Invariants: each waiter is resumed once, by an event, its time limit, its task's cancellation, or the child's end.

import Foundation
import Signaling

actor DemoPeer {
  nonisolated let id: String
  nonisolated let pid: CInt

  private struct Waiter {
    let matches: @Sendable (JSONValue) -> Bool
    let continuation: CheckedContinuation<JSONValue, any Error>
  }

  private let process: Process
  private let input: FileHandle
  private let deaths: AsyncStream<DemoFailure>.Continuation
  private var events: [JSONValue] = []
  private var waiters: [Int: Waiter] = [:]
  private var waitersSeen = 0
  private var requests = 0
  private var hasEnded = false
  private var failure: DemoFailure?
  private var isLeaving = false
  private var endWaiters: [CheckedContinuation<Void, Never>] = []

  /// Starts the child.
  ///
  /// - Parameter deaths: told when the child ends although it was not asked to.
  init(id: String, arguments: [String], deaths: AsyncStream<DemoFailure>.Continuation) throws {
    self.id = id
    self.deaths = deaths
    let process = Process()
    process.executableURL = try CurrentExecutable.url
    process.arguments = ["join", "--id", id] + arguments
    let input = Pipe()
    let output = Pipe()
    process.standardInput = input
    process.standardOutput = output
    let (ends, endSink) = AsyncStream<String>.makeStream()
    process.terminationHandler = { process in
      endSink.yield(
        process.terminationReason == .uncaughtSignal
          ? "was killed by signal \(process.terminationStatus)" : "exited with code \(process.terminationStatus)")
      endSink.finish()
    }
    try process.run()
    self.process = process
    self.input = input.fileHandleForWriting
    pid = process.processIdentifier
    let lines = PipeLines.lines(of: output.fileHandleForReading)
    Task { for await line in lines { await self.receive(line) } }
    Task { for await how in ends { await self.ended(how) } }
  }

  // MARK: Talking to it

  /// Sends a command and waits for its answer.
  func ask(_ command: [String: JSONValue], step: String, within limit: Duration) async throws -> JSONValue {
    requests += 1
    let number = requests
    do {
      try write(.object(command.merging(["id": .integer(number)]) { _, new in new }))
    } catch {
      throw failure ?? .died(peer: id, how: "closed its input")
    }
    let answer = try await expect(step, within: limit) { $0["id"]?.intValue == number }
    if answer.isEvent("error") {
      throw DemoFailure.refused(peer: id, step: step, reason: answer["reason"]?.stringValue ?? answer.text)
    }
    return answer
  }

  /// The first event, past or to come, for which `matches` holds.
  func expect(_ step: String, within limit: Duration, _ matches: @escaping @Sendable (JSONValue) -> Bool) async throws
    -> JSONValue
  {
    if let event = events.first(where: matches) { return event }
    if let failure { throw failure }
    waitersSeen += 1
    let number = waitersSeen
    let timer = Task {
      do { try await Task.sleep(for: limit) } catch { return }
      fail(number, DemoFailure.timedOut(peer: id, step: step, limit: limit))
    }
    defer { timer.cancel() }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation {
        waiters[number] = Waiter(matches: matches, continuation: $0)
      }
    } onCancel: {
      Task { await fail(number, CancellationError()) }
    }
  }

  private func write(_ line: JSONValue) throws {
    try input.write(contentsOf: Data(line.utf8Bytes + [UInt8(ascii: "\n")]))
  }

  private func receive(_ line: [UInt8]) {
    guard !line.isEmpty else { return }
    do {
      receive(try JSONValue(utf8: line))
    } catch {
      StandardError.write("swarm demo: a peer wrote what is no JSON: \(error)")
    }
  }

  private func receive(_ event: JSONValue) {
    events.append(event)
    for (number, waiter) in waiters where waiter.matches(event) {
      waiters[number] = nil
      waiter.continuation.resume(returning: event)
    }
  }

  private func fail(_ number: Int, _ error: any Error) {
    waiters.removeValue(forKey: number)?.continuation.resume(throwing: error)
  }

  // MARK: Its end

  /// Asks it to leave; a child that does so properly exits with code 0.
  func leave(within limit: Duration) async throws {
    isLeaving = true
    if let failure { throw failure }
    do { try write(["leave": true]) } catch { throw DemoFailure.died(peer: id, how: "closed its input") }
    let event = try await expect("leaving", within: limit) { $0.isEvent("exited") }
    guard event["how"] == "exited with code 0" else {
      throw DemoFailure.wrong(peer: id, step: "leaving", reason: event["how"]?.stringValue ?? "")
    }
  }

  /// Makes sure that the process is gone: first asking it, then not.
  func end() async {
    isLeaving = true
    for signal in [SIGTERM, SIGKILL] where !hasEnded {
      if process.isRunning { kill(pid, signal) }
      await waitForEnd(within: Self.endPatience)
    }
  }

  private func waitForEnd(within limit: Duration) async {
    let timer = Task {
      do { try await Task.sleep(for: limit) } catch { return }
      resumeEndWaiters()
    }
    await withCheckedContinuation { waiter in
      if hasEnded { waiter.resume() } else { endWaiters.append(waiter) }
    }
    timer.cancel()
  }

  private func resumeEndWaiters() {
    let waiting = endWaiters
    endWaiters = []
    for waiter in waiting { waiter.resume() }
  }

  private func ended(_ how: String) {
    hasEnded = true
    receive(["event": "exited", "how": .string(how)])
    if !isLeaving {
      let death = DemoFailure.died(peer: id, how: how)
      failure = death
      deaths.yield(death)
    }
    for number in Array(waiters.keys) { fail(number, failure ?? DemoFailure.died(peer: id, how: how)) }
    resumeEndWaiters()
  }

  private static let endPatience = Duration.seconds(3)
}

extension JSONValue {
  func isEvent(_ name: String) -> Bool { self["event"]?.stringValue == name }
}
