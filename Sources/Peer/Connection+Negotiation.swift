// Connection+Negotiation.swift — offers, answers and candidates (RFC 9429 §3–4), and what follows from them for ICE,
// DTLS and SCTP.
//
// One DTLS association per connection: a later offer may repeat its parameters, not change them. New ICE credentials are
// an ICE restart (Connection+Restart.swift).

package import DTLS
import DataChannel
import ICE
import SCTP
package import SDP
package import Wire

/// Which kind of description.
package enum DescriptionKind: Sendable { case offer, answer }

/// Why a description or candidate was refused. The connection is as it was before.
package enum NegotiationError: Error, Hashable, Sendable, CustomStringConvertible {
  case closed
  /// The call does not fit the state of the negotiation.
  case invalidState(String)
  case invalidDescription(SDPError)
  case invalidCandidate(String)
  /// Well-formed, but asks for what this connection cannot do.
  case unsupported(String)
  case dtls(DTLSError)

  package var description: String {
    switch self {
    case .closed: "the connection is closed"
    case .invalidState(let why): why
    case .invalidDescription(let error): "\(error)"
    case .invalidCandidate(let why): why
    case .unsupported(let why): why
    case .dtls(let error): "\(error)"
    }
  }
}

/// Where the exchange of descriptions stands.
struct NegotiationState {
  enum Signaling: Equatable {
    case stable
    case haveLocalOffer(SDPDocument)
    case haveRemoteOffer(SDPDocument)
  }

  let sessionID: UInt64
  var signaling = Signaling.stable
  /// An offer was answered: roles and certificates are settled, whether or not DTLS has begun.
  var hasAgreed = false
  /// The last description made by `createOffer` or `createAnswer`, which is the one that may be set.
  var created: (kind: DescriptionKind, document: SDPDocument, text: String, media: [LocalMedia])?
  /// What our offer, while it is not answered, says about audio and video.
  var offeredMedia: [LocalMedia] = []
  /// Names our DTLS association (RFC 8842 §4), of which there is one.
  let tlsID: String
  var local: (kind: DescriptionKind, document: SDPDocument)?
  var remote: RemoteDescription?
  /// What is announced with the credentials of the local description, and with those of one that is being made.
  var generation: LocalGeneration
  var nextGeneration: LocalGeneration?
  /// Our INIT chunk, once a description has carried it: always the same.
  var ownInitiation: [UInt8]?

  init(sessionID: UInt64, tlsID: String, generation: LocalGeneration) {
    self.sessionID = sessionID
    self.tlsID = tlsID
    self.generation = generation
  }

  var newestGeneration: LocalGeneration { nextGeneration ?? generation }

  var dtlsRole: DTLSRole { remote?.localRole == .active ? .client : .server }
  /// The role to keep when descriptions are exchanged again.
  var keptRole: SDPRole? { remote?.localRole }
}

extension Connection {
  // MARK: This side

  package mutating func createOffer() throws(NegotiationError) -> String {
    try checkOpen()
    if case .haveRemoteOffer = negotiation.signaling {
      throw .invalidState("the peer's offer is to be answered first")
    }
    if isRestartWanted, !isRestarting || isRestartChecking { beginRestart() }
    do {
      var parts = try localParts(
        hasData: wantsData || !transceivers.hasLiving || negotiation.remote?.data != nil,
        withInitiation: configuration.offersInitiation)
      if !transceivers.all.isEmpty {
        parts.media = transceivers.described(nameMedia())
        Negotiation.assignMids(&parts.media, following: negotiation.local?.document)
      }
      let offer = try Negotiation.offer(
        parts, following: negotiation.local?.document, isAgreed: negotiation.signaling == .stable)
      return try remember(.offer, offer, media: parts.media)
    } catch {
      throw .invalidDescription(error)
    }
  }

