// Coturn.swift — Debian's turnserver on loopback for the length of a test, with a configuration of its own.

import Foundation
import Testing
import Wire

final class Coturn {
  /// Nil when it is there. A clean machine has it: Scripts/setup installs it for the gate.
  static let whyNot: String? = program == nil ? "no turnserver; Debian's package is coturn" : nil
  static let isGate = ProcessInfo.processInfo.environment["CI"] == "true"
  private static let program = ["/usr/bin/turnserver", "/usr/local/bin/turnserver", "/opt/homebrew/bin/turnserver"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  let port: UInt16
  private let process = Process()
  private let lifeline = Pipe()
  private let folder: URL

  /// - Parameter lines: of the configuration, beside where it listens.
  init(_ lines: [String]) throws {
    port = try Self.freePort()
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("coturn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let configuration = folder.appendingPathComponent("turnserver.conf")
    let fixed = [
      "listening-ip=127.0.0.1", "listening-ip=::1", "relay-ip=127.0.0.1", "relay-ip=::1", "listening-port=\(port)",
      "realm=example.org", "allow-loopback-peers", "no-cli", "no-tls", "no-dtls", "simple-log", "log-file=stdout",
      "pidfile=\(folder.path)/pid", "userdb=\(folder.path)/db",
    ]
    try (fixed + lines).joined(separator: "\n").write(to: configuration, atomically: true, encoding: .utf8)
    // The shell ends the server when its input ends: when the test says so, or dies. By SIGKILL, because the threads that
    // start programs here block SIGTERM, and the programs inherit that.
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = [
      "-c", #""$@" </dev/null & read line; kill -9 $!"#, "sh", try #require(Self.program), "-c",
      configuration.path,
    ]
    process.standardInput = lifeline
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
  }

  func stop() {
    do {
      try lifeline.fileHandleForWriting.close()
      process.waitUntilExit()
      try FileManager.default.removeItem(at: folder)
    } catch {
      Issue.record("\(folder.path) stays: \(error)")
    }
  }

  /// One that is free for TCP now. Nobody can promise more.
  private static func freePort() throws -> UInt16 {
    let socket = try PlainSocket(.stream, isV6: false)
    defer { socket.close() }
    return socket.localAddress.port
  }
}
