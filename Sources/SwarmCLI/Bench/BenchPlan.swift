// BenchPlan.swift — what is measured, as the driving process tells the other, and what comes back.

import Foundation
import WebRTC

enum BenchMode: String, Codable, CaseIterable, Sendable {
  case bulk, rate, pingpong, setup, memory, channels
}

/// The label of a measurement's control channel, as JSON: the other process needs no arguments.
struct BenchPlan: Codable, Sendable {
  var mode: BenchMode
  /// Bytes a message.
  var size: Int

  var label: String {
    get throws { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
  }

  init(mode: BenchMode, size: Int) {
    self.mode = mode
    self.size = size
  }

  init(label: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(label.utf8)) }
}

/// What the responder counted, sent over the control channel.
struct BenchReport: Codable, Sendable {
  var messages = 0
  var bytes = 0
  /// From the first message to the last.
  var seconds = 0.0
  var cpuSeconds = 0.0
  var residentKilobytes = 0
}

/// The driver's question: everything is sent, what has arrived?
struct BenchQuestion: Codable, Sendable {
  var sentMessages: Int
}

/// The figures of one measurement; those that a mode does not measure are absent.
struct BenchResult: Codable, Sendable {
  var mode: BenchMode
  var size: Int?
  var seconds: Double?
  var mbit_per_s: Double?
  var messages_per_s: Double?
  var sent: Int?
  var delivered: Int?
  var p50_us: Double?
  var p99_us: Double?
  var p50_ms: Double?
  var p90_ms: Double?
  var cpu_s_per_gb: Double?
  var rss_kb_per_pair: Double?
  var count: Int?
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