  package mutating func createAnswer() throws(NegotiationError) -> String {
    try checkOpen()
    guard case .haveRemoteOffer(let offer) = negotiation.signaling else {
      throw .invalidState("there is no offer to answer")
    }
    do {
      var parts = try localParts(
        hasData: negotiation.remote?.data != nil, withInitiation: peerInitiation != nil)
      if !transceivers.all.isEmpty { parts.media = transceivers.described(nameMedia()) }
      let answer = try Negotiation.answer(
        to: offer, parts, keeping: answeringRole, following: negotiation.local?.document)
      return try remember(.answer, answer, media: parts.media)
    } catch {
      throw .invalidDescription(error)
    }
  }

  /// Takes the description that `createOffer` or `createAnswer` made last.
  package mutating func setLocalDescription(
    _ kind: DescriptionKind, _ text: String, now: Instant
  ) throws(NegotiationError) {
    try checkOpen()
    guard let created = negotiation.created, created.kind == kind, created.text == text else {
      throw .unsupported("only the description made last by createOffer or createAnswer can be set")
    }
    switch (kind, negotiation.signaling) {
    case (.offer, .stable), (.offer, .haveLocalOffer): negotiation.signaling = .haveLocalOffer(created.document)
    case (.answer, .haveRemoteOffer): negotiation.signaling = .stable
    default: throw .invalidState("this description does not fit what was set before")
    }
    negotiation.local = (kind, created.document)
    announceRestart()
    switch kind {
    case .offer:
      negotiation.offeredMedia = created.media
      transceivers.setOffer(created.media)
      configureMedia(expecting: created.document, now: now)
    case .answer:
      settleMedia(created.document, ours: created.media, now: now)
      startTransports(now: now)
    }
  }

  /// The local description with the candidates known by now; nil before one is set.
  package var localDescription: (kind: DescriptionKind, text: String)? {
    guard let (kind, document) = negotiation.local, let index = document.transportSectionIndex else { return nil }
    var complete = document
    let written = Set(document.sections[index].attributes.values("candidate"))
    for candidate in negotiation.generation.candidates.map({ String($0.dropFirst("candidate:".count)) })
    where !written.contains(candidate) {
      complete.sections[index].attributes.append(SDPAttribute("candidate", candidate))
    }
    if negotiation.generation.isComplete, !document.sections[index].attributes.contains(name: "end-of-candidates") {
      complete.sections[index].attributes.append(SDPAttribute("end-of-candidates"))
    }
    // What was written once and only gained candidates of our own making can be written again.
    guard case .success(let text) = Result(catching: { () throws(SDPError) in try complete.text() }) else { return nil }
    return (kind, text)
  }

  /// The name of the section that carries the transport, for candidates.
  package var mid: String? {
    guard let document = negotiation.local?.document, let index = document.transportSectionIndex else { return nil }
    return document.sections[index].mid
  }

  /// The index of the section that carries the transport, for candidates.
  package var mediaIndex: Int? { negotiation.local?.document.transportSectionIndex }

  private mutating func remember(
    _ kind: DescriptionKind, _ document: SDPDocument, media: [LocalMedia]
  ) throws(SDPError) -> String {
    let text = try document.text()
    negotiation.created = (kind, document, text, media)
    return text
  }

  /// What the peer's description offers to begin with, if anything can begin with it.
  private var peerInitiation: [UInt8]? {
    guard let bytes = negotiation.remote?.data?.sctpInit, SCTPAssociation.isUsable(initiation: bytes) else {
      return nil
    }
    return bytes
  }

  /// Both INIT chunks, when either description has carried one.
  var agreedInitiations: (own: [UInt8], peer: [UInt8])? {
    guard let own = negotiation.ownInitiation, let peer = peerInitiation, let document = negotiation.local?.document,
      let index = document.dataSectionIndex, document.sections[index].attributes.contains(name: "sctp-init")
    else { return nil }
    return (own, peer)
  }

