// Connection+Media.swift — audio and video beside the data: transceivers, the keys of SRTP, and the way of packets from and
// to the application.

package import Media
package import RTP
package import SDP
import DTLS
import SRTP
package import Wire

extension Connection {
  // MARK: The application's calls

  /// Has the next offer, or the next offer of the peer's that has a section of this kind, carry media.
  package mutating func addTransceiver(
    _ kind: MediaKind, direction: SDPDirection, codecs: [SDPCodec]
  ) throws(NegotiationError) -> Transceiver {
    try checkOpen()
    guard let id = transceivers.add(kind, direction, codecs, random: &random), let added = transceivers[id] else {
      throw .unsupported("more than \(TransceiverTable.maximumCount) transceivers")
    }
    return added
  }

  package mutating func setDirection(_ direction: SDPDirection, of transceiver: Int) {
    transceivers.setDirection(direction, of: transceiver)
  }

  package mutating func stopTransceiver(_ transceiver: Int) { transceivers.stop(transceiver) }

  /// Those that are not stopped, in the order in which they came to be.
  package var allTransceivers: [Transceiver] { transceivers.all }

  /// Whether an exchange of descriptions is due for media, or for the first channel.
  package var needsMediaNegotiation: Bool {
    guard !hasEnded, negotiation.hasAgreed, negotiation.signaling == .stable else { return false }
    // A peer that has refused data when it was offered is not asked again.
    let hasDescribedData = negotiation.local?.document.dataSectionIndex != nil
    return transceivers.needsNegotiation || (wantsData && !hasDescribedData)
  }

  /// Queues a packet. When it cannot go, nothing of it is taken.
  package mutating func send(_ packet: OutgoingRTP, on transceiver: Int, now: Instant) throws(MediaSendError) {
    guard canSendMedia else { throw .notSending }
    try media!.session.send(packet, on: transceiver, now: now)
  }

  /// Asks the peer for a keyframe of one stream, or of all that it sends there.
  package mutating func requestKeyframe(of ssrc: UInt32?, from transceiver: Int, now: Instant) {
    media?.session.requestKeyframe(transceiver, ssrc: ssrc, now: now)
  }

  // MARK: What there is to know

  var hasMedia: Bool {
    switch media {
    case .some: true
    case .none: false
    }
  }

  /// Media can go: there are keys and a route.
  package var canSendMedia: Bool {
    switch media {
    case .some(let media): media.hasKeys && isSessionConnected && !hasEnded && activeRoute != nil
    case .none: false
    }
  }

  /// The longest packet of this transceiver that fits the route in use, before what the connection adds to its header.
  package func largestMediaPacket(of transceiver: Transceiver) -> Int {
    guard let route = activeRoute, let mid = transceiver.mid else { return 0 }
    // An extension's header, mid, transport-wide number, absolute send time, and padding.
    let elements = (4 + 1 + mid.utf8.count + 3 + 4 + 3) & ~3
    return max(0, maximumDatagramSize(for: route) - SRTPSession.maximumTrailer - Self.retransmissionHeader - elements)
  }

  package func mediaStatistics(of transceiver: Int) -> MediaStatistics {
    switch media {
    case .some(let media): media.session.statistics(of: transceiver)
    case .none: MediaStatistics()
    }
  }

  package var mediaSessionStatistics: MediaSessionStatistics {
    switch media {
    case .some(let media): media.session.statistics
    case .none: MediaSessionStatistics()
    }
  }

  package var mediaDropCounters: MediaDropCounters {
    switch media {
    case .some(let media): media.counters
    case .none: MediaDropCounters()
    }
  }

  // MARK: Descriptions

  /// What the names in descriptions and reports are; nothing before there is media.
  mutating func nameMedia() -> MediaNames {
    if let mediaNames { return mediaNames }
    let names = MediaNames(
      streamID: TransceiverTable.name(&random), cname: TransceiverTable.name(&random))
    mediaNames = names
    return names
  }

