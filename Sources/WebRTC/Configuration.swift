// Configuration.swift — what a connection and a channel can be asked for.

public import Logging
public import Net

/// How a `PeerConnection` is set up. Every default suits a peer on the open network.
public struct PeerConnectionConfiguration: Sendable {
  /// Which of this machine's addresses become host candidates.
  public enum Loopback: Sendable {
    /// Loopback addresses only when the machine has no other.
    case automatic
    /// Loopback addresses beside all others: for peers on one machine.
    case included
    /// Loopback addresses alone: for tests, nothing leaves the machine.
    case only
    case excluded
  }

  /// Which candidates are used (W3C `RTCIceTransportPolicy`).
  public enum ICETransportPolicy: String, Sendable, CaseIterable {
    case all
    /// Only through a TURN server, so that the peer never learns this machine's addresses.
    case relay
  }

  /// Which candidates of TCP there are beside those of UDP (RFC 6544).
  public enum TCPCandidates: String, Sendable, CaseIterable {
    case none
    /// This side connects to a peer that accepts connections, as browsers do. It costs nothing until there is one.
    case active
    /// This side accepts connections, too: for peers whose networks let no UDP out. One more port for each address.
    case activeAndPassive = "both"
  }

  /// How the sender finds out how much the path carries.
  public enum CongestionControl: String, Sendable, CaseIterable {
    /// RFC 9260 §7.2: halves its window for every loss event.
    case newReno = "newreno"
    /// RFC 9438: as most TCP senders do, for paths with some loss and much delay.
    case cubic
    /// The third version of BBR: a model of the path instead of a reaction to each loss; keeps queues short.
    case bbr
  }

  /// The loop that does the I/O of this connection; nil takes the next of the shared ones. An actor that has the same
  /// loop as its executor calls the connection without changing threads.
  public var eventLoop: EventLoop?
  public var loopback = Loopback.automatic
  /// Servers that tell this machine's public address, and relay where nothing else connects. They are asked in the
  /// background: one that does not answer delays no connection that works without it. May be empty.
  public var iceServers = ICEServer.defaults
  public var iceTransportPolicy = ICETransportPolicy.all
  /// Only answers connectivity checks and leaves the search to the peer (RFC 8445 §2.5): for a server with a public address.
  /// Two such sides never connect.
  public var isICELite = false
  /// Which network interfaces have candidates.
  public var interfaces = InterfaceFilter()
  /// With a relay-only policy there are none.
  public var tcpCandidates = TCPCandidates.active
  /// A UDP port that connections have in common, instead of one for each. Which addresses have candidates is then up to the
  /// port, and so is the event loop; relays by UDP still take a port of their own, and `stuns:` servers are not asked.
  public var sharedPort: UDPPort?
  /// The ports that sockets are bound to, and where TCP connections are accepted; nil: whichever the system chooses.
  public var portRange: ClosedRange<UInt16>?
  /// Public addresses that a cloud maps one to one to those of this machine.
  public var addressRewriting: [AddressRewriting] = []
  /// Whether this machine's own addresses stay hidden behind random `.local` names, which only peers on the same network
  /// can resolve (RFC 8828, draft-ietf-mmusic-mdns-ice-candidates).
  public var hidesHostAddresses = false
  /// Whether the `.local` names behind which browsers hide their addresses are looked up on the local network.
  public var resolvesLocalNames = true
  /// Whether audio and video that a peer offers are taken though no transceiver was added: each section then brings about
  /// one that only receives, as in browsers. Otherwise such sections are refused, so that who wants nothing but data gets
  /// nothing else. The first call of `addTransceiver` says yes for good.
  public var acceptsMedia = false
  /// The largest message to accept, in bytes; told to the other side as `a=max-message-size` (RFC 8841 §6).
  public var maximumMessageSize = 262_144
  /// How many bytes `send` and `trySend` queue in one connection before the first waits and the second refuses.
  public var sendBufferLimit = 1 << 20
  /// How many received bytes may wait, for the application or for what is missing before them, before the peer is told to
  /// pause. A connection begins with at most 1 MiB; more is used on a long fast path, as long as the application reads.
  public var receiveBufferLimit = 16 << 20
  /// The largest UDP payload to send before the path is known to carry more, in bytes. 1,200 passes on every path that
  /// IPv6 allows (RFC 8831 §5).
  public var maximumDatagramSize = 1_200
  /// The largest UDP payload that is tried once the connection is up, and used if it arrives (RFC 8899); by default what
  /// an Ethernet of 1,500 bytes carries. Not more than `maximumDatagramSize`: nothing is tried.
  public var maximumProbedDatagramSize = 1_472
  /// Decides only what this side sends; the peer chooses for itself.
  public var congestionControl = CongestionControl.bbr
  /// Whether our offers carry the first chunk of SCTP, `a=sctp-init` (draft-hancke-tsvwg-snap). With a peer that answers
  /// in kind a channel opens up to two round trips sooner; others ignore it. A peer's offer of it is taken up in any case.
  public var offersSCTPInitiation = false
  /// By which the peer knows this side; nil makes a fresh one for each connection, which no two of them have in common.
  public var certificate: Certificate?
  /// The hash functions by which descriptions announce the certificate; SHA-256 is the one that every peer knows.
  public var fingerprintFunctions: [Certificate.HashFunction] = [.sha256]
  /// A file to which the secrets of each connection are appended in NSS's key log format, so that Wireshark can read what
  /// it has captured, and so can everybody else who has both. For debugging only.
  public var keyLogFile: String?
  public var logger = Logger(label: "webrtc")

  public init() {}
}

/// How a data channel is opened (W3C `RTCDataChannelInit`, RFC 8832 §5.1).
public struct DataChannelConfiguration: Sendable, Hashable {
  /// Whether messages arrive in the order they were sent.
  public var isOrdered = true
  /// Gives a message up after this many retransmissions; excludes `maxPacketLifeTime`.
  public var maxRetransmits: UInt16?
  /// Gives a message up after this many milliseconds; excludes `maxRetransmits`.
  public var maxPacketLifeTime: UInt16?
  /// The name of the protocol spoken over the channel; at most 65,535 bytes of UTF-8.
  public var subprotocol = ""
  /// Opens the channel on this stream without telling the peer, who must do the same; 0…65,534.
  public var negotiatedID: UInt16?
  /// The channel's weight (RFC 8831 §6.4): 128 below normal, 256 normal, 512 high, 1024 extra high.
  public var priority: UInt16 = 256

  public init(
    isOrdered: Bool = true, maxRetransmits: UInt16? = nil, maxPacketLifeTime: UInt16? = nil, subprotocol: String = "",
    negotiatedID: UInt16? = nil, priority: UInt16 = 256
  ) {
    self.isOrdered = isOrdered
    self.maxRetransmits = maxRetransmits
    self.maxPacketLifeTime = maxPacketLifeTime
    self.subprotocol = subprotocol
    self.negotiatedID = negotiatedID
    self.priority = priority
  }
}
