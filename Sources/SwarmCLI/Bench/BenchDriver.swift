// BenchDriver.swift — the process that makes the connections and the load, and writes the figures.

import Foundation
import WebRTC

struct BenchDriver {
  let signaling: BenchSignaling
  let configuration: PeerConnectionConfiguration
  let plan: BenchPlan
  var count: Int
  /// Whether the result tells each second.
  var isProgressWanted: Bool
  /// A flow waits while more than this is buffered in its channel; nil: while there is no room.
  var buffered: Int?
  var channelConfiguration: DataChannelConfiguration

  /// The channel that carries what is only counted.
  static let flowLabel = "flow"

  private var mode: BenchMode { plan.mode }
  private var size: Int { plan.size }

  func run() async throws -> BenchResult {
    switch mode {
    case .bulk, .rate: try await measureFlow()
    case .pingpong: try await measureRoundTrips()
    case .mixed: try await measureRoundTripsBesideFlow()
    case .setup: try await measureSetUp()
    case .memory: try await measureMemory()
    case .channels: try await measureChannels()
    case .dtls: preconditionFailure("measured without connections, before there is a driver")
    }
  }

  // MARK: Connections

  private struct Link {
    let connection: PeerConnection
    let control: DataChannel
  }

  private func connect(number: Int) async throws -> Link {
    let connection = try PeerConnection(configuration: configuration)
    let control = try await connection.createDataChannel(plan.label)
    try await signaling.offer(connection, number: number)
    try await control.waitUntilOpen()
    return Link(connection: connection, control: control)
  }

  private func disconnect(_ link: Link, number: Int) async {
    signaling.forget(number)
    await link.connection.close()
  }

  private func ask(_ link: Link, sent: Int) async throws -> BenchReport {
    let question = try JSONEncoder().encode(BenchQuestion(sentMessages: sent))
    try await link.control.send(.text(String(decoding: question, as: UTF8.self)))
    for await answer in link.control.messages {
      return try JSONDecoder().decode(BenchReport.self, from: Data(answer.bytes))
    }
    throw BenchError.peerLeft
  }

  // MARK: Measurements

  /// As many messages as go through in the time, one way.
  private func measureFlow() async throws -> BenchResult {
    let link = try await connect(number: 0)
    let cpuBefore = Usage.cpuSeconds
    let sent = try await sendFlow(over: link)
    let report = try await ask(link, sent: sent)
    let cpu = Usage.cpuSeconds - cpuBefore + report.cpuSeconds
    await disconnect(link, number: 0)
    return try result(of: report, sent: sent, cpu: cpu)
  }

  /// - Returns: how many messages were sent.
  private func sendFlow(over link: Link) async throws -> Int {
    let channel = try await link.connection.createDataChannel(Self.flowLabel, channelConfiguration)
    try await channel.waitUntilOpen()
    let message = Message.binary([UInt8](repeating: 0x61, count: size))
    let clock = ContinuousClock()
    let end = clock.now + .seconds(plan.seconds)
    var sent = 0
    // The clock is looked at once for many small messages.
    let burst = max(1, 65_536 / max(size, 1))
    while clock.now < end {
      for _ in 0..<burst { try await channel.send(message) }
      sent += burst
      while let buffered, channel.bufferedAmount > buffered { try await Task.sleep(for: .milliseconds(1)) }
    }
    return sent
  }

  private func result(of report: BenchReport, sent: Int, cpu: Double) throws -> BenchResult {
    guard report.seconds > 0, report.bytes > 0 else { throw BenchError.nothingDelivered }
    return BenchResult(
      mode: mode, size: size, seconds: report.seconds,
      megabitsPerSecond: Double(report.bytes) * 8 / report.seconds / 1e6,
      megabitsBySecond: isProgressWanted ? report.bytesBySecond.map { Double($0) * 8 / 1e6 } : nil,
      messagesPerSecond: Double(report.messages) / report.seconds, sent: sent, delivered: report.delivered,
      processorSecondsPerGigabyte: cpu / (Double(report.bytesBySecond.reduce(0, +)) / 1e9))
  }

