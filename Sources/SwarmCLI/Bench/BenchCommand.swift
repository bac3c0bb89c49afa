// BenchCommand.swift — `swarm bench`: measures two processes over loopback, or two hosts.

import ArgumentParser
import Foundation
import Signaling
import SignalingTransport
import WebRTC

struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure throughput, rate, latency, set-up time and memory between two processes.",
    discussion: """
      Without --listen or --connect a second process is started and both talk over loopback. Between two hosts: \
      `swarm bench MODE --listen ADDR:PORT` on one, `swarm bench MODE --connect ADDR:PORT` on the other. \
      `swarm bench dtls` measures encryption alone, in this \
      process, by processor time, beside `openssl speed`.
      """)

  @Argument(help: "\(BenchMode.allCases.map(\.rawValue).joined(separator: ", ")).") var mode: BenchMode
  @Option(help: "Bytes a message. Default: 65536 for bulk, 16384 for mixed, 64 otherwise.") var size: Int?
  @Option(
    help:
      "How long to send, for bulk, rate and mixed; how long to measure each of the nine figures of dtls. Default: 5, 2."
  )
  var seconds: Double?
  @Option(help: "Leave the first seconds out of the figures of bulk, rate and mixed.") var warmUp = 0.0
  @Option(help: "\(Controller.allNames). Default: bbr.", transform: Controller.named)
  var congestionControl = PeerConnectionConfiguration().congestionControl
  @Option(help: "Round trips, connections or channels. Default: 10000, 100 and 100.") var count: Int?
  @Option(help: "Bytes that a flow keeps buffered. Default: 262144 for mixed, as many as there is room for otherwise.")
  var buffered: Int?
  @Flag(help: "Deliver messages as they come.") var unordered = false
  @Option(help: "Give a message up after this many retransmissions.") var maxRetransmits: UInt16?
  @Option(help: "Wait for the other host here, as ADDR:PORT, and drive.") var listen: String?
  @Option(help: "Respond to the host that drives there, as ADDR:PORT.") var connect: String?
  @Flag(help: "Print the figures as one JSON object.") var json = false
  @Flag(help: "Tell the throughput of each second too.") var progress = false
  @OptionGroup(title: "The way to the other process; without any --ice-server none is asked") var ice: ICEOptions
  @OptionGroup(title: "Certificate and secrets") var security: SecurityOptions

  private var effectiveSize: Int {
    switch mode {
    case .bulk: size ?? 65_536
    case .mixed: size ?? 16_384
    case .rate, .pingpong, .setup, .memory, .channels, .dtls: size ?? 64
    }
  }
  private var effectiveSeconds: Double { seconds ?? (mode == .dtls ? 2 : 5) }
  private var effectiveCount: Int { count ?? (mode == .pingpong ? 10_000 : 100) }

  func validate() throws {
    guard (0...262_144).contains(effectiveSize) else { throw ValidationError("--size goes from 0 to 262144") }
    guard effectiveCount > 0 else { throw ValidationError("--count must be positive") }
    guard effectiveSeconds > 0, effectiveSeconds <= 3_600 else {
      throw ValidationError("--seconds goes from 0 to 3600")
    }
    guard warmUp >= 0, warmUp < effectiveSeconds else { throw ValidationError("--warm-up goes from 0 to --seconds") }
    guard listen == nil || connect == nil else { throw ValidationError("give either --listen or --connect") }
    guard mode != .dtls || listen == nil && connect == nil else {
      throw ValidationError("dtls is measured in one process")
    }
    for address in [listen, connect].compactMap({ $0 }) where Endpoint(address) == nil {
      throw ValidationError("\(address) is not ADDR:PORT")
    }
  }

  func run() async throws {
    if mode == .dtls {
      let result = try DTLSBenchResult(measuring: effectiveSeconds)
      if json { JSONLines.write(result) } else { print(result.table) }
      return
    }
    if let connect, let endpoint = Endpoint(connect) {
      let signaling = try await BenchSignaling(url: endpoint.url, role: .responder)
      try await BenchResponder(signaling: signaling, configuration: try connectionConfiguration()).run()
      return
    }
    let endpoint = listen.flatMap { Endpoint($0) } ?? Endpoint(host: "127.0.0.1", port: 0)
    var serverConfiguration = SignalingServer.Configuration(host: endpoint.host, port: endpoint.port)
    serverConfiguration.access = listen == nil ? .localOnly : .anyone
    // Two processes that negotiate thousands of connections are no flood.
    serverConfiguration.limits.messagesPerWindow = 100_000
    serverConfiguration.limits.unansweredOffers = 100_000
    let server = SignalingServer(configuration: serverConfiguration)
    let address = try await server.start()
    let child = listen == nil ? try startResponder(port: address.port) : nil
    defer { child?.terminate() }
    let signaling = try await BenchSignaling(url: "ws://\(address.host):\(address.port)/signaling", role: .driver)
    for await case .peerJoined in signaling.events { break }
    let driver = BenchDriver(
      signaling: signaling, configuration: try connectionConfiguration(),
      plan: BenchPlan(mode: mode, size: effectiveSize, seconds: effectiveSeconds, warmUp: warmUp),
      count: effectiveCount, isProgressWanted: progress, buffered: buffered ?? (mode == .mixed ? 262_144 : nil),
      channelConfiguration: DataChannelConfiguration(isOrdered: !unordered, maxRetransmits: maxRetransmits))
    let result = try await driver.run()
    if json { JSONLines.write(result) } else { print(result.table) }
    await signaling.close()
    await server.shutdown()
  }

  private func connectionConfiguration() throws -> PeerConnectionConfiguration {
    var configuration = PeerConnectionConfiguration()
    configuration.loopback = listen == nil && connect.map { $0.hasPrefix("127.") } ?? true ? .only : .included
    configuration.congestionControl = congestionControl
    ice.apply(to: &configuration, servers: [])
    try security.apply(to: &configuration)
    return configuration
  }

  private func startResponder(port: Int) throws -> Process {
    let child = Process()
    child.executableURL = try CurrentExecutable.url
    child.arguments =
      ["bench", mode.rawValue, "--connect", "127.0.0.1:\(port)"] + ice.arguments
      + security.arguments
    child.standardInput = FileHandle.nullDevice
    try child.run()
    return child
  }
}

