// ICEOptions.swift — how a command's connections find their way: servers, policy, ports.

import ArgumentParser
import WebRTC

struct ICEOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      A STUN or TURN server, as stun:HOST[:PORT], turn:HOST[:PORT][?transport=tcp],NAME,PASSWORD or turns:…; repeatable. \
      'none' asks none.
      """, valueName: "url[,name,password]"), transform: ServerOption.init)
  var iceServer: [ServerOption] = []
  @Option(
    help: ArgumentHelp("Candidates to use: all, or relay for those of TURN servers only.", valueName: "policy"),
    transform: Self.readPolicy)
  var policy = PeerConnectionConfiguration.ICETransportPolicy.all
  @Option(
    help: ArgumentHelp("Candidates of TCP: none, active, or both to accept connections, too.", valueName: "which"),
    transform: Self.readTCP)
  var tcp = PeerConnectionConfiguration.TCPCandidates.active
  @Option(
    help: ArgumentHelp("Ports to use, as FIRST-LAST.", valueName: "ports"), transform: Self.readRange)
  var portRange: ClosedRange<UInt16>?
  @Flag(help: "Hide this machine's addresses behind .local names.") var hideAddresses = false

  /// - Parameter servers: those to ask when the command line names none.
  func apply(to configuration: inout PeerConnectionConfiguration, servers: [ICEServer] = ICEServer.defaults) {
    configuration.iceServers = iceServer.isEmpty ? servers : iceServer.compactMap(\.server)
    configuration.iceTransportPolicy = policy
    configuration.tcpCandidates = tcp
    configuration.portRange = portRange
    configuration.hidesHostAddresses = hideAddresses
  }

  /// The same options for another process of this program.
  var arguments: [String] {
    var arguments = iceServer.flatMap { ["--ice-server", $0.text] }
    arguments += ["--policy", policy.rawValue, "--tcp", tcp.rawValue]
    if let portRange { arguments += ["--port-range", "\(portRange.lowerBound)-\(portRange.upperBound)"] }
    if hideAddresses { arguments.append("--hide-addresses") }
    return arguments
  }

  private static func readPolicy(_ text: String) throws -> PeerConnectionConfiguration.ICETransportPolicy {
    guard let policy = PeerConnectionConfiguration.ICETransportPolicy(rawValue: text) else {
      throw ValidationError("it is 'all' or 'relay'")
    }
    return policy
  }

  private static func readTCP(_ text: String) throws -> PeerConnectionConfiguration.TCPCandidates {
    guard let which = PeerConnectionConfiguration.TCPCandidates(rawValue: text) else {
      throw ValidationError("it is 'none', 'active' or 'both'")
    }
    return which
  }

  private static func readRange(_ text: String) throws -> ClosedRange<UInt16> {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, let first = UInt16(parts[0]), let last = UInt16(parts[1]), first > 0, first <= last else {
      throw ValidationError("it is FIRST-LAST, two ports from 1 to 65535")
    }
    return first...last
  }
}

/// One `--ice-server`.
struct ServerOption: Sendable {
  let text: String
  /// Nil for 'none'.
  let server: ICEServer?

  init(_ text: String) throws {
    self.text = text
    guard text != "none" else {
      server = nil
      return
    }
    // A password may contain commas; a name or a URL may not.
    let parts = text.split(separator: ",", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    guard parts.count != 2 else { throw ValidationError("a name needs a password: URL,NAME,PASSWORD") }
    let server =
      parts.count == 1 ? ICEServer(parts[0]) : ICEServer(parts[0], username: parts[1], credential: parts[2])
    do { _ = try server.endpoints() } catch { throw ValidationError("\(error)") }
    self.server = server
  }
}
