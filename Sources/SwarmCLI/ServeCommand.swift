// ServeCommand.swift — `swarm serve`: the signalling server as a program of its own.

import ArgumentParser
import Foundation
import Signaling
import SignalingTransport
import Wire

struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Run a signalling server, where peers find each other, until SIGINT or SIGTERM.",
    discussion: """
      Prints its URL once it listens, as {"event":"listening","url":…,"host":…,"port":…} when standard output is no \
      terminal. GET /healthz and GET /api/signaling/stats answer beside the WebSocket.

      Peers on this host need nothing. For others, give --host and either --access-token, which their URL then carries \
      (ws://HOST:PORT/signaling?access_token=TOKEN), or --open.
      """)

  @Option(help: "The name or address to listen on.") var host = "127.0.0.1"
  @Option(help: "The port to listen on; 0 takes a free one.") var port: UInt16 = 8_000
  @Option(help: "The path of the WebSocket.") var path = "/signaling"
  @Option(help: ArgumentHelp("Let in whoever shows this token, from anywhere.", valueName: "token"))
  var accessToken: String?
  @Option(
    help: ArgumentHelp("A web page's origin that may connect, with --access-token; repeatable.", valueName: "origin"))
  var allowOrigin: [String] = []
  @Flag(help: "Let anybody in, from anywhere.") var open = false
  @Option(
    help: ArgumentHelp(
      "Also answer STUN requests on this UDP port; 0 takes a free one. Peers then use --ice-server stun:HOST:PORT.",
      valueName: "port")) var stunPort: UInt16?
  @Flag(help: "Only rooms with a capability: join needs a token of 32 characters or more.") var capabilityRooms = false

  func validate() throws {
    guard path.hasPrefix("/"), path.utf8.allSatisfy({ (0x21...0x7e).contains($0) }),
      !path.contains(where: "?#".contains)
    else { throw ValidationError("--path must begin with / and have no space, ? or #") }
    guard accessToken != "" else { throw ValidationError("--access-token must not be empty") }
    guard accessToken == nil || !open else { throw ValidationError("give either --access-token or --open") }
    guard allowOrigin.isEmpty || accessToken != nil else {
      throw ValidationError("--allow-origin needs --access-token")
    }
    guard isLocalHost || accessToken != nil || open else {
      throw ValidationError("--host \(host) lets others in only with --access-token, or --open for everybody")
    }
  }

  func run() async throws {
    let signals = TerminationSignals.stream()
    var configuration = SignalingServer.Configuration(host: host, port: Int(port))
    configuration.path = path
    configuration.policy = capabilityRooms ? .capability : .open
    if let accessToken {
      configuration.access = .remote(accessToken: accessToken, allowedOrigins: allowOrigin)
    } else {
      configuration.access = open ? .anyone : .localOnly
    }
    let server = SignalingServer(configuration: configuration)
    let address = try await server.start()
    let stun = try await startSTUN()
    if Terminal.isStandardOutput {
      JSONLines.write(line: "listening on \(address.url)")
      if let stun { JSONLines.write(line: "answering STUN at \(stun.address)") }
    } else {
      JSONLines.write([
        "event": "listening", "url": .string(address.url), "host": .string(address.host),
        "port": .integer(address.port), "stunPort": stun.map { .integer(Int($0.address.port)) } ?? .null,
      ])
    }
    for await _ in signals { break }
    await stun?.service.stop()
    await server.shutdown()
  }

  private func startSTUN() async throws -> (service: STUNService, address: SocketAddress)? {
    guard let stunPort else { return nil }
    let ip = host == "localhost" ? .loopbackV4 : IPAddress(host)
    guard let ip else { throw ValidationError("--stun-port needs a --host that is an address") }
    return try await STUNService.start(at: SocketAddress(ip: ip, port: stunPort))
  }

  private var isLocalHost: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}

enum Terminal {
  static var isStandardInput: Bool { isatty(STDIN_FILENO) == 1 }
  static var isStandardOutput: Bool { isatty(STDOUT_FILENO) == 1 }
}
