// Connection.swift — one end of a peer connection without any I/O: ICE, DTLS, SCTP and data channels composed.
//
// In: datagrams, time, the application's calls. Out: `pollEvent` for the application, `pollTransmit` for the network,
// and a deadline. A datagram's way up is in Connection+Inbound.swift, a message's way down in Connection+Outbound.swift,
// the exchange of descriptions in Connection+Negotiation.swift, candidates in Connection+Candidates.swift, the change
// from one ICE agent to the next in Connection+Restart.swift, audio and video in Connection+Media.swift.
//
// The owner calls, after whatever it put in: `pollEvent` until nil, then `pollTransmit`. Because it does so once per
// batch of datagrams, one SACK answers the batch.

package import DTLS
package import DataChannel
import DequeModule
package import ICE
package import Media
package import RTP
package import SCTP
package import SDP
package import Wire

package struct Connection: ~Copyable {
  package struct Configuration: Sendable {
    /// The largest UDP payload to send before the path has shown that it carries more, in bytes.
    package var maximumDatagramSize = 1_200
    /// The largest that is tried (RFC 8899): by default what an Ethernet carries over IPv4. Not more than
    /// `maximumDatagramSize`: nothing is tried.
    package var maximumProbedDatagramSize = 1_472
    /// Our INIT travels in our offers, so that a peer that takes it up spares both the handshake of SCTP (SNAP). What a
    /// peer offers is taken up in any case.
    package var offersInitiation = false
    /// Relayed candidates do not tell the peer how the relay sees us.
    package var hidesMappedAddresses = false
    /// Audio and video that a peer offers are taken, though the application has added no transceiver. Otherwise their
    /// sections are refused, and packets that nobody reads cost nothing.
    package var acceptsMedia = false
    /// What a transceiver can that a peer's offer brings about.
    package var codecs: [MediaKind: [SDPCodec]] = [:]
    /// The time of day in reports about media.
    package var wallClock = WallClock()
    package var ice = ICEConfiguration()
    /// ICE notices first when nobody is there any more: consent ends after 30 s. SCTP, which counts two errors each three
    /// seconds then, must not give up before, or a restart would find nothing to go on with.
    package var sctp: SCTPConfiguration = {
      var sctp = SCTPConfiguration()
      sctp.maximumRetransmits = 40
      return sctp
    }()
    package var channels = ChannelLimits()
    /// The hash functions by which our descriptions announce the certificate.
    package var fingerprintAlgorithms: [FingerprintAlgorithm] = [.sha256]
    /// The secrets of the DTLS session come out of `pollKeyLog`.
    package var logsKeys = false
    package init() {}
  }

  /// The sum of the transports' states (W3C `RTCPeerConnectionState`).
  package enum State: Sendable { case new, connecting, connected, disconnected, failed, closed }

  package enum Event {
    case stateChanged(State)
    case selectedPairChanged(ICEPairSummary)
    /// A local description with new ICE credentials was set: all of `localCandidates` is to be announced again, and
    /// others may be looked for.
    case gatheringRestarted
    /// A server has given one more, to be announced.
    case localCandidate(ICECandidate)
    /// There will be no more of this generation.
    case localCandidatesEnded
    /// A server is of no use, or no longer; for people.
    case serverFailed(String)
    /// A TURN server wants us to ask another one, over another socket.
    case relayRedirected(RelayRequest)
    case channelOpened(ChannelID)
    case incomingChannel(ChannelID, ChannelParameters)
    case channelClosing(ChannelID)
    case channelClosed(ChannelID)
    case channelFailed(ChannelID, ChannelFailure)
    case message(ChannelID, isText: Bool, payload: [UInt8])
    case media(MediaEvent)
    /// Media was agreed on, and cannot be protected; for people.
    case mediaFailed(String)
  }

  /// Datagrams and bytes seen on the sockets, and what was thrown away.
  package struct Counters: Sendable {
    package var datagramsReceived: UInt64 = 0
    package var bytesReceived: UInt64 = 0
    package var datagramsSent: UInt64 = 0
    package var bytesSent: UInt64 = 0
    /// Datagrams of no protocol of ours, or DTLS from an address that no check has validated.
    package var datagramsDropped: UInt64 = 0
  }

  struct EarlyDatagram {
    var route: Route
    var bytes: [UInt8]
  }

  let configuration: Configuration
  /// As configured, with what follows from the layers below; the remote description completes it.
  var sctpConfiguration: SCTPConfiguration
  let identity: DTLSIdentity
  var negotiation: NegotiationState
  package internal(set) var ice: ICEAgent
  /// The agent of an ICE restart, until it has a nominated pair.
  var restarting: ICEAgent?
  var isRestartWanted = false
  package internal(set) var gathering: Gathering
  /// No further server will be asked in this generation.
  var areServersComplete = false
  var isTakingGathered = false
  var hasReleasedRelays = false
  /// The routes on which the peer could send before the last restart.
  var formerRoutes: [Route] = []
  /// The route whose path SCTP knows.
  var currentRoute: Route?
  /// Bytes that are put around each datagram of a socket, where there are any.
  var overheads: [SocketID: Int] = [:]
  /// Host names that stand for addresses which shall stay hidden.
  var hiddenHosts: [SocketAddress: String] = [:]
  /// Exists once the descriptions have named the roles and the fingerprints.
  var dtls: DTLSSession?
  package internal(set) var association: SCTPAssociation
  package internal(set) var channels: ChannelTable
  /// The application has opened a channel, so that our offers have a section for data.
  var wantsData = false
  var transceivers = TransceiverTable()
  /// Exists once a section of audio or video was agreed on, or offered.
  var media: MediaTransport?
  var mediaNames: MediaNames?
  var hasMediaFailed = false
  package internal(set) var counters = Counters()
  package internal(set) var state = State.new
  /// Nothing will happen any more. `failed` alone is not the end: when no route works, an ICE restart may find one.
  package internal(set) var hasEnded = false
  /// Why the connection failed, for people.
  package internal(set) var failure: String?
  var events = Deque<Event>()
  var random: RandomSource
  var plaintext = ScratchBuffer()
  var isSessionStarted = false
  var isAssociationStarted = false
  var isChannelTableOpen = false
  /// DTLS that came before its route was validated; at most `maximumEarlyDatagrams`.
  var early: [EarlyDatagram] = []
  /// Set by `close`: what is left to transmit are the last words.
  var isClosing = false
  /// Where the last words go after ICE has let go of its pairs.
  var lastRoute: Route?

  package init(configuration: Configuration, identity: DTLSIdentity, random: RandomSource) {
    var random = random
    self.configuration = configuration
    self.identity = identity
    ice = ICEAgent(role: .controlling, configuration: configuration.ice, random: random.split())
    sctpConfiguration = configuration.sctp
    // Chunks are padded to four bytes; a packet size that is not a multiple would never be reached.
    sctpConfiguration.maximumPacketSize = (configuration.maximumDatagramSize - DTLSSession.recordOverhead) & ~3
    sctpConfiguration.maximumProbedPacketSize =
      (configuration.maximumProbedDatagramSize - DTLSSession.recordOverhead) & ~3
    association = SCTPAssociation(configuration: sctpConfiguration, random: random.split())
    channels = ChannelTable(limits: configuration.channels)
    gathering = Gathering(
      maximumDatagramSize: max(configuration.maximumDatagramSize, configuration.maximumProbedDatagramSize),
      random: random.split())
    negotiation = NegotiationState(
      sessionID: random.next() >> 2, tlsID: TransceiverTable.name(&random),
      generation: LocalGeneration(usernameFragment: ice.localCredentials.usernameFragment))
    self.random = random
  }

  // MARK: The session, if there is one yet

  var hasSession: Bool {
    switch dtls {
    case .some: true
    case .none: false
    }
  }

  var isSessionConnected: Bool {
    switch dtls {
    case .some(let session): session.isConnected
    case .none: false
    }
  }

  var sessionDeadline: Instant? {
    switch dtls {
    case .some(let session): session.deadline
    case .none: nil
    }
  }

  // MARK: From layer to layer

  /// Carries what the layers have noticed to the layers above.
  mutating func advance(now: Instant) {
    if gathering.isInUse || areServersComplete { takeGathered(now: now) }
    takeAgentEvents(now: now)
    if !isSessionStarted, hasSession, activeRoute != nil {
      startSession(now: now)
    }
    if !early.isEmpty { replayEarly(now: now) }
    takeSessionEvents(now: now)
    updateState()
  }

  mutating func takeSessionEvents(now: Instant) {
    while let event = dtls?.pollEvent() {
      switch event {
      case .connected:
        connectAssociation(now: now)
        startMedia(now: now)
        updateState()
      case .failed(let error): fail("DTLS: \(error)")
      case .closed: end(as: .closed)
      }
    }
  }

  /// Once there is a session, and both sides have described data.
  mutating func connectAssociation(now: Instant) {
    guard isSessionConnected, negotiation.remote?.data != nil, !isAssociationStarted else { return }
    isAssociationStarted = true
    limitProbes()
    if let initiations = agreedInitiations {
      association.connect(own: initiations.own, peer: initiations.peer, now: now)
    } else {
      association.connect(now: now)
    }
  }

  private mutating func limitProbes() {
    if let route = activeRoute { association.limitProbes(to: largestPacket(on: route)) }
  }

  mutating func handle(_ event: SCTPAssociation.Event) {
    switch event {
    // The channel table knows already; a restarted peer begins its channels anew, and ours go on.
    case .established, .restarted: break
    case .incomingStreamsReset(let streams): channels.incomingStreamsReset(streams)
    case .outgoingStreamsReset(let streams): channels.outgoingStreamsReset(streams)
    case .outgoingResetFailed(let streams): channels.outgoingResetFailed(streams)
    case .closed(.shutdown), .closed(.abortedByPeer), .closed(.aborted): end(as: .closed)
    case .closed(let reason): fail("SCTP: \(reason)")
    }
  }

  private mutating func fail(_ why: String) {
    guard !hasEnded else { return }
    failure = why
    end(as: .failed)
  }

  /// Ends the layers; what they still have to say to the peer is transmitted on the last route.
  mutating func end(as last: State) {
    guard !hasEnded || last == .closed else { return }
    hasEnded = true
    if lastRoute == nil { lastRoute = activeRoute }
    ice.close()
    restarting = nil
    channels.associationClosed()
    setState(last)
  }

  private mutating func updateState() {
    guard !hasEnded else { return }
    let isUp = isSessionConnected
    switch ice.state {
    case .new: break
    case .disconnected: setState(.disconnected)
    case .checking, .connected, .completed: setState(isUp ? .connected : .connecting)
    case .failed, .closed:
      switch restartState {
      case .connected, .completed: setState(isUp ? .connected : .connecting)
      case .checking where isRestartChecking, .disconnected: setState(.connecting)
      default:
        failure = "no candidate pair works, or consent has expired"
        setState(.failed)
      }
    }
    if state == .connected { failure = nil }
  }

  private mutating func setState(_ new: State) {
    guard new != state else { return }
    state = new
    events.append(.stateChanged(new))
  }
}
