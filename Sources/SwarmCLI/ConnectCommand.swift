// ConnectCommand.swift — `swarm connect`: one peer connection, its signalling as JSON lines on standard input and
// output. What other WebRTC stacks are tested against.

import ArgumentParser
import Foundation
import Synchronization
import WebRTC

struct ConnectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "connect",
    abstract: "Open one data channel; descriptions and candidates go through standard input and output.",
    discussion: """
      Each line is a JSON object. Descriptions and candidates, in both directions:
        {"type":"offer","sdp":…}  {"type":"answer","sdp":…}  {"candidate":…,"sdpMid":…,"sdpMLineIndex":…}
      Out: {"event":"open","label":…}  {"event":"message","text":…}  {"event":"message","base64":…}  {"event":"closed"}
        {"event":"pair","local":KIND,"remote":KIND,"localAddress":…,"remoteAddress":…,"protocol":…,"milliseconds":N} for the \
      candidate pair in use, each time that it is another one; KIND is host, srflx, prflx or relay. The time counts from \
      when both descriptions were known, there and in "open".
      In: {"send":"text"}  {"sendBase64":…}  {"sendBytes":n}  {"close":true}. The end of the input closes as well.
        {"restart":true}: another search for the way (ICE restart), with another offer, as when this machine's addresses \
      change.
      After {"sendBytes":n} comes {"event":"sent","bytes":n,"sha256":…}. With --digest, binary messages are not printed:
      {"event":"progress","bytes":n} comes now and then, and {"event":"digest","bytes":n,"sha256":…} at a text message.
        With --media: {"event":"track","mid":…,"kind":"audio"|"video","codec":…} for each section that the peer sends on, and after \
      {"stats":true}, and at the end of the input, {"event":"media","mid":…,"kind":…,"received":n,"lost":n,"sent":n, \
      "retransmitted":n,"nacks":n,"keyframeRequests":n} for each section.
      """)

  @Flag(help: "Make the offer.") var offer = false
  @Flag(help: "Wait for an offer and answer it.") var answer = false
  @Option(help: "The channel's label; used with --offer.") var label = "swarm"
  @Flag(help: "Messages may overtake each other; used with --offer.") var unordered = false
  @Option(help: ArgumentHelp("Give a message up after so many retransmissions; used with --offer.", valueName: "n"))
  var maxRetransmits: UInt16?
  @Option(help: ArgumentHelp("Give a message up after so many milliseconds; used with --offer.", valueName: "ms"))
  var maxPacketLifeTime: UInt16?
  @Flag(help: "Send every message back as it came.") var echo = false
  @Flag(
    help: "Begin SCTP in the offer (a=sctp-init); a peer's offer of that is taken up in any case.")
  var sctpInit = false
  @Option(
    help: ArgumentHelp(
      "What is done with audio and video: each packet is sent back, written to a file, or read from one (rtpdump).",
      valueName: "echo|record=FILE|play=FILE"))
  var media: MediaMode?
  @Option(help: ArgumentHelp("Which sections --media offers; used with --offer.", valueName: "audio,video"))
  var mediaKinds = MediaKinds([.audio, .video])
  @Flag(help: "Offer no data channel; used with --offer and --media.") var noChannel = false
  @Flag(help: "Count and hash binary messages instead of printing them; text ends the sum.") var digest = false
  @OptionGroup(title: "The way to the peer") var ice: ICEOptions
  @OptionGroup(title: "Certificate and secrets") var security: SecurityOptions

  func validate() throws {
    guard offer != answer else { throw ValidationError("give either --offer or --answer") }
    guard offer || !sctpInit else { throw ValidationError("--sctp-init is for the side that offers") }
    guard !noChannel || (offer && media != nil) else {
      throw ValidationError("--no-channel is for the side that offers, with --media")
    }
    guard maxRetransmits == nil || maxPacketLifeTime == nil else {
      throw ValidationError("--max-retransmits and --max-packet-life-time exclude each other")
    }
  }

  func run() async throws {
    var configuration = PeerConnectionConfiguration()
    configuration.loopback = .included
    configuration.offersSCTPInitiation = sctpInit
    configuration.acceptsMedia = media != nil
    ice.apply(to: &configuration)
    try security.apply(to: &configuration)
    let connection = try PeerConnection(configuration: configuration)
    let media = try self.media.map { try ConnectMedia(connection: connection, mode: $0) }
    let session = ConnectSession(connection: connection, media: media, echo: echo, digest: digest)
    if offer { try await media?.addTransceivers(mediaKinds.kinds) }
    let channel = DataChannelConfiguration(
      isOrdered: !unordered, maxRetransmits: maxRetransmits, maxPacketLifeTime: maxPacketLifeTime)
    try await session.run(isOffering: offer, label: noChannel ? nil : label, channel)
  }
}