  private mutating func localParts(
    hasData: Bool, withInitiation: Bool
  ) throws(SDPError) -> LocalDescription {
    let withInitiation = withInitiation && hasData
    if withInitiation, negotiation.ownInitiation == nil {
      negotiation.ownInitiation = SCTPAssociation.makeInitiation(sctpConfiguration, random: &random)
    }
    return LocalDescription(
      sessionID: negotiation.sessionID,
      credentials: try SDPCredentials(
        usernameFragment: localCredentials.usernameFragment, password: localCredentials.password),
      fingerprints: try localFingerprints,
      tlsID: negotiation.tlsID,
      iceOptions: configuration.ice.renomination ? ["ice2", "trickle", "renomination"] : ["ice2", "trickle"],
      isLite: configuration.ice.isLite, candidates: negotiation.newestGeneration.candidates,
      hasAllCandidates: negotiation.newestGeneration.isComplete,
      data: hasData
        ? LocalData(
          sctpPort: configuration.sctp.sourcePort, maximumMessageSize: configuration.sctp.maximumIncomingMessageSize,
          sctpInit: withInitiation ? negotiation.ownInitiation : nil) : nil)
  }

  // MARK: The other side

  package mutating func setRemoteDescription(
    _ kind: DescriptionKind, _ text: String, now: Instant
  ) throws(NegotiationError) {
    try checkOpen()
    let document: SDPDocument
    do { document = try SDPDocument(parsing: text) } catch { throw .invalidDescription(error) }
    switch (kind, negotiation.signaling) {
    case (.offer, .stable), (.offer, .haveRemoteOffer), (.offer, .haveLocalOffer):
      // An offer that meets ours takes its place: the implicit rollback of RFC 9429 §4.1.8.2.
      let remote: RemoteDescription
      var associated = transceivers
      associated.beginOffer()
      let codecs = configuration.acceptsMedia || transceivers.wasUsed ? configuration.codecs : [:]
      do {
        remote = try Negotiation.read(offer: document, keeping: answeringRole) { section in
          associated.take(section, newCodecs: codecs, random: &random)
        }
      } catch {
        throw .invalidDescription(error)
      }
      try apply(remote, isOffer: true, now: now)
      transceivers = associated
      negotiation.signaling = .haveRemoteOffer(document)
    case (.answer, .haveLocalOffer(let offer)):
      let remote: RemoteDescription
      do { remote = try Negotiation.read(answer: document, to: offer, keeping: negotiation.keptRole) } catch {
        throw .invalidDescription(error)
      }
      try apply(remote, isOffer: false, now: now)
      negotiation.signaling = .stable
      // A peer that refuses data never opens what was asked for.
      if offer.dataSectionIndex != nil, remote.data == nil, !isAssociationStarted { channels.associationClosed() }
      settleMedia(offer, ours: negotiation.offeredMedia, now: now)
      startTransports(now: now)
    case (.answer, _): throw .invalidState("there is no offer of ours to answer")
    }
  }

  /// The largest message that the peer accepts, in bytes.
  package var maximumOutgoingMessageSize: Int {
    negotiation.remote?.data?.maximumMessageSize ?? configuration.sctp.maximumOutgoingMessageSize
  }

  private mutating func apply(
    _ remote: RemoteDescription, isOffer: Bool, now: Instant
  ) throws(NegotiationError) {
    if let current = negotiation.remote, negotiation.hasAgreed {
      guard current.localRole == remote.localRole else { throw .unsupported("another DTLS association") }
      guard Set(current.transport.fingerprints) == Set(remote.transport.fingerprints) else {
        throw .unsupported("another certificate for a connection that exists")
      }
      if let known = current.transport.tlsID, let named = remote.transport.tlsID, known != named {
        throw .unsupported("another DTLS association")  // RFC 8842 §4
      }
      guard current.data == nil || remote.data != nil else { throw .unsupported("an end to data channels") }
      if let data = remote.data, current.data == nil { makeAssociation(data) }
      let isRestart = current.transport.credentials != remote.transport.credentials
      try applyRestart(remote, isRestart: isRestart, isOffer: isOffer)
    } else {
      try prepareTransports(remote, isOffer: isOffer)
    }
    negotiation.remote = remote
    for line in remote.transport.candidates {
      // A candidate of a kind that we cannot read is one that we cannot use: the others still serve.
      guard
        case .success(let candidate) = Result(catching: { () throws(ICECandidateError) in
          try ICECandidate(parsing: line)
        })
      else { continue }
      handOver(candidate, generation: remote.transport.credentials.usernameFragment, now: now)
    }
    // Who does not trickle has said all.
    if remote.transport.hasAllCandidates || !remote.transport.supportsTrickle { endOfRemoteCandidates(now: now) }
  }

