// BenchPlan.swift — what is measured, as the driving process tells the other, and what comes back.

import Foundation
import WebRTC

enum BenchMode: String, Codable, CaseIterable, Sendable {
  case bulk, rate, pingpong, mixed, setup, memory, channels
  /// Within one process: see `DTLSBenchResult`.
  case dtls
}

/// The label of a measurement's control channel, as JSON: the other process needs no arguments.
struct BenchPlan: Codable, Sendable {
  var mode: BenchMode
  /// Bytes a message.
  var size: Int
  /// How long a flow is sent.
  var seconds: Double
  /// What arrives so soon after the first message does not count.
  var warmUp: Double

  var label: String {
    get throws { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
  }

  init(mode: BenchMode, size: Int, seconds: Double, warmUp: Double) {
    self.mode = mode
    self.size = size
    self.seconds = seconds
    self.warmUp = warmUp
  }

  init(label: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(label.utf8)) }
}

/// What the responder counted, sent over the control channel.
struct BenchReport: Codable, Sendable {
  /// All that arrived.
  var delivered = 0
  /// What arrived in the time that counts.
  var messages = 0
  var bytes = 0
  /// From the first message to the last; with a warm-up, from its end to the end of the plan.
  var seconds = 0.0
  /// Bytes in each second since the first message.
  var bytesBySecond: [Int] = []
  var cpuSeconds = 0.0
  var residentKilobytes = 0
}

/// The driver's question: everything is sent, what has arrived?
struct BenchQuestion: Codable, Sendable {
  var sentMessages: Int
}

/// The figures of one measurement; those that a mode does not measure are absent.
struct BenchResult: Encodable, Sendable {
  var mode: BenchMode
  var size: Int?
  var seconds: Double?
  var megabitsPerSecond: Double?
  var megabitsBySecond: [Double]?
  var messagesPerSecond: Double?
  var sent: Int?
  var delivered: Int?
  var medianMicroseconds: Double?
  var ninetyNinthMicroseconds: Double?
  var medianMilliseconds: Double?
  var ninetiethMilliseconds: Double?
  var processorSecondsPerGigabyte: Double?
  var residentKilobytesPerPair: Double?
  var count: Int?

  /// The names that scripts read.
  enum CodingKeys: String, CodingKey {
    case mode, size, seconds, sent, delivered, count
    case megabitsPerSecond = "mbit_per_s"
    case megabitsBySecond = "mbit_by_second"
    case messagesPerSecond = "messages_per_s"
    case medianMicroseconds = "p50_us"
    case ninetyNinthMicroseconds = "p99_us"
    case medianMilliseconds = "p50_ms"
    case ninetiethMilliseconds = "p90_ms"
    case processorSecondsPerGigabyte = "cpu_s_per_gb"
    case residentKilobytesPerPair = "rss_kb_per_pair"
  }
}

/// What this process has used so far.
enum Usage {
  /// User and system time, in seconds.
  static var cpuSeconds: Double {
    var usage = rusage()
    guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
    let micro = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(micro) / 1e6
  }

  /// Resident memory, in kilobytes; 0 where the system does not tell.
  static var residentKilobytes: Int {
    guard let text = FileManager.default.contents(atPath: "/proc/self/statm") else { return 0 }
    let fields = String(decoding: text, as: UTF8.self).split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
    return pages * Int(sysconf(Int32(_SC_PAGESIZE))) / 1_024
  }
}

/// Values of a measurement in order of size.
struct Percentiles {
  private let sorted: [Double]
  init(_ values: [Double]) { sorted = values.sorted() }

  /// The nearest-rank percentile; nil without values.
  subscript(percent: Int) -> Double? {
    guard !sorted.isEmpty else { return nil }
    let rank = (sorted.count * percent + 99) / 100
    return sorted[max(0, min(sorted.count, rank) - 1)]
  }
}