/// A line of `swarm connect`; which members are present says what it is.
struct ConnectLine: Codable {
  var type: SessionDescription.Kind?
  var sdp: String?
  var candidate: String?
  var sdpMid: String?
  var sdpMLineIndex: Int?
  var usernameFragment: String?
  var event: String?
  var label: String?
  var text: String?
  var base64: String?
  var reason: String?
  var send: String?
  var sendBase64: String?
  var sendBytes: Int?
  var close: Bool?
  var local: String?
  var remote: String?
  var localAddress: String?
  var remoteAddress: String?
  var `protocol`: String?
  var milliseconds: Int?
  var restart: Bool?
  var stats: Bool?
}

private struct ConnectSession {
  let connection: PeerConnection
  let media: ConnectMedia?
  let echo: Bool
  let digest: Bool
  private let stopwatch = Stopwatch()

  init(connection: PeerConnection, media: ConnectMedia?, echo: Bool, digest: Bool) {
    self.connection = connection
    self.media = media
    self.echo = echo
    self.digest = digest
  }

  /// - Parameter label: of the channel that the offering side opens; nil: none.
  func run(isOffering: Bool, label: String?, _ configuration: DataChannelConfiguration) async throws {
    if isOffering {
      var channel: DataChannel?
      if let label { channel = try await connection.createDataChannel(label, configuration) }
      let offer = try await connection.createOffer()
      try await connection.setLocalDescription(offer)
      JSONLines.write(ConnectLine(type: .offer, sdp: offer.sdp))
      try await serve(first: channel)
    } else {
      try await serve(first: nil)
    }
  }

  /// Runs until the input ends, the channel closes or the connection fails, whichever is first.
  private func serve(first: DataChannel?) async throws {
    let current = CurrentChannel()
    // How many bytes to send: beside the input, which brings candidates meanwhile.
    let (transfers, requestTransfer) = AsyncStream.makeStream(of: Int.self)
    try await withThrowingTaskGroup(of: Bool.self) { group in
      // The candidates follow the description: they exist once it is set.
      group.addTask {
        for await candidate in connection.localCandidates {
          JSONLines.write(
            ConnectLine(
              candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex,
              usernameFragment: candidate.usernameFragment))
        }
        return false
      }
      group.addTask {
        for await pair in connection.selectedPairs { stopwatch.report(pair) }
        return false
      }
      group.addTask {
        // Of what is due after a restart; the first negotiation is made by `run` or by the peer.
        for await _ in connection.negotiationNeeded { try await offerAnew() }
        return false
      }
      group.addTask {
        for await state in connection.connectionStates where state == .failed {
          let reason = await connection.failureReason ?? "the connection failed"
          JSONLines.write(ConnectLine(event: "failed", reason: reason))
          throw ExitCode.failure
        }
        return false
      }
      group.addTask {
        var channel = first
        if channel == nil {
          for await incoming in connection.incomingChannels {
            channel = incoming
            break
          }
        }
        guard let channel else { return false }
        try await use(channel, current: current)
        return true
      }
      if let media {
        group.addTask {
          await media.serve()
          return false
        }
      }
      group.addTask {
        try await readInput(current: current, requestTransfer: requestTransfer)
      }
      group.addTask {
        for await total in transfers { try await send(total, current: current) }
        return false
      }
      while let isOver = try await group.next() {
        if isOver { break }
      }
      group.cancelAll()
    }
    await connection.close()
  }

  private func offerAnew() async throws {
    do {
      let offer = try await connection.createOffer()
      // Setting it brings candidates, which must not be read before the offer that they belong to.
      JSONLines.write(ConnectLine(type: .offer, sdp: offer.sdp))
      try await connection.setLocalDescription(offer)
    } catch {
      // The peer's own offer came first: its answer restarts both.
      JSONLines.write(ConnectLine(event: "error", reason: "\(error)"))
    }
  }

  private func use(_ channel: DataChannel, current: CurrentChannel) async throws {
    try await channel.waitUntilOpen()
    if let pair = await connection.selectedCandidatePair { stopwatch.report(pair) }
    JSONLines.write(ConnectLine(event: "open", label: channel.label, milliseconds: stopwatch.elapsed))
    current.set(channel)
    var sum = TransferDigest()
    for await message in channel.messages {
      if digest {
        sum.add(message)
        continue
      }
      if echo {
        do { try await channel.send(message) } catch SendError.closed {
          // This side is closing: what still comes has nowhere to go back to.
        }
        continue
      }
      switch message {
      case .text(let text): JSONLines.write(ConnectLine(event: "message", text: text))
      case .binary(let bytes):
        JSONLines.write(ConnectLine(event: "message", base64: Data(bytes).base64EncodedString()))
      }
    }
    JSONLines.write(ConnectLine(event: "closed"))
  }