  /// New credentials are a restart; who offers one wants new ones in return, and who does not gets none (RFC 8839 §4.4).
  private mutating func applyRestart(
    _ remote: RemoteDescription, isRestart: Bool, isOffer: Bool
  ) throws(NegotiationError) {
    if isOffer {
      if isRestart {
        beginRestart()
      } else {
        abandonPreparedRestart()
      }
    } else {
      guard isRestart == (isRestarting && !isRestartChecking) else {
        throw .unsupported(
          isRestart ? "an answer that restarts ICE unasked" : "an answer with old credentials to an ICE restart")
      }
    }
    guard isRestart else { return }
    isRestartWanted = false
    restarting?.setRemoteCredentials(
      remote.iceCredentials, isLite: remote.transport.isLite,
      supportsRenomination: remote.transport.iceOptions.contains("renomination"))
  }

  /// Makes the layers that need to know the peer's half.
  private mutating func prepareTransports(_ remote: RemoteDescription, isOffer: Bool) throws(NegotiationError) {
    let fingerprints = remote.transport.fingerprints.compactMap { fingerprint in
      FingerprintAlgorithm(rawValue: fingerprint.algorithm).flatMap {
        Fingerprint(algorithm: $0, bytes: fingerprint.bytes)
      }
    }
    guard !fingerprints.isEmpty else { throw .unsupported("no fingerprint with a hash function that we know") }
    do {
      dtls = try DTLSSession(
        identity: identity, role: remote.localRole == .active ? .client : .server, remoteFingerprints: fingerprints,
        maximumDatagramSize: configuration.maximumDatagramSize,
        maximumRecordSize: configuration.maximumProbedDatagramSize, logsKeys: configuration.logsKeys)
    } catch {
      throw .dtls(error)
    }
    // The offerer controls, unless the other side only answers checks (RFC 8445 §6.1.1).
    ice.setRole(isOffer && !remote.transport.isLite ? .controlled : .controlling)
    ice.setRemoteCredentials(
      remote.iceCredentials, isLite: remote.transport.isLite,
      supportsRenomination: remote.transport.iceOptions.contains("renomination"))
    if let data = remote.data { makeAssociation(data) }
  }

  private mutating func makeAssociation(_ data: DataDescription) {
    guard !isAssociationStarted else { return }
    // It may have refused data before, and think better of it.
    if channels.isClosed { channels = ChannelTable(limits: configuration.channels) }
    var sctp = sctpConfiguration
    sctp.destinationPort = data.sctpPort
    sctp.maximumOutgoingMessageSize = data.maximumMessageSize
    association = SCTPAssociation(configuration: sctp, random: random.split())
  }

  /// Both descriptions of audio and video are there.
  private mutating func settleMedia(_ local: SDPDocument, ours: [LocalMedia], now: Instant) {
    guard !transceivers.all.isEmpty, let remote = negotiation.remote else { return }
    var agreed: [AgreedMedia] = []
    do { agreed = try Negotiation.agreed(local: local, remote: remote) } catch {
      // We have written it ourselves, and it was read when it was made.
      mediaFails("\(error)")
    }
    for stopped in transceivers.settle(agreed, ours: ours) { media?.forget(stopped) }
    configureMedia(now: now)
  }

  private mutating func startTransports(now: Instant) {
    negotiation.hasAgreed = true
    ice.start(now: now)
    if isRestartChecking { restarting?.start(now: now) }
    if isSessionConnected { connectAssociation(now: now) }
    advance(now: now)
  }

  /// The role to keep while answering: of an association that exists, not of an offer that is being replaced.
  private var answeringRole: SDPRole? {
    if case .haveRemoteOffer = negotiation.signaling, !negotiation.hasAgreed { return nil }
    return negotiation.keptRole
  }

  func checkOpen() throws(NegotiationError) {
    if hasEnded { throw .closed }
  }
}

extension RemoteDescription {
  fileprivate var iceCredentials: ICECredentials {
    ICECredentials(usernameFragment: transport.credentials.usernameFragment, password: transport.credentials.password)
  }
}
