// SwarmCommand.swift — the command `swarm`: its subcommands, and how every one of them ends.
//
// Whatever goes wrong is one line on standard error. Exit codes: 0 done, 1 failed, 64 not understood (EX_USAGE), and
// 128 + n when signal n ended it early.

import ArgumentParser
import Foundation

@main
struct SwarmCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swarm",
    abstract: "Peers that meet in a room and work together over encrypted data channels.",
    subcommands: [
      DemoCommand.self, ServeCommand.self, JoinCommand.self, ConnectCommand.self, BenchCommand.self,
    ])

  static func main() async {
    // Whoever reads our output may leave first: that is an error of the write, not a signal.
    signal(SIGPIPE, SIG_IGN)
    CommandLog.start()
    do {
      try await run(try parseAsRoot())
    } catch {
      let code = exitCode(for: error)
      // Help that was asked for, and failures that have been explained already.
      if code.isSuccess || error is ExitCode { exit(withError: error) }
      let hint = code == .validationFailure ? " ('\(commandName(of: error)) --help' explains)" : ""
      // The parser lists what would have been allowed one a line.
      let words = message(for: error).split(whereSeparator: \.isWhitespace).joined(separator: " ")
      StandardError.write("swarm: \(words)\(hint)")
      Foundation.exit(code.rawValue)
    }
  }

  private static func run(_ command: any ParsableCommand) async throws {
    if let command = command as? any AsyncParsableCommand {
      try await runToEnd(command)
    } else {
      var command = command
      try command.run()
    }
  }

  private static func runToEnd(_ command: some AsyncParsableCommand) async throws {
    var command = command
    try await command.run()
  }

  /// `swarm join` for an error in the arguments of `join`.
  private static func commandName(of error: any Error) -> String {
    let known = configuration.subcommands.compactMap { $0.configuration.commandName }
    guard let name = CommandLine.arguments.dropFirst().first, known.contains(name) else { return "swarm" }
    return "swarm \(name)"
  }
}