  private func send(_ total: Int, current: CurrentChannel) async throws {
    do {
      try await ConnectTransfer.send(total, on: current.waitForChannel())
    } catch let error as SendError {
      JSONLines.write(ConnectLine(event: "error", reason: "\(error)"))
    }
  }

  /// Carries out the lines of the input; at its end flushes and closes.
  ///
  /// - Returns: whether the session is over with the input.
  private func readInput(
    current: CurrentChannel, requestTransfer: AsyncStream<Int>.Continuation
  ) async throws -> Bool {
    let decoder = JSONDecoder()
    for await line in StandardInputLines() {
      if line.allSatisfy(\.isWhitespace) { continue }
      let parsed: ConnectLine
      do {
        parsed = try decoder.decode(ConnectLine.self, from: Data(line.utf8))
      } catch {
        JSONLines.write(ConnectLine(event: "error", reason: "not a line that connect knows: \(line.prefix(120))"))
        continue
      }
      do {
        if let total = parsed.sendBytes, total > 0 {
          requestTransfer.yield(total)
        } else if try await apply(parsed, current: current) {
          break
        }
      } catch let error as PeerConnectionError {
        JSONLines.write(ConnectLine(event: "error", reason: "\(error)"))
      } catch let error as SendError {
        JSONLines.write(ConnectLine(event: "error", reason: "\(error)"))
      }
    }
    await media?.writeStatistics()
    // An open channel is flushed and closed first: whoever reads it then says that it is over.
    guard let channel = current.ifOpen else { return true }
    channel.close()
    return false
  }

  /// - Returns: whether this was the last line to heed.
  private func apply(_ line: ConnectLine, current: CurrentChannel) async throws -> Bool {
    if let type = line.type, let sdp = line.sdp {
      try await connection.setRemoteDescription(SessionDescription(type: type, sdp: sdp))
      if type == .offer {
        await media?.prepareAnswer()
        let answer = try await connection.createAnswer()
        // Setting it brings candidates, which must not be read before the answer that they belong to.
        JSONLines.write(ConnectLine(type: .answer, sdp: answer.sdp))
        try await connection.setLocalDescription(answer)
      }
      stopwatch.start()
    } else if let candidate = line.candidate {
      try await connection.addICECandidate(
        ICECandidateInit(
          candidate: candidate, sdpMid: line.sdpMid, sdpMLineIndex: line.sdpMLineIndex,
          usernameFragment: line.usernameFragment))
    } else if let text = line.send {
      try await current.waitForChannel().send(text)
    } else if let base64 = line.sendBase64 {
      guard let data = Data(base64Encoded: base64) else {
        JSONLines.write(ConnectLine(event: "error", reason: "sendBase64 is not base64"))
        return false
      }
      try await current.waitForChannel().send([UInt8](data))
    } else if line.stats == true {
      await media?.writeStatistics()
    } else if line.restart == true {
      await connection.restartICE()
    } else if line.close == true {
      return true
    } else {
      JSONLines.write(ConnectLine(event: "error", reason: "a line with nothing that connect knows"))
    }
    return false
  }
}

/// The open channel, once there is one: input may ask to send before that.
private final class CurrentChannel: Sendable {
  private let channel = Mutex<DataChannel?>(nil)
  private let (stream, continuation) = AsyncStream.makeStream(of: DataChannel.self)

  var ifOpen: DataChannel? { channel.withLock { $0 } }

  func set(_ channel: DataChannel) {
    self.channel.withLock { $0 = channel }
    continuation.yield(channel)
  }

  /// - Throws: `CancellationError` when the session ends before a channel opens.
  func waitForChannel() async throws -> DataChannel {
    if let channel = ifOpen { return channel }
    for await channel in stream { return channel }
    throw CancellationError()
  }
}

/// The time since both descriptions were known, and the pairs that were told already.
private final class Stopwatch: Sendable {
  private struct State {
    var startedAt: ContinuousClock.Instant?
    var pair: SelectedCandidatePair?
  }
  private let state = Mutex(State())

  /// Only the first counts.
  func start() { state.withLock { $0.startedAt = $0.startedAt ?? .now } }

  var elapsed: Int? {
    state.withLock { state in
      guard let passed = state.startedAt?.duration(to: .now).components else { return nil }
      return Int(passed.seconds) * 1_000 + Int(passed.attoseconds / 1_000_000_000_000_000)
    }
  }

  /// Writes a pair that is another one than the last.
  func report(_ pair: SelectedCandidatePair) {
    let isNew = state.withLock { state in
      defer { state.pair = pair }
      return state.pair != pair
    }
    guard isNew else { return }
    JSONLines.write(
      ConnectLine(
        event: "pair", local: pair.local.type, remote: pair.remote.type, localAddress: pair.local.address,
        remoteAddress: pair.remote.address, protocol: pair.local.transport, milliseconds: elapsed))
  }
}
