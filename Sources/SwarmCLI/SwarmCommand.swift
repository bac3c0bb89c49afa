// SwarmCommand.swift — the command `swarm`.

import ArgumentParser

@main
struct SwarmCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swarm",
    abstract: "Peers that meet in a room and work together over encrypted data channels.",
    subcommands: [ConnectCommand.self, BenchCommand.self])
}