  /// Tells the RTP session what the descriptions have changed.
  ///
  /// - Parameter offer: our own, which is not answered yet.
  mutating func configureMedia(expecting offer: SDPDocument? = nil, now: Instant) {
    var sections = transceivers.all.compactMap(\.section)
    if let offer { sections += expectedSections(of: offer) }
    if !hasMedia {
      guard !sections.isEmpty else { return }
      let session = MediaSession(
        limits: mediaLimits, cname: nameMedia().cname, random: random.split(), wallClock: configuration.wallClock)
      media = MediaTransport(session: session)
    }
    media!.session.configure(sections, now: now)
    startMedia(now: now)
  }

  private func expectedSections(of offer: SDPDocument) -> [MediaSection] {
    transceivers.all.compactMap { transceiver in
      guard transceiver.agreed == nil, let mid = transceiver.mid,
        let index = offer.sections.firstIndex(where: { $0.mid == mid }),
        case .success(let offered) = Result(catching: { () throws(SDPError) in
          try MediaDescription(reading: index, kind: SDPMediaKind(transceiver.kind), of: offer)
        })
      else { return nil }
      return transceiver.expectedSection(offered: offered)
    }
  }

  private var mediaLimits: MediaLimits {
    var limits = MediaLimits()
    let longest = max(configuration.maximumDatagramSize, configuration.maximumProbedDatagramSize)
    limits.maximumPacketSize = longest - SRTPSession.maximumTrailer - Self.retransmissionHeader
    limits.maximumRTCPSize = min(
      limits.maximumRTCPSize, configuration.maximumDatagramSize - SRTPSession.maximumTrailer)
    return limits
  }

  /// A packet that is sent again in a stream of its own is this much longer (RFC 4588 §4).
  private static let retransmissionHeader = 2

  // MARK: Keys

  /// Once there are sections and a DTLS session that has verified the peer, its keys protect media (RFC 5764 §4.2).
  mutating func startMedia(now: Instant) {
    guard hasMedia, !hasMediaKeys, isSessionConnected else { return }
    guard let number = sessionMediaProfile, let profile = SRTPProfile(rawValue: number) else {
      return mediaFails("the peer's DTLS knows no SRTP")
    }
    let count = SRTPKeyingMaterial.exportedLength(profile)
    let exported = dtls?.exportKeyingMaterial(label: SRTPKeyingMaterial.exporterLabel, byteCount: count)
    guard let exported else { return mediaFails("DTLS gives no keys") }
    do throws(SRTPError) {
      try media!.start(
        profile: profile, exported: exported, isClient: negotiation.dtlsRole == .client, now: now)
    } catch {
      mediaFails("SRTP: \(error)")
    }
  }

  private var hasMediaKeys: Bool {
    switch media {
    case .some(let media): media.hasKeys
    case .none: false
    }
  }

  private var sessionMediaProfile: UInt16? {
    switch dtls {
    case .some(let session): session.mediaProfile
    case .none: nil
    }
  }

  /// Data goes on without.
  mutating func mediaFails(_ why: String) {
    guard !hasMediaFailed else { return }
    hasMediaFailed = true
    events.append(.mediaFailed(why))
  }

  // MARK: Packets

  /// Takes RTP or RTCP. Without media it is dropped like anything else that nobody has asked for.
  mutating func handleMedia(_ datagram: RawSpan, route: Route, now: Instant) {
    guard isSessionConnected, !hasEnded, isValidated(route) else {
      counters.datagramsDropped &+= 1
      media?.noteUnexpected()
      return
    }
    media?.handle(datagram, through: &plaintext, now: now)
  }

  var mediaDeadline: Instant? {
    switch media {
    // What cannot leave needs no time.
    case .some(let media): media.hasKeys && activeRoute != nil ? media.session.deadline : nil
    case .none: nil
    }
  }
}

/// The names by which a peer knows what belongs together.
struct MediaNames {
  /// `a=msid`: all that this side sends is one stream, so that picture and sound are kept in step.
  var streamID: String
  /// RFC 7022: made for this connection, so that nothing links it to others.
  var cname: String
}
