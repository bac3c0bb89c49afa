// PeerConnection.swift — one connection to one peer (W3C `RTCPeerConnection`). Media is in PeerConnection+Media.swift.
//
// Two doors: the event loop enters synchronously (PeerConnection+Loop.swift), everybody else with `await`. Both run on
// the loop's thread, which is this actor's executor, so nothing inside is locked.

import DTLS
import DataChannel
import DequeModule
import ICE
import Logging
import Media
import Net
import Peer
import SCTP
import SDP
import Wire

/// A connection to a peer, carrying data channels, and audio and video packet by packet.
///
/// Descriptions and candidates travel through a signalling service of the application's choice:
/// ```
/// let connection = try PeerConnection()
/// let channel = try await connection.createDataChannel("chat")
/// let offer = try await connection.createOffer()
/// try await connection.setLocalDescription(offer)
/// // send the offer and each of `localCandidates`; then, as they come back:
/// try await connection.setRemoteDescription(answer)
/// try await connection.addICECandidate(candidate)
/// try await channel.waitUntilOpen()
/// ```
/// A connection lives until `close()`, or until it fails; dropping the last reference to it does not close it.
public actor PeerConnection {
  /// The sum of the transports' states (W3C `RTCPeerConnectionState`).
  public enum State: String, Sendable, Hashable {
    case new, connecting, connected, disconnected, failed, closed
  }

  /// This side's candidates as they are found, for the peer. An empty one says that there are no more for now (RFC 8838
  /// §13): others follow an ICE restart, and the sequence ends with the connection. For one reader.
  public nonisolated let localCandidates: AsyncStream<ICECandidateInit>
  /// Every change of the connection's state; ends after `failed` or `closed`. For one reader.
  public nonisolated let connectionStates: AsyncStream<State>
  /// Asks for an offer to be made and sent: after `restartICE`, when this machine's addresses have changed, and after the
  /// first negotiation when a transceiver is added, stopped or has another direction (W3C `negotiationneeded`). For one
  /// reader.
  public nonisolated let negotiationNeeded: AsyncStream<Void>
  /// The candidate pair in use, whenever it is another one. For one reader.
  public nonisolated let selectedPairs: AsyncStream<SelectedCandidatePair>
  /// Channels that the peer opens. For one reader.
  public nonisolated let incomingChannels: AsyncStream<DataChannel>
  /// Transceivers through which the peer sends, as soon as both sides have agreed on it (W3C `track`). For one reader.
  public nonisolated let incomingTracks: AsyncStream<RTPTransceiver>

  public nonisolated let configuration: PeerConnectionConfiguration
  public internal(set) var state = State.new
  /// Why the connection failed, for people; nil unless it did.
  public var failureReason: String? { machine.failure }

  let endpoints: [ICEServerEndpoint]
  let rewriter: AddressRewriter
  let keyLog: AppendingFile?
  nonisolated let loop: EventLoop
  nonisolated let exchange: Exchange
  var machine: Connection
  var registration: EventLoopRegistration?
  var sockets: [HostSocket] = []
  /// The user name fragments by which a shared port knows this connection.
  var sharedFragments: [String] = []
  var streams: [ServerStream] = []
  /// Counts the searches for candidates: what belongs to an earlier one comes too late.
  var gatheringRound = 0
  /// Names of servers that are being resolved.
  var namesPending = 0
  /// Names of the peer's that were looked up.
  var namesLookedUp = 0
  var channels: [ChannelID: DataChannel] = [:]
  /// Entries taken from the exchange that the machine has no room for yet.
  var entries = Entries()
  nonisolated let outbox = RTPOutbox()
  /// In the order in which they came to be.
  public internal(set) var transceivers: [RTPTransceiver] = []
  /// Those that `incomingTracks` has told of.
  var announcedTracks: Set<Int> = []
  /// Packets taken from the outbox that the machine has no room for yet.
  var packets = Packets()
  /// Packets that could not be sent after all.
  var packetsDropped: UInt64 = 0
  /// The channels with bytes that SCTP holds and has not given to the network yet.
  var sending: [DataChannel] = []
  /// Set when the loop has sent the last words and closed the sockets.
  var hasLeftLoop = false
  let candidateContinuation: AsyncStream<ICECandidateInit>.Continuation
  let stateContinuation: AsyncStream<State>.Continuation
  let channelContinuation: AsyncStream<DataChannel>.Continuation
  let negotiationContinuation: AsyncStream<Void>.Continuation
  let trackContinuation: AsyncStream<RTPTransceiver>.Continuation
  let pairContinuation: AsyncStream<SelectedCandidatePair>.Continuation

  public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

  /// - Throws: `PeerConnectionError.invalidParameter` when an ICE server or an address of the configuration cannot be
  ///   read, or the shared port is on another event loop; `.invalidAccess` when the certificate has expired; `.system` when
  ///   no key can be made, no event loop be started or the key log not be opened.
  public init(configuration: PeerConnectionConfiguration = .init()) throws(PeerConnectionError) {
    self.configuration = configuration
    endpoints = try configuration.serverEndpoints()
    rewriter = try AddressRewriter(configuration.addressRewriting)
    var machineConfiguration = Connection.Configuration()
    machineConfiguration.maximumDatagramSize = configuration.maximumDatagramSize
    machineConfiguration.maximumProbedDatagramSize = configuration.maximumProbedDatagramSize
    machineConfiguration.sctp.maximumIncomingMessageSize = configuration.maximumMessageSize
    // The window begins small and grows with the path, as long as the application reads.
    machineConfiguration.sctp.receiveWindow = min(
      machineConfiguration.sctp.receiveWindow, configuration.receiveBufferLimit)
    machineConfiguration.sctp.maximumReceiveWindow = configuration.receiveBufferLimit
    machineConfiguration.offersInitiation = configuration.offersSCTPInitiation
    machineConfiguration.ice.isLite = configuration.isICELite
    machineConfiguration.hidesMappedAddresses = configuration.iceTransportPolicy == .relay
    machineConfiguration.sctp.congestionControl = configuration.congestionControl.inSCTP
    machineConfiguration.acceptsMedia = configuration.acceptsMedia
    if configuration.acceptsMedia { Self.prepareMedia() }
    machineConfiguration.codecs = Self.defaultCodecs
    machineConfiguration.wallClock = .init(
      nanosecondsAtOrigin: Net.WallClock.secondsSince1970() &* 1_000_000_000 &- MonotonicClock.now().nanoseconds)
    let portLoop = configuration.sharedPort?.eventLoop
    if let portLoop, let loop = configuration.eventLoop, loop !== portLoop {
      throw .invalidParameter("eventLoop: the shared port has another one")
    }
    do {
      loop = try portLoop ?? configuration.eventLoop ?? EventLoopGroup.shared.next()
    } catch {
      throw .system("\(error)")
    }
    machineConfiguration.fingerprintAlgorithms = configuration.fingerprintFunctions.map(\.inDTLS)
    machineConfiguration.logsKeys = configuration.keyLogFile != nil
    keyLog = try Self.openKeyLog(configuration.keyLogFile)
    machine = Connection(
      configuration: machineConfiguration, identity: try IdentityReserve.take(configuration), random: .system)
    exchange = Exchange(
      limit: configuration.sendBufferLimit, releaseThreshold: machineConfiguration.sctp.receiveWindow / 8,
      maximumMessageSize: machineConfiguration.sctp.maximumOutgoingMessageSize)
    (localCandidates, candidateContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(256))
    (connectionStates, stateContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(64))
    (negotiationNeeded, negotiationContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    (selectedPairs, pairContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(16))
    (incomingChannels, channelContinuation) = AsyncStream.makeStream(
      bufferingPolicy: .bufferingOldest(Self.maximumUnseenChannels))
    (incomingTracks, trackContinuation) = AsyncStream.makeStream(
      bufferingPolicy: .bufferingOldest(Self.maximumUnseenTracks))
  }

  /// Channels of the peer that nobody has taken from `incomingChannels` yet; further ones are closed.
  static let maximumUnseenChannels = 1_024
  /// More than there can be transceivers.
  static let maximumUnseenTracks = 256

  // MARK: Channels

  /// Opens a channel; before the connection is up, the channel opens with it.
  ///
  /// - Throws: `PeerConnectionError.invalidParameter` or `.closed`.
  public func createDataChannel(
    _ label: String, _ configuration: DataChannelConfiguration = .init()
  ) throws(PeerConnectionError) -> DataChannel {
    guard !machine.hasEnded else { throw .closed }
    let parameters = try ChannelParameters(label: label, configuration)
    let handle: ChannelID
    do { handle = try machine.openChannel(parameters, now: loop.now) } catch {
      throw .init(error)
    }
    let channel = makeChannel(handle, label: label, configuration)
    askForNegotiation()
    touch()
    return channel
  }

  func makeChannel(_ handle: ChannelID, label: String, _ configuration: DataChannelConfiguration) -> DataChannel {
    let channel = DataChannel(handle: handle, label: label, configuration: configuration, exchange: exchange)
    channels[handle] = channel
    return channel
  }

  // MARK: Descriptions

  /// An offer for the connection as it is now. Set it as the local description before sending it.
  public func createOffer() throws(PeerConnectionError) -> SessionDescription {
    takeDirections()
    do { return SessionDescription(type: .offer, sdp: try machine.createOffer()) } catch { throw .init(error) }
  }

  /// The answer to the offer that was set as the remote description.
  public func createAnswer() throws(PeerConnectionError) -> SessionDescription {
    takeDirections()
    do { return SessionDescription(type: .answer, sdp: try machine.createAnswer()) } catch { throw .init(error) }
  }

  /// Takes this side's description and begins to gather candidates.
  public func setLocalDescription(_ description: SessionDescription) throws(PeerConnectionError) {
    do { try machine.setLocalDescription(.init(description.type), description.sdp, now: loop.now) } catch {
      throw .init(error)
    }
    if registration == nil { try gather() }
    followDescriptions()
    takeEvents(now: loop.now)
    touch()
  }

  /// Takes the peer's description.
  public func setRemoteDescription(_ description: SessionDescription) throws(PeerConnectionError) {
    do { try machine.setRemoteDescription(.init(description.type), description.sdp, now: loop.now) } catch {
      throw .init(error)
    }
    resolveNames(in: description)
    exchange.setMaximumMessageSize(machine.maximumOutgoingMessageSize)
    followDescriptions()
    touch()
  }

  /// Takes one of the peer's candidates. A `.local` name is looked up on the local network (RFC 6762); other names, and
  /// what cannot be used, are ignored.
  ///
  /// - Throws: `PeerConnectionError.invalidDescription` when it cannot be read, `.invalidState` before the remote
  ///   description is set.
  public func addICECandidate(_ candidate: ICECandidateInit) throws(PeerConnectionError) {
    do {
      if candidate.isEndOfCandidates {
        machine.endOfRemoteCandidates(now: loop.now)
      } else if !resolveName(of: candidate.candidate, usernameFragment: candidate.usernameFragment) {
        try machine.addRemoteCandidate(
          candidate.candidate, usernameFragment: candidate.usernameFragment, now: loop.now)
      }
    } catch {
      throw .init(error)
    }
    touch()
  }

  /// The description that was set, with the candidates found so far: all that a peer without trickle needs.
  public var localDescription: SessionDescription? {
    machine.localDescription.map { SessionDescription(type: .init($0.kind), sdp: $0.text) }
  }

  // MARK: The end

  /// Ends the connection at once: what is not sent yet is lost, and all channels close. Close the channels first and await
  /// their end to lose nothing. Returns when the peer has been told, as far as the network carries it: a process may end
  /// right after.
  public func close() async {
    if state != .closed {
      machine.close(now: loop.now)
      takeEvents(now: loop.now)
    }
    // The loop drains after the jobs of a turn, of which it runs a bounded number: the last words are out a few turns
    // later at most.
    var turns = 0
    while registration != nil, !hasLeftLoop, turns < Self.maximumLastTurns {
      turns += 1
      await Task.yield()
    }
  }

  private static let maximumLastTurns = 2_048
}
