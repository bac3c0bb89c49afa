// JoinCommand.swift — `swarm join`: a peer of a swarm that a script, or a person at a terminal, works with.

import ArgumentParser
import Foundation
import Swarm
import WebRTC

struct JoinCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "join",
    abstract: "Be a peer in a room; JSON lines on standard input and output, readable lines on a terminal.",
    discussion: """
      Each line of the input is an object with one command, and with an `id` if you \
      want to know its answer by it. Below the commands, what answers them:
        {"send":{"to":PEER,"type":TYPE,"payload":…}}
        {"broadcast":{"type":TYPE,"payload":…}}
          {"event":"sent","count":N}, how many peers it was sent to
        {"delegate":{"name":…,"requirements":[…],"data":…,"timeout":SECONDS}}
          {"event":"result","value":…}
        {"share":{"id":KEY,"value":…}}
          {"event":"shared","key":KEY,"clock":N}
        {"offerFile":PATH} or {"offerFile":{"path":PATH,"id":ID}}
          {"event":"offered","artifact":{…}}
        {"getFile":ID} into --folder, under its sender's name, if that is free
        {"getFile":{"id":ID,"from":PEER,"to":PATH}} into PATH, which is replaced
          {"event":"file","path":…,"size":N,"sha256":…,"artifact":{…}}
        {"propose":{"type":TYPE,"content":…,"timeout":SECONDS}}
          {"event":"decided","accepted":…,"timedOut":…,
          "yes":N,"no":N,"electorate":N}
        {"capabilities":[…]}
          {"event":"updated"}
        {"knowledge":true}
          {"event":"knowledge","entries":{KEY:…}}
        {"stats":true}
          {"event":"stats",…,"peers":[…]}
        {"result":{"task":NUMBER,"value":…}} or
        {"result":{"task":NUMBER,"error":TEXT}}, for a task of --task
        {"vote":{"proposal":NUMBER,"yes":true}}, with --vote ask
        {"leave":true}
      What cannot be done is answered with {"event":"error","reason":TEXT}. At the \
      end of the input the commands that are under way are finished; then, as after \
      SIGINT or SIGTERM, the peer leaves and the exit code is 0.

      Events besides the answers, with their members:
        joined: peer, room            left
        signaling-lost                connection-failed: peer, reason
        peer-joined: peer             peer-left: peer
        connected: peer               disconnected: peer
        capabilities: peer, capabilities
        message: from, type, payload
        knowledge-changed: key, value, by
        artifact: from, artifact {id, name, size, sha256}
        task: task, name, data, from  task-abandoned: task
        proposal: proposal, type, content, from
        voted: type, content, from, yes

      Tasks that every peer does for others: echo (gives `data` back), sha256 and word-count (of a text). On a \
      terminal, a line that does not begin with { is sent to everyone as a message of type text.
      """)

  @Option(help: "The room to be in.") var room: String
  @Option(help: "The signalling server.") var signaling = "ws://localhost:8000/signaling"
  @Option(help: "This peer's id. Default: a new one.") var id: String?
  @Option(help: "Something that this peer can do for others; repeatable.") var capability: [String] = []
  @Option(help: "A name of tasks that the script does: each comes as an event; repeatable.") var task: [String] = []
  @Option(help: "The room's capability, where the server asks for one.") var token: String?
  @Option(
    help: """
      How to vote: yes, no, ask (the script, which has 30 seconds; then it is a no), or default (yes to a goal-change and \
      to code without eval).
      """) var vote = VotingRule.default
  @Option(help: "Where files go that are fetched by their id alone.") var folder = "."
  @Option(
    help: ArgumentHelp("Read the input only once this many peers are connected.", valueName: "count"))
  var awaitPeers = 0
  @Option(help: "Addresses of this machine to be reached at: all but loopback (automatic), included, only or excluded.")
  var loopback = LoopbackRule.automatic
  @Flag(help: "JSON lines even on a terminal.") var json = false
  @OptionGroup(title: "The way to the peers") var ice: ICEOptions
  @OptionGroup(title: "Certificate and secrets") var security: SecurityOptions

  func validate() throws {
    guard !room.isEmpty else { throw ValidationError("--room must not be empty") }
    guard id != "" else { throw ValidationError("--id must not be empty") }
    guard let url = URL(string: signaling), ["ws", "wss"].contains(url.scheme?.lowercased()), url.host?.isEmpty == false
    else { throw ValidationError("--signaling is no ws:// or wss:// URL: \(signaling)") }
    guard (0...1_024).contains(awaitPeers) else { throw ValidationError("--await-peers goes from 0 to 1024") }
    guard !capability.contains(""), !task.contains("") else {
      throw ValidationError("a name for --capability and --task must not be empty")
    }
    var isFolder: ObjCBool = false
    guard unsafe FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
      throw ValidationError("--folder is no folder: \(folder)")
    }
  }

  func run() async throws {
    var configuration = SwarmConfiguration(room: room)
    configuration.signalingURL = signaling
    configuration.peerID = id
    configuration.capabilities = capability
    configuration.token = token
    configuration.webRTC.loopback = loopback.rule
    ice.apply(to: &configuration.webRTC)
    try security.apply(to: &configuration.webRTC)
    let session = JoinSession(
      peer: SwarmPeer(configuration),
      output: JoinOutput(isReadable: Terminal.isStandardOutput && !json),
      options: JoinOptions(tasks: task, vote: vote, folder: folder, awaitPeers: awaitPeers))
    try await session.run()
  }
}

/// What the session needs of the command line.
struct JoinOptions: Sendable {
  var tasks: [String]
  var vote: VotingRule
  var folder: String
  var awaitPeers: Int
}

enum VotingRule: String, CaseIterable, ExpressibleByArgument, Sendable { case `default`, yes, no, ask }

enum LoopbackRule: String, CaseIterable, ExpressibleByArgument, Sendable {
  case automatic, included, only, excluded

  var rule: PeerConnectionConfiguration.Loopback {
    switch self {
    case .automatic: .automatic
    case .included: .included
    case .only: .only
    case .excluded: .excluded
    }
  }
}
