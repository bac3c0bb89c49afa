// CommandLog.swift — what the libraries log goes to standard error: warnings, or what SWARM_LOG asks for.

import Foundation
import Logging

enum CommandLog {
  /// To be called once, before anything logs.
  static func start() {
    let wanted = ProcessInfo.processInfo.environment["SWARM_LOG"]
    let level = wanted.flatMap { Logger.Level(rawValue: $0.lowercased()) }
    if let wanted, level == nil {
      let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
      StandardError.write("swarm: SWARM_LOG is '\(wanted)' and not one of \(known)")
    }
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level ?? .warning
      return handler
    }
  }
}