  /// Small messages to and fro while a flow fills the same connection: how long they wait for it.
  private func measureRoundTripsBesideFlow() async throws -> BenchResult {
    let link = try await connect(number: 0)
    let channel = try await link.connection.createDataChannel("ball")
    try await channel.waitUntilOpen()
    let cpuBefore = Usage.cpuSeconds
    let began = ContinuousClock.now
    let rally = Rally(
      channel: channel, message: .binary([UInt8](repeating: 0x62, count: 64)),
      extent: .time((began + .seconds(plan.warmUp))..<(began + .seconds(plan.seconds))))
    async let flow = sendFlow(over: link)
    let times = try await rally.play()
    let sent = try await flow
    let report = try await ask(link, sent: sent)
    let cpu = Usage.cpuSeconds - cpuBefore + report.cpuSeconds
    await disconnect(link, number: 0)
    var result = try result(of: report, sent: sent, cpu: cpu)
    let percentiles = Percentiles(times)
    result.medianMicroseconds = percentiles[50].map { $0 * 1e6 }
    result.ninetyNinthMicroseconds = percentiles[99].map { $0 * 1e6 }
    result.count = times.count
    return result
  }

  /// One message to and fro at a time.
  private func measureRoundTrips() async throws -> BenchResult {
    let link = try await connect(number: 0)
    let channel = try await link.connection.createDataChannel("ball", channelConfiguration)
    try await channel.waitUntilOpen()
    let rally = Rally(channel: channel, message: .binary([UInt8](repeating: 0x62, count: size)), extent: .count(count))
    let times = try await rally.play()
    await disconnect(link, number: 0)
    let percentiles = Percentiles(times)
    return BenchResult(
      mode: mode, size: size, delivered: times.count, medianMicroseconds: percentiles[50].map { $0 * 1e6 },
      ninetyNinthMicroseconds: percentiles[99].map { $0 * 1e6 }, count: count)
  }

  /// From nothing to an open channel, one connection after the other.
  private func measureSetUp() async throws -> BenchResult {
    var times: [Double] = []
    for number in 0..<count {
      let start = ContinuousClock.now
      let link = try await connect(number: number)
      times.append((ContinuousClock.now - start).inSeconds)
      await disconnect(link, number: number)
    }
    let percentiles = Percentiles(times)
    return BenchResult(
      mode: mode, delivered: times.count, medianMilliseconds: percentiles[50].map { $0 * 1e3 },
      ninetiethMilliseconds: percentiles[90].map { $0 * 1e3 }, count: count)
  }

  /// What an idle connection costs, both ends together.
  private func measureMemory() async throws -> BenchResult {
    // The first connection brings in what all share.
    let first = try await connect(number: 0)
    let before = Usage.residentKilobytes + (try await ask(first, sent: 0)).residentKilobytes
    var links: [Link] = []
    for number in 1...count { links.append(try await connect(number: number)) }
    let after = Usage.residentKilobytes + (try await ask(first, sent: 0)).residentKilobytes
    for (index, link) in links.enumerated() { await disconnect(link, number: index + 1) }
    await disconnect(first, number: 0)
    return BenchResult(
      mode: mode, delivered: links.count, residentKilobytesPerPair: Double(after - before) / Double(count), count: count
    )
  }

  /// Opens many channels on one connection and sends a message to and fro on each.
  private func measureChannels() async throws -> BenchResult {
    let link = try await connect(number: 0)
    var times: [Double] = []
    var channels: [DataChannel] = []
    for number in 0..<count {
      let start = ContinuousClock.now
      let channel = try await link.connection.createDataChannel("channel \(number)", channelConfiguration)
      try await channel.waitUntilOpen()
      try await channel.send(.binary([UInt8](repeating: 0x63, count: size)))
      for await _ in channel.messages { break }
      times.append((ContinuousClock.now - start).inSeconds)
      channels.append(channel)
    }
    await disconnect(link, number: 0)
    let percentiles = Percentiles(times)
    return BenchResult(
      mode: mode, size: size, delivered: channels.count, medianMicroseconds: percentiles[50].map { $0 * 1e6 },
      ninetyNinthMicroseconds: percentiles[99].map { $0 * 1e6 }, count: count)
  }
}

enum BenchError: Error, CustomStringConvertible {
  case peerLeft
  case nothingDelivered

  var description: String {
    switch self {
    case .peerLeft: "the other process has left"
    case .nothingDelivered: "nothing was delivered"
    }
  }
}