extension BenchMode: ExpressibleByArgument {}

private typealias Controller = PeerConnectionConfiguration.CongestionControl

extension Controller {
  fileprivate static var allNames: String { allCases.map(\.rawValue).joined(separator: ", ") }

  fileprivate static func named(_ name: String) throws -> Controller {
    guard let controller = Controller(rawValue: name) else { throw ValidationError("it is one of \(allNames)") }
    return controller
  }
}

/// A host and a port on the command line.
private struct Endpoint {
  var host: String
  var port: Int

  init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65_535).contains(port), colon != text.startIndex
    else { return nil }
    self.init(host: text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]")), port: port)
  }

  var url: String { "ws://\(host.contains(":") ? "[\(host)]" : host):\(port)/signaling" }
}

extension BenchResult {
  /// The figures for people, one a line.
  var table: String {
    let figures: [(String, Double?, String)] = [
      ("throughput", megabitsPerSecond, "Mbit/s"), ("messages", messagesPerSecond, "/s"),
      ("round trip, median", medianMicroseconds, "µs"),
      ("round trip, 99 %", ninetyNinthMicroseconds, "µs"), ("set-up, median", medianMilliseconds, "ms"),
      ("set-up, 90 %", ninetiethMilliseconds, "ms"),
      ("processor, both ends", processorSecondsPerGigabyte, "s/GB"),
      ("memory, both ends", residentKilobytesPerPair, "KB a pair"),
    ]
    var lines = ["\(mode.rawValue)\(size.map { ", \($0) bytes a message" } ?? "")"]
    for case (let name, let value?, let unit) in figures {
      let padded = name.padding(toLength: 22, withPad: " ", startingAt: 0)
      lines.append("  \(padded) \(String(format: "%10.2f", value)) \(unit)")
    }
    for (second, megabits) in (megabitsBySecond ?? []).enumerated() {
      lines.append(String(format: "  second %-15d %10.2f Mbit/s", second + 1, megabits))
    }
    if let delivered { lines.append("  delivered              \(delivered)\(sent.map { " of \($0)" } ?? "")") }
    return lines.joined(separator: "\n")
  }
}
