// BenchResponder.swift — the other process of a measurement: counts, echoes, reports.

import Foundation
import Synchronization
import WebRTC

/// Answers every offer and does with each connection what its first channel's label asks for.
struct BenchResponder: Sendable {
  let signaling: BenchSignaling
  let configuration: PeerConnectionConfiguration

  /// Serves until the driver leaves.
  func run() async throws {
    try await withThrowingDiscardingTaskGroup { group in
      for await event in signaling.events {
        switch event {
        case .peerJoined: break
        case .peerLeft:
          group.cancelAll()
          return
        case .offer(let number, let offer):
          group.addTask { try await serve(offer, number: number) }
        }
      }
    }
  }

  private func serve(_ offer: SessionDescription, number: Int) async throws {
    let connection = try PeerConnection(configuration: configuration)
    try await withThrowingDiscardingTaskGroup { group in
      group.addTask { try await signaling.answer(offer, with: connection, number: number) }
      var known: (plan: BenchPlan, sink: BenchSink)?
      for await channel in connection.incomingChannels {
        guard let (plan, sink) = known else {
          let plan = try BenchPlan(label: channel.label)
          let sink = BenchSink(plan)
          sink.answerQuestions(on: channel)
          known = (plan, sink)
          continue
        }
        switch plan.mode {
        case .mixed where channel.label == BenchDriver.flowLabel, .bulk, .rate: channel.onMessage { sink.count($0) }
        case .pingpong, .mixed, .channels: channel.onMessage { [weak channel] message in echo(message, on: channel) }
        case .setup, .memory, .dtls: break
        }
      }
    }
    signaling.forget(number)
    await connection.close()
  }

  private func echo(_ message: Message, on channel: DataChannel?) {
    do { try channel?.trySend(message) } catch {
      StandardError.write("echo: \(error)")
    }
  }
}

/// Counts what arrives and tells when asked.
final class BenchSink: Sendable {
  private struct Count {
    var report = BenchReport()
    var first: ContinuousClock.Instant?
    var last: ContinuousClock.Instant?
    var cpuAtFirst = 0.0
  }
  private let count = Mutex(Count())
  private let plan: BenchPlan

  init(_ plan: BenchPlan) { self.plan = plan }

  func count(_ message: Message) {
    let now = ContinuousClock.now
    count.withLock { count in
      if count.first == nil {
        count.first = now
        count.cpuAtFirst = Usage.cpuSeconds
      }
      count.last = now
      count.report.delivered += 1
      let elapsed = (now - (count.first ?? now)).inSeconds
      while count.report.bytesBySecond.count <= Int(elapsed) { count.report.bytesBySecond.append(0) }
      count.report.bytesBySecond[Int(elapsed)] += message.byteCount
      // With a warm-up the time is cut at both ends: what still waits somewhere when sending ends says little.
      guard plan.warmUp == 0 || elapsed >= plan.warmUp && elapsed < plan.seconds else { return }
      count.report.messages += 1
      count.report.bytes += message.byteCount
    }
  }

  /// Answers each question on the control channel once everything has arrived, or nothing more has for a while.
  func answerQuestions(on control: DataChannel) {
    Task {
      for await message in control.messages {
        do {
          let question = try JSONDecoder().decode(BenchQuestion.self, from: Data(message.bytes))
          await waitFor(question.sentMessages)
          let answer = try JSONEncoder().encode(report)
          try await control.send(.text(String(decoding: answer, as: UTF8.self)))
        } catch {
          StandardError.write("bench: \(error)")
        }
      }
    }
  }

  private func waitFor(_ sent: Int) async {
    let quiet = Duration.seconds(2)  // retransmissions of a long path fit in
    let asked = ContinuousClock.now
    while true {
      let (messages, last) = count.withLock { ($0.report.delivered, $0.last ?? asked) }
      if messages >= sent || ContinuousClock.now - max(last, asked) > quiet { return }
      do { try await Task.sleep(for: .milliseconds(5)) } catch { return }
    }
  }

  private var report: BenchReport {
    count.withLock { count in
      var report = count.report
      if let first = count.first, let last = count.last {
        report.seconds = plan.warmUp == 0 ? (last - first).inSeconds : plan.seconds - plan.warmUp
        report.cpuSeconds = Usage.cpuSeconds - count.cpuAtFirst
      }
      report.residentKilobytes = Usage.residentKilobytes
      return report
    }
  }
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
